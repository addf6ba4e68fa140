"""From measurements to a decision: is it still the same model, what does it cost, which file to ship (lesson 61)."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from .. import measure
from ..intervals import median_interval, wilson_interval

PREFER = ("fastest", "smallest")


def parity(reference: Tensor, scores: Tensor) -> dict:
    """How far `scores` (n, classes) are from those of the original, `reference`: one row of numbers.

    difference: the largest |difference|; error: the same as a share of the largest |reference|; agreement: share of the
    rows with the same answer, with its 95 % Wilson interval agreement_low, agreement_high. NaN is far from everything:
    difference and error are then NaN, which passes no `<`.
    """
    if reference.shape != scores.shape or reference.ndim != 2:
        shapes = f"{tuple(reference.shape)} and {tuple(scores.shape)}"
        raise ValueError(f"reference and scores must both have the shape (n, classes), got {shapes}")
    difference = (scores - reference).abs().max().item()
    same = int((scores.argmax(1) == reference.argmax(1)).sum())
    low, high = wilson_interval(same, len(scores))
    error = difference / reference.abs().max().item()
    agreement = dict(agreement=same / len(scores), agreement_low=low, agreement_high=high)
    return dict(difference=difference, error=error) | agreement


def decision_table(
    model: nn.Module,
    sessions: dict[int, dict[str, Callable]],
    split: tuple[Tensor, Tensor],
    baseline: str,
    rounds: int = 30,
    **timing,
) -> pd.DataFrame:
    """What each way to run `model` costs and answers: one row a way and batch size.

    sessions: {batch size: {way: session}}; in the times of one batch size all ways take turns (`measure.paired_times`,
    to which `timing` goes). split: (x, y). Columns: way, batch, kb (1,000 bytes), those of `parity`, accuracy, ms with
    its 95 % interval ms_low, ms_high (median of the rounds), speedup with speedup_low, speedup_high (against `baseline`
    at that batch size, paired by round) and verdict: faster, slower, not settled, or baseline.
    """
    (x, y), rows = split, []
    reference = measure.predict(model, x)
    for batch, ways in sessions.items():
        if baseline not in ways:
            raise ValueError(f"baseline must be one of {', '.join(ways)}, got {baseline!r}")
        seconds = measure.paired_times(list(ways.values()), x[:batch], rounds=rounds, **timing)
        base = seconds[:, list(ways).index(baseline)]
        for (way, session), times in zip(ways.items(), seconds.T):
            size = measure.file_bytes(session) if isinstance(session, nn.Module) else session.file_bytes
            scores = measure.predict(session, x)
            row = dict(way=way, batch=batch, kb=size / 1000) | parity(reference, scores)
            row["accuracy"] = (scores.argmax(1) == y).float().mean().item()
            row |= zip(("ms", "ms_low", "ms_high"), median_interval(1e3 * times))
            rows.append(row | speed(base, times) | (dict(verdict="baseline") if way == baseline else {}))
    return pd.DataFrame(rows)


def speed(base, times) -> dict:
    """Median of base / times, round by round: speedup with its 95 % interval, and what that settles: verdict."""
    median, low, high = median_interval(np.asarray(base) / np.asarray(times))
    verdict = "faster" if low > 1 else "slower" if high < 1 else "not settled"
    return dict(speedup=median, speedup_low=low, speedup_high=high, verdict=verdict)


def fits(table: pd.DataFrame, kb: float = np.inf, ms: float = np.inf, agreement: float = 0.0) -> pd.Series:
    """Which rows of a `decision_table` keep a budget for certain: the unfavourable end of each interval counts."""
    return (table.kb <= kb) & (table.ms_high <= ms) & (table.agreement_low >= agreement)


def choose(table: pd.DataFrame, prefer: str = "fastest") -> pd.Series | None:
    """The row to ship, of one batch size: None where there is no row.

    fastest: of all rows that reach the fastest one both by the interval of the speed-up and by that of the time, the
    smallest file. (Speed-ups are paired by round, so a machine that slows down moves them less; but all of them are
    as wide as the baseline was disturbed.) smallest: the smallest file, of equal ones the faster.
    """
    if prefer not in PREFER:
        raise ValueError(f"prefer must be one of {', '.join(PREFER)}, got {prefer!r}")
    if table.empty:
        return None
    if prefer == "fastest":
        best = table.loc[table.speedup.idxmax()]
        table = table[(table.speedup_high >= best.speedup_low) & (table.ms_low <= best.ms_high)]
    return table.sort_values(["kb", "speedup"], ascending=[True, False], kind="stable").iloc[0]


def margins(scores: Tensor) -> Tensor:
    """How far the best score of each row lies above the second best: (n, classes) -> (n,).

    As long as no score moves by half of it, the answer stays.
    """
    best = torch.topk(scores, 2, dim=1).values
    return best[:, 0] - best[:, 1]
