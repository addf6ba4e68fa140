"""Pictures and panels of lesson 31: what is lit is what goes, and the lines are the numbers of the tables."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch

from compresslab import models
from compresslab.lesson import theme
from compresslab.measure import count_macs, count_parameters
from compresslab.pruning import figures, ratios, structure_explorers
from compresslab.pruning.dependencies import groups
from compresslab.pruning.figures import _structures as pictures
from compresslab.pruning.groups import cut
from compresslab.pruning.masks import mask_
from compresslab.pruning.ratios import builder, timed_shares
from compresslab.pruning.shrink import shrink
from compresslab.pruning.structures import structure_masks

EXAMPLE = torch.zeros(1, 1, 8, 8)


def ticks(seconds=(1e-3, 2e-3, 4e-3)):
    """A clock that goes on by these seconds in turn: nothing is timed."""
    return itertools.accumulate(itertools.cycle(seconds)).__next__


@pytest.fixture(scope="module")
def resnet():
    return models.resnet20(width=8, seed=0)


def test_shares_left_are_those_of_the_shrunk_network(resnet):
    build = builder(resnet, groups(resnet, EXAMPLE), EXAMPLE)
    frame = timed_shares(build, EXAMPLE, [0.0, 0.5], batch=2, rounds=6, clock=ticks((1e-3,)))
    masked = models.resnet20(width=8, seed=0)
    mask_(masked, structure_masks(masked, EXAMPLE, 0.5))
    small = shrink(masked, EXAMPLE)
    whole, half = frame.itertuples()
    assert (whole.parameters, whole.macs) == (1, 1)
    assert half.parameters == count_parameters(small) / count_parameters(resnet)
    assert half.macs == count_macs(small, EXAMPLE) / count_macs(resnet, EXAMPLE)
    assert (half.time, half.time_low, half.time_high) == pytest.approx((1, 1, 1))  # the clock knows no difference
    assert (frame.batch == 2).all()


def test_shares_left_round_up_and_refuse(resnet):
    build = builder(resnet, groups(resnet, EXAMPLE), EXAMPLE)
    (row,) = timed_shares(build, EXAMPLE, [0.3], round_to=8, rounds=6, clock=ticks()).itertuples()
    masked = models.resnet20(width=8, seed=0)
    mask_(masked, structure_masks(masked, EXAMPLE, 0.3, round_to=8))
    assert row.parameters == count_parameters(shrink(masked, EXAMPLE)) / count_parameters(resnet)
    with pytest.raises(ValueError, match="rounds must be at least 6, got 5"):
        timed_shares(build, EXAMPLE, [0.3], rounds=5)
    for settings, sentence in ((dict(batch=0), "batch must be at least 1"), (dict(round_to=-8), "round_to must be")):
        with pytest.raises(ValueError, match=sentence):
            timed_shares(build, EXAMPLE, [0.3], rounds=6, **settings)
    with pytest.raises(ValueError, match=r"pruning_ratio must be in \[0, 1\), got -0.1"):
        timed_shares(build, EXAMPLE, [-0.1], rounds=6)
    with pytest.raises(ValueError, match="pruning_ratio must leave a channel"):
        timed_shares(build, EXAMPLE, [0.99], rounds=6)


@pytest.mark.parametrize("number, structure", [(0, 0), (0, 7), (5, 3), (9, 31)])
def test_lit_is_what_goes(resnet, number, structure):
    """Every layer of the group has a block, and each lights exactly its own rows or columns."""
    group = groups(resnet, EXAMPLE)[number]
    fig = figures.dependencies(resnet, group, structure)
    layers = list(dict.fromkeys(group.table().layer))
    canvas, edge = np.array(fig.data[0].z), pictures.BLOCK + pictures.GAP
    for i, layer in enumerate(layers):
        top, left = pictures.GAP + i // pictures.COLUMNS * edge, i % pictures.COLUMNS * edge
        block = canvas[top : top + pictures.BLOCK, left : left + pictures.BLOCK]
        lit, members = block == pictures.GOES, [m for m in group.members if m.layer == layer]
        rows, columns = (members[0].of(resnet).shape * 2)[:2]
        across = members[0].role == "producer"
        size = rows if across or members[0].role == "norm" else columns
        at = (np.arange(pictures.BLOCK) * size // pictures.BLOCK) == structure  # sizes 8, 16 and 32 divide 32
        wanted = np.outer(at, np.ones(pictures.BLOCK)) if across else np.outer(np.ones(pictures.BLOCK), at)
        shown = block != pictures.EMPTY  # a batch norm is a strip
        assert (lit == wanted.astype(bool))[shown].all() and shown.any()
    assert len(fig.layout.annotations) == len(layers) and all(layer in theme.alt(fig) for layer in layers)
    gone = {m.name: m.entries(m.of(resnet)).shape[1] for m in group.members}
    assert f"{sum(gone.values()):,} numbers in {len(layers)} layers" in theme.title(fig)


def test_heads_and_flattened_channels_say_their_positions():
    transformer, lenet = models.tiny_transformer(seed=0), models.lenet5(seed=0)
    fig = figures.dependencies(transformer, groups(transformer, EXAMPLE)[0], 2)
    assert "blocks.0.attention.query: out: rows 16 to 23 and bias" in theme.alt(fig)
    assert "blocks.0.attention.out: in: columns 16 to 23" in theme.alt(fig)
    fig = figures.dependencies(lenet, groups(lenet, torch.zeros(1, 1, 28, 28))[1], 3)
    assert "7: in: columns 48 to 63" in theme.alt(fig)


def test_ratios_and_staircase_draw_their_tables():
    frame = pd.DataFrame(
        dict(ratio=[0.5, 0.25], batch=1, parameters=[0.25, 0.57], macs=[0.26, 0.58], time=[0.6, 0.9],
             time_low=[0.5, 0.8], time_high=[0.7, 1.3])
    )  # fmt: skip
    fig = figures.ratios(frame, next(frame.itertuples()))
    (timed,) = [trace for trace in fig.data if trace.name == "time"]
    np.testing.assert_allclose(timed.y, [90, 60])
    np.testing.assert_allclose(timed.error_y.array, [40, 10])
    assert "25% of the parameters, 26% of the MACs, 60% of the time (50% to 70%)" in theme.title(fig)
    assert fig.layout.yaxis.range[1] > 130
    steps = frame.assign(channels=[32, 64])
    fig = figures.staircase(steps)
    assert theme.title(fig).startswith("32 of 64 channels: 26% of the MACs, 60% of the time")
    np.testing.assert_allclose(fig.data[0].x, [32, 64])
    np.testing.assert_allclose(fig.data[0].y, [26, 58])


def test_differences_and_heads_draw_their_tables():
    table = pd.DataFrame(
        [
            ("l1", "at once", 9, -2, 20),
            ("l2", "at once", 5, 1, 9),
            ("l1", "tuned", 1, 0.5, 1.5),
            ("l2", "tuned", 0, -1, 1),
        ],
        columns=["name", "stage", "difference", "low", "high"],
    )
    fig = figures.differences(table, "random")
    assert theme.title(fig) == "Tuned, 1 of 2 intervals leave out 0"
    assert list(fig.data[1].y) == ["l2", "l1"] and list(fig.data[1].x) == [0, 1]
    assert list(fig.data[0].error_x.array) == [4, 11] and "tuned, l1: +1.0 (+0.5 to +1.5)" in theme.alt(fig)
    heads = pd.DataFrame(
        dict(name="by importance", left=[2, 8], mean=[40.0, 95.0], low=[30.0, 94.0], high=[50.0, 96.0])
    )
    fig = figures.heads(heads)
    assert list(fig.data[0].x) == [8, 2] and list(fig.data[0].error_y.array) == [1, 10]
    assert "by importance 95 % with 8, 40 % with 2" in theme.title(fig)


def test_a_smaller_group_takes_the_slider_back(resnet):
    panel = structure_explorers.dependency_explorer(resnet, EXAMPLE)
    panel.controls["group"].value = 9
    panel.controls["structure"].value = 31
    panel.controls["group"].value = 0
    assert panel.controls["structure"].value == panel.controls["structure"].max == 7
    assert panel.alert.value == "" and theme.title(panel.figure).startswith("Channel 7 of group 0:")


def test_the_ratio_panel_makes_each_model_once(resnet, monkeypatch):
    made = []
    monkeypatch.setattr(ratios, "cut", lambda *args: made.append(args) or cut(*args))
    panel = structure_explorers.ratio_explorer(resnet, EXAMPLE, clock=ticks())
    for move in (dict(ratio=0.2), dict(ratio=0.5), dict(batch=1), dict(ratio=0.2), dict(round_to=8), dict(round_to=1)):
        panel.set(**move)
    assert panel.alert.value == "" and len(made) == 4  # whole, 0.5, 0.2, and 0.2 rounded up to 8


def test_the_ratio_panel_keeps_its_points(resnet):
    panel = structure_explorers.ratio_explorer(resnet, EXAMPLE, clock=ticks())
    panel.set(ratio=0.2)
    panel.set(ratio=0.8)
    assert list(panel.points) == [(64, 1, 0.5), (64, 1, 0.2), (64, 1, 0.8)]
    (parameters,) = [trace for trace in panel.figure.data if trace.name == "parameters"]
    np.testing.assert_allclose(parameters.x, [20, 50, 80])
    panel.set(batch=1)
    assert len([trace for trace in panel.figure.data if trace.name == "parameters"][0].x) == 1
    panel.again.click()
    assert len(panel.points) == 4 and panel.alert.value == ""
