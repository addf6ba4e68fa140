"""Learning-rate schedules: functions from progress (0 at the first step, 1 at the end) to a factor of the base rate."""

import math


def constant(progress: float) -> float:
    """No schedule: always 1."""
    return 1.0


def step(progress: float, drops=(0.5, 0.75), factor: float = 0.1) -> float:
    """Multiplied by `factor` at each of `drops`, as in `torch.optim.lr_scheduler.MultiStepLR`."""
    return factor ** sum(progress >= drop for drop in drops)


def cosine(progress: float) -> float:
    """Half a cosine wave from 1 down to 0 (Loshchilov & Hutter 2017, equation 5)."""
    return (1 + math.cos(math.pi * progress)) / 2


def warmup_cosine(progress: float, warmup: float = 0.1) -> float:
    """A straight line up from 0 in the first `warmup` share of the steps, then the cosine (Goyal et al. 2017)."""
    return progress / warmup if progress < warmup else cosine((progress - warmup) / (1 - warmup))


def one_cycle(progress: float, peak: float = 0.3, start: float = 1 / 25, end: float = 1e-4 / 25) -> float:
    """From `start` up to 1 at `peak`, then down to `end`, both along a cosine (Smith & Topin 2017)."""
    if progress < peak:
        return start + (1 - start) * (1 - cosine(progress / peak))
    return end + (1 - end) * cosine((progress - peak) / (1 - peak))


SCHEDULES = {schedule.__name__: schedule for schedule in (constant, step, cosine, warmup_cosine, one_cycle)}
