"""Noise and cost layer by layer: closed forms, and a layer that was broken on purpose is found."""

import copy
import math

import pytest
import torch
from quantization.networks import noise, stirred

from compresslab import data, measure, models, training
from compresslab.quantization.affine import sqnr_db
from compresslab.quantization.analysis import sensitivity, sqnr_by_layer
from compresslab.quantization.fake import StaticQuantizer
from compresslab.quantization.folding import fold_batch_norm
from compresslab.quantization.post_training import static_, weight_only_
from compresslab.quantization.ranges import percentile
from compresslab.quantization.scheme import Scheme

X = noise(32, 1, 8, 8)
LAYERS = ["1", "3", "5"]


@pytest.fixture(scope="module")
def trained():
    digits, model = data.load("digits"), models.mlp((64, 32, 16, 10), seed=0)
    training.fit(model, digits, epochs=8)
    return model, digits


def test_sqnr_is_that_of_the_tensors_themselves():
    model = models.mlp((64, 32, 16, 10), seed=0)
    quantised = weight_only_(copy.deepcopy(model), Scheme(bits=4, granularity="channel"))
    table = sqnr_by_layer(model, quantised, X).set_index(["layer", "what"]).sqnr_db
    assert list(table.index) == [(layer, what) for layer in LAYERS for what in ("weight", "input", "output")]
    with torch.no_grad():
        floats, noisy = model[:4](X), quantised[:4](X)
    assert table["1", "input"] == math.inf  # the image itself
    assert table["3", "output"] == pytest.approx(sqnr_db(floats, noisy))
    assert table["5", "input"] == pytest.approx(sqnr_db(floats.relu(), noisy.relu()))
    assert table["3", "weight"] == pytest.approx(sqnr_db(model[3].weight.detach(), quantised[3].weight.detach()))


def test_a_loud_channel_hides_the_others_in_the_sum_but_not_in_the_median():
    """One channel of the weight 1000 times as large: with one scale for all the others become 0, and 0 dB."""
    model = models.depthwise(4, seed=0)
    with torch.no_grad():
        model[3].weight[0] *= 1000
    quantised = weight_only_(copy.deepcopy(model), Scheme())
    table = sqnr_by_layer(model, quantised, X).set_index(["layer", "what"])
    assert table.sqnr_db["3", "weight"] > 30 and table.channel_db["3", "weight"] == 0
    with torch.no_grad():
        wanted, got = (net[:4](X).movedim(1, 0) for net in (model.eval(), quantised.eval()))
    each = sorted(sqnr_db(a, b) for a, b in zip(wanted, got))
    assert table.channel_db["3", "output"] == pytest.approx(each[1])  # of four the lower middle one
    mlp = models.mlp((64, 8, 10), seed=0)
    channels = (
        sqnr_by_layer(mlp, weight_only_(copy.deepcopy(mlp), Scheme(3)), X).set_index(["layer", "what"]).channel_db
    )
    with torch.no_grad():
        signal, noisy = mlp[1](X.flatten(1)), weight_only_(copy.deepcopy(mlp), Scheme(3))[1](X.flatten(1))
    assert channels["1", "output"] == pytest.approx(sorted(sqnr_db(a, b) for a, b in zip(signal.T, noisy.T))[3])
    assert channels["1", "input"] == math.inf


def test_six_decibels_a_bit():
    """Halving the step quarters the noise, 20 log10(2) = 6.02 dB, where the error is uniform: from 5 bits on here."""
    model = models.mlp((64, 256, 10), seed=0)
    found = {}
    for bits in (5, 9):
        quantised = weight_only_(copy.deepcopy(model), Scheme(bits=bits))
        found[bits] = sqnr_by_layer(model, quantised, X).query("what == 'weight'").set_index("layer").sqnr_db
    # the symmetric scale is max / (2^(b-1) - 1): a ratio of 255 / 15 steps; 16,384 draws know their variance to 1 %
    assert found[9]["1"] - found[5]["1"] == pytest.approx(20 * math.log10(255 / 15), abs=0.2)


