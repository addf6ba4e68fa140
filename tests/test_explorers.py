"""Every control of every panel is moved to its ends, its middle and each option; the picture's numbers are checked."""

import itertools
import random
from functools import partial

import ipywidgets as widgets
import numpy as np
import pandas as pd
import pytest

from compresslab import data, models, training
from compresslab.capstone import explorer as capstone
from compresslab.compression import explorer as compression
from compresslab.hf import explorer as hf
from compresslab.measure import predict
from compresslab.optimizers import explorer, race, rules, surfaces
from compresslab.pruning import explorer as pruning
from compresslab.pruning import structure_explorers as structures
from compresslab.quantization import explorer as quantization
from compresslab.quantization import folding, low_explorers, mixed, model_explorers
from compresslab.runtimes import explorer as runtimes
from compresslab.tour import explorer as tour
from compresslab.tour.attempts import attempt, smallest


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def history(digits):
    make = partial(models.mlp, (64, 16, 10))
    return race.race(make, digits, ["sgd", "adam", "adamw"], lrs=race.LEARNING_RATES[::3], seeds=range(3), epochs=2)[0]


@pytest.fixture(scope="module")
def model(digits):
    model = models.mlp((64, 64, 10), seed=0)
    training.fit(model, digits, epochs=5)
    return model


@pytest.fixture
def panels(digits, history, model):
    return {
        "course": tour.course_explorer(model, digits.test),
        "surface": explorer.surface_explorer(),
        "valley": explorer.valley_explorer(history),
        "race": explorer.race_explorer(history),
        "break-even": pruning.break_even_explorer(clock=stopwatch()),
        "weights": pruning.weights_explorer(model, digits.train, digits.val),
        "budget": pruning.budget_explorer(model, digits.val),
        "dependencies": structures.dependency_explorer(models.resnet20(width=8, seed=0), digits.test.x[:1]),
        "ratio": structures.ratio_explorer(models.resnet20(width=8, seed=0), digits.test.x[:1], clock=stopwatch()),
        "numbers": quantization.numbers_explorer(
            {
                "weight": (model[1].weight.detach(), 0),
                "activation": (model[:3](digits.val.x[:32]).detach(), 1),
            },
            group_size=32,
        ),
        "layers": model_explorers.layers_explorer(
            folding.fold_batch_norm(models.depthwise(4, seed=0), digits.train.x), digits.train.x[:16], digits.val
        ),
        "bit budget": low_explorers.budget_explorer(
            costs := mixed.bit_costs(model, digits.val), mixed.all_choices(model, costs, digits.test)
        ),
        "temperature": compression.temperature_explorer(*digits.val, predict(model, digits.val.x)),
        "balance": compression.balance_explorer(
            predict(models.mlp(seed=1), digits.val.x), predict(model, digits.val.x), digits.val.y
        ),
        "sharing": compression.sharing_explorer(pruned(model)),
        "size": compression.size_explorer(files_written(), dict(size_bytes=9000, mean=3.0)),
        "heads": hf.heads_explorer(np.ones((2, 2)), *heads_left()),
        "parts": hf.precision_explorer(*parts_kept()),
        "deployment": runtimes.budget_explorer(decisions()),
        "board": capstone.board_explorer(attempts()),
    }


def pruned(model):
    weight = model[1].weight.detach()
    return weight * (weight.abs() > 0.1)


def files_written():
    rows = itertools.product((0.8, 0.9, 0.95), (2, 4, 8), range(3))
    table = pd.DataFrame(rows, columns=["sparsity", "values", "seed"])
    table["error"] = 9 - table["values"] + table.seed
    table["codes"], table["positions"] = 100 * table["values"], 1000 * (1 - table.sparsity)
    return table.assign(size_bytes=table.codes + table.positions)


def decisions():
    """A decision table of four files at two batch sizes."""
    rows = itertools.product((1, 64), [("a", 500.0, 0.02), ("b", 300.0, 0.03), ("c", 150.0, 0.05), ("d", 200.0, 0.09)])
    table = pd.DataFrame([dict(way=way, batch=batch, kb=kb, ms=ms * batch**0.5) for batch, (way, kb, ms) in rows])
    table["ms_low"], table["ms_high"] = 0.9 * table.ms, 1.1 * table.ms
    table["speedup"] = 1 / table.ms
    table["speedup_low"], table["speedup_high"] = 0.9 * table.speedup, 1.1 * table.speedup
    table["agreement"], table["agreement_low"] = 1.0, [0.99, 0.98, 0.93, 0.96] * 2
    return table


