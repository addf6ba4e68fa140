"""Lesson 11: warm-up and cosine."""

import math

import torch

from ...lesson import Exercise, Mistake


def warmup_cosine(step, total, warmup):
    if step < warmup:
        return step / warmup
    return (1 + math.cos(math.pi * (step - warmup) / (total - warmup))) / 2


_CASES = ((60, 10), (60, 1), (60, 25), (40, 10))  # total, warmup


def _schedule_trial(fn):
    factors = [fn(step, total, warmup) for total, warmup in _CASES for step in range(total + 1)]
    return torch.tensor(factors, dtype=torch.float64)


def _torch_schedules():
    """The same from torch: LinearLR then CosineAnnealingLR. LinearLR cannot start at 0, so its start is 1e-12."""
    factors = []
    for total, warmup in _CASES:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        parts = [
            torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1e-12, total_iters=warmup),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=total - warmup),
        ]
        scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, parts, milestones=[warmup])
        for _ in range(total + 1):
            factors.append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
    return torch.tensor(factors, dtype=torch.float64)


schedule = Exercise(
    key="11/schedule",
    title="Warm-up and cosine",
    solution=warmup_cosine,
    trial=_schedule_trial,
    expected=_torch_schedules,
    mistakes=(
        Mistake(
            "The cosine starts at step 0, so it has already fallen when the warm-up ends: count from its end, "
            "step − warmup.",
            lambda step, total, warmup: step / warmup if step < warmup else (1 + math.cos(math.pi * step / total)) / 2,
        ),
        Mistake(
            "The cosine must reach 0 at `total`: after the warm-up only total − warmup steps are left.",
            lambda step, total, warmup: (
                step / warmup if step < warmup else (1 + math.cos(math.pi * (step - warmup) / total)) / 2
            ),
        ),
        Mistake(
            "There is no warm-up: before step `warmup` the factor rises in a straight line from 0 to 1.",
            lambda step, total, warmup: (1 + math.cos(math.pi * step / total)) / 2,
        ),
        Mistake(
            "The cosine goes from 1 to −1: a learning rate cannot be negative. Halve 1 + cos.",
            lambda step, total, warmup: (
                step / warmup if step < warmup else math.cos(math.pi * (step - warmup) / (total - warmup))
            ),
        ),
        Mistake(
            "After the warm-up the rate falls in a straight line; a half cosine wave was asked for.",
            lambda step, total, warmup: step / warmup if step < warmup else 1 - (step - warmup) / (total - warmup),
        ),
        Mistake(
            "The first step is counted as 1: at step 0 the factor is 0, and it is 1 at step `warmup`.",
            lambda step, total, warmup: (
                (step + 1) / warmup
                if step < warmup
                else (1 + math.cos(math.pi * (step - warmup) / (total - warmup))) / 2
            ),
        ),
        Mistake(
            "Half is missing: 1 + cos goes from 2 to 0; divide it by 2.",
            lambda step, total, warmup: (
                step / warmup if step < warmup else 1 + math.cos(math.pi * (step - warmup) / (total - warmup))
            ),
        ),
        Mistake(
            "The factor is 1 all through the warm-up: it must rise there in a straight line, step / warmup.",
            lambda step, total, warmup: (
                1.0 if step < warmup else (1 + math.cos(math.pi * (step - warmup) / (total - warmup))) / 2
            ),
        ),
    ),
    hints=(
        "Two cases: before step `warmup` a straight line, after it a half cosine wave.",
        "How far along the cosine are we? (step − warmup) / (total − warmup) goes from 0 to 1.",
        "(1 + math.cos(math.pi * progress)) / 2 goes from 1 down to 0.",
    ),
    rtol=0,
    atol=1e-6,  # a learner may compute in float32; torch starts at 1e-12. The listed mistakes are off by 0.1 or more
)
