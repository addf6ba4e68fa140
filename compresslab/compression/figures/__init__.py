"""Pictures of lessons 50 and 51: tables and tensors in, plotly figure out."""

from .deep_compression import gap_lengths, over_values, shared_values, size_and_error, symbol_codes, waterfall
from .distillation import balance, gradient_size, soft_answer, students

__all__ = [
    "balance",
    "gap_lengths",
    "gradient_size",
    "over_values",
    "shared_values",
    "size_and_error",
    "soft_answer",
    "students",
    "symbol_codes",
    "waterfall",
]
