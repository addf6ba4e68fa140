"""Successive halving and Hyperband by hand: many start, the better third goes on (lesson 21). Lower scores are better.

A trial is a learning curve, `curve(config, seed=...)`: a generator that yields the score after each epoch. It trains
when it is asked for the next score and waits in between, so that no epoch is trained twice, and every one is counted.

Both return two tables: the trials (see `compresslab.search.trials`; with the column bracket), and the rungs, one row
for each trial at each rung: bracket, rung, trial, epochs, score, kept (does it go on?), spent (epochs of all trials
so far).
"""

import itertools
import math
import time
from collections.abc import Callable, Sequence

import pandas as pd

from ..measure import check_at_least
from ..training import track
from .spaces import random
from .trials import failure, outcome_of, row_of, table_of


def rungs(n: int, epochs: int, max_epochs: int, eta: int = 3) -> list[tuple[int, int]]:
    """[(trials, epochs each)] of a halving that starts n trials: at each rung 1/eta goes on, for eta times as long.

    K. Jamieson, A. Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization" (2016), in the
    form of the inner loop of Li et al. 2018, algorithm 1.

    >>> rungs(27, epochs=3, max_epochs=81)
    [(27, 3), (9, 9), (3, 27), (1, 81)]
    """
    _check(n, epochs, max_epochs, eta)
    steps = []
    while n >= 1 and epochs <= max_epochs:
        steps.append((n, epochs))
        n, epochs = n // eta, epochs * eta
    return steps


