"""The affine map by hand: x ~ scale * (code - zero_point), there and back, and with a gradient (lesson 40).

>>> q = quantize_tensor(torch.tensor([-1.0, 0.3, 0.6]), Scheme(bits=3))
>>> q.codes.tolist(), [round(x, 2) for x in q.dequantize().tolist()]
([-3, 1, 2], [-1.0, 0.33, 0.67])
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from .ranges import affine, check_finite, min_max
from .scheme import Scheme, nearest, rounded, signs


@dataclass(frozen=True)
class Quantized:
    """Codes (whole numbers, shape of x), with scale float32 and zero_point int32, both (blocks,)."""

    codes: torch.Tensor
    scale: torch.Tensor
    zero_point: torch.Tensor
    scheme: Scheme

    def dequantize(self) -> torch.Tensor:
        """The float32 tensor that the codes stand for."""
        return dequantize(self.codes, self.scale, self.zero_point, self.scheme)


def quantize(x: torch.Tensor, scale: torch.Tensor, zero_point: torch.Tensor, scheme: Scheme) -> torch.Tensor:
    """Codes of x, in `scheme.dtype` and the shape of x: those behind `torch.fake_quantize_per_tensor_affine`.

    scale and zero_point (blocks,), or one number for all. Computed in float32. ValueError where x holds nan or
    infinity: no code stands for them. B. Jacob et al., "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference" (2018), equation 1.
    """
    blocks = check_finite(scheme.blocks(x).float())
    scale, zero_point = check_parameters(scale, zero_point, len(blocks), scheme)
    return scheme.unblocks(nearest(blocks, scale, zero_point, scheme).to(scheme.dtype), x.shape)


def dequantize(codes: torch.Tensor, scale: torch.Tensor, zero_point: torch.Tensor, scheme: Scheme) -> torch.Tensor:
    """scale * (codes - zero_point), float32: the difference is exact, the product is rounded once."""
    blocks = scheme.blocks(codes).float()
    scale, zero_point = check_parameters(scale, zero_point, len(blocks), scheme)
    return scheme.unblocks((blocks - zero_point[:, None]) * scale[:, None], codes.shape)


class _StraightThrough(torch.autograd.Function):
    """Rounding has gradient 0 almost everywhere. Pretend it is 1 where no value was clamped."""

    @staticmethod
    def forward(ctx, blocks, scale, zero_point, scheme):
        codes = rounded(blocks, scale, zero_point)
        clamped = codes.clamp(scheme.qmin, scheme.qmax)
        ctx.save_for_backward(codes == clamped)
        return ((signs(blocks) if scheme.binary else clamped) - zero_point[:, None]) * scale[:, None]

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0], None, None, None


def fake_quantize(x: torch.Tensor, scale: torch.Tensor, zero_point: torch.Tensor, scheme: Scheme) -> torch.Tensor:
    """x rounded to the values that have a code, in the type of x; the gradient goes straight through, or is 0.

    The gradient of x is 1 where the rounded value lies within the codes, and 0 where it was clamped: as in
    `torch.fake_quantize_per_tensor_affine`. Y. Bengio et al., "Estimating or Propagating Gradients Through Stochastic
    Neurons" (2013). nan stays nan, so that a training that has diverged is seen to have.
    """
    if not x.is_floating_point():
        raise ValueError(f"x must hold floating-point numbers, got {x.dtype}")
    blocks = scheme.blocks(x).float()
    scale, zero_point = check_parameters(scale, zero_point, len(blocks), scheme)
    return scheme.unblocks(_StraightThrough.apply(blocks, scale, zero_point, scheme), x.shape).to(x.dtype)


def quantize_tensor(x: torch.Tensor, scheme: Scheme, rule: Callable = min_max) -> Quantized:
    """Choose the range of every block by `rule` (see `ranges`), and quantize x with it."""
    blocks = check_finite(scheme.blocks(x.detach()).float())
    scale, zero_point = affine(*rule(blocks, scheme), scheme)
    return Quantized(quantize(x.detach(), scale, zero_point, scheme), scale, zero_point, scheme)


def sqnr_db(x: torch.Tensor, y: torch.Tensor) -> float:
    """Signal to quantization noise of y as a copy of x, in decibels: 10 log10(sum x² / sum (x - y)²).

    >>> round(sqnr_db(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 4.5])), 6)
    20.0
    """
    if x.shape != y.shape:
        raise ValueError(f"y must have the shape of x, {tuple(x.shape)}, got {tuple(y.shape)}")
    signal, noise = x.double().square().sum().item(), (x.double() - y.double()).square().sum().item()
    if noise == 0:
        return math.inf
    return 10 * (math.log10(signal) - math.log10(noise)) if signal else -math.inf


def check_parameters(scale, zero_point, blocks: int, scheme: Scheme) -> tuple[torch.Tensor, torch.Tensor]:
    """Both as tensors of `blocks` numbers; the scale normal and above 0, so that 1 / scale is a number."""
    scale, zero_point = torch.as_tensor(scale).float().reshape(-1), torch.as_tensor(zero_point).reshape(-1)
    for name, value in (("scale", scale), ("zero_point", zero_point)):
        if len(value) not in (1, blocks):
            raise ValueError(f"{name} must hold one number for each of {blocks} blocks, got {len(value)}")
    if not (scale.isfinite() & (scale >= torch.finfo(torch.float32).tiny)).all():
        raise ValueError(f"scale must be a normal number above 0, got {scale.min().item()}")
    wrong = zero_point[~((zero_point >= scheme.qmin) & (zero_point <= scheme.qmax) & (zero_point % 1 == 0))]
    if len(wrong):
        raise ValueError(f"zero_point must be one of the codes {scheme.qmin} to {scheme.qmax}, got {wrong[0].item()}")
    return scale, zero_point
