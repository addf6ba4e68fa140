"""The live panels of lessons 10 and 11: controls -> numbers -> figure."""

import ipywidgets as widgets
import numpy as np
import pandas as pd

from ..lesson import Panel
from ..lesson.panel import WIDE, tick_box
from . import figures
from .race import best_lr
from .rules import RULES
from .surfaces import SURFACES, get_surface, run_optimizers

STEPS = 200  # on a surface


def _ticks(names, ticked) -> dict[str, widgets.Checkbox]:
    """A box to tick for each optimizer."""
    return {name: tick_box(name, name in ticked) for name in names}


def _ticked(values: dict[str, bool]) -> list[str]:
    return [name for name, on in values.items() if on]


def _on_slider(lr: float) -> float:
    """The rate's nearest place on the slider: from another one the browser would move it, and draw again."""
    return 10 ** (round(np.log10(lr) / 0.05) * 0.05)


def surface_explorer() -> Panel:
    """Optimizers on a surface: choose the surface, the optimizers, the rates and the start (or click the surface)."""
    first = get_surface("quadratic")

    def start_slider(axis, description):
        low, high = axis
        return widgets.FloatSlider(
            first.start[description == "Start y"], min=low, max=high, step=0.05, description=description,
            readout_format=".2f", layout=WIDE,
        )  # fmt: skip

    controls = dict(
        surface=widgets.Dropdown(options=list(SURFACES), value="quadratic", description="Surface", layout=WIDE),
        lr=widgets.FloatLogSlider(_on_slider(first.lr), min=-4, max=0.5, step=0.05, description="Learning rate",
                                  readout_format=".4f", layout=WIDE),
        mu=widgets.FloatSlider(0.9, min=0, max=0.99, step=0.01, description="Momentum", layout=WIDE),
        x=start_slider(first.x_range, "Start x"),
        y=start_slider(first.y_range, "Start y"),
        **_ticks(RULES, ("sgd", "momentum")),
    )  # fmt: skip

    def draw(surface, lr, mu, x, y, **optimizers):
        chosen = get_surface(surface)
        paths = run_optimizers(chosen, _ticked(optimizers), lr=lr, momentum=mu, start=(x, y), steps=STEPS)
        return figures.paths(chosen, paths, lr, STEPS)

    def new_surface(change):
        chosen = get_surface(change["new"])
        with panel.held():
            for control, (low, high) in ((controls["x"], chosen.x_range), (controls["y"], chosen.y_range)):
                with control.hold_trait_notifications():
                    control.min, control.max = low, high
            controls["x"].value, controls["y"].value = chosen.start
            controls["lr"].value = _on_slider(chosen.lr)

    controls["surface"].observe(new_surface, "value")  # before the panel: what it draws first is right already
    panel = Panel(
        draw, controls, label="Optimizers on a surface", on_click=lambda x, y: dict(x=x, y=y),
        note="Click the surface, or use the two start sliders, to choose where the paths begin. "
        "Momentum is μ; for Adam and AdamW it is β₁.",
    )  # fmt: skip
    return panel


def valley_explorer(history: pd.DataFrame) -> Panel:
    """Loss against learning rate of every optimizer in `history` (from `race`), epoch by epoch."""
    names, epochs = list(dict.fromkeys(history["name"])), int(history.epoch.max())
    controls = dict(
        epoch=widgets.IntSlider(epochs, min=1, max=epochs, description="Epoch", layout=WIDE),
        measure=widgets.Dropdown(
            options=[(text, key) for key, (text, _) in figures.MEASURES.items()],
            description="Measure",
            layout=WIDE,
        ),
        **_ticks(names, names[:2] + names[-2:-1]),
    )

    def draw(epoch, measure, **optimizers):
        return figures.loss_against_lr(history, _ticked(optimizers), epoch, measure)

    return Panel(draw, controls, label="Loss against learning rate")


def race_explorer(history: pd.DataFrame) -> Panel:
    """Learning curves of every optimizer in `history`, each at its own best learning rate or at a multiple of it."""
    names, best, rates = list(dict.fromkeys(history["name"])), best_lr(history), sorted(history.lr.unique())
    factors = {"1/100 of its best": -6, "1/10 of its best": -3, "its best": 0, "10 times its best": 3}

    def nearby(name, shift):
        return rates[min(max(rates.index(best[name]) + shift, 0), len(rates) - 1)]

    controls = dict(
        shift=widgets.SelectionSlider(
            options=list(factors.items()), value=0, description="Learning rate", layout=WIDE
        ),
        measure=widgets.Dropdown(
            options=[(text, key) for key, (text, _) in figures.MEASURES.items()], description="Measure", layout=WIDE
        ),
        **_ticks(names, names),
    )  # fmt: skip

    def draw(shift, measure, **optimizers):
        return figures.learning_curves(history, {name: nearby(name, shift) for name in _ticked(optimizers)}, measure)

    return Panel(draw, controls, label="The race")
