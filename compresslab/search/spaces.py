"""What is searched (lesson 20): a space is a dict {name: Real | Integer | Choice}, a configuration {name: value}.

>>> space = dict(lr=Real(1e-3, 1e-1, log=True), hidden=Integer(8, 32), nesterov=Choice((False, True)))
>>> grid(dict(lr=space["lr"]), 3)
[{'lr': 0.001}, {'lr': 0.01}, {'lr': 0.1}]

Every axis maps a share u in [0, 1) to a value, `axis.at(u)`. So a way to search is only a way to choose points in the
unit cube: at random, or evenly (Sobol'). A log axis gives every factor of ten the same share.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.stats import qmc
from sklearn.model_selection import ParameterGrid

from ..measure import check_at_least

FIXED = ("trial", "config", "seed", "fold", "epochs", "score", "seconds", "status", "error")  # columns of every table
RESERVED = (*FIXED, "epoch", "bracket", "spent", "test_score")  # names that no axis of a space may have


def _check_range(axis) -> None:
    if not axis.low < axis.high:
        raise ValueError(f"low must be below high, got low={axis.low}, high={axis.high}")
    if axis.log and axis.low <= 0:
        raise ValueError(f"low must be above 0 on a log scale, got low={axis.low}")


@dataclass(frozen=True)
class Real:
    """Numbers from `low` to `high`; with `log`, evenly in the logarithm.

    >>> Real(1e-4, 1.0, log=True).at(0.5)
    0.01
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self):
        _check_range(self)

    def at(self, u: float) -> float:
        """The value at share u of the way from low to high."""
        if self.log:
            return _tidy(math.exp(math.log(self.low) + u * (math.log(self.high) - math.log(self.low))), self)
        return _tidy(self.low + u * (self.high - self.low), self)

    def share(self, value: float) -> float:
        """How far `value` lies on the way from low to high: the inverse of `at`."""
        low, high, value = map(math.log, (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        return (value - low) / (high - low)

    def points(self, n: int) -> list[float]:
        """n evenly spaced values, both ends among them; a single one lies in the middle."""
        return [self.at(u) for u in (np.linspace(0, 1, n).tolist() if n > 1 else [0.5])]


@dataclass(frozen=True)
class Integer:
    """Whole numbers from `low` to `high`, both included; with `log`, evenly in the logarithm.

    >>> [Integer(1, 3).at(u) for u in (0.0, 0.34, 0.99)]
    [1, 2, 3]
    """

    low: int
    high: int
    log: bool = False

    def __post_init__(self):
        _check_range(self)

    def at(self, u: float) -> int:
        """The value at share u: each number owns the share from half below it to half above it."""
        value = Real(self.low - 0.5, self.high + 0.5, self.log).at(u)
        return min(max(math.floor(value + 0.5), self.low), self.high)

    def share(self, value: int) -> float:
        """How far `value` lies on the way from low - 1/2 to high + 1/2."""
        return Real(self.low - 0.5, self.high + 0.5, self.log).share(value)

    def points(self, n: int) -> list[int]:
        """At most n evenly spaced whole numbers, both ends among them, none of them twice."""
        return sorted({round(value) for value in Real(self.low, self.high, self.log).points(n)})


@dataclass(frozen=True)
class Choice:
    """One of several options, none before another.

    >>> Choice(("sgd", "adam")).at(0.7)
    'adam'
    """

    options: tuple

    def __post_init__(self):
        object.__setattr__(self, "options", tuple(self.options))
        if not self.options:
            raise ValueError("options must hold at least one value, got none")

    def at(self, u: float):
        return self.options[min(int(u * len(self.options)), len(self.options) - 1)]

    def points(self, n: int) -> list:
        """All options, whatever n."""
        return list(self.options)


def _tidy(value: float, axis: Real) -> float:
    """Without the last digits, which are rounding, and within the range."""
    return min(max(float(f"{value:.12g}"), axis.low), axis.high)


def grid(space: dict, points) -> list[dict]:
    """Every combination of evenly spaced values: scikit-learn's ParameterGrid over `axis.points(n)`.

    `points` is the number of values on each axis, one number for all or a dict {name: number}; a Choice uses all of its
    options.
    """
    check_space(space)
    counts = points if isinstance(points, dict) else dict.fromkeys(space, points)
    if set(counts) != set(space):
        raise ValueError(f"points must name the axes {', '.join(space)}, got {', '.join(counts)}")
    for n in counts.values():
        check_at_least(1, points=n)
    combinations = ParameterGrid({name: axis.points(counts[name]) for name, axis in space.items()})
    return [{name: config[name] for name in space} for config in combinations]


def random(space: dict, n: int, seed: int = 0) -> list[dict]:
    """n independent configurations. The first k of them are those that n = k gives."""
    check_space(space)
    check_at_least(1, n=n)
    return _configs(space, np.random.default_rng(seed).random((n, len(space))))


def sobol(space: dict, n: int, seed: int = 0) -> list[dict]:
    """The first n points of a scrambled Sobol' sequence: random, yet evenly spread on every axis.

    Best with n a power of two. I. M. Sobol' 1967; scrambling: A. B. Owen 1998; `scipy.stats.qmc.Sobol`.
    """
    check_space(space)
    check_at_least(1, n=n)
    engine = qmc.Sobol(len(space), scramble=True, rng=seed)
    return _configs(space, engine.random_base2(math.ceil(math.log2(n)))[:n])


def _configs(space: dict, cube: np.ndarray) -> list[dict]:
    return [{name: axis.at(u) for (name, axis), u in zip(space.items(), row)} for row in cube.tolist()]


def check_space(space: dict) -> None:
    """ValueError unless there is something to search, under names that the table of trials leaves free."""
    if not space:
        raise ValueError("space must hold at least one axis, got none")
    check_names(space)


def check_names(names: Iterable[str]) -> None:
    """ValueError for a name that the table of trials has for a column of its own."""
    taken = set(names) & set(RESERVED)
    if taken:
        raise ValueError(f"a configuration must not use the names {', '.join(RESERVED)}, got {', '.join(taken)}")
