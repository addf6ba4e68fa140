"""Pictures of lesson 90: the board by work, size against time with the front, one choice on two sets of images."""

import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ..lesson import theme
from .board import verdicts
from .task import BUDGET, Budget

# verdict on the whole budget -> look: colour and marker
LOOKS = {
    "keeps the budget": dict(color=theme.COLORS[2], symbol="star", size=15),
    "not settled": dict(color=theme.COLORS[1], symbol="diamond", size=11),
    "does not keep it": dict(color=theme.COLORS[0], symbol="circle", size=10),
    "too much work": dict(color=theme.COLORS[7], symbol="x-thin", size=10, line=dict(color=theme.COLORS[7], width=2)),
}
WORDS = dict(zip(("yes", "not settled", "no"), LOOKS))


def band(cpu_seconds: float) -> int:
    """Attempts of one band are of about equal work: at most 1 CPU second is 0, at most 2 is 1, at most 4 is 2 ...

    >>> band(0.3), band(1.7), band(2.0), band(5.0)
    (0, 1, 1, 3)
    """
    return max(0, math.ceil(math.log2(max(cpu_seconds, 1e-9))))


def overall(table: pd.DataFrame, budget: Budget = BUDGET) -> list[str]:
    """One word for each row of a `board`: yes where all three verdicts are, no where one is, else not settled."""
    rows = verdicts(table, budget).to_numpy().tolist()
    return ["no" if "no" in row else "yes" if set(row) == {"yes"} else "not settled" for row in rows]


def by_work(table: pd.DataFrame, budget: Budget = BUDGET) -> go.Figure:
    """All attempts of a `board`, those of equal work side by side: size, speed and points, with the budget's lines."""
    table = table.sort_values(["cpu_seconds", "kb"], kind="stable").reset_index(drop=True)
    bands, each = [band(seconds) for seconds in table.cpu_seconds], verdicts(table, budget)
    rows = np.arange(len(table)) + np.cumsum(np.diff(bands, prepend=bands[0]) != 0)  # a gap between two bands
    keep = [name for name, word in zip(table.name, overall(table, budget)) if word == "yes"]
    told = "; ".join(
        f"{r.name}, {r.cpu_seconds:.1f} CPU s: {r.kb:.0f} kB, {r.speedup:.2f} times ({r.speedup_low:.2f} to "
        f"{r.speedup_high:.2f}), {r.points:+.1f} points ({r.points_low:+.1f} to {r.points_high:+.1f})"
        for r in table.itertuples(index=False)
    )
    titles = ["file (kB)", "times as fast", "points of accuracy"]
    names = WORDS | {"yes": "keeps this promise"}
    fig = make_subplots(1, 3, shared_yaxes=True, horizontal_spacing=0.03, subplot_titles=titles)
    columns = dict(smaller=("kb", budget.kb), faster=("speedup", budget.speedup), answers=("points", -budget.drop))
    for i, (question, (column, limit)) in enumerate(columns.items(), 1):
        for word, name in names.items():
            mine = (each[question] == word).to_numpy()
            part, look = table[mine], LOOKS[WORDS[word]] | dict(size=9)
            ends = [part.get(f"{column}_{end}", part[column]) for end in ("low", "high")]
            error = theme.spread(part[column], *ends, thickness=1.5, width=3)
            fig.add_scatter(
                x=part[column].to_numpy(), y=rows[mine], error_x=error, mode="markers", marker=look, row=1, col=i,
                name=name, legendgroup=name, showlegend=False, text=part.name, hovertemplate="%{text}: %{x:.3g}",
            )  # fmt: skip
        fig.add_vline(x=limit, line=dict(color=theme.TEXT, dash="dash", width=1.5), row=1, col=i)
    for word, name in names.items():  # in the legend whether or not the first column has one
        look = dict(marker=LOOKS[WORDS[word]] | dict(size=9), mode="markers", name=name, legendgroup=name)
        fig.add_scatter(x=[None], y=[None], **look, row=1, col=1)
    for b in sorted(set(bands)):
        here = rows[np.array(bands) == b]
        for i in (1, 2, 3):
            shade = dict(fillcolor=theme.GRID, line_width=0, opacity=0.5 if b % 2 else 1.0, layer="below")
            fig.add_hrect(y0=here[0] - 0.5, y1=here[-1] + 0.5, row=1, col=i, **shade)
        text = dict(text=f"≤ {2**b} CPU s", x=1.0, xref="paper", xanchor="right", yanchor="bottom", showarrow=False)
        fig.add_annotation(y=here[0] - 0.55, yref="y", font_size=11, **text)
    verb = "keeps" if len(keep) == 1 else "keep"
    title = f"{len(keep)} of {len(table)} {verb} the whole budget" + (f": {', '.join(keep)}" if keep else "")
    lines = f"Dashed: the budget, {budget.kb:g} kB, {budget.speedup:g} times, -{budget.drop:g} points."
    alt = f"{title}. {told}. {lines}"
    theme.dress(fig, title=title, alt=alt, height=150 + 24 * int(rows[-1] + 1))
    fig.update_layout(margin_t=fig.layout.margin.t + 24, margin_b=70)
    fig.update_xaxes(type="log", tickvals=[10, 30, 100, 300], range=_log_range([*table.kb, budget.kb]), row=1, col=1)
    fig.update_xaxes(
        type="log", tickvals=[0.2, 0.5, 1, 2, 5], range=_log_range([*table.speedup, budget.speedup]), row=1, col=2
    )
    fig.update_xaxes(zeroline=False, row=1, col=3)
    fig.update_yaxes(tickvals=rows, range=[rows[-1] + 0.7, -1.2], zeroline=False, showgrid=False)
    return fig.update_yaxes(ticktext=table.name.tolist(), row=1, col=1)


