"""Lesson 21: who survives successive halving."""

import math

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import HalvingGridSearchCV

from ...lesson import Exercise, Mistake


def halving(scores, eta):
    alive = list(range(len(scores)))
    history, rung = [], 0
    while True:
        history.append(sorted(alive))
        keep = len(alive) // eta
        if keep < 1 or rung + 1 == len(scores[0]):
            return history
        alive = sorted(alive, key=lambda i: scores[i][rung])[:keep]
        rung += 1


def _curves(n, rungs, seed):
    """Scores of n trials at each rung: they fall, and they cross."""
    noise = np.random.default_rng(seed)
    start, end = noise.uniform(1, 3, n), noise.uniform(0, 1, n)
    return [[float(end[i] + (start[i] - end[i]) * 0.5**r) for r in range(rungs)] for i in range(n)]


_RACES = [(_curves(27, 4, 1), 3), (_curves(16, 5, 2), 2), (_curves(64, 4, 3), 4)]
# Worked out by hand: who takes part at each rung, where the number is no power of eta.
_EIGHT = [[5, 1, 9], [1, 2, 9], [2, 3, 9], [3, 0, 9], [4, 9, 9], [9, 9, 9], [8, 9, 9], [7, 9, 9]]  # of 2 none is left
_NINE = [[4, 1], [1, 2], [2, 3], [3, 0], [5, 4], [6, 5], [7, 0], [8, 0], [9, 0]]  # four left, and no rung more
_BY_HAND = [(_EIGHT, 3, [[*range(8)], [1, 2]]), (_NINE, 2, [[*range(9)], [0, 1, 2, 3]])]


class _Replayed(BaseEstimator):
    """An estimator that scores what a trial scored at a rung; the resource tells it which rung it is."""

    def __init__(self, index=0, epochs=1):
        self.index, self.epochs = index, epochs

    def fit(self, x, y=None):
        return self


def _halving_search(scores, eta):
    """Who takes part in each iteration of HalvingGridSearchCV on the same scores."""
    rungs = len(scores[0])
    search = HalvingGridSearchCV(
        _Replayed(),
        {"index": list(range(len(scores)))},
        factor=eta,
        resource="epochs",
        min_resources=1,
        max_resources=eta ** (rungs - 1),
        cv=[([0], [0])],
        refit=False,
        random_state=0,
        error_score="raise",
        scoring=lambda model, x, _=None: -scores[model.index][round(math.log(model.epochs, eta))],
    )
    results = search.fit(np.zeros((1, 1))).cv_results_
    iterations = np.asarray(results["iter"])
    at = [
        [int(p["index"]) for p, k in zip(results["params"], iterations) if k == i] for i in range(search.n_iterations_)
    ]
    return [sorted(rung) for rung in at]


def _variant(keep=lambda n, eta: n // eta, key=lambda row, rung: row[rung], reverse=False, fresh=False, extra=False):
    """Halving with one thing wrong."""

    def fn(scores, eta):
        alive, history, rung = list(range(len(scores))), [], 0
        while True:
            history.append(sorted(alive))
            n = keep(len(alive), eta)
            if n < 1 or rung + 1 == len(scores[0]):
                return history
            pool = range(len(scores)) if fresh else alive
            alive = sorted(pool, key=lambda i: key(scores[i], rung), reverse=reverse)[:n]
            rung += 1

    return fn


def _drop_one_in_eta(n, eta):
    return n - n // eta


survivors = Exercise(
    key="21/halving",
    title="Successive halving",
    solution=halving,
    trial=lambda fn: [[[*map(int, rung)] for rung in fn(scores, eta)] for scores, eta, *_ in _RACES + _BY_HAND],
    expected=lambda: [_halving_search(*race) for race in _RACES] + [alive for _, _, alive in _BY_HAND],
    mistakes=(
        Mistake("The worst go on: scores are errors, and lower is better.", _variant(reverse=True)),
        Mistake("One in eta is dropped; one in eta must be kept: n // eta.", _variant(keep=_drop_one_in_eta)),
        Mistake(
            "Every rung looks at the scores of the first one: judge each rung by its own scores.",
            _variant(key=lambda row, rung: row[0]),
        ),
        Mistake(
            "This looks ahead: it uses the scores after the full training, which nobody has paid for yet.",
            _variant(key=lambda row, rung: row[-1]),
        ),
        Mistake("Trials that were dropped come back: choose among those that are still alive.", _variant(fresh=True)),
        Mistake(
            "The number is always halved; eta says how strongly: keep n // eta.", _variant(keep=lambda n, eta: n // 2)
        ),
        Mistake(
            "This judges by the mean over all rungs so far; judge by the score at this rung.",
            _variant(key=lambda row, rung: sum(row[: rung + 1])),
        ),
    ),
    hints=(
        "Start with all. At each rung note who is alive, then keep the best 1/eta by their scores there.",
        "sorted(alive, key=lambda i: scores[i][rung]) puts the best first. Keep len(alive) // eta of them.",
        "Stop after the last rung, or when len(alive) // eta is 0. Return the list of lists of who was alive.",
    ),
    rtol=0,
    atol=0,  # whole numbers
)
