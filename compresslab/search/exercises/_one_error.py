"""Lesson 20: the one-standard-error rule."""

import math

import numpy as np
import pandas as pd
import torch
from scipy import stats
from sklearn.base import BaseEstimator
from sklearn.model_selection import GridSearchCV, KFold

from ...lesson import Exercise, Mistake


def one_standard_error(scores):
    n = len(scores[0])
    means = [sum(row) / n for row in scores]
    best = min(range(len(scores)), key=lambda i: means[i])
    variance = sum((x - means[best]) ** 2 for x in scores[best]) / (n - 1)
    limit = means[best] + math.sqrt(variance / n)
    return next(i for i, mean in enumerate(means) if mean <= limit)


# Errors in percent of configurations from the simplest to the largest. Each table tells one mistake from the rule.
_TABLES = [
    [[9.0, 8.0, 10.0, 9.0], [5.4, 5.0, 5.8, 5.4], [5.0, 6.0, 4.4, 5.4], [4.0, 6.5, 5.0, 4.9], [4.1, 6.6, 5.1, 5.0]],
    [[7.0, 7.2, 6.8], [5.05, 5.0, 5.1], [4.4, 5.6, 5.2], [4.0, 5.0, 6.0], [5.0, 5.2, 4.9]],
    [[3.6, 3.7, 3.5, 3.6, 3.6], [3.30, 3.34, 3.26, 3.3, 3.3], [3.0, 3.4, 2.6, 3.2, 2.8], [3.1, 3.5, 2.7, 3.3, 2.9]],
    [[2.60, 0.0, 6.5], [2.9, 2.95, 2.95], [2.48, 2.5, 2.52], [2.4, 2.5, 2.6]],
    [[6.0, 6.1, 5.9], [4.19, 4.2, 4.18], [4.0, 4.2, 3.8], [4.1, 4.3, 3.95]],
    [[4.2, 4.3, 4.1, 4.2], [4.09, 4.11, 4.1, 4.1], [3.6, 4.4, 3.7, 4.3], [3.9, 4.1, 4.0, 4.02]],
    [[6.0] * 4, [5.5] * 4, [6.0, 6.0, 6.0, 2.0]],  # the first is exactly at the limit
    [[4.2] * 3, [9.0] * 3, [3.0, 4.0, 5.0]],  # the second is above it
    [[4.7] * 3, [4.3] * 3, [3.0, 4.0, 5.0]],
    [[4.8] * 5, [4.0] * 4 + [9.0], [3.0, 5.0, 4.0, 4.0, 4.0]],  # the median of the second is low, its mean is not
    [[4.45] * 5, [3.0, 5.0, 4.0, 4.0, 4.0]],
]


class _Stored(BaseEstimator):
    """An estimator whose score on a fold was measured before: lets scikit-learn pick from a given table."""

    def __init__(self, index=0):
        self.index = index

    def fit(self, x, y=None):
        return self


def _grid_search(scores) -> int:
    """GridSearchCV over the stored scores, with the rule as its `refit` function."""

    def rule(results):
        per_fold = np.stack([results[f"split{i}_test_score"] for i in range(len(scores[0]))], axis=1)
        best = results["mean_test_score"].argmax()
        limit = results["mean_test_score"][best] - stats.sem(per_fold[best])
        return int(np.flatnonzero(results["mean_test_score"] >= limit)[0])

    k = len(scores[0])
    x = np.arange(k).reshape(-1, 1)
    search = GridSearchCV(
        _Stored(),
        {"index": list(range(len(scores)))},
        cv=KFold(k),
        refit=rule,
        scoring=lambda model, fold, _=None: -scores[model.index][int(fold[0, 0])],
    )
    return search.fit(x).best_index_


def _rule(spread, of_best=True, last=False):
    def fn(scores):
        table = pd.DataFrame(scores)
        means = table.mean(axis=1)
        limit = means + spread(table)
        good = means <= (limit[means.idxmin()] if of_best else limit)
        return int(good[good].index[-1 if last else 0])

    return fn


def _sem(table):
    return table.sem(axis=1, ddof=1)


one_error = Exercise(
    key="20/one-standard-error",
    title="The one-standard-error rule",
    solution=one_standard_error,
    trial=lambda fn: torch.tensor([int(fn(scores)) for scores in _TABLES]),
    expected=lambda: torch.tensor([_grid_search(scores) for scores in _TABLES]),
    mistakes=(
        Mistake(
            "This is the lowest mean itself. The rule takes the simplest (the first) with a mean at most one standard "
            "error above it.",
            lambda scores: min(range(len(scores)), key=lambda i: sum(scores[i])),
        ),
        Mistake(
            "This is the standard deviation of the folds; the mean of n folds is steadier: divide it by √n.",
            _rule(lambda table: table.std(axis=1, ddof=1)),
        ),
        Mistake(
            "The spread is divided by n instead of n − 1: for a few folds it comes out too small. Use ddof=1.",
            _rule(lambda table: table.sem(axis=1, ddof=0)),
        ),
        Mistake(
            "Of all that are close to the best, this takes the last, which is the largest; take the first.",
            _rule(_sem, last=True),
        ),
        Mistake("This adds up to two standard errors; the rule allows one.", _rule(lambda table: 2 * _sem(table))),
        Mistake(
            "The limit is one standard error of the best configuration, not of all the scores together.",
            _rule(lambda table: np.std(table.to_numpy(), ddof=1) / math.sqrt(table.size)),
        ),
        Mistake(
            "This compares the lowest fold of each configuration; the rule compares the means over the folds.",
            lambda scores: min(range(len(scores)), key=lambda i: min(scores[i])),
        ),
    ),
    hints=(
        "Three steps: the mean of every row; the lowest mean and its standard error; the first row below their sum.",
        "The standard error of a mean of n numbers is their standard deviation (ddof=1) divided by √n.",
        "limit = mean[best] + standard_error[best]; return the first i with mean[i] <= limit.",
    ),
    rtol=0,
    atol=0,  # positions
)
