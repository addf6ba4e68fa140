"""The checkers of lessons 20 and 21: right answers pass; wrong ones, as a learner might write them, are named."""

import math

import numpy as np
import torch
from scipy import stats

from compresslab.search import exercises, halving

# --- right answers that do not look like the solution


def log_uniform_by_logs(u, low, high):
    return torch.exp(torch.lerp(torch.tensor(low).log().double(), torch.tensor(high).log().double(), u))


def log_uniform_base_10(u, low, high):
    return 10 ** (math.log10(low) + u * (math.log10(high) - math.log10(low)))


def trials_by_counting(share, chance):
    n, missed = 0, 1.0
    while 1 - missed < chance - 1e-12:
        n, missed = n + 1, missed * (1 - share)
    return n


def folds_by_numpy(n, k):
    return [(np.setdiff1d(np.arange(n), part).tolist(), part.tolist()) for part in np.array_split(np.arange(n), k)]


def rule_by_numpy(scores):
    table = np.array(scores)
    best = table.mean(axis=1).argmin()
    return int(np.argmax(table.mean(axis=1) <= table.mean(axis=1)[best] + stats.sem(table[best])))


def halving_by_our_own_library(scores, eta):
    rungs = halving.rungs(len(scores), 1, eta ** (len(scores[0]) - 1), eta)
    alive, history = list(range(len(scores))), []
    for r, (_, _) in enumerate(rungs):
        history.append(sorted(alive))
        keep = rungs[r + 1][0] if r + 1 < len(rungs) else 0
        alive = [alive[j] for j in halving.survivors([scores[i][r] for i in alive], keep)]
    return history


def bracket_as_printed(s, s_max, max_epochs, eta):
    n = math.ceil((s_max + 1) / (s + 1) * eta**s)
    return [(int(n * eta**-i + 1e-9), round(max_epochs * float(eta) ** (i - s))) for i in range(s + 1)]


RIGHT = {
    "20/log-uniform": [log_uniform_base_10],
    "20/trials-needed": [trials_by_counting],
    "20/k-fold": [folds_by_numpy],
    "20/one-standard-error": [rule_by_numpy],
    "21/halving": [halving_by_our_own_library],
    "21/hyperband": [bracket_as_printed],
}

# --- wrong answers


def folds_round_robin(n, k):
    val = [[i for i in range(n) if i % k == j] for j in range(k)]
    return [(sorted(set(range(n)) - set(part)), part) for part in val]


def folds_swapped(n, k):
    return [(val, train) for train, val in folds_by_numpy(n, k)]


def folds_leaking(n, k):
    return [(np.arange(n).tolist(), val) for _, val in folds_by_numpy(n, k)]


def folds_short(n, k):
    parts = np.arange(n - n % k).reshape(k, -1)
    return [(np.setdiff1d(np.arange(n), part).tolist(), part.tolist()) for part in parts]


