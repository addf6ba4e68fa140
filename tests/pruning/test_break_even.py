"""Break-even of CSR, on a machine whose clock we hold: nothing here is really timed."""

import copy
import itertools
import random

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from compresslab import measure, models
from compresslab.lesson import theme
from compresslab.pruning import explorer, figures
from compresslab.pruning.break_even import SPARSITIES, BreakEven, break_even, dense_and_csr
from compresslab.pruning.sparse import CSRLinear, to_csr

TRUTH, STEEPNESS = 0.8, 5.0


@pytest.fixture
def machine(monkeypatch):
    """A computer on which CSR is exp(STEEPNESS (sparsity - TRUTH)) times as fast as dense, up to its noise."""

    class Machine:
        now, noise, calls = 0.0, 0.0, 0
        random = random.Random(0)

        def spend(self, seconds):
            self.now += seconds * (1 + self.noise * self.random.random())
            self.calls += 1

        def clock(self):
            return self.now

    machine = Machine()

    def csr(layer, x):
        sparsity = 1 - len(layer.values) / (layer.in_features * layer.out_features)
        machine.spend(0.01 * len(x) * np.exp(-STEEPNESS * (sparsity - TRUTH)))

    monkeypatch.setattr(nn.Linear, "forward", lambda layer, x: machine.spend(0.01 * len(x)))
    monkeypatch.setattr(CSRLinear, "forward", csr)
    return machine


def test_times_and_speedups_of_a_known_machine(machine):
    frame = dense_and_csr((20, 50), 3, rounds=6, clock=machine.clock)
    assert list(frame) == [
        "outputs", "inputs", "batch", "sparsity", "dense_ms", "csr_ms", "speedup", "speedup_low", "speedup_high",
        "rounds",
    ]  # fmt: skip
    assert frame.sparsity.tolist() == pytest.approx(SPARSITIES)  # 1,000 weights: each share is a whole number of them
    assert (frame[["outputs", "inputs", "batch", "rounds"]] == [20, 50, 3, 6]).all(axis=None)
    expected = np.exp(STEEPNESS * (frame.sparsity - TRUTH))
    # The clock is a sum of about 200 numbers: its differences are right to some 1e-13 of a millisecond.
    assert frame.dense_ms.tolist() == pytest.approx([30] * len(frame), rel=1e-9)
    np.testing.assert_allclose(frame.csr_ms, 30 / expected, rtol=1e-9)
    for key in ("speedup", "speedup_low", "speedup_high"):
        np.testing.assert_allclose(frame[key], expected, rtol=1e-9)
    found = break_even(frame)  # the logarithm of this machine's speedup is a straight line
    assert (found.sparsity, found.low, found.high) == pytest.approx((TRUTH, TRUTH, TRUTH), abs=1e-9)


def test_the_dense_layer_is_timed_once_a_round_beside_all_others(machine):
    dense_and_csr((4, 5), 1, [0.2, 0.4], rounds=7, warmup=0, clock=machine.clock)
    assert machine.calls == 3 * (1 + 7)  # one call finds the length of a block


def test_the_bounds_hold_the_truth_on_a_noisy_machine(machine):
    machine.noise = 1.0  # each call takes up to twice as long
    found = break_even(dense_and_csr((20, 50), 3, rounds=30, clock=machine.clock))
    assert found.low < TRUTH < found.high and found.low < found.sparsity < found.high
    assert found.high - found.low < 0.15  # the speedup's 95 % interval, some +-20 %, over STEEPNESS


def test_the_layers_compute_the_same_product():
    """The real forward methods, a clock that stands for nothing: dense and CSR see the same weights and inputs."""
    seen = []
    clock = itertools.count().__next__

    def record(self, x):
        seen.append((type(self), self, x))
        return x

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Linear, "forward", record)
        patch.setattr(CSRLinear, "forward", record)
        dense_and_csr((6, 8), 2, [0.5, 0.75, 0.0], rounds=6, seed=3, clock=clock)
    x = seen[0][2]
    dense, *others = {id(layer): layer for _, layer, _ in seen}.values()
    assert all(torch.equal(x, other) for _, _, other in seen) and x.shape == (2, 8)
    assert [len(layer.values) for layer in others] == [24, 12, 48]
    for layer in others:
        weight = layer(torch.eye(8)).t()
        assert torch.equal(weight, torch.where(weight != 0, dense.weight, 0.0))


