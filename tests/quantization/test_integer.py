"""Whole-number products against int64, the float product within its bound, requantization against exact fractions."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compresslab.quantization.affine import quantize_tensor
from compresslab.quantization.integer import (
    fixed_point,
    int_matmul,
    matmul_error_bound,
    requantize,
)
from compresslab.quantization.scheme import Scheme

SIGNED, UNSIGNED = Scheme(8, symmetric=False), Scheme(8, symmetric=False, signed=False)
seeds = st.integers(0, 10**6)


def _codes(shape, scheme, seed):
    """Random codes, every third of them at an end of the range."""
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(scheme.qmin, scheme.qmax + 1, shape, generator=generator)
    ends = torch.tensor([scheme.qmin, scheme.qmax])[torch.randint(2, shape, generator=generator)]
    return torch.where(torch.rand(shape, generator=generator) < 0.3, ends, codes).to(scheme.dtype)


@settings(max_examples=150)
@given(seeds, st.sampled_from([SIGNED, UNSIGNED]), st.integers(1, 9), st.integers(1, 300), st.integers(-128, 255))
def test_matmul_is_that_of_int64(seed, scheme, m, k, zero_point):
    a, b = _codes((m, k), scheme, seed), _codes((k, 5), SIGNED, seed + 1)
    product = int_matmul(a, b, zero_point)
    assert torch.equal(product.long(), (a.long() - zero_point) @ b.long()) and product.dtype == torch.int32
    rows, columns = torch.arange(m)[:, None] - 3, torch.arange(5) * 7 - 20
    assert torch.equal(int_matmul(a, b, rows, columns).long(), (a.long() - rows) @ (b.long() - columns))


def test_matmul_of_int8_is_torchs_kernel():
    a, b = _codes((32, 64), SIGNED, 0), _codes((64, 16), SIGNED, 1)
    assert torch.equal(int_matmul(a, b), torch._int_mm(a, b))


def test_the_largest_sums_are_exact():
    """Codes -128 and 127 minus zero points at the other end: 255 * 255 * 33,025 is the last below 2^31."""
    a, b = torch.full((1, 33_025), -128, dtype=torch.int8), torch.full((33_025, 1), 127, dtype=torch.int8)
    assert int_matmul(a, b, 127, -128).item() == -255 * 255 * 33_025 > -(2**31)


@settings(max_examples=100)
@given(seeds, st.integers(2, 8), st.booleans(), st.booleans(), st.integers(1, 200))
def test_the_float_product_is_within_the_bound(seed, bits, signed, channels, k):
    """The bound is on exact numbers. Rounding adds: each copy and each half step 2^-24 of its size, the bound's sums
    k more; (k + 10) 2^-24 of the product of magnitudes holds all of them.
    """
    generator = torch.Generator().manual_seed(seed)
    x, w = torch.randn(4, k, generator=generator), torch.randn(k, 3, generator=generator)
    a = quantize_tensor(x if signed else x.abs(), Scheme(bits, symmetric=False, signed=signed))
    b = quantize_tensor(w, Scheme(bits, granularity="channel" if channels else "tensor", axis=1))
    x = x if signed else x.abs()
    total = int_matmul(a.codes, b.codes, a.zero_point[:, None], b.zero_point)
    copy = total.double() * a.scale.double()[:, None] * b.scale.double()
    # scales outside, whole numbers inside: the product of the copies, exactly
    assert torch.allclose(copy, a.dequantize().double() @ b.dequantize().double(), rtol=0, atol=2**-22 * k * 30)
    bound, error = matmul_error_bound(a, b), (copy - x.double() @ w.double()).abs()
    rounding = (k + 10) * 2**-24 * ((x.abs() + a.scale) @ (w.abs() + b.scale)).double()
    assert (error <= bound + rounding).all()


def test_the_bound_can_be_reached():
    """All values half a step above their copies, and all products of one sign: nothing smaller would do."""
    scheme = Scheme(4)
    x = torch.tensor([[7.0, 2.5, 2.5, 0.5]])
    a, b = quantize_tensor(x, scheme), quantize_tensor(x.T, scheme)
    assert a.scale.item() == 1 and a.codes.tolist() == [[7, 2, 2, 0]]
    error = (x @ x.T - int_matmul(a.codes, b.codes)).item()
    # the 7 is exact: its share of the bound, 7 / 2 + 7 / 2 + 1 / 4, is what is missing
    assert error == pytest.approx(matmul_error_bound(a, b).item() - 7.25)


@given(
    st.lists(st.integers(-(2**31) + 1, 2**31 - 1), min_size=1, max_size=20), st.floats(2**-31, 1), st.integers(-9, 9)
)
def test_requantize_is_exact_rounding(totals, multiplier, zero_point):
    codes = requantize(torch.tensor(totals), torch.tensor(multiplier, dtype=torch.float64), zero_point, SIGNED)
    for total, code in zip(totals, codes.tolist()):
        product = total * Fraction(multiplier)
        near_half = abs(abs(product - product.__floor__()) - Fraction(1, 2)) <= abs(product) / 2**53
        exact = min(max(round(product) + zero_point, -128), 127)  # Python's round of a fraction: halves to even
        assert code == exact or (near_half and abs(code - exact) == 1)


@given(st.floats(2**-32, 4))
def test_fixed_point_keeps_31_bits(multiplier):
    m, shift = fixed_point(torch.tensor(multiplier, dtype=torch.float64))
    assert 2**30 <= m.item() < 2**31
    assert abs(Fraction(m.item(), 2 ** shift.item()) / Fraction(multiplier) - 1) <= Fraction(1, 2**31)


def test_requantize_keeps_all_32_bits_of_the_sum():
    """2^25 + 1 has no float32: rounded to 2^25 it would lie on the half, and go to 0."""
    assert requantize(torch.tensor([2**25 + 1]), torch.tensor(2.0**-26), 0, SIGNED).item() == 1


def test_a_layer_in_whole_numbers_is_the_float_layer():
    """Codes in, codes out, one multiplier a channel: within one code of the float layer's quantized output."""
    generator = torch.Generator().manual_seed(0)
    x, w = torch.rand(16, 64, generator=generator), torch.randn(64, 10, generator=generator)
    a, b = quantize_tensor(x, UNSIGNED), quantize_tensor(w, Scheme(8, granularity="channel", axis=1))
    y = a.dequantize().double() @ b.dequantize().double()
    out = quantize_tensor(y.float(), SIGNED)
    total, multiplier = int_matmul(a.codes, b.codes, a.zero_point), a.scale * b.scale / out.scale
    codes = requantize(total, multiplier, out.zero_point, SIGNED)
    differ = (codes.int() - out.codes.int()).abs()
    assert differ.max() <= 1 and differ.float().mean() < 0.01
    assert codes.dtype == torch.int8


