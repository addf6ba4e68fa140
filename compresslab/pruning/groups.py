"""Structures (lesson 31): neurons, channels and attention heads, and all that must go when one of them goes.

A group lists what falls together. Take channel s of a convolution: filter s makes it, entry s of the batch norm scales
it, slice s of every filter in the next layer reads it, and all layers that add to the same channel lose theirs too.
`zero_masks` sets structures to zero in all these places; `cut` makes the tensors smaller.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor, nn

from ..layers import KINDS
from .masks import bake_


@dataclass(frozen=True, eq=False)
class Member:
    """What a group owns of one parameter: structure s owns the positions index[s] along dimension `dim`.

    `role`: "producer" (it makes the structure: rows of a layer, and its bias), "norm" (scale and shift of a batch norm)
    or "consumer" (columns of a layer that reads it). `index`: LongTensor (size, positions of one structure).
    """

    layer: str
    parameter: str
    role: str
    dim: int
    index: Tensor

    @property
    def name(self) -> str:
        """The parameter's name in the state dict of the dense model."""
        return f"{self.layer}.{self.parameter}".lstrip(".")

    def of(self, model: nn.Module) -> Tensor:
        """The parameter itself; where the layer carries a mask, the masked one."""
        return getattr(model.get_submodule(self.layer), self.parameter)

    def entries(self, tensor: Tensor) -> Tensor:
        """The numbers of `tensor` (the parameter, its gradient) by structure: (size, numbers of one structure)."""
        return tensor.movedim(self.dim, 0)[self.index].flatten(1)


@dataclass(frozen=True, eq=False)
class Group:
    """`size` structures of one kind ("neuron", "channel", "head"), named after the first layer that makes them."""

    name: str
    kind: str
    size: int
    members: tuple[Member, ...]

    def table(self) -> pd.DataFrame:
        """What falls together: one row a parameter; `positions` along `dim` go with each structure."""
        rows = [(m.layer, m.parameter, m.role, m.dim, m.index.shape[1]) for m in self.members]
        return pd.DataFrame(rows, columns=["layer", "parameter", "role", "dim", "positions"])


def dense_copy(model: nn.Module) -> nn.Module:
    """A copy of `model` with its masks baked; `model` keeps them."""
    dense = copy.deepcopy(model)
    bake_(dense)
    return dense


def zero_masks(model: nn.Module, groups: Sequence[Group], kept: dict[str, Tensor]) -> dict[str, Tensor]:
    """{parameter: bool mask, True = kept} of every member; `kept` holds a bool vector (size,) for each group's name."""
    masks = {}
    for group in groups:
        for member in group.members:
            mask = masks.setdefault(member.name, torch.ones_like(member.of(model), dtype=torch.bool))
            gone = member.index[~kept[group.name]].flatten()
            mask.index_fill_(member.dim, gone.to(mask.device), False)
    return masks


def cut(model: nn.Module, groups: Sequence[Group], kept: dict[str, Tensor], heads: str | None = "heads") -> nn.Module:
    """A copy of the dense `model` without the structures that `kept` (as in `zero_masks`) marks False."""
    small, rows = copy.deepcopy(model), {}
    for group in groups:
        for member in group.members:
            tensor = member.of(small)
            stay = rows.setdefault((member.layer, member.dim), torch.ones(tensor.shape[member.dim], dtype=torch.bool))
            stay[member.index[~kept[group.name]].flatten()] = False
        if group.kind == "head":
            setattr(parent(small, group.name), heads, int(kept[group.name].sum()))
    for (layer, dim), stay in rows.items():
        _cut_(small.get_submodule(layer), dim, stay.nonzero().flatten())
    return small


def _cut_(layer: nn.Module, dim: int, stay: Tensor) -> None:
    """Keep the positions `stay` of a layer's outputs (dim 0: all it holds) or inputs (dim 1: the weight alone)."""
    for name, tensor in [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]:
        if tensor.ndim and (dim == 0 or name == "weight"):
            smaller = tensor.detach().index_select(dim, stay.to(tensor.device))
            trained = isinstance(tensor, nn.Parameter)
            setattr(layer, name, nn.Parameter(smaller, tensor.requires_grad) if trained else smaller)
    if isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif not isinstance(layer, KINDS):
        layer.num_features = len(layer.weight)
    elif layer.groups > 1:
        layer.out_channels = layer.in_channels = layer.groups = len(layer.weight)
    else:
        layer.out_channels, layer.in_channels = layer.weight.shape[:2]


def parent(model: nn.Module, layer: str) -> nn.Module:
    """The module that holds `layer`."""
    return model.get_submodule(layer.rpartition(".")[0])
