"""Whole-number arithmetic by hand: products of codes in int32, and back to codes of few bits (lesson 40).

With a ~ s_a (a_q - z_a) and b ~ s_b (b_q - z_b), a product of matrices is s_a s_b times a product of whole numbers: the
scales wait outside. B. Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference" (2018), sections 2.2 and 2.3.

>>> a, b = torch.tensor([[1, -2]], dtype=torch.int8), torch.tensor([[3], [4]], dtype=torch.int8)
>>> total = int_matmul(a, b)
>>> total, requantize(total, torch.tensor(0.3), 0, Scheme(bits=4))
(tensor([[-5]], dtype=torch.int32), tensor([[-2]], dtype=torch.int8))
"""

import torch

from .affine import Quantized
from .scheme import Scheme


def int_matmul(a: torch.Tensor, b: torch.Tensor, a_zero_point=0, b_zero_point=0) -> torch.Tensor:
    """(a - a_zero_point) @ (b - b_zero_point) in int32, exact. a (m, k), b (k, n): codes of any integer type.

    Zero points are numbers, or (m, 1) for the rows of a and (n,) for the columns of b. The product is of the codes as
    they are stored; what the zero points add depends on a row or a column alone (Jacob et al., equation 7). ValueError
    where a sum could leave int32.
    """
    _check_matrices(a, b)
    a_zero_point, b_zero_point = torch.as_tensor(a_zero_point), torch.as_tensor(b_zero_point)
    _check_accumulator(a.shape[-1], _reach(a, a_zero_point), _reach(b, b_zero_point))
    a, b = a.int(), b.int()  # int_mm on int8 gives the same; a CPU's int8 instructions do it four at a time
    rows, columns = a.sum(dim=1, keepdim=True), b.sum(dim=0)
    corrections = b_zero_point * rows + a_zero_point * columns - a.shape[1] * a_zero_point * b_zero_point
    return (a @ b - corrections).int()


def requantize(total: torch.Tensor, multiplier: torch.Tensor, zero_point, scheme: Scheme) -> torch.Tensor:
    """Codes of round(total * multiplier) + zero_point, clamped: from int32 sums to the codes of the next layer.

    multiplier = s_a s_b / s_out, one number or one that broadcasts with total (n, 1, 1) for the channels of images.
    Computed in float64, where the product is rounded in its 53rd bit only.
    """
    multiplier = torch.as_tensor(multiplier).double()
    if not multiplier.isfinite().all():
        raise ValueError(f"multiplier must be finite, got {multiplier[~multiplier.isfinite()][0].item()}")
    codes = torch.round(total.double() * multiplier) + zero_point
    return codes.clamp(scheme.qmin, scheme.qmax).to(scheme.dtype)


def fixed_point(multiplier: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(m, shift), both int64, so that multiplier = m / 2^shift up to a relative 2^-31; m has 31 bits.

    The multiplier must be in [2^-32, 2^30): then total * m fits into 64 bits. Jacob et al., equation 6.

    >>> m, shift = fixed_point(torch.tensor(0.3))
    >>> m.item() / 2 ** shift.item()
    0.30000001192092896
    """
    multiplier = torch.as_tensor(multiplier).double()
    wrong = multiplier[~((multiplier >= 2**-32) & (multiplier < 2**30))]
    if len(wrong.flatten()):
        raise ValueError(f"multiplier must be in [2^-32, 2^30), got {wrong.flatten()[0].item()}")
    fraction, exponent = torch.frexp(multiplier)  # in [1/2, 1), times 2^exponent
    m = torch.round(fraction * 2**31).long().clamp(max=2**31 - 1)
    return m, 31 - exponent.long()


def matmul_error_bound(a: Quantized, b: Quantized) -> torch.Tensor:
    """How far the product of the copies of a (m, k) and b (k, n) can be from that of the originals, (m, n) float32.

    Every value is off by at most half a step, if none was clipped: |x y - x' y'| <= |x'| s_b / 2 + |y'| s_a / 2 +
    s_a s_b / 4, summed over k. a has one scale, or one for each row; b one, or one for each column (axis=1).
    """
    _check_matrices(a.codes, b.codes)
    for name, q, axes in (("a", a, (0, -2)), ("b", b, (1, -1))):
        if q.scheme.granularity == "group" or (q.scheme.granularity == "channel" and q.scheme.axis not in axes):
            raise ValueError(f"{name} must have one scale, or one an entry of axis {axes[0]}, got {q.scheme}")
    half_a, half_b = a.scale[:, None] / 2, b.scale / 2
    x, y = a.dequantize().abs(), b.dequantize().abs()
    return x.sum(1, keepdim=True) * half_b + y.sum(0) * half_a + x.shape[1] * half_a * half_b


def _reach(codes: torch.Tensor, zero_point: torch.Tensor) -> int:
    """The largest magnitude of codes - zero_point."""
    for name, value in (("codes", codes), ("zero points", zero_point)):
        if not value.numel() or value.is_floating_point():
            raise ValueError(f"{name} must be whole numbers, at least one, got {value.dtype} {tuple(value.shape)}")
    return (codes.long() - zero_point).abs().max().item()


def _check_matrices(a: torch.Tensor, b: torch.Tensor) -> None:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        raise ValueError(f"a and b must be matrices (m, k) and (k, n), got {tuple(a.shape)} and {tuple(b.shape)}")


def _check_accumulator(terms: int, a: int, b: int) -> None:
    if terms * a * b >= 2**31:
        raise ValueError(
            f"sums of {terms} products of codes up to {a} and {b} must stay below 2^31, got {terms * a * b}"
        )
