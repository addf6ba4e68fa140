"""Lesson 61: to float16 by hand."""

import torch

from ...lesson import Exercise, Mistake


def to_half(x):
    _, exponent = torch.frexp(x)
    step = torch.ldexp(torch.ones_like(x), exponent.clamp(min=-13) - 11)
    rounded = torch.round(x / step) * step
    return torch.where(rounded.abs() > 65504, torch.inf * torch.sign(x), rounded)


def _values():
    """Spread over all powers of two; halves between two neighbours; next to 0; where the largest number ends."""
    generator = torch.Generator().manual_seed(0)
    spread = torch.randn(400, generator=generator) * 2.0 ** torch.randint(-12, 14, (400,), generator=generator)
    between = 1 + torch.arange(1, 40, 2) / 2**11
    below = torch.tensor([2.0**-14, 2.0**-15, 3.3e-5, 1.01e-5, 1e-6, 2.0**-25, 2.0**-24, 1e-9, 0.0])
    ends = torch.tensor([65504.0, 65519.0, 65520.0, 70000.0, 2047.0, 2049.0, 4095.9, 1023.97, 3.14159])
    values = torch.cat([spread, between, below, ends])
    return torch.cat([values, -values])


def _parts():
    """Ordinary numbers, those below the smallest ordinary one, those near the largest: a call each."""
    x = _values()
    small, large = x.abs() < 2.0**-14, x.abs() > 60000
    return x[~small & ~large], x[small], x[large]


def _trial(fn):
    return [fn(part) for part in _parts()]


def _variant(
    bits=10, lowest=-14, to_whole=torch.round, end=lambda y, x: torch.where(y.abs() > 65504, torch.inf * x, y)
):
    """bits of the fraction, the lowest exponent, the rounding, and what becomes of what is too large."""

    def to_half(x):
        exponent = torch.frexp(x)[1] - 1
        step = torch.ldexp(torch.ones_like(x), exponent.clamp(min=lowest) - bits)
        return end(to_whole(x / step) * step, torch.sign(x))

    return to_half


def _no_abs(x):
    step = 2.0 ** (torch.floor(torch.log2(x)).clamp(min=-14) - 10)
    return torch.round(x / step) * step


def _frexp_as_exponent(x):
    step = torch.ldexp(torch.ones_like(x), torch.frexp(x)[1].clamp(min=-14) - 10)
    y = torch.round(x / step) * step
    return torch.where(y.abs() > 65504, torch.inf * torch.sign(x), y)


_TRUNCATED = "This cuts off instead of rounding to the nearest, so the error is up to twice as large: use torch.round."
_COARSE = (
    "The step is twice too large. Numbers from 1 to 2 are 2^-10 apart. (torch.frexp gives a mantissa from 0.5 to 1, so "
    "its exponent is one higher.)"
)

half = Exercise(
    key="61/float16",
    title="float16 by hand",
    solution=to_half,
    trial=_trial,
    expected=lambda: [part.half().float() for part in _parts()],
    mistakes=(
        Mistake(_COARSE, _frexp_as_exponent),
        Mistake(_COARSE, _variant(bits=9)),
        Mistake("The step is twice too small: float16 keeps 10 bits after the leading 1, not 11.", _variant(bits=11)),
        Mistake("These are the 7 bits of bfloat16: float16 keeps 10 after the leading 1.", _variant(bits=7)),
        Mistake(_TRUNCATED, _variant(to_whole=torch.trunc)),
        Mistake("This rounds down, also below 0: use torch.round.", _variant(to_whole=torch.floor)),
        Mistake(
            "A half goes away from 0 here. Halfway between two numbers the even one is taken, as torch.round does.",
            _variant(to_whole=lambda z: torch.sign(z) * torch.floor(z.abs() + 0.5)),
        ),
        Mistake(
            "A half goes up here. Halfway between two numbers the even one is taken, as torch.round does.",
            _variant(to_whole=lambda z: torch.floor(z + 0.5)),
        ),
        Mistake("Below 2^-14 the step stays at 2^-24: float16 has no smaller exponent.", _variant(lowest=-1000)),
        Mistake(
            "What is below 2^-14 need not become 0: the step there is 2^-24.",
            lambda x: torch.where(x.abs() < 2.0**-14, torch.zeros_like(x), to_half(x)),
        ),
        Mistake("The largest float16 is 65504. What rounds to more becomes infinite.", _variant(end=lambda y, x: y)),
        Mistake(
            "float16 has infinity: what rounds to more than 65504 becomes inf, with its sign.",
            _variant(end=lambda y, x: y.clamp(-65504, 65504)),
        ),
        Mistake(
            "Infinity has the sign of x.",
            _variant(end=lambda y, x: torch.where(y.abs() > 65504, torch.full_like(y, torch.inf), y)),
        ),
        Mistake("The logarithm of a negative number is NaN: take the exponent of x.abs().", _no_abs),
        Mistake(
            "One step for all numbers: near 1 that is right, but the step of a float follows the size of the number.",
            lambda x: torch.round(x * 1024) / 1024,
        ),
    ),
    hints=(
        "Three steps: find the power of two at or below |x|, from it the step between neighbours, and round to it.",
        "_, exponent = torch.frexp(x): |x| lies from 2^(exponent-1) up to 2^exponent, so the step is 2^(exponent-11); "
        "below 2^-14 it is 2^-24, i.e. exponent.clamp(min=-13).",
        "rounded = torch.round(x / step) * step; where rounded.abs() > 65504 the result is torch.inf * torch.sign(x).",
    ),
    rtol=0,
    atol=0,  # bit for bit
)