@pytest.mark.parametrize(
    ("speedup", "low", "high", "expected"),
    [
        # log2 of the speedup: -1, 0, 1 at 0.5, 0.7, 0.9; the ends of the intervals a half lower and higher
        ([0.5, 1, 2], 2**-0.5, 2**0.5, BreakEven(0.7, 0.6, 0.8)),
        ([0.5, 1, 2], 2**-0.01, 2**1.5, BreakEven(0.7, 0.0, 0.702)),  # nothing surely slower
        ([0.5, 0.6, 0.7], 0.9, 1.1, BreakEven(None, 0.9, 1.0)),  # never faster
        ([0.5, 0.6, 0.9], 0.9, 2.0, BreakEven(None, 0.0, 1.0)),  # cannot tell
        ([2, 3, 4], 0.9, 1.1, BreakEven(0.5, 0.0, 0.5)),  # always faster
        ([2, 0.5, 2], 0.999, 1.001, BreakEven(0.8, 0.8, 0.8)),  # faster by accident at 0.5: the last crossing counts
    ],
)
def test_break_even_of_hand_made_rows(speedup, low, high, expected):
    speedup = np.array(speedup)
    frame = pd.DataFrame(
        dict(outputs=3, inputs=4, batch=1, sparsity=[0.5, 0.7, 0.9], speedup=speedup,
             speedup_low=speedup * low, speedup_high=speedup * high)
    )  # fmt: skip
    found = break_even(frame.sample(frac=1, random_state=1))  # the rows' order says nothing
    assert (found.sparsity is None) == (expected.sparsity is None)
    if expected.sparsity is not None:
        assert found.sparsity == pytest.approx(expected.sparsity, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=2e-3)
    with pytest.raises(ValueError, match="^table must hold the rows of one size and batch, got 2$"):
        break_even(pd.concat([frame, frame.assign(batch=2)]))
    with pytest.raises(ValueError, match="^table must hold the rows of one size and batch, got 0$"):
        break_even(frame[:0])


def test_bad_input_is_said_in_one_sentence():
    for wrong, sentence in [
        (dict(sparsities=[0.5, 1.0]), r"sparsities must be in \[0, 1\), got 1"),
        (dict(sparsities=[-0.1]), r"sparsities must be in \[0, 1\), got -0.1"),
        (dict(sparsities=[float("nan")]), r"sparsities must be in \[0, 1\), got nan"),
        (dict(sparsities=[]), "sparsities must hold at least one number, got none"),
        (dict(size=(0, 3)), "size must be at least 1, got 0"),
        (dict(batch=0), "batch must be at least 1, got 0"),
        (dict(rounds=5), "rounds must be at least 6, got 5"),
    ]:
        with pytest.raises(ValueError, match=f"^{sentence}$"):
            dense_and_csr(**(dict(size=(2, 3), batch=1, sparsities=[0.5]) | wrong))


def test_it_draws_from_its_seed_alone(machine):
    before = torch.get_rng_state()
    dense_and_csr((4, 5), 1, [0.5], rounds=6, clock=machine.clock)
    assert torch.equal(torch.get_rng_state(), before)


# ------------------------------------------------------------------------------------ pictures and panel


def trace(fig, name):
    return [t for t in fig.data if t.name == name][-1]


def test_the_picture_shows_the_rows_and_where_they_cross(machine):
    machine.noise = 0.5
    frame = pd.concat([dense_and_csr((20, 50), b, rounds=9, clock=machine.clock) for b in (1, 4)])
    one = frame[frame.batch == 4]
    fig, found = figures.break_even(one), break_even(one)
    line = trace(fig, "20 × 50, batch 4")
    assert list(line.x) == pytest.approx(100 * one.sparsity) and list(line.y) == one.speedup.tolist()
    np.testing.assert_allclose(line.y + np.array(line.error_y.array), one.speedup_high)
    np.testing.assert_allclose(line.y - np.array(line.error_y.arrayminus), one.speedup_low)
    (band,) = [s for s in fig.layout.shapes if s.type == "rect"]
    assert (band.x0, band.x1) == (100 * found.low, 100 * found.high)
    said = f"CSR is faster from {found.sparsity:.0%} zeros on ({found.low:.0%} to {found.high:.0%})"
    assert theme.title(fig) == said and f"20 × 50, batch 4: {said}, 9 measured" in theme.alt(fig)
    both = figures.break_even(frame)
    assert len(both.data) == 2 and not [s for s in both.layout.shapes if s.type == "rect"]
    ends = sorted(break_even(rows).sparsity for _, rows in frame.groupby("batch"))
    assert theme.title(both) == f"CSR begins to be faster between {ends[0]:.0%} and {ends[1]:.0%} zeros"
    fast = pd.concat([one, frame[(frame.batch == 1) & (frame.sparsity < 0.75)]])
    assert theme.title(figures.break_even(fast)).endswith("zeros, in 1 of 2 never")
    now = next(one.itertuples())
    live = figures.break_even(frame, now)
    assert theme.title(live).startswith(f"At 50% zeros CSR is {now.speedup:.2g} times as fast as dense")
    assert (*trace(live, "now").x, *trace(live, "now").y) == (50, now.speedup)
    slow = figures.break_even(one[one.sparsity < 0.75])
    assert theme.title(slow) == "CSR is slower at the most zeros that were measured"


