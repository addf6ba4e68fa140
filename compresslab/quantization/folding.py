"""Batch norm folded into the layer before it: at inference both are affine, and two affine maps are one (lesson 41).

gamma (w x + b - mean) / sqrt(var + eps) + beta = (w f) x + (b - mean) f + beta  with f = gamma / sqrt(var + eps)

Fold before quantising: an integer kernel multiplies with the folded weight, so that is the one to find a scale for.
"""

import copy

import torch
from torch import nn

from ..layers import KINDS
from .calibration import check_calibration
from .fake import check_float
from .tracing import run, trace

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def fold_batch_norm(model: nn.Module, example_inputs: torch.Tensor) -> nn.Module:
    """A copy of `model` in which each batch norm that alone reads a layer's output is folded into that layer.

    In its place stands `nn.Identity`, so that all names stay. example_inputs (n, ...): its first example is traced. In
    eval mode the outputs are those of `model` within float rounding. A batch norm that follows no linear layer or
    convolution, and one without running statistics, stays. ValueError for a layer with parametrizations, a quantised
    model, and where something else reads a folded weight. B. Jacob et al. 2018, section 3.2; `torch.nn.utils.fusion`.

    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU())
    >>> fold_batch_norm(model, torch.zeros(1, 1, 8, 8))
    Sequential(
      (0): Conv2d(1, 4, kernel_size=(3, 3), stride=(1, 1))
      (1): Identity()
      (2): ReLU()
    )
    """
    check_float(model)
    check_calibration(example_inputs, "example_inputs")
    folded, x = copy.deepcopy(model), example_inputs[:1]
    for layer, norm in _pairs(model, x):
        _fold_(folded.get_submodule(layer), folded.get_submodule(norm), layer)
        folded.set_submodule(norm, nn.Identity())
    before, after = run(model, x), run(folded, x)
    if not torch.allclose(after, before, rtol=0, atol=0.01 * before.abs().max().item() + 1e-3, equal_nan=True):
        raise ValueError("model must use each weight and batch norm in one place only, got other answers after folding")
    return folded


def _pairs(model: nn.Module, x: torch.Tensor) -> list[tuple[str, str]]:
    """(layer, batch norm) where the layer's result is read once, and each of the two runs once."""
    calls, returned = trace(model, x)
    read = [i for call in calls for i in call.reads if i is not None]
    ran = [calls[i].module for i in returned]
    modules, pairs = dict(model.named_modules()), []
    for norm in calls:
        made = norm.reads[0] if norm.function == "batch_norm" else None
        if made not in returned or read.count(made) > 1 or not isinstance(modules[norm.module], NORMS):
            continue
        if modules[norm.module].running_mean is None:
            continue
        layer = calls[made]
        kind = modules[layer.module]
        on_channels = isinstance(kind, KINDS[1:]) or (isinstance(kind, nn.Linear) and len(layer.shape) == 2)
        if on_channels and ran.count(layer.module) == ran.count(norm.module) == 1:
            pairs.append((layer.module, norm.module))
    return pairs


@torch.no_grad()
def _fold_(layer: nn.Module, norm: nn.Module, name: str) -> None:
    if hasattr(layer, "parametrizations"):
        raise ValueError(f"model must hold plain weights, got a parametrized one in layer {name}: make it final first")
    ones, zeros = torch.ones_like(norm.running_var), torch.zeros_like(norm.running_var)
    gamma, beta = (ones, zeros) if norm.weight is None else (norm.weight, norm.bias)
    bias = zeros if layer.bias is None else layer.bias
    factor = gamma.double() / (norm.running_var.double() + norm.eps).sqrt()
    weight = layer.weight.double() * factor.reshape(-1, *[1] * (layer.weight.ndim - 1))
    bias = (bias.double() - norm.running_mean.double()) * factor + beta.double()
    # A new parameter: another layer may hold the old one too.
    layer.weight = nn.Parameter(weight.to(layer.weight.dtype), requires_grad=layer.weight.requires_grad)
    layer.bias = nn.Parameter(bias.to(layer.weight.dtype), requires_grad=layer.weight.requires_grad)
