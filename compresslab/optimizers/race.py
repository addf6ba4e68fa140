"""A fair race: every optimizer at every learning rate with several seeds, then each at its own best (lesson 11)."""

import itertools

import numpy as np
import pandas as pd
from scipy import stats

from ..training import evaluate, fit_many, track
from .rules import get_rule

LEARNING_RATES = tuple(float(f"{10**exponent:.2g}") for exponent in np.arange(-4, 1.01, 1 / 3))


def sweep(make_model, data, rule, *, lrs=LEARNING_RATES, seeds=range(5), **settings):
    """Train every (learning rate, seed) with one rule as one batch: `training.fit_many`'s (history, models)."""
    return fit_many(make_model, data, [dict(lr=lr, seed=seed) for lr in lrs for seed in seeds], rule, **settings)


def race(make_model, data, names, *, lrs=LEARNING_RATES, seeds=range(5), progress=False, **settings):
    """Train every (optimizer, learning rate, seed); returns (history, models).

    history: the columns of `training.fit_many` and the optimizer's `name`. models: {(name, lr, seed): trained network}.
    `settings` go to `fit_many`. A press of Stop keeps the optimizers that are done. Raises ValueError for an unknown
    optimizer, before anything is trained.
    """
    rules, frames, models = {name: get_rule(name) for name in names}, [], {}
    for name in track(names, "optimizers", show=progress):
        history, trained = sweep(make_model, data, rules[name], lrs=lrs, seeds=seeds, **settings)
        frames.append(history.assign(name=name))
        models |= dict(zip(itertools.product([name], lrs, seeds), trained))
    return pd.concat(frames, ignore_index=True), models


def last_epoch(history: pd.DataFrame) -> pd.DataFrame:
    """The rows of the last epoch; runs that diverged get an infinite loss instead of nan."""
    last = history[history.epoch == history.epoch.max()].copy()
    last[["train_loss", "val_loss"]] = last[["train_loss", "val_loss"]].fillna(np.inf)
    return last


def best_lr(history: pd.DataFrame) -> pd.Series:
    """For each name, the learning rate with the lowest mean validation loss over the seeds at the end."""
    mean = last_epoch(history).groupby(["name", "lr"], sort=False).val_loss.mean()
    return mean.groupby("name", sort=False).idxmin().map(lambda key: key[1])


def best_losses(history: pd.DataFrame) -> pd.DataFrame:
    """For each name: its best learning rate, and there the mean validation loss over the seeds, ± half its interval."""
    last, rows = last_epoch(history), []
    for name, lr in best_lr(history).items():
        mean, low, _ = mean_interval(last[(last["name"] == name) & (last.lr == lr)].val_loss)
        rows.append({"name": name, "best_lr": lr, "val_loss": mean, "±": mean - low})
    return pd.DataFrame(rows).set_index("name")


def valley_width(lrs, losses, factor: float = 2.0) -> float:
    """Decades of learning rate, from the lowest to the highest, whose loss is at most `factor` times the best.

    >>> valley_width([0.001, 0.01, 0.1, 1.0], [0.9, 0.2, 0.3, float("inf")])
    1.0
    """
    lrs, losses = np.asarray(lrs, float), np.asarray(losses, float)
    good = lrs[losses <= factor * np.nanmin(losses)]
    return float(np.log10(good.max() / good.min()))


def mean_interval(values, confidence: float = 0.95) -> tuple[float, float, float]:
    """(mean, low, high): the mean of a few independent values with its Student t interval (Student 1908)."""
    values = np.asarray(values, float)
    if len(values) < 2:
        raise ValueError(f"values must hold at least 2 numbers, got {len(values)}")
    half = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return values.mean(), values.mean() - half, values.mean() + half


def results(history: pd.DataFrame, models: dict, data) -> pd.DataFrame:
    """One row an optimizer at its own best learning rate.

    Accuracies in percent, mean over the seeds and ± half its 95 % interval; gap: training minus test accuracy, in
    points; valley_decades: width of the range of good learning rates.
    """
    rows, last = [], last_epoch(history)
    for name, lr in best_lr(history).items():
        chosen = [model for (n, rate, _), model in models.items() if (n, rate) == (name, lr)]
        train, test = (np.array([100 * evaluate(m, s).accuracy for m in chosen]) for s in (data.train, data.test))
        row = dict(name=name, best_lr=lr)
        for key, values in (("train_%", train), ("test_%", test), ("gap", train - test)):
            mean, low, _ = mean_interval(values)
            row |= {key: mean, f"± {key}": mean - low}
        by_lr = last[last["name"] == name].groupby("lr").val_loss.mean()
        rows.append(row | dict(valley_decades=valley_width(by_lr.index, by_lr)))
    return pd.DataFrame(rows).set_index("name")


def epochs_to_reach(history: pd.DataFrame, lrs, accuracy: float = 0.9) -> pd.DataFrame:
    """Epochs until the validation accuracy first reaches `accuracy`, for each name at its learning rate in `lrs`.

    One row a name: lr, seeds that got there, epochs (mean over those seeds), ± (half of its 95 % interval).
    """
    rows = []
    for name, lr in dict(lrs).items():
        runs = history[(history["name"] == name) & (history.lr == lr)]
        first = runs[runs.val_accuracy >= accuracy].groupby("seed").epoch.min()
        mean, low, _ = mean_interval(first) if len(first) > 1 else (np.nan, np.nan, np.nan)
        rows.append(
            {
                "name": name,
                "lr": lr,
                "seeds": f"{len(first)} of {runs.seed.nunique()}",
                "epochs": mean,
                "±": mean - low,
            }
        )
    return pd.DataFrame(rows).set_index("name")
