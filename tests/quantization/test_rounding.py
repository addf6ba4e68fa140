"""Optimised rounding against all roundings of a tiny layer, and against rounding to nearest."""

import copy
from itertools import product

import pytest
import torch
from quantization.networks import noise
from torch import nn

from compresslab import models
from compresslab.measure import predict
from compresslab.quantization.bias import correct_bias_
from compresslab.quantization.fake import freeze_, integer_codes, remove_
from compresslab.quantization.files import load_quantized_, quantized_state
from compresslab.quantization.post_training import static_, weight_only_
from compresslab.quantization.ranges import mse
from compresslab.quantization.rounding import (
    RoundedWeight,
    annealed_beta,
    optimise_rounding_,
    rectified_sigmoid,
    undecided,
)
from compresslab.quantization.scheme import Scheme

THREE = Scheme(bits=3, granularity="channel")
ASYMMETRIC = Scheme(bits=3, symmetric=False)


def best_of_all(weight, scale, x, wanted, bias):
    """Smallest mean squared error of one output over all ways to round each weight up or down."""
    below = (weight / scale).floor()
    choices = torch.tensor(list(product(*[(b, min(b + 1, 3)) for b in below.tolist()]))) * scale
    return ((x @ choices.T + bias - wanted[:, None]) ** 2).mean(0).min().item()


def test_between_the_best_of_all_256_roundings_and_nearest_and_often_the_best():
    gaps = []
    for seed in range(6):
        x, layer = noise(64, 8, seed=seed) + 1, nn.Linear(8, 3)  # the common 1: errors of neighbours can cancel
        with torch.no_grad():
            layer.weight.copy_(noise(3, 8, seed=seed + 2))
            layer.bias.copy_(noise(3, seed=seed))
        wanted, weight, bias = predict(layer, x), layer.weight.detach().clone(), layer.bias.tolist()
        weight_only_(layer, THREE)
        scale = layer.parametrizations.weight[0].scale
        best = sum(best_of_all(weight[i], scale[i], x, wanted[:, i], bias[i]) for i in range(3)) / 3
        row = optimise_rounding_(layer, x, steps=500).iloc[0]
        assert best * (1 - 1e-4) <= row.mse <= row.nearest_mse  # sums of 64 float32 terms
        assert row.mse == pytest.approx((predict(layer, x) - wanted).square().mean().item(), rel=1e-4)
        gaps.append((row.mse / best - 1, row.nearest_mse / best - 1))
    exact = [sum(gap < 1e-3 for gap in column) for column in zip(*gaps)]
    assert exact[0] >= 3 > exact[1]


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1, groups=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(216, 5, bias=False),
    )  # fmt: skip


X = noise(24, 1, 8, 8)
WAYS = {
    "weight only": lambda m: weight_only_(m, THREE, mse),
    "asymmetric": lambda m: weight_only_(m, ASYMMETRIC),
    "static": lambda m: static_(m, X, THREE),
    "bias corrected": lambda m: correct_bias_(static_(m, X, THREE), X),
}


@pytest.mark.parametrize("way", WAYS)
def test_never_worse_than_nearest_and_every_weight_next_to_its_value(way):
    model = WAYS[way](network())
    exact, nearest = network(), integer_codes(model)
    table = optimise_rounding_(model, X, steps=200, lr=0.05)
    assert table.layer.tolist() == ["0", "2", "5"]
    assert (table.mse <= table.nearest_mse).all() and (table.mse < 0.9 * table.nearest_mse).any()
    for name, q in integer_codes(model).items():
        weight, layer = exact.get_submodule(name[0]).weight, model.get_submodule(name[0])
        assert (q.codes.int() - nearest[name].codes.int()).abs().max() <= 1
        assert torch.equal(q.scale, nearest[name].scale)
        assert torch.equal(q.dequantize(), layer.weight)
        scale = q.scheme.unblocks(q.scale[:, None].expand_as(q.scheme.blocks(weight)), weight.shape)
        clamped = (q.codes == q.scheme.qmin) | (q.codes == q.scheme.qmax)
        # Up or down is within one step, where no end is near; (code - zero_point) * scale rounds once more.
        assert ((layer.weight - weight).abs() <= scale * (1 + 1e-5))[~clamped].all()


