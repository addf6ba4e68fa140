"""The live panel of lesson 00: two sliders, a real network, and every attempt so far."""

import copy

import ipywidgets as widgets
import pandas as pd

from ..lesson import Panel
from ..measure import accuracy
from . import figures
from .packing import BITS, pack, prune, unpack


def attempt(model, split, sparsity: float, bits: int) -> dict:
    """Prune, quantise, write, read back and test: one row with sparsity, bits, size_bytes and the accuracy's interval.

    The accuracy is that of the network read back from the file's bytes. `model` stays as it is.
    """
    file = pack(prune(model.state_dict(), sparsity), bits)
    reader = copy.deepcopy(model)
    reader.load_state_dict(unpack(file))
    score = accuracy(reader, split)
    return dict(
        sparsity=sparsity, bits=bits, size_bytes=len(file),
        accuracy=score.accuracy, accuracy_low=score.low, accuracy_high=score.high,
    )  # fmt: skip


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


def smallest(tried, accuracy: float) -> dict:
    """The attempt with the fewest bytes among those with at least this accuracy."""
    return min((row for row in tried if row["accuracy"] >= accuracy), key=lambda row: row["size_bytes"])


def summary(attempts: dict[str, dict]) -> pd.DataFrame:
    """{name: attempt} as a table: bytes, how many times smaller than the first, accuracy with its interval."""
    table = pd.DataFrame(attempts).T
    percent = {key: (100 * table[key].astype(float)).round(1) for key in ("accuracy", "accuracy_low", "accuracy_high")}
    return pd.DataFrame(
        {
            "size_bytes": table.size_bytes.astype(int),
            "times_smaller": (table.size_bytes.iloc[0] / table.size_bytes).astype(float).round(1),
            "accuracy_%": percent["accuracy"],
            "95 % interval": [f"{a} to {b}" for a, b in zip(percent["accuracy_low"], percent["accuracy_high"])],
        }
    )
