"""Spaces: their scales against SciPy, their designs against scikit-learn and closed forms, their refusals."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import qmc

from compresslab.search import spaces
from compresslab.search.spaces import Choice, Integer, Real

SPACE = dict(
    lr=Real(1e-4, 1.0, log=True),
    momentum=Real(0.0, 0.9),
    hidden=Integer(4, 64, log=True),
    rule=Choice(("a", "b", "c")),
)
SHARES = st.floats(0, 1, exclude_max=True)


# Values are rounded to 12 digits on purpose: 0.01 is to be 0.01.
@given(SHARES, st.floats(1e-8, 10), st.floats(1.01, 1e6))
def test_a_log_axis_is_scipys_loguniform(u, low, factor):
    axis = Real(low, low * factor, log=True)
    assert axis.at(u) == pytest.approx(stats.loguniform(axis.low, axis.high).ppf(u), rel=1e-9)
    assert axis.share(axis.at(u)) == pytest.approx(u, abs=1e-9)


@given(SHARES, st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_a_plain_axis_is_scipys_uniform(u, low, width):
    axis = Real(low, low + width)
    assert axis.at(u) == pytest.approx(low + u * width, rel=1e-9, abs=1e-8)
    assert axis.low <= axis.at(u) <= axis.high


@pytest.mark.parametrize("log", [False, True])
def test_whole_numbers_get_the_share_between_their_halves(log):
    axis, u = Integer(2, 9, log), (np.arange(200_000) + 0.5) / 200_000
    values, counts = np.unique([axis.at(share) for share in u], return_counts=True)
    edges = np.arange(1.5, 10)
    edges = np.log(edges) if log else edges
    expected = np.diff(edges) / (edges[-1] - edges[0])
    assert values.tolist() == list(range(2, 10))
    np.testing.assert_allclose(counts / len(u), expected, atol=1e-5)  # 200,000 even shares: off by 1 at each edge
    assert [axis.at(axis.share(value)) for value in values] == values.tolist()


def test_options_get_even_shares():
    axis = Choice(["a", "b", "c"])
    assert [axis.at(u) for u in (0, 0.333, 0.334, 0.666, 0.667, 0.9999)] == ["a", "a", "b", "b", "c", "c"]


def test_grid_holds_every_combination_once():
    configs = spaces.grid(SPACE, dict(lr=5, momentum=2, hidden=3, rule=1))
    assert len(configs) == 5 * 2 * 3 * 3 == len({tuple(config.items()) for config in configs})
    assert list(configs[0]) == list(SPACE)
    np.testing.assert_allclose(sorted({c["lr"] for c in configs}), np.geomspace(1e-4, 1, 5), rtol=1e-11)
    assert sorted({c["hidden"] for c in configs}) == [4, 16, 64]
    assert spaces.grid(dict(x=Real(0, 1)), 1) == [{"x": 0.5}]
    assert spaces.grid(dict(x=Integer(1, 3)), 10) == [{"x": 1}, {"x": 2}, {"x": 3}]


@pytest.mark.parametrize("design", [spaces.random, spaces.sobol])
def test_a_short_search_is_the_start_of_a_longer_one(design):
    assert design(SPACE, 5, seed=3) == design(SPACE, 40, seed=3)[:5] != design(SPACE, 5, seed=4)
    for config in design(SPACE, 40, seed=3):
        assert all(SPACE[name].low <= config[name] <= SPACE[name].high for name in ("lr", "momentum", "hidden"))


@pytest.mark.parametrize("n", [16, 64])
def test_sobol_puts_one_point_into_every_nth_of_every_axis(n):
    """The property that defines a (0, m, 1)-net in base 2; random points have it with probability n!/nⁿ."""
    configs = spaces.sobol(SPACE, n, seed=1)
    for name in ("lr", "momentum"):
        cells = [math.floor(SPACE[name].share(config[name]) * n + 1e-9) for config in configs]
        assert sorted(cells) == list(range(n))
    random = spaces.random(SPACE, n, seed=1)
    assert len({math.floor(SPACE["lr"].share(config["lr"]) * n) for config in random}) < n


def test_sobol_is_scipys():
    cube = qmc.Sobol(4, scramble=True, rng=7).random(8)
    assert [c["momentum"] for c in spaces.sobol(SPACE, 8, seed=7)] == pytest.approx(
        (cube[:, 1] * 0.9).tolist(), rel=1e-9
    )


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: spaces.grid({}, 3), "space must hold at least one axis, got none"),
        (lambda: spaces.random({}, 3), "space must hold at least one axis, got none"),
        (lambda: Real(0.0, 1.0, log=True), "low must be above 0 on a log scale, got low=0.0"),
        (lambda: Integer(0, 5, log=True), "low must be above 0 on a log scale, got low=0"),
        (lambda: Real(1.0, 1.0), "low must be below high, got low=1.0, high=1.0"),
        (lambda: Real(math.nan, 1.0), "low must be below high, got low=nan, high=1.0"),
        (lambda: Choice([]), "options must hold at least one value, got none"),
        (lambda: spaces.random(dict(seed=Integer(5, 9)), 2), "must not use the names trial, .*, got seed"),
        (lambda: spaces.random(SPACE, 2.5), "n must be a whole number, got 2.5"),
        (lambda: spaces.random(SPACE, 0), "n must be at least 1, got 0"),
        (lambda: spaces.sobol(SPACE, -1), "n must be at least 1, got -1"),
        (lambda: spaces.grid(SPACE, 0), "points must be at least 1, got 0"),
        (lambda: spaces.grid(SPACE, dict(lr=3)), "points must name the axes lr, momentum, hidden, rule, got lr"),
    ],
)  # fmt: skip
def test_bad_input_gets_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
