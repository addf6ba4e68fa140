"""How numbers become codes: how many bits, with or without a zero point, and which numbers share a scale.

A value is x ~ scale * (code - zero_point). Values that share a scale are a *block*: all rules and formulas here work
on a matrix (blocks, values), with one scale and one zero point for each row.

>>> weight = torch.tensor([[0.5, -1.0], [2.0, 0.1]])
>>> scheme = Scheme(bits=4, granularity="channel")
>>> scheme.qmin, scheme.qmax, scheme.blocks(weight).shape
(-7, 7, torch.Size([2, 2]))
"""

from dataclasses import dataclass
from numbers import Integral

import torch

GRANULARITIES = ("tensor", "channel", "group")


@dataclass(frozen=True)
class Scheme:
    """Codes of `bits` bits (1 to 16), and what shares a scale.

    symmetric: zero_point is 0 and the signed codes are as many below zero as above it, 2^bits - 1 in all (with 1 bit
    they are -1 and +1). granularity: one scale for the whole "tensor", for each entry of dimension `axis` ("channel"),
    or for each run of `group_size` values along the last dimension ("group"). signed: codes on both sides of zero, or
    from 0 to 2^bits - 1. Names and ranges: M. Nagel et al., "A White Paper on Neural Network Quantization" (2021).
    """

    bits: int = 8
    symmetric: bool = True
    granularity: str = "tensor"
    axis: int = 0
    group_size: int | None = None
    signed: bool = True

    def __post_init__(self):
        if not _whole(self.bits) or not 1 <= self.bits <= 16:
            raise ValueError(f"bits must be a whole number from 1 to 16, got {self.bits!r}")
        if self.granularity not in GRANULARITIES:
            raise ValueError(f"granularity must be one of {', '.join(GRANULARITIES)}, got {self.granularity!r}")
        if not _whole(self.axis):
            raise ValueError(f"axis must be a whole number, got {self.axis!r}")
        if self.granularity == "group" and (not _whole(self.group_size) or self.group_size < 1):
            raise ValueError(f"group_size must be a whole number of at least 1, got {self.group_size}")
        if self.granularity != "group" and self.group_size is not None:
            raise ValueError(f"group_size is for granularity='group' only, got {self.group_size}")

    @property
    def binary(self) -> bool:
        """Are the only codes -1 and +1, without a zero?"""
        return self.bits == 1 and self.symmetric and self.signed

    @property
    def qmin(self) -> int:
        """The lowest code."""
        if not self.signed:
            return 0
        return -self.qmax if self.symmetric else -(2 ** (self.bits - 1))

    @property
    def qmax(self) -> int:
        """The highest code."""
        if not self.signed:
            return 2**self.bits - 1
        return 1 if self.binary else 2 ** (self.bits - 1) - 1

    @property
    def dtype(self) -> torch.dtype:
        """The smallest torch type that holds every code and does arithmetic: int8, uint8, int16 or int32."""
        if self.bits <= 8:
            return torch.int8 if self.signed else torch.uint8
        return torch.int16 if self.signed else torch.int32

    def blocks(self, x: torch.Tensor) -> torch.Tensor:
        """x as a matrix (blocks, values): each row shares a scale. A view where that is possible."""
        self._check(x)
        if self.granularity == "tensor":
            return x.reshape(1, -1)
        if self.granularity == "channel":
            return x.movedim(self.axis, 0).flatten(1) if x.ndim > 1 else x[:, None]
        return x.reshape(-1, self.group_size)

    def unblocks(self, blocks: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        """The inverse of `blocks`: the matrix as a tensor of that shape."""
        if self.granularity != "channel":
            return blocks.reshape(shape)
        moved = list(shape)
        moved.insert(0, moved.pop(self.axis))
        return blocks.reshape(moved).movedim(0, self.axis).contiguous()

    def _check(self, x: torch.Tensor) -> None:
        if not x.numel():
            raise ValueError(f"x must hold at least one value, got shape {tuple(x.shape)}")
        if self.granularity == "channel" and not -x.ndim <= self.axis < x.ndim:
            raise ValueError(f"axis must be a dimension of x, which has {x.ndim}, got {self.axis}")
        if self.granularity == "group" and (not x.ndim or x.shape[-1] % self.group_size):
            last = x.shape[-1] if x.ndim else 1
            raise ValueError(f"group_size must divide the last dimension of x, which is {last}, got {self.group_size}")


def _whole(number) -> bool:
    return isinstance(number, Integral) and not isinstance(number, bool)


def rounded(blocks: torch.Tensor, scale: torch.Tensor, zero_point: torch.Tensor) -> torch.Tensor:
    """round(x / scale) + zero_point, before any clamping; halves go to the even number, as float32.

    blocks (blocks, values) float32; scale and zero_point (blocks,) or (1,).
    """
    # Multiplied by the rounded 1 / scale, not divided by scale: all of torch does so, and the two differ in the last
    # bit, which moves some codes near a half by one. Rounded before the zero point is added, as ONNX's QuantizeLinear
    # and torch.fake_quantize_* do: so a half goes to the same side whatever the zero point. (The deprecated
    # torch.quantize_per_tensor and _per_channel add it first, and round the sum: equal for zero point 0 only.)
    return torch.round(blocks * (1 / scale)[:, None]) + zero_point[:, None]


def signs(blocks: torch.Tensor) -> torch.Tensor:
    """-1 or +1, +1 for 0, as float32: the codes of 1 bit."""
    return torch.where(blocks >= 0, 1.0, -1.0)


def nearest(blocks: torch.Tensor, scale: torch.Tensor, zero_point: torch.Tensor, scheme: Scheme) -> torch.Tensor:
    """The code of every value, as float32: `rounded`, clamped to the codes; for 1 bit, symmetric, the `signs`."""
    if scheme.binary:
        return signs(blocks)
    return rounded(blocks, scale, zero_point).clamp(scheme.qmin, scheme.qmax)
