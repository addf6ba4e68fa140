"""Pictures of lesson 61: errors of exported files, rounding to float16, size against time, first calls."""

import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ..lesson import theme


def errors_by_input(table: pd.DataFrame, tolerance: float) -> go.Figure:
    """The error of each file on each kind of input. Columns: way, input, error (share of the largest |score|)."""
    worst = table.loc[table.error.idxmax()]
    passed = int((table.groupby("way").error.max() <= tolerance).sum())
    told = "; ".join(
        f"{way}: " + ", ".join(f"{row.input} {row.error:.2g}" for row in rows.itertuples())
        for way, rows in table.groupby("way", sort=False)
    )
    fig = theme.figure(
        title=f"{passed} of {table.way.nunique()} files pass on every input; the worst error, {worst.error:.2g}: "
        f"{worst.way} on {worst.input}",
        alt=f"Largest difference as a share of the largest score, by input. {told}. The tolerance is {tolerance:.0e}.",
        x="error (share of the largest score)", height=420,
    )  # fmt: skip
    for way, look in theme.series(table.way.unique()).items():
        rows = table[table.way == way]
        marker = look["marker"] | dict(size=11)
        fig.add_scatter(x=rows.error.to_numpy(), y=rows.input.tolist(), mode="markers", name=way, marker=marker)
    fig.add_vline(x=tolerance, line=theme.DOTTED)
    fig.add_annotation(  # on a log axis a shape is placed by the number, a text by its logarithm
        x=math.log10(tolerance), y=1, yref="paper", text="tolerance", showarrow=False, xanchor="left", yanchor="bottom"
    )
    return fig.update_xaxes(type="log", exponentformat="power", dtick=1)


def half_errors(table: pd.DataFrame) -> go.Figure:
    """Rounding to float16 by the size of the weight. Columns: power (the weight lies in [2^power, 2^(power+1))),
    weights, error (the largest relative one)."""
    normal, small = table[table.power >= -14], table[table.power < -14]
    bound = 2.0**-11
    told = ", ".join(f"2^{row.power} {row.error:.2g} ({row.weights})" for row in table.itertuples())
    fig = theme.figure(
        title=f"Relative error from 2⁻¹⁴ up: at most {normal.error.max():.2g}; the bound 2⁻¹¹ is {bound:.2g}",
        alt=f"Largest relative rounding error by the power of two of the weight, in brackets the number of weights: "
        f"{told}. The bound for weights of at least 2^-14 is {bound:.2g}.",
        x="size of the weight: power of two at or below it", y="largest relative error",
    )  # fmt: skip
    names = "weights of at least 2⁻¹⁴", "smaller ones"
    for rows, (name, look) in zip((normal, small), theme.series(names).items()):
        marker = look["marker"] | dict(size=9)
        fig.add_scatter(x=rows.power.to_numpy(), y=rows.error.to_numpy(), mode="markers", name=name, marker=marker)
    fig.add_hline(y=bound, line=theme.DOTTED)
    fig.add_annotation(
        x=1, xref="paper", y=math.log10(bound), text="2⁻¹¹", showarrow=False, xanchor="right", yanchor="bottom"
    )
    return fig.update_yaxes(type="log", exponentformat="power", dtick=1)


