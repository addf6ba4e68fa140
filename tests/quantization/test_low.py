"""Binary and ternary weights against all choices there are; packed layers against the fake-quantised ones."""

import copy
import math
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from quantization.networks import noise
from torch import nn

from compresslab import data, models, training
from compresslab.measure import file_bytes, predict
from compresslab.quantization.affine import quantize_tensor
from compresslab.quantization.fake import integer_codes, remove_, weight_quantizers
from compresslab.quantization.files import load_quantized_, quantized_state
from compresslab.quantization.low import PackedLinear, binary, binary_, half_scales, pack_linears_, ternary, ternary_
from compresslab.quantization.post_training import static_, weight_only_
from compresslab.quantization.ranges import affine, min_max
from compresslab.quantization.scheme import Scheme

X = noise(16, 1, 8, 8)
FOUR = Scheme(bits=4, granularity="group", group_size=16)


def error(blocks, codes, scale):
    return (blocks.double() - codes * scale.double()[:, None]).square().sum(1)


@given(st.integers(0, 10**6), st.integers(1, 8))
def test_binary_is_the_best_of_all_signs_with_the_best_scale_for_each(seed, n):
    weight = noise(1, n, seed=seed)
    signs = torch.tensor(list(product([-1.0, 1.0], repeat=n))).double()
    scales = signs @ weight[0].double() / n  # least squares for given signs
    best = (weight.double() - signs * scales[:, None]).square().sum(1).min()
    assert error(weight, *binary(weight)).item() == pytest.approx(best.item(), rel=1e-5, abs=1e-10)


def best_ternary(weight):
    """Least error over all thresholds: keep the k largest at their mean, which takes (their sum)^2 / k off."""
    size = weight.double().abs().sort(descending=True).values
    return size.square().sum() - (size.cumsum(0).square() / torch.arange(1, len(size) + 1)).max()


@given(st.integers(0, 10**6), st.integers(1, 40), st.floats(0.1, 1.5))
def test_ternary_is_never_better_than_the_best_threshold_and_no_other_scale_is_better_for_its_zeros(seed, n, threshold):
    weight = noise(1, n, seed=seed)
    codes, scale = ternary(weight, threshold)
    own = error(weight, codes, scale)
    assert own >= best_ternary(weight[0]) - 1e-6 and (codes.abs() <= 1).all()
    for factor in (0.99, 1.01):
        assert error(weight, codes, factor * scale) >= own
    assert torch.equal(codes, torch.where(weight.abs() > threshold * weight.abs().mean(), weight.sign(), 0.0))


