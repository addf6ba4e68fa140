"""Ranges: against torch's observers, torchao, numpy, brute force, and the calibration of ONNX Runtime."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from quantization.tensors import hard, tensors

from compresslab.quantization import ranges
from compresslab.quantization.affine import quantize, quantize_tensor, sqnr_db
from compresslab.quantization.scheme import Scheme

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated")  # torch.ao.quantization still runs, and says so
BITS = st.integers(2, 8)
PLAIN, UNSIGNED = Scheme(8, symmetric=False), Scheme(8, symmetric=False, signed=False)


def _observer(kind, scheme, **options):
    """torch's observer of that kind, for the codes of a scheme."""
    from torch.ao.quantization import observer

    form = ("per_channel_" if "PerChannel" in kind else "per_tensor_") + ("symmetric" if scheme.symmetric else "affine")
    dtype = torch.qint8 if scheme.signed else torch.quint8
    bounds = dict(quant_min=scheme.qmin, quant_max=scheme.qmax)
    return getattr(observer, kind)(dtype=dtype, qscheme=getattr(torch, form), **bounds, **options)


def _same(ours, theirs):
    scale, zero_point = theirs
    assert torch.equal(ours[0], scale.float()) and torch.equal(ours[1].long(), zero_point.long())


@settings(max_examples=200)
@given(tensors(), BITS, st.sampled_from([(True, True), (False, True), (False, False)]))
def test_min_max_is_torchs_observer(x, bits, form):
    scheme = Scheme(bits, symmetric=form[0], signed=form[1])
    watcher = _observer("MinMaxObserver", scheme)
    watcher(x)
    _same(ranges.affine(*ranges.min_max(scheme.blocks(x), scheme), scheme), watcher.calculate_qparams())
    for axis in (0, 1):
        scheme = Scheme(bits, form[0], "channel", axis, None, form[1])
        watcher = _observer("PerChannelMinMaxObserver", scheme, ch_axis=axis)
        watcher(x)
        _same(ranges.affine(*ranges.min_max(scheme.blocks(x), scheme), scheme), watcher.calculate_qparams())


@settings(max_examples=100)
@given(st.lists(tensors(("normal", "outlier", "relu", "negative", "zeros")), min_size=1, max_size=5), st.booleans())
def test_moving_average_is_torchs_observer(batches, symmetric):
    scheme = Scheme(8, symmetric=symmetric)
    watcher, rule = _observer("MovingAverageMinMaxObserver", scheme, averaging_constant=0.1), ranges.moving_average(0.1)
    for x in batches:
        watcher(x)
        low, high = rule(scheme.blocks(x), scheme)
    assert low.item() == watcher.min_val.item() and high.item() == watcher.max_val.item()
    _same(ranges.affine(low, high, scheme), watcher.calculate_qparams())


def test_a_moving_average_forgets_at_its_rate():
    """Closed form after n batches of (-1, 1), from a first one of (0, 3): 1 + 2 * 0.9^n and 0.9^n - 1."""
    rule, scheme = ranges.moving_average(0.1), Scheme()
    rule(torch.tensor([[0.0, 3.0]]), scheme)
    for n in range(1, 30):
        low, high = rule(torch.tensor([[-1.0, 1.0]]), scheme)
        # each step rounds three times: at most 30 * 3 roundings of 2^-24 of a number up to 3
        assert high.item() == pytest.approx(1 + 2 * 0.9**n, abs=2e-5)
        assert low.item() == pytest.approx(0.9**n - 1, abs=2e-5)


@settings(max_examples=150)
@given(tensors(), st.integers(2, 16), st.booleans(), st.sampled_from(["tensor", "channel", "group"]))
def test_scale_and_zero_point_are_torchaos(x, bits, symmetric, granularity):
    from torchao.quantization.quant_primitives import MappingType, choose_qparams_affine

    scheme = Scheme(bits, symmetric, granularity, 0, 8 if granularity == "group" else None)
    block = dict(tensor=x.shape, channel=(1, x.shape[1]), group=(1, 8))[granularity]
    mapping = MappingType.SYMMETRIC if symmetric else MappingType.ASYMMETRIC
    theirs = choose_qparams_affine(x, mapping, block, torch.int32, scheme.qmin, scheme.qmax, eps=ranges.EPS)
    q = quantize_tensor(x, scheme)
    _same((q.scale, q.zero_point), (theirs[0].flatten(), theirs[1].flatten()))


