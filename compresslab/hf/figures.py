"""Pictures of lesson 60: patches as tokens, where the cost is, heads that matter, speed-ups, parts kept float."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sample_colorscale
from plotly.subplots import make_subplots
from torch import Tensor

from ..lesson import theme


def patches(image: Tensor, tokens: Tensor, size: int) -> go.Figure:
    """An image (height, width) with its patches numbered, beside its tokens, one row each (tokens, numbers)."""
    (height, width), (count, numbers) = image.shape, tokens.shape
    fig = make_subplots(1, 2, subplot_titles=["the image, cut up", "its tokens"], horizontal_spacing=0.12)
    look = dict(zmin=0, zmax=1, colorscale="Cividis", xgap=1, ygap=1)
    for col, picture in ((1, image), (2, tokens)):
        fig.add_heatmap(
            z=picture.numpy(), showscale=False, hovertemplate="%{z:.2f}<extra></extra>", row=1, col=col, **look
        )
        fig.update_yaxes(autorange="reversed", row=1, col=col)
    for column in range(size, width, size):
        fig.add_vline(x=column - 0.5, line=dict(color=theme.COLORS[3], width=3), row=1, col=1)
    for row in range(size, height, size):
        fig.add_hline(y=row - 0.5, line=dict(color=theme.COLORS[3], width=3), row=1, col=1)
    for number in range(count):
        row, column = divmod(number, width // size)
        fig.add_annotation(
            x=size * column + (size - 1) / 2, y=size * row + (size - 1) / 2, text=str(number), showarrow=False,
            bgcolor="#fafafa", font=dict(color="#1a1a1a", size=12), borderpad=1, row=1, col=1,
        )  # fmt: skip
    fig.update_xaxes(showticklabels=False, ticks="", showgrid=False, col=1)
    fig.update_yaxes(showticklabels=False, ticks="", showgrid=False, col=1)
    fig.update_xaxes(title_text="place within the token", dtick=1, col=2)
    fig.update_yaxes(title_text="token", dtick=1 if count <= 20 else None, col=2)
    title = f"An image of {height} × {width} pixels is {count} tokens of {numbers} numbers"
    said = f"{title}. Patches of {size} × {size} are numbered row by row; token 0 holds " + ", ".join(
        f"{value:.2f}" for value in tokens[0].tolist()
    )
    theme.dress(fig, title=title, alt=f"{said}.", height=420)
    return fig.update_layout(margin=dict(t=fig.layout.margin.t + 26))


def shares(table: pd.DataFrame, title: str, x: str = "share (%)") -> go.Figure:
    """Bars of shares in percent: one group of bars a row of `table`, one bar a column."""
    told = "; ".join(
        f"{row}: " + ", ".join(f"{name} {value:.0f} %" for name, value in values.items())
        for row, values in table.iterrows()
    )
    fig = theme.figure(title=title, alt=f"{title}. {told}.", x=x, height=130 + 28 * table.size, barmode="group")
    patterns = "", "/", ".", "x", "-", "+"
    for place, name in enumerate(table.columns):
        fig.add_bar(
            y=[str(row) for row in table.index], x=table[name].to_numpy(), orientation="h", name=str(name),
            marker=dict(color=theme.COLORS[place], pattern_shape=patterns[place % len(patterns)]),
            text=[f"{value:.0f}" for value in table[name]], textposition="outside", cliponaxis=False,
            hovertemplate=f"%{{y}}, {name}: %{{x:.1f}} %<extra></extra>",
        )  # fmt: skip
    fig.update_yaxes(autorange="reversed", ticks="")
    return fig.update_layout(margin=dict(b=90))


def speedups(table: pd.DataFrame, title: str, macs: float | None = None) -> go.Figure:
    """Speed-ups with their intervals. Columns: name, speedup, speedup_low, speedup_high; macs: how many times fewer."""
    told = "; ".join(
        f"{row.name}: {row.speedup:.2f} ({row.speedup_low:.2f} to {row.speedup_high:.2f})"
        for row in table.itertuples(index=False)
    )
    line = "" if macs is None else f" The MACs fell by a factor of {macs:.2f}."
    fig = theme.figure(
        title=title, alt=f"{title}. Times as fast, with 95 % interval: {told}.{line}", x="times as fast",
        height=170 + 36 * len(table),
    )  # fmt: skip
    middle = table.speedup.to_numpy()
    spread = theme.spread(middle, table.speedup_low, table.speedup_high, thickness=2)
    marker = theme.style(0)["marker"] | dict(size=11)
    fig.add_scatter(x=middle, y=table.name.tolist(), error_x=spread, mode="markers", marker=marker, showlegend=False)
    lines = [(1.0, "as fast as before", "center"), *([(macs, "what the MACs promise", "right")] if macs else [])]
    for place, (value, text, anchor) in enumerate(lines):  # one above the other: they may stand close together
        fig.add_vline(x=value, line=theme.DOTTED)
        where = dict(x=value, y=1, yref="paper", xanchor=anchor, yanchor="bottom", yshift=16 * place)
        fig.add_annotation(text=text, showarrow=False, **where)
    fig.update_xaxes(range=[0, 1.12 * max(*table.speedup_high, macs or 1, 1.5)])
    fig.update_layout(margin=dict(t=fig.layout.margin.t + 38))
    return fig.update_yaxes(autorange="reversed", ticks="")


def heads(importance: np.ndarray, kept: np.ndarray, curves: pd.DataFrame, order: str, left: int) -> go.Figure:
    """Importance of each head (layers, heads), crosses on those removed, and accuracy against heads left.

    kept: bool (layers, heads). curves, of all orders: columns order, left, macs (share of the whole model's, in
    percent), mean, low, high (right answers, in percent).
    """
    layers, across = importance.shape
    now = next(row for row in curves.itertuples() if (row.order, row.left) == (order, left))
    title = (
        f"{left} of {importance.size} heads, {order}: {now.macs:.0f} % of the MACs, {now.mean:.1f} % right "
        f"({now.low:.1f} to {now.high:.1f})"
    )
    rows_gone, heads_gone = np.nonzero(~kept)
    removed = ", ".join(f"head {h + 1} of layer {i + 1}" for i, h in zip(rows_gone, heads_gone)) or "none"
    fig = make_subplots(
        1, 2, subplot_titles=["importance (first network)", "right answers (all networks)"], horizontal_spacing=0.16
    )
    fig.add_heatmap(
        z=importance, x=np.arange(1, across + 1), y=np.arange(1, layers + 1),
        showscale=False, xgap=2, ygap=2, colorscale="Cividis", row=1, col=1,
        hovertemplate="layer %{y}, head %{x}: %{z:.4f}<extra></extra>",
    )  # fmt: skip
    share = (importance - importance.min()) / (np.ptp(importance) or 1)
    inks = [theme.ink(color) for color in sample_colorscale("Cividis", share.ravel().tolist())]
    at, layer = np.meshgrid(np.arange(1, across + 1), np.arange(1, layers + 1))
    fig.add_scatter(
        x=at.ravel(), y=layer.ravel(), text=[f"{value:.3f}" for value in importance.ravel()], mode="text",
        textfont=dict(color=inks), showlegend=False, hoverinfo="skip", row=1, col=1,
    )  # fmt: skip
    fig.add_scatter(
        x=heads_gone + 1, y=rows_gone + 1, mode="markers", showlegend=False, hoverinfo="skip", row=1, col=1,
        marker=dict(symbol="x-thin", size=38, line=dict(color=theme.COLORS[3], width=3)),
    )  # fmt: skip
    orders = curves.order.unique()
    for name, look in theme.series(orders).items():
        rows = curves[curves.order == name].sort_values("left")
        spread = theme.spread(rows["mean"], rows.low, rows.high, thickness=1)
        fig.add_scatter(
            x=rows.left.to_numpy(), y=rows["mean"].to_numpy(), error_y=spread, mode="lines+markers", row=1, col=2,
            **look | dict(line=look["line"] | dict(width=3 if name == order else 1.2)),
        )  # fmt: skip
    fig.add_vline(x=left, line=dict(color=theme.LINE, width=2), row=1, col=2)
    theme.dress(
        fig, title=title, height=440,
        alt=f"{title}. The interval is over the networks. Removed from the first network: {removed}.",
    )  # fmt: skip
    fig.update_yaxes(autorange="reversed", ticks="", dtick=1, title_text="layer", col=1)
    fig.update_xaxes(ticks="", dtick=1, title_text="head", col=1)
    fig.update_xaxes(title_text="heads left", dtick=1 if curves.left.nunique() < 10 else None, col=2)
    fig.update_yaxes(title_text="right (%)", rangemode="tozero", col=2)
    return fig.update_layout(margin=dict(t=fig.layout.margin.t + 26, b=100))


def kept_float(table: pd.DataFrame, pick: int) -> go.Figure:
    """Every choice of parts that stay float: file size against signal to noise, the row `pick` marked.

    Columns: kept (text), kb, sqnr_db, changed, n (answers that changed, of how many), low, high (share of the same
    answers, 95 % interval, in percent).
    """
    row = table.iloc[pick]
    same = 100 * (1 - row.changed / row.n)
    noise = "no noise" if np.isinf(row.sqnr_db) else f"{row.sqnr_db:.1f} dB"
    title = f"Float: {row.kept}. {row.kb:.0f} kB, {noise}, {row.changed:.0f} of {row.n:.0f} answers changed"
    some = table[np.isfinite(table.sqnr_db)]
    fig = theme.figure(
        title=title, x="file (kB)", y="signal to noise of the scores (dB)", height=420,
        alt=f"{title}: {same:.1f} % the same ({row.low:.1f} to {row.high:.1f}). The {len(table)} choices take "
        f"{table.kb.min():.0f} to {table.kb.max():.0f} kB; those with some int8 reach {some.sqnr_db.min():.1f} to "
        f"{some.sqnr_db.max():.1f} dB.",
    )  # fmt: skip
    fig.add_scatter(
        x=some.kb.to_numpy(), y=some.sqnr_db.to_numpy(), mode="markers", name="all choices", text=some.kept.tolist(),
        marker=theme.style(0)["marker"] | dict(size=9),
        hovertemplate="%{text}: %{x:.0f} kB, %{y:.1f} dB<extra></extra>",
    )  # fmt: skip
    top = min(row.sqnr_db, some.sqnr_db.max() + 5)  # all float: no noise, drawn at the upper edge
    fig.add_scatter(
        x=np.array([row.kb]), y=np.array([top]), mode="markers", name="this one",
        marker=dict(symbol="star", size=18, color=theme.COLORS[3]),
    )  # fmt: skip
    fig.update_xaxes(rangemode="tozero")
    return fig.update_yaxes(range=[some.sqnr_db.min() - 4, some.sqnr_db.max() + 8])
