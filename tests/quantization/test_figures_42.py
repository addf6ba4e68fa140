"""Pictures and panel of lesson 42: what they show is what the library computes."""

import numpy as np
import pandas as pd
import pytest

from compresslab import data, models, training
from compresslab.lesson import theme
from compresslab.quantization import figures
from compresslab.quantization.low_explorers import budget_explorer
from compresslab.quantization.mixed import all_choices, bit_costs, choose_bits


def line(fig, name):
    return [np.asarray(trace.y, float) for trace in fig.data if trace.name == name][-1]


def test_over_bits_sorts_bits_and_names_the_fewest():
    rows = [("a", 2, 50.0), ("a", 8, 90.0), ("b", 2, 70.0), ("b", 8, 91.0)]
    table = pd.DataFrame(rows, columns=["way", "bits", "mean"]).assign(low=lambda t: t["mean"] - 1, high=95.0)
    fig = figures.over_bits(table)
    assert line(fig, "a").tolist() == [90, 50] and list(fig.layout.xaxis.ticktext) == ["8", "2"]
    assert theme.title(fig) == "At 2 bits, mean of the seeds: b 70.0, a 50.0"
    assert "a: 2 bits 50.0 (49.0 to 95.0)" in theme.alt(fig)


def test_the_slope_passes_where_there_is_a_code():
    fig = figures.straight_through(0.5, -1, 3, -3.0, 3.5)  # codes -4 to 3, half a code further on either side
    x, slope = np.asarray(fig.data[1].x), line(fig, "straight-through slope")
    passing = (x >= -1.75) & (x <= 2.25)  # a half goes to the even code: both ends are inside
    far = np.abs(x[:, None] - [-1.75, 2.25]).min(axis=1) > 1e-5
    assert (slope == passing)[far].all() and "from -1.75 to 2.25" in theme.title(fig)
    assert len(np.unique(line(fig, "fake-quantised x"))) == 8


def test_paired_counts_the_clear_intervals():
    table = pd.DataFrame(dict(difference=[1.0, -2, 0], low=[0.5, -3, -1], high=[1.5, -1, 1]), index=["p", "q", "r"])
    fig = figures.paired(table.astype(object).assign(verdict=""), "points")
    assert theme.title(fig).startswith("2 of 3 intervals leave out 0")
    assert list(fig.data[0].y) == ["p", "q", "r"] and fig.data[0].error_x.array == pytest.approx([0.5, 1, 1])


def test_group_sizes_sets_the_dearest_group_beside_its_best_rival():
    table = pd.DataFrame(
        [
            ("g", "of 8", 6.0, 22.0),
            ("g", "of 16", 5.0, 21.0),
            ("row", "5 bits", 5.3, 25.0),
            ("row", "6 bits", 6.3, 31.0),
        ],
        columns=["way", "name", "bits_per_weight", "sqnr_db"],
    )
    fig = figures.group_sizes(table)
    told = theme.title(fig)
    assert told == "of 8: 22.0 dB for 6.00 bits a weight; 5 bits: 25.0 dB for 5.30 bits a weight"
    assert theme.title(figures.group_sizes(table[:2])) == "of 8: 22.0 dB for 6.00 bits a weight"
    assert line(fig, "g").tolist() == [21, 22]


def test_the_panel_chooses_as_the_library_does():
    digits, model = data.load("digits"), models.mlp((64, 16, 10), seed=0)
    training.fit(model, digits, epochs=3)
    costs = bit_costs(model, digits.val, (2, 3, 8))
    choices = all_choices(model, costs, digits.test)
    panel = budget_explorer(costs, choices)
    slider = panel.controls["budget"]
    for budget in (slider.min, 500, slider.max):
        panel.set(budget=budget)
        bits = choose_bits(costs, budget)
        row = choices.loc[panel.tried[budget]]
        assert {name: row[name] for name in bits} == bits and row.bytes <= budget
        assert line(panel.figure, "bits").tolist() == list(bits.values())
        assert line(panel.figure, "chosen").tolist() == [100 * row.accuracy]
        assert f"{100 * row.accuracy:.1f} % right" in theme.title(panel.figure)
    assert panel.figure.layout.xaxis.ticktext == ("1", "3")  # names, evenly spaced
    uniform = choices[choices["1"] == choices["3"]].sort_values("bytes")
    assert line(panel.figure, "uniform bits") == pytest.approx(100 * uniform.accuracy.to_numpy())
