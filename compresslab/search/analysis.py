"""Questions to a table of trials: how good by when, how lucky the winner, how wide the choice (lessons 20 and 21)."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..measure import pareto


def distinct(configs: Sequence[dict], name: str) -> int:
    """How many different values of one axis the configurations really try.

    >>> distinct([dict(lr=0.1, wd=0), dict(lr=0.1, wd=1)], "lr")
    1
    """
    return len({config[name] for config in configs})


def nearest(space: dict, table: pd.DataFrame, configs: Sequence[dict]) -> list[int]:
    """For each configuration the position of the row of `table` that lies nearest, every axis counted from 0 to 1.

    This is how trials are played on a landscape that was trained beforehand. Real and Integer axes only.
    """
    trained = np.stack([[axis.share(value) for value in table[name]] for name, axis in space.items()], axis=1)
    asked = np.array([[axis.share(config[name]) for name, axis in space.items()] for config in configs])
    return ((trained[None] - asked[:, None]) ** 2).sum(2).argmin(1).tolist()


def trials_needed(share: float = 0.05, chance: float = 0.95) -> int:
    """Independent random trials until one of them is in the best `share` with probability `chance`.

    All n miss with probability (1 − share)ⁿ. Bergstra & Bengio 2012 count in this way.

    >>> trials_needed(0.05, 0.95)
    59
    """
    for name, value in dict(share=share, chance=chance).items():
        if not 0 < value < 1:
            raise ValueError(f"{name} must be in (0, 1), got {value}")
    return math.ceil(math.log1p(-chance) / math.log1p(-share) - 1e-12)  # whole where (1 - share)ⁿ is 1 - chance


def winners_curse(table: pd.DataFrame, ns: Sequence[int], repeats: int = 1000, seed: int = 0) -> pd.DataFrame:
    """The best validation score of n trials, and the test score of that same trial: columns n, score, test_score.

    Mean over `repeats` draws of n trials without replacement. `table` has the column test_score
    (`batch.evaluate_batch(..., test=True)`); trials without a score are left out.
    """
    good = table.dropna(subset=["score", "test_score"])
    generator, rows = np.random.default_rng(seed), []
    for n in ns:
        if not 1 <= n <= len(good):
            raise ValueError(f"ns must lie in 1..{len(good)}, got {n}")
        drawn = np.stack([generator.permutation(len(good))[:n] for _ in range(repeats)])
        winner = drawn[np.arange(repeats), good.score.to_numpy()[drawn].argmin(1)]
        rows.append(dict(n=n, score=good.score.iloc[winner].mean(), test_score=good.test_score.iloc[winner].mean()))
    return pd.DataFrame(rows)


def pareto_front(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The trials that no other beats: none is as low in every column of `columns` and lower in one. First column first.

    >>> table = pd.DataFrame(dict(error=[0.1, 0.2, 0.2, 0.3], size=[30, 10, 20, 10]))
    >>> pareto_front(table, ["error", "size"]).index.tolist()
    [0, 1]
    """
    values = table[list(columns)].dropna()
    return table.loc[values.index[pareto(*values.to_numpy().T)]].sort_values(list(columns), kind="stable")


def best_so_far(table: pd.DataFrame) -> pd.DataFrame:
    """The lowest score found by the time so many epochs were spent: columns spent, best; one row a trial (or rung).

    Trials count in the order of the rows. `spent` is taken from the table where it has such a column.
    """
    spent = table.spent if "spent" in table else table.epochs.cumsum()
    return pd.DataFrame(dict(spent=spent, best=table.score.cummin().ffill())).reset_index(drop=True)


def best_at(table: pd.DataFrame, budgets) -> np.ndarray:
    """The lowest score found within each of `budgets` epochs (nan where there is none yet): `best_so_far` as a step."""
    steps = best_so_far(table)
    position = np.searchsorted(steps.spent.to_numpy(), np.asarray(budgets), side="right") - 1
    return np.where(position >= 0, steps.best.to_numpy()[position], np.nan)


def saving(budgets, ours: np.ndarray, theirs: np.ndarray) -> float:
    """How many times fewer epochs we need, in the median over the seeds, for what they reach with the whole budget.

    `ours`, `theirs`: best scores, shape (seeds, budgets). nan if we never get there.
    """
    ours, theirs = (np.median(np.nan_to_num(scores, nan=np.inf), axis=0) for scores in (ours, theirs))
    reached = ours <= theirs[-1]
    return float(budgets[-1] / budgets[reached.argmax()]) if reached.any() else math.nan
