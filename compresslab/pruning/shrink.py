"""A really smaller model (lesson 31): structures that are zero are cut out.

mask_(model, structure_masks(model, example_inputs, 0.5))  # half of all channels read as zero
small = shrink(model, example_inputs)                      # the same outputs from smaller tensors
"""

from torch import Tensor, nn

from .groups import cut, dense_copy
from .structures import alive, some_groups


def shrink(model: nn.Module, example_inputs: Tensor | tuple, heads: str | None = "heads") -> nn.Module:
    """A new, smaller model without the structures that are zero in all their members; `model` stays as it is.

    It gives the same outputs in eval mode, up to the rounding of sums with fewer zeros in them. Masks are baked on the
    way. ValueError if the model has nothing to remove, or if a group would be removed whole.

    >>> import torch
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
