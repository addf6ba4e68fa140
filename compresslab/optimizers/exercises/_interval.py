"""Lesson 11: the interval of a mean."""

import math

import numpy as np
import torch
from scipy import stats

from ...lesson import Exercise, Mistake


def half_interval(values):
    n = len(values)
    return stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / math.sqrt(n)


_SAMPLES = [
    [96.1, 95.8, 96.9, 96.4, 95.5],
    [0.31, 0.29, 0.35],
    [10.0, 12.0, 11.0, 9.0, 14.0, 10.5, 11.5, 12.5],
]


def _scipy_interval():
    return torch.tensor(
        [np.mean(v) - stats.ttest_1samp(v, 0).confidence_interval(0.95).low for v in _SAMPLES],
        dtype=torch.float64,
    )


interval = Exercise(
    key="11/interval",
    title="Plus or minus what?",
    solution=half_interval,
    trial=lambda fn: torch.tensor([float(fn(values)) for values in _SAMPLES], dtype=torch.float64),
    expected=_scipy_interval,
    mistakes=(
        Mistake(
            "This is the spread of single runs; the mean of n runs is steadier by √n: divide by √len(values).",
            lambda values: stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1),
        ),
        Mistake(
            "1.96 is for many runs. With a handful the factor is larger: stats.t.ppf(0.975, n − 1).",
            lambda values: 1.96 * np.std(values, ddof=1) / math.sqrt(len(values)),
        ),
        Mistake(
            "np.std divides by n unless told otherwise, and so comes out too small for a few runs: use ddof=1.",
            lambda values: stats.t.ppf(0.975, len(values) - 1) * np.std(values) / math.sqrt(len(values)),
        ),
        Mistake(
            "0.95 leaves 5 % on one side. A 95 % interval leaves 2.5 % on each side: use 0.975.",
            lambda values: stats.t.ppf(0.95, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)),
        ),
        Mistake(
            "n values have n − 1 degrees of freedom.",
            lambda values: stats.t.ppf(0.975, len(values)) * np.std(values, ddof=1) / math.sqrt(len(values)),
        ),
        Mistake(
            "This is the standard error; the interval reaches t times as far on each side.",
            lambda values: np.std(values, ddof=1) / math.sqrt(len(values)),
        ),
    ),
    hints=(
        "Three factors: how far the runs scatter, how much averaging steadies, and how sure we want to be.",
        "Scatter: np.std(values, ddof=1). Averaging: divide by √n. Sureness: stats.t.ppf(0.975, n - 1).",
        "stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / math.sqrt(n)",
    ),
    rtol=1e-9,
    atol=0.0,  # SciPy's quantile is solved to about 1e-12
)
