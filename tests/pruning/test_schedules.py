"""Schedules against their closed forms."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compresslab.pruning.schedules import cubic, iterative, one_shot


def test_cubic_is_zhu_and_gupta():
    """Their equation 1, s_t = s_f + (s_i - s_f) (1 - (t - t_0) / (n Δt))³, with t_0 = 100, n = 40, Δt = 25."""
    s_f, t_0, n, dt = 0.875, 100, 40, 25
    for t in range(t_0, t_0 + n * dt + 1, dt):
        expected = s_f + (0 - s_f) * (1 - Fraction(t - t_0, n * dt)) ** 3
        assert s_f * cubic((t - t_0) / (n * dt)) == pytest.approx(float(expected), abs=1e-15)


@given(st.integers(1, 200))
def test_iterative_climbs_equal_steps(steps):
    staircase = iterative(steps)
    for k in range(steps):  # on the step's edge and in its middle
        assert staircase(k / steps) == staircase((k + 0.5) / steps) == (k + 1) / steps
    assert staircase(1.0) == 1


def test_one_step_is_one_shot():
    assert {one_shot(p / 7) for p in range(8)} == {iterative(1)(p / 7) for p in range(8)} == {1.0}


@given(st.floats(0, 1), st.floats(0, 1))
def test_all_rise_and_end_at_one(a, b):
    for schedule in (one_shot, iterative(3), cubic):
        assert 0 <= schedule(min(a, b)) <= schedule(max(a, b)) <= schedule(1.0) == 1


def test_bad_steps():
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        iterative(0)