@given(tensors(), st.floats(50, 100), st.booleans(), st.booleans())
def test_percentiles_are_numpys(x, q, symmetric, channels):
    scheme = Scheme(8, symmetric, "channel" if channels else "tensor")
    blocks = scheme.blocks(x)
    low, high = ranges.percentile(q)(blocks, scheme)
    values = blocks.numpy().astype(float)
    if symmetric:
        expected = np.percentile(np.abs(values), q, axis=1)
        expected = -expected, expected
    else:
        expected = np.percentile(values, [(100 - q) / 2, (100 + q) / 2], axis=1)
    # float64 in both; the result is rounded to float32 (2^-24, or 2^-150 of a denormal), and the place between two
    # values, up to 240, is known to 2^-45 of the distance between them
    for ours, theirs in zip((low, high), expected):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=2**-23, atol=2**-44 * np.ptp(values) + 1.5e-45)


def _squared_error(x, low, high, scheme):
    scale, zero_point = ranges.affine(torch.tensor([low]), torch.tensor([high]), scheme)
    steps = np.rint(x.numpy() * (1 / scale).numpy()) + zero_point.numpy()  # float32, as the library
    copy = (np.clip(steps, scheme.qmin, scheme.qmax) - zero_point.numpy()).astype(np.float32) * scale.numpy()
    return ((copy - x.numpy()).astype(np.float32).astype(float) ** 2).sum()


@settings(max_examples=60)
@given(tensors(("normal", "zeros", "equal", "outlier", "halves", "negative", "relu")), BITS, st.booleans())
def test_mse_finds_what_brute_force_finds(x, bits, symmetric):
    scheme = Scheme(bits, symmetric, "channel")
    blocks = scheme.blocks(x)
    low, high = ranges.mse(blocks, scheme, candidates=20)
    for i, row in enumerate(blocks):
        ends = row.min().item(), row.max().item()
        errors = [_squared_error(row, ends[0] * k / 20, ends[1] * k / 20, scheme) for k in range(1, 21)]
        found = _squared_error(row, low[i].item(), high[i].item(), scheme)
        assert found <= min(errors) * (1 + 1e-5)  # the squares are summed in float32 there: 40 of them, 2^-24 each


def test_mse_is_the_best_of_the_rules_by_its_own_measure():
    for kind in ("normal", "outlier"):
        x = hard(kind, 5, (4, 2000))
        for bits in (3, 4, 8):
            for scheme in (Scheme(bits), Scheme(bits, symmetric=False)):
                rules = ranges.min_max, ranges.percentile(99.9), ranges.entropy, ranges.mse
                sqnr = [sqnr_db(x, quantize_tensor(x, scheme, rule).dequantize()) for rule in rules]
                # The grid has steps of 1 %: another rule may win by what lies between two of its points.
                assert sqnr[-1] >= max(sqnr) - 0.1


def test_the_classical_optimum_for_normal_values():
    """The uniform quantizer of least error for N(0, 1) has, with 16 levels, steps of 0.3352 (J. Max 1960, table II).

    With 15 levels, zero among them, the step lies between those of 14 (0.3739) and 16: Max's values for even and odd
    numbers lie on one curve. 200,000 values and a grid of 100 ranges: 1.5 % is allowed.
    """
    x = torch.randn(1, 200_000, generator=torch.Generator().manual_seed(0))
    scheme = Scheme(4)
    scale, _ = ranges.affine(*ranges.mse(x, scheme), scheme)
    assert 0.3352 * 0.985 <= scale.item() <= 0.3739 * 1.015


