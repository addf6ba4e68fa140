"""Lesson 30: the cubic schedule of gradual pruning."""

import torch

from ...lesson import Exercise, Mistake
from ._stages import CLOSE


def cubic(progress, start, final):
    progress = min(max(progress, 0.0), 1.0)
    return final + (start - final) * (1 - progress) ** 3


_SETTINGS = ((0.0, 0.9), (0.2, 0.95), (0.5, 0.8))  # start, final
_STEPS = 20


def _inside(fn):
    return _on([i / _STEPS for i in range(_STEPS + 1)], fn)


def _outside(fn):
    return _on([-0.5, -0.1, 1.1, 1.5, 3.0], fn)


def _on(times, fn):
    values = [float(fn(progress, *ends)) for ends in _SETTINGS for progress in times]
    return torch.tensor(values, dtype=torch.float64)


def _by_torch(progress, start, final):
    """torch's polynomial decay of a learning rate from 1 to 0, with power 3, after a share of its 200 steps."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    decay = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=10 * _STEPS, power=3)
    for _ in range(round(progress * 10 * _STEPS)):
        optimizer.step()
        decay.step()
    return final + (start - final) * decay.get_last_lr()[0]


def _clamped(curve, low=0.0, high=1.0):
    return lambda progress, start, final: curve(min(max(progress, low), high), start, final)


def _right(t, s, f):
    return f + (s - f) * (1 - t) ** 3


schedule = Exercise(
    key="30/cubic",
    title="The cubic schedule",
    solution=cubic,
    trial=(_inside, _outside),
    expected=lambda: [stage(_by_torch) for stage in (_inside, _outside)],
    mistakes=(
        Mistake(
            "This is a straight line; the cubic schedule prunes most in the beginning: (1 − t)³.",
            _clamped(lambda t, s, f: f + (s - f) * (1 - t)),
        ),
        Mistake("The power is 2; it must be 3.", _clamped(lambda t, s, f: f + (s - f) * (1 - t) ** 2)),
        Mistake(
            "start is missing: at progress 0 the sparsity must be start.",
            _clamped(lambda t, s, f: f * (1 - (1 - t) ** 3)),
        ),
        Mistake(
            "This runs backwards, from final to start: the power is of 1 − progress, not of progress.",
            _clamped(lambda t, s, f: f + (s - f) * t**3),
        ),
        Mistake("start and final are swapped.", _clamped(lambda t, s, f: s + (f - s) * (1 - t) ** 3)),
        Mistake(
            "This prunes slowly first and most in the end: the distance to final shrinks with (1 − t)³, not 1 − t³.",
            _clamped(lambda t, s, f: f + (s - f) * (1 - t**3)),
        ),
        Mistake(
            "The distance is final itself; it must be start − final, or the sparsity ends up elsewhere.",
            _clamped(lambda t, s, f: f + s * (1 - t) ** 3),
        ),
        Mistake(
            "Before 0 and after 1 the curve runs on: limit progress to 0 ... 1 first.",
            _clamped(_right, low=-9, high=9),
        ),
        Mistake(
            "After progress 1 the curve runs past final: limit progress to at most 1.",
            _clamped(_right, high=9),
        ),
        Mistake(
            "Before progress 0 the curve falls below start: limit progress to at least 0.",
            _clamped(_right, low=-9),
        ),
        Mistake(
            "Outside 0 ... 1 the sparsity must stay at start before and at final after, not fall to 0.",
            _clamped(lambda t, s, f: _right(t, s, f) if 0 <= t <= 1 else 0.0, low=-9, high=9),
        ),
    ),
    hints=(
        "It begins at start and ends at final. What shrinks on the way is the distance between the sparsity and final.",
        "The distance is start − final in the beginning, and shrinks with (1 − progress)³.",
        "Limit progress to 0 ... 1: min(max(progress, 0), 1). Then final + (start - final) * (1 - progress) ** 3.",
    ),
    **CLOSE,
)
