"""Pictures and panels of lesson 60: what is drawn are the numbers of the tables."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch

from compresslab.hf import explorer, figures
from compresslab.lesson import theme


@pytest.fixture
def curves():
    rows = itertools.product(("least first", "random"), (4, 3, 2))
    table = pd.DataFrame(rows, columns=["order", "left"])
    table["macs"], table["mean"] = 20.0 + 20 * table.left, 50.0 + 10 * table.left
    return table.assign(low=table["mean"] - 5, high=table["mean"] + 4)


@pytest.fixture
def table():
    rows = [("nothing", False, False, 100.0, 30.0, 2), ("attention", True, False, 150.0, 36.5, 1),
            ("head", False, True, 110.0, 31.0, 2), ("attention, head", True, True, 160.0, np.inf, 0)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["kept", "attention", "head", "kb", "sqnr_db", "changed"])
    return table.assign(n=200, low=97.0, high=99.5)


def test_patches_are_numbered_where_they_lie():
    image = torch.arange(24.0).reshape(4, 6) / 24
    tokens = torch.arange(24.0).reshape(6, 4) / 24
    fig = figures.patches(image, tokens, size=2)
    whole, rows = fig.data
    assert np.array_equal(whole.z, image.numpy()) and np.array_equal(rows.z, tokens.numpy())
    places = {note.text: (note.x, note.y) for note in fig.layout.annotations if note.text.isdigit()}
    assert places == {str(i): (2 * (i % 3) + 0.5, 2 * (i // 3) + 0.5) for i in range(6)}
    lines = sorted((line.x0, line.y0) for line in fig.layout.shapes)
    assert lines == [(0, 1.5), (1.5, 0), (3.5, 0)]  # two down and one across, where the patches meet
    assert "4 × 6 pixels is 6 tokens of 4 numbers" in theme.title(fig) and "0.00, 0.04, 0.08, 0.12" in theme.alt(fig)


def test_shares_have_a_bar_for_each_number():
    table = pd.DataFrame({"parameters": [60.0, 40.0], "time": [30.0, 70.0]}, index=["attention", "head"])
    fig = figures.shares(table, "A title")
    assert {bar.name: dict(zip(bar.y, bar.x)) for bar in fig.data} == table.to_dict()
    assert len({bar.marker.color for bar in fig.data}) == len({bar.marker.pattern.shape for bar in fig.data}) == 2
    assert "attention: parameters 60 %, time 30 %" in theme.alt(fig) and theme.title(fig) == "A title"


def test_speedups_show_their_intervals_and_the_promise():
    rows = [("batch 1", 1.1, 0.9, 1.3), ("batch 64", 1.5, 1.4, 1.7)]
    table = pd.DataFrame(rows, columns=["name", "speedup", "speedup_low", "speedup_high"])
    fig = figures.speedups(table, "A title", macs=2.0)
    (points,) = fig.data
    assert points.x.tolist() == [1.1, 1.5] and list(points.y) == ["batch 1", "batch 64"]
    assert points.error_x.array == pytest.approx([0.2, 0.2]) and points.error_x.arrayminus == pytest.approx([0.2, 0.1])
    assert [line.x0 for line in fig.layout.shapes] == [1, 2]
    assert "batch 64: 1.50 (1.40 to 1.70). The MACs fell by a factor of 2.00." in theme.alt(fig)
    plain = figures.speedups(table, "A title")
    assert [line.x0 for line in plain.layout.shapes] == [1] and "MACs" not in theme.alt(plain)


def test_heads_are_crossed_out_and_the_curve_is_marked(curves):
    importance, kept = np.arange(4.0).reshape(2, 2), np.array([[True, False], [True, True]])
    fig = figures.heads(importance, kept, curves, "random", 3)
    heat, told, gone, *lines = fig.data
    assert np.array_equal(heat.z, importance) and (list(gone.x), list(gone.y)) == ([2], [1])
    assert list(told.text) == ["0.000", "1.000", "2.000", "3.000"] and list(told.x) == [1, 2, 1, 2]
    assert told.textfont.color == ("white", "white", "black", "black")
    assert theme.title(fig) == "3 of 4 heads, random: 80 % of the MACs, 80.0 % right (75.0 to 84.0)"
    assert "Removed from the first network: head 2 of layer 1." in theme.alt(fig)
    assert [line.name for line in lines] == ["least first", "random"] and lines[1].line.width > lines[0].line.width
    assert lines[0].x.tolist() == [2, 3, 4] and lines[0].y.tolist() == [70, 80, 90]
    assert fig.layout.shapes[0].x0 == 3
    assert "none" in theme.alt(figures.heads(importance, kept | True, curves, "random", 4))


@pytest.mark.parametrize("row, noise, height", [(1, "36.5 dB", 36.5), (3, "no noise", 41.5)])
def test_the_choice_is_marked_even_without_noise(table, row, noise, height):
    fig = figures.kept_float(table, row)
    everything, pick = fig.data
    assert everything.x.tolist() == [100, 150, 110] and everything.y.tolist() == [30, 36.5, 31]  # finite ones
    assert (pick.x.tolist(), pick.y.tolist()) == ([table.kb[row]], [height])
    low, high = fig.layout.yaxis.range
    assert low < height < high
    wanted = f"Float: {table.kept[row]}. {table.kb[row]:.0f} kB, {noise}, {table.changed[row]} of 200 answers changed"
    assert theme.title(fig) == wanted and "(97.0 to 99.5)" in theme.alt(fig)


def test_panels_look_up_what_was_chosen(table, curves):
    other = table.drop(columns="head").iloc[:2].assign(kept=["nothing", "attention"])
    panel = explorer.precision_explorer(
        {"BERT": table, "ViT": other}, {"BERT": ["attention", "head"], "ViT": ["attention"]}
    )
    for model, attention, head in itertools.product(("BERT", "ViT"), (False, True), (False, True)):
        panel.set(model=model, attention=attention, head=head)
        assert panel.controls["head"].disabled == (model == "ViT") and not panel.controls["attention"].disabled
        chosen = [name for name, on in (("attention", attention), ("head", head and model == "BERT")) if on]
        assert theme.title(panel.figure).startswith(f"Float: {', '.join(chosen) or 'nothing'}. ")
    kept = {(order, left): np.arange(4).reshape(2, 2) < left for order in curves.order.unique() for left in (4, 3, 2)}
    panel = explorer.heads_explorer(np.ones((2, 2)), kept, curves)
    for (order, left), mask in kept.items():
        panel.set(order=order, left=left)
        assert theme.title(panel.figure).startswith(f"{left} of 4 heads, {order}:")
        assert len(panel.figure.data[2].x) == (~mask).sum()