def brackets(max_epochs: int, eta: int = 3) -> dict[int, list[tuple[int, int]]]:
    """{s: rungs} of Hyperband: from s = s_max (many trials, first looked at early) to s = 0 (few, all in full).

    L. Li et al., "Hyperband" (JMLR 2018), algorithm 1: s_max = ⌊log_η R⌋, n = ⌈(s_max + 1) ηˢ / (s + 1)⌉, r = R η⁻ˢ.
    (The version of 2016 rounds otherwise and starts 27, 9 and 6 trials for s = 3, 2 and 1 of R = 81.) Where R is not
    a power of η, the epochs are rounded down.

    >>> for s, steps in brackets(81).items(): print(s, steps)
    4 [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)]
    3 [(34, 3), (11, 9), (3, 27), (1, 81)]
    2 [(15, 9), (5, 27), (1, 81)]
    1 [(8, 27), (2, 81)]
    0 [(5, 81)]
    """
    _check(1, 1, max_epochs, eta)
    s_max = 0
    while eta ** (s_max + 1) <= max_epochs:
        s_max += 1
    plan = {}
    for s in range(s_max, -1, -1):
        n = math.ceil((s_max + 1) * eta**s / (s + 1))
        plan[s] = [(n // eta**i, max_epochs // eta ** (s - i)) for i in range(s + 1)]
    return plan


def survivors(scores: Sequence[float], keep: int) -> list[int]:
    """Positions of the `keep` lowest scores, best first; of two equal ones the earlier; never one that is nan.

    >>> survivors([0.3, float("nan"), 0.1, 0.2], keep=2)
    [2, 3]
    """
    usable = [i for i, score in enumerate(scores) if not math.isnan(score)]
    return sorted(usable, key=lambda i: scores[i])[:keep]  # sorted() leaves equal ones in their order


def successive_halving(
    curve: Callable, configs: Sequence[dict], *, min_epochs: int = 1, max_epochs: int = 27, eta: int = 3, seed: int = 0,
    progress: bool = False,
) -> tuple[pd.DataFrame, pd.DataFrame]:  # fmt: skip
    """Train all configurations for `min_epochs`, the best 1/eta eta times as long, and so on up to `max_epochs`.

    Returns (trials, rungs). Trials that lose are "pruned", with the epochs they got. `seed` goes to every curve. A
    stop, or an interrupt, keeps the rungs that are done.
    """
    return _run(curve, {0: (configs, rungs(len(configs), min_epochs, max_epochs, eta))}, seed, progress)


def hyperband(
    curve: Callable, space: dict, *, max_epochs: int = 27, eta: int = 3, seed: int = 0, progress: bool = False
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Successive halving in every bracket of `brackets(max_epochs, eta)`, on random configurations.

    Returns (trials, rungs); column bracket holds s.
    """
    plan = brackets(max_epochs, eta)
    sizes = [steps[0][0] for steps in plan.values()]
    drawn = iter(random(space, sum(sizes), seed))
    tasks = {s: (list(itertools.islice(drawn, n)), steps) for n, (s, steps) in zip(sizes, plan.items())}
    return _run(curve, tasks, seed, progress)


class _Trial:
    """A training that can be paused: its curve, and what it scored and cost so far."""

    def __init__(self, number: int, config: dict, curve: Callable, seed: int, bracket: int):
        self.job = dict(number=number, index=number, config=config, seed=seed, fold=0)
        self.curve, self.bracket, self.steps = curve, bracket, None
        self.epochs, self.score, self.seconds, self.error = 0, math.nan, 0.0, None

    def train_to(self, epochs: int) -> None:
        """Go on until `epochs` epochs are trained in all. An exception ends the trial and is kept."""
        start = time.perf_counter()
        try:
            self.steps = self.steps or iter(self.curve(self.job["config"], seed=self.job["seed"]))
            for score in itertools.islice(self.steps, epochs - self.epochs):
                self.epochs, self.score = self.epochs + 1, float(score)
        except Exception as error:
            self.score, self.error = math.nan, error
        if not math.isfinite(self.score):
            self.score = math.nan
        self.seconds += time.perf_counter() - start

    def row(self, epochs: int) -> dict:
        status = "done" if self.epochs == epochs else "pruned"
        outcome = failure(self.error, self.epochs) if self.error else outcome_of(self.score, self.epochs, status)
        return row_of(self.job, outcome | dict(seconds=self.seconds, bracket=self.bracket))


def _race(curve: Callable, tasks: dict, seed: int, trials: list[_Trial]):
    """The search itself, rung by rung: yields (bracket, rung, trials at it, positions of those that go on)."""
    for s, (configs, steps) in tasks.items():
        alive = [_Trial(len(trials) + i, config, curve, seed, s) for i, config in enumerate(configs)]
        trials += alive
        for i, (_, epochs) in enumerate(steps):
            for trial in alive:
                trial.train_to(epochs)
            n = steps[i + 1][0] if i + 1 < len(steps) else len(alive)
            kept = survivors([trial.score for trial in alive], n)
            yield s, i, alive, kept
            alive = [alive[j] for j in kept]


def _run(curve: Callable, tasks: dict, seed: int, progress: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Run the race under a progress bar and keep its books."""
    trials: list[_Trial] = []
    marks: list[dict] = []
    bar = track(
        range(sum(len(steps) for _, steps in tasks.values())), "rungs", show=progress,
        note=lambda: f"best {pd.DataFrame(marks).score.min():.4g}",
    )  # fmt: skip
    try:
        for _, (s, i, alive, kept) in zip(bar, _race(curve, tasks, seed, trials)):
            for j, trial in enumerate(alive):
                mark = dict(bracket=s, rung=i, trial=trial.job["number"], epochs=trial.epochs)
                marks.append(mark | dict(score=trial.score, kept=j in kept))
    except KeyboardInterrupt:
        print(f"Interrupted: {len(marks)} results at rungs are kept.")
    log = pd.DataFrame(marks, columns=["bracket", "rung", "trial", "epochs", "score", "kept"])
    log["spent"] = (log.epochs - log.groupby("trial").epochs.shift(fill_value=0)).cumsum()
    rows = [t.row(tasks[t.bracket][1][-1][1]) for t in trials if t.epochs or t.error]
    table = table_of(rows, [config for configs, _ in tasks.values() for config in configs])
    return table.assign(bracket=[row["bracket"] for row in rows]), log


def _check(n: int, epochs: int, max_epochs: int, eta: int) -> None:
    check_at_least(1, configs=n, min_epochs=epochs)
    check_at_least(2, eta=eta)
    if max_epochs < epochs:
        raise ValueError(f"max_epochs must be at least {epochs}, the budget of one rung, got {max_epochs}")
