"""What is left of a model when a share of its structures is removed: parameters, multiply-accumulates and time."""

import time
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ..intervals import median_interval
from ..measure import check_at_least, count_macs, count_parameters, paired_times
from .groups import Group, cut, dense_copy
from .structures import kept_structures, local_counts


def builder(model: nn.Module, groups: Sequence[Group], example_inputs: Tensor) -> Callable:
    """build(ratio, round_to) -> (smaller model, its parameters, its MACs); each is made when first asked for.

    Which structures go does not matter to the cost, so the first ones go.
    """
    dense, alike = dense_copy(model), [torch.ones(group.size) for group in groups]

    @cache
    def build(ratio: float, round_to: int) -> tuple[nn.Module, int, int]:
        small = cut(dense, groups, kept_structures(groups, alike, local_counts(groups, alike, ratio), round_to))
        return small, count_parameters(small), count_macs(small, example_inputs)

    return build


def timed_shares(
    build: Callable,
    example_inputs: Tensor,
    ratios: Sequence[float],
    *,
    batch: int = 1,
    round_to: int = 1,
    rounds: int = 20,
    warmup: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> pd.DataFrame:
    """Remove each of `ratios` of the structures of every group, and compare with the whole model: see `builder`.

    One row a ratio: ratio, batch, round_to; parameters, macs (of one example) and time, as shares of the dense model's;
    time_low, time_high, the 95 % interval of the median over the rounds; ms, the median of the time itself. The time is
    that of random inputs of shape (batch, *example_inputs.shape[1:]), on one thread; in each round the dense model is
    timed once. ValueError as from `structure_masks`, for fewer than 6 rounds and for a batch without examples.
    """
    check_at_least(6, rounds=rounds)
    check_at_least(1, batch=batch, round_to=round_to)
    dense, whole, macs = build(0, 1)
    smaller = [build(ratio, round_to) for ratio in ratios]
    x = torch.rand(batch, *example_inputs.shape[1:], generator=torch.Generator().manual_seed(0))
    models = [dense, *(model for model, _, _ in smaller)]
    seconds = paired_times(models, x, rounds=rounds, warmup=warmup, clock=clock)
    rows = []
    for ratio, (_, left, left_macs), own in zip(ratios, smaller, seconds.T[1:]):
        row = dict(ratio=ratio, batch=batch, round_to=round_to, parameters=left / whole, macs=left_macs / macs)
        row |= zip(("time", "time_low", "time_high"), median_interval(own / seconds[:, 0]))
        rows.append(row | dict(ms=1e3 * float(np.median(own))))
    return pd.DataFrame(rows)
