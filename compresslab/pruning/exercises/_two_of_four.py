"""Lesson 31: the 2:4 pattern."""

from itertools import combinations

import torch

from ...lesson import Exercise, Mistake
from ._stages import NUMBERS


def two_of_four(weight):
    runs = weight.abs().reshape(-1, 4)
    largest = runs.topk(2, dim=1).indices
    mask = torch.zeros(runs.shape, dtype=torch.bool)
    mask.scatter_(1, largest, True)
    return mask.reshape(weight.shape)


def _random(rows, columns):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(rows))


def _tied(rows, columns):
    return torch.randint(-1, 2, (rows, columns), generator=torch.Generator().manual_seed(rows)) / 2


def _squares(fn):
    """Shapes in which both dimensions hold whole runs of four, so that they can be mixed up."""
    return [fn(_random(8, 8)), fn(_random(4, 12)), fn(_random(12, 4))]


def _rectangles(fn):
    return [fn(_random(3, 16)), fn(_random(7, 8))]


def _among_equals(fn):
    """Which of several equal weights stays is free: how many stay in each run, and how large they are together."""
    facts = []
    for weight in (_tied(5, 12), torch.full((2, 8), -0.3), torch.tensor([[0.0, 0.0, 0.5, 0.0]])):
        mask = fn(weight)
        facts += [mask.reshape(-1, 4).sum(1), (weight.abs() * mask).reshape(-1, 4).sum(1)]
    return facts


_STAGES = (_squares, _rectangles, _among_equals)


def _best_pairs(weight):
    """Of the six pairs of each run, the one with the largest sum of sizes."""
    mask = torch.zeros(weight.shape, dtype=torch.bool)
    for row in range(len(weight)):
        for start in range(0, weight.shape[1], 4):
            pairs = combinations(range(start, start + 4), 2)
            best = max(pairs, key=lambda pair: sum(abs(float(weight[row, i])) for i in pair))
            mask[row, list(best)] = True
    return mask


def _keep(number, largest=True, score=torch.abs):
    def fn(weight):
        runs = score(weight).reshape(-1, 4)
        mask = torch.zeros(runs.shape, dtype=torch.bool)
        return mask.scatter_(1, runs.topk(number, dim=1, largest=largest).indices, True).reshape(weight.shape)

    return fn


def _strided(weight):
    """Runs of every fourth part: 0, n/4, n/2, 3n/4."""
    rows, columns = weight.shape
    return two_of_four(weight.reshape(rows, 4, -1).mT).reshape(rows, -1, 4).mT.reshape(rows, columns)


def _windows(keep):
    """Runs that begin at each column. keep: what is chosen stays; else, what is not chosen goes."""

    def fn(weight):
        mask = torch.full(weight.shape, not keep)
        for row in range(len(weight)):
            for start in range(weight.shape[1] - 3):
                chosen = weight[row, start : start + 4].abs().topk(2, largest=keep).indices
                mask[row, start + chosen] = keep
        return mask

    return fn


def _half_of_each_row(weight):
    mask = torch.zeros(weight.shape, dtype=torch.bool)
    return mask.scatter_(1, weight.abs().topk(weight.shape[1] // 2, dim=1).indices, True)


_OVERLAP = "The runs overlap: the first is 0 to 3, the next 4 to 7. Move on by four columns."

pattern = Exercise(
    key="31/two-of-four",
    title="Two of four",
    solution=two_of_four,
    trial=_STAGES,
    expected=lambda: [stage(_best_pairs) for stage in _STAGES],
    mistakes=(
        Mistake(NUMBERS, lambda weight: two_of_four(weight).float()),
        Mistake(
            "The runs go down the rows, which are the outputs. They must lie along a row: four neighbouring inputs.",
            lambda weight: two_of_four(weight.T.contiguous()).T,
        ),
        Mistake("The weights are compared with their sign: compare their abs().", _keep(2, score=lambda w: w)),
        Mistake(
            "Half of the whole matrix is kept, but not two of each four: rank within each run alone.",
            lambda weight: weight.abs() > weight.abs().median(),
        ),
        Mistake("Half of each row is kept, but not two of each four: rank within each run alone.", _half_of_each_row),
        Mistake("One of four is kept; two must stay.", _keep(1)),
        Mistake("Three of four are kept; two must stay.", _keep(3)),
        Mistake("The two smallest are kept; the two largest must stay.", _keep(2, largest=False)),
        Mistake(_OVERLAP, _windows(keep=True)),
        Mistake(_OVERLAP, _windows(keep=False)),
        Mistake(
            "A run is four neighbours, 0 to 3, not four columns far apart: reshape(-1, 4) makes runs of neighbours.",
            _strided,
        ),
        Mistake(
            "This keeps two fixed places of each run, whatever the weights: keep the two largest.",
            lambda weight: (torch.arange(weight.shape[1]) % 4 < 2).expand(weight.shape),
        ),
        Mistake(
            "This keeps two fixed places of each run, whatever the weights: keep the two largest.",
            lambda weight: (torch.arange(weight.shape[1]) % 2 == 0).expand(weight.shape),
        ),
        Mistake(
            "Where weights are equal, more than two stay: choose two positions, with topk, not by a threshold.",
            lambda weight: (weight.abs().reshape(-1, 4) >= weight.abs().reshape(-1, 4).topk(2).values[:, 1:]).reshape(
                weight.shape
            ),
        ),
        Mistake(
            "Where weights are equal, fewer than two stay: choose two positions, with topk, not by a threshold.",
            lambda weight: (weight.abs().reshape(-1, 4) > weight.abs().reshape(-1, 4).topk(3).values[:, 2:]).reshape(
                weight.shape
            ),
        ),
    ),
    hints=(
        "A row of weight belongs to one output. Cut each row into runs of four neighbours.",
        "weight.abs().reshape(-1, 4) has one run a row; .topk(2, dim=1).indices are its two largest.",
        "Start with zeros of that shape, scatter_ True to these places along dim 1, and reshape to weight's shape.",
    ),
    rtol=0,
    atol=0,  # masks; the sums are of halves, and of two numbers in either order
)
