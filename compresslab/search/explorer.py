"""The live panels of lessons 20 and 21: controls -> numbers -> figure."""

import ipywidgets as widgets
import numpy as np
import pandas as pd

from ..lesson import Panel
from ..lesson.panel import WIDE
from . import figures, spaces
from .analysis import nearest

METHODS = ("grid", "random", "sobol")


def landscape_explorer(space: dict, table: pd.DataFrame, metric: str = "error", budget: int = 64) -> Panel:
    """Grid, random and Sobol' search with a budget of trials, played on a landscape that was trained.

    `space` has two numeric axes, `table` is the trained grid over it (`evaluate_batch(objective, grid(space, 24))`). A
    trial is the network of the table that lies nearest to the point that the method chose. Raises ValueError
    for any other space.
    """
    if len(space) != 2 or not all(hasattr(axis, "share") for axis in space.values()):
        raise ValueError(f"space must have two numeric axes, got {', '.join(space)}")
    asked: dict[tuple, list[int]] = {}

    def positions(method: str, n: int, seed: int) -> list[int]:
        """Rows of the table that a method visits with n trials."""
        if method == "grid":
            n = int(n**0.5) ** 2
        longest = n if method == "grid" else budget  # a longer random search begins with the shorter one
        key = (method, longest, seed * (method != "grid"))
        if key not in asked:
            configs = (
                spaces.grid(space, int(n**0.5)) if method == "grid" else getattr(spaces, method)(space, longest, seed)
            )
            asked[key] = nearest(space, table, configs)
        return asked[key][:n]

    scores = table.score.fillna(np.inf).to_numpy()

    def curve(method: str, seed: int) -> np.ndarray:
        if method == "grid":
            found = [scores[positions(method, n, seed)].min() for n in range(1, budget + 1)]
        else:
            found = np.minimum.accumulate(scores[positions(method, budget, seed)])
        return np.minimum(found, table.score.max())  # nothing found yet counts as the worst score

    def draw(method, n, seed):
        curves = {name: curve(name, seed) for name in METHODS}
        return figures.played(space, table, positions(method, n, seed), curves, method, metric)

    controls = dict(
        method=widgets.Dropdown(options=list(METHODS), value="random", description="Method", layout=WIDE),
        n=widgets.IntSlider(min(16, budget), min=1, max=budget, description="Budget (trials)", layout=WIDE),
        seed=widgets.IntSlider(0, min=0, max=9, description="Seed", layout=WIDE),
    )
    note = "A grid takes the largest square number of trials that the budget pays for, and has no seed."
    return Panel(draw, controls, label="Search on a trained landscape", note=note)


def rungs_explorer(log: pd.DataFrame, metric: str = "error") -> Panel:
    """The brackets of a Hyperband run, one at a time; `log` is the second table that `halving.hyperband` returns."""
    brackets = list(dict.fromkeys(log.bracket.tolist()))
    controls = dict(
        bracket=widgets.SelectionSlider(options=brackets, value=brackets[0], description="Bracket s", layout=WIDE)
    )
    return Panel(lambda bracket: figures.rungs(log, bracket, metric), controls, label="The rungs of one bracket")
