"""The first cell of every lesson."""

import html

import pandas as pd
import plotly.io as pio
import torch
from IPython.display import display

from . import progress, theme
from .figure import load_plotly
from .names import free_keys


def setup(lesson: str, seed: int = 0) -> None:
    """Prepare a lesson: one thread, the seed, the look of pictures; show how much of it is done.

    lesson: a name in `progress.LESSONS`, else ValueError. One thread, because on networks this small more
    threads only get into each other's way.
    """
    if lesson not in progress.LESSONS:
        raise ValueError(f"lesson must be one of {', '.join(progress.LESSONS)}, got {lesson}")
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    pd.set_option("display.float_format", "{:.4g}".format, "display.max_colwidth", None)
    load_plotly()  # on its way while the reader reads
    free_keys()
    pio.renderers.default = "plotly_mimetype"
    line = status(lesson)
    display(
        {
            "text/html": f"<style>{theme.css()}</style><p class='cl-line'>{html.escape(line)}</p>",
            "text/plain": line,
        },
        raw=True,
    )


def status(lesson: str) -> str:
    """One line: the lesson's title, how much of it is done, and the trouble with progress if there is one."""
    state, trouble = progress.load()
    title, exercises, predictions = progress.LESSONS[lesson]
    solved, locked = progress.counts(lesson, state)
    done = f"{solved} of {len(exercises)} exercises solved, {locked} of {len(predictions)} predictions locked"
    return f"{title}: {done}. {trouble}".strip()
