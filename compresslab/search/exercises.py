"""The exercises of lessons 20 and 21: solutions, checks against real libraries, and the mistakes worth naming."""

import math

import numpy as np
import pandas as pd
import torch
from scipy import stats
from sklearn.base import BaseEstimator
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, KFold

from ..lesson import Exercise, Mistake

# --- 20: a log-uniform axis


def log_uniform(u, low, high):
    return low * (high / low) ** u


_SHARES = torch.linspace(0, 1, 21, dtype=torch.float64)[:-1]
_RANGES = [(1e-4, 1e-1), (0.5, 8.0), (1e-6, 1e-2)]


def _values(fn):
    return torch.stack([torch.as_tensor(fn(_SHARES, low, high)) for low, high in _RANGES])


def _scipy_values():
    """SciPy's reciprocal (log-uniform) distribution: the value below which a share u of its draws falls."""
    return torch.stack([torch.from_numpy(stats.loguniform(*ends).ppf(_SHARES.numpy())) for ends in _RANGES])


sampling = Exercise(
    key="20/log-uniform",
    title="A log scale",
    solution=log_uniform,
    trial=_values,
    expected=_scipy_values,
    mistakes=(
        Mistake("This is even on the linear scale: nine tenths of the draws fall into the last factor of ten. Spread "
                "the logarithm evenly.", lambda u, low, high: low + u * (high - low)),
        Mistake("This draws the logarithm and stops there: take the exponential in the end.",
                lambda u, low, high: math.log(low) + u * (math.log(high) - math.log(low))),
        Mistake("The share runs backwards: u = 0 must give low.", lambda u, low, high: high * (low / high) ** u),
        Mistake("log10 and exp do not undo one another: take log and exp, or log10 and 10**.",
                lambda u, low, high: torch.exp(math.log10(low) + u * (math.log10(high) - math.log10(low)))),
        Mistake("u multiplies the logarithm of high alone; it must multiply the difference log(high) − log(low).",
                lambda u, low, high: torch.exp(math.log(low) + u * math.log(high))),
        Mistake("The values are even in the square root, not in the logarithm.",
                lambda u, low, high: (low**0.5 + u * (high**0.5 - low**0.5)) ** 2),
    ),
    hints=(
        "Every factor of ten must get the same share of the draws. What is then even: the value, or its logarithm?",
        "log(value) = log(low) + u · (log(high) − log(low)).",
        "The exponential of that is low * (high / low) ** u.",
    ),
    rtol=1e-9, atol=0.0,  # a power in float64 against SciPy's exponential of a sum of logarithms: about 1e-15 each
)  # fmt: skip


# --- 20: how many random trials


def trials_needed(share, chance):
    return math.ceil(math.log(1 - chance) / math.log(1 - share))


_WANTED = [(0.05, 0.95), (0.1, 0.95), (0.05, 0.5), (0.01, 0.99), (0.2, 0.9)]


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
        Mistake("1 / share is how many it takes on average. To be sure to `chance` it takes more: all n trials miss with "
                "probability (1 − share)ⁿ.", lambda share, chance: math.ceil(1 / share)),
        Mistake("The chances of n trials do not add up: n · share passes 1. It is the misses that multiply.",
                lambda share, chance: math.ceil(chance / share)),
        Mistake("share and chance are swapped.", lambda share, chance: math.ceil(math.log(1 - share) / math.log(1 - chance))),
        Mistake("This is rounded down, and so falls just short of the chance: round up, with math.ceil.",
                lambda share, chance: math.floor(math.log(1 - chance) / math.log(1 - share))),
        Mistake("(1 − share)ⁿ is the chance that all miss, so it must fall to 1 − chance, not to chance.",
                lambda share, chance: math.ceil(math.log(chance) / math.log(1 - share))),
        Mistake("A trial misses with probability 1 − share, not share.",
                lambda share, chance: math.ceil(math.log(1 - chance) / math.log(share))),
    ),
    hints=(
        "What is the probability that one random trial misses the best `share`? That n of them all miss?",
        "All miss with probability (1 − share)ⁿ. This must be at most 1 − chance.",
        "Take logarithms on both sides, divide, and round up with math.ceil.",
    ),
    rtol=0, atol=0,  # whole numbers
)  # fmt: skip


# --- 20: k-fold cross-validation


