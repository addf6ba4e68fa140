"""The live panel of lesson 90: a budget and a limit on the work, and who is left."""

import math

import ipywidgets as widgets
import pandas as pd

from ..lesson import Panel
from ..lesson.panel import WIDE, log_slider
from . import figures
from .board import front, nearest, shortfall
from .task import BUDGET, Budget


def board_explorer(table: pd.DataFrame, budget: Budget = BUDGET) -> Panel:
    """A `board.board`, whose first row is the original: set the budget and the CPU seconds, and see who keeps it."""
    most = math.ceil(10 * table.cpu_seconds.max()) / 10

    def draw(kb, speedup, drop, cpu_seconds):
        wish = Budget(kb, speedup, drop, budget.batch)
        affordable = table[table.cpu_seconds <= cpu_seconds]
        pick = nearest(affordable, wish)  # never None: the original cost nothing
        on_front = front(table, wish, cpu_seconds)
        return figures.size_and_time(table, on_front, wish, cpu_seconds, told(affordable, pick, wish), pick["name"])

    controls = dict(
        kb=log_slider(budget.kb / 12, 1000, "File, at most (kB)", budget.kb),
        speedup=log_slider(budget.speedup / 5, 10, "Times as fast, at least", budget.speedup),
        drop=widgets.FloatSlider(
            budget.drop, min=0, max=10, step=0.1, readout_format=".1f", description="Points lost, at most", layout=WIDE
        ),
        cpu_seconds=widgets.FloatSlider(
            most, min=0, max=most, step=0.1, readout_format=".1f", description="Work, at most (CPU s)", layout=WIDE
        ),
    )
    note = (
        "Stars keep the budget for certain: the unfavourable end of each interval does. Crosses cost more work than "
        "you allow. The front: of the others, those whose answers may do and that nobody beats in size and time."
    )
    return Panel(draw, controls, label="The board", note=note)


def told(affordable: pd.DataFrame, pick: pd.Series, budget: Budget) -> str:
    """The title: the choice, or of the nearest what it lacks most."""
    lacks = shortfall(affordable, budget)
    keep = int((lacks.sum(axis=1) == 0).sum())
    if keep:
        return f"{keep} of {len(affordable)} {'keeps' if keep == 1 else 'keep'} the budget; hand in {pick['name']}"
    lack = lacks.loc[pick.name].idxmax()
    words = dict(
        smaller=f"size ({pick.kb:.3g} kB of {budget.kb:.3g})",
        faster=f"speed ({pick.speedup:.2f} times, for certain {pick.speedup_low:.2f}, of {budget.speedup:.3g})",
        answers=f"answers ({pick.points:+.1f} points, perhaps {pick.points_low:+.1f}, of -{budget.drop:.1f})",
    )
    return f"None of {len(affordable)} keeps the budget. Nearest: {pick['name']}; what it lacks most: {words[lack]}"
