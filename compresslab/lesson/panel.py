"""A live panel: controls on top, the figure they change, and its sentence for screen readers under it."""

import itertools
import math
import threading
from collections.abc import Callable
from contextlib import contextmanager
from typing import NamedTuple

import ipywidgets as widgets
import numpy as np
import plotly.graph_objects as go
from IPython.display import display

from . import theme
from .figure import LiveFigure, alert, bundle, paragraph, say, static
from .names import Names

WIDE = widgets.Layout(width="340px", max_width="100%")  # of a control with a long name
SNUG = widgets.Layout(width="max-content")  # as wide as its name


def log_slider(low: float, high: float, description: str, value: float | None = None) -> widgets.FloatLogSlider:
    """About 200 steps from `low` to about `high`; `value` (high) is one, for the browser knows no numbers between."""
    value = high if value is None else value
    whole, part = math.log10(high / low), math.log10(value / low)
    step, start = part / round(200 * part / whole), math.log10(low)
    ends = dict(min=start, max=start + step * round(whole / step), step=step)
    return widgets.FloatLogSlider(value, **ends, readout_format=".3g", description=description, layout=WIDE)


def tick_box(description: str, ticked: bool = False) -> widgets.Checkbox:
    """A box to tick, as wide as its name."""
    return widgets.Checkbox(ticked, description=description, indent=False, layout=SNUG)


class Panel(widgets.VBox):
    """Controls and a live figure.

    draw(**values) -> go.Figure is called with {name: control.value} now and after every change. controls:
    {name: widget with a `value` and a `description`}. label: the panel's name for screen readers. note: a
    sentence above the controls. on_click(x, y), called with the data coordinates of a clicked point, may
    return {name: value} for controls to set. busy: a sentence that stands in for the caption while draw works, where
    that takes longer than the eye forgives. An exception in draw or on_click is shown in the panel as one
    sentence. An axis that changes between numbers and names must say its type. Raises ValueError for a
    control without description.
    """

    def __init__(
        self,
        draw: Callable[..., go.Figure],
        controls: dict[str, widgets.Widget],
        label: str,
        note: str = "",
        on_click: Callable[[float, float], dict | None] | None = None,
        busy: str = "",
    ):
        nameless = [name for name, control in controls.items() if not control.description]
        if nameless:
            raise ValueError(f"every control needs a description, got none for {', '.join(nameless)}")
        self.draw, self.controls, self.label, self.on_click = draw, dict(controls), label, on_click
        self.busy = paragraph(busy, "cl-caption") if busy else ""
        self.caption, self.alert = widgets.HTML().add_class("cl-live"), widgets.HTML()
        self.figure, self._drawn, self._held = None, Drawing([], {}), False
        self._lock, self._tickets, self._newest = threading.RLock(), itertools.count(), 0
        self.refresh()
        if self.figure is None:  # the first drawing failed
            self.figure = LiveFigure()
        for control in self.controls.values():
            control.style.description_width = "initial"
            control.observe(self._moved, "value")
        row = widgets.Box(list(self.controls.values())).add_class("cl-controls")
        head = [widgets.HTML(paragraph(note))] if note else []
        super().__init__([*head, row, self.figure, self.caption, self.alert, Names(label=label)])
        self.add_class("cl-panel")

    @contextmanager
    def held(self):
        """Draw nothing while the code inside moves controls, and once when it is done."""
        with self._lock:
            self._held = True
            try:
                yield
            finally:
                self._held = False
        self.refresh()

    def set(self, **values) -> None:
        """Set several controls and draw once."""
        with self.held():
            for name, value in values.items():
                self.controls[name].value = value

    def _moved(self, change) -> None:
        old, new = change["old"], change["new"]
        if isinstance(old, float) and isinstance(new, float) and math.isclose(old, new, rel_tol=1e-9):
            return  # a logarithmic slider sends its value back, rounded, when it is displayed
        self.refresh()

    def refresh(self) -> None:
        """Draw with the controls' current values. Of several calls that wait only the newest draws."""
        ticket = self._newest = next(self._tickets)
        with self._lock:
            if ticket != self._newest or self._held:
                return
            told, self.caption.value = self.caption.value, self.busy or self.caption.value
            with self._shown():
                fig = self.draw(**{name: control.value for name, control in self.controls.items()})
                self._copy(fig)
                told = paragraph(theme.alt(fig), "cl-caption")
            self.caption.value = told

    @contextmanager
    def _shown(self):
        """Exceptions of the code inside are shown in the panel; a success clears the last one."""
        try:
            yield
            self.alert.value = ""
        except Exception as error:
            self.alert.value = alert(error)

    def _copy(self, fig: go.Figure) -> None:
        """Bring the live figure to `fig`, sending only what differs from the last drawing (a zoom stays)."""
        new = Drawing([trace.to_plotly_json() for trace in fig.data], fig.layout.to_plotly_json())
        if self.figure is None:  # the first drawing travels with the figure itself
            self.figure, self._drawn = LiveFigure(fig), new
        live, old = self.figure, self._drawn
        self._drawn = Drawing([], {})  # after a failure half way everything is sent again
        alike = (a["type"] == b["type"] for a, b in zip(old.traces, new.traces))
        kept = sum(itertools.takewhile(bool, alike))
        if kept == len(new.traces):  # the traces left over are hidden: deleting them costs the browser a second drawing
            new.traces.extend({**trace, "visible": False} for trace in old.traces[kept:])
            kept = len(new.traces)
        with live.batch_update():
            for trace, before, after in zip(live.data[:kept], old.traces, new.traces):
                trace.update(changes(before, after), overwrite=True)
            live.layout.update(changes(old.layout, new.layout), overwrite=True)
        if kept < len(live.data):
            live.data = live.data[:kept]
        if kept < len(fig.data):
            live.add_traces(fig.data[kept:])
        for trace in live.data if self.on_click else ():
            trace.on_click(self._clicked)
        self._drawn = new

    def _clicked(self, trace, points, state) -> None:
        values = None
        with self._shown():
            if points.point_inds:
                values = self.on_click(points.xs[0], points.ys[0])
        if values:
            self.set(**values)

    def _repr_mimebundle_(self, **kwargs):
        data, metadata = bundle(self.figure) if static() else (super()._repr_mimebundle_(**kwargs), {})
        data["text/plain"] = f"{self.label}\n{theme.alt(self.figure)}"
        return data, metadata

    def _ipython_display_(self):
        data, metadata = self._repr_mimebundle_()
        display(data, metadata=metadata, raw=True)
        if static():  # a live panel has its caption inside
            say(theme.alt(self.figure), "cl-caption")


class Drawing(NamedTuple):
    """The properties of a figure's traces and layout when it was last drawn."""

    traces: list[dict]
    layout: dict


def changes(old: dict, new: dict) -> dict:
    """The properties in which two dicts of plotly properties differ; None where one is gone.

    >>> changes({"x": 1, "y": 2}, {"x": 1, "z": 3})
    {'y': None, 'z': 3}
    """
    keys = [*old, *(key for key in new if key not in old)]
    return {key: new.get(key) for key in keys if not _same(old.get(key), new.get(key))}


def _same(a, b) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)