def folds(n, k):
    sizes = [n // k + (i < n % k) for i in range(k)]
    starts = [sum(sizes[:i]) for i in range(k)]
    pairs = []
    for start, size in zip(starts, sizes):
        val = list(range(start, start + size))
        train = [i for i in range(n) if not start <= i < start + size]
        pairs.append((train, val))
    return pairs


_SIZES = [(10, 5), (11, 3), (7, 7), (23, 4)]


def _folds_expected():
    return [
        [(train.tolist(), val.tolist()) for train, val in KFold(k).split(np.zeros((n, 1)))] for n, k in _SIZES
    ]


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
        Mistake("Training and validation rows are swapped: a fold validates on one part and trains on all the others.", _swapped),
        Mistake("The validation rows are among the training rows: the score would be that of examples the network has seen.", _leaky),
        Mistake("Every k-th row goes into a fold; here a fold validates on a block of neighbours: 0, 1, 2 ... in the first.", _strided),
        Mistake("The last n mod k rows never validate: the first n mod k folds must take one row more.", _rest_dropped),
        Mistake("The last fold takes all that is left over; spread it: the first n mod k folds take one row more each.", _rest_to_last),
        Mistake("Only the rows before the validation block are trained on; all rows outside it must be, those after it too.", _only_before),
    ),
    hints=(
        "k blocks of neighbouring rows. Each is the validation set once; all other rows are then the training set.",
        "The blocks have n // k rows; where n is not a multiple of k, the first n % k blocks have one more.",
        "size = n // k + (i < n % k) for block i; keep a running start. train = all rows outside start ... start + size.",
    ),
    rtol=0, atol=0,  # whole numbers
)  # fmt: skip


# --- 20: the one-standard-error rule


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
        _Stored(), {"index": list(range(len(scores)))}, cv=KFold(k), refit=rule,
        scoring=lambda model, fold, _=None: -scores[model.index][int(fold[0, 0])],
    )  # fmt: skip
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
        Mistake("This is the lowest mean itself. The rule takes the simplest (the first) whose mean is at most one standard "
                "error above it.", lambda scores: min(range(len(scores)), key=lambda i: sum(scores[i]))),
        Mistake("This is the standard deviation of the folds; the mean of n folds is steadier: divide it by √n.",
                _rule(lambda table: table.std(axis=1, ddof=1))),
        Mistake("The spread is divided by n instead of n − 1: for a few folds it comes out too small. Use ddof=1.",
                _rule(lambda table: table.sem(axis=1, ddof=0))),
        Mistake("Of all that are close to the best, this takes the last, which is the largest; take the first.",
                _rule(_sem, last=True)),
        Mistake("This adds up to two standard errors; the rule allows one.", _rule(lambda table: 2 * _sem(table))),
        Mistake("The limit is one standard error of the best configuration, not of all the scores together.",
                _rule(lambda table: np.std(table.to_numpy(), ddof=1) / math.sqrt(table.size))),
        Mistake("This compares the lowest fold of each configuration; the rule compares the means over the folds.",
                lambda scores: min(range(len(scores)), key=lambda i: min(scores[i]))),
    ),
    hints=(
        "Three steps: the mean of every row; the lowest mean and its standard error; the first row below their sum.",
        "The standard error of a mean of n numbers is their standard deviation (ddof=1) divided by √n.",
        "limit = mean[best] + standard_error[best]; return the first i with mean[i] <= limit.",
    ),
    rtol=0, atol=0,  # positions
)  # fmt: skip


