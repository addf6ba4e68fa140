"""Lesson 11: the interval of a mean."""

import math

import numpy as np
import torch
from scipy import stats

from ...lesson import Exercise, Mistake


def half_interval(values):
    n = len(values)
    return stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / math.sqrt(n)


_SAMPLES = (
    (96.1, 95.8, 96.9, 96.4, 95.5),
    (0.31, 0.29, 0.35),
    (10.0, 12.0, 11.0, 9.0, 14.0, 10.5, 11.5, 12.5),
)


def _interval_trial(fn):
    return torch.tensor([float(fn(list(values))) for values in _SAMPLES], dtype=torch.float64)


def _scipy_interval():
    return torch.tensor(
        [np.mean(v) - stats.ttest_1samp(v, 0).confidence_interval(0.95).low for v in _SAMPLES],
        dtype=torch.float64,
    )


def _t(values, q=0.975):
    return stats.t.ppf(q, len(values) - 1)


_NORMAL = "1.96 is for many runs. With a handful the factor is larger: stats.t.ppf(0.975, n − 1)."

interval = Exercise(
    key="11/interval",
    title="Plus or minus what?",
    solution=half_interval,
    trial=_interval_trial,
    expected=_scipy_interval,
    mistakes=(
        Mistake(
            "This is the spread of single runs; the mean of n runs is steadier by √n: divide by √len(values).",
            lambda values: _t(values) * np.std(values, ddof=1),
        ),
        Mistake(_NORMAL, lambda values: 1.96 * stats.sem(values)),
        Mistake(_NORMAL, lambda values: stats.norm.ppf(0.975) * stats.sem(values)),
        Mistake(
            "np.std divides by n unless told otherwise, and so comes out too small for a few runs: use ddof=1.",
            lambda values: _t(values) * np.std(values) / math.sqrt(len(values)),
        ),
        Mistake(
            "0.95 leaves 5 % on one side. A 95 % interval leaves 2.5 % on each side: use 0.975.",
            lambda values: _t(values, 0.95) * stats.sem(values),
        ),
        Mistake(
            "n values have n − 1 degrees of freedom.",
            lambda values: stats.t.ppf(0.975, len(values)) * stats.sem(values),
        ),
        Mistake(
            "This is the standard error; the interval reaches t times as far on each side.",
            lambda values: stats.sem(values),
        ),
        Mistake(
            "This is the whole width of the interval; ± is half of it.",
            lambda values: 2 * _t(values) * stats.sem(values),
        ),
        Mistake(
            "The mean of n runs is steadier by √n, not by n: divide by √len(values).",
            lambda values: _t(values) * np.std(values, ddof=1) / len(values),
        ),
        Mistake(
            "This is built on the variance, which is the square of the scatter: use np.std.",
            lambda values: _t(values) * np.var(values, ddof=1) / math.sqrt(len(values)),
        ),
    ),
    hints=(
        "Three factors: how far the runs scatter, how much averaging steadies, and how sure we want to be.",
        "Scatter: np.std(values, ddof=1). Averaging: divide by √n. Sureness: stats.t.ppf(0.975, n - 1).",
        "stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / math.sqrt(n)",
    ),
    # A learner may compute in float32, which rounds 96.9 by 4e-6: 1e-5 of the scatter 0.5. The listed mistakes are off
    # by 1 % or more.
    rtol=1e-5,
    atol=0.0,
)
