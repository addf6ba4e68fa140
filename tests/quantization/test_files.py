"""The quantised model as a file: it loads back bit for bit, and it is as small as its codes."""

import copy

import pytest
import safetensors.torch
import torch
from quantization.networks import noise, stirred

from compresslab import measure, models
from compresslab.quantization.bias import correct_bias_
from compresslab.quantization.fake import activation_quantizers, integer_codes
from compresslab.quantization.files import load_quantized_, quantized_state
from compresslab.quantization.folding import fold_batch_norm
from compresslab.quantization.lsq import learn_scales_
from compresslab.quantization.post_training import dynamic_, ranges_of, static_, weight_only_
from compresslab.quantization.scheme import Scheme

X = noise(8, 1, 8, 8)
WAYS = {
    "weight only": weight_only_,
    "one bit": lambda m: weight_only_(m, Scheme(bits=1)),
    "16 bits, asymmetric": lambda m: weight_only_(m, Scheme(bits=16, symmetric=False, signed=False)),
    "static, corrected": lambda m: correct_bias_(
        static_(m, X, Scheme(bits=4, symmetric=False, granularity="channel")), X
    ),
    "dynamic": dynamic_,
}


def resnet(seed=0):
    return fold_batch_norm(stirred(models.resnet20(width=4, seed=seed), seed), X)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("file", ["torch", "safetensors"])
def test_it_loads_back_bit_for_bit(way, file, tmp_path):
    model = WAYS[way](resnet())
    if file == "torch":
        torch.save(quantized_state(model), tmp_path / "q")
        state = torch.load(tmp_path / "q", weights_only=True)
    else:
        safetensors.torch.save_file(quantized_state(model), tmp_path / "q")
        state = safetensors.torch.load_file(tmp_path / "q")
    loaded = load_quantized_(resnet(seed=1), state)
    x = noise(20, 1, 8, 8, seed=2)
    assert torch.equal(measure.predict(loaded, x), measure.predict(model, x))
    ours, theirs = integer_codes(model), integer_codes(loaded)
    assert all(torch.equal(ours[n].codes, theirs[n].codes) and ours[n].scheme == theirs[n].scheme for n in ours)
    assert ranges_of(loaded).equals(ranges_of(model))
    again = quantized_state(loaded)
    assert again.keys() == state.keys() and all(torch.equal(again[name], state[name]) for name in state)


@pytest.mark.parametrize("make, shape", [(models.lenet300, (4, 1, 28, 28)), (models.resnet20, (4, 1, 28, 28))])
def test_the_file_is_about_a_quarter_of_the_float_file(make, shape, tmp_path):
    """A byte for each weight and four for each bias and scale; the rest is names, below a tenth here."""
    x = noise(*shape)
    model = fold_batch_norm(stirred(make(seed=0)), x)
    whole = measure.file_bytes(model)
    state = quantized_state(static_(copy.deepcopy(model), x))
    safetensors.torch.save_file(state, tmp_path / "q")
    numbers = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    assert numbers < (tmp_path / "q").stat().st_size < numbers * 1.1 and numbers < 0.27 * whole
    assert measure.file_bytes(static_(model, x)) > whole  # the fake-quantised model itself holds floats, and scales


def test_what_does_not_fit_is_refused_and_changes_nothing():
    state = quantized_state(weight_only_(models.mlp((64, 8, 4), seed=0)))
    model = models.mlp((64, 9, 4), seed=0)
    answers = measure.predict(model, X)
    with pytest.raises(ValueError, match=r"state must fit the model: 1.bias must be \(9,\), got \(8,\)"):
        load_quantized_(model, state)
    with pytest.raises(ValueError, match=r"state must fit the model: 5.bias must be \(2,\), got no such tensor"):
        load_quantized_(models.mlp((64, 8, 4, 2)), state)
    assert torch.equal(measure.predict(model, X), answers)
    with pytest.raises(ValueError, match="model must not be quantised yet"):
        load_quantized_(weight_only_(models.mlp((64, 8, 4))), state)
    with pytest.raises(ValueError, match="model must hold fake-quantised weights, got none"):
        quantized_state(models.mlp())


@pytest.mark.parametrize(
    "missing", ["1.weight.scheme", "1.weight.scale", "1.weight.zero_point", "1.input_quantizer.zero_point"]
)
def test_a_missing_part_is_named(missing):
    model = static_(models.mlp(seed=0), X, Scheme(symmetric=False))
    state, fresh = quantized_state(model), models.mlp(seed=0)
    before = measure.predict(fresh, X)
    del state[missing]
    with pytest.raises(ValueError, match=f"state must be complete: there is no {missing}"):
        load_quantized_(fresh, state)
    assert torch.equal(measure.predict(fresh, X), before) and not list(fresh.modules())[1]._forward_hooks


@pytest.mark.parametrize(
    "name, change, sentence",
    [
        ("1.input_quantizer.scale", lambda t: t.repeat(3), "scale must hold one number for each of 1 blocks, got 3"),
        ("1.input_quantizer.scale", lambda t: t[:0], "scale must hold one number for each of 1 blocks, got 0"),
        ("1.input_quantizer.scale", lambda t: t * torch.nan, "scale must be a normal number above 0, got nan"),
        ("1.weight.codes", lambda t: t * 0 - 128, "codes of -127 to 127 in 1.weight.codes"),
        ("1.weight.scheme", lambda t: t + torch.tensor([0, 0, 9, 0, 0, 0]), "state must hold a granularity in 0"),
    ],
)
def test_a_damaged_part_is_refused_and_changes_nothing(name, change, sentence):
    state, fresh = quantized_state(static_(models.mlp(seed=0), X)), models.mlp(seed=0)
    before = measure.predict(fresh, X)
    with pytest.raises(ValueError, match=sentence):
        load_quantized_(fresh, state | {name: change(state[name])})
    assert torch.equal(measure.predict(fresh, X), before) and not list(fresh.modules())[1]._forward_hooks


def test_an_unknown_part_of_a_weight_is_refused():
    state = quantized_state(weight_only_(models.mlp(seed=0)))
    with pytest.raises(ValueError, match=r"1.weight.shift must be no such tensor, got \(3,\)"):
        load_quantized_(models.mlp(), state | {"1.weight.shift": torch.zeros(3)})


def test_a_learned_scale_below_zero_is_written_as_what_it_counts_as():
    model = learn_scales_(static_(models.mlp(seed=0), X))
    for quantizer in activation_quantizers(model).values():
        quantizer.scale.data.fill_(-0.01)
    assert torch.equal(
        measure.predict(load_quantized_(models.mlp(), quantized_state(model)), X), measure.predict(model, X)
    )
