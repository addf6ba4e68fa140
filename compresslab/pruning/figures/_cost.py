"""Pictures of the honest cost: dense against CSR over the sparsity, and all costs of several models side by side."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ...lesson import theme
from .. import break_even as edges

GROUP = ["outputs", "inputs", "batch"]
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


def break_even(table: pd.DataFrame, now: tuple | None = None) -> go.Figure:
    """Speedup of CSR over dense against sparsity: rows of `dense_and_csr` of one or more sizes and batches.

    `now` is the row (of `table.itertuples()`) that was measured last, and gets a ring. The band is where the
    intervals cannot tell which is faster, for the size and batch of `now`, or for the only one there is.
    """
    groups = {tuple(key): rows.sort_values("sparsity") for key, rows in table.groupby(GROUP, sort=False)}
    edge = {key: edges.break_even(rows) for key, rows in groups.items()}
    shown = (now.outputs, now.inputs, now.batch) if now else next(iter(groups)) if len(groups) == 1 else None
    title = _at(now) if now else _from(edge[shown]) if shown else _between(edge)
    said = "; ".join(f"{_name(key)}: {_said(edge[key], rows)}" for key, rows in groups.items())
    shapes = [dict(type="line", xref="paper", x0=0, x1=1, y0=1, y1=1, line=dict(color=theme.LINE, width=2))]
    if shown and len(groups[shown]) > 1:
        band = dict(x0=100 * edge[shown].low, x1=100 * edge[shown].high, yref="paper", y0=0, y1=1)
        shapes.append(dict(type="rect", fillcolor=theme.GRID, line_width=0, layer="below", **band))
    fig = theme.figure(
        title=title,
        alt=f"Time of the dense product divided by the time of the CSR product, over the share of zeros. {said}.",
        x="zeros (%)", y="CSR is faster (times)", height=430, shapes=shapes,
    )  # fmt: skip
    for rows, look in zip(groups.values(), theme.series(map(_name, groups)).values()):
        middle = rows.speedup.to_numpy()
        fig.add_scatter(
            x=100 * rows.sparsity.to_numpy(), y=middle, mode="lines+markers", **look,
            error_y=theme.spread(middle, rows.speedup_low, rows.speedup_high),
            customdata=rows[["dense_ms", "csr_ms"]].to_numpy(),
            hovertemplate="%{x:.0f} % zeros: %{y:.2f} times<br>dense %{customdata[0]:.3g} ms, "
            "CSR %{customdata[1]:.3g} ms<extra></extra>",
        )  # fmt: skip
    if now:
        ring = dict(symbol="circle-open", size=18, color=theme.TEXT, line=dict(width=2))
        fig.add_scatter(x=[100 * now.sparsity], y=[now.speedup], mode="markers", name="now", marker=ring)
    fig.update_xaxes(range=[min(45, 100 * table.sparsity.min() - 3), 101])
    return fig.update_yaxes(type="log", tickvals=TICKS, ticktext=[f"{tick:g}" for tick in TICKS])


def _name(key: tuple) -> str:
    return f"{key[0]} × {key[1]}, batch {key[2]}"


def _at(row: tuple) -> str:
    interval = f"({theme.number(row.speedup_low, 2)} to {theme.number(row.speedup_high, 2)})"
    return f"At {row.sparsity:.0%} zeros CSR is {theme.number(row.speedup, 2)} times as fast as dense {interval}"


def _said(edge: edges.BreakEven, rows: pd.DataFrame) -> str:
    one = next(rows.itertuples())
    return f"{_from(edge)}, {len(rows)} measured" if len(rows) > 1 else f"{_at(one)}, the only one measured"


def _from(edge: edges.BreakEven) -> str:
    if edge.sparsity is None:
        return "CSR is slower at the most zeros that were measured"
    return f"CSR is faster from {edge.sparsity:.0%} zeros on ({edge.low:.0%} to {edge.high:.0%})"


def _between(found: dict[tuple, edges.BreakEven]) -> str:
    known = [edge.sparsity for edge in found.values() if edge.sparsity is not None]
    if not known:
        return "CSR is slower at the most zeros that were measured"
    never = f", in {len(found) - len(known)} of {len(found)} never" if len(known) < len(found) else ""
    return f"CSR begins to be faster between {min(known):.0%} and {max(known):.0%} zeros{never}"


# column of `measure.compare` -> (title of its panel, its number as text)
COSTS = {
    "parameters": ("parameters", "{:,.0f}".format),
    "nonzeros": ("nonzeros", "{:,.0f}".format),
    "macs": ("multiply-accumulates", "{:,.0f}".format),
    "file_bytes": ("file (bytes)", "{:,.0f}".format),
    "gzip_bytes": ("file after gzip (bytes)", "{:,.0f}".format),
    "latency_ms": ("latency (ms)", "{:.3g}".format),
}


def cost(table: pd.DataFrame) -> go.Figure:
    """What `measure.compare` measured, as bars on one logarithmic scale: times the baseline, each with its number.

    The latency's bar is the paired ratio with its 95 % interval. Where the table has an accuracy it stands beside the
    model's name.
    """
    base = table.baseline.iloc[0]
    ratios = pd.DataFrame({key: table[key].astype(float) / float(table.loc[base, key]) for key in COSTS})
    ratios["latency_ms"] = 1 / table.speedup
    names = table.index.tolist()[::-1]  # the first on top
    fig = make_subplots(2, 3, subplot_titles=[title for title, _ in COSTS.values()], shared_yaxes=True,
                        horizontal_spacing=0.03, vertical_spacing=0.2)  # fmt: skip
    low, high = np.log10([ratios.min().min() / 1.3, max(ratios.max().max(), (1 / table.speedup_low).max()) * 1.1])
    for i, (key, (_, text)) in enumerate(COSTS.items()):
        place = dict(row=i // 3 + 1, col=i % 3 + 1)
        ratio = ratios.loc[names, key].to_numpy()
        spread = None
        if key == "latency_ms":
            rows = table.loc[names]
            spread = theme.spread(ratio, 1 / rows.speedup_high, 1 / rows.speedup_low, color=theme.TEXT)
        fig.add_bar(
            y=names, x=ratio - 1, base=1, orientation="h", error_x=spread, showlegend=False,
            marker=dict(color=theme.COLORS[0], pattern_shape=["/" if r > 1 else "" for r in ratio]),
            customdata=ratio, hovertemplate="%{y}: %{customdata:.3g} times " + base + "<extra></extra>", **place,
        )  # fmt: skip
        for name in names:
            fig.add_annotation(
                x=1, xref=f"x{i + 1 if i else ''} domain", y=name, yref=f"y{i + 1 if i else ''}", showarrow=False,
                text=text(table.loc[name, key]) if pd.notna(table.loc[name, key]) else "", xanchor="right",
            )  # fmt: skip
        fig.add_vline(x=1, line=dict(color=theme.LINE, width=2), **place)
    tens = {tick: f"{tick:g}" for tick in (0.001, 0.01, 0.1, 1, 10, 100)}
    halves = {1 / 8: "⅛", 1 / 4: "¼", 1 / 2: "½", 1: "1", 2: "2", 4: "4", 8: "8"}
    ticks = halves if high - low < 1.5 else tens
    ticks = {tick: text for tick, text in ticks.items() if low < np.log10(tick) < high}
    theme.dress(fig, title=_headline(table, ratios, base), alt=_told(table, base), height=200 + 88 * len(names))
    fig.update_layout(margin_t=fig.layout.margin.t + 16)  # room for the panels' own titles
    fig.update_xaxes(type="log", range=[low, high + 0.6 * (high - low)], tickvals=list(ticks),
                     ticktext=list(ticks.values()), tickangle=0)  # fmt: skip
    fig.update_xaxes(title_text=f"times {base}", row=2)
    labels = [f"{name}<br>{table.accuracy[name]:.1%} right" if "accuracy" in table else name for name in names]
    return fig.update_yaxes(tickvals=names, ticktext=labels, ticks="")


def _headline(table: pd.DataFrame, ratios: pd.DataFrame, base: str) -> str:
    least, surely = ratios.file_bytes.min(), table[table.speedup_low > 1]
    small = table.index[ratios.file_bytes == least]
    size = f"{_listed(small)} {_has(small, 'has', 'have')} the smallest file ({least:.2g} of {base}'s)"
    if least == 1:
        size = f"no file is smaller than {base}'s"
    if not len(surely):
        return f"{size}, none is surely faster"
    fast = surely.loc[surely.speedup.idxmax()]
    level = surely[surely.speedup_high >= fast.speedup_low]  # intervals that overlap the fastest one's
    only = "the fastest" if fast.speedup == table.speedup.max() else "surely faster"
    times = " and ".join(dict.fromkeys(f"{speedup:.2g}" for speedup in level.speedup))
    they = "" if least < 1 and level.index.equals(small) else f" {_listed(level.index)}"
    return f"{size}{',' if they else ' and'}{they} {_has(level, 'is', 'are')} {only} ({times} times as fast)"


def _listed(names: Sequence[str]) -> str:
    *before, last = names
    return f"{', '.join(before)} and {last}" if before else last


def _has(these: Sequence, one: str, more: str) -> str:
    return one if len(these) == 1 else more


def _told(table: pd.DataFrame, base: str) -> str:
    def one(name: str, row: pd.Series) -> str:
        sizes = ", ".join(f"{title} {text(row[key])}" for key, (title, text) in COSTS.items() if pd.notna(row[key]))
        speed = f"{row.speedup:.2g} times as fast as {base} ({row.speedup_low:.2g} to {row.speedup_high:.2g})"
        right = ""
        if "accuracy" in row:
            right = f", {row.accuracy:.1%} right ({row.accuracy_low:.1%} to {row.accuracy_high:.1%})"
        return f"{name}: {sizes}, {speed}{right}"

    return "; ".join(one(name, row) for name, row in table.iterrows()) + "."
