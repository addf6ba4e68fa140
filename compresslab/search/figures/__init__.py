"""Pictures of lessons 20 and 21: tables in, plotly figure out; only medians, ranks and labels are made here."""

from ._common import METRICS
from ._designs import chance, curse, folds, landscape, played, projection
from ._races import importance, parallel, pareto, regret, rungs

__all__ = [
    "METRICS", "chance", "curse", "folds", "importance", "landscape", "parallel", "pareto", "played", "projection",
    "regret", "rungs",
]  # fmt: skip
