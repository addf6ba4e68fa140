"""Lesson 11: the width of the good valley."""

import math

import numpy as np
import torch

from ...lesson import Exercise, Mistake


def valley_width(lrs, losses, factor):
    good = [lr for lr, loss in zip(lrs, losses) if loss <= factor * min(losses)]
    return math.log10(max(good) / min(good))


_VALLEYS = [
    ([1e-3, 1e-2, 1e-1, 1.0], [0.9, 0.2, 0.3, math.inf], 2.0),
    ([1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0], [2.3, 0.5, 0.35, 0.3, 0.55, math.inf], 2.0),
    ([0.01, 0.02, 0.04, 0.08], [1.0, 0.9, 0.6, 2.0], 1.4),
]


def _valley_by_force():
    """Every pair of good rates, compared; the widest pair counts."""
    widths = []
    for lrs, losses, factor in _VALLEYS:
        lrs, losses = np.array(lrs), np.array(losses)
        good = np.log10(lrs[losses <= factor * losses.min()])
        widths.append(np.abs(good[:, None] - good[None]).max())
    return torch.tensor(widths, dtype=torch.float64)


valley = Exercise(
    key="11/valley",
    title="Width of the good valley",
    solution=valley_width,
    trial=lambda fn: torch.tensor([fn(*valley) for valley in _VALLEYS], dtype=torch.float64),
    expected=_valley_by_force,
    mistakes=(
        Mistake(
            "This is the width on a linear scale; rates work by factors: take the logarithm of highest / lowest.",
            lambda lrs, losses, factor: (
                max(g := [r for r, v in zip(lrs, losses) if v <= factor * min(losses)]) - min(g)
            ),
        ),
        Mistake(
            "This is the natural logarithm; a decade is a factor of ten: use log10.",
            lambda lrs, losses, factor: math.log(
                max(g := [r for r, v in zip(lrs, losses) if v <= factor * min(losses)]) / min(g)
            ),
        ),
        Mistake(
            "Good means at most `factor` times the best loss, not at most `factor`.",
            lambda lrs, losses, factor: math.log10(max(g := [r for r, v in zip(lrs, losses) if v <= factor]) / min(g)),
        ),
        Mistake(
            "Good means at most `factor` times the best loss; here `factor` is added to it.",
            lambda lrs, losses, factor: math.log10(
                max(g := [r for r, v in zip(lrs, losses) if v <= factor + min(losses)]) / min(g)
            ),
        ),
        Mistake(
            "This counts the good rates; the width is the distance from the lowest to the highest.",
            lambda lrs, losses, factor: float(sum(v <= factor * min(losses) for v in losses)),
        ),
    ),
    hints=(
        "First find the best loss. Which rates have a loss of at most `factor` times that?",
        "One decade is a factor of ten: the width is a logarithm to base ten.",
        "math.log10(max(good) / min(good)), where good is the list of good rates.",
    ),
    rtol=1e-12,
    atol=1e-12,  # one logarithm and one division in float64
)
