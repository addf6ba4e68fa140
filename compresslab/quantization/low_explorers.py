"""The live panel of lesson 42: a budget in bytes, and the bits that each layer gets."""

import copy
from functools import cache
from itertools import product

import ipywidgets as widgets
import numpy as np
import pandas as pd
from torch import nn

from ..lesson import Panel
from ..lesson.panel import WIDE
from ..training import evaluate
from . import figures
from .mixed import choose_bits, mixed_
from .post_training import WEIGHTS


def all_choices(model: nn.Module, costs: pd.DataFrame, split) -> pd.DataFrame:
    """Every way to give bits to layers, measured together on `split` = (x, y); costs: as `mixed.bit_costs` gives it.

    Columns: each layer's bits, bytes, accuracy, and loss (cross-entropy, nats). So many rows as options ** layers.
    """
    layers, options = list(dict.fromkeys(costs.layer)), sorted(costs.bits.unique())
    sizes = costs.set_index(["layer", "bits"]).bytes
    rounded = {(name, b): _rounded(model, name, int(b)) for name in layers for b in options}
    changed, rows = copy.deepcopy(model), []
    for choice in product(options, repeat=len(layers)):
        for name, b in zip(layers, choice):
            changed.get_submodule(name).weight.data = rounded[name, b]
        cost = evaluate(changed, split)
        size = sum(int(sizes[pair]) for pair in zip(layers, choice))
        rows.append(dict(zip(layers, map(int, choice))) | dict(bytes=size, accuracy=cost.accuracy, loss=cost.loss))
    return pd.DataFrame(rows)


def _rounded(model: nn.Module, name: str, bits: int):
    quantised = mixed_(copy.deepcopy(model), {name: bits}, WEIGHTS)
    return quantised.get_submodule(name).weight.detach()


def budget_explorer(costs: pd.DataFrame, choices: pd.DataFrame) -> Panel:
    """A budget for all weights in bytes -> the bits that `mixed.choose_bits` gives each layer.

    costs: as `mixed.bit_costs` gives it; choices: as `all_choices` does. `panel.tried` is a dict {budget: row of
    choices}.
    """
    layers, tried = list(dict.fromkeys(costs.layer)), {}
    least, most = (int(costs.groupby("layer").bytes.agg(end).sum()) for end in ("min", "max"))
    shown, place = choices.drop(columns="loss"), choices.reset_index().set_index(layers)["index"]

    @cache
    def chosen(budget):
        bits = choose_bits(costs, budget)
        return int(place[tuple(bits[name] for name in layers)])

    def draw(budget):
        tried[budget] = chosen(budget)
        return figures.mixed_bits(shown, tried[budget], budget)

    step = max(1, (most - least) // 400)
    start = int(np.clip(least + (most - least) // 4, least, most))
    slider = widgets.IntSlider(start, min=least, max=most, step=step, description="Budget (bytes)", layout=WIDE)
    note = "Left: the bits of each layer. Right: all choices there are, each measured; the star is the one chosen."
    panel = Panel(draw, dict(budget=slider), label="Bits under a byte budget", note=note)
    panel.tried = tried
    return panel
