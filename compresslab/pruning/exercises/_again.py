"""Lesson 30: pruning what is pruned already."""

import torch
from torch import nn
from torch.nn.utils import prune

from ...lesson import Exercise, Mistake
from ._stages import NUMBERS


def prune_further(weight, mask, sparsity):
    sizes = torch.where(mask, weight.abs(), -1.0).flatten()
    k = round(sparsity * weight.numel())
    new = mask.flatten().clone()
    new[sizes.argsort()[:k]] = False
    return new.reshape(mask.shape)


# Shape, sparsity before, sparsity after. The old mask is random, so it is not what the sizes alone would give.
_SETTINGS = (((6, 9), 0.3, 0.5), ((5, 5), 0.0, 0.4), ((4, 3, 3, 3), 0.5, 0.75), ((60,), 0.2, 0.9))
_SPARSE_ALREADY = (((7, 6), 0.6, 0.3), ((8, 8), 0.5, 0.5), ((3, 4), 0.0, 0.0))


def _random(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(100 * seed + shape[0]))


def _old_mask(shape, sparsity):
    n = _random(shape).numel()
    order = torch.randperm(n, generator=torch.Generator().manual_seed(n))
    return (order >= round(sparsity * n)).reshape(shape)


def _once(settings):
    return lambda fn: [fn(_random(shape), _old_mask(shape, old), new) for shape, old, new in settings]


def _step_by_step(fn):
    """The weights move between the steps, as in fine-tuning."""
    masks = [torch.ones(8, 7, dtype=torch.bool)]
    for step, sparsity in enumerate((0.2, 0.55, 0.8)):
        masks.append(fn(_random((8, 7), seed=step), masks[-1].bool(), sparsity))
    return masks


def _come_back(fn):
    """How many pruned weights are kept again; which of them is an accident of the sorting."""
    cases = [(_random(shape), _old_mask(shape, old), new) for shape, old, new in _SPARSE_ALREADY]
    return [int((fn(weight, mask, new).bool() & ~mask).sum()) for weight, mask, new in cases]


_STAGES = (_once(_SETTINGS), _step_by_step, _come_back, _once(_SPARSE_ALREADY))


def _by_torch(weight, mask, sparsity):
    """torch prunes a layer twice: by the old mask, then by a number among the weights that are left."""
    layer = nn.Module()
    layer.weight = nn.Parameter(weight)
    prune.custom_from_mask(layer, "weight", mask)
    prune.l1_unstructured(layer, "weight", max(0, round(sparsity * weight.numel()) - int((~mask).sum())))
    return layer.weight_mask.bool()


def _smallest(weight, k):
    """True at the k smallest sizes."""
    at = torch.zeros(weight.numel(), dtype=torch.bool)
    at[weight.abs().flatten().argsort(stable=True)[: max(0, k)]] = True
    return at.reshape(weight.shape)


def _zeros(mask):
    return int((~mask).sum())


def _drop(weight, mask, k, sign=1):
    """The mask without the k smallest of the kept weights; a negative k counts from the end, as slices do."""
    positions = mask.flatten().nonzero().flatten()
    order = (sign * weight.abs().flatten()[positions]).argsort()
    new = mask.flatten().clone()
    new[positions[order[:k]]] = False
    return new.reshape(mask.shape)


def _share_of_the_rest(weight, mask, sparsity):
    return _drop(weight, mask, round(sparsity * int(mask.sum())))


def _added_up(weight, mask, sparsity):
    return _drop(weight, mask, round(sparsity * weight.numel()))


def _zeros_again(weight, mask, sparsity):
    return mask & ~_smallest(weight * mask, round(sparsity * weight.numel()) - _zeros(mask))


def _both_masks(weight, mask, sparsity):
    return mask & ~_smallest(weight, round(sparsity * weight.numel()))


def _dense_difference(weight, mask, sparsity):
    return mask & ~_smallest(weight, round(sparsity * weight.numel()) - _zeros(mask))


