"""Bias correction: the mean error of every channel is gone, and the rest is as it was."""

import copy

import pytest
import torch
from quantization.networks import noise, stirred
from torch import nn
from torch.nn.utils import parametrize

from compresslab import models
from compresslab.measure import predict
from compresslab.quantization.bias import correct_bias_
from compresslab.quantization.fake import weight_quantizers
from compresslab.quantization.folding import fold_batch_norm
from compresslab.quantization.post_training import static_, weight_only_
from compresslab.quantization.scheme import Scheme

X = noise(32, 1, 8, 8) + 0.5
THREE = Scheme(bits=3, granularity="channel")


def raw_outputs(model, x):
    """{layer: its output (n, channels, ...), before a quantizer of its own}, by hooks of our own."""
    outputs, hooks = {}, []
    for name, module in model.named_modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            hooks.append(module.register_forward_hook(lambda m, a, y, n=name: outputs.update({n: y}), prepend=True))
    predict(model, x)
    for hook in hooks:
        hook.remove()
    return outputs


def mean_errors(model, quantised, x):
    pairs = raw_outputs(model, x), raw_outputs(quantised, x)
    return {
        name: (pairs[1][name] - pairs[0][name]).double().mean((0, *range(2, y.ndim))) for name, y in pairs[0].items()
    }


@pytest.mark.parametrize("make", [models.mlp, models.resnet20, models.depthwise])
@pytest.mark.parametrize("quantise_", [lambda m: weight_only_(m, THREE), lambda m: static_(m, X, THREE)])
def test_no_channel_has_a_mean_error_on_the_calibration_set(make, quantise_):
    model = fold_batch_norm(stirred(make(seed=0)), X)
    quantised = quantise_(copy.deepcopy(model))
    before = mean_errors(model, quantised, X)
    correct_bias_(quantised, X)
    after = mean_errors(model, quantised, X)
    scales = {name: y.abs().max().item() for name, y in raw_outputs(model, X).items()}
    for name, error in after.items():
        # the shift is rounded to float32, and so is each of the values that are averaged: some 2^-24 of their size
        assert error.abs().max() <= 1e-6 * max(scales[name], raw_outputs(quantised, X)[name].abs().max().item()), name
        assert before[name].abs().max() > 1e-3 * scales[name], name


def test_it_helps_where_the_shift_is_the_error():
    """Weights that all round up: the whole error is a shift, and the correction is exact for the same inputs."""
    model = nn.Sequential(nn.Linear(8, 3))
    with torch.no_grad():
        model[0].weight.fill_(0.26)
        model[0].weight[:, 0] = 1.0  # scale 1 at 2 bits: the rest becomes 0
    x = torch.ones(5, 8)
    quantised = weight_only_(copy.deepcopy(model), Scheme(bits=2))
    torch.testing.assert_close(predict(quantised, x) - predict(model, x), torch.full((5, 3), -7 * 0.26))
    torch.testing.assert_close(predict(correct_bias_(quantised, x), x), predict(model, x))


def test_a_copy_is_corrected_alone():
    model = weight_only_(models.mlp(seed=0), THREE)
    answers, twin = predict(model, X), correct_bias_(copy.deepcopy(model), X)
    assert torch.equal(predict(model, X), answers) and not torch.equal(predict(twin, X), answers)


def test_layers_without_bias_stay():
    model = weight_only_(models.tiny_rnn(seed=0), THREE)
    correct_bias_(model, X)
    assert model.recurrent.bias is None and parametrize.is_parametrized(model.input, "bias")
    assert list(weight_quantizers(model)) == ["input", "recurrent", "output"]


def test_bad_input():
    with pytest.raises(ValueError, match="model must hold fake-quantised layers that have a bias, got none"):
        correct_bias_(models.mlp(), X)
    model = weight_only_(models.mlp(seed=0), THREE)
    with pytest.raises(ValueError, match="calibration must hold finite values only, got nan"):
        correct_bias_(model, X * torch.nan)
    assert not parametrize.is_parametrized(model[1], "bias")
