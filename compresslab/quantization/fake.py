"""Fake quantizers: a float model that computes with the values that codes stand for (lesson 41).

Weights get a parametrization, tensors between layers a hook; the model keeps its class, can be trained, copied and
measured. `remove_` gives back the float model, `freeze_` makes the quantised weights final.
"""

import torch
from torch import nn
from torch.nn.utils import parametrize

from ..layers import layers_of
from ..parametrizations import unregister_
from .affine import Quantized, fake_quantize, quantize
from .ranges import affine, min_max
from .scheme import Scheme

SIDES = ("input", "output")


class FakeQuantizeWeight(nn.Module):
    """Parametrization: weight -> the values its codes stand for. scale float32, zero_point int32, both (blocks,)."""

    def __init__(self, scale: torch.Tensor, zero_point: torch.Tensor, scheme: Scheme):
        super().__init__()
        self.scheme = scheme
        self.register_buffer("scale", scale.clone())
        self.register_buffer("zero_point", zero_point.clone())

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return fake_quantize(weight, self.scale, self.zero_point, self.scheme)

    def codes(self, weight: torch.Tensor) -> Quantized:
        """The codes of the float weight, with what it takes to read them."""
        codes = quantize(weight.detach(), self.scale, self.zero_point, self.scheme)
        return Quantized(codes, self.scale, self.zero_point, self.scheme)


class DynamicQuantizer(nn.Module):
    """Fake-quantises whatever passes, with the scale of its own range; hangs at the input or output of a module."""

    def __init__(self, scheme: Scheme):
        super().__init__()
        self.scheme = scheme

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale, zero_point = affine(*min_max(self.scheme.blocks(x.detach()), self.scheme), self.scheme)
        return fake_quantize(x, scale, zero_point, self.scheme)

    def attach_(self, module: nn.Module, side: str) -> None:
        """Become part of `module`: all that it reads ("input", first argument) or returns ("output") passes here."""
        hook = module.register_forward_pre_hook if side == "input" else module.register_forward_hook
        self.handle = hook(self._before if side == "input" else self._after)
        module.add_module(f"{side}_quantizer", self)

    def _before(self, module, args):
        return self(args[0]), *args[1:]

    def _after(self, module, args, output):
        return self(output)


class StaticQuantizer(DynamicQuantizer):
    """The same with scale and zero point fixed beforehand, whatever passes."""

    def __init__(self, scale: torch.Tensor, zero_point: torch.Tensor, scheme: Scheme):
        super().__init__(scheme)
        self.register_buffer("scale", scale.clone())
        self.register_buffer("zero_point", zero_point.clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return fake_quantize(x, self.scale, self.zero_point, self.scheme)


class ShiftBias(nn.Module):
    """Parametrization: bias - shift (channels,), see `bias.correct_bias_`."""

    def __init__(self, shift: torch.Tensor):
        super().__init__()
        self.register_buffer("shift", shift.clone())

    def forward(self, bias: torch.Tensor) -> torch.Tensor:
        return bias - self.shift


def weight_quantizers(model: nn.Module) -> dict[str, FakeQuantizeWeight]:
    """{layer: its weight's fake quantizer}, in the model's order."""
    found = {name: _ours(module, "weight", FakeQuantizeWeight) for name, module in model.named_modules()}
    return {name: chain[0] for name, chain in found.items() if chain}


def activation_quantizers(model: nn.Module) -> dict[tuple[str, str], DynamicQuantizer]:
    """{(module, "input" or "output"): the quantizer there}, in the model's order."""
    points = [((name, side), module) for name, module in model.named_modules() for side in SIDES]
    found = {point: getattr(module, f"{point[1]}_quantizer", None) for point, module in points}
    return {point: quantizer for point, quantizer in found.items() if isinstance(quantizer, DynamicQuantizer)}


def integer_codes(model: nn.Module) -> dict[str, Quantized]:
    """{weight's name: its codes, scale, zero point and scheme} of a model with fake-quantised weights.

    ValueError for a model without them; `freeze_` leaves none.
    """
    found = {}
    for layer, quantizer in weight_quantizers(model).items():
        chain = model.get_submodule(layer).parametrizations.weight
        weight = chain.original
        for step in chain:
            if step is quantizer:
                break
            weight = step(weight)  # a mask, say
        found[f"{layer}.weight".lstrip(".")] = quantizer.codes(weight)
    if not found:
        raise ValueError("model must hold fake-quantised weights, got none")
    return found


def remove_(model: nn.Module) -> nn.Module:
    """Take all quantizers and bias corrections off: the float model again, its parameters the very same tensors."""
    for module in list(model.modules()):
        for name, kind in (("weight", FakeQuantizeWeight), ("bias", ShiftBias)):
            for step in _ours(module, name, kind):
                chain = module.parametrizations[name]
                if len(chain) == 1:
                    unregister_(module, name, keep=False)
                else:
                    del chain[[part is step for part in chain].index(True)]
    for (name, side), quantizer in activation_quantizers(model).items():
        quantizer.handle.remove()
        delattr(model.get_submodule(name), f"{side}_quantizer")
    return model


def freeze_(model: nn.Module) -> nn.Module:
    """Make quantised weights and corrected biases plain parameters; quantizers between the layers stay.

    A mask under a quantizer becomes final too. There is no way back, and `integer_codes` has nothing to read any more.
    `remove_` then leaves a plain model of these weights, as a runtime that brings its own quantizers wants it.
    """
    for module in list(model.modules()):
        for name, kind in (("weight", FakeQuantizeWeight), ("bias", ShiftBias)):
            if _ours(module, name, kind):
                chain = module.parametrizations[name]
                if hasattr(chain, "original"):  # a copy: an embedding, say, may share it and stays as it is
                    chain.original = nn.Parameter(chain.original.detach().clone(), chain.original.requires_grad)
                unregister_(module, name, keep=True)
    return model


def _ours(module: nn.Module, name: str, kind: type) -> list[nn.Module]:
    if not parametrize.is_parametrized(module, name):
        return []
    return [step for step in module.parametrizations[name] if isinstance(step, kind)]


def check_float(model: nn.Module) -> None:
    """ValueError for a model that holds fake quantizers."""
    held = [*weight_quantizers(model), *(name for name, _ in activation_quantizers(model))]
    if held:
        raise ValueError(f"model must not be quantised yet, got quantizers in {held[0]!r}: call remove_ first")


def chosen_layers(model: nn.Module, names=None) -> dict[str, nn.Module]:
    """`layers_of` a model that must not be quantised yet."""
    check_float(model)
    found = layers_of(model, names)
    for name, layer in found.items():
        if "weight" not in layer._parameters and not parametrize.is_parametrized(layer, "weight"):
            raise ValueError(f"weight of layer {name} must be a parameter, got one that a hook computes: make it final")
    return found