def folds_long_tail(n, k):
    starts = [i * (n // k) for i in range(k)] + [n]
    parts = [np.arange(a, b) for a, b in zip(starts, starts[1:])]
    return [(np.setdiff1d(np.arange(n), part).tolist(), part.tolist()) for part in parts]


def folds_in_time(n, k):
    return [([i for i in train if i < val[0]], val) for train, val in folds_by_numpy(n, k)]


def folds_one_only(n, k):
    return folds_by_numpy(n, k)[0]


def folds_of_the_larger_size(n, k):
    parts = [range(start, min(start + -(-n // k), n)) for start in range(0, n, -(-n // k))]
    return [([i for i in range(n) if i not in part], list(part)) for part in parts]


def rule_with(error, middle=np.mean, within=np.less_equal):
    def rule(scores):
        middles = middle(scores, axis=1)
        best = middles.argmin()
        return int(np.flatnonzero(within(middles, middles[best] + error(np.array(scores), best)))[0])

    return rule


def error_of(ddof, root):
    return lambda table, best: table[best].std(ddof=ddof) / math.sqrt(root(table))


def rule_down_from_the_best(scores):
    means, found = np.mean(scores, axis=1), int(np.mean(scores, axis=1).argmin())
    limit = means[found] + stats.sem(scores[found])
    while found > 0 and means[found - 1] <= limit:
        found -= 1
    return found


def rule_in_place(scores):
    for i in range(len(scores)):
        scores[i] = np.mean(scores[i])
    return int(np.argmin(scores))


def rule_lowest(scores):
    return int(np.array(scores).mean(1).argmin())


def rule_deviation(scores):
    table = np.array(scores)
    best = table.mean(1).argmin()
    return int(np.flatnonzero(table.mean(1) <= table.mean(1)[best] + table[best].std(ddof=1))[0])


def rule_biased(scores):
    table = np.array(scores)
    best = table.mean(1).argmin()
    return int(np.flatnonzero(table.mean(1) <= table.mean(1)[best] + stats.sem(table[best], ddof=0))[0])


def rule_largest(scores):
    table = np.array(scores)
    best = table.mean(1).argmin()
    return int(np.flatnonzero(table.mean(1) <= table.mean(1)[best] + stats.sem(table[best]))[-1])


def rule_two(scores):
    table = np.array(scores)
    best = table.mean(1).argmin()
    return int(np.flatnonzero(table.mean(1) <= table.mean(1)[best] + 2 * stats.sem(table[best]))[0])


def rule_pooled(scores):
    table = np.array(scores)
    limit = table.mean(1).min() + table.std(ddof=1) / table.size**0.5
    return int(np.flatnonzero(table.mean(1) <= limit)[0])


def rule_luckiest_fold(scores):
    return int(np.array(scores).min(1).argmin())


def race(scores, eta, choose, keep=lambda n, eta: n // eta):
    table, alive, history = np.array(scores), np.arange(len(scores)), []
    for r in range(table.shape[1]):
        history.append(sorted(alive.tolist()))
        n = keep(len(alive), eta)
        if n == 0:
            break
        alive = choose(table, alive, r)[:n]
    return history


def best_first(table, alive, r):
    return alive[np.argsort(table[alive, r])]


def race_to_nobody(scores, eta):
    alive, history = list(range(len(scores))), []
    for r in range(len(scores[0])):
        history.append(sorted(alive))
        alive = sorted(alive, key=lambda i: scores[i][r])[: len(alive) // eta]
    return history


def race_unsorted(scores, eta):
    alive, history = list(range(len(scores))), []
    for r in range(len(scores[0])):
        history.append(alive)
        alive = sorted(alive, key=lambda i: scores[i][r])[: len(alive) // eta]
        if not alive:
            break
    return history


def race_in_place(scores, eta):
    scores.pop()
    return race(scores, eta, best_first)


def worst_first(scores, eta):
    return race(scores, eta, lambda t, alive, r: alive[np.argsort(-t[alive, r])])


def first_rung_only(scores, eta):
    return race(scores, eta, lambda t, alive, r: alive[np.argsort(t[alive, 0])])


def clairvoyant(scores, eta):
    return race(scores, eta, lambda t, alive, r: alive[np.argsort(t[alive, -1])])


def resurrecting(scores, eta):
    return race(scores, eta, lambda t, alive, r: np.argsort(t[:, r]))


def averaging(scores, eta):
    return race(scores, eta, lambda t, alive, r: alive[np.argsort(t[alive, : r + 1].mean(1))])


def dropping_one_in_eta(scores, eta):
    return race(scores, eta, lambda t, alive, r: alive[np.argsort(t[alive, r])], lambda n, eta: n - n // eta)


def halving_always(scores, eta):
    return race(scores, eta, lambda t, alive, r: alive[np.argsort(t[alive, r])], lambda n, eta: n // 2)


def bracket_with(n_of, epochs_of=lambda s, i, R, eta: R // eta ** (s - i), up=False):
    def bracket(s, s_max, max_epochs, eta):
        n = n_of(s, s_max, eta)
        sizes = [-(-n // eta**i) if up else n // eta**i for i in range(s + 1)]
        return [(size, epochs_of(s, i, max_epochs, eta)) for i, size in enumerate(sizes)]

    return bracket


def starts(s, s_max, eta):
    return -(-(s_max + 1) * eta**s // (s + 1))


WRONG = [
    ("20/log-uniform", lambda u, low, high: (1 - u) * low + u * high, "even on the linear scale"),
    ("20/log-uniform", lambda u, low, high: np.log(low) + u * np.log(high / low), "stops there"),
    ("20/log-uniform", lambda u, low, high: high / (high / low) ** u, "backwards"),
    ("20/log-uniform", lambda u, low, high: np.e ** (np.log10(low) + u * np.log10(high / low)), "do not undo"),
    ("20/log-uniform", lambda u, low, high: low * high**u, "high alone"),
    ("20/trials-needed", lambda share, chance: round(1 / share), "on average"),
    ("20/trials-needed", lambda share, chance: math.ceil(round(chance / share, 9)), "do not add up"),
    ("20/trials-needed", lambda share, chance: int(np.ceil(np.log1p(-share) / np.log1p(-chance))), "swapped"),
    ("20/trials-needed", lambda share, chance: int(np.log(1 - chance) / np.log(1 - share)), "rounded down"),
    ("20/trials-needed", lambda share, chance: -int(-math.log(chance) // math.log(1 - share)), "not to chance"),
    (
        "20/trials-needed",
        lambda share, chance: int(np.ceil(np.log(1 - chance) / np.log(share))),
        "1 − share, not share",
    ),
    ("20/k-fold", folds_round_robin, "block of neighbours"),
    ("20/k-fold", folds_swapped, "are swapped"),
    ("20/k-fold", folds_leaking, "among the training rows"),
    ("20/k-fold", folds_short, "never validate"),
    ("20/k-fold", folds_long_tail, "spread it"),
    ("20/k-fold", folds_in_time, "those after it too"),
    ("20/k-fold", folds_one_only, "has 2 values, expected 5"),
    ("20/k-fold", folds_of_the_larger_size, "expected"),
    ("20/one-standard-error", rule_with(error_of(0, lambda table: 1)), "expected"),
    ("20/one-standard-error", rule_with(error_of(1, lambda table: table.shape[1] - 1)), "expected"),
    ("20/one-standard-error", rule_with(error_of(0, len)), "expected"),
    ("20/one-standard-error", rule_with(lambda table, best: table[best].var()), "expected"),
    ("20/one-standard-error", rule_with(lambda table, best: table[best].var(ddof=1)), "expected"),
    ("20/one-standard-error", rule_with(lambda table, best: stats.sem(table[best]), np.median), "expected"),
    ("20/one-standard-error", rule_with(lambda table, best: stats.sem(table[best]), within=np.less), "expected"),
    ("20/one-standard-error", rule_down_from_the_best, "expected"),
    ("20/one-standard-error", rule_in_place, "in place"),
    ("20/one-standard-error", rule_lowest, "lowest mean itself"),
    ("20/one-standard-error", rule_deviation, "standard deviation"),
    ("20/one-standard-error", rule_biased, "ddof=1"),
    ("20/one-standard-error", rule_largest, "take the first"),
    ("20/one-standard-error", rule_two, "allows one"),
    ("20/one-standard-error", rule_pooled, "all the scores together"),
    ("20/one-standard-error", rule_luckiest_fold, "compares the means"),
    ("20/trials-needed", lambda share, chance: int(math.log(1 - chance) / math.log(1 - share)) + 1, "expected"),
    ("21/halving", race_to_nobody, "expected"),
    ("21/halving", lambda scores, eta: race(scores, eta, best_first, lambda n, eta: -(-n // eta)), "expected"),
    ("21/halving", race_unsorted, "expected"),
    ("21/halving", race_in_place, "in place"),
    ("21/hyperband", lambda *setting: [(n + 0.5, r) for n, r in bracket_as_printed(*setting)], "expected"),
    ("21/halving", worst_first, "lower is better"),
    ("21/halving", first_rung_only, "by its own scores"),
    ("21/halving", clairvoyant, "looks ahead"),
    ("21/halving", resurrecting, "come back"),
    ("21/halving", averaging, "mean over all rungs"),
    ("21/halving", dropping_one_in_eta, "one in eta must be kept"),
    ("21/halving", halving_always, "eta says how strongly"),
    ("21/hyperband", bracket_with(lambda s, s_max, eta: eta**s), "may spend the same epochs"),
    ("21/hyperband", bracket_with(lambda s, s_max, eta: (s_max + 1) * eta**s // (s + 1)), "rounds it up"),
    ("21/hyperband", bracket_with(lambda s, s_max, eta: (s_max + 1) // (s + 1) * eta**s), "first preprint"),
    ("21/hyperband", bracket_with(starts, up=True), "rounded up"),
    ("21/hyperband", bracket_with(starts, lambda s, i, R, eta: eta**i), "begins at 1 epoch"),
    ("21/hyperband", bracket_with(starts, lambda s, i, R, eta: R // eta**i), "run backwards"),
]

EXERCISES = {exercise.key: exercise for exercise in exercises.ALL}


def test_a_third_way_to_the_log_scale_passes():
    # float32 logarithms of low and high: wrong in the eighth digit, so this must not pass at 1e-9
    assert not EXERCISES["20/log-uniform"].check(log_uniform_by_logs)
