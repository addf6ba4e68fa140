"""Fake quantizers come off without a trace, and a copy of a quantised model is a model of its own."""

import copy

import pytest
import torch
from quantization.networks import noise, stirred
from torch import nn
from torch.nn.utils import parametrize

from compresslab import models
from compresslab.measure import count_parameters, predict
from compresslab.quantization.bias import correct_bias_
from compresslab.quantization.fake import activation_quantizers, freeze_, integer_codes, remove_, weight_quantizers
from compresslab.quantization.files import load_quantized_, quantized_state
from compresslab.quantization.folding import fold_batch_norm
from compresslab.quantization.post_training import dynamic_, static_, weight_only_
from compresslab.quantization.scheme import Scheme

X = noise(8, 1, 8, 8)
FOUR = Scheme(bits=4, granularity="channel")
WAYS = {
    "weight only": weight_only_,
    "dynamic": dynamic_,
    "static": lambda model: static_(model, X),
    "static, bias corrected": lambda model: correct_bias_(static_(model, X, FOUR), X),
}


def resnet():
    return fold_batch_norm(stirred(models.resnet20(width=4, seed=0)), X)


@pytest.mark.parametrize("way", WAYS)
def test_remove_gives_back_the_very_model(way):
    model = resnet()
    before, answers = list(model.named_parameters()), predict(model, X)
    WAYS[way](model)
    assert not torch.equal(predict(model, X), answers) and count_parameters(model) == count_parameters(resnet())
    remove_(model)
    assert torch.equal(predict(model, X), answers)
    after = list(model.named_parameters())
    assert [name for name, _ in after] == [name for name, _ in before]
    assert all(a is b for (_, a), (_, b) in zip(after, before))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert [name for name, _ in model.named_modules()] == [name for name, _ in resnet().named_modules()]


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_is_a_model_of_its_own(way):
    model = WAYS[way](resnet())
    answers, twin = predict(model, X), copy.deepcopy(model)
    assert torch.equal(predict(twin, X), answers)
    remove_(twin)
    assert torch.equal(predict(twin, X), predict(resnet(), X)) and torch.equal(predict(model, X), answers)
    freeze_(copy.deepcopy(model))
    assert torch.equal(predict(model, X), answers)
    for quantizer in activation_quantizers(twin := copy.deepcopy(model)).values():
        quantizer.scheme = Scheme(bits=1, symmetric=False, signed=False)
        quantizer.zero_point = torch.zeros(1, dtype=torch.int32)
    assert torch.equal(predict(model, X), answers)
    assert not activation_quantizers(model) or not torch.equal(predict(twin, X), answers)


@pytest.mark.parametrize("way", WAYS)
def test_freeze_keeps_the_answers_and_makes_plain_parameters(way):
    model = WAYS[way](resnet())
    answers, points = predict(model, X), list(activation_quantizers(model))
    freeze_(model)
    assert torch.equal(predict(model, X), answers) and list(activation_quantizers(model)) == points
    assert not weight_quantizers(model) and not any(parametrize.is_parametrized(m) for m in model.modules())
    with pytest.raises(ValueError, match="model must hold fake-quantised weights, got none"):
        integer_codes(model)
    weights = [p.clone() for p in model.parameters()]
    remove_(model)
    assert not activation_quantizers(model) and all(torch.equal(a, b) for a, b in zip(model.parameters(), weights))
    assert not torch.equal(model.get_submodule("0").weight, resnet().get_submodule("0").weight)


class Mask(nn.Module):
    def __init__(self, mask):
        super().__init__()
        self.mask = mask

    def forward(self, weight):
        return weight * self.mask


def test_a_mask_under_the_quantizer_stays_and_its_zeros_are_zeros():
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
    mask = noise(4, 6) > 0
    parametrize.register_parametrization(model[0], "weight", Mask(mask))
    masked = model[0].weight.clone()
    weight_only_(model, FOUR)
    codes = integer_codes(model)["0.weight"]
    assert torch.equal(codes.dequantize(), model[0].weight) and not codes.codes[~mask].any()
    remove_(model)
    assert torch.equal(model[0].weight, masked) and parametrize.is_parametrized(model[0])
    assert not parametrize.is_parametrized(model[2])


@pytest.mark.parametrize(
    "scheme",
    [
        Scheme(),
        Scheme(bits=4, granularity="group", group_size=4),
        Scheme(bits=3, symmetric=False, granularity="channel"),
    ],
)
def test_the_codes_are_the_weights(scheme):
    model = weight_only_(models.mlp((64, 8, 4), seed=0), scheme)
    found = integer_codes(model)
    assert list(found) == ["1.weight", "3.weight"]
    for name, quantised in found.items():
        assert torch.equal(quantised.dequantize(), model.get_submodule(name[0]).weight)
        assert quantised.codes.dtype == torch.int8 and quantised.scheme == scheme
    alone = weight_only_(nn.Linear(4, 4))
    assert list(integer_codes(alone)) == ["weight"]


def test_gradients_reach_the_float_weight():
    model = static_(models.mlp((64, 8, 4), seed=0), X)
    model(X).square().sum().backward()
    assert model[1].parametrizations.weight.original.grad.abs().sum() > 0


class TiedWords(nn.Module):
    """The last layer's weight is the embedding's."""

    def __init__(self, seed=0):
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        self.words, self.output = nn.Embedding(20, 8), nn.Linear(8, 20)
        self.output.weight = self.words.weight
        with torch.no_grad():
            self.words.weight.normal_(generator=g)

    def forward(self, x):
        return self.output(self.words(x).tanh())


def test_an_embedding_that_shares_a_quantised_weight_stays_float():
    model, x = TiedWords(), torch.arange(20).reshape(5, 4)
    weight_only_(model, Scheme(3))
    answers, embedding = predict(model, x), model.words.weight.detach().clone()
    for twin in (freeze_(copy.deepcopy(model)), load_quantized_(TiedWords(seed=1), quantized_state(model))):
        assert torch.equal(predict(twin, x), answers) and torch.equal(twin.words.weight, embedding)
    assert remove_(model).output.weight is model.words.weight