def test_the_input_is_what_the_layer_reads():
    model = fold_batch_norm(stirred(models.resnet20(width=4, seed=0)), X)
    table = sqnr_by_layer(model, static_(copy.deepcopy(model), X), X).set_index(["layer", "what"]).sqnr_db
    assert 40 < table["0", "input"] < 70  # 8 bits of noise, quantised once
    only = weight_only_(copy.deepcopy(model), Scheme(bits=16), layers=["14"])
    table = sqnr_by_layer(model, only, X).set_index(["layer", "what"]).sqnr_db
    assert list(table.index[table < math.inf]) == [("14", "weight"), ("14", "output")]


def test_the_output_comes_before_a_quantizer_of_its_own():
    model = models.mlp((64, 32, 10), seed=0)
    coarse = copy.deepcopy(model)
    StaticQuantizer(torch.tensor([1.0]), torch.tensor([0]), Scheme()).attach_(coarse[1], "output")
    table = sqnr_by_layer(model, coarse, X).set_index(["layer", "what"]).sqnr_db
    assert table["1", "output"] == math.inf and table["3", "input"] < 10


def test_sqnr_refuses_models_that_differ():
    with pytest.raises(ValueError, match="quantised must have the layers of model, got a difference in 5"):
        sqnr_by_layer(models.mlp((64, 32, 16, 10)), models.mlp((64, 32, 10)), X)
    with pytest.raises(ValueError, match="x must be a tensor"):
        sqnr_by_layer(models.mlp(), models.mlp(), X[:0])


def test_sensitivity_is_the_cost_of_each_layer_alone(trained):
    model, digits = trained
    two = Scheme(bits=2)
    table = sensitivity(model, digits.val, weight_scheme=two).set_index("layer")
    assert list(table.index) == ["none", *LAYERS, "all"]
    for row, layers in {"none": [], "1": ["1"], "5": ["5"], "all": LAYERS}.items():
        copied = copy.deepcopy(model)
        if layers:
            weight_only_(copied, two, layers=layers)
        right = measure.accuracy(copied, digits.val)
        assert tuple(table.loc[row, ["accuracy", "accuracy_low", "accuracy_high"]]) == (
            right.accuracy,
            right.low,
            right.high,
        )
        assert table.loss[row] == pytest.approx(training.evaluate(copied, digits.val).loss)
    assert not any(hasattr(module, "parametrizations") for module in model.modules())


def test_sensitivity_with_calibration_quantises_what_the_layer_reads_too(trained):
    model, digits = trained
    x, eight, two = digits.train.x[:50], Scheme(granularity="channel"), Scheme(bits=2, symmetric=False, signed=False)
    table = sensitivity(model, digits.val, x, eight, two, layers=["3"]).set_index("layer")
    assert list(table.index) == ["none", "3", "all"] and table.loss["3"] == table.loss["all"]
    wanted = training.evaluate(static_(copy.deepcopy(model), x, eight, two, layers=["3"]), digits.val).loss
    assert table.loss["3"] == wanted != table.loss["none"]
    clipped = sensitivity(model, digits.val, x, eight, two, percentile(90), layers=["3"]).set_index("layer")
    wanted = training.evaluate(static_(copy.deepcopy(model), x, eight, two, percentile(90), layers=["3"]), digits.val)
    assert clipped.loss["3"] == wanted.loss != table.loss["3"]


def test_the_broken_layer_is_found(trained):
    """One weight a thousand times too large: one scale for all makes the layer's other weights zero."""
    model, digits = copy.deepcopy(trained[0]), trained[1]
    with torch.no_grad():
        model[3].weight[0, 0] = 1000 * model[3].weight.abs().max()
        model[1].weight[0], model[1].bias[0] = 0, 0  # a dead unit, so that the float model does not mind
    worst = sensitivity(model, digits.val, weight_scheme=Scheme()).set_index("layer").loss
    assert worst[LAYERS].idxmax() == "3" and worst["3"] > 2 * worst["none"] and worst["1"] < 1.1 * worst["none"]
    table = sqnr_by_layer(model, weight_only_(copy.deepcopy(model), Scheme()), digits.val.x)
    outputs = table.query("what == 'output'").set_index("layer").sqnr_db
    assert outputs["1"] > 30 and outputs["3"] < 10
    channel = sensitivity(model, digits.val, weight_scheme=Scheme(granularity="channel")).set_index("layer").loss
    assert channel["3"] < 1.1 * channel["none"]


def test_sensitivity_refuses_unknown_layers(trained):
    with pytest.raises(ValueError, match="layers must be among 1, 3, 5, got '2'"):
        sensitivity(trained[0], trained[1].val, layers=["2"])
