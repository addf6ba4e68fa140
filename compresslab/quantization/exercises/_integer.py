"""Lesson 40: a linear layer in whole numbers."""

import torch
from torch.nn import functional as F

from ...lesson import Exercise, Mistake


def int_linear(x_codes, x_scale, x_zero, w_codes, w_scale, out_scale, out_zero):
    total = (x_codes.int() - x_zero) @ w_codes.int().T
    codes = torch.round(total * (x_scale * w_scale / out_scale)) + out_zero
    return codes.clamp(0, 255).to(torch.uint8)


# Rows; inputs and as many outputs, so that they can be mixed up; x_scale, x_zero, out_scale, out_zero. Some outputs lie
# outside the codes of the result; none is nearer than 0.001 to a half before it is rounded. With two inputs some of the
# sums are small.
_LAYERS = (
    (4, 5, 0.02, 128, 0.05, 120),
    (3, 12, 0.013, 101, 0.11, 90),
    (2, 16, 0.5, 7, 8.0, 31),
    (6, 8, 0.004, 3, 0.016, 20),
    (60, 2, 0.03, 90, 0.02, 128),
)


def _layer(rows, n, x_scale, x_zero, out_scale, out_zero):
    generator = torch.Generator().manual_seed(n)
    x_codes = torch.randint(0, 256, (rows, n), generator=generator).to(torch.uint8)
    w_codes = torch.randint(-127, 128, (n, n), generator=generator).to(torch.int8)
    w_scale = 0.002 + 0.01 * torch.rand(n, generator=generator)
    return x_codes, x_scale, x_zero, w_codes, w_scale, out_scale, out_zero


def _trial(fn):
    return [fn(*_layer(*sizes)) for sizes in _LAYERS]


def _in_floats(x_codes, x_scale, x_zero, w_codes, w_scale, out_scale, out_zero):
    """torch's linear layer in float64 on the numbers that the codes stand for, and the code that torch gives each."""
    y = F.linear((x_codes.double() - x_zero) * x_scale, w_codes.double() * w_scale.double()[:, None])
    values = torch.fake_quantize_per_tensor_affine(y.float(), out_scale, out_zero, 0, 255)
    return torch.round(values.double() / out_scale + out_zero).to(torch.uint8)


def _total(x_codes, x_zero, w_codes):
    return (x_codes.int() - x_zero) @ w_codes.int().T


def _variant(
    total=_total,
    multiplier=lambda x_scale, w_scale, out_scale: x_scale * w_scale / out_scale,
    finish=lambda scaled, out_zero: (torch.round(scaled) + out_zero).clamp(0, 255).to(torch.uint8),
):
    """The right function with one thing exchanged."""

    def int_linear(x_codes, x_scale, x_zero, w_codes, w_scale, out_scale, out_zero):
        return finish(total(x_codes, x_zero, w_codes) * multiplier(x_scale, w_scale, out_scale), out_zero)

    return int_linear


def _scales(multiplier):
    return _variant(multiplier=multiplier)


_FLOAT = (
    "This is the float output: the next layer reads codes. Requantise: divide by out_scale, round, add out_zero, clamp."
)
_SUMS = (
    "These are the sums themselves. Requantise them: times x_scale · w_scale / out_scale, round, add out_zero, clamp."
)
_OVERFLOW = (
    "The sum overflows: a product of two codes needs 16 bits, a sum of them more. Go to int32 before the product."
)
_WRAP = "8-bit codes cannot hold x_codes − x_zero, from −255 to 255: it wraps around. Go to int32 before you subtract."
_SCALE = "One of the scales is missing: the sum counts steps of x_scale · w_scale."
_CLAMP = "There is no clamp: what lies outside wraps around in uint8. Clamp to 0..255."

