"""Lesson 41: a range from the calibration set."""

import torch
from torch.ao.quantization.observer import MinMaxObserver

from ...lesson import Exercise, Mistake


def calibrated_fake_quant(batches, x, bits):
    scale = max(batch.max() for batch in batches) / (2**bits - 1)
    codes = torch.round(x / scale).clamp(0, 2**bits - 1)
    return scale * codes


# Rows of each batch, its largest value, bits, largest value of x. The largest batch comes first, last and between.
_SETTINGS = (
    ((4, 7, 5), (1.0, 3.0, 2.0), 4, 6.0),
    ((6, 3), (2.5, 0.4), 8, 2.0),
    ((2, 8, 3, 4), (0.3, 0.2, 0.5, 0.9), 3, 1.3),
    ((5, 5, 5), (10.0, 40.0, 20.0), 8, 15.0),
)


def _data(rows, largest, bits, reach):
    """Outputs of a ReLU, 0 and above; not every batch holds a 0. x lies within 0.4 steps of a code."""
    generator = torch.Generator().manual_seed(len(rows))
    batches = [0.1 * top + 0.9 * top * torch.rand(n, 6, generator=generator) for n, top in zip(rows, largest)]
    for batch, top in zip(batches, largest):
        batch[0, 0] = top
    step = max(largest) / (2**bits - 1)
    steps = torch.arange(round(reach / step) + 1)
    steps = steps[torch.randperm(len(steps), generator=generator)[:24]]
    x = step * (steps + 0.8 * torch.rand(len(steps), generator=generator) - 0.4).clamp(min=0)
    return batches, torch.cat([x, torch.tensor([0.0, reach])])


def _trial(fn):
    return [fn(*_data(rows, largest, bits, reach), bits) for rows, largest, bits, reach in _SETTINGS]


def _by_torch(batches, x, bits):
    observer = MinMaxObserver(dtype=torch.quint8, quant_min=0, quant_max=2**bits - 1)
    for batch in batches:
        observer(batch)
    scale, zero_point = observer.calculate_qparams()
    return torch.fake_quantize_per_tensor_affine(x, scale, zero_point, 0, 2**bits - 1)


def _variant(
    reach=lambda batches, x: max(batch.max() for batch in batches),
    steps=lambda bits: 2**bits - 1,
    to_codes=torch.round,
    clamp=True,
):
    """The right function with one thing exchanged. reach: (batches, x) -> the number that gets the highest code."""

    def calibrated_fake_quant(batches, x, bits):
        scale = reach(batches, x) / steps(bits)
        codes = to_codes(x / scale)
        return scale * (codes.clamp(0, 2**bits - 1) if clamp else codes)

    return calibrated_fake_quant


def _from_the_lowest(batches, x, bits):
    low, high = min(batch.min() for batch in batches), max(batch.max() for batch in batches)
    scale = (high - low) / (2**bits - 1)
    return low + scale * torch.round((x - low) / scale).clamp(0, 2**bits - 1)


def _from_the_lowest_codes(batches, x, bits):
    low, high = min(batch.min() for batch in batches), max(batch.max() for batch in batches)
    scale = (high - low) / (2**bits - 1)
    zero_point = torch.round(-low / scale)
    return scale * ((torch.round(x / scale) + zero_point).clamp(0, 2**bits - 1) - zero_point)


def _codes(batches, x, bits):
    return torch.round(x * (2**bits - 1) / max(batch.max() for batch in batches)).clamp(0, 2**bits - 1)


_LOWEST = "The range begins at the lowest value of the calibration set, so 0 has no code: begin at 0."
_CUT = "The fractions are cut off: use torch.round."

calibration = Exercise(
    key="41/calibrate",
    title="A range from the calibration set",
    solution=calibrated_fake_quant,
    trial=_trial,
    expected=lambda: _trial(_by_torch),
    mistakes=(
        Mistake(
            "The scale comes from x, as in dynamic quantization. Fix it beforehand, from the calibration batches.",
            _variant(lambda batches, x: x.max()),
        ),
        Mistake(
            "x itself has widened the range. It comes after calibration: take the calibration batches alone.",
            _variant(lambda batches, x: max(torch.cat(batches).max(), x.max())),
        ),
        Mistake(
            "Only the last batch counts: keep the largest value of all batches.",
            _variant(lambda batches, x: batches[-1].max()),
        ),
        Mistake(
            "Only the first batch counts: keep the largest value of all batches.",
            _variant(lambda batches, x: batches[0].max()),
        ),
        Mistake(
            "This is the mean of the batches' ranges, so the larger ones are clipped: take the largest value of all.",
            _variant(lambda batches, x: sum(batch.max() for batch in batches) / len(batches)),
        ),
        Mistake(
            "This is the smallest of the batches' ranges: take the largest value of all.",
            _variant(lambda batches, x: min(batch.max() for batch in batches)),
        ),
        Mistake(
            "This is the mean of the values, not their range: take the largest value of all batches.",
            _variant(lambda batches, x: torch.cat(batches).mean()),
        ),
        Mistake(_LOWEST, _from_the_lowest),
        Mistake(_LOWEST, _from_the_lowest_codes),
        Mistake(
            "There is no clamp: values beyond the calibrated range have no code. Clamp the codes to 0..2^b − 1.",
            _variant(clamp=False),
        ),
        Mistake("These are the codes: multiply them by the scale.", _codes),
        Mistake(
            "x comes back unrounded, only clipped to the range: round x / scale to whole numbers between.",
            _variant(to_codes=lambda steps: steps),
        ),
        Mistake(
            "2^b codes have only 2^b − 1 steps between them: divide by 2**bits - 1.",
            _variant(steps=lambda bits: 2**bits),
        ),
        Mistake(
            "This is the scale of signed codes; nothing here is below 0, so use all 2**bits - 1 steps.",
            _variant(steps=lambda bits: 2 ** (bits - 1) - 1),
        ),
        Mistake(_CUT, _variant(to_codes=torch.floor)),
    ),
    hints=(
        "Static quantization fixes the scale before x is seen. Which of the arguments may it depend on?",
        "Look for the largest value in all batches. It gets the highest code, 2**bits - 1; 0 gets the code 0.",
        "codes = torch.round(x / scale).clamp(0, 2**bits - 1); return scale * codes.",
    ),
    # float32; the next code is 1/255 of the range away
    rtol=1e-5,
    atol=1e-6,
)
