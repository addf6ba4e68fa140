"""Pictures and panels of lesson 30: their numbers are those of the tables and of the library's own masks."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch

from compresslab import data, measure, models, training
from compresslab.lesson import theme
from compresslab.pruning import explorer, figures, masks


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def model(digits):
    model = models.mlp((64, 40, 20, 10), seed=0)
    training.fit(model, digits, epochs=6)
    return model


def trace(fig, name):
    return [t for t in fig.data if t.name == name and t.visible is not False][-1]


def area(line):
    """What a histogram drawn as a line holds: each bin's height stands twice, and once more at the bottom's ends."""
    return sum(line.y) / 2


def row(**changes):
    same = dict(criterion="l1", scope="global", sparsity=0.5, accuracy=0.9, accuracy_low=0.86, accuracy_high=0.93)
    return same | changes


def test_histogram_counts_every_weight_and_the_small_ones():
    fig = figures.histogram(np.array([-1.0, -0.05, 0.0, 0.05, 0.5]))
    assert area(fig.data[0]) == 5
    assert theme.title(fig) == "60% of the weights are smaller than a tenth of the largest"
    assert (fig.layout.shapes[0].x0, fig.layout.shapes[0].x1) == (-0.1, 0.1)


def test_cut_divides_the_weights_and_shows_all_that_was_tried():
    weights = np.linspace(-1, 1, 101)
    tried = [row(sparsity=0.2, accuracy=0.95), row(), row(scope="local"), row(criterion="wanda")]
    fig = figures.cut(weights, np.abs(weights) > 0.5, tried, tried[1], row(accuracy=0.96, sparsity=0))
    assert area(trace(fig, "set to zero")) == 101 and area(trace(fig, "kept")) == 50
    points = [t for t in fig.data if t.name == "l1"]
    assert [list(t.x) for t in points] == [[20, 50], [50]] and [t.showlegend for t in points] == [True, False]
    assert points[0].marker.symbol + "-open" == points[1].marker.symbol
    assert points[0].error_y.array[1] == pytest.approx(3) and points[0].error_y.arrayminus[1] == pytest.approx(4)
    assert theme.title(fig) == "50% zeros by l1, global: 90.0% right (86.0% to 93.0%)"
    assert "50 of 101 weights are kept" in theme.alt(fig) and "4 tried so far" in theme.alt(fig)


def table():
    rows = [("a", 0.5, 90), ("a", 0.9, 80), ("a", 0.98, 30), ("b", 0.5, 91), ("b", 0.9, 70)]
    table = pd.DataFrame(rows, columns=["name", "sparsity", "accuracy"])
    return table.assign(low=table.accuracy - 2, high=table.accuracy + 3)


def test_lines_over_sparsity_and_the_title_at_the_chosen_one():
    fig = figures.over_sparsity(table(), "name", at=0.5)
    assert theme.title(fig) == "Right at 50 % zeros: b 91.0, a 90.0 (%)"
    assert theme.title(figures.over_sparsity(table(), "name")).startswith("Right at 90 % zeros: a 80.0, b 70.0")
    assert "a 80.0 % (78.0 to 83.0)" in theme.alt(figures.over_sparsity(table(), "name"))
    assert list(trace(fig, "a").x) == [50, 90, 98] and list(trace(fig, "a").y) == [90, 80, 30]
    band = [t for t in fig.data if t.name == "a"][0]
    assert list(band.y) == [93, 83, 33, 28, 78, 88]
    left = figures.over_sparsity(table(), "name", left=True)
    assert list(trace(left, "a").x) == pytest.approx([50, 10, 2]) and left.layout.xaxis.autorange == "reversed"
    assert theme.title(left).startswith("Right with 10 % of the weights left: a 80.0, b 70.0")
    assert left.layout.xaxis.tickvals == pytest.approx([2, 10, 50]) and left.layout.xaxis.ticktext == ("2", "10", "50")


def test_gradual_shows_zeros_and_accuracy():
    history = pd.DataFrame(dict(epoch=[1, 2, 3], sparsity=[0.3, 0.8, 0.9], val_accuracy=[0.9, 0.7, 0.95]))
    fig = figures.gradual(history)
    assert list(fig.data[0].y) == pytest.approx([30, 80, 90]) and list(fig.data[1].y) == pytest.approx([90, 70, 95])
    assert "lowest, 70.0%, in epoch 2" in theme.alt(fig)


def direct(model, chosen, split):
    pruned = copy.deepcopy(model)
    masks.mask_(pruned, chosen)
    return measure.accuracy(pruned, split).accuracy


@pytest.mark.parametrize("criterion", ["l1", "taylor", "wanda"])
@pytest.mark.parametrize("scope", ["local", "global"])
def test_weights_panel_shows_what_the_masks_give(model, digits, criterion, scope):
    panel = explorer.weights_explorer(model, digits.train, digits.val)
    before = copy.deepcopy(model.state_dict())
    panel.set(criterion=criterion, scope=scope, sparsity=0.8)
    chosen = masks.weight_masks(model, 0.8, criterion, scope, split=digits.train)
    now = panel.tried[criterion, scope, 0.8]
    assert now["accuracy"] == direct(model, chosen, digits.val)
    assert trace(panel.figure, "now").y[0] == pytest.approx(100 * now["accuracy"])
    assert area(trace(panel.figure, "kept")) == sum(int(mask.sum()) for mask in chosen.values())
    panel.set(criterion="l1", scope="global", sparsity=0.0)
    assert panel.tried["l1", "global", 0.0]["accuracy"] == measure.accuracy(model, digits.val).accuracy
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_random_scores_are_not_the_numbers_that_made_the_weights(digits):
    """A fresh network of seed 0: with the same seed the scores would order the first layer as its weights do."""
    fresh = models.mlp((64, 40, 10), seed=0)
    panel = explorer.weights_explorer(fresh, digits.train, digits.val)
    panel.set(criterion="random", sparsity=0.5)
    kept = np.asarray(trace(panel.figure, "kept").y)
    half = len(kept) // 2
    assert kept[half:].sum() == pytest.approx(kept[:half].sum(), rel=0.2)  # not only one sign


def test_budget_panel_gives_the_rivals_as_many_zeros(model, digits):
    panel = explorer.budget_explorer(model, digits.val)
    mine = {"1": 0.5, "3": 0.9, "5": 0.2}
    panel.set(**mine)
    table = pd.DataFrame(panel.rows).T
    total = sum(mine[name] * n for name, n in (("1", 2560), ("3", 800), ("5", 200))) / 3560
    assert table.sparsity.to_numpy(float) == pytest.approx(total, abs=2e-3)  # uniform: rounded in each layer
    assert table.loc["yours", ["1", "3", "5"]].tolist() == pytest.approx([0.5, 0.9, 0.2])
    assert table.accuracy["yours"] == direct(model, masks.weight_masks(model, mine), digits.val)
    assert table.accuracy["global"] == direct(model, masks.weight_masks(model, table.sparsity["yours"]), digits.val)
    assert list(trace(panel.figure, "global").y) == pytest.approx([100 * table.accuracy["global"]])
    assert theme.title(panel.figure).startswith("1,520 of 3,560 weights left; right: yours")


def test_budget_panel_starts_where_it_is_told(model, digits):
    panel = explorer.budget_explorer(model, digits.val, {"3": 0.6})
    assert [control.value for control in panel.controls.values()] == [0.8, 0.6, 0.8]
    assert [control.description for control in panel.controls.values()][0] == "Layer 1 (64 → 40)"


def test_cost_names_the_one_that_is_surely_faster_where_the_fastest_is_not():
    table = pd.DataFrame(
        dict(parameters=100, nonzeros=100, macs=100, file_bytes=100, gzip_bytes=100, latency_ms=1.0,
             speedup=[1.0, 1.5, 2.1], speedup_low=[1.0, 1.4, 0.9], speedup_high=[1.0, 1.6, 2.4], baseline="dense"),
        index=["dense", "CSR", "shrunk"],
    )  # fmt: skip
    said = "no file is smaller than dense's, CSR is surely faster (1.5 times as fast)"
    assert theme.title(figures.cost(table)) == said


def test_cost_names_all_whose_intervals_overlap_the_fastest_one():
    """Two copies of one network: which of them came out ahead is the mood of the machine."""
    table = pd.DataFrame(
        dict(parameters=100, nonzeros=100, macs=100, file_bytes=[100, 100, 25, 25], gzip_bytes=100, latency_ms=1.0,
             speedup=[1.0, 1.3, 1.52, 1.48], speedup_low=[1.0, 1.2, 1.45, 1.4], speedup_high=[1.0, 1.44, 1.6, 1.55],
             baseline="dense"),
        index=["dense", "CSR", "shrunk", "tuned"],
    )  # fmt: skip
    files = "shrunk and tuned have the smallest file (0.25 of dense's)"
    assert theme.title(figures.cost(table)) == files + " and are the fastest (1.5 times as fast)"
    table.loc["CSR", ["speedup", "speedup_high"]] = 1.44, 1.47
    three = ", CSR, shrunk and tuned are the fastest (1.4 and 1.5 times as fast)"
    assert theme.title(figures.cost(table)) == files + three
