"""Lesson 20: how many random trials find one of the best?"""

import math

import torch
from scipy import stats

from ...lesson import Exercise, Mistake


def trials_needed(share, chance):
    return math.ceil(math.log(1 - chance) / math.log(1 - share))


_WANTED = [(0.05, 0.95), (0.1, 0.95), (0.05, 0.5), (0.01, 0.99), (0.2, 0.9), (0.5, 0.75)]


def _geometric():
    """SciPy's geometric distribution: the number of trials up to the first success, and its quantile."""
    return torch.tensor([float(stats.geom(share).ppf(chance)) for share, chance in _WANTED], dtype=torch.float64)


how_many = Exercise(
    key="20/trials-needed",
    title="How many random trials?",
    solution=trials_needed,
    trial=lambda fn: torch.tensor([float(fn(*wanted)) for wanted in _WANTED], dtype=torch.float64),
    expected=_geometric,
    mistakes=(
        Mistake(
            "1 / share is how many it takes on average. To be sure to `chance` it takes more: all n trials miss with "
            "probability (1 − share)ⁿ.",
            lambda share, chance: math.ceil(1 / share),
        ),
        Mistake(
            "The chances of n trials do not add up: n · share passes 1. It is the misses that multiply.",
            lambda share, chance: math.ceil(chance / share),
        ),
        Mistake(
            "share and chance are swapped.", lambda share, chance: math.ceil(math.log(1 - share) / math.log(1 - chance))
        ),
        Mistake(
            "This is rounded down, and so falls just short of the chance: round up, with math.ceil.",
            lambda share, chance: math.floor(math.log(1 - chance) / math.log(1 - share)),
        ),
        Mistake(
            "(1 − share)ⁿ is the chance that all miss, so it must fall to 1 − chance, not to chance.",
            lambda share, chance: math.ceil(math.log(chance) / math.log(1 - share)),
        ),
        Mistake(
            "A trial misses with probability 1 − share, not share.",
            lambda share, chance: math.ceil(math.log(1 - chance) / math.log(share)),
        ),
    ),
    hints=(
        "What is the probability that one random trial misses the best `share`? That n of them all miss?",
        "All miss with probability (1 − share)ⁿ. This must be at most 1 − chance.",
        "Take logarithms on both sides, divide, and round up with math.ceil.",
    ),
    rtol=0,
    atol=0,  # whole numbers
)