def test_one_step_with_a_learning_rate_of_nothing_is_rounding_to_nearest():
    model = WAYS["weight only"](network())
    answers = predict(model, X)
    table = optimise_rounding_(model, X, steps=1, lr=0)
    assert torch.equal(predict(model, X), answers) and (table.mse == table.nearest_mse).all()


def test_whole_numbers_of_steps_stay():
    up = RoundedWeight(torch.tensor([0.5]), torch.tensor([0], dtype=torch.int32), THREE, torch.ones(1, 4))
    assert up(torch.tensor([[1.5, -0.5, 0.0, 1.2]])).tolist() == [[1.5, -0.5, 0, 1.5]]


def test_a_channel_that_the_search_makes_worse_keeps_nearest():
    """One huge step turns all roundings by the sign of a gradient: most channels are worse off."""
    layer, x = nn.Linear(8, 6), noise(64, 8)
    with torch.no_grad():
        layer.weight.copy_(noise(6, 8, seed=1))
    wanted = predict(layer, x)
    weight_only_(layer, THREE)
    nearest = (predict(layer, x) - wanted).square().mean(0)
    optimise_rounding_(layer, x, steps=1, lr=100)
    found = (predict(layer, x) - wanted).square().mean(0)
    assert (found <= nearest).all() and (found == nearest).sum() >= 3


def test_comes_off_is_frozen_and_written_as_any_fake_quantised_model():
    model = static_(models.mlp(seed=0), X, THREE)
    optimise_rounding_(model, X, steps=30, lr=0.05)
    answers = predict(model, X)
    assert torch.equal(predict(load_quantized_(models.mlp(seed=1), quantized_state(model)), X), answers)
    assert torch.equal(predict(freeze_(copy.deepcopy(model)), X), answers)
    assert torch.equal(predict(remove_(model), X), predict(models.mlp(seed=0), X))


def test_the_papers_formulas():
    v = torch.tensor([-10.0, -2, 0, 2, 10])
    h = rectified_sigmoid(v)
    assert h[[0, 4]].tolist() == [0, 1] and h[2].item() == pytest.approx(0.5)
    assert h[[1, 3]].tolist() == pytest.approx([1.2 / (1 + 2.718281828**-u) - 0.1 for u in (-2.0, 2.0)], abs=1e-6)
    assert undecided(torch.tensor([0.0, 1, 1]), 3).item() == 0
    assert undecided(torch.tensor([0.5, 0.75]), 2).item() == 1 + 1 - 0.5**2
    betas = [annealed_beta(p) for p in (0.0, 0.199, 0.2, 0.6, 1.0)]
    assert betas[:2] == [None, None] and betas[2:] == pytest.approx([20, 11, 2])


@pytest.mark.parametrize(
    "make, x, settings, sentence",
    [
        (network, X, {}, "model must hold fake-quantised weights, got none"),
        (lambda: weight_only_(network(), Scheme(bits=1)), X, {}, "model must round all weights to the nearest code"),
        (lambda: WAYS["static"](network()), X[:0], {}, "calibration must be a tensor"),
        (lambda: WAYS["static"](network()), X / 0, {}, "calibration must hold finite values only"),
        (lambda: WAYS["static"](network()), X, dict(steps=0), "steps must be at least 1, got 0"),
        (lambda: WAYS["static"](network()), X, dict(batch_size=0), "batch_size must be at least 1, got 0"),
    ],
)
def test_refuses_and_leaves_the_model_alone(make, x, settings, sentence):
    model = make()
    answers = predict(model, X)
    with pytest.raises(ValueError, match=sentence):
        optimise_rounding_(model, x, **settings)
    assert torch.equal(predict(model, X), answers)


def test_a_float64_model_stays_one_and_gradients_may_be_off():
    model = static_(models.mlp(seed=0).double(), X.double(), THREE)
    with torch.no_grad():
        optimise_rounding_(model, X.double(), steps=3)
    assert predict(model, X.double()).dtype == torch.float64


class TwoSizes(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.pool = nn.Conv2d(1, 1, 3, padding=1), nn.MaxPool2d(2)

    def forward(self, x):
        return self.conv(self.pool(self.conv(x)))


def test_a_layer_that_reads_two_sizes_is_refused():
    model = static_(TwoSizes(), X)
    answers = predict(model, X)
    with pytest.raises(ValueError, match=r"layer conv must read tensors of one size, got \[\(1, 4, 4\), \(1, 8, 8\)\]"):
        optimise_rounding_(model, X)
    assert torch.equal(predict(model, X), answers)
