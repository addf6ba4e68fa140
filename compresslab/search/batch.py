"""Many trials of the digits objective trained as one batched model: the same table, sooner (lessons 20 and 21)."""

import math
import time
from collections.abc import Iterable, Iterator, Sequence

import pandas as pd

from ..training import fit_many
from .digits import DigitsObjective, sgd
from .trials import failure, outcome_of, plan, row_of, table_of

RULE = ("lr", "momentum", "weight_decay")  # what may differ within a batch, besides seed and fold


def evaluate_batch(
    objective: DigitsObjective,
    configs: Sequence[dict],
    *,
    seeds: Iterable[int] = (0,),
    epochs: int = 10,
    test: bool = False,
    progress: bool = False,
) -> pd.DataFrame:
    """The table of `trials.evaluate(objective, configs, folds=objective.folds, ...)`, sooner.

    Trials that differ only in numbers of the update rule (lr, momentum, weight_decay), seed and fold are trained as one
    batched model, `training.fit_many`; hidden, batch_size and the size of a fold, which may differ by one, divide them
    into several batches. Run for run, the numbers are those of training one by one, up to rounding. `seconds` is a
    trial's share. A stop, or an interrupt, keeps the epochs that are done: their trials are marked as pruned.
    `test=True` adds the column test_score, measured on the test set that no trial has seen.
    """
    rows = []
    for jobs, history, networks, seconds in _batches(objective, configs, seeds, epochs, progress):
        for i, job in enumerate(jobs):
            if isinstance(history, Exception):
                outcome = failure(history)
            else:
                spent = int(history.epoch.iloc[-1])
                status = "done" if spent == epochs else "pruned"
                outcome = outcome_of(history.score.iloc[i - len(jobs)], spent, status)
            row = row_of(job, outcome | dict(seconds=seconds / len(jobs)))
            if test:
                row["test_score"] = objective.test_score(networks[i]) if row["status"] == "done" else math.nan
            rows.append(row)
    rows = sorted(rows, key=lambda row: row["trial"])
    table = table_of(rows, configs)
    return table.assign(test_score=[row["test_score"] for row in rows]) if test else table


def learning_curves(
    objective: DigitsObjective,
    configs: Sequence[dict],
    *,
    seeds: Iterable[int] = (0,),
    epochs: int = 10,
    progress: bool = False,
) -> pd.DataFrame:
    """The score of every trial after every epoch, trained in batches as in `evaluate_batch`.

    Columns: trial, config, the configuration's own, seed, fold, epoch, score (nan where it diverged).
    """
    frames = []
    for jobs, history, *_ in _batches(objective, configs, seeds, epochs, progress):
        if isinstance(history, Exception):
            raise history
        heads = pd.DataFrame([row_of(job, {}) for job in jobs])
        frames.append(heads.iloc[history.run].assign(epoch=history.epoch.values, score=history.score.values))
    return pd.concat(frames).sort_values(["trial", "epoch"], ignore_index=True)


class Replay:
    """Learning curves that were trained before, handed out epoch by epoch in place of a training.

    Called as `DigitsObjective.curve` is: a search sees the same numbers in the same order and its epochs are counted in
    the same way, while all the training was done at once, as a batch. `curves` is a table of `learning_curves`. Raises
    ValueError for a trial that is not in it.
    """

    def __init__(self, curves: pd.DataFrame):
        keys = [column for column in curves if column not in ("trial", "config", "epoch", "score")]
        self._names = keys[:-2]
        self._scores = {key: group.tolist() for key, group in curves.groupby(keys, sort=False).score}

    def curve(self, config: dict, *, seed: int = 0, fold: int = 0, epochs: int | None = None) -> Iterator[float]:
        key = (*(config[name] for name in self._names), seed, fold)
        if key not in self._scores:
            raise ValueError(f"config must be one whose curve was trained, got {config} with seed {seed}, fold {fold}")
        yield from self._scores[key][:epochs]

    def __call__(self, config: dict, *, seed: int = 0, fold: int = 0, epochs: int) -> float:
        """The score after `epochs` epochs."""
        *_, score = self.curve(config, seed=seed, fold=fold, epochs=epochs)
        return score


def _batches(objective, configs, seeds, epochs: int, progress: bool) -> Iterator[tuple]:
    """Batch by batch: (jobs; history with the columns run, epoch, score, or what was raised; networks; seconds)."""
    groups: dict[tuple, list] = {}
    for job in plan(configs, seeds, objective.folds, epochs):
        try:
            settings = objective.settings(job["config"])
        except ValueError as error:
            yield [job], error, [], 0.0
            continue
        dataset, train, val = objective.rows(job["fold"])
        key = (settings["hidden"], settings["batch_size"], len(train), len(val))
        groups.setdefault(key, []).append((job, settings, (train, val)))
    for group in groups.values():
        jobs, settings, rows = zip(*group)
        start = time.perf_counter()
        runs = [{key: s[key] for key in RULE} | dict(seed=job["seed"]) for job, s in zip(jobs, settings)]
        try:
            history, networks = fit_many(
                objective.network(settings[0]), dataset, runs, sgd, rows=rows, epochs=epochs,
                batch_size=settings[0]["batch_size"], dtype=objective.dtype, progress=progress,
            )  # fmt: skip
        except Exception as error:
            yield list(jobs), error, [], time.perf_counter() - start
            continue
        if history.empty:
            return
        scores = [objective.score(loss, right) for loss, right in zip(history.val_loss, history.val_accuracy)]
        yield list(jobs), history.assign(score=scores), networks, time.perf_counter() - start
        if history.epoch.iloc[-1] < epochs:  # stopped
            return
