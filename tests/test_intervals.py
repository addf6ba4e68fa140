import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from compresslab import intervals


@given(n=st.integers(6, 200) | st.sampled_from([1023, 1024, 3000]), confidence=st.sampled_from([0.8, 0.9, 0.95]))
def test_the_interval_of_the_median_against_the_binomial_distribution(n, confidence):
    values = list(range(1, n + 1))  # the k-th smallest is k
    random.Random(n).shuffle(values)
    median, low, high = intervals.median_interval(values, confidence)
    k = int(low)
    assert median == (n + 1) / 2 and high == n + 1 - k
    assert 1 - 2 * stats.binom.cdf(k - 1, n, 0.5) >= confidence - 1e-12
    assert 1 - 2 * stats.binom.cdf(k, n, 0.5) < confidence  # a tighter pair would not do


def test_the_interval_of_the_median_holds_it_as_often_as_it_says():
    draws = np.random.default_rng(0).exponential(size=(4000, 30))
    bounds = np.array([intervals.median_interval(row) for row in draws])
    share = np.mean((bounds[:, 1] <= np.log(2)) & (np.log(2) <= bounds[:, 2]))
    exact = 1 - 2 * stats.binom.cdf(9, 30, 0.5)  # the 10th smallest to the 10th largest of 30
    assert exact == pytest.approx(0.957, abs=1e-3)
    assert share == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 4000))  # four standard errors


@given(data=st.data(), n=st.integers(1, 10_000), confidence=st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_wilson_against_scipy(data, n, confidence):
    correct = data.draw(st.one_of(st.integers(0, n), st.sampled_from([0, n])))
    theirs = stats.binomtest(correct, n).proportion_ci(confidence, method="wilson")
    # Both are a few operations on numbers up to 1: some units of 1e-16 apart, more where two terms cancel.
    assert intervals.wilson_interval(correct, n, confidence) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20).filter(lambda v: np.std(v) > 1e-6))
def test_mean_interval_equals_scipy(values):
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    mean, low, high = intervals.mean_interval(values)
    assert (mean, low, high) == pytest.approx((np.mean(values), *interval), rel=1e-9, abs=1e-9)


@given(st.lists(st.tuples(st.floats(-10, 10), st.floats(-10, 10)), min_size=3, max_size=9))
def test_paired_difference_equals_scipy(pairs):
    first, second = np.array(pairs).T
    if np.std(first - second) < 1e-6:
        return  # scipy warns of an interval of width 0
    expected = stats.ttest_rel(first, second).confidence_interval(0.95)
    found = intervals.paired_difference(first, second)
    assert (found["low"], found["high"]) == pytest.approx(tuple(expected), rel=1e-9, abs=1e-9)
    assert found["difference"] == pytest.approx((first - second).mean(), abs=1e-12)


@pytest.mark.parametrize(
    "second, verdict", [([0, 0.1, 0.2], "higher"), ([2, 2.1, 2.2], "lower"), ([0, 3, 0.5], "not settled")]
)
def test_compared_settles_only_what_excludes_0(second, verdict):
    first = [1, 1.2, 1.1]
    found = intervals.compared(first, second)
    assert found == intervals.paired_difference(first, second) | dict(verdict=verdict)
    assert (found["low"] > 0 or found["high"] < 0) == (verdict != "not settled")


@given(data=st.data(), n=st.integers(1, 2000))
def test_paired_shares_against_the_mean_of_signs(data, n):
    """Wald's interval of n + 2 numbers: 1 where won, -1 where lost (each once more than counted), else 0."""
    lost = data.draw(st.integers(0, n))
    won = data.draw(st.integers(0, n - lost))
    signs = np.repeat([1.0, -1.0, 0.0], [won + 1, lost + 1, n - lost - won])
    half = stats.norm.ppf(0.975) * signs.std() / np.sqrt(n + 2)
    found = intervals.paired_shares(lost, won, n)
    assert found["difference"] == (won - lost) / n
    expected = max(-1, signs.mean() - half), min(1, signs.mean() + half)
    assert (found["low"], found["high"]) == pytest.approx(expected, abs=1e-12)


def test_paired_answers_count_what_changed():
    before, after = np.array([1, 1, 1, 0, 0], bool), np.array([1, 0, 0, 1, 0], bool)
    assert intervals.paired_answers(before, after) == intervals.paired_shares(lost=2, won=1, n=5)


@pytest.mark.parametrize("lost, won", [(0.0, 0.0), (0.005, 0.005), (0.015, 0.0), (0.02, 0.005), (0.05, 0.05)])
def test_paired_shares_hold_the_true_difference_as_often_as_they_say(lost, won):
    """Every outcome of n images, with its probability: a share of 94 % at least, for an interval that is not exact."""
    n = 359
    a, b = (grid.ravel() for grid in np.meshgrid(np.arange(60), np.arange(60)))
    chances = stats.multinomial.pmf(np.stack([a, b, n - a - b], 1), n, [lost, won, 1 - lost - won])
    ends = [intervals.paired_shares(int(i), int(j), n) for i, j in zip(a, b)]
    held = [found["low"] <= won - lost <= found["high"] for found in ends]
    assert chances.sum() > 0.9999 and chances[held].sum() > 0.94


@pytest.mark.parametrize(
    "call, sentence",
    [
        (
            lambda: intervals.wilson_interval(3, 2),
            r"correct must be in 0\.\.n with n at least 1, got correct=3, n=2",
        ),
        (
            lambda: intervals.wilson_interval(0, 0),
            r"correct must be in 0\.\.n with n at least 1, got correct=0, n=0",
        ),
        (
            lambda: intervals.wilson_interval(1, 2, confidence=95),
            r"confidence must be in \(0, 1\), got 95",
        ),
        (
            lambda: intervals.median_interval([1, 2, 3, 4, 5]),
            "values must hold at least 6 numbers for confidence 0.95, got 5",
        ),
        (
            lambda: intervals.paired_shares(3, 2, 4),
            "lost and won must be at least 0 and together at most n, got 3, 2 of n=4",
        ),
        (
            lambda: intervals.paired_difference([1, 2, 3], [0]),
            "first and second must hold as many values, got 3 and 1",
        ),
        (
            lambda: intervals.paired_answers(np.array([True, False]), np.array([True])),
            "before and after must hold as many answers, got 2 and 1",
        ),
        (lambda: intervals.mean_interval([1.0]), "values must hold at least 2 numbers, got 1"),
        (lambda: intervals.mean_interval([1, 2], confidence=0), r"confidence must be in \(0, 1\), got 0"),
    ],
)
def test_bad_input_is_said_in_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        call()
