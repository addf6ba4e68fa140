"""The sensitivity scan (lesson 30): how much does each layer stand, one at a time? It feeds a budget for each layer."""

import copy
from collections.abc import Sequence

import pandas as pd
from torch import nn

from ..intervals import wilson_interval
from ..training import evaluate
from .criteria import scores
from .groups import dense_copy
from .masks import local_masks, mask_


def scan(
    model: nn.Module,
    split,
    sparsities: Sequence[float] = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98),
    *,
    layers=None,
) -> pd.DataFrame:
    """Prune one layer at a time, all others left as they are, and evaluate on `split`, a pair (x, y), without training.

    One row a layer and sparsity, 0 always among them: layer, parameters (of its weight), sparsity, loss, accuracy,
    accuracy_low, accuracy_high (95 % Wilson interval). The smallest weights go first; `layers` names some layers only.
    The model is not changed. ValueError as from `criteria.scores` and `masks.local_masks`.
    H. Li et al., "Pruning filters for efficient ConvNets" (2017), section 3.2.
    """
    whole = dense_copy(model)
    found = scores(whole, "l1", layers=layers)
    rows = []
    for name, score in found.items():
        for sparsity in sorted({0.0, *sparsities}):
            pruned = copy.deepcopy(whole)
            mask_(pruned, local_masks({name: score}, sparsity))
            loss, correct, n = evaluate(pruned, split)
            low, high = wilson_interval(correct, n)
            row = dict(layer=name.removesuffix(".weight"), parameters=score.numel(), sparsity=sparsity, loss=loss)
            rows.append(row | dict(accuracy=correct / n, accuracy_low=low, accuracy_high=high))
    return pd.DataFrame(rows)


def budget(scan: pd.DataFrame, max_drop: float = 0.01) -> dict[str, float]:
    """{layer: sparsity}: the largest measured one up to which the accuracy stays within `max_drop` of the dense one.

    Monotone rule: walk up from 0 and stop before the first sparsity that loses more, so that one lucky measurement
    above it does not count. The drops of several layers add up, roughly: choose `max_drop` well below what the whole
    network may lose. ValueError for a negative or missing number.

    >>> table = pd.DataFrame(dict(layer="1", sparsity=[0.0, 0.5, 0.8, 0.9], accuracy=[0.97, 0.96, 0.9, 0.97]))
    >>> budget(table, max_drop=0.01)
    {'1': 0.5}
    """
    if not max_drop >= 0:
        raise ValueError(f"max_drop must be at least 0, got {max_drop}")
    chosen = {}
    for layer, rows in scan.sort_values("sparsity").groupby("layer", sort=False):
        lost = rows.accuracy.iloc[0] - rows.accuracy > max_drop + 1e-9  # 0.97 - 0.96 is 0.010000000000000009
        chosen[layer] = float(rows.sparsity[~lost.cummax()].iloc[-1])
    return {layer: chosen[layer] for layer in scan.layer.unique()}
