"""From which sparsity on is a sparse product faster than the dense one, on this machine?"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
import torch
from torch import nn

from ..intervals import median_interval
from ..measure import check_at_least, paired_times
from .sparse import CSRLinear

SPARSITIES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99)


@dataclass(frozen=True)
class BreakEven:
    """The sparsity from which on CSR is faster (None: nowhere in what was measured), between `low` and `high`."""

    sparsity: float | None
    low: float
    high: float


def dense_and_csr(
    size: tuple[int, int],
    batch: int,
    sparsities: Sequence[float] = SPARSITIES,
    *,
    rounds: int = 30,
    seed: int = 0,
    warmup: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> pd.DataFrame:
    """Time a dense linear layer of `size` (out, in) against the same one as CSR, at each share of zeros.

    One row a sparsity: outputs, inputs, batch, sparsity (exact share of zeros); dense_ms and csr_ms, medians of the
    `rounds`; speedup, the median of the dense time divided by the CSR time of the same round, with its 95 % interval
    speedup_low, speedup_high; rounds. On one thread. The zeros fall at random. In each round the dense layer is timed
    once, for it multiplies zeros as it does other numbers. Raises ValueError for a sparsity outside [0, 1), and for
    sizes, a batch or rounds that are too small.
    """
    sparsities = np.atleast_1d(np.asarray(sparsities, dtype=float))
    if not len(sparsities):
        raise ValueError("sparsities must hold at least one number, got none")
    for value in sparsities:
        if not 0 <= value < 1:
            raise ValueError(f"sparsities must be in [0, 1), got {value:g}")
    check_at_least(1, size=min(size), batch=batch)
    check_at_least(6, rounds=rounds)  # fewer give no 95 % interval of a median
    outputs, inputs = size
    weight, order, state = _numbers(outputs, inputs, seed)
    x = torch.randn(batch, inputs, generator=torch.Generator().set_state(state))
    dense = _layer(weight)
    zeros = [round(value * weight.numel()) for value in sparsities.tolist()]
    sparse = [CSRLinear(_layer(weight.flatten().index_fill(0, order[:n], 0.0).view(size))) for n in zeros]
    seconds = paired_times([dense, *sparse], x, rounds=rounds, seed=seed, warmup=warmup, clock=clock)
    rows = []
    for n, csr in zip(zeros, seconds.T[1:]):
        speedup, low, high = median_interval(seconds[:, 0] / csr)
        rows.append(
            dict(
                outputs=outputs, inputs=inputs, batch=batch, sparsity=n / weight.numel(),
                dense_ms=1e3 * np.median(seconds[:, 0]), csr_ms=1e3 * np.median(csr),
                speedup=speedup, speedup_low=low, speedup_high=high, rounds=rounds,
            )
        )  # fmt: skip
    return pd.DataFrame(rows)


@lru_cache(maxsize=4)  # a million numbers take longer to draw than to multiply
def _numbers(outputs: int, inputs: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Weights, the order in which they become zeros, and the state of the generator after both."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn((outputs, inputs), generator=generator)
    return weight, torch.randperm(outputs * inputs, generator=generator), generator.get_state()


def _layer(weight: torch.Tensor) -> nn.Linear:
    layer = nn.utils.skip_init(nn.Linear, *weight.t().shape, bias=False)  # draws no random numbers
    layer.weight = nn.Parameter(weight)
    return layer


def break_even(table: pd.DataFrame) -> BreakEven:
    """Where the CSR product begins to be faster, from the rows of `dense_and_csr` for one size and batch.

    Straight lines through the speedup's logarithm at the measured sparsities leave 0 there for the last time; those
    through the ends of its 95 % intervals give the bounds: below `low` CSR is slower, above `high` it is faster, and
    between them this measurement cannot tell. Where all that was measured is faster, the answer is the least sparsity
    measured and `low` is 0; where nothing was, `high` is 1. Raises ValueError for rows of several sizes or batches,
    and for none.
    """
    groups = len(table.groupby(["outputs", "inputs", "batch"]))
    if groups != 1:
        raise ValueError(f"table must hold the rows of one size and batch, got {groups}")
    table = table.sort_values("sparsity")
    first, last = float(table.sparsity.iloc[0]), float(table.sparsity.iloc[-1])
    return BreakEven(
        _crossing(table.sparsity, table.speedup, first, None),
        _crossing(table.sparsity, table.speedup_high, 0.0, last),
        _crossing(table.sparsity, table.speedup_low, first, 1.0),
    )


def _crossing(sparsity: pd.Series, speedup: pd.Series, always: float, never: float | None) -> float | None:
    x, y = sparsity.to_numpy(), np.log(speedup.to_numpy())
    slower = np.flatnonzero(y < 0)
    if not len(slower):
        return always
    i = slower[-1]
    if i == len(x) - 1:
        return never
    return float(x[i] - y[i] * (x[i + 1] - x[i]) / (y[i + 1] - y[i]))
