"""Objectives of the tests, in a file of their own: worker processes must be able to import them."""

import math
import os
import signal
from pathlib import Path

from compresslab.search.digits import DigitsObjective

DIGITS = DigitsObjective("loss", folds=3)


def bowl(config, *, seed, fold, epochs):
    """A closed form: lowest at x = 0.3, falls with the epochs, shifts a little with seed and fold."""
    return (config["x"] - 0.3) ** 2 + 1 / epochs + 0.01 * seed + 0.001 * fold


def mixed(config, *, seed, fold, epochs):
    """Some trials are trained for real, some raise, some diverge."""
    if config["lr"] < 0:
        raise ValueError(f"lr must be positive, got {config['lr']}")
    if config["lr"] > 10:
        return math.nan
    return DIGITS(config, seed=seed, fold=fold, epochs=epochs)


def deadly(config, *, seed, fold, epochs):
    """Kills its own worker: always where `times` is inf, else as often as `times` says. Counts in files of `folder`."""
    marks = Path(config["folder"])
    tries = len(list(marks.glob(f"{config['x']}-*")))
    (marks / f"{config['x']}-{tries}").touch()
    if tries < config["times"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return config["x"]
