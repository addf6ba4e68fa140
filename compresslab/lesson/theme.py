"""One look for every picture and table: for light and dark themes, and without colour vision.

Backgrounds are transparent. Text is drawn in one mid grey that is readable on white and on black, and `css()`
puts JupyterLab's own text colour in its place. Every series has a colour, a dash and a marker.
"""

import textwrap
from collections.abc import Iterable

import numpy as np
import plotly.graph_objects as go

# Okabe & Ito, "Color Universal Design" (2008), with luminances moved into 0.117-0.300 so that every colour
# has a contrast of at least 3:1 (WCAG 2.2, 1.4.11) on white and on JupyterLab's dark background #111111.
COLORS = ("#0072B2", "#C48600", "#009E73", "#D55E00", "#BF6497", "#3D93C9", "#8F8400", "#7A7A7A")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross", "star", "triangle-down")
TEXT = "rgb(117, 117, 117)"
GRID = "rgba(128, 128, 128, 0.25)"
LINE = "rgba(128, 128, 128, 0.6)"
LOG = dict(type="log", tickvals=[m * 10.0**k for k in range(-4, 7) for m in (1, 2, 5)], tickformat=",~g")
DOTTED = dict(color=TEXT, dash="dot", width=1)  # the line of something to compare with: a limit, zero, no change
CONFIG = dict(responsive=True, displaylogo=False, showSendToCloud=False, modeBarButtonsToRemove=["select2d", "lasso2d"])

_AXIS = dict(gridcolor=GRID, zerolinecolor=LINE, linecolor=LINE, ticks="outside", tickcolor=LINE, automargin=True)
_SCALE = [dict(colorscale="Cividis")]
TEMPLATE = go.layout.Template(
    data=dict(contour=_SCALE, heatmap=_SCALE),
    layout=dict(
        colorway=COLORS,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font=dict(color=TEXT, size=13),
        hoverlabel=dict(bgcolor="#fafafa", font=dict(color="#1a1a1a")),
        title=dict(
            x=0,
            xref="container",
            xanchor="left",
            y=1,
            yref="container",
            yanchor="top",
            font=dict(size=16),
            pad=dict(t=20, l=10),
        ),
        legend=dict(
            orientation="h",
            x=0,
            xanchor="left",
            y=0,
            yref="container",
            yanchor="bottom",
            bgcolor="rgba(0,0,0,0)",
            itemwidth=44,
        ),
        xaxis=_AXIS,
        yaxis=_AXIS,
        modebar=dict(bgcolor="rgba(0,0,0,0)", color=TEXT, activecolor=COLORS[0]),
    ),
)


def style(i: int) -> dict:
    """The look of series number i, as arguments of `go.Scatter`: colour, dash and marker."""
    color = COLORS[i % len(COLORS)]
    return dict(
        line=dict(color=color, dash=DASHES[i % len(DASHES)]),
        marker=dict(color=color, symbol=SYMBOLS[i % len(SYMBOLS)]),
    )


def series(names: Iterable[str]) -> dict[str, dict]:
    """{name: arguments of `go.Scatter`}.

    Pass all names that can occur, and draw those that are chosen: then each keeps its look.

    >>> series(["sgd", "adam"])["adam"]["line"]["dash"]
    'dash'
    """
    return {name: dict(name=name, **style(i)) for i, name in enumerate(names)}


def band(x, low, high, look: dict) -> dict:
    """The band from `low` to `high` along x, as arguments of `go.Scatter`; `look`: that of its line in `series`."""
    return dict(
        x=np.concatenate([x, x[::-1]]), y=np.concatenate([high, low[::-1]]), fill="toself", mode="lines", opacity=0.2,
        fillcolor=look["line"]["color"], line=dict(width=0), hoverinfo="skip", showlegend=False, name=look["name"],
        legendgroup=look["name"],
    )  # fmt: skip


def spread(middle, low, high, **look) -> dict:
    """The interval from `low` to `high` around each of `middle`, as `error_x` or `error_y` of `go.Scatter`.

    >>> spread(3, low=1, high=4, thickness=2)
    {'array': array([1]), 'arrayminus': array([2]), 'thickness': 2}
    """
    middle, low, high = np.atleast_1d(middle, low, high)
    return dict(array=high - middle, arrayminus=middle - low, **look)


def ink(paper: str) -> str:
    """Black or white, whichever is easier to read on a colour "rgb(red, green, blue)": at least 4.5 : 1 (WCAG 2.2).

    >>> ink("rgb(0, 34, 78)"), ink("rgb(254, 232, 56)")
    ('white', 'black')
    """
    channels = [float(c) / 255 for c in paper[paper.index("(") + 1 : -1].split(",")]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "black" if luminance > 0.179 else "white"


def dress(fig: go.Figure, *, title: str, alt: str, x: str = "", y: str = "", height: int = 380, **layout) -> go.Figure:
    """Give a figure the course's look, its title, axis titles and alternative text, as in `figure`."""
    lines = textwrap.wrap(title, 70) or [""]
    fig.update_layout(
        template=TEMPLATE,
        title=dict(text="<br>".join(lines)),
        meta={"alt": alt},
        height=height,
        autosize=True,
        margin=dict(l=60, r=20, t=34 + 20 * len(lines), b=50),
        overwrite=True,  # half the time of a merge
    )
    fig.layout.xaxis.title.text, fig.layout.yaxis.title.text = x, y
    return fig.update_layout(**layout)


