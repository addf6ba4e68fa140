"""A fair race: every optimizer at every learning rate with several seeds, then each at its own best (lesson 11)."""

import itertools

import numpy as np
import pandas as pd

from ..intervals import mean_interval
from ..training import evaluate, fit_many, track
from .rules import get_rule

LEARNING_RATES = tuple(float(f"{10**exponent:.2g}") for exponent in np.arange(-4, 1.01, 1 / 3))


def sweep(make_model, data, rule, *, lrs=LEARNING_RATES, seeds=range(5), **settings):
    """Train every (learning rate, seed) with one rule as one batch: `training.fit_many`'s (history, models)."""
    return fit_many(make_model, data, [dict(lr=lr, seed=seed) for lr in lrs for seed in seeds], rule, **settings)


def race(make_model, data, names, *, lrs=LEARNING_RATES, seeds=range(5), epochs=10, progress=False, **settings):
    """Train every (optimizer, learning rate, seed); returns (history, models).

    history: the columns of `training.fit_many` and the optimizer's `name`. models: {(name, lr, seed): trained network}.
    `settings` go to `fit_many`. An interrupt keeps the optimizers that are done. Raises ValueError for an unknown
    optimizer, before anything is trained.
    """
    rules, frames, models = {name: get_rule(name) for name in names}, [], {}
    for name in track(names, "optimizers", show=progress):
        history, trained = sweep(make_model, data, rules[name], lrs=lrs, seeds=seeds, epochs=epochs, **settings)
        if history.empty or history.epoch.max() < epochs:  # interrupted
            break
        frames.append(history.assign(name=name))
        models |= dict(zip(itertools.product([name], lrs, seeds), trained))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(), models


def last_epoch(history: pd.DataFrame) -> pd.DataFrame:
    """The rows of the last epoch; runs that diverged get an infinite loss instead of nan."""
    last = history[history.epoch == history.epoch.max()].copy()
    last[["train_loss", "val_loss"]] = last[["train_loss", "val_loss"]].fillna(np.inf)
    return last


def best_lr(history: pd.DataFrame) -> pd.Series:
    """For each name, the learning rate with the lowest mean validation loss over the seeds at the end."""
    mean = last_epoch(history).groupby(["name", "lr"], sort=False).val_loss.mean()
    return mean.groupby("name", sort=False).idxmin().map(lambda key: key[1])


def at_best(history: pd.DataFrame, name: str) -> pd.DataFrame:
    """The runs of `name` at its best learning rate in the last epoch, one row a seed, indexed by seed."""
    last = last_epoch(history)
    return last[(last["name"] == name) & (last.lr == best_lr(history)[name])].set_index("seed")


def best_losses(history: pd.DataFrame) -> pd.DataFrame:
    """For each name: its best learning rate, and there the mean validation loss over the seeds, ± half its interval."""
    rows = []
    for name, lr in best_lr(history).items():
        mean, low, _ = mean_interval(at_best(history, name).val_loss)
        rows.append({"name": name, "best_lr": lr, "val_loss": mean, "±": mean - low})
    return pd.DataFrame(rows).set_index("name")


def good_rates(history: pd.DataFrame, factor: float = 2.0) -> pd.DataFrame:
    """The good valley of each name: the rates whose mean validation loss is at most `factor` times the best.

    Columns: lowest, best, highest (learning rates), decades (log10 of highest / lowest).
    """
    rows = []
    for name, group in last_epoch(history).groupby("name", sort=False):
        loss = group.groupby("lr").val_loss.mean()
        good = loss.index[loss <= factor * loss.min()]
        rows.append(dict(name=name, lowest=good.min(), best=loss.idxmin(), highest=good.max()))
    table = pd.DataFrame(rows).set_index("name")
    return table.assign(decades=np.log10(table.highest / table.lowest))


def rate_needed(history: pd.DataFrame, loss: float) -> pd.Series:
    """For each name, the lowest learning rate at which the mean validation loss falls to `loss`, interpolated between
    the rates tried (linearly in the logarithms); nan where none gets there.
    """
    rates = {}
    for name, group in last_epoch(history).groupby("name", sort=False):
        mean = group.groupby("lr").val_loss.mean()
        falling = mean[: mean.idxmin()]  # the left wall of the valley, with its lowest point
        rates[name] = np.exp(np.interp(-np.log(loss), -np.log(falling), np.log(falling.index)))
        if loss < falling.iloc[-1] or loss > falling.iloc[0]:
            rates[name] = np.nan
    return pd.Series(rates, name="rate needed")


def results(history: pd.DataFrame, models: dict, data) -> pd.DataFrame:
    """One row an optimizer at its own best learning rate.

    Accuracies in percent, mean over the seeds and ± half its 95 % interval; gap: training minus test accuracy, in
    points; valley_decades: width of the range of good learning rates.
    """
    rows = []
    for name, lr in best_lr(history).items():
        chosen = [model for (n, rate, _), model in models.items() if (n, rate) == (name, lr)]
        train, test = (np.array([100 * evaluate(m, s).accuracy for m in chosen]) for s in (data.train, data.test))
        row = dict(name=name, best_lr=lr)
        for key, values in (("train_%", train), ("test_%", test), ("gap", train - test)):
            mean, low, _ = mean_interval(values)
            row |= {key: mean, f"± {key}": mean - low}
        rows.append(row)
    return pd.DataFrame(rows).set_index("name").join(good_rates(history).decades.rename("valley_decades"))


def epochs_to_reach(history: pd.DataFrame, lrs, accuracy: float = 0.9) -> pd.DataFrame:
    """Epochs until the validation accuracy first reaches `accuracy`, for each name at its learning rate in `lrs`.

    One row a name: lr, seeds that got there, epochs (mean over those seeds), fewest, most.
    """
    rows = []
    for name, lr in dict(lrs).items():
        runs = history[(history["name"] == name) & (history.lr == lr)]
        first = runs[runs.val_accuracy >= accuracy].groupby("seed").epoch.min()
        row = {"name": name, "lr": lr, "seeds": f"{len(first)} of {runs.seed.nunique()}"}
        rows.append(row | {"epochs": first.mean(), "fewest": first.min(), "most": first.max()})
    return pd.DataFrame(rows).set_index("name")
