"""The objective of lessons 20 and 21: a small network on the digits, with k-fold cross-validation."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from sklearn.model_selection import StratifiedKFold
from torch import Tensor

from .. import data, models
from ..measure import count_parameters
from ..training import epoch_by_epoch, evaluate

DEFAULTS = dict(lr=0.05, momentum=0.9, weight_decay=0.0, hidden=32, batch_size=32)


def sgd(param, grad, state, *, lr, momentum, weight_decay):
    """g ← grad + λ·θ, v ← μ·v + g, θ ← θ − lr·v: `torch.optim.SGD` with momentum and weight decay (L2)."""
    velocity = momentum * state.get("velocity", 0.0) + grad + weight_decay * param
    return param - lr * velocity, {"velocity": velocity}


def pool(dataset) -> data.Split:
    """Training and validation examples together: what cross-validation divides. The test set is left alone."""
    return data.Split(*(torch.cat(pair) for pair in zip(dataset.train, dataset.val)))


def kfold(dataset, k: int, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """k pairs (rows to train on, rows to validate on) of `pool(dataset)`, int64; every row validates exactly once.

    Each class is divided evenly (scikit-learn's StratifiedKFold, shuffled with `seed`).
    """
    x, y = pool(dataset)
    if not 2 <= k <= len(y):
        raise ValueError(f"k must be in 2..{len(y)}, got {k}")
    splitter = StratifiedKFold(k, shuffle=True, random_state=seed)
    return [(torch.from_numpy(train), torch.from_numpy(val)) for train, val in splitter.split(x.flatten(1), y)]


@lru_cache(maxsize=8)
def _folds(folds: int, split_seed: int, dtype: torch.dtype) -> tuple[data.Data, list[tuple[Tensor, Tensor]]]:
    """(digits with the pool as training set, rows of each fold). One fold: train and validation set as they are."""
    digits = data.load("digits")
    x, y = pool(digits)
    whole = data.Data(digits.name, digits.classes, data.Split(x.to(dtype), y), digits.val, digits.test)
    if folds > 1:
        return whole, kfold(digits, folds, split_seed)
    n = len(digits.train.y)
    return whole, [(torch.arange(n), torch.arange(n, len(y)))]


@dataclass(frozen=True)
class DigitsObjective:
    """Validation score of a one-hidden-layer network on the digits, trained by SGD with momentum. Lower is better.

    A configuration may hold lr, momentum, weight_decay (L2), hidden (neurons), batch_size; what it leaves out is taken
    from DEFAULTS. metric: "error", the share of wrong answers, or "loss", the cross-entropy in nats. folds: 1 for
    the data set's own validation set, or k for k-fold cross-validation; the test set is never looked at. A training
    whose loss is no longer finite scores nan. Small, and sent to other processes without its data.

    >>> objective = DigitsObjective("error")
    >>> 0 < objective(dict(lr=0.1), seed=0, epochs=3) < 0.3
    True
    """

    metric: str = "error"
    folds: int = 1
    split_seed: int = 0
    dtype: torch.dtype = torch.float32

    def __post_init__(self):
        if self.metric not in ("error", "loss"):
            raise ValueError(f"metric must be one of error, loss, got {self.metric!r}")
        if self.folds < 1:
            raise ValueError(f"folds must be at least 1, got {self.folds}")

    def __call__(self, config: dict, *, seed: int = 0, fold: int = 0, epochs: int = 10) -> float:
        """The score after `epochs` epochs."""
        *_, score = self.curve(config, seed=seed, fold=fold, epochs=epochs)
        return score

    def curve(self, config: dict, *, seed: int = 0, fold: int = 0, epochs: int = 100) -> Iterator[float]:
        """The score after each epoch, at most `epochs` of them; each `next` trains one epoch more, and none ahead."""
        settings = self.settings(config)
        dataset, model = self._data(fold), self.network(settings)(seed=seed).to(self.dtype)
        optimizer = partial(torch.optim.SGD, **{key: settings[key] for key in ("lr", "momentum", "weight_decay")})
        for row in epoch_by_epoch(
            model, dataset, optimizer, epochs=epochs, batch_size=settings["batch_size"], seed=seed
        ):
            yield self.score(row["val_loss"], row["val_accuracy"])

    def error_and_size(self, config: dict, *, seed: int = 0, fold: int = 0, epochs: int = 10) -> tuple[float, int]:
        """(score, number of parameters): two things to make small at once."""
        return self(config, seed=seed, fold=fold, epochs=epochs), count_parameters(
            self.network(self.settings(config))()
        )

    def settings(self, config: dict) -> dict:
        """`config` with all that it leaves out."""
        if unknown := set(config) - set(DEFAULTS):
            raise ValueError(f"config may hold {', '.join(DEFAULTS)}, got {', '.join(sorted(unknown))}")
        return DEFAULTS | config

    def network(self, settings: dict):
        """A function (seed=None) -> network."""
        return partial(models.mlp, (64, settings["hidden"], 10))

    def score(self, loss: float, accuracy: float) -> float:
        """What the objective returns for a validation loss and accuracy."""
        if not math.isfinite(loss):
            return math.nan
        return loss if self.metric == "loss" else 1 - accuracy

    def test_score(self, network) -> float:
        """The score of a trained network on the test set."""
        x, y = data.load("digits").test
        result = evaluate(network, (x.to(self.dtype), y))
        return self.score(result.loss, result.accuracy)

    def rows(self, fold: int) -> tuple[data.Data, Tensor, Tensor]:
        """(data set, rows of its training set to train on, rows to validate on)."""
        if not 0 <= fold < self.folds:
            raise ValueError(f"fold must be in 0..{self.folds - 1}, got {fold}")
        whole, folds = _folds(self.folds, self.split_seed, self.dtype)
        return whole, *folds[fold]

    def _data(self, fold: int) -> data.Data:
        whole, train, val = self.rows(fold)
        (x, y), part = whole.train, data.Split
        return data.Data("digits", whole.classes, part(x[train], y[train]), part(x[val], y[val]), whole.test)
