"""Lesson 61: parity, the decision, its pictures and its panel show what was measured."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch

from compresslab import models
from compresslab.lesson import theme
from compresslab.runtimes import deployment, explorer, figures
from compresslab.runtimes.deployment import choose, decision_table, fits, margins, parity, speed


def test_parity_is_the_worst_score_as_a_share_of_the_largest():
    reference = torch.tensor([[1.0, -4.0], [2.0, 0.5]])
    found = parity(reference, reference + torch.tensor([[0.0, -0.2], [0.1, 0.0]]))
    assert found["difference"] == pytest.approx(0.2) and found["error"] == pytest.approx(0.05)
    assert found["agreement"] == 1 and found["agreement_low"] == pytest.approx(0.342, abs=1e-3)  # Wilson, 2 of 2
    assert parity(reference, -reference)["agreement"] == 0


def test_nan_passes_no_parity():
    reference = torch.ones(3, 2)
    broken = reference.clone()
    broken[1, 1] = torch.nan
    assert not parity(reference, broken)["error"] <= 1e9
    with pytest.raises(ValueError, match=r"both have the shape \(n, classes\), got \(3, 2\) and \(2, 2\)"):
        parity(reference, broken[:2])


def test_within_half_the_margin_no_answer_changes():
    scores = torch.randn(200, 10, generator=torch.Generator().manual_seed(0))
    moved = scores + 0.1 * (2 * torch.rand(200, 10, generator=torch.Generator().manual_seed(1)) - 1)
    safe = margins(scores) > 0.2
    assert 0 < safe.sum() < 200
    assert torch.equal(moved.argmax(1)[safe], scores.argmax(1)[safe])


class Session:
    """Scores times a factor; each call takes `seconds` by the clock below."""

    def __init__(self, model, clock, seconds, file_bytes):
        self.model, self.clock, self.seconds, self.file_bytes = model, clock, seconds, file_bytes

    def __call__(self, x):
        self.clock.now += self.seconds * len(x)
        return self.model(x) * 1.01


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_decision_table_reports_what_each_way_does():
    clock, model = Clock(), models.mlp(seed=0).eval()
    x = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    ways = {"slow": Session(model, clock, 0.02, 3000), "quick": Session(model, clock, 0.01, 2000)}
    split = x, model(x).argmax(1)
    table = decision_table(model, {1: ways, 4: ways}, split, "slow", rounds=6, clock=clock)
    assert table[["way", "batch"]].values.tolist() == [["slow", 1], ["quick", 1], ["slow", 4], ["quick", 4]]
    assert table.kb.tolist() == [3, 2, 3, 2] and (table.accuracy == 1).all() and (table.agreement == 1).all()
    np.testing.assert_allclose(table.error, 0.01, rtol=1e-4)
    np.testing.assert_allclose(table.ms, [20, 10, 80, 40], rtol=1e-6)
    np.testing.assert_allclose(table.speedup, [1, 2, 1, 2], rtol=1e-6)
    assert table.verdict.tolist() == ["baseline", "faster"] * 2
    with pytest.raises(ValueError, match="baseline must be one of slow, quick, got 'fast'"):
        decision_table(model, {1: ways}, split, "fast")


def test_speed_needs_a_settled_interval():
    base = np.ones(10)
    assert speed(base, base / 2)["verdict"] == "faster" and speed(base, 2 * base)["verdict"] == "slower"
    assert speed(base, np.where(np.arange(10) % 2, 0.5, 2.0))["verdict"] == "not settled"


@pytest.fixture
def table():
    rows = [("a", 1, 500.0, 1.0), ("b", 1, 100.0, 1.1), ("c", 1, 90.0, 3.0), ("d", 1, 600.0, 5.0)]
    rows += [(way, 64, kb, 10 * ms) for way, _, kb, ms in rows[::-1]]
    table = pd.DataFrame(rows, columns=["way", "batch", "kb", "ms"])
    table["ms_low"], table["ms_high"] = 0.9 * table.ms, 1.2 * table.ms
    table["speedup"] = 1 / table.ms
    table["speedup_low"], table["speedup_high"] = 0.9 * table.speedup, 1.1 * table.speedup
    table["agreement"], table["agreement_low"] = 0.99, [0.98, 0.97, 0.95, 0.99] * 2
    return table


def test_a_budget_is_kept_by_the_unfavourable_end(table):
    one = table[table.batch == 1]
    assert one.way[fits(one)].tolist() == list("abcd")
    assert one.way[fits(one, ms=1.25)].tolist() == ["a"]  # b takes 1.1, but perhaps 1.32
    assert one.way[fits(one, kb=500, agreement=0.97)].tolist() == ["a", "b"]


def test_of_those_that_may_be_fastest_the_smallest(table):
    one = table[table.batch == 1]
    assert choose(one).way == "b"  # 0.82 to 1.0 times as fast meets 0.9 to 1.1
    assert choose(one[one.way != "b"]).way == "a" and choose(one, "smallest").way == "c"
    assert choose(one[:0]) is None
    with pytest.raises(ValueError, match="prefer must be one of fastest, smallest, got 'best'"):
        choose(one, "best")


def test_a_disturbed_baseline_does_not_hide_the_fastest(table):
    one = table[table.batch == 1].copy()
    one["ms_low"], one["ms_high"] = 0.98 * one.ms, 1.02 * one.ms
    one["speedup_low"], one["speedup_high"] = 0.3 * one.speedup, 3 * one.speedup  # all of them overlap
    assert choose(one).way == "a"


def test_the_panel_shows_what_remains(table):
    panel = explorer.budget_explorer(table)
    assert theme.title(panel.figure).startswith("4 of 4 remain; ship b: 100 kB, 1.1 ms")
    panel.set(prefer="smallest")
    assert "ship c: 90 kB" in theme.title(panel.figure)
    panel.set(batch=64, kb=95.0)
    assert theme.title(panel.figure).startswith("1 of 4 remain; ship c: 90 kB, 30 ms")
    (ring,) = [trace for trace in panel.figure.data if trace.name == "the choice"]
    assert list(ring.x) == [90] and list(ring.y) == [30]
    shapes = {trace.name: trace.marker.symbol for trace in panel.figure.data if len(trace.name) == 1}
    assert [name for name, symbol in shapes.items() if not symbol.endswith("-open")] == ["c"]
    panel.set(agreement=100.0)
    assert theme.title(panel.figure) == "0 of 4 remain" and panel.alert.value == ""


def test_errors_by_input_counts_the_files_that_pass():
    pairs = itertools.product(["p", "q"], ["black", "noise"])
    rows = [dict(way=way, input=kind, error=e) for (way, kind), e in zip(pairs, [1e-7, 1e-6, 1e-3, 0.5])]
    fig = figures.errors_by_input(pd.DataFrame(rows), 1e-5)
    assert theme.title(fig) == "1 of 2 files pass on every input; the worst error, 0.5: q on noise"
    assert "p: black 1e-07, noise 1e-06" in theme.alt(fig)


def test_half_errors_tells_the_bound_and_the_small_ones():
    table = pd.DataFrame(dict(power=[-20, -10, -3], weights=[1, 5, 9], error=[0.02, 4e-4, 4.8e-4]))
    fig = figures.half_errors(table)
    assert "at most 0.00048" in theme.title(fig) and "2^-20 0.02 (1)" in theme.alt(fig)
    assert [list(trace.x) for trace in fig.data] == [[-10, -3], [-20]]


def test_against_float_counts_verdicts():
    ends = dict(speedup=2.0, speedup_low=1.5, speedup_high=2.5, verdict="faster")
    table = pd.DataFrame([dict(network=n, way=w) | ends for n in ("m", "n") for w in ("x", "y")])
    table.loc[3, ["speedup", "verdict"]] = 0.5, "slower"
    fig = figures.against_float(table)
    assert theme.title(fig) == "Against float32 in the same runtime: 3 faster, 1 slower"
    assert list(fig.data[0].y) == [-0.1, 0.9] and list(fig.layout.yaxis.ticktext) == ["x", "y"]


def test_first_calls_divides_by_the_later_ones():
    fig = figures.first_calls({"a": np.array([10.0, 1.0, 2.0, 1.0])})
    assert theme.title(fig) == "First call / median of the later ones: a 10.0"
    assert list(fig.data[0].x) == [1, 2, 3, 4]


def test_preferences_are_those_of_the_panel(table):
    assert explorer.budget_explorer(table).controls["prefer"].options == deployment.PREFER
