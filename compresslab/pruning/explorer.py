"""The live panels of lesson 30: controls -> numbers -> figure."""

import copy
import time
from collections.abc import Callable
from functools import cache

import ipywidgets as widgets
import pandas as pd
import torch

from ..layers import layers_of
from ..lesson import Panel
from ..lesson.panel import WIDE
from ..measure import accuracy
from . import figures
from .break_even import dense_and_csr
from .criteria import CRITERIA, scores
from .groups import dense_copy
from .masks import global_masks, local_masks, mask_

SIZES = ((100, 300), (300, 784), (500, 800), (1024, 1024))
BATCHES = (1, 8, 64)


def break_even_explorer(clock: Callable[[], float] = time.perf_counter) -> Panel:
    """A dense layer against the same layer as CSR, timed on this machine at every move of a control.

    What was measured stays: `panel.points` is a dict {(size, batch, sparsity): row of `dense_and_csr`}. To come back
    to a place, or to click "Measure again", is to measure it anew; the new row takes the old one's place.
    """
    points: dict[tuple, pd.DataFrame] = {}
    controls = dict(
        sparsity=widgets.FloatSlider(
            0.9, min=0.3, max=0.99, step=0.01, description="Sparsity", readout_format=".0%", layout=WIDE
        ),
        size=widgets.SelectionSlider(
            options=[(f"{out} × {inputs}", (out, inputs)) for out, inputs in SIZES],
            value=SIZES[1], description="Layer (out × in)", layout=WIDE,
        ),
        batch=widgets.SelectionSlider(options=BATCHES, value=64, description="Batch", layout=WIDE),
    )  # fmt: skip

    def draw(sparsity, size, batch):
        now = dense_and_csr(size, batch, [sparsity], rounds=6, clock=clock)
        points[size, batch, round(sparsity, 2)] = now
        shown = [row for (its_size, _, _), row in points.items() if its_size == size]
        return figures.break_even(pd.concat(shown), next(now.itertuples()))

    note = "Every point is timed at the moment you choose it, on one thread. Drag the sparsity to see where they cross."
    return with_again(Panel(draw, controls, label="Dense against CSR", note=note, busy="Measuring ..."), points)


def with_again(panel: Panel, points: dict) -> Panel:
    """`panel`, whose note is followed by its controls, with a button to measure again and with what it measured."""
    panel.points, panel.again = points, widgets.Button(description="Measure again")
    panel.again.on_click(lambda _: panel.refresh())
    row = panel.children[1]
    row.children = (*row.children, panel.again)
    return panel


def _right(model, masks, split) -> dict:
    """Accuracy and its interval with `masks` on `model`, which keeps them."""
    mask_(model, masks)
    found = accuracy(model, split)
    return dict(accuracy=found.accuracy, accuracy_low=found.low, accuracy_high=found.high)


def _share_of_zeros(masks) -> float:
    return 1 - sum(int(mask.sum()) for mask in masks.values()) / sum(mask.numel() for mask in masks.values())


def weights_explorer(model, train, val) -> Panel:
    """Criterion, scope and sparsity: which weights of `model` go, and the accuracy on `val` of everything tried so far.

    Gradients and norms are taken over `train`. `panel.tried` is a dict {(criterion, scope, sparsity): row}.
    """
    model = dense_copy(model)
    l1 = scores(model, "l1")
    weights = torch.cat([layer.weight.detach().flatten() for layer in layers_of(model).values()]).numpy()
    none = {name: torch.ones_like(score, dtype=torch.bool) for name, score in l1.items()}
    dense, tried = _right(copy.deepcopy(model), none, val), {}
    worker = copy.deepcopy(model)

    @cache
    def scored(criterion):
        chance = torch.Generator().manual_seed(1000)  # not a network's seed: that made its first weights
        return scores(model, criterion, split=train, generator=chance)

    def draw(criterion, scope, sparsity):
        masks = (local_masks if scope == "local" else global_masks)(scored(criterion), sparsity)
        now = dict(criterion=criterion, scope=scope, sparsity=sparsity) | _right(worker, masks, val)
        tried[criterion, scope, round(sparsity, 2)] = now
        kept = torch.cat([mask.flatten() for mask in masks.values()]).numpy()
        return figures.cut(weights, kept, list(tried.values()), now, dense)

    controls = dict(
        criterion=widgets.Dropdown(options=list(CRITERIA), value="l1", description="Criterion", layout=WIDE),
        scope=widgets.Dropdown(
            options=[("global: one threshold", "global"), ("local: one a layer", "local")],
            value="global", description="Scope", layout=WIDE,
        ),
        sparsity=widgets.FloatSlider(
            0.5, min=0, max=0.98, step=0.02, description="Sparsity", readout_format=".0%", layout=WIDE
        ),
    )  # fmt: skip
    note = "No training afterwards: this is the accuracy on the validation digits at the moment of the cut."
    panel = Panel(draw, controls, label="Which weights can go?", note=note)
    panel.tried = tried
    return panel


def budget_explorer(model, split, start: dict[str, float] | None = None) -> Panel:
    """One sparsity a layer, by magnitude, against a uniform and a global budget with as many zeros in all.

    `start` {layer: sparsity} sets the sliders (default: 0.8 everywhere). `panel.rows` is {budget: its numbers}.
    """
    model = dense_copy(model)
    found, start = scores(model, "l1"), start or {}
    sizes, rows = {name.removesuffix(".weight"): score.numel() for name, score in found.items()}, {}

    def draw(**mine):
        chosen = {"yours": local_masks(found, mine)}
        same = _share_of_zeros(chosen["yours"])
        chosen |= {"uniform": local_masks(found, same), "global": global_masks(found, same)}
        for name, masks in chosen.items():
            zeros = {layer: _share_of_zeros({layer: masks[f"{layer}.weight"]}) for layer in sizes}
            rows[name] = zeros | dict(sparsity=_share_of_zeros(masks)) | _right(model, masks, split)
        return figures.budget(pd.DataFrame(rows).T, sizes)

    controls = {
        name: widgets.FloatSlider(
            start.get(name, 0.8), min=0, max=0.98, step=0.01, readout_format=".0%", layout=WIDE,
            description=f"Layer {name} ({' → '.join(map(str, layer.weight.shape[1::-1]))})",
        )
        for name, layer in layers_of(model).items()
    }  # fmt: skip
    note = "Share of zeros in each layer. Uniform and global have as many zeros in all as yours."
    panel = Panel(draw, controls, label="A budget for each layer", note=note)
    panel.rows = rows
    return panel
