"""Predictions: choose, lock, measure, and see the gap between what was expected and what was measured."""

import html
import math
from dataclasses import dataclass

import ipywidgets as widgets
import plotly.graph_objects as go

from . import progress, theme
from .figure import paragraph, say, show
from .names import Names


@dataclass(frozen=True)
class Question:
    """What is asked: one of `options`, or a number from low to high (log: on a logarithmic scale)."""

    key: str
    text: str
    options: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    log: bool = False
    unit: str = ""

    def __post_init__(self):
        if self.options:
            if len(set(self.options)) < 2:
                raise ValueError(f"options must hold at least two different answers, got {list(self.options)}")
        elif self.low is None or self.high is None or not self.low < self.high:
            raise ValueError(f"low must be less than high, got low={self.low}, high={self.high}")
        elif self.log and self.low <= 0:
            raise ValueError(f"low must be positive on a logarithmic scale, got {self.low}")

    def allows(self, answer) -> bool:
        """Whether `answer` is one that can be given."""
        if self.options:
            return answer in self.options
        return isinstance(answer, (int, float)) and self.low <= answer <= self.high

    def show(self, answer) -> str:
        """An answer or a difference as text, with its unit."""
        return str(answer) if self.options else f"{theme.number(answer)} {self.unit}".strip()

    def verdict(self, locked, value, low: float | None = None, high: float | None = None) -> str:
        """One sentence: what was predicted, what was measured, and how far apart they are."""
        if self.options and value not in self.options:
            raise ValueError(f"value must be one of {', '.join(self.options)}, got {value}")
        measured = self.show(value) + ("" if low is None else f" ({theme.number(low)} to {theme.number(high)})")
        if locked is None:
            return f"No prediction locked. Measured: {measured}."
        told = f"You predicted {self.show(locked)}; measured: {measured}."
        if self.options:
            return f"{'Right.' if locked == value else 'Not this time.'} {told}"
        if locked == value or (low is not None and low <= locked <= high):
            return f"Right. {told}"
        word = "high" if locked > value else "low"
        if self.log and value > 0:
            return f"{told} Too {word} by a factor of {max(locked / value, value / locked):.3g}."
        return f"{told} Too {word} by {self.show(abs(locked - value))}."

    def gap(self, locked: float, value: float, low: float | None = None, high: float | None = None) -> go.Figure:
        """A number line with the prediction and the measured value with its interval."""
        fig = theme.figure(
            title="Your prediction and the measurement",
            alt=self.verdict(locked, value, low, high),
            x=self.unit,
            height=220,
        )
        interval = None if low is None else theme.spread(value, low, high, thickness=2)
        looks = theme.series(["predicted", "measured"])
        for name, x, error in (("predicted", locked, None), ("measured", value, interval)):
            fig.add_scatter(
                x=[x],
                y=[name],
                error_x=error,
                mode="markers+text",
                text=[self.show(x)],
                textposition="top center",
                cliponaxis=False,
                showlegend=False,
                **looks[name],
            )
        seen = [v for v in (self.low, self.high, value, low, high) if v is not None and (v > 0 or not self.log)]
        ends = [math.log10(v) if self.log else v for v in (min(seen), max(seen))]
        room = 0.05 * (ends[1] - ends[0])
        fig.update_traces(marker_size=13)
        fig.update_xaxes(type="log" if self.log else "linear", range=[ends[0] - room, ends[1] + room])
        return fig.update_yaxes(range=[-0.5, 1.8])


class Prediction(widgets.VBox):
    """The panel that `predict` makes. choice: the control; locked: the locked answer, or None."""

    def __init__(self, question: Question):
        self.question = question
        self.choice, self.button, self.line = (
            _control(question),
            widgets.Button(),
            widgets.HTML().add_class("cl-live"),
        )
        self.button.layout.width = "max-content"
        self.button.on_click(lambda _: self.lock() if self.locked is None else self.unlock())
        asked = widgets.HTML(f'<p class="cl-line"><strong>Predict.</strong> {html.escape(question.text)}</p>')
        answer = widgets.Box([self.choice, self.button]).add_class("cl-controls")
        super().__init__([asked, answer, self.line, Names(label="Prediction")])
        self.add_class("cl-panel")
        state, trouble = progress.load()
        kept = state["locked"].get(question.key)
        self.locked = kept if question.allows(kept) else None
        if self.locked is not None:
            self.choice.value = self.locked
        self._tell(trouble)

    def lock(self) -> None:
        """Fix the answer chosen now."""
        if self.choice.value is None:
            self._tell("Choose an answer first.")
        else:
            self.locked = self.choice.value
            self._tell(progress.record("locked", self.question.key, self.locked))

    def unlock(self) -> None:
        """Take the locked answer back, to choose again."""
        self.locked = None
        self._tell(progress.record("locked", self.question.key, None))

    def measure(self, value, low: float | None = None, high: float | None = None, because: str = "") -> None:
        """Display the gap between the locked answer and what was measured.

        value: one of the options (else ValueError), or a number; low, high: its interval; because: why it
        came out so.
        """
        if self.question.options or self.locked is None:
            say(f"{self.question.verdict(self.locked, value, low, high)} {because}".strip())
        else:
            show(self.question.gap(self.locked, value, low, high))
            say(because)

    def _tell(self, text: str) -> None:
        free = self.locked is None
        self.choice.disabled = not free
        self.button.description = "Lock prediction" if free else "Unlock and choose again"
        locked = "" if free else f"Locked: {self.question.show(self.locked)}."
        self.line.value = paragraph(f"{locked} {text}".strip())

    def _repr_mimebundle_(self, **kwargs):
        data = super()._repr_mimebundle_(**kwargs)
        data["text/plain"] = f"Predict. {self.question.text}"
        return data


def _control(q: Question):
    text, style = f"Your answer ({q.unit})" if q.unit else "Your answer", dict(description_width="initial")
    if q.options:
        narrow = dict(width="max-content")
        return widgets.RadioButtons(options=q.options, value=None, description=text, style=style, layout=narrow)
    digits = ",.3r" if q.high >= 1000 else ".3g"  # large numbers without an exponent
    look = dict(description=text, style=style, layout=dict(width="460px", max_width="100%"), readout_format=digits)
    if q.log:
        low, high = math.log10(q.low), math.log10(q.high)
        middle = math.sqrt(q.low * q.high)
        return widgets.FloatLogSlider(middle, min=low, max=high, step=(high - low) / 200, **look)
    middle = (q.low + q.high) / 2
    return widgets.FloatSlider(middle, min=q.low, max=q.high, step=(q.high - q.low) / 200, **look)


def predict(
    key: str,
    question: str,
    *,
    options=(),
    low: float | None = None,
    high: float | None = None,
    log: bool = False,
    unit: str = "",
) -> Prediction:
    """A panel that asks for one of `options`, or for a number from low to high (log: on a log scale).

    Raises ValueError for fewer than two options, for low >= high, and for a logarithmic scale that reaches
    zero.
    """
    return Prediction(Question(key, question, tuple(options or ()), low, high, log, unit))
