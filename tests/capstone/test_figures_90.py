"""Pictures and panel of lesson 90: they show the numbers of the board, and say who keeps the budget."""

import numpy as np
import pandas as pd
import pytest

from compresslab.capstone import board, explorer, figures
from compresslab.capstone.task import Budget
from compresslab.lesson import theme

BUDGET = Budget(kb=60, speedup=2.5, drop=1.5)


@pytest.fixture
def table():
    """The original; one that keeps the budget; one too large; one not settled; one of much work."""
    rows = [
        ("original", 600.0, 1.0, 0.0, 0.0),
        ("good", 50.0, 4.0, -0.2, 2.0),
        ("large", 150.0, 3.0, 0.0, 1.5),
        ("unsure", 20.0, 5.0, -1.0, 0.8),
        ("dear", 40.0, 5.0, 0.0, 7.0),
    ]
    made = pd.DataFrame(rows, columns=["name", "kb", "speedup", "points", "cpu_seconds"])
    made = made.assign(ms=1 / made.speedup, speedup_low=made.speedup - 0.2, speedup_high=made.speedup + 0.3)
    return made.assign(points_low=made.points - 1, points_high=made.points + 1.1)


def trace(fig, name):
    return [t for t in fig.data if t.name == name][-1]


def test_equal_work_stands_in_one_block(table):
    fig = figures.by_work(table, BUDGET)
    assert theme.title(fig) == "2 of 5 keep the whole budget: good, dear"
    assert list(fig.layout.yaxis.ticktext) == ["original", "unsure", "large", "good", "dear"]
    assert list(fig.layout.yaxis.tickvals) == [0, 1, 3, 4, 6]  # 1, 2, and 8 CPU seconds
    assert [a.text for a in fig.layout.annotations if "CPU" in a.text] == ["≤ 1 CPU s", "≤ 2 CPU s", "≤ 8 CPU s"]
    assert "good, 2.0 CPU s: 50 kB, 4.00 times (3.80 to 4.30), -0.2 points (-1.2 to +0.9)" in theme.alt(fig)
    columns = {"x": ("kb", BUDGET.kb), "x2": ("speedup", BUDGET.speedup), "x3": ("points", -BUDGET.drop)}
    for axis, (column, limit) in columns.items():
        pairs = [pair for t in fig.data if (t.xaxis or "x") == axis for pair in zip(t.y, t.x)]
        shown = {y: x for y, x in pairs if x is not None}
        names = dict(zip(fig.layout.yaxis.tickvals, fig.layout.yaxis.ticktext))
        assert {names[y]: x for y, x in shown.items()} == dict(zip(table.name, table[column]))
        assert limit in [line.x0 for line in fig.layout.shapes if line.xref == axis]
    points = {t.name: t for t in fig.data if t.xaxis == "x3"}["keeps this promise"]
    assert points.error_x.array == pytest.approx([1.1] * 4) and points.error_x.arrayminus == pytest.approx([1.0] * 4)


def test_every_word_is_in_the_legend_and_has_a_look_of_its_own(table):
    fig = figures.by_work(table.iloc[:1], BUDGET)
    told = [t.name for t in fig.data if t.showlegend is not False]
    assert told == ["keeps this promise", "not settled", "does not keep it"]  # one promise a column
    assert len({look["symbol"] for look in figures.LOOKS.values()}) == len(figures.LOOKS)


def test_overall_is_as_strict_as_its_weakest_answer(table):
    assert figures.overall(table, BUDGET) == ["no", "yes", "no", "not settled", "yes"]


def test_the_map_marks_budget_front_and_choice(table):
    front = board.front(table, BUDGET, 2.0)
    fig = figures.size_and_time(table, front, BUDGET, 2.0, "A title", "good")
    assert trace(fig, "Pareto front").x.tolist() == [20.0] and list(trace(fig, "Pareto front").text) == ["  unsure"]
    for look, names in {
        "keeps the budget": ["good"],
        "not settled": ["unsure"],
        "does not keep it": ["original", "large"],
        "too much work": ["dear"],
    }.items():
        assert list(trace(fig, look).text) == names
    assert trace(fig, "keeps the budget").x.tolist() == [50.0] and trace(fig, "keeps the budget").y.tolist() == [0.25]
    assert trace(fig, "choice or nearest").x.tolist() == [50.0]
    assert [shape.x0 for shape in fig.layout.shapes][0] == 60 and fig.layout.shapes[1].y0 == pytest.approx(1 / 2.5)
    assert "dear: 40 kB, 0.2 ms, too much work" in theme.alt(fig) and "On the front: unsure." in theme.alt(fig)


def test_two_sets_stand_side_by_side(table):
    test = table.assign(points=table.points - 0.5, points_low=table.points_low - 0.5)
    fig = figures.two_sets(table, test, "good", BUDGET)
    assert theme.title(fig) == "good: -0.2 points on validation, -0.7 on test"
    order = ["unsure", "good", "large", "dear"]  # by validation, without the original
    assert [text.strip("</b>") for text in fig.layout.yaxis.ticktext] == order
    assert trace(fig, "validation").x.tolist() == [-1.0, -0.2, 0.0, 0.0]
    assert trace(fig, "test").x == pytest.approx(np.array([-1.5, -0.7, -0.5, -0.5]))
    assert "good: -0.2, then -0.7 (-1.7 to +0.9)" in theme.alt(fig)


@pytest.mark.parametrize(
    "wish, words",
    [
        (dict(), "2 of 5 keep the budget; hand in dear"),
        (dict(cpu_seconds=3.0), "1 of 4 keeps the budget; hand in good"),
        (
            dict(cpu_seconds=1.0),
            "None of 2 keeps the budget. Nearest: unsure; what it lacks most: answers (-1.0 points",
        ),
        (
            dict(cpu_seconds=0.0),
            "None of 1 keeps the budget. Nearest: original; what it lacks most: size (600 kB of 60",
        ),
        (dict(speedup=9.0), "None of 5 keeps the budget. Nearest: dear; what it lacks most: speed (5.00 times"),
        (dict(drop=3.0, cpu_seconds=1.0), "1 of 2 keeps the budget; hand in unsure"),
        (dict(kb=300.0, cpu_seconds=2.0), "2 of 4 keep the budget; hand in large"),
    ],
)
def test_the_panel_names_the_choice_or_what_is_missing_most(table, wish, words):
    panel = explorer.board_explorer(table, BUDGET)
    panel.set(**wish)
    assert theme.title(panel.figure).startswith(words)
    assert panel.alert.value == ""
