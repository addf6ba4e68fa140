"""The live panel of lesson 61: a budget, and which of the measured files remain."""

import ipywidgets as widgets
import numpy as np
import pandas as pd

from ..lesson import Panel
from ..lesson.panel import WIDE, log_slider
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
        kb=log_slider(0.9 * table.kb.min(), 1.1 * table.kb.max(), "File, at most (kB)"),
        ms=log_slider(0.9 * table.ms_low.min(), 1.1 * table.ms_high.max(), "Time, at most (ms)"),
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