def _slow_divergence(counts, i, levels):
    """Kullback-Leibler divergence after Migacz 2017, bin by bin, in plain Python."""
    middle = len(counts) // 2
    kept = counts[middle - i : middle + i + 1]
    p = [float(c) for c in kept]
    p[0] += float(sum(counts[: middle - i]))
    p[-1] += float(sum(counts[middle + i + 1 :]))
    groups = [[] for _ in range(levels)]
    for j in range(len(p)):
        groups[j * levels // len(p)].append(j)
    q = [0.0] * len(p)
    for group in groups:
        filled = [j for j in group if p[j] > 0]
        for j in filled:
            q[j] = max(sum(float(kept[k]) for k in group) / len(filled), 1e-4)
    total_p, total_q = sum(p), sum(q)
    return sum(a / total_p * math.log((a / total_p) / (b / total_q)) for a, b in zip(p, q) if a > 0)


@settings(max_examples=100)
@given(st.lists(st.integers(0, 50), min_size=9, max_size=61), st.integers(2, 9))
def test_kl_divergences_against_brute_force(counts, levels):
    counts = np.array(counts[: len(counts) // 2 * 2 - 1])
    assume(counts.sum() > 0 and len(counts) > levels)
    divergences = ranges.kl_divergences(counts, levels)
    places = range(levels // 2, len(counts) // 2 + 1)
    assume(all(counts[len(counts) // 2 - i : len(counts) // 2 + i + 1].sum() for i in places))
    expected = [_slow_divergence(counts, i, levels) for i in places]
    np.testing.assert_allclose(divergences, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("levels", [15, 31, 63])
def test_kl_divergences_are_those_of_onnx_runtime(levels, monkeypatch):
    """Where the two mean the same: bins shared out evenly, no empty bin, and counts so large that ORT's rounding of
    means to whole numbers is nothing. (Elsewhere ORT lays what is left over on the last code only.)
    """
    from onnxruntime.quantization import calibrate

    x = np.random.default_rng(0).laplace(size=2_000_000)
    counts, edges = np.histogram(x, 401, range=(-6, 6))
    counts = (counts + 1) * 10**9
    seen = []
    monkeypatch.setattr(calibrate, "entropy", lambda p, q: seen.append(float(stats_entropy(p, q))) or seen[-1])
    collector = calibrate.HistogramCollector("entropy", True, 401, levels, 99.9, "same")
    collector.get_entropy_threshold((counts, edges, edges[0], edges[-1]), levels)
    ours = ranges.kl_divergences(counts, levels)
    assert len(ours) == len(seen)
    even = [j for j in range(len(ours)) if (2 * (levels // 2 + j) + 1) % levels == 0]
    assert len(even) >= 3
    # ORT sums in float32: 401 terms of at most 0.1, rounded by 2^-24 each
    np.testing.assert_allclose(ours[even], np.array(seen)[even], rtol=1e-3, atol=4e-6)


def stats_entropy(p, q):
    from scipy.stats import entropy

    return entropy(p, q)


@pytest.mark.parametrize("bits", [4, 8])
def test_entropy_cuts_far_outliers_and_keeps_what_is_dense(bits):
    x = torch.randn(20_000, generator=torch.Generator().manual_seed(1)).clamp(-2, 2)
    for scheme in (Scheme(bits), Scheme(bits, symmetric=False)):
        low, high = ranges.entropy(scheme.blocks(torch.cat([x, torch.tensor([40.0])])), scheme)
        # 255 codes and 2047 bins: the narrowest range is an eighth of 40
        assert 1.9 <= high.item() <= 8 and low.item() == -2
    even = torch.linspace(-1, 1, 20_001)
    assert ranges.entropy(even[None], Scheme(bits))[1].item() > 0.97  # cutting even values tells less of them


def test_entropy_of_positive_values_uses_all_codes_for_them():
    x = torch.randn(20_000, generator=torch.Generator().manual_seed(1)).relu()
    low, high = ranges.entropy(x[None], UNSIGNED)
    assert low.item() == 0 and 2 < high.item() <= x.max().item()
    mirrored = ranges.entropy(torch.cat([x, -x])[None], Scheme(8, symmetric=False))  # half the codes for either side
    assert mirrored[0].item() == pytest.approx(-mirrored[1].item(), rel=1e-6)
    scale = ranges.affine(low, high, UNSIGNED)[0], ranges.affine(*mirrored, PLAIN)[0]
    assert scale[0] < 0.8 * scale[1]
    assert ranges.entropy(x[x > 0][None], UNSIGNED)[1].item() == high.item()  # its zeros change nothing
    assert ranges.entropy(x[None], Scheme(8, signed=False))[1].item() == high.item()


def test_entropy_counts_codes_as_if_they_went_on_beyond_zero(monkeypatch):
    """The histogram is as wide on both sides; a scheme whose codes all lie on one has as many again on the other."""
    seen, inner = [], ranges.kl_divergences
    monkeypatch.setattr(ranges, "kl_divergences", lambda counts, levels: seen.append(levels) or inner(counts, levels))
    x = hard("normal", 1).reshape(1, -1)
    for blocks, scheme in ((x, PLAIN), (x, Scheme(8)), (x.abs(), Scheme(8)), (x.abs(), UNSIGNED), (-x.abs(), PLAIN)):
        ranges.entropy(blocks, scheme)
    ranges.entropy(x, Scheme(8, signed=False))
    assert seen == [256, 255, 255, 512, 512, 512]


def test_entropy_with_nothing_to_choose_is_min_max():
    x = hard("normal", 1).reshape(1, -1)
    for scheme, blocks in ((Scheme(16), x), (Scheme(8), torch.zeros(1, 5))):
        for ours, theirs in zip(ranges.entropy(blocks, scheme), ranges.min_max(blocks, scheme)):
            assert torch.equal(ours, theirs)


def test_torchs_histogram_observer_is_a_neighbour():
    """It estimates a squared error too, from its histogram: its choice is not better, and worse by a few decibels."""
    x = hard("normal", 7, (1, 20_000))
    scheme = Scheme(4, symmetric=False)
    watcher = _observer("HistogramObserver", scheme)
    watcher(x)
    scale, zero_point = watcher.calculate_qparams()
    ours = quantize_tensor(x, scheme, ranges.mse)
    copy = (quantize(x, scale, zero_point, scheme) - zero_point) * scale
    assert -0.1 < sqnr_db(x, ours.dequantize()) - sqnr_db(x, copy) < 4


@given(tensors(), st.integers(2, 16), st.booleans(), st.booleans())
def test_zero_has_a_code_and_no_scale_is_0(x, bits, symmetric, signed):
    scheme = Scheme(bits, symmetric, "channel", 0, None, signed)
    scale, zero_point = ranges.affine(*ranges.min_max(scheme.blocks(x), scheme), scheme)
    assert (scale >= ranges.EPS).all() and scale.isfinite().all() and scale.dtype == torch.float32
    assert (zero_point >= scheme.qmin).all() and (zero_point <= scheme.qmax).all() and zero_point.dtype == torch.int32
    assert not symmetric or not zero_point.any()


def test_unsigned_symmetric_codes_spend_nothing_on_negative_values():
    """Closed form: scale = high / (2^bits - 1), zero point 0; the negative side is clamped."""
    x, scheme = torch.tensor([[-80.0, -1.0, 3.0, 15.0]]), Scheme(4, signed=False)
    for rule in (ranges.min_max, ranges.percentile(100), ranges.entropy):
        q = quantize_tensor(x, scheme, rule)
        assert (q.scale.item(), q.zero_point.item(), q.codes.tolist()) == (1, 0, [[0, 0, 3, 15]])


WIDE = torch.tensor([[-3e38, 3e38]])


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: ranges.percentile(0), r"q must be in \(0, 100\], got 0"),
        (lambda: ranges.percentile(101), r"q must be in \(0, 100\], got 101"),
        (lambda: ranges.moving_average(0), r"constant must be in \(0, 1\], got 0"),
        (lambda: ranges.moving_average(1.5), r"constant must be in \(0, 1\], got 1.5"),
        (
            lambda: ranges.entropy(torch.ones(2, 3), Scheme(granularity="channel")),
            "entropy needs granularity='tensor', got 'channel'",
        ),
        (
            lambda: quantize_tensor(WIDE, Scheme(symmetric=False)),
            "the range must be finite and its width too, got -3.*e.38 to 3.*e.38",
        ),
        (lambda: ranges.min_max(torch.tensor([[math.nan]]), Scheme()), "x must hold finite values only, got nan"),
        (lambda: ranges.percentile(90)(torch.tensor([[math.inf]]), PLAIN), "x must hold finite values only, got inf"),
        (lambda: ranges.mse(torch.tensor([[-math.inf]]), Scheme()), "x must hold finite values only, got -inf"),
        (lambda: ranges.entropy(torch.tensor([[math.nan]]), Scheme()), "x must hold finite values only, got nan"),
        (lambda: ranges.mse(torch.ones(1, 2), Scheme(), candidates=0), "candidates must be at least 1, got 0"),
        (lambda: ranges.entropy(torch.ones(1, 2), Scheme(), bins=2048), "bins must be odd and at least 1, got 2048"),
        (lambda: ranges.entropy(torch.ones(1, 2), Scheme(), bins=-1), "bins must be odd and at least 1, got -1"),
    ],
)
def test_bad_input_gets_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        call()


def test_ranges_of_other_float_types():
    """A width beyond the largest float16 is a range; a float64 beyond the largest float32 is none."""
    low, high = torch.tensor([-60000.0, 60000.0]).half().split(1)
    scale, zero_point = ranges.affine(low, high, PLAIN)
    wanted = ranges.affine(low.float(), high.float(), PLAIN)
    assert scale.dtype == torch.float32 and scale == wanted[0] and zero_point == wanted[1]
    with pytest.raises(ValueError, match="the range must be finite"):
        ranges.affine(torch.zeros(1).double(), torch.tensor([1e300]).double(), Scheme())


def test_entropy_reads_a_tensor_that_is_trained():
    x = torch.randn(1, 500, generator=torch.Generator().manual_seed(0))
    assert ranges.entropy(x.clone().requires_grad_(), PLAIN) == ranges.entropy(x, PLAIN)