CODES = torch.ones(3, 3, dtype=torch.int8)


@pytest.mark.parametrize(
    "call, sentence",
    [
        (
            lambda: int_matmul(torch.full((1, 40_000), 255), torch.full((40_000, 1), 255)),
            r"sums of 40000 products of codes up to 255 and 255 must stay below 2\^31, got 2601000000",
        ),
        (lambda: int_matmul(torch.ones(2, 3), CODES), r"codes must be whole numbers, .* torch.float32 .*"),
        (lambda: int_matmul(CODES[:, :0], CODES[:0]), r"codes must be whole numbers, .* got torch.int8 \(3, 0\)"),
        (lambda: int_matmul(CODES, CODES, 0.5), r"zero points must be whole numbers, .* got torch.float32 \(\)"),
        (lambda: int_matmul(CODES, CODES[:2]), r"a and b must be matrices .*, got \(3, 3\) and \(2, 3\)"),
        (lambda: requantize(CODES, torch.tensor(math.nan), 0, SIGNED), "multiplier must be finite, got nan"),
        (
            lambda: matmul_error_bound(*[quantize_tensor(torch.ones(3, 3), Scheme(granularity="channel"))] * 2),
            r"b must have one scale, or one an entry of axis 1, got Scheme\(.*",
        ),
        (lambda: fixed_point(torch.tensor(0.0)), r"multiplier must be in \[2\^-32, 2\^30\), got 0.0"),
        (lambda: fixed_point(torch.tensor([0.5, 2e9])), r"multiplier must be in \[2\^-32, 2\^30\), got 2000000000.0"),
        (lambda: fixed_point(torch.tensor(float("nan"))), r"multiplier must be in \[2\^-32, 2\^30\), got nan"),
    ],
)  # fmt: skip
def test_bad_input_gets_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        call()
