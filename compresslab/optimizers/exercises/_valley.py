"""Lesson 11: the width of the good valley."""

import math

import numpy as np
import torch

from ...lesson import Exercise, Mistake


def valley_width(lrs, losses, factor):
    good = [lr for lr, loss in zip(lrs, losses) if loss <= factor * min(losses)]
    return math.log10(max(good) / min(good))


_VALLEYS = (
    ((1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0), (0.9, 0.5, 0.25, 0.3, 0.375, math.inf), 2.0),  # 0.5: exactly twice the best
    ((10.0, 1.0, 0.3, 0.1, 0.01, 1e-3), (math.inf, 0.55, 0.7, 0.3, 0.35, 2.5), 2.0),  # falling rates, a hole at 0.3
    ((0.01, 0.02, 0.04, 0.08), (1.0, 0.9, 0.6, 2.1), 1.6),
)


def _valley_trial(fn):
    return torch.tensor([fn(list(lrs), list(losses), k) for lrs, losses, k in _VALLEYS], dtype=torch.float64)


def _valley_by_force():
    """Every pair of good rates, compared; the widest pair counts."""
    widths = []
    for lrs, losses, factor in _VALLEYS:
        lrs, losses = np.array(lrs), np.array(losses)
        good = np.log10(lrs[losses <= factor * losses.min()])
        widths.append(np.abs(good[:, None] - good[None]).max())
    return torch.tensor(widths, dtype=torch.float64)


def _good(lrs, losses, limit):
    return [lr for lr, loss in zip(lrs, losses) if loss <= limit]


def _variant(width, limit=lambda losses, factor: factor * min(losses)):
    """The width, computed from the good rates in another way, or with another limit of what is good."""
    return lambda lrs, losses, factor: width(_good(lrs, losses, limit(losses, factor)))


def _decades(good):
    return math.log10(max(good) / min(good))


valley = Exercise(
    key="11/valley",
    title="Width of the good valley",
    solution=valley_width,
    trial=_valley_trial,
    expected=_valley_by_force,
    mistakes=(
        Mistake(
            "This is the width on a linear scale; rates work by factors: take the logarithm of highest / lowest.",
            _variant(lambda good: max(good) - min(good)),
        ),
        Mistake(
            "This is the ratio of highest and lowest; the width in decades is its logarithm.",
            _variant(lambda good: max(good) / min(good)),
        ),
        Mistake(
            "The width is negative: divide the highest rate by the lowest, not the other way round.",
            _variant(lambda good: math.log10(min(good) / max(good))),
        ),
        Mistake(
            "This is the natural logarithm; a decade is a factor of ten: use log10.",
            _variant(lambda good: math.log(max(good) / min(good))),
        ),
        Mistake(
            "Good means at most `factor` times the best loss, not at most `factor`.",
            _variant(_decades, limit=lambda losses, factor: factor),
        ),
        Mistake(
            "Good means at most `factor` times the best loss; here `factor` is added to it.",
            _variant(_decades, limit=lambda losses, factor: factor + min(losses)),
        ),
        Mistake(
            "This counts the good rates; the width is the distance from the lowest to the highest.",
            _variant(len),
        ),
    ),
    hints=(
        "First find the best loss. Which rates have a loss of at most `factor` times that?",
        "One decade is a factor of ten: the width is a logarithm to base ten.",
        "math.log10(max(good) / min(good)), where good is the list of good rates.",
    ),
    rtol=1e-6,
    atol=1e-6,  # a learner may compute in float32; the listed mistakes are off by 0.1 or more
)
