"""The live panel of lesson 42: a budget in bytes, and the bits that each layer gets."""

from functools import cache

import ipywidgets as widgets
import numpy as np
import pandas as pd

from ..lesson import Panel
from ..lesson.panel import WIDE
from . import figures
from .mixed import choose_bits


def budget_explorer(costs: pd.DataFrame, choices: pd.DataFrame) -> Panel:
    """A budget for all weights in bytes -> the bits that `mixed.choose_bits` gives each layer.

    costs: as `mixed.bit_costs` gives it; choices: as `mixed.all_choices` does. `panel.tried` is a dict {budget:
    row of choices}.
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
