"""Showing the library's own code in a lesson."""

import inspect
from collections.abc import Callable

from IPython.display import display


def code(function: Callable) -> None:
    """Display the source of a function of the library, coloured like the cells around it."""
    source = inspect.getsource(function).rstrip()
    display({"text/markdown": f"```python\n{source}\n```", "text/plain": source}, raw=True)
