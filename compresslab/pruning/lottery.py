"""The lottery ticket (lesson 30): does the mask need the weights it grew with? Rewind them, or draw them anew."""

from collections.abc import Callable, Sequence

import pandas as pd
import torch
from torch import Tensor

from ..measure import check_at_least
from ..training import fit_many, track
from .masks import weight_masks

STARTS = dict(rewound=0, redrawn=1000)  # how far the seed of the start lies from the seed of the mask


def ticket(
    make_model: Callable,
    data,
    rule: Callable,
    *,
    lr: float,
    rate: float = 0.2,
    rounds: int = 8,
    seeds: Sequence[int] = (0, 1, 2),
    epochs: int = 10,
    scope: str = "local",
    progress: bool = False,
    **settings,
) -> tuple[pd.DataFrame, dict[int, dict[str, Tensor]]]:
    """Iterative magnitude pruning with rewinding; returns (history, tickets).

    J. Frankle, M. Carbin, "The lottery ticket hypothesis" (2019). Each round trains, masks the `rate` of the remaining
    weights that are smallest, and puts the others back to their start: after k rounds (1 - rate)ᵏ of them remain.
    Beside every such run goes its control, the same mask on another random start, that of seed + 1000.

    All runs of a round are trained at once by `training.fit_many` with `rule` and `lr`; `settings` go to it too
    (batch_size ...). History, one row a run and epoch: start ("rewound" or "redrawn"), seed, epoch, train_loss,
    val_loss, val_accuracy, round, sparsity. Round 0 is dense. Tickets: the masks of the last round, {seed: masks}. An
    interrupt keeps the rounds that are done. ValueError as from `masks.weight_masks` and `fit_many`.
    """
    if not 0 < rate < 1:
        raise ValueError(f"rate must be in (0, 1), got {rate}")
    check_at_least(1, epochs=epochs)
    if not seeds:
        raise ValueError("seeds must hold at least one seed, got none")
    trained = {seed: make_model(seed=seed) for seed in seeds}
    if scope == "local":  # refuses now, not after some rounds, what would empty a layer
        weight_masks(trained[seeds[0]], 1 - (1 - rate) ** rounds, scope="local")
    labels = pd.DataFrame([dict(start=start, seed=seed) for start in STARTS for seed in seeds])
    runs = [dict(lr=lr, seed=seed + offset) for offset in STARTS.values() for seed in seeds]
    tables, tickets = [], {}
    for k in track(range(rounds + 1), "rounds", show=progress):
        sparsity = 1 - (1 - rate) ** k
        masks = {seed: weight_masks(model, sparsity, scope=scope) for seed, model in trained.items()}
        stacked = {name: torch.stack([masks[seed][name] for seed in labels.seed]) for name in masks[seeds[0]]}
        history, models = fit_many(make_model, data, runs, rule, masks=stacked, epochs=epochs, **settings)
        if len(history) < epochs * len(runs):
            break  # interrupted
        tickets, trained = masks, dict(zip(seeds, models))  # the rewound ones; what was masked is 0, the smallest
        history = labels.loc[history.run].reset_index(drop=True).join(history.drop(columns=["run", "lr", "seed"]))
        tables.append(history.assign(round=k, sparsity=sparsity))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(), tickets
