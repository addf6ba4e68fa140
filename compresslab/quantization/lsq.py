"""Learned step size: the scale is a parameter, trained with the weights (lesson 42).

    static_(model, calibration, weights, activations, rule=start, weight_rule=start)
    learn_scales_(model)
    training.fit(model, data)

S. K. Esser et al., "Learned Step Size Quantization" (2020); their step size s is the scale, their -Q_N and Q_P are the
lowest and the highest code (less the zero point, which stays as it is). Their signed codes have one more below zero
than above, -2^(b-1); symmetric ones have as many on both sides here.
"""

import torch
from torch import nn

from .affine import Quantized
from .fake import FakeQuantizeWeight, StaticQuantizer, activation_quantizers, weight_quantizers
from .ranges import EPS, min_max
from .scheme import Scheme, nearest


def start(blocks: torch.Tensor, scheme: Scheme) -> tuple[torch.Tensor, torch.Tensor]:
    """The range whose scale is the paper's first one, 2 mean|x| / sqrt(q_max); a rule, see `ranges`.

    An asymmetric range reaches below 0 only as far as values do; where none does, the scale is the paper's too.
    """
    low, _ = min_max(blocks, scheme)
    steps = scheme.qmax if scheme.symmetric else scheme.qmax - scheme.qmin
    reach = 2 * blocks.abs().mean(dim=-1) * steps**0.5  # the scale times `steps`
    return (-reach if scheme.symmetric else low.clamp(max=0).maximum(-reach)), reach


class _LearnedScale(torch.autograd.Function):
    """The values of `affine.fake_quantize`, with the paper's gradients: equation 3 for the scale, 5 for the blocks."""

    @staticmethod
    def forward(ctx, blocks, scale, zero_point, scheme, gain):
        scale = scale.clamp(min=EPS)
        zero, steps = zero_point[:, None], blocks * (1 / scale)[:, None]
        codes = nearest(blocks, scale, zero_point, scheme) - zero
        inside = (scheme.qmin - zero < steps) & (steps < scheme.qmax - zero)
        ctx.save_for_backward(codes, steps, inside)
        ctx.gain = gain
        return codes * scale[:, None]

    @staticmethod
    def backward(ctx, grad):
        codes, steps, inside = ctx.saved_tensors
        slope = codes - steps * inside  # round(x / s) - x / s inside, the lowest or highest code outside
        return grad * inside, ctx.gain * (grad * slope).sum(dim=1), None, None, None


def learned_quantize(
    x: torch.Tensor, scale: torch.Tensor, zero_point: torch.Tensor, scheme: Scheme, n: int
) -> torch.Tensor:
    """`affine.fake_quantize` with a gradient for the scale too, which is times 1 / sqrt(n q_max) (section 2.2).

    x in any shape; scale and zero_point (blocks,). n: how many values share the scale; of activations, in one example.
    So scaled, the scale moves about as fast, for its size, as the weights do. A scale that training has pushed to 0 or
    below counts as 2^-23; its gradient soon drives it up again.
    """
    gain = (n * scheme.qmax) ** -0.5
    blocks = _LearnedScale.apply(scheme.blocks(x).float(), scale, zero_point, scheme, gain)
    return scheme.unblocks(blocks, x.shape).to(x.dtype)


class LearnedWeight(FakeQuantizeWeight):
    """Parametrization: `FakeQuantizeWeight` whose scale is a parameter."""

    def __init__(self, fixed: FakeQuantizeWeight):
        super().__init__(fixed.scale, fixed.zero_point, fixed.scheme)
        _scale_becomes_parameter_(self)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        n = weight.numel() // len(self.scale)
        return learned_quantize(weight, self.scale, self.zero_point, self.scheme, n)

    def codes(self, weight: torch.Tensor) -> Quantized:
        scale = self.scale.detach().clamp(min=EPS)
        return FakeQuantizeWeight(scale, self.zero_point, self.scheme).codes(weight)


class LearnedQuantizer(StaticQuantizer):
    """`StaticQuantizer` whose scale is a parameter."""

    def __init__(self, fixed: StaticQuantizer):
        super().__init__(fixed.scale, fixed.zero_point, fixed.scheme)
        _scale_becomes_parameter_(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return learned_quantize(x, self.scale, self.zero_point, self.scheme, x[0].numel())


def _scale_becomes_parameter_(quantizer: nn.Module) -> None:
    scale = quantizer.scale
    del quantizer.scale
    quantizer.scale = nn.Parameter(scale)


def learn_scales_(model: nn.Module) -> nn.Module:
    """Make all fixed scales of a fake-quantised model parameters, which training then learns; returns the model.

    Answers and codes stay the same, bit for bit, until then. ValueError for a model without fixed scales.
    """
    weights = {name: q for name, q in weight_quantizers(model).items() if type(q) is FakeQuantizeWeight}
    points = {point: q for point, q in activation_quantizers(model).items() if type(q) is StaticQuantizer}
    if not weights and not points:
        raise ValueError("model must hold fake quantizers with fixed scales, got none: call static_ first")
    for name, quantizer in weights.items():
        chain = model.get_submodule(name).parametrizations.weight
        chain[[step is quantizer for step in chain].index(True)] = LearnedWeight(quantizer)
    for (name, side), quantizer in points.items():
        quantizer.handle.remove()
        LearnedQuantizer(quantizer).attach_(model.get_submodule(name), side)
    return model
