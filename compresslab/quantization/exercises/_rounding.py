"""Lesson 40: from numbers to codes."""

import torch

from ...lesson import Exercise, Mistake


def quantize(x, scale, zero_point, bits):
    codes = torch.round(x / scale) + zero_point
    return codes.clamp(0, 2**bits - 1).to(torch.uint8)


def _steps(n, low, high, seed):
    """n numbers in steps, none nearer than 0.1 to a half, so that dividing and multiplying by 1 / scale agree."""
    generator = torch.Generator().manual_seed(seed)
    whole = torch.randint(low, high, (n,), generator=generator)
    return whole + 0.8 * torch.rand(n, generator=generator) - 0.4


# Scale, zero point, bits, and x in steps. Halves have a scale that is a power of two and an even zero point: there it
# does not matter whether the zero point is added before or after rounding.
_SETTINGS = (
    (0.7, 5, 4, _steps(30, -30, 30, 2).reshape(5, 6)),
    (0.03, 77, 8, _steps(40, -77, 170, 1)),
    (0.25, 4, 4, torch.arange(-3.5, 11)),
    (0.5, 128, 8, torch.arange(-9.5, 9).reshape(1, -1)),
    (0.011, 130, 8, _steps(30, -400, 400, 3).reshape(2, 3, 5)),
    (3.0, 0, 2, _steps(12, -6, 9, 4)),
    (1.9, 1, 3, _steps(24, -9, 12, 5)),
)


def _trial(fn):
    return [fn(steps * scale, scale, zero_point, bits) for scale, zero_point, bits, steps in _SETTINGS]


def _by_torch(x, scale, zero_point, bits):
    """The values that torch rounds to, and which codes these are."""
    values = torch.fake_quantize_per_tensor_affine(x, scale, zero_point, 0, 2**bits - 1)
    return torch.round(values.double() / scale + zero_point).to(torch.uint8)


def _variant(to_codes=torch.round, divide=torch.div, dtype=torch.uint8, ends=lambda bits: (0, 2**bits - 1)):
    """The right function with one thing exchanged. ends(bits): what is clamped to, or None."""

    def quantize(x, scale, zero_point, bits):
        codes = to_codes(divide(x, scale)) + zero_point
        return (codes if ends(bits) is None else codes.clamp(*ends(bits))).to(dtype)

    return quantize


def _clamp_first(x, scale, zero_point, bits):
    return (torch.round(x / scale).clamp(0, 2**bits - 1) + zero_point).to(torch.uint8)


def _clamp_twice(x, scale, zero_point, bits):
    return (torch.round(x / scale).clamp(0, 2**bits - 1) + zero_point).clamp(0, 2**bits - 1).to(torch.uint8)


def _cut_off_sum(x, scale, zero_point, bits):
    return (x / scale + zero_point).clamp(0, 2**bits - 1).to(torch.uint8)


def _zero_subtracted(x, scale, zero_point, bits):
    return (torch.round(x / scale) - zero_point).clamp(0, 2**bits - 1).to(torch.uint8)


def _zero_forgotten(x, scale, zero_point, bits):
    return torch.round(x / scale).clamp(0, 2**bits - 1).to(torch.uint8)


def _values(x, scale, zero_point, bits):
    return (quantize(x, scale, zero_point, bits).float() - zero_point) * scale


def _away_from_zero(steps):
    return steps.sign() * (steps.abs() + 0.5).floor()


_CUT = "The fraction is cut off: this goes to the next code below or towards 0, not to the nearest. Use torch.round."
_HALVES = "Halves always go to the same side here, which shifts the mean. torch.round takes the even neighbour."
_CLAMP = "There is no clamp: what lies outside has no code, and in uint8 it wraps around. Clamp to 0..2^b − 1."
_FIRST = "The clamp comes before the zero point, so negative numbers are lost. Add zero_point, then clamp."
_ENDS = "The highest code is 2^b − 1: clamp to (0, 2**bits - 1)."

rounding = Exercise(
    key="40/quantize",
    title="From numbers to codes",
    solution=quantize,
    trial=_trial,
    expected=lambda: _trial(_by_torch),
    mistakes=(
        Mistake("Codes are stored in bytes: end with .to(torch.uint8).", _variant(dtype=torch.float32)),
        Mistake(
            "These are numbers again, scale · (code − zero_point): return the codes themselves.",
            _values,
        ),
        Mistake(_CUT, _variant(torch.trunc)),
        Mistake(_CUT, _variant(torch.floor)),
        Mistake(_CUT, _cut_off_sum),
        Mistake(_HALVES, _variant(lambda steps: torch.floor(steps + 0.5))),
        Mistake(_HALVES, _variant(_away_from_zero)),
        Mistake(_CLAMP, _variant(ends=lambda bits: None)),
        Mistake(_CLAMP, _variant(ends=lambda bits: None, dtype=torch.float32)),
        Mistake(_FIRST, _clamp_first),
        Mistake(_FIRST, _clamp_twice),
        Mistake(_ENDS, _variant(ends=lambda bits: (0, 2**bits))),
        Mistake(_ENDS, _variant(ends=lambda bits: (0, 255))),
        Mistake(
            "The clamp is that of signed codes; these begin at 0: clamp to (0, 2**bits - 1).",
            _variant(ends=lambda bits: (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)),
        ),
        Mistake("x is multiplied by the scale: how many steps is it? Divide.", _variant(divide=torch.mul)),
        Mistake("x is divided by the scale twice: once is enough.", _variant(divide=lambda x, scale: x / scale**2)),
        Mistake("The zero point is subtracted; x = 0 must get the code zero_point: add it.", _zero_subtracted),
        Mistake("The zero point is missing: x = 0 must get the code zero_point. Add it.", _zero_forgotten),
    ),
    hints=(
        "x / scale is how many steps x lies from 0, and 0 has the code zero_point.",
        "Three steps in this order: round to the nearest whole number, add zero_point, clamp to 0..2**bits - 1.",
        "torch.round sends halves to the even number. Last, .to(torch.uint8).",
    ),
)
