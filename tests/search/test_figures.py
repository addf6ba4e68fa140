"""Pictures and panels of lessons 20 and 21: their numbers are those of the tables; every control moves them."""

import math

import ipywidgets as widgets
import numpy as np
import pytest

from compresslab.lesson import theme
from compresslab.search import analysis, batch, explorer, figures, halving, optuna_adapter, spaces, trials
from compresslab.search.digits import DigitsObjective

SPACE = dict(lr=spaces.Real(1e-3, 1, log=True), weight_decay=spaces.Real(1e-6, 0.1, log=True))
WIDE = SPACE | dict(hidden=spaces.Integer(4, 64, log=True), momentum=spaces.Choice((0.0, 0.9)))


@pytest.fixture(scope="module")
def table():
    trained = batch.evaluate_batch(DigitsObjective("error"), spaces.grid(SPACE, 8), epochs=2, test=True)
    return trained.assign(score=trained.score.mask(trained.lr == 1))  # as if the largest rate had diverged


@pytest.fixture(scope="module")
def race():
    def curve(config, *, seed):
        return iter([abs(math.log10(config["lr"]) + 1.5) / 10 + 0.3 / epoch for epoch in range(1, 28)])

    return halving.hyperband(curve, SPACE, max_epochs=27)[1]


@pytest.fixture(scope="module")
def wide():
    def both(config, **_):
        return abs(math.log10(config["lr"]) + 1.5) / 10 + 1 / config["hidden"], 75 * config["hidden"] + 10

    return optuna_adapter.study(WIDE, both, sampler="nsga2", n_trials=60, objectives=("score", "parameters"))


def trace(fig, name):
    return [t for t in fig.data if t.name == name][-1]


def test_projection_counts_the_values_that_each_axis_sees():
    designs = dict(grid=spaces.grid(SPACE, 5), random=spaces.random(SPACE, 25), sobol=spaces.sobol(SPACE, 25))
    fig = figures.projection(SPACE, designs)
    assert theme.title(fig) == "With 25 trials grid sees 5 values of lr, random 25"
    assert "sobol: 25 values of lr and 25 of weight_decay" in theme.alt(fig)
    points = [t for t in fig.data if t.name == "random"][0]
    assert list(points.x) == [config["lr"] for config in designs["random"]]


def test_landscape_shows_the_trained_scores(table):
    fig = figures.landscape(SPACE, table)
    heat = trace(fig, "landscape")
    low = table.loc[table.score.idxmin()]
    row, column = list(heat.y).index(low.weight_decay), list(heat.x).index(low.lr)
    assert heat.z[row][column] == np.nanmin(heat.z) == pytest.approx(math.log10(100 * low.score))
    assert np.isnan(np.array(heat.z)[:, -1]).all() and "8 diverged" in theme.alt(fig)
    assert f"{100 * low.score:.2f} %" in theme.title(fig)


def test_regret_draws_median_and_middle_half():
    found = dict(a=np.array([[0.4, 0.2], [0.3, 0.1], [0.5, 0.1]]), b=np.array([[0.6, 0.5]] * 3))
    fig = figures.regret([10, 20], found)
    assert list(trace(fig, "a").y) == pytest.approx([40, 10]) and list(trace(fig, "b").y) == pytest.approx([60, 50])
    band = [t for t in fig.data if t.name == "a"][0]
    assert list(band.y) == pytest.approx([45, 15, 10, 35])  # upper edge there, lower edge back
    assert theme.title(fig).startswith("After 20 epochs a is lowest, at 10 %")
    assert list(trace(figures.regret([10, 20], found, "loss"), "b").y) == pytest.approx([0.6, 0.5])


def test_parallel_coordinates_hold_every_trial(wide):
    fig = figures.parallel(WIDE, wide)
    lr, decay, hidden, momentum, score = fig.data[0].dimensions
    np.testing.assert_allclose(lr["values"], np.log10(wide.lr))
    assert set(momentum["values"]) <= {0, 1} and list(momentum["ticktext"]) == ["0.0", "0.9"]
    np.testing.assert_allclose(score["values"], 100 * wide.score)
    top = wide.nsmallest(6, "score")
    assert f"lr from {top.lr.min():.2g} to {top.lr.max():.2g}" in theme.alt(fig)


def test_importance_has_a_bar_for_every_axis(wide):
    shares = {name: optuna_adapter.importance(WIDE, wide, name) for name in optuna_adapter.EVALUATORS}
    fig = figures.importance(shares)
    for name, table in shares.items():
        heights = dict(zip(trace(fig, name).x, trace(fig, name).y))
        assert heights == pytest.approx(dict(zip(table.parameter, 100 * table.importance)))
    assert theme.title(fig).startswith(shares["ped-anova"].parameter[0])


def test_pareto_front_is_drawn_as_steps(wide):
    front = analysis.pareto_front(wide, ["score", "parameters"])
    fig = figures.pareto(wide, front)
    line = trace(fig, "Pareto front")
    assert list(line.x) == sorted(front.parameters) and line.line.shape == "hv"
    assert len(trace(fig, "trials").x) == 60 and f"{len(front)} of 60 trials" in theme.title(fig)


