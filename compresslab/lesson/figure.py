"""Showing figures: `show` for a plain figure and its sentence, `LiveFigure` for one that changes in place."""

import base64
import html
import io
import os
import warnings
from copy import deepcopy
from functools import cache
from pathlib import Path

import anywidget
import plotly
import plotly.graph_objects as go
import traitlets
from IPython.display import display
from plotly.serializers import _py_to_js

from . import theme


def static() -> bool:
    """True while the committed notebooks are refreshed: figures then also carry a picture."""
    return bool(os.environ.get("COMPRESSLAB_STATIC"))


def show(fig: go.Figure) -> None:
    """Display a plain figure and, under it, its alternative text."""
    data, metadata = bundle(fig)
    data["application/vnd.plotly.v1+json"] = {**fig.to_plotly_json(), "config": theme.CONFIG}
    display(data, metadata=metadata, raw=True)
    say(theme.alt(fig), "cl-caption")


def say(sentence: str, kind: str = "cl-line") -> None:
    """Display a sentence as a paragraph; nothing if it is empty."""
    if sentence:
        display({"text/html": paragraph(sentence, kind), "text/plain": sentence}, raw=True)


def bundle(fig: go.Figure) -> tuple[dict, dict]:
    """(data, metadata) by MIME type: a figure's text twin and, in static mode, its picture with alt text."""
    data, metadata = {"text/plain": f"{theme.title(fig)}\n{theme.alt(fig)}"}, {}
    if static():
        data["image/png"] = base64.b64encode(png(fig)).decode()
        metadata["image/png"] = {"alt": theme.alt(fig)}
    return data, metadata


def paragraph(sentence: str, kind: str = "cl-line") -> str:
    """A sentence as an HTML paragraph of class `kind`."""
    return f'<p class="{kind}">{html.escape(sentence)}</p>'


def alert(error: Exception) -> str:
    """An error in one sentence, as an HTML paragraph that a screen reader reads out."""
    sentence = html.escape(f"{type(error).__name__}: {error}")
    return f'<p class="cl-line cl-alert" role="alert">{sentence}</p>'


@cache
def _start_kaleido() -> None:
    import kaleido

    kaleido.start_sync_server(silence_warnings=True)


def png(fig: go.Figure) -> bytes:
    """The figure as PNG bytes on white; 192 colours, so that notebooks stay small and no two series merge."""
    from PIL import Image

    _start_kaleido()
    plain = go.Figure(fig).update_layout(paper_bgcolor="white", plot_bgcolor="white", font_color="#222222")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # plotly passes options that a running kaleido server ignores
        picture = plain.to_image(format="png", width=720, height=fig.layout.height or 380, scale=1.5)
    small = Image.open(io.BytesIO(picture)).convert("RGB").quantize(192, dither=Image.Dither.NONE)
    file = io.BytesIO()
    small.save(file, "PNG", optimize=True)
    return file.getvalue()


# A FigureWidget ships plotly's 5 MB JavaScript with every figure. Here one loader widget ships it once, and
# the figures wait for the promise that it keeps. The promise lives in the page and is named by version, so a
# restarted kernel or a second notebook in the same page finds plotly already there. Nothing waits for it in
# `initialize`: anywidget gives up on a widget that needs more than two seconds to start.
_PROMISE = (
    f'const shared = (globalThis["compresslab plotly {plotly.__version__}"] ??= '
    "(() => { let done; const ready = new Promise(f => done = f); return {ready, done}; })());\n"
)


class _Loader(anywidget.AnyWidget):
    _esm = (
        _PROMISE
        + """
export default {
  initialize({model}) {
    if (shared.started) return;
    shared.started = true;
    const url = URL.createObjectURL(new Blob([model.get("source")], {type: "text/javascript"}));
    import(url).then(module => { shared.done(module.default); URL.revokeObjectURL(url); });
  }
}"""
    )
    source = traitlets.Unicode().tag(sync=True)


@cache
def load_plotly() -> _Loader:
    """Send plotly's JavaScript to the page, once a kernel."""
    bundle = Path(plotly.__file__).parent / "package_data" / "widgetbundle.js"
    return _Loader(source=bundle.read_text("utf-8"))


class LiveFigure(go.FigureWidget):
    """A FigureWidget that shares plotly's JavaScript and shows its latest state after a reload."""

    _esm = (
        _PROMISE
        + """
export default () => {
  let figure;
  return {
    initialize(context) {
      figure = shared.ready.then(plotly => { const made = plotly(); made.initialize(context); return made; });
    },
    async render(context) { return (await figure).render(context); }
  };
}"""
    )

    def __init__(self, *args, **kwargs):
        load_plotly()
        super().__init__(*args, **kwargs)
        self._config = {**self._config, **theme.CONFIG}

    def get_state(self, key=None, drop_defaults=False):
        state = super().get_state(key=key, drop_defaults=drop_defaults)
        for name, current in (("_widget_data", "_data"), ("_widget_layout", "_layout")):
            if name in state and getattr(self, current, None) is not None:
                state[name] = _py_to_js(deepcopy(getattr(self, current)), self)
        return state
