"""Lesson 30: the mask of the smallest weights."""

import torch
from torch.nn.utils import prune

from ...lesson import Exercise, Mistake
from ._stages import NUMBERS


def magnitude_mask(weight, sparsity):
    k = round(sparsity * weight.numel())
    smallest = weight.abs().flatten().argsort()[:k]
    mask = torch.ones(weight.numel(), dtype=torch.bool)
    mask[smallest] = False
    return mask.reshape(weight.shape)


# Shape and sparsity. sparsity * n ends in .75, .4, .2, .35 or is whole, so that each way of rounding shows.
_SETTINGS = (((5, 7), 0.25), ((6, 8), 0.3), ((40,), 0.9), ((3, 4, 3, 3), 0.65), ((9, 11), 0.85))
_TIED = (((6, 7), 0.5), ((8, 5), 0.3), ((4, 9), 0.8), ((7, 9), 0.05))  # the last has more zeros than are to go


def _random(shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape) + shape[0]))


def _tied(shape):
    """Weights of few different sizes, with both signs; one tensor where all are as large."""
    steps = torch.randint(-3, 4, shape, generator=torch.Generator().manual_seed(shape[0]))
    return torch.full(shape, -0.2) if shape[0] == 4 else steps / 4


def _masks(fn):
    return [fn(_random(shape), sparsity) for shape, sparsity in _SETTINGS]


def _among_equals(fn):
    """Which of several equal weights goes is free: how many are removed, and whether a smaller one was kept."""
    facts = []
    for shape, sparsity in _TIED:
        mask = fn(_tied(shape), sparsity).bool()
        kept, removed = _tied(shape).abs()[mask], _tied(shape).abs()[~mask]
        smaller_kept = bool((kept[:, None] < removed).any())
        facts.append((int((~mask).sum()), smaller_kept))
    return facts


def _nothing_removed(fn):
    return [fn(_random((4, 6)), 0.0)]


def _by_torch(weight, sparsity):
    return prune.L1Unstructured(sparsity).compute_mask(weight, torch.ones_like(weight)).bool()


def _ranked(k=lambda s, n: round(s * n), score=torch.abs, descending=False):
    """Magnitude pruning with another number or another order."""

    def fn(weight, sparsity):
        n = weight.numel()
        mask = torch.ones(n, dtype=torch.bool)
        mask[score(weight).flatten().argsort(descending=descending)[: max(0, k(sparsity, n))]] = False
        return mask.reshape(weight.shape)

    return fn


def _threshold(compare, rank):
    """A mask by comparison with one of the sorted sizes."""

    def fn(weight, sparsity):
        sizes = weight.abs().flatten().sort().values
        k = round(sparsity * len(sizes))
        return compare(weight.abs(), sizes[min(max(k + rank, 0), len(sizes) - 1)])

    return fn


def _row_by_row(weight, sparsity):
    rows = weight.reshape(len(weight), -1)
    mask = torch.ones(rows.shape, dtype=torch.bool)
    mask.scatter_(1, rows.abs().argsort(1)[:, : round(sparsity * rows.shape[1])], False)
    return mask.reshape(weight.shape)


def _from_the_end(weight, sparsity):
    mask = torch.ones(weight.numel(), dtype=torch.bool)
    mask[weight.abs().flatten().argsort(descending=True)[-round(sparsity * weight.numel()) :]] = False
    return mask.reshape(weight.shape)


_ONE_FEWER = (
    "One weight too few is removed. Sorted upwards, the k smallest stand at 0 to k − 1: "
    "[:k], or keep what is > the one at k − 1."
)
_ONE_MORE = (
    "One weight too many is removed. Sorted upwards, the k smallest stand at 0 to k − 1: "
    "[:k], or keep what is >= the one at k."
)
_QUANTILE = (
    "A quantile falls between two weights and does not always remove round(sparsity · n): count, and take the k "
    "smallest."
)

magnitude = Exercise(
    key="30/magnitude-mask",
    title="The smallest weights",
    solution=magnitude_mask,
    trial=(_masks, _among_equals, _nothing_removed),
    expected=lambda: [stage(_by_torch) for stage in (_masks, _among_equals, _nothing_removed)],
    mistakes=(
        Mistake(NUMBERS, lambda weight, sparsity: magnitude_mask(weight, sparsity).float()),
        Mistake(_ONE_FEWER, _ranked(k=lambda s, n: round(s * n) - 1)),
        Mistake(_ONE_MORE, _ranked(k=lambda s, n: round(s * n) + 1)),
        Mistake(
            "The weights are compared with their sign, so large negative ones go first: compare their abs().",
            _ranked(score=lambda w: w),
        ),
        Mistake("The largest weights are removed; remove the smallest.", _ranked(descending=True)),
        Mistake("The mask is inverted: True means kept.", lambda weight, sparsity: ~magnitude_mask(weight, sparsity)),
        Mistake(
            "sparsity is the share that is removed; here it is the share that stays.",
            _ranked(k=lambda s, n: n - round(s * n)),
        ),
        Mistake("int() cuts the decimals off: take round(sparsity * n).", _ranked(k=lambda s, n: int(s * n))),
        Mistake("The number is rounded up: take round(sparsity * n).", _ranked(k=lambda s, n: -int(-s * n // 1))),
        Mistake(_QUANTILE, lambda weight, sparsity: weight.abs() > weight.abs().quantile(sparsity)),
        Mistake(
            "Each row loses its own smallest weights: rank all weights of the tensor together, with flatten().",
            _row_by_row,
        ),
        Mistake(
            "The share is compared with the sizes themselves: sparsity is a share of the weights, not a threshold.",
            lambda weight, sparsity: weight.abs() > sparsity,
        ),
        Mistake(
            "Of several equal weights all are removed, which is too many: take exactly k positions, not a threshold.",
            _threshold(torch.gt, -1),
        ),
        Mistake(
            "Of several equal weights all are kept, which is too many: take exactly k positions, not a threshold.",
            _threshold(torch.ge, 0),
        ),
        Mistake(
            "At sparsity 0 everything is removed: [-0:] is the whole list. Take [:k] of the list sorted upwards.",
            _from_the_end,
        ),
    ),
    hints=(
        "How many weights go: k = round(sparsity * weight.numel()). Which: those with the smallest weight.abs().",
        "A threshold takes or leaves equal weights together. Positions do not: "
        "weight.abs().flatten().argsort() lists them from the smallest weight to the largest.",
        "Start with torch.ones(n, dtype=torch.bool), set the first k of these positions to False, and give the mask "
        "the shape of weight.",
    ),
    rtol=0,
    atol=0,  # masks
)
