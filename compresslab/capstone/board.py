"""The board of lesson 90: one row an attempt, with what it reaches and how much work went into it."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from torch import Tensor

from .. import measure
from ..intervals import median_interval, paired_answers, wilson_interval
from ..runtimes import deployment
from ..runtimes.onnx_run import OnnxSession
from .certificate import products, verdict
from .task import BUDGET, Budget

MEASURED = ("ms", "speedup", "accuracy", "points", "agreement")  # each with its interval
COLUMNS = ["name", "family", "kb", *(f"{name}{end}" for name in MEASURED for end in ("", "_low", "_high"))]
COLUMNS += ["int8_share", "cpu_seconds"]


@dataclass(frozen=True, eq=False)
class Attempt:
    """One way to bring the network under the budget.

    family: the part of the course that it is from. file: the bytes that are handed over. run: x (n, ...) -> scores,
    what computes once the file is loaded. cpu_seconds: the work that went into the file.
    """

    family: str
    file: bytes
    run: Callable[[Tensor], Tensor]
    cpu_seconds: float


def attempt(
    family: str, make: Callable, after: Attempt | None = None, clock: Callable[[], float] = time.process_time
) -> Attempt:
    """Call `make()`, and count the processor seconds that it takes (all threads of this process).

    make: gives the bytes of an ONNX file; where the file is of another kind, a pair (bytes of the file, what runs it:
    a model or session). after: the attempt whose file or network `make` goes on from; its work is added. ValueError if
    `make` gives something else.
    """
    start = clock()
    made = make()
    seconds = clock() - start + (after.cpu_seconds if after else 0.0)
    file, run = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(file, bytes) or not (run is None or callable(run)):
        raise ValueError(f"make must give the bytes of a file, or a pair (bytes, what runs), got {type(made).__name__}")
    return Attempt(family, file, run or OnnxSession(file), seconds)


def board(
    attempts: dict[str, Attempt], split: tuple[Tensor, Tensor], budget: Budget = BUDGET, *, rounds: int = 30, **timing
) -> pd.DataFrame:
    """Measure all attempts on `split` = (x, y), the first of them being the original: one row an attempt.

    Columns: name, family, kb (of the file, 1,000 bytes), ms (a call with budget.batch images) and speedup against the
    original, medians of `rounds` paired rounds, accuracy and agreement with the original (shares of the images), points
    (difference of the accuracies in hundredths, in pairs; negative: lost), each with its 95 % interval in two columns
    _low and _high; int8_share (of the kernels that multiply, NaN where no runtime tells); cpu_seconds. `timing` goes to
    `measure.paired_times`. ValueError where there is no attempt.
    """
    if not attempts:
        raise ValueError("attempts must hold the original first, got none")
    x, y = split
    scores = {name: measure.predict(each.run, x, budget.batch) for name, each in attempts.items()}
    seconds = measure.paired_times([each.run for each in attempts.values()], x[: budget.batch], rounds=rounds, **timing)
    original, rows = next(iter(scores.values())), []
    for (name, each), times in zip(attempts.items(), seconds.T):
        right = scores[name].argmax(1) == y
        row = dict(name=name, family=each.family, kb=len(each.file) / 1000, cpu_seconds=each.cpu_seconds)
        row |= _interval("ms", *median_interval(1e3 * times)) | deployment.speed(seconds[:, 0], times)
        row |= _interval("accuracy", right.float().mean().item(), *wilson_interval(int(right.sum()), len(y)))
        points = (100 * value for value in paired_answers(original.argmax(1) == y, right).values())
        row |= _interval("points", *points) | deployment.parity(original, scores[name])
        rows.append(row | dict(int8_share=_int8_share(each.run, x[: budget.batch])))
    return pd.DataFrame(rows)[COLUMNS]


def _interval(name: str, value: float, low: float, high: float) -> dict:
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _int8_share(run, x: Tensor) -> float:
    return float(products(run.operators(x)).mean()) if isinstance(run, OnnxSession) else np.nan


def verdicts(table: pd.DataFrame, budget: Budget = BUDGET) -> pd.DataFrame:
    """Is the budget kept? One row a row of a `board`: smaller, faster, answers, each yes, no or not settled."""
    return pd.DataFrame({
        "smaller": [verdict(-kb, -kb, -budget.kb) for kb in table.kb],
        "faster": [verdict(low, high, budget.speedup) for low, high in zip(table.speedup_low, table.speedup_high)],
        "answers": [verdict(low, high, -budget.drop) for low, high in zip(table.points_low, table.points_high)],
    }, index=table.index)  # fmt: skip


def shortfall(table: pd.DataFrame, budget: Budget = BUDGET) -> pd.DataFrame:
    """How much each row of a `board` lacks to keep the budget for certain: smaller, faster, answers; 0 where it does.

    The unfavourable end of each interval counts. smaller and faster in doublings (1: twice the bytes, half the speed),
    answers in points.
    """
    over = {
        "smaller": np.log2(table.kb / budget.kb),
        "faster": np.log2(budget.speedup / table.speedup_low),
        "answers": -budget.drop - table.points_low,
    }
    return pd.DataFrame(over).clip(lower=0)


def nearest(table: pd.DataFrame, budget: Budget = BUDGET) -> pd.Series | None:
    """The row to hand in: of those that keep the budget for certain the one with the largest reserve in its answers.

    That is the highest points_low; of equal ones the smallest file. Where none keeps the budget: the one that lacks
    least (the sum of its `shortfall`). None for an empty table.
    """
    if table.empty:
        return None
    order = table.assign(short=shortfall(table, budget).sum(axis=1), risk=-table.points_low)
    return table.loc[order.sort_values(["short", "risk", "kb", "ms"], kind="stable").index[0]]


def front(table: pd.DataFrame, budget: Budget = BUDGET, cpu_seconds: float = np.inf) -> np.ndarray:
    """Which rows no other beats in size and time, at equal work: bool (rows,).

    Only those take part that cost at most `cpu_seconds`, and whose answers are not settled to be worse than the budget
    allows.
    """
    part = ((table.cpu_seconds <= cpu_seconds) & (table.points_high >= -budget.drop)).to_numpy()
    found = np.zeros(len(table), bool)
    found[part] = measure.pareto(table.kb[part], table.ms[part])
    return found