def attempts():
    """A board of the original and four attempts of more and more work."""
    rows = [
        ("original", 600.0, 1.0, 0.0, 0),
        ("a", 150.0, 3.0, -0.4, 1),
        ("b", 45.0, 4.0, -0.2, 3),
        ("c", 16.0, 0.9, 0, 5),
    ]
    table = pd.DataFrame([*rows, ("d", 30.0, 6.0, -4.0, 2)], columns=["name", "kb", "speedup", "points", "cpu_seconds"])
    ends = {f"{name}_low": table[name] - 0.2 for name in ("speedup", "points")}
    ends |= {f"{name}_high": table[name] + 0.2 for name in ("speedup", "points")}
    return table.assign(ms=1 / table.speedup, **ends)


def heads_left():
    kept = {(order, left): np.arange(4).reshape(2, 2) < left for order in ("least", "most") for left in (4, 3, 2)}
    curves = pd.DataFrame(list(kept), columns=["order", "left"])
    rises = 60 + 10 * curves.left + curves.order.eq("least")
    return kept, curves.assign(macs=20 * curves.left, mean=rises, low=rises - 2, high=rises + 1)


def parts_kept():
    rows = pd.DataFrame(itertools.product((False, True), repeat=2), columns=["attention", "head"])
    kept = [", ".join(rows.columns[list(row)]) or "nothing" for row in rows.itertuples(index=False)]
    sqnr = 30 + 6.0 * rows.attention + rows["head"]
    both = rows.assign(
        kept=kept, kb=100 + 50 * rows.attention + 9 * rows["head"], sqnr_db=sqnr.where(sqnr < 37, np.inf)
    )
    both = both.assign(changed=2, n=200, low=97.0, high=99.5)
    one = both[~both["head"]].reset_index(drop=True)
    return {"one": one, "both": both}, {"one": ["attention"], "both": ["attention", "head"]}


def stopwatch():
    """A clock that goes on by 1 to 5 ms, at random, whenever it is read: nothing is timed."""
    draws = random.Random(0)
    return itertools.accumulate(draws.uniform(1e-3, 5e-3) for _ in itertools.count()).__next__


PRUNING = ("break-even", "weights", "budget", "dependencies", "ratio")
COMPRESSION = ("temperature", "balance", "sharing", "size")
LAST = ("heads", "parts", "deployment", "board")
NAMES = ("course", "surface", "valley", "race", *PRUNING, "numbers", "layers", "bit budget", *COMPRESSION, *LAST)


def positions(control):
    """Where to move a control: both ends, the middle, every option."""
    if isinstance(control, widgets.Checkbox):
        return [not control.value, control.value]
    if hasattr(control, "_options_full"):
        return [value for _, value in control._options_full]
    if isinstance(control, widgets.FloatLogSlider):
        return [control.base**control.min, control.base**control.max, control.value]
    return [
        control.min,
        control.max,
        (control.min + control.max) / 2 if isinstance(control, widgets.FloatSlider) else control.min,
    ]


def numbers(panel):
    """All that the picture shows: coordinates of the visible traces, and the texts."""
    traces = [
        tuple(None if values is None else np.asarray(values, float).tobytes() for values in (trace.x, trace.y))
        for trace in panel.figure.data
        if trace.visible is not False and trace.type == "scatter"
    ]
    return traces, panel.figure.layout.title.text, panel.caption.value


@pytest.mark.parametrize("name", NAMES)
def test_every_control_at_every_position(panels, name):
    panel = panels[name]
    for key, control in panel.controls.items():
        seen = []
        for value in positions(control):
            control.value = value
            assert panel.alert.value == "", f"{key} = {value}: {panel.alert.value}"
            assert control.value == pytest.approx(value)
            seen.append(numbers(panel))
            for trace in panel.figure.data:
                if trace.type == "scatter" and trace.y is not None:
                    assert np.isfinite(np.asarray(trace.y, float)).all(), f"{key} = {value}"
            assert panel.figure.layout.title.text and len(panel.caption.value) > 40
        assert any(a != seen[0] for a in seen[1:]), f"{key} changes nothing"


