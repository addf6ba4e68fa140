"""The live panels of lesson 31: what falls together, and what is left when structures go."""

import time
from collections.abc import Callable

import ipywidgets as widgets
import pandas as pd
import torch
from torch import nn

from ..lesson import Panel
from ..lesson.panel import WIDE
from . import figures
from .dependencies import groups
from .explorer import with_again
from .ratios import builder, timed_shares


def dependency_explorer(model: nn.Module, example_inputs: torch.Tensor | tuple) -> Panel:
    """Choose a group and one of its structures: all the numbers that must go with it light up.

    ValueError if the model has no group.
    """
    found = groups(model, example_inputs)
    if not found:
        raise ValueError(f"model must have structures that can be removed, got {type(model).__name__} without any")
    controls = dict(
        group=widgets.Dropdown(
            options=[(f"{group.name}: {group.size} {group.kind}s", i) for i, group in enumerate(found)],
            value=0, description="Group", layout=WIDE,
        ),
        structure=widgets.IntSlider(0, min=0, max=found[0].size - 1, description="Which one goes", layout=WIDE),
    )  # fmt: skip

    def fit(change):  # before the panel draws: a small group has no structure 60
        controls["structure"].max = found[change["new"]].size - 1

    controls["group"].observe(fit, "value")
    return Panel(
        lambda group, structure: figures.dependencies(model, found[group], min(structure, found[group].size - 1)),
        controls,
        label="What falls together",
        note="Each square is a layer: rows are its outputs, columns its inputs, and the stronger the grey, the larger "
        "the weight. Strips are batch norms. Coloured is what goes.",
    )


def ratio_explorer(
    model: nn.Module,
    example_inputs: torch.Tensor,
    clock: Callable[[], float] = time.perf_counter,
) -> Panel:
    """Remove a share of every group and see what is left of the parameters, the MACs and the time, timed at each move.

    A smaller model is made once; only its time is measured anew.

    What was measured stays: `panel.points` is a dict {(batch, round_to, ratio): row of `ratios.timed_shares`}. To come
    back to a place, or to click "Measure again", is to measure it anew.
    """
    build = builder(model, groups(model, example_inputs), example_inputs)
    points: dict[tuple, pd.DataFrame] = {}
    controls = dict(
        ratio=widgets.FloatSlider(
            0.5, min=0, max=0.9, step=0.05, description="Removed, p", readout_format=".0%", layout=WIDE
        ),
        batch=widgets.SelectionSlider(options=(1, 16, 64), value=64, description="Batch", layout=WIDE),
        round_to=widgets.SelectionSlider(options=(1, 8, 16), value=1, description="Round up to", layout=WIDE),
    )  # fmt: skip

    def draw(ratio, batch, round_to):
        settings = dict(batch=batch, round_to=round_to, rounds=6, warmup=0, clock=clock)
        now = timed_shares(build, example_inputs, [round(ratio, 2)], **settings)
        points[batch, round_to, round(ratio, 2)] = now
        shown = [row for key, row in points.items() if key[:2] == (batch, round_to)]
        return figures.ratios(pd.concat(shown), next(now.itertuples()))

    note = "Each point is timed when you choose it, on one thread, against the dense network in the same rounds."
    return with_again(Panel(draw, controls, label="What is left", note=note, busy="Measuring ..."), points)
