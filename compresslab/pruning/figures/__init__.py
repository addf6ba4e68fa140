"""Pictures of lessons 30 and 31: tables in, plotly figure out."""

from ._cost import break_even, cost
from ._structures import dependencies, differences, heads, ratios, staircase
from ._weights import budget, cut, gradual, histogram, over_sparsity

__all__ = [
    "break_even",
    "budget",
    "cost",
    "cut",
    "dependencies",
    "differences",
    "gradual",
    "heads",
    "histogram",
    "over_sparsity",
    "ratios",
    "staircase",
]