def test_the_panel_keeps_what_it_measured(machine):
    machine.noise = 0.5
    panel = explorer.break_even_explorer(clock=machine.clock)
    assert panel.alert.value == "" and list(panel.points) == [((300, 784), 64, 0.9)]
    assert "the only one measured" in panel.caption.value, "one point says nothing about where they cross"
    assert not [s for s in panel.figure.layout.shapes if s.type == "rect"]
    panel.set(sparsity=0.7)
    panel.set(sparsity=0.8, batch=8)
    panel.set(size=(100, 300))
    assert panel.alert.value == "" and len(panel.points) == 4
    assert [t.name for t in panel.figure.data if t.visible is not False] == ["100 × 300, batch 8", "now"]
    panel.set(size=(300, 784), batch=64, sparsity=0.95)
    line = trace(panel.figure, "300 × 784, batch 64")
    assert list(line.x) == pytest.approx([70, 90, 95], abs=0.01)
    rows = [panel.points[(300, 784), 64, s].iloc[0] for s in (0.7, 0.9, 0.95)]
    assert list(line.y) == [row.speedup for row in rows]
    before = list(line.y)
    panel.again.click()
    after = list(trace(panel.figure, "300 × 784, batch 64").y)
    assert after[:2] == before[:2] and after[2] != before[2] and len(panel.points) == 5


def test_the_costs_stand_beside_the_baseline():
    dense = models.mlp(seed=0)
    sparse = copy.deepcopy(dense)
    sparse[1].weight.data[:16] = 0
    x = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    ticks = random.Random(0)
    clock = itertools.accumulate(ticks.uniform(1e-3, 5e-3) for _ in itertools.count()).__next__
    table = measure.compare(dict(dense=dense, csr=to_csr(sparse)), x, (x, torch.arange(8)), rounds=9, clock=clock)
    fig = figures.cost(table)
    assert len(fig.data) == 6
    for bar, key in zip(fig.data, ["parameters", "nonzeros", "macs", "file_bytes", "gzip_bytes"]):
        assert list(bar.y) == ["csr", "dense"]  # from below
        ratio = table[key].astype(float) / table.loc["dense", key]
        np.testing.assert_allclose(np.array(bar.x) + bar.base, [ratio["csr"], 1])
        assert f"{table.loc['csr', key]:,}" in [a.text for a in fig.layout.annotations]
    time = fig.data[5]
    row = table.loc["csr"]
    ends = [row.speedup, row.speedup_low, row.speedup_high]
    assert time.x[0] + 1 == pytest.approx(1 / ends[0])
    assert time.x[0] + 1 + time.error_x.array[0] == pytest.approx(1 / ends[1])
    assert time.x[0] + 1 - time.error_x.arrayminus[0] == pytest.approx(1 / ends[2])
    assert f"{row.latency_ms:.3g}" in [a.text for a in fig.layout.annotations]
    assert f"{row.accuracy:.1%} right" in fig.layout.yaxis.ticktext[0]
    for part in (f"parameters {row.parameters:,}", f"latency (ms) {row.latency_ms:.3g}", f"{row.accuracy_high:.1%}"):
        assert part in theme.alt(fig)
    assert (
        figures.cost(table.drop(columns=["accuracy", "accuracy_low", "accuracy_high"])).layout.yaxis.ticktext[0]
        == "csr"
    )


@pytest.mark.parametrize(
    ("files", "low", "title"),
    [
        ((100, 40), 1.2, "small has the smallest file (0.4 of dense's) and is the fastest (1.5 times as fast)"),
        ((100, 40), 0.9, "small has the smallest file (0.4 of dense's), none is surely faster"),
        ((100, 140), 0.9, "no file is smaller than dense's, none is surely faster"),
    ],
)
def test_the_title_claims_no_more_than_was_measured(files, low, title):
    table = pd.DataFrame(
        dict(parameters=[10, 5], nonzeros=[10, 5], macs=[10, 5], file_bytes=files, gzip_bytes=[9, 8],
             latency_ms=[1.0, 0.7], speedup=[1.0, 1.5], speedup_low=[1.0, low], speedup_high=[1.0, 1.8],
             baseline="dense"),
        index=["dense", "small"],
    )  # fmt: skip
    assert theme.title(figures.cost(table)) == title
    assert theme.title(figures.cost(table.assign(parameters=pd.array([10, None], "Int64")))) == title  # a function
