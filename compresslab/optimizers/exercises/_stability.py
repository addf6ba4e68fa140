"""Lesson 10: the largest learning rate on a quadratic."""

import numpy as np
import torch

from ...lesson import Exercise, Mistake


def largest_lr(curvatures, momentum):
    return 2 * (1 + momentum) / max(curvatures)


_BOWLS = (((1.0, 10.0), 0.0), ((4.0,), 0.5), ((0.1, 3.0, 50.0), 0.9), ((7.0, 2.0), 0.99))


def _limit_trial(fn):
    return torch.stack([torch.as_tensor(fn(list(curvatures), mu), dtype=torch.float64) for curvatures, mu in _BOWLS])


def _limit_measured():
    """Where the spectral radius of momentum's update matrix passes 1, found by bisection for each curvature."""

    def radius(lr, lam, mu):
        return np.abs(np.linalg.eigvals([[1 + mu - lr * lam, -mu], [1.0, 0.0]])).max()

    limits = []
    for curvatures, mu in _BOWLS:
        low, high = 0.0, 10 / min(curvatures)
        for _ in range(100):
            middle = (low + high) / 2
            stable = all(radius(middle, lam, mu) <= 1 + 1e-12 for lam in curvatures)
            low, high = (middle, high) if stable else (low, middle)
        limits.append(low)
    return torch.tensor(limits, dtype=torch.float64)


stability = Exercise(
    key="10/stability",
    title="The largest learning rate",
    solution=largest_lr,
    trial=_limit_trial,
    expected=_limit_measured,
    mistakes=(
        Mistake(
            "The flattest direction does not set the limit: the steepest one, max(curvatures), explodes first.",
            lambda curvatures, momentum: 2 * (1 + momentum) / min(curvatures),
        ),
        Mistake(
            "Momentum raises the limit: multiply by 1 + momentum.", lambda curvatures, momentum: 2 / max(curvatures)
        ),
        Mistake(
            "Momentum raises the limit here, it does not lower it: 1 + momentum, not 1 − momentum.",
            lambda curvatures, momentum: 2 * (1 - momentum) / max(curvatures),
        ),
        Mistake(
            "1 + momentum multiplies, it does not divide: momentum allows larger rates.",
            lambda curvatures, momentum: 2 / (max(curvatures) * (1 + momentum)),
        ),
        Mistake(
            "A factor 2 is missing: 1/λ lands exactly in the minimum; up to 2/λ it still comes closer.",
            lambda curvatures, momentum: (1 + momentum) / max(curvatures),
        ),
        Mistake(
            "Brackets are missing: Python multiplies and divides first. Write 2 * (1 + momentum).",
            lambda curvatures, momentum: 2 * 1 + momentum / max(curvatures),
        ),
    ),
    hints=(
        "Which of the directions explodes first: the flattest or the steepest?",
        "Without momentum, a step multiplies x by 1 − lr·λ. It shrinks as long as that stays above −1.",
        "With momentum the limit grows by the factor 1 + momentum.",
    ),
    rtol=1e-6,
    atol=0.0,  # the eigenvalue test allows 1e-12 in the radius; near a double root that is 1e-6 in lr
)