def _forgotten(weight, mask, sparsity):
    return ~_smallest(weight, round(sparsity * weight.numel()))


def _largest(weight, mask, sparsity):
    return _drop(weight, mask, max(0, round(sparsity * weight.numel()) - _zeros(mask)), sign=-1)


def _signed(weight, mask, sparsity):
    k = max(0, round(sparsity * weight.numel()) - _zeros(mask))
    return _drop(weight - weight.min() + 1, mask, k)  # all sizes positive, in the order of the signed weights


def _cut_off(weight, mask, sparsity):
    return _drop(weight, mask, max(0, int(sparsity * weight.numel()) - _zeros(mask)))


def _revived(weight, mask, sparsity):
    sizes = torch.where(mask, weight.abs(), -1.0).flatten()
    new = torch.ones(weight.numel(), dtype=torch.bool)
    new[sizes.argsort()[: round(sparsity * weight.numel())]] = False
    return new.reshape(mask.shape)


def _negative(weight, mask, sparsity):
    return _drop(weight, mask, round(sparsity * weight.numel()) - _zeros(mask))


def _negative_of_all(weight, mask, sparsity):
    sizes = torch.where(mask, weight.abs(), torch.inf).flatten()
    new = mask.flatten().clone()
    new[sizes.argsort()[: round(sparsity * weight.numel()) - _zeros(mask)]] = False
    return new.reshape(mask.shape)


_NEGATIVE = (
    "Where more is pruned already than sparsity asks for, the number left to prune is negative and the slice takes "
    "almost everything: use max(0, ...)."
)

again = Exercise(
    key="30/prune-again",
    title="Prune further",
    solution=prune_further,
    trial=_STAGES,
    expected=lambda: [stage(_by_torch) for stage in _STAGES],
    mistakes=(
        Mistake(NUMBERS, lambda weight, mask, sparsity: prune_further(weight, mask, sparsity).float()),
        Mistake(
            "sparsity is a share of all weights; this removes that share of the ones that are left, and the result is "
            "too sparse.",
            _share_of_the_rest,
        ),
        Mistake(
            "The sparsities add up: the pruned weights count too, so only round(sparsity · n) minus their number "
            "must go now.",
            _added_up,
        ),
        Mistake(
            "The zeros are pruned a second time: the smallest of all weights are those that are pruned already. "
            "Choose among the kept ones.",
            _zeros_again,
        ),
        Mistake(
            "Weights that were pruned come back: the mask so far is ignored. Rank the pruned ones below all others, so "
            "that they go again.",
            _forgotten,
        ),
        Mistake(
            "Old mask and new mask are made apart and overlap only in part, so too many weights go: choose the new "
            "ones among the kept.",
            _both_masks,
        ),
        Mistake(
            "The number is right, but pruned weights are still ranked by their old sizes, so some are chosen again: "
            "choose among the kept ones.",
            _dense_difference,
        ),
        Mistake(
            "The mask stays as it was: prune the smallest of the kept weights.",
            lambda weight, mask, sparsity: mask.clone(),
        ),
        Mistake("The largest of the kept weights go; prune the smallest.", _largest),
        Mistake("The kept weights are compared with their sign: compare their abs().", _signed),
        Mistake(
            "The mask is inverted: True means kept.",
            lambda weight, mask, sparsity: ~prune_further(weight, mask, sparsity),
        ),
        Mistake("int() cuts the decimals off: take round(sparsity * n).", _cut_off),
        Mistake(
            "Where more is pruned already than sparsity asks for, weights come back: they must stay pruned.", _revived
        ),
        Mistake(_NEGATIVE, _negative),
        Mistake(_NEGATIVE, _negative_of_all),
    ),
    hints=(
        "In the end round(sparsity * n) of all n weights are pruned. The pruned ones of before must be among them.",
        "Make the pruned ones the smallest of all: torch.where(mask, weight.abs(), -1.0).",
        "Take the first k positions of the argsort of that. Start from a copy of the old mask and set them to False.",
    ),
    rtol=0,
    atol=0,  # masks
)
