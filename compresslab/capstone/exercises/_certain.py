"""Lesson 90: which attempts keep the budget for certain."""

import torch

from ...lesson import Exercise, Mistake


def keeps_for_certain(kb, speedup, points, max_kb, least_speedup, max_drop):
    return (kb <= max_kb) & (speedup[:, 1] >= least_speedup) & (points[:, 1] >= -max_drop)


def _boards():
    """Attempts that fail one question each, or none, by value or by an end of the interval; many at random; ties."""
    spread = torch.tensor([0.0, -0.25, 0.375])  # all sums are exact, so a tie is a tie
    by_hand = (
        torch.tensor([50.0, 70.0, 50.0, 50.0, 50.0, 60.0, 50.0, 50.0]),
        torch.tensor([3.0, 3.0, 2.625, 2.375, 3.0, 2.75, 2.0, 3.0])[:, None] + spread,
        torch.tensor([0.0, 0.0, 0.0, 0.0, -1.375, -1.25, 0.5, 2.0])[:, None] + spread,
    )
    g = torch.Generator().manual_seed(0)
    many = (
        120 * torch.rand(40, generator=g),
        4 * torch.rand(40, 1, generator=g) + spread,
        3 * torch.rand(40, 1, generator=g) - 2.5 + 2 * spread,
    )
    return [
        (*by_hand, 60.0, 2.5, 1.5),
        (*by_hand, 60.0, 2.75, 0.25),
        (*many, 60.0, 1.5, 1.5),
        (*many, 100.0, 1.0, 0.5),
        (*many, 80.0, 1.2, 0.0),
    ]


def _trial(fn):
    return [fn(*case) for case in _boards()]


def _by_rows(kb, speedup, points, max_kb, least_speedup, max_drop):
    """One attempt at a time: whatever may be true within the intervals keeps the budget."""
    keep = []
    for size, (_, *speeds), (_, *changes) in zip(kb.tolist(), speedup.tolist(), points.tolist()):
        keep.append(size <= max_kb and min(speeds) >= least_speedup and -min(changes) <= max_drop)
    return torch.tensor(keep)


def _variant(speed=1, answer=1, sign=-1, join=lambda a, b, c: a & b & c):
    def fn(kb, speedup, points, max_kb, least_speedup, max_drop):
        parts = kb <= max_kb, speedup[:, speed] >= least_speedup, points[:, answer] >= sign * max_drop
        return join(*parts)

    return fn


def _strict(kb, speedup, points, max_kb, least_speedup, max_drop):
    return (kb < max_kb) & (speedup[:, 1] > least_speedup) & (points[:, 1] > -max_drop)


_VALUE = "The measured values keep it, but for certain means: even the unfavourable end of the interval does."
_ANSWERS = "In answers the unfavourable end is the low one: points are negative where answers were lost."

certain = Exercise(
    key="90/certain",
    title="Who keeps the budget for certain?",
    solution=keeps_for_certain,
    trial=_trial,
    expected=lambda: _trial(_by_rows),
    mistakes=(
        Mistake(_VALUE, _variant(speed=0, answer=0)),
        Mistake(_VALUE, _variant(speed=0)),
        Mistake(_VALUE, _variant(answer=0)),
        Mistake("These are the favourable ends of both intervals: take the unfavourable ones.", _variant(2, 2)),
        Mistake("In speed the unfavourable end is the low one: slower is worse.", _variant(speed=2)),
        Mistake(_ANSWERS, _variant(answer=2)),
        Mistake(
            "A lost point is -1, so the promise is points >= -max_drop: without the minus only a gain passes.",
            _variant(sign=1),
        ),
        Mistake("To keep one promise is not enough: all three.", _variant(join=lambda a, b, c: a | b | c)),
        Mistake("The size is not asked: three promises, kb is one.", _variant(join=lambda a, b, c: b & c)),
        Mistake("The speed is not asked: three promises, speedup is one.", _variant(join=lambda a, b, c: a & c)),
        Mistake("The answers are not asked: three promises, points is one.", _variant(join=lambda a, b, c: a & b)),
        Mistake("At most and at least include the limit itself: use <= and >=.", _strict),
        Mistake("These are those that do not keep it: turn it over.", _variant(join=lambda a, b, c: ~(a & b & c))),
    ),
    hints=(
        "Three questions, three bool tensors, joined by &.",
        "Column 1 of speedup and of points is the low end of the interval, and the low end is the unfavourable one.",
        "(kb <= max_kb) & (speedup[:, 1] >= least_speedup) & (points[:, 1] >= -max_drop).",
    ),
    rtol=0,
    atol=0,  # True or False
)
