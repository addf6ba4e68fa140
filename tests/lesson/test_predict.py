"""Predictions: asked, locked, kept, measured."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compresslab.lesson import predict, progress, theme
from compresslab.lesson.predict import Question

NUMBER = dict(low=0.01, high=10.0, log=True)
LIMIT = ("10/lr-limit", "What is the largest learning rate that converges?")


def test_choose_lock_measure(shown, page):
    prediction = predict(*LIMIT, **NUMBER)
    assert prediction.locked is None and not prediction.choice.disabled
    assert prediction.choice.value == pytest.approx(math.sqrt(0.01 * 10))  # the middle of the scale
    prediction.choice.value = 0.5
    prediction.button.click()
    assert prediction.locked == 0.5 and prediction.choice.disabled
    assert "Locked: 0.5." in page(prediction.line.value).text
    prediction.measure(0.2, because="The limit is 2 / λmax.")
    (figure, _), (caption, _), (why, _) = shown
    assert caption["text/plain"] == "You predicted 0.5; measured: 0.2. Too high by a factor of 2.5."
    assert why["text/plain"] == "The limit is 2 / λmax."
    data = figure["application/vnd.plotly.v1+json"]["data"]
    assert {trace["name"]: trace["x"] for trace in data} == {"predicted": [0.5], "measured": [0.2]}


def test_a_locked_prediction_survives_running_the_cell_again():
    first = predict(*LIMIT, **NUMBER)
    first.choice.value = 0.5
    first.lock()
    again = predict(*LIMIT, **NUMBER)
    assert again.locked == again.choice.value == 0.5 and again.choice.disabled
    again.button.click()
    assert again.locked is None and not again.choice.disabled
    assert predict(*LIMIT, **NUMBER).locked is None


def test_a_kept_answer_that_the_question_no_longer_allows_is_ignored():
    progress.record("locked", LIMIT[0], 50.0)
    assert predict(*LIMIT, **NUMBER).locked is None
    progress.record("locked", LIMIT[0], "Adam")
    assert predict(*LIMIT, **NUMBER).locked is None
    assert predict(*LIMIT, options=["SGD", "momentum"]).locked is None
    assert predict(*LIMIT, options=["SGD", "Adam"]).locked == "Adam"


def test_without_a_lock_the_notebook_runs_on(shown):
    predict(*LIMIT, **NUMBER).measure(0.2, low=0.1, high=0.3)
    assert [data["text/plain"] for data, _ in shown] == ["No prediction locked. Measured: 0.2 (0.1 to 0.3)."]


def test_large_numbers_have_no_exponent():
    question = Question("k", "?", low=1, high=65536, log=True, unit="numbers")
    assert question.verdict(None, 1024, 999, 1050.4).endswith("Measured: 1,024 numbers (999 to 1,050).")


def test_options(shown, page):
    prediction = predict("10/first", "Which is first?", options=["SGD", "Adam <3"])
    assert prediction.choice.value is None  # nothing is suggested
    prediction.lock()
    assert prediction.locked is None and "Choose an answer first." in page(prediction.line.value).text
    prediction.choice.value = "Adam <3"
    prediction.lock()
    prediction.measure("SGD", because="No curvature here.")
    prediction.measure("Adam <3")
    assert [data["text/plain"] for data, _ in shown] == [
        "Not this time. You predicted Adam <3; measured: SGD. No curvature here.",
        "Right. You predicted Adam <3; measured: Adam <3.",
    ]
    with pytest.raises(ValueError, match="value must be one of SGD, Adam <3, got RMSprop"):
        prediction.measure("RMSprop")


def test_a_disk_that_takes_nothing_is_told_in_the_panel(monkeypatch):
    progress.home().write_text("not a folder")
    prediction = predict(*LIMIT, **NUMBER)
    prediction.lock()
    assert "kept only until this notebook closes" in prediction.line.value and prediction.locked
    assert predict(*LIMIT, **NUMBER).locked == prediction.locked


@pytest.mark.parametrize(
    ("answer", "value", "interval", "end"),
    [
        (3.0, 5.0, (), "Too low by 2 steps."),
        (5.5, 5.0, (), "Too high by 0.5 steps."),
        (5.0, 5.0, (), "measured: 5 steps."),
        (4.0, 5.0, (4.0, 6.0), "measured: 5 steps (4 to 6)."),
        (3.9, 5.0, (4.0, 6.0), "Too low by 1.1 steps."),
    ],
)
def test_the_verdict_on_a_linear_scale(answer, value, interval, end):
    told = Question("k", "?", low=0, high=9, unit="steps").verdict(answer, value, *interval)
    assert told.endswith(end)
    assert told.startswith("Right.") == (not end.startswith("Too"))


ends = st.floats(-4, 2).map(lambda x: 10**x)


@given(ends, ends, ends, st.booleans())
def test_the_number_line_shows_both_points_inside_its_range(answer, value, spread, log):
    low, high = value / (1 + spread), value * (1 + spread)
    fig = Question("k", "?", low=1e-4, high=100, log=log).gap(answer, value, low, high)
    left, right = fig.layout.xaxis.range
    scale = math.log10 if log else float
    for trace, x in zip(fig.data, (answer, value)):
        assert trace.x == (x,)
        assert left < scale(x) < right
    error = fig.data[1].error_x
    assert value + error.array[0] == pytest.approx(high)
    assert value - error.arrayminus[0] == pytest.approx(low)
    assert left < scale(low) and scale(high) < right
    assert f"{answer:.3g}" in theme.alt(fig) and f"{value:.3g}" in theme.alt(fig)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (dict(options=["a"]), r"options must hold at least two different answers, got \['a'\]"),
        (dict(options=["a", "a"]), "options must hold at least two different answers"),
        (dict(), "low must be less than high, got low=None, high=None"),
        (dict(low=2, high=1), "low must be less than high, got low=2, high=1"),
        (dict(low=0, high=1, log=True), "low must be positive on a logarithmic scale, got 0"),
    ],
)
def test_bad_questions(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        predict("k", "?", **wrong)


def test_the_question_is_escaped_and_has_a_text_twin(page):
    prediction = predict("k", "Is 1 < 2 & 3?", low=0, high=1, unit="%")
    assert page(prediction.children[0].value).text == "Predict. Is 1 < 2 & 3?"
    assert prediction._repr_mimebundle_()["text/plain"] == "Predict. Is 1 < 2 & 3?"
    assert prediction.choice.description == "Your answer (%)"
