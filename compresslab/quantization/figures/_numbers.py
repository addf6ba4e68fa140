"""Pictures of lesson 40: how fine formats are, the staircase of codes, clipping, ranges, and decibels over bits."""

import textwrap
from functools import cache

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from ...lesson import theme
from ..affine import dequantize
from ..formats import formats
from ..scheme import Scheme

BINS = 100
COUNTS = dict(type="log", exponentformat="power", dtick=1, autorangeoptions=dict(clipmin=0.7))  # below 1: no value


def spacing(names: list[str]) -> go.Figure:
    """How far apart neighbours are, over the size of the number, for formats of the table (`formats.formats`)."""
    table = formats().set_index("format").loc[names]
    told = ", ".join(f"{name} {row.spacing_near_1:.2g} up to {row.largest:.3g}" for name, row in table.iterrows())
    fig = theme.figure(
        title="A float's neighbours move apart as it grows, an integer's do not",
        alt=f"Distance between neighbours over the size of the number, both logarithmic. Distance near 1, and largest "
        f"number: {told}.",
        x="size of the number", y="distance to the next number", height=420,
    )  # fmt: skip
    for (name, row), look in zip(table.iterrows(), theme.series(names).values()):
        lowest = max(1e-6, row.smallest)
        powers = 2.0 ** np.arange(np.floor(np.log2(lowest)), np.log2(min(row.largest, 1e6)))
        ends = np.minimum(2 * powers, row.largest)
        steps = np.maximum(powers * row.spacing_near_1, row.smallest) if row.exponent_bits else powers**0
        xy = dict(x=np.stack([powers, ends]).T.ravel(), y=np.repeat(steps, 2))
        fig.add_scatter(**xy, mode="lines", name=name, line=look["line"])
    fig.update_xaxes(type="log", exponentformat="power", dtick=2)
    return fig.update_yaxes(type="log", exponentformat="power", dtick=2)


