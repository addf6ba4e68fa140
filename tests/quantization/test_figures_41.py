"""Pictures, panel and broken networks of lesson 41: what they show is what the library computes."""

import copy
import math

import numpy as np
import pandas as pd
import pytest
import torch

from compresslab import data, models, training
from compresslab.lesson import theme
from compresslab.measure import predict
from compresslab.quantization import broken, figures, model_explorers
from compresslab.quantization.analysis import sqnr_by_layer
from compresslab.quantization.folding import fold_batch_norm
from compresslab.quantization.post_training import static_, weight_only_
from compresslab.quantization.scheme import Scheme


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def network(digits):
    network = models.depthwise(seed=0)
    training.fit(network, digits, epochs=3)
    return network


def line(fig, name, i=0):
    return [np.asarray(trace.y, float) for trace in fig.data if trace.name == name][i]


def test_layer_noise_draws_both_kinds_and_names_the_worst():
    table = pd.DataFrame(
        [("0", "weight", 40.0, 39.0), ("0", "input", math.inf, math.inf), ("0", "output", 30.0, 29.0),
         ("1", "weight", 41.0, 12.0), ("1", "input", 28.0, 27.0), ("1", "output", -math.inf, -3.0)],
        columns=["layer", "what", "sqnr_db", "channel_db"],
    )  # fmt: skip
    fig = figures.layer_noise(table, "Model A", "Right: 5 %.")
    assert line(fig, "weight").tolist() == [40, 41] and line(fig, "weight", 1).tolist() == [39, 12]
    assert line(fig, "input").tolist() == [28] and list(fig.data[0].x) == ["1"]
    assert line(fig, "output").tolist() == [30, -5]
    assert "at the output of layer 1. Right: 5 %." in theme.title(fig) and "weight 12 dB" in theme.alt(fig)
    calm = figures.layer_noise(table[table.what == "input"].head(1), "Float")
    assert theme.title(calm) == "Float: no noise"


def test_enough_examples_must_stay_within():
    rows = pd.DataFrame(dict(examples=[1, 2, 5, 10, 20], sqnr_db=[10.0, 29.5, 25.0, 29.2, 30.0]))
    assert figures.enough_examples(rows) == 10 and figures.enough_examples(rows, within=5) == 2
    table = rows.assign(network="mlp", low=rows.sqnr_db - 1, high=rows.sqnr_db + 1)
    assert "from 10 (mlp) on" in theme.title(figures.calibration_size(table))


def test_layer_costs_names_the_largest():
    table = pd.DataFrame(dict(layer=["0", "3"], difference=[0.1, 0.4], low=[-0.1, 0.3], high=[0.3, 0.5]))
    fig = figures.layer_costs(table, "loss")
    assert "Layer 3 costs most on average, 0.4 (0.3 to 0.5); 1 of 2" in theme.title(fig)
    assert fig.data[0].error_y.arrayminus == pytest.approx([0.2, 0.1])


def test_the_ladder_ends_with_int8():
    rows = [dict(model=model, batch=batch, speedup=s * batch, speedup_low=s, speedup_high=3 * s, baseline="onnx float")
            for batch in (1, 2) for model, s in (("eager", 0.25), ("onnx float", 1), ("onnx int8", 2))]  # fmt: skip
    fig = figures.ladder(pd.DataFrame(rows).set_index("model"))
    assert "2 times at batch 1 and 4 times at batch 2" in theme.title(fig)
    assert list(fig.data[1].x) == [0.5, 2, 4] and list(fig.data[0].y) == ["eager", "onnx float", "onnx int8"]


@pytest.fixture
def panel(digits, network):
    folded = fold_batch_norm(network, digits.train.x)
    return model_explorers.layers_explorer(folded, digits.train.x[:32], digits.val), folded


def test_the_panel_quantises_what_is_ticked(panel, digits):
    panel, folded = panel
    ticks = {name: name in ("layer 3", "layer 29") for name in panel.controls if name.startswith("layer")}
    panel.set(bits=3, weights=True, granularity="tensor", **ticks)
    wanted = weight_only_(copy.deepcopy(folded), Scheme(3), layers=["3", "29"])
    right = training.evaluate(wanted, digits.val).accuracy
    assert panel.tried[("3", "29"), 3, True, "tensor"] == right
    assert "2 of 10 layers in 3 bits" in theme.title(panel.figure) and f"{right:.1%}" in theme.title(panel.figure)
    table = sqnr_by_layer(folded, wanted, digits.val.x[:32])
    weights = table[(table.what == "weight") & (table.sqnr_db < math.inf)]
    assert line(panel.figure, "weight") == pytest.approx(weights.sqnr_db.to_numpy())
    panel.set(weights=False)
    wanted = static_(
        copy.deepcopy(folded), digits.train.x[:32], Scheme(3), Scheme(3, False, signed=False), layers=["3", "29"]
    )
    assert panel.tried[("3", "29"), 3, False, "tensor"] == training.evaluate(wanted, digits.val).accuracy


def test_nothing_ticked_is_the_float_model(panel, digits):
    panel, folded = panel
    panel.set(**{name: False for name in panel.controls if name.startswith("layer")})
    assert panel.alert.value == "" and "Every layer float: no noise" in theme.title(panel.figure)
    assert panel.tried[(), 4, False, "channel"] == training.evaluate(folded, digits.val).accuracy


@pytest.mark.parametrize("make", [broken.model_a, broken.model_b, broken.model_c])
def test_broken_networks_are_right_as_float_and_wrong_as_int8(make, digits, network):
    before = copy.deepcopy(network.state_dict())
    float_model, quantised = make(network, digits.train.x)
    right = training.evaluate(network, digits.val).accuracy
    assert training.evaluate(float_model, digits.val).accuracy > right - 0.05
    assert training.evaluate(quantised, digits.val).accuracy < right - 0.1
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    if make is not broken.model_b:
        # float32 sums, some of them of numbers 300 times as large, in ten layers
        torch.testing.assert_close(
            predict(float_model, digits.val.x), predict(network, digits.val.x), rtol=1e-3, atol=1e-3
        )