def size_and_time(
    table: pd.DataFrame, front: np.ndarray, budget: Budget, cpu_seconds: float, title: str, pick: str = ""
) -> go.Figure:
    """Size against time of a `board`; shape and colour tell who keeps the budget, a cross who cost too much.

    front: bool (rows,), drawn as a line. pick: a name, which gets a ring. The first row is the original.
    """
    limit = table.ms.iloc[0] / budget.speedup
    words = [WORDS[word] for word in overall(table, budget)]
    looks = np.where(table.cpu_seconds <= cpu_seconds, words, "too much work")
    on_front = table[front].sort_values("kb")
    told = "; ".join(f"{r.name}: {r.kb:.0f} kB, {r.ms:.3g} ms, {look}" for r, look in zip(table.itertuples(), looks))
    names = ", ".join(on_front.name) or "nobody"
    alt = (
        f"{title}. {told}. On the front: {names}. Dashed: {budget.kb:.3g} kB and {limit:.3g} ms, "
        f"that is {budget.speedup:.3g} times as fast as {table.name.iloc[0]}."
    )
    fig = theme.figure(title=title, alt=alt, x="file (kB)", y="time of a call (ms)", height=480)
    line = dict(color=theme.LINE, width=2, dash="dot")
    fig.add_scatter(
        x=on_front.kb.to_numpy(), y=on_front.ms.to_numpy(), mode="lines+text", line=line, name="Pareto front",
        text="  " + on_front.name, textposition="top right", cliponaxis=False, hoverinfo="skip",
    )  # fmt: skip
    for look, marker in reversed(LOOKS.items()):  # a star lies on top
        part = table[looks == look]
        fig.add_scatter(
            x=part.kb.to_numpy(), y=part.ms.to_numpy(), mode="markers", marker=marker, name=look, text=part.name,
            hovertemplate="%{text}: %{x:.3g} kB, %{y:.3g} ms",
        )  # fmt: skip
    picked = table[table.name == pick]
    ring = dict(symbol="circle-open", size=26, color=theme.COLORS[3], line_width=3)
    fig.add_scatter(
        x=picked.kb.to_numpy(), y=picked.ms.to_numpy(), mode="markers", marker=ring, name="choice or nearest",
        hoverinfo="skip",
    )  # fmt: skip
    dashed = dict(color=theme.TEXT, dash="dash", width=1)
    fig.add_vline(x=budget.kb, line=dashed)
    fig.add_hline(y=limit, line=dashed)
    fig.update_xaxes(**theme.LOG, range=_log_range([*table.kb, budget.kb]))
    return fig.update_yaxes(**theme.LOG, range=_log_range([*table.ms, limit]))


def two_sets(val: pd.DataFrame, test: pd.DataFrame, pick: str, budget: Budget = BUDGET) -> go.Figure:
    """Points against the original on the images chosen by and on those that judge; two boards of the same attempts."""
    val, test = (table.iloc[1:].set_index("name") for table in (val, test))
    order = val.points.sort_values(kind="stable").index
    a, b = val.points[pick], test.points[pick]
    title = f"{pick}: {a:+.1f} points on validation, {b:+.1f} on test"
    told = "; ".join(
        f"{name}: {val.points[name]:+.1f}, then {test.points[name]:+.1f} ({test.points_low[name]:+.1f} to "
        f"{test.points_high[name]:+.1f})"
        for name in order
    )
    fig = theme.figure(
        title=title, alt=f"Points of accuracy against the original, on validation, then on test. {told}.",
        x="points of accuracy against the original", height=130 + 26 * len(order),
    )  # fmt: skip
    for i, (name, table) in enumerate({"validation": val, "test": test}.items()):
        part, look = table.loc[order], theme.style(i)["marker"] | dict(size=9)
        error = theme.spread(part.points, part.points_low, part.points_high, thickness=1.5, width=3)
        y = np.arange(len(order)) + (0.17 if i else -0.17)
        fig.add_scatter(x=part.points.to_numpy(), y=y, error_x=error, mode="markers", marker=look, name=name)
    fig.add_vline(x=-budget.drop, line=dict(color=theme.TEXT, dash="dash", width=1))
    ticks = [f"<b>{name}</b>" if name == pick else name for name in order]
    fig.update_xaxes(zeroline=True)
    return fig.update_yaxes(tickvals=np.arange(len(order)), ticktext=ticks, zeroline=False, showgrid=False)


def _log_range(values) -> list[float]:
    """From a little below the least to a little above the most, as logarithms."""
    ends = math.log10(min(values)), math.log10(max(values))
    room = 0.08 * (ends[1] - ends[0]) + 0.02
    return [ends[0] - room, ends[1] + room]