integer = Exercise(
    key="40/integer-matmul",
    title="A layer in whole numbers",
    solution=int_linear,
    trial=_trial,
    expected=lambda: _trial(_in_floats),
    mistakes=(
        Mistake(
            "Codes are stored in bytes: end with .to(torch.uint8).",
            _variant(finish=lambda scaled, out_zero: (torch.round(scaled) + out_zero).clamp(0, 255)),
        ),
        Mistake(
            _FLOAT,
            _variant(multiplier=lambda x_scale, w_scale, out_scale: x_scale * w_scale, finish=lambda y, out_zero: y),
        ),
        Mistake(_SUMS, _variant(multiplier=lambda *scales: 1, finish=lambda total, out_zero: total)),
        Mistake(_SUMS, _scales(lambda *scales: 1)),
        Mistake(_SUMS, _variant(multiplier=lambda *_: 1, finish=lambda total, _: total.clamp(0, 255).to(torch.uint8))),
        Mistake(_SUMS, _variant(multiplier=lambda *_: 1, finish=lambda total, _: total.to(torch.uint8))),
        Mistake(_SCALE, _scales(lambda x_scale, w_scale, out_scale: w_scale / out_scale)),
        Mistake(_SCALE, _scales(lambda x_scale, w_scale, out_scale: x_scale / out_scale)),
        Mistake(
            "The requantization is forgotten: codes of the output count steps of out_scale. Divide by it.",
            _scales(lambda x_scale, w_scale, out_scale: x_scale * w_scale),
        ),
        Mistake(
            "This multiplies by out_scale; divide by it: how many steps of the output is that?",
            _scales(lambda x_scale, w_scale, out_scale: x_scale * w_scale * out_scale),
        ),
        Mistake(
            "The multiplier is upside down: it is x_scale · w_scale / out_scale.",
            _scales(lambda x_scale, w_scale, out_scale: out_scale / (x_scale * w_scale)),
        ),
        Mistake(
            "x_zero is forgotten: a code of x_zero stands for 0. Subtract it before the product.",
            _variant(lambda x_codes, x_zero, w_codes: _total(x_codes, 0, w_codes)),
        ),
        Mistake(
            "x_zero is added; the number is scale · (code − zero point): subtract it.",
            _variant(lambda x_codes, x_zero, w_codes: _total(x_codes, -x_zero, w_codes)),
        ),
        Mistake(
            "x_zero is subtracted from the sum. It is in every term: subtract it before the product.",
            _variant(lambda x_codes, x_zero, w_codes: _total(x_codes, 0, w_codes) - x_zero),
        ),
        Mistake(
            "x_zero is subtracted from the weights too; their zero point is 0.",
            _variant(lambda x_codes, x_zero, w_codes: _total(x_codes, x_zero, w_codes.int() - x_zero)),
        ),
        Mistake(
            "out_zero is forgotten: the output 0 must get the code out_zero.",
            _variant(finish=lambda scaled, out_zero: torch.round(scaled).clamp(0, 255).to(torch.uint8)),
        ),
        Mistake(_OVERFLOW, _variant(lambda *codes: _total(*codes).to(torch.int8))),
        Mistake(_OVERFLOW, _variant(lambda *codes: _total(*codes).to(torch.int16))),
        Mistake(_WRAP, _variant(lambda x_codes, x_zero, w_codes: _total(x_codes - x_zero, 0, w_codes))),
        Mistake(_WRAP, _variant(lambda x_codes, x_zero, w_codes: _total(x_codes.to(torch.int8), x_zero, w_codes))),
        Mistake(
            _WRAP,
            _variant(lambda x_codes, x_zero, w_codes: _total((x_codes.int() - x_zero).to(torch.int8), 0, w_codes)),
        ),
        Mistake(
            _OVERFLOW,
            _variant(
                lambda x_codes, x_zero, w_codes: _total((x_codes.int() - x_zero).to(torch.int8), 0, w_codes).to(
                    torch.int8
                )
            ),
        ),
        Mistake(
            "The fractions are cut off: use torch.round.",
            _variant(finish=lambda scaled, out_zero: (scaled + out_zero).clamp(0, 255).to(torch.uint8)),
        ),
        Mistake(
            "The fractions are cut off: use torch.round.",
            _variant(finish=lambda scaled, out_zero: (scaled.trunc() + out_zero).clamp(0, 255).to(torch.uint8)),
        ),
        Mistake(_CLAMP, _variant(finish=lambda scaled, out_zero: (torch.round(scaled) + out_zero).to(torch.uint8))),
        Mistake(
            "The clamp comes before out_zero is added: add it, then clamp.",
            _variant(finish=lambda scaled, out_zero: (torch.round(scaled).clamp(0, 255) + out_zero).to(torch.uint8)),
        ),
        Mistake(
            "A row of w_codes belongs to one output: multiply by its transpose, w_codes.T.",
            _variant(lambda x_codes, x_zero, w_codes: _total(x_codes, x_zero, w_codes.T)),
        ),
    ),
    hints=(
        "x is x_scale · (x_codes − x_zero) and w is w_scale · w_codes. Both scales can be taken out of the sum.",
        "Convert to int32 first: (x_codes.int() - x_zero) @ w_codes.int().T is exact. It counts x_scale · w_scale.",
        "Times x_scale * w_scale / out_scale it counts steps of the output. Round, add out_zero, clamp to 0..255.",
    ),
)
