"""The scan against pruning by hand, and the budget's rule on tables made up for it."""

import copy
from functools import partial

import pandas as pd
import pytest
import torch

from compresslab import data, measure, models, training
from compresslab.pruning import masks, sensitivity


@pytest.fixture(scope="module")
def trained():
    digits, model = data.load("digits"), models.mlp((64, 24, 16, 10), seed=0)
    training.fit(model, digits, partial(torch.optim.Adam, lr=0.01), epochs=5)
    return model, digits


def test_each_row_is_one_layer_pruned_alone(trained):
    model, digits = trained
    before = copy.deepcopy(model.state_dict())
    table = sensitivity.scan(model, digits.val, (0.9, 0.5))
    assert list(table.columns) == [
        "layer", "parameters", "sparsity", "loss", "accuracy", "accuracy_low", "accuracy_high",
    ]  # fmt: skip
    assert list(zip(table.layer, table["sparsity"])) == [(layer, s) for layer in "135" for s in (0.0, 0.5, 0.9)]
    assert table.parameters[::3].tolist() == [64 * 24, 24 * 16, 16 * 10]
    for row in table.itertuples():
        by_hand = copy.deepcopy(model)
        weight = by_hand[int(row.layer)].weight
        with torch.no_grad():
            weight[weight.abs() <= weight.abs().flatten().sort().values[round(row.sparsity * weight.numel()) - 1]] *= (
                row.sparsity == 0
            )
        right = measure.accuracy(by_hand, digits.val)
        assert (row.accuracy, row.accuracy_low, row.accuracy_high) == (right.accuracy, right.low, right.high)
        assert row.loss == training.evaluate(by_hand, digits.val).loss
    assert table.accuracy[table["sparsity"] == 0].nunique() == 1
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values()))


def test_a_masked_model_is_scanned_as_it_is(trained):
    model, digits = copy.deepcopy(trained[0]), trained[1]
    masks.mask_(model, masks.weight_masks(model, 0.6))
    table = sensitivity.scan(model, digits.val, (0.5,), layers=["3"])
    assert table.loss[0] == training.evaluate(model, digits.val).loss and table.layer.tolist() == ["3", "3"]
    assert masks.sparsity(model) == pytest.approx(0.6, abs=1e-3)


def made_up(**layers):
    rows = [
        dict(layer=layer, sparsity=s, accuracy=a)
        for layer, pairs in layers.items()
        for s, a in zip((0.0, 0.5, 0.8, 0.9), pairs)
    ]
    return pd.DataFrame(rows)


def test_the_budget_stops_before_the_first_that_loses_more():
    table = made_up(b=(0.97, 0.96, 0.96, 0.95), a=(0.97, 0.90, 0.97, 0.97), c=(0.97, 0.98, 0.97, 0.90))
    assert sensitivity.budget(table, max_drop=0.01) == {"b": 0.8, "a": 0.0, "c": 0.8}
    assert sensitivity.budget(table, max_drop=0.0) == {"b": 0.0, "a": 0.0, "c": 0.8}
    assert sensitivity.budget(table, max_drop=1.0) == {"b": 0.9, "a": 0.9, "c": 0.9}
    assert sensitivity.budget(table.sample(frac=1, random_state=0), 0.01) == {"b": 0.8, "a": 0.0, "c": 0.8}


@pytest.mark.parametrize("max_drop", [-0.1, float("nan")])
def test_bad_drop(max_drop):
    with pytest.raises(ValueError, match="max_drop must be at least 0, got"):
        sensitivity.budget(made_up(a=(1, 1, 1, 1)), max_drop)


@pytest.mark.parametrize(
    "settings, sentence",
    [
        (dict(sparsities=(1.5,)), r"sparsity must be in \[0, 1\), got 1.5"),
        (dict(layers=["2"]), "layers must be among 1, 3, 5, got '2'"),
    ],
)
def test_bad_input(trained, settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        sensitivity.scan(trained[0], trained[1].val, **settings)
