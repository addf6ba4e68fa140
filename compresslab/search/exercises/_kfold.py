"""Lesson 20: the rows of k-fold cross-validation."""

import numpy as np
from sklearn.model_selection import KFold

from ...lesson import Exercise, Mistake


def folds(n, k):
    sizes = [n // k + (i < n % k) for i in range(k)]
    starts = [sum(sizes[:i]) for i in range(k)]
    pairs = []
    for start, size in zip(starts, sizes):
        val = list(range(start, start + size))
        train = [i for i in range(n) if not start <= i < start + size]
        pairs.append((train, val))
    return pairs


_SIZES = [(10, 5), (11, 3), (7, 7), (23, 4), (10, 4)]


def _folds_expected():
    return [[(train.tolist(), val.tolist()) for train, val in KFold(k).split(np.zeros((n, 1)))] for n, k in _SIZES]


def _swapped(n, k):
    return [(val, train) for train, val in folds(n, k)]


def _strided(n, k):
    return [([i for i in range(n) if i % k != fold], list(range(fold, n, k))) for fold in range(k)]


def _leaky(n, k):
    return [(list(range(n)), val) for _, val in folds(n, k)]


def _rest_dropped(n, k):
    size = n // k
    vals = [list(range(i * size, (i + 1) * size)) for i in range(k)]
    return [([i for i in range(n) if i not in val], val) for val in vals]


def _rest_to_last(n, k):
    size = n // k
    vals = [list(range(i * size, (i + 1) * size if i < k - 1 else n)) for i in range(k)]
    return [([i for i in range(n) if i not in val], val) for val in vals]


def _only_before(n, k):
    return [(list(range(val[0])), val) for _, val in folds(n, k)]


kfold = Exercise(
    key="20/k-fold",
    title="Cross-validation",
    solution=folds,
    trial=lambda fn: [[tuple(list(map(int, part)) for part in pair) for pair in fn(n, k)] for n, k in _SIZES],
    expected=_folds_expected,
    mistakes=(
        Mistake(
            "Training and validation rows are swapped: a fold validates on one part and trains on all the others.",
            _swapped,
        ),
        Mistake(
            "The validation rows are among the training rows: the network would be judged by what it has seen.",
            _leaky,
        ),
        Mistake(
            "Every k-th row goes into a fold; a fold must be a block of neighbours: 0, 1, 2 ... in the first.",
            _strided,
        ),
        Mistake("The last n mod k rows never validate: the first n mod k folds must take one row more.", _rest_dropped),
        Mistake(
            "The last fold takes all that is left; spread it: the first n mod k folds take one row more each.",
            _rest_to_last,
        ),
        Mistake(
            "Only the rows before the validation block are trained on; train on those after it too.",
            _only_before,
        ),
    ),
    hints=(
        "k blocks of neighbouring rows. Each is the validation set once; all other rows are then the training set.",
        "The blocks have n // k rows; where n is not a multiple of k, the first n % k blocks have one more.",
        "size = n // k + (i < n % k) for block i; keep a running start. train: all rows outside the block.",
    ),
    rtol=0,
    atol=0,  # whole numbers
)
