"""Lesson 31: a speed-up that was measured."""

import statistics

import numpy as np
import torch

from ...lesson import Exercise, Mistake
from ._stages import CLOSE


def speed_up(dense_seconds, pruned_seconds, dense_macs, pruned_macs):
    ratios = np.array(dense_seconds) / np.array(pruned_seconds)
    return float(np.median(ratios))


# Rounds, true speed-up, dense MACs, pruned MACs. An even and an odd number of rounds, more often even.
_RUNS = ((6, 1.3, 40_000_000, 10_000_000), (7, 2.1, 1_200_000, 300_000), (20, 0.8, 416_520, 208_000))


def _times(rounds, factor):
    """Seconds of both networks, round by round: the machine slows down and speeds up, and is interrupted."""
    noise = np.random.default_rng(rounds)
    load = 0.002 * np.exp(0.5 * noise.standard_normal(rounds))
    dense = load * noise.uniform(0.9, 1.1, rounds)
    pruned = load / factor * noise.uniform(0.9, 1.1, rounds)
    dense[1] *= 5
    pruned[3] *= 2
    return [round(t, 6) for t in dense.tolist()], [round(t, 6) for t in pruned.tolist()]


def _trial(fn):
    runs = [fn(*_times(rounds, factor), *macs) for rounds, factor, *macs in _RUNS]
    return torch.tensor([float(run) for run in runs], dtype=torch.float64)


def _by_statistics(dense_seconds, pruned_seconds, dense_macs, pruned_macs):
    return statistics.median(d / p for d, p in zip(dense_seconds, pruned_seconds))


def _of_ratios(reduce):
    return lambda dense_seconds, pruned_seconds, dense_macs, pruned_macs: reduce(
        np.array(dense_seconds) / np.array(pruned_seconds)
    )


def _ratio_of(reduce):
    return lambda dense_seconds, pruned_seconds, dense_macs, pruned_macs: reduce(dense_seconds) / reduce(pruned_seconds)


timing = Exercise(
    key="31/speed-up",
    title="Times faster",
    solution=speed_up,
    trial=_trial,
    expected=lambda: _trial(_by_statistics),
    mistakes=(
        Mistake(
            "This counts MACs as time: the MACs say how much arithmetic there is, not how long it takes. Divide the "
            "measured seconds.",
            lambda dense_seconds, pruned_seconds, dense_macs, pruned_macs: dense_macs / pruned_macs,
        ),
        Mistake(
            "This counts MACs as time, and upside down: divide the measured seconds, dense by pruned.",
            lambda dense_seconds, pruned_seconds, dense_macs, pruned_macs: pruned_macs / dense_macs,
        ),
        Mistake(
            "This is upside down: twice as fast is 2, so divide the dense seconds by the pruned ones.",
            _of_ratios(lambda r: np.median(1 / r)),
        ),
        Mistake(
            "The ratio of means follows the rounds in which the machine was interrupted. Divide round by round, then "
            "take the median.",
            _ratio_of(np.mean),
        ),
        Mistake(
            "The mean of the ratios follows one interrupted round: take their median.",
            _of_ratios(np.mean),
        ),
        Mistake(
            "The medians come from different rounds, in which the machine was not the same: divide round by round, "
            "then take the median.",
            _ratio_of(np.median),
        ),
        Mistake(
            "These are the best times of each, from different rounds: divide round by round, then take the median.",
            _ratio_of(min),
        ),
        Mistake("This is the luckiest round: take the median of the ratios.", _of_ratios(np.max)),
        Mistake("This is the unluckiest round: take the median of the ratios.", _of_ratios(np.min)),
        Mistake("This is one round only: divide in each, then take the median.", _of_ratios(lambda r: r[0])),
        Mistake(
            "This is the share of the time that is saved; the speed-up is dense seconds over pruned seconds.",
            _of_ratios(lambda r: 1 - np.median(1 / r)),
        ),
        Mistake(
            "A network as fast as before has a speed-up of 1, not 0: do not subtract 1.",
            _of_ratios(lambda r: np.median(r) - 1),
        ),
        Mistake(
            "This is how many seconds are saved; the speed-up is dense seconds over pruned seconds.",
            lambda dense_seconds, pruned_seconds, dense_macs, pruned_macs: np.median(
                np.array(dense_seconds) - np.array(pruned_seconds)
            ),
        ),
        Mistake(
            "Of an even number of rounds this takes the lower of the two in the middle, as torch.median does: take "
            "their mean, as np.median does.",
            _of_ratios(lambda r: np.sort(r)[(len(r) - 1) // 2]),
        ),
        Mistake(
            "Of an even number of rounds this takes the upper of the two in the middle: take their mean, as "
            "np.median does.",
            _of_ratios(lambda r: np.sort(r)[len(r) // 2]),
        ),
    ),
    hints=(
        "Two of the four values say nothing about time. Which numbers were measured with a clock?",
        "The two networks were timed side by side: round i of one belongs to round i of the other. Divide them.",
        "np.median(np.array(dense_seconds) / np.array(pruned_seconds)).",
    ),
    **CLOSE,
)