@pytest.mark.parametrize("name", NAMES)
def test_corners_together(panels, name):
    panel = panels[name]
    for end in (0, 1):
        for control in panel.controls.values():
            control.value = positions(control)[end]
            assert panel.alert.value == ""


def tick(panel, *names):
    boxes = {name for name, control in panel.controls.items() if isinstance(control, widgets.Checkbox)}
    panel.set(**{name: name in names for name in boxes})


@pytest.mark.parametrize("name", ["surface", "valley", "race"])
def test_nothing_ticked_says_what_to_do(panels, name):
    tick(panels[name])
    assert panels[name].alert.value == "" and panels[name].figure.layout.title.text == "Tick an optimizer"


def line(panel, name):
    """The y values of the visible line called `name` (the last one: bands come before their line)."""
    return [np.asarray(t.y, float) for t in panel.figure.data if t.name == name and t.visible is not False][-1]


def test_course_panel_shows_what_attempt_measures(panels, digits, model):
    panel = panels["course"]
    panel.set(sparsity=0.8, bits=4)
    row = attempt(model, digits.test, 0.8, 4)
    (now,) = [t for t in panel.figure.data if t.name == "now"]
    assert list(now.x) == [row["size_bytes"]] and now.y[0] == pytest.approx(100 * row["accuracy"])
    assert now.y[0] + now.error_y.array[0] == pytest.approx(100 * row["accuracy_high"])
    panel.set(sparsity=0.0, bits=8)
    (tried,) = [t for t in panel.figure.data if t.name == "tried so far"]
    assert row["size_bytes"] in list(tried.x) and len(tried.x) == 3 == len(panel.tried)
    good = smallest(panel.tried.values(), accuracy=0.5)
    assert good["size_bytes"] == min(r["size_bytes"] for r in panel.tried.values() if r["accuracy"] >= 0.5)


def test_surface_panel_walks_as_the_rules_do(panels):
    panel = panels["surface"]
    panel.controls["surface"].value = "rosenbrock"
    panel.set(lr=1e-3, mu=0.8)
    tick(panel, "momentum")
    rosenbrock = surfaces.get_surface("rosenbrock")
    path = rules.descend(
        rules.momentum, rosenbrock.gradient, np.array(rosenbrock.start), steps=200, lr=1e-3, momentum=0.8
    )
    np.testing.assert_allclose(line(panel, "momentum"), rosenbrock.value(np.array(path)), rtol=1e-6)


def test_divergence_is_drawn_not_raised(panels):
    panel = panels["surface"]
    panel.set(lr=3.0)
    tick(panel, "sgd", "adam")
    assert panel.alert.value == "" and "sgd diverged" in panel.figure.layout.title.text
    assert len(line(panel, "sgd")) < 201 and len(line(panel, "adam")) == 201


def test_a_click_moves_the_start(panels):
    panel = panels["surface"]
    panel.set(**panel.on_click(2.0, -1.0))
    assert (panel.controls["x"].value, panel.controls["y"].value) == (2.0, -1.0)
    assert [t.x[0] for t in panel.figure.data if t.name == "sgd" and t.visible is not False][0] == 2.0


def test_valley_panel_shows_the_mean_of_the_seeds(panels, history):
    panel = panels["valley"]
    panel.set(epoch=1, measure="val_loss")
    tick(panel, "adam")
    rows = history[(history["name"] == "adam") & (history.epoch == 1)]
    expected = rows.groupby("lr").val_loss.mean().clip(upper=10.0)
    np.testing.assert_allclose(line(panel, "adam"), expected, rtol=1e-6)


def test_race_panel_moves_each_away_from_its_own_best(panels, history):
    panel = panels["race"]
    best, rates = race.best_lr(history), sorted(history.lr.unique())
    panel.set(shift=0, measure="val_accuracy")
    tick(panel, "sgd")
    rows = history[(history["name"] == "sgd") & (history.lr == best["sgd"])]
    np.testing.assert_allclose(line(panel, "sgd"), 100 * rows.groupby("epoch").val_accuracy.mean(), rtol=1e-6)
    panel.set(shift=-3)
    slower = rates[max(rates.index(best["sgd"]) - 3, 0)]
    rows = history[(history["name"] == "sgd") & (history.lr == slower)]
    np.testing.assert_allclose(line(panel, "sgd"), 100 * rows.groupby("epoch").val_accuracy.mean(), rtol=1e-6)
