"""Bits for each layer: the choice against all choices there are, the table against models quantised by hand."""

import copy
import math
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from quantization.networks import noise

from compresslab import models, training
from compresslab.data import Split
from compresslab.measure import predict
from compresslab.quantization.fake import integer_codes, weight_quantizers
from compresslab.quantization.mixed import all_choices, bit_costs, choose_bits, mixed_
from compresslab.quantization.packing import pack
from compresslab.quantization.post_training import weight_only_
from compresslab.quantization.ranges import min_max
from compresslab.quantization.scheme import Scheme

SPLIT = Split(noise(40, 1, 8, 8), torch.arange(40) % 10)


def sums(table, choice):
    rows = table.set_index(["layer", "bits"]).loc[list(choice.items())]
    return rows.bytes.sum(), rows.loss_increase.sum()


@settings(max_examples=50)
@given(st.data())
def test_no_assignment_within_the_budget_is_better(draw):
    n, bits = draw.draw(st.integers(1, 4)), [2, 4, 8]
    rows = [
        dict(layer=f"l{i}", bits=b, bytes=draw.draw(st.integers(1, 30)), loss_increase=draw.draw(st.integers(-5, 20)))
        for i in range(n)
        for b in bits
    ]
    table, budget = pd.DataFrame(rows), draw.draw(st.integers(1, 100))
    every = [dict(zip(table.layer.unique(), choice)) for choice in product(bits, repeat=n)]
    fitting = [sums(table, choice)[1] for choice in every if sums(table, choice)[0] <= budget]
    if not fitting:
        with pytest.raises(ValueError, match=rf"budget must be at least {min(sums(table, c)[0] for c in every)} bytes"):
            choose_bits(table, budget)
        return
    size, loss = sums(table, choose_bits(table, budget))
    assert size <= budget and loss == min(fitting)


@pytest.mark.parametrize("scheme", [Scheme(granularity="channel"), Scheme(symmetric=False)])
def test_costs_are_those_of_models_quantised_by_hand(scheme):
    model = models.mlp((64, 9, 10), seed=0)
    table = bit_costs(model, SPLIT, (3, 8), scheme, min_max)
    assert not weight_quantizers(model)
    assert list(zip(table.layer, table.bits)) == [("1", 3), ("3", 3), ("1", 8), ("3", 8)]
    for row in table.itertuples():
        own = Scheme(row.bits, scheme.symmetric, scheme.granularity)
        by_hand = weight_only_(models.mlp((64, 9, 10), seed=0), own, min_max, [row.layer])
        cost = training.evaluate(by_hand, SPLIT)
        assert row.loss_increase == pytest.approx(cost.loss - training.evaluate(model, SPLIT).loss, abs=1e-12)
        assert row.accuracy == cost.accuracy
        q = integer_codes(by_hand)[f"{row.layer}.weight"]
        zero_points = 0 if own.symmetric else q.zero_point.nbytes
        assert row.bytes == pack(q.codes.flatten(), own).nbytes + q.scale.nbytes + zero_points


def test_mixed_gives_each_layer_its_bits():
    model = mixed_(models.mlp((64, 32, 16, 10), seed=0), {"1": 2, "5": 8}, rule=min_max)
    assert {name: q.scheme.bits for name, q in weight_quantizers(model).items()} == {"1": 2, "5": 8}
    for name, bits in (("1", 2), ("5", 8)):
        alone = weight_only_(models.mlp((64, 32, 16, 10), seed=0), Scheme(bits, granularity="channel"), layers=[name])
        assert torch.equal(model.get_submodule(name).weight, alone.get_submodule(name).weight)
    assert torch.equal(model[3].weight, models.mlp((64, 32, 16, 10), seed=0)[3].weight)


def test_the_choice_fits_and_is_bought_with_loss():
    model = models.mlp((64, 32, 16, 10), seed=0)
    table = bit_costs(model, SPLIT)
    cheapest = table.groupby("layer").bytes.min().sum()
    losses = [sums(table, choose_bits(table, int(f * cheapest)))[1] for f in (1, 1.3, 1.7, 2.5, 4)]
    assert losses == sorted(losses, reverse=True) and losses[0] > losses[-1]


def test_every_choice_is_measured_together():
    model = models.mlp((64, 16, 10), seed=0)
    before, costs = copy.deepcopy(model.state_dict()), bit_costs(model, SPLIT, (2, 3, 8))
    choices = all_choices(model, costs, SPLIT)
    assert list(zip(choices["1"], choices["3"])) == list(product((2, 3, 8), repeat=2))
    for row in choices.to_dict("records"):
        bits = {name: row[name] for name in ("1", "3")}
        cost = training.evaluate(mixed_(copy.deepcopy(model), bits), SPLIT)
        assert row["accuracy"] == cost.accuracy and row["loss"] == pytest.approx(cost.loss, abs=1e-6)
        assert row["bytes"] == costs.set_index(["layer", "bits"]).bytes.loc[list(bits.items())].sum()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    "bits, sentence",
    [
        ({"9": 4}, "layers must be among 1, 3, got '9'"),
        ({"1": 4, "3": 17}, "layer 3: bits must be a whole number from 1 to 16, got 17"),
    ],
)
def test_refuses_and_leaves_the_model_alone(bits, sentence):
    model = models.mlp(seed=0)
    answers = predict(model, SPLIT.x)
    with pytest.raises(ValueError, match=sentence):
        mixed_(model, bits)
    assert torch.equal(predict(model, SPLIT.x), answers) and not weight_quantizers(model)


def test_bits_from_a_table():
    model = mixed_(models.mlp(seed=0), {"1": np.int64(2)})
    assert weight_quantizers(model)["1"].scheme == Scheme(2, granularity="channel")


COSTS = pd.DataFrame(dict(layer=["a", "a"], bits=[2, 8], bytes=[2, 8], loss_increase=[0.5, 0.0]))


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: choose_bits(COSTS.assign(loss_increase=[math.nan, 0]), 10), "table must hold finite numbers"),
        (lambda: choose_bits(COSTS, math.nan), "budget must be at least 2 bytes, .* got nan"),
        (lambda: bit_costs(models.mlp(seed=0), SPLIT, bits=()), "bits must hold at least one number of bits, got none"),
        (
            lambda: bit_costs(models.mlp(seed=0), (SPLIT.x[:0], SPLIT.y[:0])),
            "x of split must be a tensor .* one example",
        ),
        (
            lambda: bit_costs(models.mlp(seed=0), (SPLIT.x * math.nan, SPLIT.y)),
            "x of split must hold finite values only",
        ),
    ],
)
def test_bad_tables_and_splits_get_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
