"""Learned step size against the paper's pseudo-code, finite differences, and the fixed quantizers it starts from."""

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from quantization.networks import noise, stirred
from torch import nn

from compresslab import data, models, training
from compresslab.measure import predict
from compresslab.quantization.affine import fake_quantize
from compresslab.quantization.fake import activation_quantizers, integer_codes, remove_, weight_quantizers
from compresslab.quantization.files import load_quantized_, quantized_state
from compresslab.quantization.folding import fold_batch_norm
from compresslab.quantization.lsq import learn_scales_, learned_quantize, start
from compresslab.quantization.post_training import static_, weight_only_
from compresslab.quantization.ranges import affine
from compresslab.quantization.scheme import Scheme

X = noise(16, 1, 8, 8)
WEIGHTS, ACTIVATIONS = Scheme(bits=3, granularity="channel"), Scheme(bits=3, symmetric=False, signed=False)


def pseudo_code(v, s, zero, low, high, gain):
    """Appendix A of the paper, in float64: gradients by autograd through two tricks."""

    def grad_scale(x):
        return (x - x * gain).detach() + x * gain

    def round_pass(x):
        return (x.round() - x).detach() + x

    s = grad_scale(s)
    return round_pass((v / s).clamp(low - zero, high - zero)) * s


KINDS = st.booleans(), st.booleans(), st.sampled_from(["tensor", "channel"])


