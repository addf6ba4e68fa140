"""Pictures of lesson 30: which weights go, what is right afterwards, and how the zeros are shared among the layers."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ...lesson import theme
from ..criteria import CRITERIA

BINS = 80


def histogram(weights: np.ndarray) -> go.Figure:
    """How many weights (n,) have which value, and the band in which they are below a tenth of the largest."""
    edge = float(np.abs(weights).max())
    share = float((np.abs(weights) < edge / 10).mean())
    fig = theme.figure(
        title=f"{share:.0%} of the weights are smaller than a tenth of the largest",
        alt=f"Histogram of {weights.size:,} weights between {weights.min():.2g} and {weights.max():.2g}; {share:.0%} "
        f"of them lie between -{edge / 10:.2g} and {edge / 10:.2g}, the grey band.",
        x="weight", y="number of weights",
    )  # fmt: skip
    fig.add_scatter(**_steps(weights, edge), **_filled(0), showlegend=False)
    return fig.add_vrect(x0=-edge / 10, x1=edge / 10, fillcolor=theme.GRID, line_width=0, layer="below")


def _steps(values: np.ndarray, edge: float) -> dict:
    """x and y of a histogram of `BINS` bins from -edge to edge, as the corners of one line: few points to draw."""
    counts, edges = np.histogram(values, BINS, (-edge, edge))
    return dict(x=np.repeat(edges, 2), y=np.concatenate([[0], np.repeat(counts, 2), [0]]), mode="lines")


def _filled(i: int, pattern: str = "") -> dict:
    color, dash = theme.COLORS[i], theme.DASHES[i % len(theme.DASHES)]
    return dict(fill="tozeroy", fillpattern=dict(shape=pattern), line=dict(color=color, dash=dash, width=1.5))


def cut(weights: np.ndarray, kept: np.ndarray, tried: list[dict], now: dict, dense: dict) -> go.Figure:
    """The weights (n,) of which those `kept` stay, beside the accuracy of everything tried so far.

    `tried`, `now` and `dense` are rows with criterion, scope, sparsity, accuracy, accuracy_low, accuracy_high.
    """
    right = f"{now['accuracy']:.1%} right ({now['accuracy_low']:.1%} to {now['accuracy_high']:.1%})"
    how = f"{now['criterion']}, {now['scope']}"
    fig = make_subplots(1, 2, subplot_titles=["the weights", "everything tried (open: local)"], horizontal_spacing=0.1)
    theme.dress(
        fig, title=f"{now['sparsity']:.0%} zeros by {how}: {right}", height=440,
        alt=f"Left: {int(kept.sum()):,} of {weights.size:,} weights are kept, from {weights[kept].min():.2g} to "
        f"{weights[kept].max():.2g}. Right: with {now['sparsity']:.0%} zeros chosen by {how}, {right}; dense "
        f"{dense['accuracy']:.1%}. {len(tried)} tried so far.",
    )  # fmt: skip
    fig.update_layout(margin_t=fig.layout.margin.t + 26)  # room for the panels' own titles
    edge = float(np.abs(weights).max())
    fig.add_scatter(**_steps(weights, edge), **_filled(3, "/"), name="set to zero", row=1, col=1)
    fig.add_scatter(**_steps(weights[kept], edge), **_filled(0), name="kept", row=1, col=1)
    rows = pd.DataFrame(tried)
    looks = theme.series(CRITERIA)
    named = set()
    for (criterion, scope), group in rows.groupby(["criterion", "scope"], sort=False):
        marker = looks[criterion]["marker"]
        symbol = marker["symbol"] + ("-open" if scope == "local" else "")
        fig.add_scatter(
            **_points(group), mode="markers", name=criterion, showlegend=criterion not in named, row=1, col=2,
            legendgroup=criterion, marker=dict(color=marker["color"], symbol=symbol, size=8),
        )  # fmt: skip
        named.add(criterion)
    ring = dict(symbol="circle-open", size=18, color=theme.TEXT, line=dict(width=2))
    here = dict(x=[100 * now["sparsity"]], y=[100 * now["accuracy"]])
    fig.add_scatter(**here, mode="markers", name="now", marker=ring, row=1, col=2)
    band = dict(y0=100 * dense["accuracy_low"], y1=100 * dense["accuracy_high"], fillcolor=theme.GRID, line_width=0)
    fig.add_hrect(**band, layer="below", row=1, col=2)
    fig.add_annotation(
        text="dense", showarrow=False, x=2, xanchor="left", y=band["y0"], yanchor="top", xref="x2", yref="y2"
    )
    fig.update_xaxes(title_text="weight", col=1).update_xaxes(title_text="zeros (%)", range=[-3, 101], col=2)
    return fig.update_yaxes(title_text="number", col=1).update_yaxes(title_text="right (%)", range=[0, 102], col=2)


def _points(rows: pd.DataFrame) -> dict:
    y, low, high = (100 * rows[key].to_numpy() for key in ("accuracy", "accuracy_low", "accuracy_high"))
    return dict(x=100 * rows.sparsity.to_numpy(), y=y, error_y=theme.spread(y, low, high, thickness=1, width=2))


def over_sparsity(table: pd.DataFrame, by: str, at: float | None = None, *, left: bool = False) -> go.Figure:
    """A line and a band for each value of column `by`: accuracy, low, high (percent) over sparsity (share of zeros).

    The title compares them at sparsity `at` (default: the highest that all have). `left` draws the weights that are
    left on a logarithmic axis, where the highest sparsities have more room.
    """
    names = list(dict.fromkeys(table[by]))
    shared = [s for s, rows in table.groupby("sparsity") if rows[by].nunique() == len(names)]
    at = max(shared) if at is None else at
    there = table[np.isclose(table.sparsity, at)].set_index(by).sort_values("accuracy", ascending=False)
    said = ", ".join(f"{name} {row.accuracy:.1f}" for name, row in there.iterrows())
    told = "; ".join(f"{name} {row.accuracy:.1f} % ({row.low:.1f} to {row.high:.1f})" for name, row in there.iterrows())
    axis = "weights left" if left else "zeros"
    place = f"with {100 * (1 - at):.3g} % of the weights left" if left else f"at {100 * at:.4g} % zeros"
    fig = theme.figure(
        title=f"Right {place}: {said} (%)", height=430, x=f"{axis} (%)", y="right (%)",
        alt=f"Percent right over the share of {axis}, mean and 95 % interval. {place.capitalize()}: {told}.",
    )  # fmt: skip
    for name, look in theme.series(map(str, names)).items():
        rows = table[table[by].astype(str) == name].sort_values("sparsity")
        x = 100 * (1 - rows.sparsity if left else rows.sparsity).to_numpy()
        fig.add_scatter(**theme.band(x, rows.low, rows.high, look))
        fig.add_scatter(x=x, y=rows.accuracy.to_numpy(), mode="lines+markers", legendgroup=name, **look)
    if left:
        ticks = sorted({100 * (1 - s) for s in table.sparsity})
        ticks = [b for a, b in zip([0, *ticks], ticks) if b > 1.3 * a]  # labels that would run into each other
        fig.update_xaxes(type="log", autorange="reversed", tickvals=ticks, ticktext=[f"{tick:.3g}" for tick in ticks])
    return fig


def gradual(history: pd.DataFrame) -> go.Figure:
    """Training and pruning together (`prune_and_train_`): zeros and validation accuracy at the end of each epoch."""
    last, worst = history.iloc[-1], history.loc[history.val_accuracy.idxmin()]
    fig = theme.figure(
        title=f"{last.sparsity:.0%} zeros at the end, {last.val_accuracy:.1%} of the validation digits right",
        alt=f"Over {len(history)} epochs the share of zeros rises from {history.sparsity.iloc[0]:.0%} to "
        f"{last.sparsity:.0%}; the validation accuracy is lowest, {worst.val_accuracy:.1%}, in epoch "
        f"{worst.epoch:.0f}, and ends at {last.val_accuracy:.1%}.",
        x="epoch", y="share (%)",
    )  # fmt: skip
    for column, look in zip(("sparsity", "val_accuracy"), theme.series(["zeros", "validation digits right"]).values()):
        fig.add_scatter(x=history.epoch.to_numpy(), y=100 * history[column].to_numpy(), mode="lines+markers", **look)
    return fig.update_yaxes(range=[0, 102])


def budget(table: pd.DataFrame, layers: dict[str, int]) -> go.Figure:
    """Budgets side by side: how much of each layer each of them keeps, and what is right afterwards.

    `table` has one row a budget (its index; the first is the reader's), a column of zeros (share) for each of
    `layers` {name: number of weights}, and sparsity, accuracy, accuracy_low, accuracy_high.
    """
    total = sum(layers.values())
    mine = table.iloc[0]
    right = ", ".join(f"{name} {row.accuracy:.1%}" for name, row in table.iterrows())
    told = "; ".join(
        f"{name}: {row.accuracy:.1%} right ({row.accuracy_low:.1%} to {row.accuracy_high:.1%}), kept "
        + ", ".join(f"{1 - row[layer]:.1%} of layer {layer}" for layer in layers)
        for name, row in table.iterrows()
    )
    fig = make_subplots(1, 2, subplot_titles=["kept of each layer (%)", "right (%)"], horizontal_spacing=0.12,
                        column_widths=[0.62, 0.38])  # fmt: skip
    left = round(total * (1 - mine.sparsity))
    theme.dress(fig, title=f"{left:,} of {total:,} weights left; right: {right}", alt=f"{told}.", height=420)
    for i, (name, row) in enumerate(table.iterrows()):
        marker = dict(color=theme.COLORS[i], pattern_shape=["", "/", "x"][i % 3])
        kept = [100 * (1 - row[layer]) for layer in layers]
        names = [f"layer {layer}<br>({n:,})" for layer, n in layers.items()]
        fig.add_bar(x=names, y=kept, name=name, marker=marker, row=1, col=1)
        point = _points(table.loc[[name]])
        look = dict(color=theme.COLORS[i], symbol=theme.SYMBOLS[i], size=11)
        fig.add_scatter(x=[i], y=point["y"], error_y=point["error_y"] | dict(thickness=2, width=6), mode="markers",
                        marker=look, showlegend=False, name=name, row=1, col=2)  # fmt: skip
    ticks = dict(tickvals=list(range(len(table))), ticktext=list(table.index), zeroline=False)
    fig.update_xaxes(**ticks, range=[-0.5, len(table) - 0.5], col=2)
    return fig.update_yaxes(range=[0, 102])
