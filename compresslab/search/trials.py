"""Trials and their one result type: a tidy table, one row a trial (lessons 20 and 21).

A trial trains one configuration with one seed on one fold. A score is a loss or an error: LOWER IS BETTER, everywhere.
An objective is a function `objective(config, *, seed, fold, epochs) -> score`.

Columns of the table: trial (0, 1, 2 ...), config (number of the configuration), the configuration's own columns, seed,
fold, epochs (spent), score, seconds, status, error. A status is one of

    "done"    trained for all of its epochs
    "pruned"  stopped before that, with the score it had by then
    "nan"     trained, but the score is not a finite number: it diverged; ranks last
    "failed"  raised, or its worker died; `error` says why
"""

import itertools
import math
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import closing

import pandas as pd

from ..measure import check_at_least
from ..training import track
from .spaces import FIXED, RESERVED, check_names
from .workers import run_on


def evaluate(
    objective: Callable,
    configs: Sequence[dict],
    *,
    seeds: Iterable[int] = (0,),
    folds: int = 1,
    epochs: int = 10,
    executor: Executor | None = None,
    retries: int = 1,
    progress: bool = False,
) -> pd.DataFrame:
    """Run every (configuration, seed, fold); returns the table of trials, in this order, whoever ran them.

    `executor` is any `concurrent.futures.Executor`: a `ProcessPoolExecutor`, Dask's `client.get_executor()`; None: this
    process. Only `seconds` depends on it. A trial that raises is recorded as failed and the search goes on. A trial
    whose worker dies is run again, up to `retries` times. `progress=True` shows what is done, the best score so far,
    the time left. An interrupt of the kernel (■, or Ctrl+C) keeps what is done.
    """
    jobs = plan(configs, seeds, folds, epochs)
    rows, best = {}, [math.nan]

    def note():
        return f"best {best[0]:.4g}"

    try:
        bar = track(range(len(jobs)), "trials", show=progress, note=note)
        with closing(run_on(executor, attempt, objective, jobs, retries)) as results, closing(bar):
            for _, (number, outcome) in zip(bar, results):
                if isinstance(outcome, BaseException):
                    outcome = failure(outcome)
                rows[number] = row_of(jobs[number], outcome)
                if outcome["status"] == "done":
                    best[0] = min(outcome["score"], best[0]) if best[0] == best[0] else outcome["score"]
    except KeyboardInterrupt:
        print(f"Interrupted: {len(rows)} of {len(jobs)} trials are done and kept.")
    return table_of([rows[number] for number in sorted(rows)], configs)


def plan(configs: Sequence[dict], seeds: Iterable[int], folds: int, epochs: int) -> list[dict]:
    """Every (configuration, seed, fold) as a job: a dict with number, index, config, seed, fold, epochs."""
    seeds = tuple(seeds)
    _check(configs, seeds, folds, epochs)
    return [
        dict(number=number, index=index, config=config, seed=seed, fold=fold, epochs=epochs)
        for number, ((index, config), seed, fold) in enumerate(
            itertools.product(enumerate(configs), seeds, range(folds))
        )
    ]


def row_of(job: dict, outcome: dict) -> dict:
    """The table's row of a job and what came of it."""
    head = dict(trial=job["number"], config=job["index"]) | job["config"]
    return head | dict(seed=job["seed"], fold=job["fold"]) | outcome


def attempt(objective: Callable, config: dict, seed: int, fold: int, epochs: int, **_) -> dict:
    """One trial, wherever it runs: epochs, score, seconds, status, error. Whatever it raises is put on record."""
    start = time.perf_counter()
    try:
        outcome = outcome_of(float(objective(config, seed=seed, fold=fold, epochs=epochs)), epochs)
    except Exception as error:
        outcome = failure(error)
    return outcome | dict(seconds=time.perf_counter() - start)


def outcome_of(score: float, epochs: int, status: str = "done") -> dict:
    """The columns of a trial that came to an end with `score`."""
    if math.isfinite(score):
        return dict(epochs=epochs, score=score, seconds=math.nan, status=status, error="")
    sentence = f"score must be a finite number, got {score}"
    return dict(epochs=epochs, score=math.nan, seconds=math.nan, status="nan", error=sentence)


def failure(error: BaseException, epochs: int = 0) -> dict:
    """The columns of a trial that failed."""
    text = f"{type(error).__name__}: {error}"
    return dict(epochs=epochs, score=math.nan, seconds=math.nan, status="failed", error=text)


def table_of(rows: list[dict], configs: Sequence[dict] = ()) -> pd.DataFrame:
    """Rows as a table with the columns in their fixed order, the configuration's own after `config`."""
    own = list(dict.fromkeys(key for config in (*configs, *rows) for key in config if key not in RESERVED))
    return pd.DataFrame(rows, columns=[*FIXED[:2], *own, *FIXED[2:]])


def parameters(table: pd.DataFrame) -> list[str]:
    """Names of the columns that belong to the configuration: between `config` and `seed`."""
    columns = list(table.columns)
    return columns[columns.index("config") + 1 : columns.index("seed")]


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """One row a configuration, best first: its number, its own columns, trials, score, standard_error.

    score: mean over its seeds and folds; standard_error: of this mean (nan for a single trial). A configuration with a
    trial that failed or is not a number has no mean and ranks last.
    """
    usable = table.score.where(table.status.isin(["done", "pruned"]))
    groups = usable.groupby(table.config)
    deviation = groups.std(ddof=1) / groups.size() ** 0.5
    result = table.groupby("config")[parameters(table)].first()
    result["trials"] = groups.size()
    result["score"] = groups.mean().where(groups.count() == groups.size())
    result["standard_error"] = deviation.where(result.score.notna())
    return result.reset_index().sort_values("score", kind="stable", ignore_index=True)


def best(table: pd.DataFrame) -> dict:
    """The configuration with the lowest mean score, as a dict. ValueError if no trial has a score."""
    return _config_of(table, _ranked(table).iloc[0])


def one_standard_error(table: pd.DataFrame, by: str) -> dict:
    """The simplest configuration, smallest in column `by`, whose mean score is within one standard error of the best.

    The best of many noisy means is lucky; one that cannot be told from it and is simpler is the safer choice (Breiman
    et al. 1984, "Classification and regression trees", section 3.4.3). The error is that of the best configuration.
    """
    ranked = _ranked(table)
    if by not in ranked:
        raise ValueError(f"by must be one of {', '.join(parameters(table))}, got {by!r}")
    top = ranked.iloc[0]
    if math.isnan(top.standard_error):
        raise ValueError("the rule needs at least 2 trials (seeds or folds) a configuration, got 1")
    close = ranked[ranked.score <= top.score + top.standard_error]
    return _config_of(table, close.sort_values([by, "score"], kind="stable").iloc[0])


def _ranked(table: pd.DataFrame) -> pd.DataFrame:
    ranked = summary(table).dropna(subset="score")
    if ranked.empty:
        raise ValueError(f"table must hold at least one trial with a score, got {len(table)} trials without")
    return ranked


def _config_of(table: pd.DataFrame, row: pd.Series) -> dict:
    first = table[table.config == row.config].iloc[:1]
    return {key: first[key].tolist()[0] for key in parameters(table)}


def _check(configs, seeds, folds: int, epochs: int) -> None:
    if not len(configs):
        raise ValueError("configs must hold at least one configuration, got none")
    if not seeds:
        raise ValueError("seeds must hold at least one seed, got none")
    check_at_least(1, folds=folds, epochs=epochs)
    check_names(key for config in configs for key in config)
