"""Pictures of lessons 40, 41 and 42: tables and tensors in, plotly figure out."""

from ._low import group_sizes, mixed_bits, over_bits, paired, straight_through
from ._models import calibration_size, enough_examples, ladder, layer_costs, layer_noise
from ._numbers import channel_ranges, clipping, decibels, quantised, ranges, spacing, staircase

__all__ = [
    "calibration_size",
    "channel_ranges",
    "clipping",
    "decibels",
    "enough_examples",
    "group_sizes",
    "ladder",
    "layer_costs",
    "layer_noise",
    "mixed_bits",
    "over_bits",
    "paired",
    "quantised",
    "ranges",
    "spacing",
    "staircase",
    "straight_through",
]
