"""The board: every number against plain torch, a clock under control, and brute force for the choice."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from capstone import files
from hypothesis import given, settings
from hypothesis import strategies as st

from compresslab.capstone import board
from compresslab.capstone.task import Budget
from compresslab.intervals import paired_shares, wilson_interval
from compresslab.runtimes.onnx_run import OnnxSession

X, Y = files.DIGITS.val
BUDGET = Budget(kb=60, speedup=2.5, drop=1.5, batch=16)


class Clock:
    """Seconds that pass only when something is done that takes time."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Way:
    """Answers as `table` says, image by image, and takes `seconds` a call."""

    def __init__(self, clock, seconds, right):
        self.clock, self.seconds, self.right = clock, seconds, right

    def __call__(self, x):
        self.clock.now += self.seconds
        index = [int((X == image).flatten(1).all(1).nonzero()[0, 0]) for image in x]
        answers = torch.where(self.right[index], Y[index], (Y[index] + 1) % 10)
        return torch.nn.functional.one_hot(answers, 10).float()


def board_of(clock, **ways):
    attempts = {name: board.Attempt("family", b"x" * 2000, way, 1.0) for name, way in ways.items()}
    return board.board(attempts, (X, Y), BUDGET, rounds=6, warmup=0, clock=clock).set_index("name")


def test_an_attempt_counts_the_work_and_that_of_the_attempt_before():
    clock, file = Clock(), files.network(8)

    def make():
        clock.now += 2.5
        return file

    first = board.attempt("a", make, clock=clock)
    assert (first.family, first.file, first.cpu_seconds) == ("a", file, 2.5)
    x = files.DIGITS.val.x[:5]
    assert torch.equal(first.run(x), OnnxSession(file)(x))
    way = torch.nn.Identity()
    second = board.attempt("b", lambda: (b"packed", way), first, clock)
    assert (second.file, second.run, second.cpu_seconds) == (b"packed", way, 2.5)
    third = board.attempt("b", make, first, clock)
    assert third.cpu_seconds == 5.0


def test_an_attempt_counts_the_processor_and_no_waiting():
    """Asleep for a tenth of a second is less work than a thousandth of it."""
    import time

    waited = board.attempt("a", lambda: (b"", time.sleep(0.1) or torch.nn.Identity()))
    assert waited.cpu_seconds < 0.05


@pytest.mark.parametrize("made", [None, "text", torch.zeros(2), (b"file",), (b"file", 3), ("a", "b")])
def test_an_attempt_without_a_file_is_refused(made):
    with pytest.raises(ValueError, match="make must give the bytes of a file, or a pair"):
        board.attempt("a", lambda: made)


def test_every_number_of_a_row():
    clock, n = Clock(), len(Y)
    before, after = torch.arange(n) >= 7, torch.arange(n) >= 9
    after[:3] = True  # lost: 7 and 8; won: 0, 1, 2
    table = board_of(clock, old=Way(clock, 0.006, before), new=Way(clock, 0.002, after))
    row = table.loc["new"]
    assert (row.family, row.kb, row.cpu_seconds) == ("family", 2.0, 1.0)
    assert math.isnan(row.int8_share)  # what no runtime tells
    # the clock is exact, its sums are floats
    assert [row.ms, row.ms_low, row.ms_high] == pytest.approx([2.0] * 3)
    assert [row.speedup, row.speedup_low, row.speedup_high] == pytest.approx([3.0] * 3)
    assert row.accuracy == pytest.approx((n - 6) / n)
    assert (row.accuracy_low, row.accuracy_high) == wilson_interval(n - 6, n)
    expected = [100 * value for value in paired_shares(2, 3, n).values()]
    assert [row.points, row.points_low, row.points_high] == pytest.approx(expected)
    assert row.points > 0 and row.agreement == pytest.approx((n - 5) / n)
    old = table.loc["old"]
    assert (old.speedup, old.points, old.agreement) == (1.0, 0.0, 1.0) and old.points_low < 0 < old.points_high


