"""Lesson 61: which files are worth looking at."""

import torch

from ...lesson import Exercise, Mistake


def pareto_front(kb, ms):
    keep = []
    for i in range(len(kb)):
        as_good = (kb <= kb[i]) & (ms <= ms[i])
        better = (kb < kb[i]) | (ms < ms[i])
        keep.append(not (as_good & better).any())
    return torch.tensor(keep)


def _tables():
    """kb and ms: all on the front, one dominated, ties in one number, twins, all alike, many on a coarse grid."""
    tables = [
        ([1, 2, 3, 4], [8, 4, 2, 1]),
        ([1, 2, 3, 2], [8, 4, 2, 9]),
        ([1, 2, 2, 3, 3], [5, 3, 4, 3, 1]),
        ([2, 2, 4, 4], [3, 3, 1, 1]),
        ([5, 5, 5], [7, 7, 7]),
        ([10, 11, 20], [9, 1, 10]),
    ]
    many = torch.randint(1, 12, (2, 25), generator=torch.Generator().manual_seed(0))
    pairs = [(torch.tensor(kb), torch.tensor(ms)) for kb, ms in tables] + [(many[0], many[1])]
    return [(kb.float(), ms.float()) for kb, ms in pairs]


def _trial(fn):
    return [fn(kb, ms) for kb, ms in _tables()]


def _by_sweep(kb, ms):
    """From the smallest file up: a point stays if it is faster than all smaller files, and the fastest of its size."""
    keep = torch.zeros(len(kb), dtype=torch.bool)
    best = torch.inf
    for size in sorted(set(kb.tolist())):
        here = kb == size
        fastest = ms[here].min().item()
        if fastest < best:
            keep |= here & (ms == fastest)
            best = fastest
    return keep


def _variant(beaten):
    """beaten(kb, ms, i): which points beat point i."""
    return lambda kb, ms: torch.tensor([not bool(beaten(kb, ms, i).any()) for i in range(len(kb))])


def _hull(kb, ms):
    """Those that are best for some weighing of the two."""
    weights = torch.linspace(0.001, 0.999, 999)[:, None]
    cost = weights * kb + (1 - weights) * ms
    return (cost <= cost.amin(1, keepdim=True) + 1e-6).any(0)


_TIES = "A point that is as small as another but slower is beaten too: as good in both, and better in one, is enough."
_TWINS = "Two equal points do not beat each other: the other must be better in one of the two."
_LARGE = "The direction is turned: fewer kB and fewer ms are better."

front = Exercise(
    key="61/pareto",
    title="The Pareto front",
    solution=pareto_front,
    trial=_trial,
    expected=lambda: _trial(_by_sweep),
    mistakes=(
        Mistake(_TIES, _variant(lambda kb, ms, i: (kb < kb[i]) & (ms < ms[i]))),
        Mistake(_TWINS, _variant(lambda kb, ms, i: (kb <= kb[i]) & (ms <= ms[i]))),
        Mistake(
            _TWINS,
            _variant(lambda kb, ms, i: (kb <= kb[i]) & (ms <= ms[i]) & (torch.arange(len(kb)) != i)),
        ),
        Mistake(
            "Of two equal points both stay: keep the first one too.",
            _variant(
                lambda kb, ms, i: (
                    (kb <= kb[i]) & (ms <= ms[i]) & ((kb < kb[i]) | (ms < ms[i]) | (torch.arange(len(kb)) > i))
                )
            ),
        ),
        Mistake(
            "Of two equal points both stay: keep the second one too.",
            _variant(
                lambda kb, ms, i: (
                    (kb <= kb[i]) & (ms <= ms[i]) & ((kb < kb[i]) | (ms < ms[i]) | (torch.arange(len(kb)) < i))
                )
            ),
        ),
        Mistake(_LARGE, _variant(lambda kb, ms, i: (kb >= kb[i]) & (ms >= ms[i]) & ((kb > kb[i]) | (ms > ms[i])))),
        Mistake(_LARGE, _variant(lambda kb, ms, i: (kb > kb[i]) & (ms > ms[i]))),
        Mistake(
            "To be better in one is not enough: the other point must be as good in both.",
            _variant(lambda kb, ms, i: (kb < kb[i]) | (ms < ms[i])),
        ),
        Mistake(
            "These are the smallest and the fastest only: between them others may be beaten by none.",
            lambda kb, ms: (kb == kb.min()) | (ms == ms.min()),
        ),
        Mistake(
            "These are the points that are best for some weighing of the two. The front also has those that lie in a "
            "dent between two of these.",
            _hull,
        ),
        Mistake("These are the beaten ones: return True for those that stay.", lambda kb, ms: ~_by_sweep(kb, ms)),
    ),
    hints=(
        "Ask of each point: is there another that is as good in both, and better in at least one?",
        "as_good = (kb <= kb[i]) & (ms <= ms[i]); better = (kb < kb[i]) | (ms < ms[i]).",
        "Point i stays where not (as_good & better).any(); collect these answers in a bool tensor.",
    ),
    rtol=0,
    atol=0,  # True or False
)
