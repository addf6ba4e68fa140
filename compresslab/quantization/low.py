"""Two or three values, and four bits that take half a byte: the lowest rungs (lesson 42).

    binary_(model), ternary_(model)   weights -a, +a or -a, 0, +a, made anew from the float weights in every pass
    pack_linears_(model)              4-bit linear layers that really hold two codes in a byte

What `binary_` and `ternary_` make is trained with `training.fit` as it is, and best made of a trained model.
"""

import torch
import torch.nn.functional as F
from torch import nn

from ..parametrizations import register_
from .affine import Quantized, dequantize
from .fake import FakeQuantizeWeight, activation_quantizers, chosen_layers, integer_codes
from .packing import pack_pairs, unpack_pairs
from .ranges import EPS, affine, check_finite
from .scheme import Scheme, signs

BINARY, TERNARY = Scheme(bits=1, granularity="channel"), Scheme(bits=2, granularity="channel")


def binary(blocks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes -1 and +1 (blocks, values) and their scale (blocks,): the signs and mean|w|.

    No other codes and scale come closer: M. Rastegari et al., "XNOR-Net" (2016), equations 5 and 6.

    >>> binary(torch.tensor([[1.0, -3.0]]))
    (tensor([[ 1., -1.]]), tensor([2.]))
    """
    return signs(blocks), blocks.abs().mean(dim=1).clamp(min=EPS)


def ternary(blocks: torch.Tensor, threshold: float = 0.7) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes -1, 0 and +1 and their scale: 0 up to threshold * mean|w|, the scale is the mean |w| of the others.

    For given zeros no other scale comes closer; 0.7 is a rule of thumb for the zeros, right for weights spread evenly
    (2/3) and nearly so for normal ones (3/4). F. Li et al., "Ternary Weight Networks" (2016), equations 5 and 6.
    """
    if not threshold >= 0:
        raise ValueError(f"threshold must be at least 0, got {threshold}")
    size = blocks.abs()
    kept = size > threshold * size.mean(dim=1, keepdim=True)
    scale = (size * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1)
    return blocks.sign() * kept, scale.clamp(min=EPS)


class LowBitWeight(FakeQuantizeWeight):
    """Parametrization: weight -> codes times scale, both by `rule` from the weight itself; the gradient is 1.

    So latent float weights are trained, as in M. Courbariaux et al., "BinaryConnect" (2015).
    """

    def __init__(self, rule, scheme: Scheme):
        nn.Module.__init__(self)
        self.rule, self.scheme = rule, scheme

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        codes, scale = self.rule(self.scheme.blocks(weight.detach()).float())
        values = self.scheme.unblocks(codes * scale[:, None], weight.shape).to(weight.dtype)
        return values + (weight - weight.detach())  # adds exactly 0, whose gradient is 1

    def codes(self, weight: torch.Tensor) -> Quantized:
        codes, scale = self.rule(self.scheme.blocks(weight.detach()).float())
        zero_point = torch.zeros(len(scale), dtype=torch.int32)
        return Quantized(self.scheme.unblocks(codes, weight.shape).to(torch.int8), scale, zero_point, self.scheme)


def binary_(model: nn.Module, scheme: Scheme = BINARY, layers=None) -> nn.Module:
    """Weights of linear layers and convolutions (those named in `layers`) become `binary`; returns the model.

    The usual choice leaves the first and the last layer out. ValueError, and the model as it was, as in `weight_only_`,
    and for a scheme that is not symmetric, of 1 bit.
    """
    return _put_(model, binary, scheme, 1, layers)


def ternary_(model: nn.Module, scheme: Scheme = TERNARY, layers=None) -> nn.Module:
    """The same with `ternary` weights, for a symmetric scheme of 2 bits."""
    return _put_(model, ternary, scheme, 2, layers)


def _put_(model: nn.Module, rule, scheme: Scheme, bits: int, names) -> nn.Module:
    if scheme.bits != bits or not scheme.symmetric or not scheme.signed:
        raise ValueError(f"scheme must be symmetric and signed, with bits={bits}, got {scheme}")
    chosen = chosen_layers(model, names)
    for name, layer in chosen.items():
        try:
            check_finite(scheme.blocks(layer.weight))
        except ValueError as error:
            raise ValueError(f"weight of layer {name}: {error}") from None
    for layer in chosen.values():
        register_(layer, "weight", LowBitWeight(rule, scheme))
    return model


class PackedLinear(nn.Module):
    """A linear layer of 4-bit codes, two in a byte, unpacked in every pass; x (..., in) -> (..., out), as `nn.Linear`.

    packed: uint8 (out, in / 2). scale: (blocks,), float16 where that holds every scale exactly, else float32.
    """

    def __init__(self, q: Quantized, bias: torch.Tensor | None):
        super().__init__()
        half = q.scale.half()
        self.scheme = q.scheme
        self.register_buffer("packed", pack_pairs(q.codes, q.scheme))
        self.register_buffer("scale", half if torch.equal(half.float(), q.scale) else q.scale.clone())
        self.register_buffer("zero_point", None if q.scheme.symmetric else q.zero_point.clone())
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        zero_point = torch.zeros(1, dtype=torch.int32) if self.zero_point is None else self.zero_point
        codes = unpack_pairs(self.packed, self.scheme)
        return F.linear(x, dequantize(codes, self.scale.float(), zero_point, self.scheme).to(x.dtype), self.bias)


def half_scales(rule):
    """`rule`, its range moved a little so that a symmetric scheme's scale is a float16 number: 2 bytes instead of 4."""

    def rounded(blocks, scheme):
        if not scheme.symmetric:
            raise ValueError(f"half_scales needs a symmetric scheme, got {scheme}")
        reach = affine(*rule(blocks, scheme), scheme)[0].half().float() * scheme.qmax
        return (-reach if scheme.signed else 0 * reach), reach

    return rounded


def pack_linears_(model: nn.Module) -> nn.Module:
    """Put a `PackedLinear` in place of each linear layer with fake-quantised 4-bit weights; returns the model.

    Answers stay the same, bit for bit; there is no way back. ValueError, and the model as it was, if there is none, or
    one with an odd number of inputs.
    """
    if isinstance(model, nn.Linear):
        raise ValueError("model must hold its linear layers, got a Linear itself: put it into nn.Sequential")
    codes = {name.removesuffix(".weight"): q for name, q in integer_codes(model).items() if q.scheme.bits == 4}
    layers = {name: model.get_submodule(name) for name in codes}
    layers = {name: layer for name, layer in layers.items() if isinstance(layer, nn.Linear)}
    if not layers:
        raise ValueError("model must hold linear layers with fake-quantised weights of 4 bits, got none")
    packed = {name: PackedLinear(codes[name], layer.bias) for name, layer in layers.items()}
    places = {layer: packed[name] for name, layer in layers.items()}
    for (name, side), quantizer in activation_quantizers(model).items():
        if name in packed:
            quantizer.attach_(packed[name], side)
    for name, module in list(model.named_modules(remove_duplicate=False)):  # a layer may stand in several places
        if module in places:
            model.set_submodule(name, places[module])
    return model
