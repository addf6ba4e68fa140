"""What makes a notebook a lesson: set-up, pictures, live panels, exercises, predictions, progress."""

from . import progress, theme
from .exercise import Exercise, Mistake, RecordedExercise
from .figure import show
from .panel import Panel
from .predict import predict
from .progress import board
from .setup import setup
from .source import code

__all__ = [
    "Exercise",
    "Mistake",
    "Panel",
    "RecordedExercise",
    "board",
    "code",
    "predict",
    "progress",
    "setup",
    "show",
    "theme",
]