def figure(*, title: str, alt: str, x: str = "", y: str = "", height: int = 380, **layout) -> go.Figure:
    """An empty figure with the course's look.

    title: the takeaway in a sentence; alt: one sentence made from the same numbers as the picture; x, y: axis
    titles with units; height in pixels; layout: anything else for `update_layout`.

    >>> figure(title="Loss falls", alt="The loss falls from 2.3 to 0.1.").layout.meta["alt"]
    'The loss falls from 2.3 to 0.1.'
    """
    return dress(go.Figure(), title=title, alt=alt, x=x, y=y, height=height, **layout)


def alt(fig: go.Figure) -> str:
    """The alternative text of a figure made by `figure` or `dress`; "" where there is none."""
    return (fig.layout.meta or {}).get("alt", "")


def number(value: float, digits: int = 3) -> str:
    """A number with `digits` significant digits, and without an exponent if it is large.

    >>> number(1024), number(153.2, 2), number(0.0123456), number(99.96)
    ('1,024', '153', '0.0123', '100')
    """
    return f"{value:,.0f}" if abs(value) >= 10**digits - 0.5 else f"{value:.{digits}g}"


def title(fig: go.Figure) -> str:
    """The title as plain text on one line."""
    return (fig.layout.title.text or "").replace("<br>", " ")


def css() -> str:
    """The style sheet of lessons: JupyterLab's variables, with fallbacks for readers outside JupyterLab."""
    return _CSS


# JupyterLab puts an empty picture into a figure's output before plotly draws there. plotly takes its 15 pixels for a
# height that the page gives, and lets go of its own when the window's height changes: the figure would be gone.
# MathJax's hidden text for screen readers may be wider than its formula: at a line's end the page scrolled sideways.
_CSS = """
.js-plotly-plot text[style*="fill: rgb(117, 117, 117)"] {
  fill: var(--jp-content-font-color1, rgb(90, 90, 90)) !important; }
.js-plotly-plot .parcoords text[style*="fill: rgb(117, 117, 117)"] {
  text-shadow: 0 0 3px var(--jp-layout-color0, white), 0 0 3px var(--jp-layout-color0, white),
    0 0 3px var(--jp-layout-color0, white) !important; }
.jp-RenderedPlotly > .plot-img:not([src]) { display: none; }
.jp-RenderedHTMLCommon pre, .jp-RenderedText pre { word-break: normal !important; overflow-wrap: anywhere; }
.jp-RenderedHTMLCommon mjx-assistive-mml { left: 0; max-width: 100%; }
.jp-RenderedMarkdown details { margin-bottom: .8em; }
.cl-report, .cl-board, .cl-line, .cl-caption, .cl-panel .widget-html-content {
  color: var(--jp-content-font-color1, #212121); font-size: var(--jp-content-font-size1, 14px); line-height: 1.5;
  font-family: var(--jp-content-font-family, system-ui, sans-serif); }
.cl-caption { color: var(--jp-content-font-color2, #555); margin: 0 0 .6em; max-width: 80ch; }
.cl-report { border-left: 6px solid var(--cl-tone); padding: .4em .9em; margin: .4em 0; max-width: 90ch;
  overflow-wrap: anywhere; }
.cl-report p { margin: .2em 0; }
.cl-report pre { overflow-x: auto; margin: .4em 0; padding: .5em; background: var(--jp-layout-color2, #eee);
  color: inherit; white-space: pre-wrap; }
.cl-report details { margin: .3em 0 .3em .6em; }
.cl-report summary { cursor: pointer; padding: .15em 0; color: var(--jp-content-link-color, #0b57a4); }
.cl-solved { --cl-tone: var(--jp-success-color1, #2e7d32); }
.cl-wrong { --cl-tone: var(--jp-error-color1, #c62828); }
.cl-todo { --cl-tone: var(--jp-border-color0, #757575); }
.cl-board table { border-collapse: collapse; margin: .4em 0; overflow-wrap: break-word; }
.cl-board caption { text-align: left; font-weight: 600; padding: .3em 0; color: inherit; }
.cl-board th, .cl-board td { text-align: left !important; padding: .3em .8em;
  border: 1px solid var(--jp-border-color2, #ccc); }
.cl-panel { padding: .3em 0; }
.cl-controls { display: flex; flex-flow: row wrap; gap: .2em 1.2em; overflow: visible; }
.cl-controls .widget-label { width: auto; text-align: left; margin-right: 8px; }
.cl-controls .widget-slider { width: 310px; max-width: 100%; }
.cl-alert:not(:empty) { border-left: 6px solid var(--jp-error-color1, #c62828); padding: .3em .8em; }
.cl-report summary:focus-visible, .cl-panel button:focus-visible, .cl-panel input:focus-visible,
.cl-panel select:focus-visible, .cl-panel .noUi-handle:focus-visible, .cl-panel .widget-readout:focus-visible {
  outline: 3px solid var(--jp-brand-color1, #1976d2) !important; outline-offset: 2px; }
"""
