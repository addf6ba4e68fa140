"""A fair race: every optimizer at every learning rate with several seeds, then each at its own best (lesson 11)."""

import numpy as np
import pandas as pd
from scipy import stats

from ..training import evaluate, fit_many
from .rules import get_rule

LEARNING_RATES = tuple(float(f"{10**exponent:.2g}") for exponent in np.arange(-4, 1.01, 1 / 3))


def race(make_model, data, names, *, lrs=LEARNING_RATES, seeds=range(5), progress=False, **settings):
    """Train every (optimizer, learning rate, seed); returns (history, models).

    history: the columns of `training.fit_many` and `optimizer`. models: {(optimizer, lr, seed): trained network}.
    All learning rates and seeds of one optimizer are trained as one batch. `settings` go to `fit_many`.
    """
    runs, frames, models = [dict(lr=lr, seed=seed) for lr in lrs for seed in seeds], [], {}
    for name in names:
        history, trained = fit_many(make_model, data, runs, get_rule(name), progress=progress, **settings)
        frames.append(history.assign(optimizer=name))
        models |= {(name, run["lr"], run["seed"]): model for run, model in zip(runs, trained)}
    return pd.concat(frames, ignore_index=True), models


def last_epoch(history: pd.DataFrame) -> pd.DataFrame:
    """The rows of the last epoch; runs that diverged get an infinite loss instead of nan."""
    last = history[history.epoch == history.epoch.max()].copy()
    last[["train_loss", "val_loss"]] = last[["train_loss", "val_loss"]].fillna(np.inf)
    return last


def best_lr(history: pd.DataFrame) -> pd.Series:
    """For each optimizer, the learning rate with the lowest mean validation loss over the seeds at the end."""
    mean = last_epoch(history).groupby(["optimizer", "lr"], sort=False).val_loss.mean()
    return mean.groupby("optimizer", sort=False).idxmin().map(lambda key: key[1])


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
    """One row an optimizer at its own best learning rate: accuracies in percent, mean over the seeds and ± half the 95 %
    interval; the gap between training and test accuracy in points; the width of the good valley in decades.
    """
    rows, last = [], last_epoch(history)
    for name, lr in best_lr(history).items():
        chosen = [model for (n, rate, _), model in models.items() if (n, rate) == (name, lr)]
        train, test = (np.array([100 * evaluate(m, s).accuracy for m in chosen]) for s in (data.train, data.test))
        row = dict(optimizer=name, best_lr=lr)
        for key, values in (("train", train), ("test", test), ("gap", train - test)):
            mean, low, _ = mean_interval(values)
            row |= {f"{key}_%": mean, f"{key}_±": mean - low}
        by_lr = last[last.optimizer == name].groupby("lr").val_loss.mean()
        rows.append(row | dict(valley_decades=valley_width(by_lr.index, by_lr)))
    return pd.DataFrame(rows).set_index("optimizer")
