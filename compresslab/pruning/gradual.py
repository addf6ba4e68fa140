"""Gradual pruning (lesson 30): train and prune together, the sparsity rising along a schedule."""

import math
from collections.abc import Callable

import pandas as pd
import torch
from torch import nn

from ..training import fit
from .masks import check, mask_, weight_masks
from .masks import sparsity as share_of_zeros
from .schedules import cubic


def prune_and_train_(
    model: nn.Module,
    data,
    sparsity: float | dict[str, float],
    schedule: Callable[[float], float] = cubic,
    *,
    criterion: str = "l1",
    scope: str = "global",
    epochs: int = 10,
    batch_size: int = 32,
    begin: float = 0.0,
    end: float = 0.75,
    every: float = 0.02,
    split=None,
    generator: torch.Generator | None = None,
    lr_schedule: Callable[[float], float] | None = None,
    **settings,
) -> pd.DataFrame:
    """Train `model` in place with `training.fit`, masking more and more of its weights; returns fit's history.

    At progress `begin` of the training, then `every` so much further, and last at `end`, the masks are drawn anew from
    the weights of that moment, with schedule((progress - begin) / (end - begin)) of the final `sparsity`, a number or
    {layer: number} (a `sensitivity.budget`). Masks nest: what is pruned stays pruned. Between and after, the
    rest is trained. `split` is what gradients and norms are taken over (default: data.train); `settings` go to `fit`.

    The history has a column sparsity, the share of zeros at the end of the epoch, more. The model stays masked:
    `bake_` makes it final. ValueError for bad arguments, before anything is changed; only a global threshold that
    leaves a layer empty is found out on the way, and stops the training there.
    """
    if not 0 <= begin < end <= 1 or not every > 0:
        raise ValueError(f"0 <= begin < end <= 1 and every > 0 must hold, got begin={begin}, end={end}, every={every}")
    split = data.train if split is None else split
    check(model, sparsity, criterion, scope, split)
    if scope == "local" or isinstance(sparsity, dict):
        weight_masks(model, sparsity, scope="local")  # refuses now, not at the end, what would empty a layer
    due, zeros, after_step = begin, share_of_zeros(model), []

    def prune(progress: float) -> None:
        nonlocal due, zeros
        if progress >= due:
            share = schedule(min((progress - begin) / (end - begin), 1.0))
            now = {k: share * v for k, v in sparsity.items()} if isinstance(sparsity, dict) else share * sparsity
            mask_(model, weight_masks(model, now, criterion, scope, split=split, generator=generator))
            due, zeros = min(due + every, end) if progress < end else float("inf"), share_of_zeros(model)
        after_step.append(zeros)

    settings |= dict(epochs=epochs, batch_size=batch_size, schedule=lr_schedule)
    history = fit(model, data, on_step=prune, **settings)
    steps = math.ceil(len(data.train.x) / batch_size)
    return history.assign(sparsity=[after_step[epoch * steps - 1] for epoch in history.epoch])