def test_seven_tenths_is_nearly_the_best_threshold():
    """Even weights in [-1, 1], kept from t up: (1 - t) ((1 + t) / 2)^2 is largest at t = 1/3, 2/3 of the mean; at 0.35,
    which is 0.7 of it, it is 0.9992 of that. 4000 draws add noise of the order of 1 / sqrt(4000) to both alike."""
    even = torch.rand(1, 4000, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for weight in (even, noise(1, 4000)):
        total = weight.double().square().sum()
        taken, most = total - error(weight, *ternary(weight)), total - best_ternary(weight[0])
        assert 0.995 * most <= taken <= most + 1e-6


@pytest.mark.parametrize("put, rule, bits", [(binary_, binary, 1), (ternary_, ternary, 2)])
def test_a_model_holds_these_weights_learns_through_them_and_comes_back(put, rule, bits):
    model, plain = models.depthwise(width=4, seed=0), models.depthwise(width=4, seed=0)
    put(model)
    for name, layer in plain.named_modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            codes, scale = rule(layer.weight.detach().flatten(1))
            assert torch.equal(model.get_submodule(name).weight.flatten(1), codes * scale[:, None])
            own, upstream = model.get_submodule(name), torch.randn_like(layer.weight)
            (own.weight * upstream).sum().backward()
            assert torch.equal(own.parametrizations.weight.original.grad, upstream)
            q = integer_codes(model)[f"{name}.weight"]
            assert torch.equal(q.dequantize(), own.weight) and q.scheme.bits == bits
    twin = load_quantized_(models.depthwise(width=4, seed=1), quantized_state(model))
    assert torch.equal(predict(twin, X), predict(model, X))
    assert torch.equal(predict(remove_(model), X), predict(plain, X))


def test_weights_follow_the_training():
    digits = data.load("digits")
    model = models.mlp(seed=0)
    training.fit(model, digits, epochs=8)
    ternary_(model, layers=["1"])
    before = training.evaluate(model, digits.val)
    training.fit(model, digits, epochs=4)
    assert training.evaluate(model, digits.val).loss < before.loss
    codes, scale = ternary(model[1].parametrizations.weight.original.detach())
    assert torch.equal(model[1].weight, codes * scale[:, None]) and len(model[3].weight.unique()) == 320


def test_zeros_stay_finite():
    for rule in (binary, ternary):
        codes, scale = rule(torch.zeros(2, 3))
        assert codes.isfinite().all() and (scale > 0).all()
    assert ternary(torch.zeros(2, 3))[0].count_nonzero() == 0


@pytest.mark.parametrize("rule", [min_max, half_scales(min_max)])
@pytest.mark.parametrize("symmetric", [True, False])
def test_packed_layers_answer_bit_for_bit_and_hold_half_a_byte_a_weight(rule, symmetric):
    if rule is not min_max and not symmetric:
        return
    scheme = Scheme(4, symmetric, "group", group_size=16)
    model = static_(models.mlp((64, 48, 10), seed=0), X, scheme, weight_rule=rule)
    packed = pack_linears_(copy.deepcopy(model))
    assert torch.equal(predict(packed, X), predict(model, X))
    assert list(packed[1].state_dict())[:1] == ["bias"] and not weight_quantizers(packed)
    assert packed[1].packed.dtype == torch.uint8 and packed[1].packed.shape == (48, 32)
    assert packed[1].scale.dtype == (torch.float32 if rule is min_max else torch.float16)


def test_a_packed_layer_takes_every_place_of_its_layer_and_answers_in_its_dtype():
    layer = nn.Linear(64, 64)
    model = weight_only_(nn.Sequential(layer, nn.ReLU(), layer).bfloat16(), FOUR)
    before = predict(model, X.flatten(1).bfloat16())
    pack_linears_(model)
    assert model[0] is model[2] and isinstance(model[2], PackedLinear)
    after = predict(model, X.flatten(1).bfloat16())
    assert after.dtype == torch.bfloat16 and torch.equal(after, before)


def test_the_file_is_smaller_by_what_the_codes_need_less():
    model = nn.Sequential(nn.Linear(512, 256, bias=False))
    plain = file_bytes(model)
    pack_linears_(weight_only_(model, FOUR, half_scales(min_max)))
    n = 512 * 256
    # 4 bits, and 16 bits for each of 16 values, instead of 32: 5 to 32. The rest is names and the zip's alignment.
    assert file_bytes(model) == pytest.approx(n * 5 / 8, abs=2500) and plain == pytest.approx(n * 4, abs=2500)


@given(st.integers(0, 10**6), st.floats(-7, 4))
def test_half_scales_are_float16_and_near_those_of_the_rule(seed, power):
    blocks = noise(5, 16, seed=seed) * 10**power
    scale, half = (affine(*rule(blocks, FOUR), FOUR)[0] for rule in (min_max, half_scales(min_max)))
    assert torch.equal(half.half().float(), half)
    # Half a unit in the last place: 2^-11 of the value, below 2^-14 (where spacing stops shrinking) 2^-25.
    assert ((half - scale).abs() <= (scale * 2**-11).clamp(min=2**-25) * (1 + 1e-6)).all()


NAN = nn.Sequential(nn.Linear(4, 2))
NAN[0].weight.data[0, 0] = math.nan


@pytest.mark.parametrize(
    "call, model, sentence",
    [
        (binary_, NAN, "weight of layer 0: x must hold finite values only, got nan"),
        (lambda m: binary_(m, layers=["9"]), models.mlp(seed=0), "layers must be among 1, 3, got '9'"),
        (lambda m: ternary_(m, Scheme(bits=3)), models.mlp(seed=0), "scheme must be symmetric and signed, with bits=2"),
        (
            lambda m: binary_(m, Scheme(1, granularity="group", group_size=7)),
            models.mlp(seed=0),
            "group_size must divide",
        ),
        (ternary_, ternary_(models.mlp(seed=0)), "model must not be quantised yet"),
        (pack_linears_, models.mlp(seed=0), "model must hold fake-quantised weights, got none"),
        (
            pack_linears_,
            weight_only_(models.mlp(seed=0)),
            "model must hold linear layers with fake-quantised weights of 4",
        ),
        (
            pack_linears_,
            weight_only_(nn.Linear(4, 2), Scheme(4)),
            "model must hold its linear layers, got a Linear itself",
        ),
        (pack_linears_, weight_only_(models.mlp((63, 10)), Scheme(4)), "pairs need bits=4 and an even last dimension"),
    ],
)
def test_refuses_and_leaves_the_model_alone(call, model, sentence):
    before = copy.deepcopy(model)
    with pytest.raises(ValueError, match=sentence):
        call(model)
    assert str(model) == str(before)
    assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(model.parameters(), before.parameters()))


def test_half_scales_needs_a_symmetric_scheme():
    with pytest.raises(ValueError, match="half_scales needs a symmetric scheme"):
        quantize_tensor(X, Scheme(4, symmetric=False), half_scales(min_max))


@pytest.mark.parametrize("threshold", [-0.1, math.nan])
def test_ternary_threshold(threshold):
    with pytest.raises(ValueError, match="threshold must be at least 0, got "):
        ternary(torch.ones(1, 3), threshold)
