"""Structured pruning (lesson 31): which structures matter least, and masks for them: criterion x scope."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..measure import check_at_least
from . import criteria
from .dependencies import groups
from .groups import Group, zero_masks
from .masks import check_numbers, check_share, masks_of

CRITERIA = ("random", "l1", "l2", "taylor", "snip", "bn_scale")


def importance(
    model: nn.Module,
    group: Group,
    criterion: str = "l1",
    *,
    gradients: dict[str, Tensor] | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """How much each structure of `group` matters: scores (size,), higher = keep.

        random    u ~ U(0, 1]
        l1, l2    Σ|w|, Σw² over the weights that make the structure (H. Li et al., "Pruning filters for efficient
                  ConvNets", 2017): rows of all producers, without biases
        taylor    (Σ w g)², snip |Σ w g| over the same weights and their biases, with g = ∂L/∂w from `gradients`
                  (`criteria.gradients(model, split)`): Σ w g is the derivative of the loss by one switch c = 1 that
                  multiplies them all (Molchanov et al. 2019, section 3.1; Lee et al. 2019)
        bn_scale  Σ|γ| over the batch norms (Z. Liu et al., "Learning efficient convolutional networks through network
                  slimming", 2017)

    ValueError for an unknown criterion, for gradients that are missing, and for "bn_scale" without a batch norm.
    """
    _check_criterion(criterion)
    makers = [member for member in group.members if member.role == "producer"]
    if criterion == "random":
        return criteria.random(torch.empty(group.size), generator)
    if criterion in ("taylor", "snip"):
        missing = [m.name for m in makers if m.name not in (gradients or {})]
        if missing:
            why = "see criteria.gradients (a frozen parameter has none)"
            raise ValueError(f"gradients must hold {missing[0]!r} for criterion {criterion!r}, {why}")
        products = [criteria.wide(m.of(model).detach()) * gradients[m.name] for m in makers]
        switch = sum(m.entries(product).sum(1) for m, product in zip(makers, products))
        return getattr(criteria, criterion)(torch.ones_like(switch), switch)
    role, score = ("norm", criteria.l1) if criterion == "bn_scale" else ("producer", getattr(criteria, criterion))
    weights = [member for member in group.members if member.role == role and member.parameter == "weight"]
    if not weights:
        raise ValueError(f"criterion 'bn_scale' needs a batch norm in every group, got none in {group.name!r}")
    return sum(score(criteria.wide(member.entries(member.of(model).detach()))).sum(1) for member in weights)


def structure_masks(
    model: nn.Module,
    example_inputs: Tensor | tuple,
    pruning_ratio: float | dict[str, float],
    criterion: str = "l1",
    scope: str = "local",
    *,
    heads: str | None = "heads",
    round_to: int = 1,
    split=None,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """{parameter: bool mask, True = kept} that zero the least important structures with all that goes with them.

    `pruning_ratio`: share of structures removed. scope="local": of each group, round(ratio · size), or {group name:
    ratio} with 0 for the groups not named. scope="global": of all structures together, in the order of importance
    divided by its mean in the group, because sums over many or large weights are larger and would hide whole layers
    from the comparison; the best structure of each group stays. `round_to`: the number kept is raised to a multiple
    of it, where the group is large enough (not for heads). `split` = (x, y) gives taylor and snip their gradients.
    Structures that are zero already count as removed: they go first, and no mask of `model` is opened again.

    ValueError if the model has nothing to remove, a ratio is outside [0, 1) or leaves nothing of a group, and for an
    unknown group, criterion or scope.
    """
    _check_criterion(criterion)
    found = some_groups(model, example_inputs, heads)
    _check_ratio(pruning_ratio, found, scope)
    if criterion in ("taylor", "snip") and split is None:
        raise ValueError(f"split must be a pair (x, y) for criterion {criterion!r}, got None")
    grads = criteria.gradients(model, split) if criterion in ("taylor", "snip") else None
    scores = []
    for group in found:
        score = importance(model, group, criterion, gradients=grads, generator=generator).cpu()
        scores.append(score.masked_fill(~alive(model, group), -1))  # every other score is at least 0
    check_numbers({group.name: score for group, score in zip(found, scores)})
    counts = (local_counts if scope == "local" else _global_counts)(found, scores, pruning_ratio)
    masks = zero_masks(model, found, kept_structures(found, scores, counts, round_to))
    return masks | {name: masks[name] & mask for name, mask in masks_of(model).items() if name in masks}


def alive(model: nn.Module, group: Group) -> Tensor:
    """(size,): is there a number other than zero among all that a structure owns?"""
    return torch.stack([m.entries(m.of(model).detach()).any(1) for m in group.members]).any(0).cpu()


def local_counts(found: Sequence[Group], scores, pruning_ratio: float | dict[str, float]) -> list[int]:
    """How many structures each group loses."""
    ratios = pruning_ratio if isinstance(pruning_ratio, dict) else {group.name: pruning_ratio for group in found}
    for ratio in ratios.values():
        check_share(ratio, "pruning_ratio")
    counts = [round(ratios.get(group.name, 0) * group.size) for group in found]
    for group, count in zip(found, counts):
        if count == group.size:
            raise ValueError(
                f"pruning_ratio must leave a {group.kind} of {group.name!r}, got {ratios[group.name]} of {group.size}"
            )
    return counts


def _global_counts(found: Sequence[Group], scores: Sequence[Tensor], pruning_ratio: float) -> list[int]:
    total = sum(group.size for group in found)
    count = round(pruning_ratio * total)
    if count > total - len(found):
        raise ValueError(
            f"pruning_ratio must leave a structure of each of {len(found)} groups, got {pruning_ratio} of {total}"
        )
    shares = [score / score.clamp(min=0).mean() if (score > 0).any() else score.clone() for score in scores]
    for share in shares:
        share[share.argmax()] = torch.inf
    lost = torch.zeros(total, dtype=torch.bool)
    lost[torch.cat(shares).argsort(stable=True)[:count]] = True
    return [int(part.sum()) for part in lost.split([group.size for group in found])]


def kept_structures(
    found: Sequence[Group], scores: Sequence[Tensor], counts: Sequence[int], round_to: int
) -> dict[str, Tensor]:
    """{group name: bool (size,)}: each group without its `count` lowest scores, of equal ones the first."""
    check_at_least(1, round_to=round_to)
    kept = {}
    for group, score, count in zip(found, scores, counts):
        step = 1 if group.kind == "head" else round_to
        stay = min(group.size, math.ceil((group.size - count) / step) * step)
        kept[group.name] = torch.ones(group.size, dtype=torch.bool)
        kept[group.name][score.argsort(stable=True)[: group.size - stay]] = False
    return kept


def some_groups(model: nn.Module, example_inputs, heads: str | None) -> list[Group]:
    """`groups`, or ValueError if there is none."""
    found = groups(model, example_inputs, heads)
    if not found:
        raise ValueError(f"model must have structures that can be removed, got {type(model).__name__} without any")
    return found


def _check_criterion(criterion: str) -> None:
    if criterion not in CRITERIA:
        raise ValueError(f"criterion must be one of {', '.join(CRITERIA)}, got {criterion!r}")


def _check_ratio(pruning_ratio, found: Sequence[Group], scope: str) -> None:
    if scope not in ("local", "global"):
        raise ValueError(f"scope must be one of local, global, got {scope!r}")
    named = isinstance(pruning_ratio, dict)
    if named and scope == "global":
        raise ValueError("pruning_ratio must be one number for scope 'global', got a dict")
    names = [group.name for group in found]
    for name, ratio in pruning_ratio.items() if named else [(names[0], pruning_ratio)]:
        if name not in names:
            raise ValueError(f"pruning_ratio must name groups, {', '.join(names)}, got {name!r}")
        check_share(ratio, "pruning_ratio")
