"""The live panel of lesson 41: which layers are quantised, to how many bits, and what becomes of them."""

import copy
from functools import cache

import ipywidgets as widgets
import torch
from torch import nn

from ..intervals import wilson_interval
from ..layers import layers_of
from ..lesson import Panel
from ..lesson.panel import WIDE, tick_box
from ..training import evaluate
from . import figures
from .analysis import sqnr_by_layer
from .fake import freeze_
from .post_training import static_, weight_only_
from .scheme import Scheme


def layers_explorer(model: nn.Module, calibration: torch.Tensor, split) -> Panel:
    """Tick layers of a float `model`, and see the SQNR of every layer and the accuracy on `split` = (x, y).

    Codes are symmetric for weights and asymmetric for activations, whose ranges come from `calibration` (n, ...).
    `panel.tried` is a dict {(layers, bits, weights, granularity): accuracy}.
    """
    names, tried, shown = list(layers_of(model)), {}, split[0][:32]

    @cache
    def measured(layers, bits, weights, granularity):
        changed, scheme = copy.deepcopy(model), Scheme(bits, granularity=granularity)
        if layers and weights:
            weight_only_(changed, scheme, layers=layers)
        elif layers:
            static_(changed, calibration, scheme, Scheme(bits, symmetric=False, signed=False), layers=layers)
        changed = freeze_(changed)  # weights are rounded once, not again in every pass
        return sqnr_by_layer(model, changed, shown), evaluate(changed, split)

    def draw(bits, weights, granularity, **ticks):
        layers = tuple(name for name in names if ticks[f"layer {name}"])
        setting = layers, bits, weights, granularity
        table, right = measured(*setting)
        tried[setting] = right.accuracy
        low, high = wilson_interval(right.correct, right.n)
        name = f"{len(layers)} of {len(names)} layers in {bits} bits" if layers else "Every layer float"
        return figures.layer_noise(table, name, f"Right: {right.accuracy:.1%} ({low:.1%} to {high:.1%}).")

    controls = dict(
        bits=widgets.IntSlider(4, min=2, max=8, description="Bits", layout=WIDE),
        weights=widgets.Dropdown(
            options=[("weights and inputs", False), ("weights only", True)], description="Quantise", layout=WIDE
        ),
        granularity=widgets.Dropdown(options=["channel", "tensor"], description="A weight scale for each", layout=WIDE),
    )
    controls |= {f"layer {name}": tick_box(f"Layer {name}", ticked=True) for name in names}
    note = "Upper picture: SQNR of whole tensors. Lower picture: of the median channel. No point: no noise."
    panel = Panel(draw, controls, label="Which layers, how many bits", note=note)
    panel.tried = tried
    return panel