def test_rungs_show_who_goes_on(race):
    fig = figures.rungs(race, bracket=3)
    dropped, best = trace(fig, "dropped"), trace(fig, "best")
    assert np.isnan(dropped.x).sum() == 26 and list(best.x)[:4] == [1, 3, 9, 27]
    spent = 27 + 9 * 2 + 3 * 6 + 18
    assert theme.title(fig) == f"Of 27 trials 1 went on to the last rung: {spent} epochs, not 729"
    with pytest.raises(ValueError, match=r"bracket must be one of \[0, 1, 2, 3\], got 7"):
        figures.rungs(race, bracket=7)


def test_curse_chance_and_folds(table):
    curse = analysis.winners_curse(table, [1, 4, 16], repeats=50)
    fig = figures.curse(curse)
    assert list(trace(fig, "test (untouched)").y) == pytest.approx((100 * curse.test_score).tolist())
    ns = [1, 20, 59, 100]
    measured = [0.04, 0.66, 0.96, 1.0]
    fig = figures.chance(ns, measured)
    assert list(trace(fig, "measured").y) == pytest.approx([100 * m for m in measured])
    assert trace(fig, "1 − (1 − share)ⁿ").y[2] == pytest.approx(95.15, abs=0.01)

    def noisy(config, *, seed, fold, epochs):
        return abs(config["hidden"] - 32) / 100 + 0.05 * fold + 0.1

    means = trials.evaluate(noisy, [dict(hidden=h) for h in (4, 16, 32, 64)], folds=4)
    chosen = trials.one_standard_error(means, "hidden")
    fig = figures.folds(means, "hidden", chosen)
    assert trace(fig, "lowest").x == (32,) and trace(fig, "chosen").x == (chosen["hidden"],)
    limit = trace(fig, "lowest + one standard error").y[0]
    assert limit == pytest.approx(100 * (0.175 + np.std([0, 0.05, 0.1, 0.15], ddof=1) / 2))


def test_a_trial_without_a_score_stops_no_picture(wide):
    holes = wide.copy()
    holes.loc[[0, 5], "score"] = math.nan
    assert len(figures.parallel(WIDE, holes).data[0].dimensions[0]["values"]) == 58
    assert len(trace(figures.pareto(holes, analysis.pareto_front(holes, ["score", "parameters"])), "trials").x) == 58


def test_unknown_metric_lists_the_known_ones(table):
    with pytest.raises(ValueError, match="metric must be one of error, loss, got 'accuracy'"):
        figures.landscape(SPACE, table, metric="accuracy")


# --- panels


def positions(control):
    if isinstance(control, (widgets.Dropdown, widgets.SelectionSlider)):
        return [value for _, value in control._options_full]
    return [control.min, control.max, (control.min + control.max) // 2]


def numbers(panel):
    return [
        tuple(None if v is None else np.asarray(v, float).tobytes() for v in (t.x, t.y))
        for t in panel.figure.data
        if t.type == "scatter"
    ]


@pytest.fixture(params=["landscape", "rungs"])
def panel(request, table, race):
    if request.param == "rungs":
        return explorer.rungs_explorer(race)
    return explorer.landscape_explorer(SPACE, table, budget=36)


def test_every_control_at_every_position(panel):
    for key, control in panel.controls.items():
        seen = []
        for value in positions(control):
            control.value = value
            assert panel.alert.value == "", f"{key} = {value}: {panel.alert.value}"
            seen.append(numbers(panel))
            assert theme.title(panel.figure) and len(panel.caption.value) > 40
        assert any(a != seen[0] for a in seen[1:]), f"{key} changes nothing"


def test_the_panel_plays_on_the_trained_networks(table):
    panel = explorer.landscape_explorer(SPACE, table, budget=36)
    panel.set(method="sobol", n=10, seed=4)
    rows = analysis.nearest(SPACE, table, spaces.sobol(SPACE, 10, seed=4))
    marks = trace(panel.figure, "trials")
    assert list(marks.x) == table.lr.iloc[rows].tolist() and list(marks.y) == table.weight_decay.iloc[rows].tolist()
    best = 100 * table.score.iloc[rows].min()
    assert trace(panel.figure, "now").y[0] == pytest.approx(best)
    assert trace(panel.figure, "sobol").y[9] == pytest.approx(best)
    panel.set(method="grid", n=12)
    assert len(trace(panel.figure, "trials").x) == 9 and "grid: 9 trials, 3 values of lr" in theme.title(panel.figure)
    rows = analysis.nearest(SPACE, table, spaces.grid(SPACE, 3))
    assert trace(panel.figure, "grid").y[11] == pytest.approx(100 * table.score.iloc[rows].min())


def test_a_panel_needs_two_numeric_axes(table):
    for more in (dict(depth=spaces.Integer(1, 3)), dict(weight_decay=spaces.Choice((0, 1)))):
        with pytest.raises(ValueError, match="space must have two numeric axes, got lr, weight_decay"):
            explorer.landscape_explorer(SPACE | more, table)
