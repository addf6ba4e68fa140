"""The live panel of lesson 00: two sliders, a real network, and every attempt so far."""

import ipywidgets as widgets

from ..lesson import Panel
from . import figures
from .attempts import attempt
from .packing import BITS


def course_explorer(model, split) -> Panel:
    """Sparsity and bits of `model`; accuracy on `split` and bytes, with all that was tried before.

    `panel.tried` is a dict of the attempts so far.
    """
    original = attempt(model, split, 0.0, 32)
    tried = {(0.0, 32): original}
    wide = widgets.Layout(width="360px", max_width="100%")
    controls = dict(
        sparsity=widgets.FloatSlider(
            0, min=0, max=0.98, step=0.02, description="Sparsity", readout_format=".0%", layout=wide
        ),
        bits=widgets.SelectionSlider(
            options=[(f"{b} bits", b) for b in BITS], value=32, description="Numbers of", layout=wide
        ),
    )  # fmt: skip

    def draw(sparsity, bits):
        key = (round(sparsity, 2), bits)
        tried.setdefault(key, attempt(model, split, *key))
        return figures.attempts(list(tried.values()), tried[key], original)

    panel = Panel(draw, controls, label="The whole course in one panel")
    panel.tried = tried
    return panel