# --- 21: successive halving


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
        _Replayed(), {"index": list(range(len(scores)))}, factor=eta, resource="epochs", min_resources=1,
        max_resources=eta ** (rungs - 1), cv=[([0], [0])], refit=False, random_state=0, error_score="raise",
        scoring=lambda model, x, _=None: -scores[model.index][round(math.log(model.epochs, eta))],
    )  # fmt: skip
    results = search.fit(np.zeros((1, 1))).cv_results_
    iterations = np.asarray(results["iter"])
    at = [[int(p["index"]) for p, k in zip(results["params"], iterations) if k == i] for i in range(search.n_iterations_)]
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
    trial=lambda fn: [[sorted(map(int, rung)) for rung in fn(scores, eta)] for scores, eta in _RACES],
    expected=lambda: [_halving_search(scores, eta) for scores, eta in _RACES],
    mistakes=(
        Mistake("The worst go on: scores are errors, and lower is better.", _variant(reverse=True)),
        Mistake("One in eta is dropped; one in eta must be kept: n // eta.", _variant(keep=_drop_one_in_eta)),
        Mistake("Every rung looks at the scores of the first one: judge each rung by its own scores.",
                _variant(key=lambda row, rung: row[0])),
        Mistake("This looks ahead: at each rung the scores after the full training are used, which nobody has paid for yet.",
                _variant(key=lambda row, rung: row[-1])),
        Mistake("Trials that were dropped come back: choose among those that are still alive.", _variant(fresh=True)),
        Mistake("The number is always halved; eta says how strongly: keep n // eta.", _variant(keep=lambda n, eta: n // 2)),
        Mistake("This judges by the mean over all rungs so far; judge by the score at this rung.",
                _variant(key=lambda row, rung: sum(row[: rung + 1]))),
    ),
    hints=(
        "Start with all. At each rung note who is alive, then keep the best 1/eta of them by their scores at this rung.",
        "sorted(alive, key=lambda i: scores[i][rung]) puts the lowest, the best, first. Keep len(alive) // eta of them.",
        "Stop after the last rung, or when len(alive) // eta is 0. Return the list of lists of who was alive.",
    ),
    rtol=0, atol=0,  # whole numbers
)  # fmt: skip


# --- 21: the brackets of Hyperband


def bracket(s, s_max, max_epochs, eta):
    n = math.ceil((s_max + 1) * eta**s / (s + 1))
    return [(n // eta**i, max_epochs // eta ** (s - i)) for i in range(s + 1)]


_SETTINGS = [(s, 4, 81, 3) for s in range(5)] + [(s, 3, 64, 4) for s in range(4)] + [(s, 4, 16, 2) for s in range(5)]
# Li et al. 2018 (JMLR 18:185), table 1 for R = 81, eta = 3; the others follow algorithm 1, worked out with exact fractions.
_TABLE_1 = [
    [(5, 81)],
    [(8, 27), (2, 81)],
    [(15, 9), (5, 27), (1, 81)],
    [(34, 3), (11, 9), (3, 27), (1, 81)],
    [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
]


def _algorithm_1(s, s_max, max_epochs, eta):
    """The loop as it is printed: B = (s_max + 1) R, n = ⌈B/R · ηˢ/(s + 1)⌉, r = R η⁻ˢ; n_i = ⌊n η⁻ⁱ⌋, r_i = r ηⁱ."""
    from fractions import Fraction

    budget = (s_max + 1) * max_epochs
    n = math.ceil(Fraction(budget, max_epochs) * Fraction(eta**s, s + 1))
    r = max_epochs * Fraction(1, eta) ** s
    return [(math.floor(n * Fraction(1, eta) ** i), int(r * eta**i)) for i in range(s + 1)]


def _brackets_expected():
    later = [_algorithm_1(*setting) for setting in _SETTINGS[len(_TABLE_1) :]]
    return _TABLE_1 + later


def _bracket_like(n, r=lambda s, i, max_epochs, eta: max_epochs // eta ** (s - i), ceil=False):
    def fn(s, s_max, max_epochs, eta):
        first = n(s, s_max, eta)
        size = (lambda i: math.ceil(first / eta**i)) if ceil else (lambda i: first // eta**i)
        return [(size(i), r(s, i, max_epochs, eta)) for i in range(s + 1)]

    return fn


def _n(s, s_max, eta):
    return math.ceil((s_max + 1) * eta**s / (s + 1))


hyperband = Exercise(
    key="21/hyperband",
    title="The brackets of Hyperband",
    solution=bracket,
    trial=lambda fn: [[tuple(map(int, rung)) for rung in fn(*setting)] for setting in _SETTINGS],
    expected=_brackets_expected,
    mistakes=(
        Mistake("Every bracket starts ηˢ trials. Brackets have the same budget of epochs, so those with fewer rungs can start "
                "more: (s_max + 1) / (s + 1) times as many.", _bracket_like(lambda s, s_max, eta: eta**s)),
        Mistake("The number that starts is rounded down; algorithm 1 rounds it up.",
                _bracket_like(lambda s, s_max, eta: (s_max + 1) * eta**s // (s + 1))),
        Mistake("This is the version of the first preprint, ⌊(s_max + 1)/(s + 1)⌋ · ηˢ; the paper rounds the whole product up.",
                _bracket_like(lambda s, s_max, eta: (s_max + 1) // (s + 1) * eta**s)),
        Mistake("The number at each rung is rounded up; algorithm 1 keeps ⌊n / ηⁱ⌋.", _bracket_like(_n, ceil=True)),
        Mistake("Every bracket begins at 1 epoch; bracket s begins at R / ηˢ, so that its last rung reaches R.",
                _bracket_like(_n, lambda s, i, max_epochs, eta: eta**i)),
        Mistake("The epochs run backwards: the first rung has the most trials and the fewest epochs.",
                _bracket_like(_n, lambda s, i, max_epochs, eta: max_epochs // eta**i)),
    ),
    hints=(
        "First how many start: each bracket may spend (s_max + 1) · R epochs, spread over s + 1 rungs of about equal cost.",
        "n = ⌈(s_max + 1) · ηˢ / (s + 1)⌉, and the first rung trains each of them for R / ηˢ epochs.",
        "Rung i has n // eta**i trials at max_epochs // eta**(s − i) epochs, for i = 0 ... s.",
    ),
    rtol=0, atol=0,  # whole numbers
)  # fmt: skip

ALL = (sampling, how_many, kfold, one_error, survivors, hyperband)
