"""The live panel of lesson 61: a budget, and which of the measured files remain."""

import math

import ipywidgets as widgets
import numpy as np
import pandas as pd

from ..lesson import Panel
from ..lesson.panel import WIDE
from ..measure import pareto
from . import figures
from .deployment import PREFER, choose, fits


def budget_explorer(table: pd.DataFrame) -> Panel:
    """A `deployment.decision_table`: set what may be spent, and see what remains and what would be shipped."""

    def draw(batch, kb, ms, agreement, prefer):
        rows = table[table.batch == batch].reset_index(drop=True)
        fit = fits(rows, kb, ms, agreement / 100).to_numpy()
        front = np.zeros(len(rows), bool)
        front[fit] = pareto(rows.kb[fit], rows.ms[fit])
        chosen = choose(rows[fit], prefer)
        told = f"{fit.sum()} of {len(rows)} remain"
        if chosen is not None:
            told += f"; ship {chosen.way}: {chosen.kb:.0f} kB, {chosen.ms:.3g} ms"
        pick = "" if chosen is None else chosen.way
        return figures.size_and_time(rows, front, fit, told, dict(kb=kb, ms=ms), pick)

    controls = dict(
        batch=widgets.ToggleButtons(options=sorted(table.batch.unique().tolist()), description="Batch", layout=WIDE),
        kb=_slider(table.kb.min(), table.kb.max(), "File, at most (kB)"),
        ms=_slider(table.ms_low.min(), table.ms_high.max(), "Time, at most (ms)"),
        agreement=widgets.FloatSlider(
            95, min=90, max=100, step=0.1, readout_format=".1f", description="Same answers, at least (%)", layout=WIDE
        ),
        prefer=widgets.Dropdown(options=PREFER, description="Of those ship the", layout=WIDE),
    )
    note = (
        "A point fits if the unfavourable end of its interval does: the slow end of the time, the low end of the "
        "agreement. Hollow: does not fit. Dashed: your budget. Fastest: the smallest of those that may be the fastest."
    )
    return Panel(draw, controls, label="Which file to ship", note=note)


def _slider(low: float, high: float, description: str) -> widgets.FloatLogSlider:
    """From a little below the least to a little above the most, on a log scale; starts at the most."""
    ends = math.log10(0.9 * low), math.log10(1.1 * high)
    style = dict(readout_format=".3g", description=description, layout=WIDE)
    return widgets.FloatLogSlider(1.1 * high, min=ends[0], max=ends[1], step=(ends[1] - ends[0]) / 200, **style)