@given(st.integers(0, 10**6), st.integers(2, 8), *KINDS)
def test_gradients_are_those_of_the_papers_pseudo_code(seed, bits, symmetric, signed, granularity):
    scheme = Scheme(bits, symmetric, granularity, signed=signed)
    x, upstream = noise(4, 25, seed=seed), noise(4, 25, seed=seed + 1)
    blocks = len(scheme.blocks(x))
    scale = noise(blocks, seed=seed + 2).abs() + 0.05
    zero = torch.zeros(blocks, dtype=torch.int32) if symmetric else torch.full((blocks,), scheme.qmin + bits // 2).int()
    leaves = x.clone().requires_grad_(), scale.clone().requires_grad_()
    learned_quantize(*leaves, zero, scheme, n=25).backward(upstream)
    exact = scheme.blocks(x).double().requires_grad_(), scale.double().requires_grad_()
    gain = 1 / math.sqrt(25 * scheme.qmax)
    pseudo_code(exact[0], exact[1][:, None], zero[:, None], scheme.qmin, scheme.qmax, gain).backward(
        scheme.blocks(upstream).double()
    )
    assert torch.equal(leaves[0].grad, exact[0].grad.float().reshape(4, 25))
    # Each of up to 100 terms is at most 255 times |upstream| <= 6, computed and summed with relative errors 2^-24:
    # the sum is within 100 (100 + 3) 255 * 6 * 2^-24 < 1 in the worst case, and the errors' signs are mixed.
    assert torch.allclose(leaves[1].grad.double(), exact[1].grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scheme", [Scheme(bits=3), Scheme(bits=3, signed=False), Scheme(bits=4, symmetric=False)])
def test_the_gradient_of_the_scale_is_the_finite_difference_less_what_passes_straight_through(scheme):
    """True derivative of s * code is the code; inside, the straight-through round gives -x/s more. All sums exact."""
    zero, s, h = torch.tensor([0 if scheme.symmetric else -3], dtype=torch.int32), 0.5, 2.0**-10
    steps = torch.arange(-12, 20)[:, None] + torch.tensor([-0.375, -0.25, 0.125, 0.375])  # far from halves, whole / 8
    x = steps.flatten() * s
    difference = [fake_quantize(x, torch.tensor([s + d]), zero, scheme) for d in (h, -h)]
    difference = (difference[0] - difference[1]) / (2 * h)
    inside = (x / s > scheme.qmin - zero) & (x / s < scheme.qmax - zero)
    for i in range(len(x)):
        scale = torch.tensor([s], requires_grad=True)
        learned_quantize(x[i : i + 1], scale, zero, scheme, n=1).sum().backward()
        wanted = (difference[i] - x[i] / s * inside[i]) * scheme.qmax**-0.5
        assert scale.grad.item() == pytest.approx(wanted.item(), rel=1e-6)  # the gain is rounded


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_start_is_the_papers_first_step_size(bits):
    weight, relu = noise(5, 40), noise(1, 200).relu()
    scheme = Scheme(bits, granularity="channel")
    scale, _ = affine(*start(weight, scheme), scheme)
    assert torch.allclose(scale, 2 * weight.abs().mean(1) / scheme.qmax**0.5, rtol=1e-6)  # four roundings
    scheme = Scheme(bits, symmetric=False, signed=False)
    scale, zero = affine(*start(relu, scheme), scheme)
    assert zero.item() == 0 and scale.item() == pytest.approx(2 * relu.mean().item() / (2**bits - 1) ** 0.5, rel=1e-6)


def learned(model):
    return learn_scales_(static_(model, X, WEIGHTS, ACTIVATIONS, start, weight_rule=start))


@pytest.mark.parametrize("make", [models.mlp, lambda seed: fold_batch_norm(stirred(models.resnet20(4, seed=seed)), X)])
def test_learned_scales_begin_as_the_fixed_ones_and_all_get_a_gradient(make):
    model = make(seed=0)
    fixed, plain = static_(copy.deepcopy(model), X, WEIGHTS, ACTIVATIONS, start, weight_rule=start), predict(model, X)
    answers, codes = predict(fixed, X), integer_codes(fixed)
    learned(model)
    assert torch.equal(predict(model, X), answers)
    assert all(torch.equal(q.codes, codes[name].codes) for name, q in integer_codes(model).items())
    model(X).square().mean().backward()
    quantizers = [*weight_quantizers(model).values(), *activation_quantizers(model).values()]
    assert list(activation_quantizers(model)) == list(activation_quantizers(fixed))
    assert all(isinstance(q.scale, nn.Parameter) and q.scale.grad.abs().sum() > 0 for q in quantizers)
    remove_(model)
    assert torch.equal(predict(model, X), plain)


def test_gain_counts_the_values_that_share_a_scale_in_one_example():
    """Hand-made: gradient of sum(output) for the weight's scales; n is 12 weights a channel, 60 inputs an example."""
    layer, x = nn.Conv2d(3, 2, 2, bias=False), noise(7, 3, 4, 5).abs()
    with torch.no_grad():
        layer.weight.copy_(noise(2, 3, 2, 2))
    # (`start`: with `min_max` one value lies at the very end, and rounding decides on which side.)
    learn_scales_(static_(model := nn.Sequential(layer), x, WEIGHTS, ACTIVATIONS, start, weight_rule=start))
    before = {}
    for name, q in dict(w=weight_quantizers(model)["0"], a=activation_quantizers(model)["0", "input"]).items():
        n = 12 if name == "w" else 60
        raw = layer.parametrizations.weight.original if name == "w" else x
        scale, zero, scheme = q.scale.detach(), q.zero_point, q.scheme
        exact = scheme.blocks(raw.detach()).double(), scale.double().requires_grad_()
        out = pseudo_code(
            exact[0], exact[1][:, None], zero[:, None], scheme.qmin, scheme.qmax, (n * scheme.qmax) ** -0.5
        )
        before[name] = (q.scale, exact[1], scheme.unblocks(out, raw.shape))
    y = nn.functional.conv2d(before["a"][2], before["w"][2])
    y.square().sum().backward()
    model(x).square().sum().backward()
    for scale, exact, _ in before.values():
        assert torch.allclose(scale.grad.double(), exact.grad, rtol=1e-3)  # sums of some 400 float32 terms


@pytest.mark.parametrize("scale", [0.0, -3.0])
def test_a_scale_that_fell_to_zero_or_below_gives_numbers_and_rises_again(scale):
    q = learn_scales_(weight_only_(model := nn.Sequential(nn.Linear(8, 4)), Scheme(bits=3)))[0].parametrizations.weight[
        0
    ]
    with torch.no_grad():
        q.scale.fill_(scale)
    weight = model[0].parametrizations.weight.original
    (model[0].weight - weight).square().sum().backward()
    assert model[0].weight.isfinite().all() and q.scale.grad.item() < 0 and (q.codes(weight).scale > 0).all()


def test_training_learns_scales_and_what_is_learned_can_be_written():
    digits = data.load("digits")
    model = models.mlp(seed=0)
    training.fit(model, digits, epochs=8)
    two = Scheme(bits=2, granularity="channel"), Scheme(bits=2, symmetric=False, signed=False)
    learn_scales_(static_(model, digits.train.x[:128], *two, start, weight_rule=start))
    before, scales = (
        training.evaluate(model, digits.val),
        [q.scale.detach().clone() for q in activation_quantizers(model).values()],
    )
    training.fit(model, digits, epochs=4)
    after = training.evaluate(model, digits.val)
    # Of 359 images 18 are 5 %: far outside what chance does to so large a gain (24 points measured).
    assert after.correct > before.correct + 18 and after.loss < before.loss
    assert all((q.scale != old).all() for q, old in zip(activation_quantizers(model).values(), scales))
    twin = load_quantized_(models.mlp(seed=1), quantized_state(model))
    assert torch.equal(predict(twin, digits.val.x), predict(model, digits.val.x))
    assert all(q.codes.unique().numel() <= 3 for q in integer_codes(model).values())


def test_refuses_a_model_without_fixed_scales():
    for model in (models.mlp(seed=0), learned(models.mlp(seed=0))):
        with pytest.raises(ValueError, match="model must hold fake quantizers with fixed scales, got none"):
            learn_scales_(model)


def test_a_float64_model_stays_one():
    model = static_(models.mlp(seed=0).double(), X.double())
    answers = predict(model, X.double())
    assert torch.equal(predict(learn_scales_(model), X.double()), answers) and answers.dtype == torch.float64
