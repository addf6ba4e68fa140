"""Records of exercises: what is packed comes back, and a check with a record says what the live one says."""

import json
import math

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from notebooks.records import record

from compresslab.lesson import Exercise, Mistake, RecordedExercise, progress
from compresslab.lesson import exercise as module
from compresslab.lesson.checking import mismatch
from compresslab.lesson.reference import pack, unpack

floats = st.floats(width=32) | st.sampled_from([math.inf, -math.inf, math.nan, 1e-45, 0.1, 16777217.0])
tensors = st.builds(
    lambda values, dtype: torch.tensor(values, dtype=torch.float64).to(dtype),
    st.lists(floats, max_size=5) | st.just([[1.5, 2.0]]) | st.just(0.1),
    st.sampled_from([torch.float64, torch.float32, torch.float16]),
) | st.builds(torch.tensor, st.just([[1, -2]]) | st.just([True, False]) | st.just(7))
leaves = tensors | st.integers() | st.floats() | st.booleans() | st.none() | st.text()
nests = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))


def same(a, b):
    """Equal to the last bit; one NaN is like another."""
    if isinstance(a, torch.Tensor):
        same_sign = torch.equal(a.signbit() & ~a.isnan(), b.signbit() & ~b.isnan())  # -0.0 is not 0.0
        return a.dtype == b.dtype and same_sign and np.array_equal(a, b, equal_nan=a.is_floating_point())
    if isinstance(a, (list, tuple)):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return type(a) is type(b) and (a == b or (a != a and b != b))


@given(nests)
def test_what_is_packed_comes_back(nest):
    assert same(nest, unpack(json.loads(json.dumps(pack(nest)))))


def test_tuples_become_lists_and_numbers_of_numpy_pythons():
    assert unpack(pack((1, np.float32(0.5), np.int64(3)))) == [1, 0.5, 3]
    back = unpack(pack((torch.ones(2), 1.0)))
    assert mismatch((torch.ones(2), 1), back) == ""  # for the check it is the same
    with pytest.raises(TypeError, match="nest must hold tensors, numbers and texts, got ndarray"):
        pack(np.ones(2))


# --- a check in stages, live and recorded


def double(x):
    return 2 * x


def first_stage(fn):
    return [fn(torch.tensor([1.0, 2.0])), fn(torch.tensor([0.0, 3.0]))]


def second_stage(fn):
    return fn(fn(torch.tensor([-1.0, 0.5])))


def breaks_on_negative(x):
    if (x < 0).any():
        raise RuntimeError
    return x**2


LIVE = Exercise(
    key="0/double",
    title="Double",
    solution=double,
    trial=(first_stage, second_stage),
    expected=lambda: [stage(lambda x: x + x) for stage in (first_stage, second_stage)],
    mistakes=(
        Mistake("This squares.", breaks_on_negative),  # in the second stage it would stop the check
        Mistake("This is right for positive numbers only.", lambda x: 2 * x.abs()),
        Mistake("This is one number.", lambda x: 2 * x.sum()),
        Mistake("This adds 1.", lambda x: x + 1),
    ),
    hints=("Twice.",),
)


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RECORDS", tmp_path)
    (tmp_path / "0-double.json").write_text(json.dumps(record(LIVE)))
    return RecordedExercise(key=LIVE.key, title=LIVE.title, trial=LIVE.trial, hints=LIVE.hints)


def stub(x):
    raise NotImplementedError("write your own")


def in_place(x):
    return x.mul_(2)


@pytest.mark.parametrize(
    ("fn", "status", "words"),
    [
        (double, "solved", "Same numbers"),
        (lambda x: x + x, "solved", "Same numbers"),
        (stub, "todo", "Write the function"),
        (lambda x: x * x, "wrong", "This squares."),
        (lambda x: x.abs() * 2, "wrong", "positive numbers only"),
        (lambda x: (2 * x).sum(), "wrong", "This is one number."),
        (lambda x: x.double() + 1, "wrong", "This adds 1."),  # of another dtype, and yet told by its name
        (lambda x: 3 * x, "wrong", "Call 1: result[0] is 3, expected 2."),
        (lambda x: torch.where(x == 3, 7.0, 2 * x), "wrong", "Call 2: result[1] is 7, expected 6."),
        (lambda x: None, "wrong", "returned None"),
        (lambda x: (x, x), "wrong", "Call 1: result is a tuple, expected a tensor of shape (2,)."),
        (in_place, "wrong", "changed its argument x in place"),
        (lambda y: 2 * y, "wrong", "must take the parameters (x); yours lacks x and also asks for y."),
        (lambda x: x / [], "wrong", "TypeError"),
    ],
)
def test_a_recorded_check_says_what_the_live_one_says(recorded, fn, status, words):
    report = recorded.check(fn)
    assert (report.status, words in report.sentence) == (status, True)
    live = LIVE.check(fn)
    assert (report.sentence, report.code) == (live.sentence, live.code)
    assert ("0/double" in progress.load()[0]["solved"]) == (status == "solved")


def test_a_recorded_exercise_has_hints_and_a_teacher_but_no_solution(recorded, page):
    report = recorded.check(stub)
    assert "Help: hint(1) to hint(1) of this exercise." in repr(report)
    text = page(report._repr_html_()).text
    assert "Twice." in text and "Your teacher has the solution." in text and "Show the" not in text
    assert recorded.source() == "" and recorded.solution is None and recorded.mistakes == ()
