"""The affine map against torch and torchao bit for bit, its error bound, its gradient, its refusals."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from quantization.tensors import hard, tensors, with_scales

from compresslab.quantization import ranges
from compresslab.quantization.affine import dequantize, fake_quantize, quantize, quantize_tensor, sqnr_db
from compresslab.quantization.scheme import Scheme

U = 2**-24  # the relative error of one float32 operation
schemes = st.builds(Scheme, bits=st.integers(2, 16), symmetric=st.booleans(), signed=st.booleans())
pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated")  # torch's quantised tensors still run, and say so


def _zero_point(scheme, share):
    """A zero point anywhere among the codes; 0 where the scheme is symmetric."""
    return 0 if scheme.symmetric else round(scheme.qmin + share * (scheme.qmax - scheme.qmin))


@settings(max_examples=400)
@given(with_scales(), schemes, st.floats(0, 1))
def test_fake_quantize_is_torchs(pair, scheme, share):
    x, scale = pair
    zero_point = _zero_point(scheme, share)
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    y = fake_quantize(mine, torch.tensor(scale), torch.tensor(zero_point), scheme)
    expected = torch.fake_quantize_per_tensor_affine(theirs, scale, zero_point, scheme.qmin, scheme.qmax)
    assert torch.equal(y, expected)
    y.sum().backward()
    expected.sum().backward()
    assert torch.equal(mine.grad, theirs.grad)


@settings(max_examples=300)
@given(with_scales(), schemes, st.lists(st.floats(0, 1), min_size=6, max_size=6))
def test_fake_quantize_is_torchs_per_channel(pair, scheme, shares):
    x, scale = pair[0], [pair[1] * factor for factor in (1, 1, 1, 2, 0.3, 5)]
    # From 2^63 steps on, torch's per-channel kernel turns to the wrong end of the codes (its int64 overflows).
    assume(x.abs().max() / min(scale) < 2**62)
    scale, zero_point = torch.tensor(scale), torch.tensor([_zero_point(scheme, share) for share in shares])
    for axis, z in ((0, x), (1, x.T.contiguous())):
        y = fake_quantize(
            z, scale, zero_point, Scheme(scheme.bits, scheme.symmetric, "channel", axis, None, scheme.signed)
        )
        expected = torch.fake_quantize_per_channel_affine(z, scale, zero_point.int(), axis, scheme.qmin, scheme.qmax)
        assert torch.equal(y, expected)


@settings(max_examples=300)
@given(with_scales(), st.integers(1, 8))
def test_codes_are_torchs_with_zero_point_0(pair, seed):
    x, scale = pair
    scheme = Scheme(8, symmetric=False)
    codes = quantize(x, torch.tensor(scale), torch.tensor(0), scheme)
    expected = torch.quantize_per_tensor(x, scale, 0, torch.qint8).int_repr()
    assert torch.equal(codes, expected) and codes.dtype == expected.dtype
    unsigned = Scheme(8, symmetric=False, signed=False)
    codes = quantize(x, torch.tensor(scale), torch.tensor(0), unsigned)
    expected = torch.quantize_per_tensor(x, scale, 0, torch.quint8).int_repr()
    assert torch.equal(codes, expected) and codes.dtype == expected.dtype
    many = scale * torch.linspace(0.5, 2, 6).roll(seed)
    codes = quantize(x, many, torch.zeros(6), Scheme(8, symmetric=False, granularity="channel"))
    assert torch.equal(
        codes, torch.quantize_per_channel(x, many, torch.zeros(6, dtype=torch.int64), 0, torch.qint8).int_repr()
    )


@settings(max_examples=300)
@given(with_scales(), st.integers(-128, 127))
def test_with_another_zero_point_torchs_old_codes_differ_near_halves_only(pair, zero_point):
    """They round the sum x / scale + zero_point. Rounding first, to 32 bits, and adding then is ours.

    A sum of magnitude below 2^9 is rounded by at most 2^-16, so it reaches a half from no farther than that. (On the
    half itself, the even code of the sum may not be the even one of x / scale.)
    """
    (x, scale), scheme = pair, Scheme(8, symmetric=False)
    inverse = 1 / torch.tensor(scale)
    codes = quantize(x, torch.tensor(scale), torch.tensor(zero_point), scheme)
    whole = torch.quantize_per_tensor(x, scale, 0, torch.qint32).int_repr().long()
    assert torch.equal(codes.long(), (whole + zero_point).clamp(-128, 127))
    per_channel = torch.quantize_per_channel(x, torch.full((6,), scale), torch.full((6,), zero_point), 0, torch.qint8)
    for old in (torch.quantize_per_tensor(x, scale, zero_point, torch.qint8), per_channel):
        differ = old.int_repr() != codes
        steps = (x * inverse)[differ].double()
        assert ((old.int_repr().int() - codes.int()).abs() <= 1).all()
        assert ((steps - steps.floor() - 0.5).abs() <= 2**-16).all()


@settings(max_examples=200)
@given(tensors(), schemes, st.sampled_from(["tensor", "channel", "group"]))
def test_codes_and_copies_are_torchaos(x, scheme, granularity):
    from torchao.quantization.quant_primitives import dequantize_affine, quantize_affine

    block = dict(tensor=x.shape, channel=(1, x.shape[1]), group=(1, 8))[granularity]
    size = 8 if granularity == "group" else None
    scheme = Scheme(scheme.bits, scheme.symmetric, granularity, 0, size, scheme.signed)
    q = quantize_tensor(x, scheme)
    bounds = dict(quant_min=scheme.qmin, quant_max=scheme.qmax)
    scale, zero_point = (v.reshape([n // b for n, b in zip(x.shape, block)]) for v in (q.scale, q.zero_point))
    codes = quantize_affine(x, block, scale, zero_point, torch.int32, **bounds)
    assert torch.equal(q.codes.int(), codes)
    assert torch.equal(q.dequantize(), dequantize_affine(codes, block, scale, zero_point, torch.int32, **bounds))


@settings(max_examples=300)
@given(tensors(), schemes, st.sampled_from(["tensor", "channel", "group"]))
def test_error_is_at_most_half_a_step(x, scheme, granularity):
    """Within the range that min_max found: everywhere.

    x / scale carries the rounding of 1 / scale and of the product, the copy that of its product, the scale and the
    clamped ends two more: each is at most U times the longest value, and 8 U covers them all.
    """
    assume(scheme.signed or not scheme.symmetric or x.min() >= 0)
    scheme = Scheme(scheme.bits, scheme.symmetric, granularity, 0, 8 if granularity == "group" else None, scheme.signed)
    q = quantize_tensor(x, scheme)
    error = scheme.blocks((x.double() - q.dequantize().double()).abs())
    width = scheme.blocks(x).double().abs().amax(dim=1, keepdim=True)
    assert (error <= q.scale.double()[:, None] / 2 + 8 * U * width).all()
    assert q.codes.dtype == scheme.dtype and q.codes.shape == x.shape
    assert (q.codes.int() >= scheme.qmin).all() and (q.codes.int() <= scheme.qmax).all()


@settings(max_examples=100)
@given(tensors(), schemes)
def test_fake_quantize_is_quantize_and_back(x, scheme):
    q = quantize_tensor(x, scheme)
    assert torch.equal(fake_quantize(x, q.scale, q.zero_point, scheme), q.dequantize())
    # Zero has a code of its own, so zeros survive.
    assert (q.dequantize()[x == 0] == 0).all()
    # The copies' own codes are the same: rounding twice is rounding once.
    assert torch.equal(quantize(q.dequantize(), q.scale, q.zero_point, scheme), q.codes)


@pytest.mark.parametrize("bits", range(2, 13))
@pytest.mark.parametrize("symmetric", [True, False])
def test_six_decibels_a_bit(bits, symmetric):
    """Uniform values: noise power scale² / 12. From -1 to 1 in symmetric codes, SQNR = (2^b - 2)²; from 0 to 1 in
    unsigned codes, 4 (2^b - 1)²: 6.02 dB a bit, and a constant.

    Mean squares of n uniform values have a relative standard deviation of 0.894 / sqrt(n), so the quotient of two has
    4.343 * 1.265 / sqrt(n) = 0.0123 dB at n = 200,000; five of these are allowed.
    """
    x = torch.rand(200_000, generator=torch.Generator().manual_seed(bits))
    x[:2] = torch.tensor([0.0, 1.0])
    x = 2 * x - 1 if symmetric else x
    q = quantize_tensor(x, Scheme(bits, symmetric=symmetric, signed=symmetric))
    levels = 2**bits - 2 if symmetric else 2 * (2**bits - 1)
    assert sqnr_db(x, q.dequantize()) == pytest.approx(20 * math.log10(levels), abs=0.062)


def test_halves_go_to_the_even_code():
    x = torch.tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])
    for zero_point in (0, 1):
        codes = quantize(x, torch.tensor(1.0), torch.tensor(zero_point), Scheme(8, symmetric=False))
        assert (codes - zero_point).tolist() == [-2, -2, 0, 0, 2, 2]


@pytest.mark.parametrize("bits", [1, 2, 8])
def test_gradient_is_1_within_and_0_outside(bits):
    """Closed form: 1 where -qmax - 1/2 <= x / scale <= qmax + 1/2, by whatever comes from above."""
    scheme, scale = Scheme(bits), torch.tensor(0.25)
    reach = (scheme.qmax + 0.5) * 0.25
    x = (reach * torch.tensor([-9, -1.01, -0.99, 0, 0.3, 0.99, 1.01, 9])).requires_grad_()
    above = torch.arange(1.0, 9.0)
    (fake_quantize(x, scale, torch.tensor(0), scheme) * above).sum().backward()
    assert x.grad.tolist() == [0, 0, 3, 4, 5, 6, 0, 0]


def test_one_bit_keeps_signs_and_one_scale():
    q = quantize_tensor(torch.tensor([-2.0, -0.1, 0.0, 0.3]), Scheme(1))
    assert q.codes.tolist() == [-1, -1, 1, 1] and q.dequantize().tolist() == [-2, -2, 2, 2]
    assert torch.equal(
        fake_quantize(torch.tensor([-2.0, 0.1]), q.scale, q.zero_point, Scheme(1)), torch.tensor([-2.0, 2])
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_floats_are_computed_in_float32_and_keep_their_type(dtype):
    x = hard("normal", 3).to(dtype)
    q, single = quantize_tensor(x, Scheme(8)), quantize_tensor(x.float(), Scheme(8))
    assert torch.equal(q.codes, single.codes) and torch.equal(q.scale, single.scale)
    fake = fake_quantize(x, q.scale, q.zero_point, Scheme(8))
    assert fake.dtype == dtype and torch.equal(fake, single.dequantize().to(dtype))


def test_nan_stays_nan_in_training():
    y = fake_quantize(torch.tensor([math.nan, 1.0]), torch.tensor(1.0), torch.tensor(0), Scheme(8))
    assert y[0].isnan() and y[1] == 1


def test_sqnr_against_numpy():
    x, y = hard("normal", 1), hard("normal", 2)
    a, b = x.numpy().astype(float), y.numpy().astype(float)
    assert sqnr_db(x, y) == pytest.approx(10 * np.log10((a**2).sum() / ((a - b) ** 2).sum()), rel=1e-12)
    assert sqnr_db(x, torch.full_like(x, math.inf)) == -math.inf
    assert sqnr_db(x, x) == math.inf and sqnr_db(torch.zeros(2), torch.ones(2)) == -math.inf


ONE, ZERO = torch.tensor(1.0), torch.tensor(0)


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: quantize_tensor(torch.tensor([1, math.nan]), Scheme()), "x must hold finite values only, got nan"),
        (lambda: quantize_tensor(torch.tensor([1, -math.inf]), Scheme()), "x must hold finite values only, got -inf"),
        (
            lambda: quantize_tensor(torch.tensor([1, math.inf]), Scheme(), ranges.percentile(50)),
            "x must hold finite values only, got inf",
        ),
        (
            lambda: quantize(torch.tensor([1e300], dtype=torch.float64), ONE, ZERO, Scheme()),
            "x must hold finite values only, got inf",
        ),
        (lambda: quantize_tensor(torch.zeros(0), Scheme()), r"x must hold at least one value, got shape \(0,\)"),
        (lambda: quantize(torch.ones(3), 0.0, ZERO, Scheme()), "scale must be a normal number above 0, got 0.0"),
        (lambda: fake_quantize(torch.ones(3), -ONE, ZERO, Scheme()), "scale must be a normal number above 0, got -1.0"),
        (
            lambda: quantize(torch.ones(3), torch.tensor(1e-40), ZERO, Scheme()),
            "scale must be a normal number above 0, got .*e-41",
        ),
        (
            lambda: quantize(torch.ones(3, 2), torch.ones(2), ZERO, Scheme(granularity="channel")),
            "scale must hold one number for each of 3 blocks, got 2",
        ),
        (
            lambda: dequantize(torch.ones(3, 2), torch.ones(3), torch.zeros(2), Scheme(granularity="channel")),
            "zero_point must hold one number for each of 3 blocks, got 2",
        ),
        (
            lambda: sqnr_db(torch.ones(3), torch.ones(2)),
            r"y must have the shape of x, \(3,\), got \(2,\)",
        ),
        (lambda: quantize(ONE, ONE, 0.5, Scheme()), "zero_point must be one of the codes -127 to 127, got 0.5"),
        (lambda: quantize(ONE, ONE, 128, Scheme()), "zero_point must be one of the codes -127 to 127, got 128"),
        (lambda: quantize(ONE, ONE, math.nan, Scheme(1)), "zero_point must be one of the codes -1 to 1, got nan"),
        (lambda: fake_quantize(ZERO, ONE, ZERO, Scheme()), "x must hold floating-point numbers, got torch.int64"),
    ],
)  # fmt: skip
def test_bad_input_gets_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        call()