def test_onnx_files_answer_as_torch_does_and_tell_their_kernels():
    plain = files.network(24)
    attempts = {name: board.attempt("a", lambda f=f: f) for name, f in (("float", plain), ("int8", files.int8(plain)))}
    table = board.board(attempts, (X, Y), BUDGET, rounds=6, warmup=0).set_index("name")
    right = (files.by_torch(X, *files.weights(24)).argmax(1) == Y).float().mean().item()
    assert table.accuracy["float"] == pytest.approx(right)
    assert table.int8_share.tolist() == [0.0, 1.0]
    assert table.kb["int8"] == len(files.int8(plain)) / 1000


def test_no_attempt_is_refused():
    with pytest.raises(ValueError, match="attempts must hold the original first, got none"):
        board.board({}, (X, Y))


# --------------------------------------------------------------------------- what a board tells

quick = settings(max_examples=40)
numbers = st.floats(-6, 3)
row = st.tuples(st.floats(1, 500), st.floats(0.2, 9), numbers, st.floats(0, 2), st.floats(0, 9), st.floats(0.01, 5))


def made(rows):
    """A board of (kb, speedup, points, half a width, CPU seconds, ms)."""
    kb, speedup, points, half, cpu, ms = np.array(rows, float).reshape(-1, 6).T
    ends = dict(speedup_low=speedup - half / 5, speedup_high=speedup + half / 5)
    ends["speedup_low"] = ends["speedup_low"].clip(0.1)
    ends |= dict(points_low=points - half, points_high=points + half)
    names = [f"way {i}" for i in range(len(kb))]
    return pd.DataFrame(dict(name=names, kb=kb, ms=ms, speedup=speedup, points=points, cpu_seconds=cpu, **ends))


def keeps(r):
    return r.kb <= 60 and r.speedup_low >= 2.5 and r.points_low >= -1.5


@quick
@given(st.lists(row, min_size=1, max_size=8))
def test_nothing_is_short_exactly_where_all_verdicts_are_yes(rows):
    table = made(rows)
    short = board.shortfall(table, BUDGET)
    assert (short >= 0).all(axis=None)
    expected = [keeps(r) for r in table.itertuples()]
    assert (short.sum(axis=1) == 0).tolist() == expected
    assert board.verdicts(table, BUDGET).eq("yes").all(axis=1).tolist() == expected


@quick
@given(st.lists(row, min_size=1, max_size=8))
def test_the_nearest_has_the_largest_reserve_of_those_that_keep_the_budget(rows):
    table = made(rows)
    found, kept = board.nearest(table, BUDGET), [r for r in table.itertuples() if keeps(r)]
    if kept:
        best = max(r.points_low for r in kept)
        assert keeps(found) and found.points_low == best
        assert found.kb == min(r.kb for r in kept if r.points_low == best)
    else:
        total = board.shortfall(table, BUDGET).sum(axis=1)
        assert total[found.name] == total.min()


def test_shortfall_in_doublings_and_points():
    table = made([(120, 1.25, -2.0, 1.0, 1, 1), (30, 5, 0, 1.0, 1, 1)]).assign(speedup_low=[1.25, 5])
    assert board.shortfall(table, BUDGET).to_numpy().tolist() == [[1.0, 1.0, 1.5], [0, 0, 0]]


def test_nobody_is_nearest_in_an_empty_board():
    assert board.nearest(made([])) is None


@quick
@given(st.lists(row, max_size=8), st.floats(0, 9))
def test_the_front_is_who_is_beaten_by_nobody_of_equal_work(rows, limit):
    table = made(rows)
    found = board.front(table, BUDGET, limit)
    part = [r for r in table.itertuples() if r.cpu_seconds <= limit and r.points_high >= -1.5]
    names = {
        r.name for r in part if not any(o.kb <= r.kb and o.ms <= r.ms and (o.kb < r.kb or o.ms < r.ms) for o in part)
    }
    assert set(table.name[found]) == names and found.shape == (len(table),)
