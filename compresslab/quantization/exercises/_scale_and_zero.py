"""Lesson 40: scale and zero point of a range."""

import torch
from torch.ao.quantization.observer import MinMaxObserver

from ...lesson import Exercise, Mistake


def affine(low, high, bits):
    low, high = min(low, 0.0), max(high, 0.0)
    steps = 2**bits - 1
    scale = (high - low) / steps
    zero_point = min(max(round(-low / scale), 0), steps)
    return scale, zero_point


# low, high, bits: around zero, at one side of it, from it. No zero point is near a half before it is rounded.
_RANGES = (
    (-1.0, 3.1, 8),
    (-0.37, 0.91, 4),
    (-5.0, 0.4, 3),
    (-0.2, 90.0, 8),
    (0.5, 2.0, 8),
    (-2.0, -0.25, 6),
    (0.0, 6.0, 8),
    (-4.0, 0.0, 2),
)


def _trial(fn):
    return torch.tensor([[float(number) for number in fn(*setting)] for setting in _RANGES], dtype=torch.float64)


def _by_observer(low, high, bits):
    observer = MinMaxObserver(dtype=torch.quint8, quant_min=0, quant_max=2**bits - 1)
    observer(torch.tensor([low, high]))
    return observer.calculate_qparams()


def _clamped(zero_point, steps):
    return min(max(zero_point, 0), steps)


def _variant(stretch=True, steps=lambda bits: 2**bits - 1, zero=lambda low, high, scale, n: round(-low / scale)):
    """The right function with one thing exchanged. zero: (low, high, scale, 2^bits - 1) -> zero point."""

    def affine(low, high, bits):
        if stretch:
            low, high = min(low, 0.0), max(high, 0.0)
        scale = (high - low) / steps(bits)
        return scale, zero(low, high, scale, 2**bits - 1)

    return affine


def _zero_of_the_old_range(low, high, bits):
    scale = (max(high, 0.0) - min(low, 0.0)) / (2**bits - 1)
    return scale, round(-low / scale)


_STRETCH = "The range is not stretched to hold 0, so 0 has no code of its own. Take min(low, 0) and max(high, 0) first."
_ROUNDED = "The zero point is not rounded. It is the code of 0, so it must be a whole number: round it."
_SIGN = "The zero point has the wrong sign. low must get the code 0: 0 = low / scale + zero_point."
_LEVELS = "2^b codes have only 2^b − 1 steps between them: divide the range by 2**bits - 1."

scale_and_zero = Exercise(
    key="40/affine",
    title="Scale and zero point",
    solution=affine,
    trial=_trial,
    expected=lambda: _trial(_by_observer),
    mistakes=(
        Mistake(_ROUNDED, _variant(zero=lambda low, high, scale, n: -low / scale)),
        Mistake(
            "The zero point is cut off, not rounded: int() and // go down to the next whole number. Use round().",
            _variant(zero=lambda low, high, scale, n: int(-low / scale)),
        ),
        Mistake(
            "The zero point is not clamped: beside a range without 0 it lies outside 0..2^b − 1. Clamp it, or compute "
            "it from the stretched range.",
            _zero_of_the_old_range,
        ),
        Mistake(_STRETCH, _variant(stretch=False)),
        Mistake(_STRETCH, _variant(stretch=False, zero=lambda low, high, scale, n: _clamped(round(-low / scale), n))),
        Mistake(_STRETCH, _variant(stretch=False, zero=lambda low, high, scale, n: -low / scale)),
        Mistake(_LEVELS, _variant(steps=lambda bits: 2**bits)),
        Mistake(
            _LEVELS,
            _variant(steps=lambda bits: 2**bits, zero=lambda low, high, scale, n: _clamped(round(-low / scale), n)),
        ),
        Mistake(_SIGN, _variant(zero=lambda low, high, scale, n: round(low / scale))),
        Mistake(_SIGN, _variant(zero=lambda low, high, scale, n: _clamped(round(low / scale), n))),
        Mistake(
            "The zero point belongs to signed codes; here they begin at 0: drop the −2^(b−1).",
            _variant(zero=lambda low, high, scale, n: round(-low / scale) - (n + 1) // 2),
        ),
        Mistake(
            "The zero point is counted from the upper end: it is the distance from low to 0, in steps.",
            _variant(zero=lambda low, high, scale, n: round(high / scale)),
        ),
        Mistake(
            "This is a symmetric range, as long on both sides of 0: take it from low to high, so that no code is lost.",
            lambda low, high, bits: (2 * max(abs(low), abs(high)) / (2**bits - 1), 2 ** (bits - 1)),
        ),
        Mistake(
            "bits is not used: 2**bits - 1 steps, not always 255.",
            lambda low, high, bits: affine(low, high, 8),
        ),
    ),
    hints=(
        "First let the range hold 0: low = min(low, 0), high = max(high, 0). Then it has 2**bits - 1 equal steps.",
        "scale is one step. The zero point is the code of 0: how many steps lie between low and 0?",
        "zero_point = round(-low / scale), clamped to 0..2**bits - 1.",
    ),
    # The observer computes in float32. An unrounded zero point would be off by more than 0.01.
    rtol=1e-5,
    atol=1e-6,
)