def size_and_time(
    table: pd.DataFrame, front: np.ndarray, fits: np.ndarray, title: str, budget: dict | None = None, pick: str = ""
) -> go.Figure:
    """File size against time, a point a way. Columns: way, kb, ms, ms_low, ms_high, agreement.

    front, fits: bool, shape (ways,). Those that do not fit are hollow. budget: kb and ms, drawn as lines. pick: a way.
    """
    told = "; ".join(
        f"{row.way} {row.kb:.0f} kB, {row.ms:.3g} ms ({row.ms_low:.3g} to {row.ms_high:.3g}), "
        f"{100 * row.agreement:.1f} % the same answers{'' if fit else ', too much'}"
        for row, fit in zip(table.itertuples(), fits)
    )
    on_front = table[front].sort_values("kb")
    names = f"The Pareto front: {', '.join(on_front.way)}." if len(on_front) else "The Pareto front is empty."
    fig = theme.figure(title=title, alt=f"{title}. {told}. {names}", x="file (kB)", y="time of a call (ms)", height=460)
    line = dict(color=theme.LINE, width=2, dash="dot")
    fig.add_scatter(x=on_front.kb.to_numpy(), y=on_front.ms.to_numpy(), mode="lines", line=line, name="Pareto front")
    for (way, look), row, fit in zip(theme.series(table.way).items(), table.itertuples(), fits):
        symbol = look["marker"]["symbol"] + ("" if fit else "-open")
        error = theme.spread(row.ms, row.ms_low, row.ms_high, thickness=1.5)
        marker = look["marker"] | dict(symbol=symbol, size=17 if way == pick else 11)
        fig.add_scatter(x=[row.kb], y=[row.ms], error_y=error, mode="markers", name=way, marker=marker)
    picked = table[table.way == pick]
    ring = dict(symbol="circle-open", size=28, color=theme.COLORS[3], line_width=3)
    fig.add_scatter(x=picked.kb.to_numpy(), y=picked.ms.to_numpy(), mode="markers", marker=ring, name="the choice")
    if budget:
        limit = dict(color=theme.TEXT, dash="dash", width=1)
        fig.add_vline(x=budget["kb"], line=limit)
        fig.add_hline(y=budget["ms"], line=limit)
    fig.update_xaxes(type="log", tickvals=[20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1000])
    ticks = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50]
    return fig.update_yaxes(type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])


def against_float(table: pd.DataFrame) -> go.Figure:
    """Times as fast as float in the same runtime. Columns: network, way, verdict, speedup and its interval."""
    counts = {word: int((table.verdict == word).sum()) for word in ("faster", "slower", "not settled")}
    told = "; ".join(
        f"{row.network}, {row.way}: {row.speedup:.3g} ({row.speedup_low:.3g} to {row.speedup_high:.3g}, {row.verdict})"
        for row in table.itertuples()
    )
    fig = theme.figure(
        title="Against float32 in the same runtime: "
        + ", ".join(f"{n} {word}" for word, n in counts.items() if n),
        alt=f"Times as fast as float32 in the same runtime, median and 95 % interval. {told}.",
        x="times as fast as float32 in the same runtime", height=380,
    )  # fmt: skip
    ways, networks = table.way.unique().tolist(), theme.series(table.network.unique())
    for i, (network, look) in enumerate(networks.items()):
        rows = table[table.network == network]
        y = np.array([ways.index(way) for way in rows.way]) + 0.2 * (i - (len(networks) - 1) / 2)  # side by side
        error = theme.spread(rows.speedup, rows.speedup_low, rows.speedup_high, thickness=2)
        fig.add_scatter(
            x=rows.speedup.to_numpy(), y=y, error_x=error, mode="markers", name=network,
            marker=look["marker"] | dict(size=11),
        )  # fmt: skip
    fig.add_vline(x=1, line=theme.DOTTED)
    fig.update_yaxes(tickvals=list(range(len(ways))), ticktext=ways, zeroline=False)
    ticks = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]
    return fig.update_xaxes(type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])


def first_calls(calls: dict[str, np.ndarray]) -> go.Figure:
    """Time of each call of a fresh session, in order. calls: {way: milliseconds (calls,)}."""
    ratios = {way: ms[0] / np.median(ms[1:]) for way, ms in calls.items()}
    told = "; ".join(
        f"{way}: first {ms[0]:.3g} ms, median of the others {np.median(ms[1:]):.3g} ms" for way, ms in calls.items()
    )
    fig = theme.figure(
        title="First call / median of the later ones: " + ", ".join(f"{way} {r:.1f}" for way, r in ratios.items()),
        alt=f"Milliseconds a call, from the first on. {told}.", x="number of the call", y="time of the call (ms)",
    )  # fmt: skip
    for way, look in theme.series(calls).items():
        x = np.arange(1, len(calls[way]) + 1)
        fig.add_scatter(x=x, y=calls[way], mode="lines+markers", **look)
    ticks = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50]
    return fig.update_yaxes(type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])
