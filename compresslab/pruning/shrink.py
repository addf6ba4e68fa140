"""A really smaller model (lesson 31): structures that are zero are cut out.

mask_(model, structure_masks(model, example_inputs, 0.5))  # half of all channels read as zero
small = shrink(model, example_inputs)                      # the same outputs from smaller tensors
"""

from bisect import bisect_left

import torch
from torch import Tensor, nn

from ..measure import count_macs
from .groups import cut, dense_copy
from .structures import alive, kept_structures, local_counts, some_groups


def shrink(model: nn.Module, example_inputs: Tensor | tuple, heads: str | None = "heads") -> nn.Module:
    """A new, smaller model without the structures that are zero in all their members; `model` stays as it is.

    It gives the same outputs in eval mode, up to the rounding of sums with fewer zeros in them. Masks are baked on the
    way. ValueError if the model has nothing to remove, or if a group would be removed whole.

    >>> from compresslab import models
    >>> from compresslab.pruning import masks, structures
    >>> model, x = models.mlp(), torch.zeros(1, 64)
    >>> masks.mask_(model, structures.structure_masks(model, x, 0.5))
    >>> shrink(model, x)[1]
    Linear(in_features=64, out_features=16, bias=True)
    """
    dense = dense_copy(model)
    found, kept = some_groups(dense, example_inputs, heads), {}
    for group in found:
        kept[group.name] = alive(dense, group)
        if not kept[group.name].any():
            raise ValueError(f"model must keep a {group.kind} of {group.name!r}, but all {group.size} are zero")
    return cut(dense, found, kept, heads)


def ratio_for_macs(
    model: nn.Module,
    example_inputs: Tensor | tuple,
    target: float,
    *,
    heads: str | None = "heads",
    round_to: int = 1,
) -> float:
    """The smallest pruning_ratio (in thousandths, scope="local") that leaves at most the share `target` of the MACs.

    ValueError if target is outside (0, 1], or lower than what one structure a group would cost.
    """
    if not 0 < target <= 1:
        raise ValueError(f"target must be in (0, 1], got {target}")
    found, dense = some_groups(model, example_inputs, heads), dense_copy(model)
    whole = count_macs(dense, example_inputs)

    def share(ratio):
        kept = kept_structures(found, [torch.ones(g.size) for g in found], local_counts(found, None, ratio), round_to)
        return count_macs(cut(dense, found, kept, heads), example_inputs) / whole

    smallest = min(group.size for group in found)
    ratios = [k / 1000 for k in range(1000) if round(k / 1000 * smallest) < smallest]
    position = bisect_left(ratios, True, key=lambda ratio: share(ratio) <= target)
    if position == len(ratios):
        raise ValueError(f"target must be at least {share(ratios[-1]):.3f} for this model, got {target}")
    return ratios[position]
