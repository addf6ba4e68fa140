"""Schedules (lesson 30): from progress in [0, 1] of the pruning to the share of the final sparsity, 1 at the end."""

import math
from collections.abc import Callable


def one_shot(progress: float) -> float:
    """Everything at once, at the start."""
    return 1.0


def iterative(steps: int = 5) -> Callable[[float], float]:
    """`steps` equal steps, the first at the start: train in between (Han et al. 2015).

    >>> [iterative(4)(progress) for progress in (0, 0.2, 0.25, 0.8, 1)]
    [0.25, 0.25, 0.5, 1.0, 1.0]
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")

    def staircase(progress: float) -> float:
        return min(math.floor(progress * steps + 1e-9) + 1, steps) / steps  # 0.29 * 100 is 28.999999999999996

    return staircase


def cubic(progress: float) -> float:
    """1 - (1 - progress)³: fast while many weights are redundant, slow at the end.

    M. Zhu, S. Gupta, "To prune, or not to prune" (2017), equation 1, with initial sparsity 0.
    """
    return 1 - (1 - progress) ** 3
