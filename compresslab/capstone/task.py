"""The task of the capstone: a network that is larger than it need be, and a budget to bring it under."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from .. import training
from ..data import Data
from ..models import seeded


@dataclass(frozen=True)
class Budget:
    """What the file must keep: bytes, speed and answers.

    kb: size of the file, at most (1,000 bytes). speedup: how many times as fast as the original in the same runtime,
    float, `batch` images at a time, at least. drop: points of accuracy (hundredths) it may lose against the original
    on the same images, at most.
    """

    kb: float = 60.0
    speedup: float = 2.5
    drop: float = 1.5
    batch: int = 64

    def __post_init__(self):
        for name, value in (("kb", self.kb), ("speedup", self.speedup), ("batch", self.batch)):
            if not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}")
        if not self.drop >= 0:
            raise ValueError(f"drop must be at least 0, got {self.drop}")


BUDGET = Budget()


def network(seed: int | None = None, widths: tuple[int, int, int] = (32, 64, 128)) -> nn.Sequential:
    """Two convolutions and two linear layers for (n, 1, 8, 8) digits, untrained; the original has 151,338 parameters.

    widths: channels of the two convolutions, neurons of the hidden layer.
    """
    first, second, hidden = widths
    with seeded(seed):
        return nn.Sequential(
            nn.Conv2d(1, first, 3, padding=1), nn.BatchNorm2d(first), nn.ReLU(),
            nn.Conv2d(first, second, 3, padding=1), nn.BatchNorm2d(second), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(16 * second, hidden), nn.ReLU(),
            nn.Linear(hidden, 10),
        )  # fmt: skip


def train(model: nn.Module, digits: Data, epochs: int = 6, lr: float = 3e-3, seed: int = 0, **settings) -> nn.Module:
    """Train `model` in place with Adam and a one-cycle schedule (a second or two); gives it back in eval mode."""
    from ..optimizers.schedules import one_cycle

    make = partial(torch.optim.Adam, lr=lr)
    training.fit(model, digits, make, epochs=epochs, schedule=one_cycle, seed=seed, **settings)
    return model.eval()


def reference(digits: Data, seed: int = 0) -> nn.Module:
    """The original, trained: the same on the same machine for the same seed."""
    return train(network(seed), digits, seed=seed)