def _stairs(scale: float, zero_point: int, scheme: Scheme, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """x and y of the line that takes a value between low and high to its copy: a step for each code."""
    codes = torch.arange(scheme.qmin, scheme.qmax + 1, 2 if scheme.binary else 1)  # one bit has no zero
    copies = dequantize(codes, torch.tensor(scale), torch.tensor(zero_point), _whole(scheme)).double().numpy()
    edges = np.concatenate([[low], (copies[1:] + copies[:-1]) / 2, [high]]).clip(low, high)
    shown = np.diff(edges) > 0
    starts, ends = edges[:-1][shown], edges[1:][shown]
    return np.stack([starts, ends]).T.ravel(), np.repeat(copies[shown], 2)


def _whole(scheme: Scheme) -> Scheme:
    return Scheme(scheme.bits, scheme.symmetric, signed=scheme.signed)


def staircase(scale: float, zero_point: int, scheme: Scheme, low: float, high: float) -> go.Figure:
    """The copy of every value from low to high, and its error: half a step at most, and more where it is clipped."""
    x, y = _stairs(scale, zero_point, scheme, low, high)
    ends = [(code - zero_point) * scale for code in (scheme.qmin, scheme.qmax)]
    codes = 2**scheme.bits - (scheme.symmetric and scheme.signed and not scheme.binary)
    fig = make_subplots(2, 1, shared_xaxes=True, vertical_spacing=0.08, row_heights=[0.65, 0.35])
    theme.dress(
        fig, height=480, showlegend=False,
        title=f"{codes} codes from {ends[0]:.3g} to {ends[1]:.3g}: steps of {scale:.3g}, zero is code {zero_point}",
        alt=f"Upper picture: a staircase of {codes} codes, {scale:.3g} apart, from {ends[0]:.3g} to {ends[1]:.3g}, "
        f"along the line where copy and value are equal. Lower picture: the error, at most {scale / 2:.3g} between "
        "the ends.",
    )  # fmt: skip
    exact = dict(mode="lines", line=theme.DOTTED)
    fig.add_scatter(x=[low, high], y=[low, high], name="exact", **exact, row=1, col=1)
    fig.add_scatter(x=x, y=y, mode="lines", name="copy", line=theme.style(0)["line"], row=1, col=1)
    fig.add_scatter(x=x, y=y - x, mode="lines", name="error", line=dict(color=theme.COLORS[3]), row=2, col=1)
    fig.add_hrect(y0=-scale / 2, y1=scale / 2, fillcolor=theme.GRID, line_width=0, layer="below", row=2, col=1)
    named = sorted({scheme.qmin, zero_point, scheme.qmax})
    ticks = [f"code {code}: {(code - zero_point) * scale:.2f}" for code in named]
    fig.update_yaxes(tickvals=[(code - zero_point) * scale for code in named], ticktext=ticks, row=1, col=1)
    fig.update_yaxes(title_text="copy − value", row=2, col=1)
    return fig.update_xaxes(title_text="value", row=2, col=1)


def clipping(table: pd.DataFrame) -> go.Figure:
    """Squared error over the range, in two parts. Columns: share (of the largest value), rounding, clipping."""
    total = table.rounding + table.clipping
    best, full = table.share[total.idxmin()], table.share.idxmax()
    fig = theme.figure(
        title=f"The error is smallest at {best:.0%} of the largest value: {total.min() / total[full]:.2g} times that "
        "of the full range",
        alt=f"Over the range as a share of the largest value, the rounding error rises to {table.rounding[full]:.2g} "
        f"and the clipping error falls from {table.clipping.max():.2g} to {table.clipping[full]:.2g}. Their sum is "
        f"smallest, {total.min():.2g}, at {best:.0%}.",
        x="range (% of the largest value)", y="squared error, all values", height=400,
    )  # fmt: skip
    for (name, y), look in zip(
        {"rounding": table.rounding, "clipping": table.clipping, "both": total}.items(),
        theme.series(["rounding", "clipping", "both"]).values(),
    ):
        fig.add_scatter(x=100 * table.share.to_numpy(), y=y.to_numpy(), mode="lines", name=name, line=look["line"])
    fig.add_scatter(
        x=[100 * best], y=[total.min()], mode="markers", name="smallest",
        marker=dict(symbol="circle-open", size=14, color=theme.TEXT, line=dict(width=2)),
    )  # fmt: skip
    shown = total.max()
    return fig.update_yaxes(range=[0, 1.05 * min(shown, 3 * total[full])])


def channel_ranges(weight: torch.Tensor) -> go.Figure:
    """From the smallest to the largest weight of each output, widest first, and of the whole tensor.

    An output is a row of a linear weight (rows, inputs), a filter of a convolution (filters, inputs, height, width).
    """
    low, high = (edge.numpy() for edge in torch.aminmax(weight.flatten(1), dim=1))
    reach = np.maximum(-low, high)
    order, peak = np.argsort(-reach), reach.max()
    small, part = (reach < peak / 2).mean(), "row" if weight.ndim == 2 else "filter"
    fig = theme.figure(
        title=f"{small:.0%} of the {part}s need less than half of the range that one scale must cover",
        alt=f"Smallest and largest weight of each of {len(low)} {part}s, sorted. The widest {part} reaches "
        f"{peak:,.3g}, the median {part} {np.median(reach):,.2g}, the narrowest {reach.min():,.2g}.",
        x=f"{part}, widest first", y="weight",
    )  # fmt: skip
    rows, x = np.arange(1, len(low) + 1), np.repeat(np.arange(len(low) + 1) + 0.5, 2)[1:-1]
    style = dict(mode="lines", line=dict(color=theme.COLORS[0], width=1), showlegend=False, hoverinfo="skip")
    fig.add_scatter(x=x, y=np.repeat(high[order], 2), name="largest", **style)
    band = dict(fill="tonexty", fillpattern=dict(shape="/"))
    style_below = style | dict(name=f"range of the {part}", showlegend=True) | band
    fig.add_scatter(x=x, y=np.repeat(low[order], 2), **style_below)
    for sign, shown in ((1, True), (-1, False)):
        fig.add_scatter(
            x=rows[[0, -1]], y=[sign * peak] * 2, mode="lines", name="range of the tensor", showlegend=shown,
            line=dict(color=theme.COLORS[3], dash="dash"),
        )  # fmt: skip
    return fig


def _counted(values: np.ndarray, edges: np.ndarray) -> dict:
    """A histogram as the corners of one line; an empty bin is half a value, which the axis COUNTS leaves out."""
    counts = np.maximum(np.histogram(values.clip(edges[0], edges[-1]), edges)[0], 0.5)
    return dict(x=np.repeat(edges, 2)[1:-1], y=np.repeat(counts, 2), mode="lines")


def ranges(values: torch.Tensor, limits: dict[str, float]) -> go.Figure:
    """How many of all values have which size, and where each rule (its name) ends the range."""
    x = values.flatten().double().numpy()
    edges = np.linspace(min(x.min(), 0), x.max(), BINS + 1)
    told = ", ".join(f"{name} {limit:.3g}" for name, limit in limits.items())
    fig = theme.figure(
        title=f"One tensor, and ranges that end between {min(limits.values()):.3g} and {max(limits.values()):.3g}",
        alt=f"Histogram of {x.size:,} values up to {x.max():.3g}. The range ends at: {told}.",
        x="value", y="number of values", height=420,
    )  # fmt: skip
    fill = dict(fill="tozeroy", line=dict(color=theme.COLORS[7], width=1))
    fig.add_scatter(**_counted(x, edges), **fill, name="values", hoverinfo="skip")
    top = np.histogram(x, edges)[0].max()
    for (name, limit), look in zip(limits.items(), theme.series(limits).values()):
        fig.add_scatter(
            x=[limit, limit], y=[0.5, top], mode="lines+markers", name=f"{name}: {limit:.3g}",
            line=dict(width=2.5, **look["line"]), marker=look["marker"] | dict(size=9),
        )  # fmt: skip
    return fig.update_yaxes(**COUNTS)


def decibels(table: pd.DataFrame) -> go.Figure:
    """SQNR over bits: a line and a band for each kind of data. Columns: data, bits, sqnr_db, low, high."""
    names = list(dict.fromkeys(table.data))
    ends = table.groupby("data", sort=False).sqnr_db.agg(["first", "last"])
    fewest, most = table.bits.min(), table.bits.max()
    slope = (ends["last"] - ends["first"]) / (most - fewest)
    told = "; ".join(f"{name} {row['first']:.1f} to {row['last']:.1f} dB" for name, row in ends.iterrows())
    fig = theme.figure(
        title=f"From {fewest} to {most} bits each bit brings {slope.min():.1f} to {slope.max():.1f} dB; the height "
        "depends on the data",
        alt=f"Signal to quantization noise over bits, mean and 95 % interval. From {fewest} to {most} bits: {told}.",
        x="bits", y="SQNR (dB)", height=430,
    )  # fmt: skip
    for name, look in theme.series(names).items():
        rows = table[table.data == name]
        x = rows.bits.to_numpy()
        fig.add_scatter(**theme.band(x, rows.low, rows.high, look))
        fig.add_scatter(x=x, y=rows.sqnr_db.to_numpy(), mode="lines+markers", **look)
    return fig.update_xaxes(dtick=1)


@cache
def _frame() -> go.Figure:
    """The empty axes of `quantised`, which take longer to make than everything in them."""
    titles = ["value → copy", "everything tried", "how many values, how many copies"]
    fig = make_subplots(
        2, 2, specs=[[{}, {}], [{"colspan": 2}, None]], vertical_spacing=0.18, horizontal_spacing=0.12,
        subplot_titles=titles,
    )  # fmt: skip
    theme.dress(fig, title="", alt="", height=640).update_layout(margin_t=95)  # a title of two lines
    fig.update_xaxes(title_standoff=5).update_xaxes(title_text="value", col=1).update_yaxes(title_text="copy", col=1)
    fig.update_xaxes(title_text="bits a value, with the scales", range=[1.5, 10], row=1, col=2)
    fig.update_yaxes(title_text="SQNR (dB)", row=1, col=2)
    return fig.update_yaxes(title_text="number", **COUNTS, row=2, col=1)


def quantised(x: torch.Tensor, copies: torch.Tensor, blocks: dict, tried: list[dict], now: dict) -> go.Figure:
    """One tensor in few bits: its staircase, the SQNR of everything tried, and the histogram of values and copies.

    blocks: {name: (scale, zero_point, scheme)} of the blocks whose staircase is drawn. `tried` and `now` are rows with
    granularity, sqnr_db, bits_per_value, low and high (the ends of the widest range), different (copies), text.
    """
    values, copies = (tensor.flatten().double().numpy() for tensor in (x, copies))
    low, high = min(values.min(), 0.0), max(values.max(), 0.0)
    edges, rows = np.linspace(low, high, BINS + 1), pd.DataFrame(tried)
    line = dict(mode="lines")
    traces = [line | dict(x=[low, high], y=[low, high], name="exact", line=theme.DOTTED)]
    for i, (name, (scale, zero_point, scheme)) in enumerate(blocks.items()):
        stairs = dict(zip("xy", _stairs(scale, zero_point, scheme, low, high)))
        look = dict(color=theme.COLORS[(0, 3)[i]], dash=("solid", "dash")[i])
        traces.append(line | stairs | dict(name=name, line=look))
    lower = dict(xaxis="x3", yaxis="y3")
    fill = dict(fill="tozeroy", line=dict(color=theme.COLORS[7], width=1), hoverinfo="skip")
    traces.append(_counted(values, edges) | fill | lower | dict(name="values"))
    bold = dict(line=dict(color=theme.COLORS[4], width=1.5))
    top = traces[-1]["y"].max()
    traces.append(_counted(copies, edges) | bold | lower | dict(name="copies"))
    top = max(top, traces[-1]["y"].max())
    for i, end in enumerate((now["low"], now["high"])):
        dashed = dict(
            name="ends of the widest range", showlegend=not i, line=dict(color=theme.TEXT, dash="dash", width=1.5)
        )
        traces.append(line | dict(x=[end, end], y=[0.5, top]) | dashed | lower)
    right = dict(mode="markers", xaxis="x2", yaxis="y2")
    for name, look in theme.series(["tensor", "channel", "group"]).items():
        group = rows[rows.granularity == name]
        xy = dict(x=group.bits_per_value.to_numpy(), y=group.sqnr_db.to_numpy(), name=f"per {name}")
        traces.append(right | xy | dict(marker=look["marker"] | dict(size=9)))
    ring = dict(symbol="circle-open", size=18, color=theme.TEXT, line=dict(width=2))
    traces.append(right | dict(x=[now["bits_per_value"]], y=[now["sqnr_db"]], name="now", marker=ring))
    fig = go.Figure(_frame()).add_traces([go.Scatter(trace) for trace in traces])
    fig.layout.title.text = "<br>".join(textwrap.wrap(f"{now['text']}: {now['sqnr_db']:.1f} dB", 70))
    fig.layout.meta = {
        "alt": f"{now['text']}: SQNR {now['sqnr_db']:.1f} dB at {now['bits_per_value']:.2f} bits a value, the scales "
        f"counted. {values.size:,} values between {values.min():.3g} and {values.max():.3g} have "
        f"{now['different']:,} different copies; the widest range goes from {now['low']:.3g} to {now['high']:.3g}. "
        f"{len(tried)} setting{'s' * (len(tried) > 1)} tried."
    }
    return fig
