"""Lesson 20: values on a log scale."""

import math

import torch
from scipy import stats

from ...lesson import Exercise, Mistake


def log_uniform(u, low, high):
    return low * (high / low) ** u


_SHARES = torch.linspace(0, 1, 21, dtype=torch.float64)[:-1]
_RANGES = [(1e-4, 1e-1), (0.5, 8.0), (1e-6, 1e-2)]


def _values(fn):
    return torch.stack([torch.as_tensor(fn(_SHARES, low, high)) for low, high in _RANGES])


def _scipy_values():
    """SciPy's reciprocal (log-uniform) distribution: the value below which a share u of its draws falls."""
    return torch.stack([torch.from_numpy(stats.loguniform(*ends).ppf(_SHARES.numpy())) for ends in _RANGES])


sampling = Exercise(
    key="20/log-uniform",
    title="A log scale",
    solution=log_uniform,
    trial=_values,
    expected=_scipy_values,
    mistakes=(
        Mistake(
            "This is even on the linear scale: nine tenths of the draws fall into the last factor of ten. Spread "
            "the logarithm evenly.",
            lambda u, low, high: low + u * (high - low),
        ),
        Mistake(
            "This draws the logarithm and stops there: take the exponential in the end.",
            lambda u, low, high: math.log(low) + u * (math.log(high) - math.log(low)),
        ),
        Mistake("The share runs backwards: u = 0 must give low.", lambda u, low, high: high * (low / high) ** u),
        Mistake(
            "log10 and exp do not undo one another: take log and exp, or log10 and 10**.",
            lambda u, low, high: torch.exp(math.log10(low) + u * (math.log10(high) - math.log10(low))),
        ),
        Mistake(
            "u multiplies the logarithm of high alone; it must multiply the difference log(high) − log(low).",
            lambda u, low, high: torch.exp(math.log(low) + u * math.log(high)),
        ),
        Mistake(
            "The values are even in the square root, not in the logarithm.",
            lambda u, low, high: (low**0.5 + u * (high**0.5 - low**0.5)) ** 2,
        ),
    ),
    hints=(
        "Every factor of ten must get the same share of the draws. What is then even: the value, or its logarithm?",
        "log(value) = log(low) + u · (log(high) − log(low)).",
        "The exponential of that is low * (high / low) ** u.",
    ),
    rtol=1e-9,
    atol=0.0,  # a power in float64 against SciPy's exponential of a sum of logarithms: about 1e-15 each
)
