"""The live panels of lesson 60: heads that go, and parts that stay float. Both look up what was measured before."""

import ipywidgets as widgets
import numpy as np
import pandas as pd

from ..lesson import Panel
from ..lesson.panel import tick_box
from . import figures

WIDE = dict(width="460px", max_width="100%")


def heads_explorer(importance: np.ndarray, kept: dict[tuple[str, int], np.ndarray], curves: pd.DataFrame) -> Panel:
    """Which heads go, in which order, and what is left of the MACs and the right answers.

    importance: (layers, heads) of one network; kept: {(order, heads left): bool (layers, heads)} of that network;
    curves: as in `figures.heads`, over all networks.
    """
    counts = sorted(curves.left.unique().tolist(), reverse=True)
    controls = dict(
        order=widgets.Dropdown(options=list(curves.order.unique()), description="Order", layout=WIDE),
        left=widgets.SelectionSlider(
            options=counts, value=counts[len(counts) // 2], description="Heads that stay", layout=WIDE
        ),
    )
    return Panel(
        lambda order, left: figures.heads(importance, kept[order, left], curves, order, left),
        controls,
        label="Heads that stay",
        note="Crossed out is what goes. Nothing is trained after the cut. The numbers were measured above.",
    )


def precision_explorer(tables: dict[str, pd.DataFrame], parts: dict[str, list[str]]) -> Panel:
    """Which parts of a model stay float, and what that costs and saves.

    tables: {model: as in `figures.kept_float`, with a bool column for each of its `parts`}; parts: {model: names}. A
    part that a model lacks cannot be ticked there, and changes nothing.
    """
    names = list(dict.fromkeys(name for each in parts.values() for name in each))
    controls = dict(model=widgets.Dropdown(options=list(tables), description="Model", layout=WIDE))
    controls |= {name: tick_box(f"{name} float") for name in names}

    def draw(model, **chosen):
        table = tables[model]
        same = [table[name] == chosen[name] for name in parts[model]]
        return figures.kept_float(table, int(np.argmax(np.logical_and.reduce(same))))

    def offer(change=None):
        for name in names:
            controls[name].disabled = name not in parts[controls["model"].value]

    controls["model"].observe(offer, "value")
    offer()
    return Panel(
        draw, controls, label="Parts that stay float",
        note="Each point is a real file that ran in ONNX Runtime. Tick what stays float.",
    )  # fmt: skip
