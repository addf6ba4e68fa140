"""Pictures of lesson 41: noise layer by layer, calibration size, the cost of a layer, and the ladder of runtimes."""

import math
from functools import cache

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ...lesson import theme

WHATS = ("input", "weight", "output")
FLOOR = -5  # dB; whatever is worse is drawn here


def _db(value: float) -> str:
    text = f"{value:.0f} dB"
    return "0 dB" if text == "-0 dB" else text.replace("-", "−")


def layer_noise(table: pd.DataFrame, name: str, note: str = "") -> go.Figure:
    """SQNR of each layer's input, weight and output: of the whole tensor, and of the median channel.

    table: as `analysis.sqnr_by_layer` gives it. A tensor without noise has no point. `note` follows in the title.
    """
    layers = list(dict.fromkeys(table.layer))
    finite = table[np.isfinite(table.sqnr_db) | (table.sqnr_db < 0)]
    traces = []
    for row, column in enumerate(("sqnr_db", "channel_db")):
        for what, look in theme.series(WHATS).items():
            rows = table[(table.what == what) & (table[column] < math.inf)]
            axes = dict(xaxis="x" + "2" * row, yaxis="y" + "2" * row, mode="lines+markers", showlegend=not row)
            xy = dict(x=rows.layer.tolist(), y=rows[column].clip(lower=FLOOR).to_numpy())
            traces.append(go.Scatter(axes | xy | look | dict(marker=look["marker"] | dict(size=8), legendgroup=what)))
    title, told = f"{name}: no noise", f"{name}: no tensor of its {len(layers)} layers has noise."
    if len(finite):
        worst = finite.loc[finite.sqnr_db.idxmin()]
        title = f"{name}: whole tensors down to {_db(worst.sqnr_db)}, at the {worst.what} of layer {worst.layer}"
        groups = finite.groupby("what", sort=False)
        spans = [f"{what} {_db(rows.sqnr_db.min())} to {_db(rows.sqnr_db.max())}" for what, rows in groups]
        channels = [f"{what} {_db(rows.channel_db.min())}" for what, rows in groups]
        told = f"{name}: SQNR over {len(layers)} layers, whole tensors: {', '.join(spans)}. Lowest median channel: "
        told += f"{', '.join(channels)}."
    fig = go.Figure(_two_rows()).add_traces(traces)
    fig.update_xaxes(categoryorder="array", categoryarray=layers, range=[-0.5, len(layers) - 0.5])
    title, told = f"{title}. {note}" if note else title, f"{told} {note}".strip()
    theme.dress(fig, title=title, alt=told, y="SQNR (dB)", height=540)
    fig.layout.margin.t += 25  # the upper picture has a title of its own
    return fig


@cache
def _two_rows() -> go.Figure:
    fig = make_subplots(
        2, 1, shared_xaxes=True, vertical_spacing=0.12, subplot_titles=["the whole tensor", "its median channel"]
    )
    fig.update_xaxes(type="category").update_yaxes(title_text="SQNR (dB)", range=[FLOOR - 3, 68])
    return fig.update_xaxes(title_text="layer, in running order", row=2, col=1)


def calibration_size(table: pd.DataFrame) -> go.Figure:
    """SQNR of the scores over the number of calibration examples. Columns: network, examples, sqnr_db, low, high."""
    names, most = list(dict.fromkeys(table.network)), table.examples.max()
    enough = {name: enough_examples(table[table.network == name]) for name in names}
    told = "; ".join(
        f"{name} {rows.sqnr_db.iloc[0]:.1f} to {rows.sqnr_db.iloc[-1]:.1f} dB"
        for name, rows in table.groupby("network", sort=False)
    )
    counts = " and ".join(f"{count} ({name})" for name, count in enough.items())
    fig = theme.figure(
        title=f"Within 1 dB of what {most} calibration examples give: from {counts} on",
        alt=f"Signal to quantization noise of the scores over {table.examples.min()} to {most} calibration examples, "
        f"mean and 95 % interval: {told}.",
        x="calibration examples", y="SQNR of the scores (dB)", height=400,
    )  # fmt: skip
    for name, look in theme.series(names).items():
        rows = table[table.network == name]
        x = rows.examples.to_numpy()
        fig.add_scatter(**theme.band(x, rows.low, rows.high, look))
        fig.add_scatter(x=x, y=rows.sqnr_db.to_numpy(), mode="lines+markers", **look)
    return fig.update_xaxes(type="log", tickvals=sorted(table.examples.unique()))


def enough_examples(rows: pd.DataFrame, within: float = 1.0) -> int:
    """The fewest `examples` from which on `sqnr_db` stays within `within` dB of its last value."""
    rows = rows.sort_values("examples")
    far = (rows.sqnr_db - rows.sqnr_db.iloc[-1]).abs() > within
    return int(rows.examples[~far[::-1].cummax()[::-1]].min())


def layer_costs(table: pd.DataFrame, y: str) -> go.Figure:
    """What quantising one layer alone costs, with 95 % intervals. Columns: layer, difference, low, high."""
    worst = table.loc[table.difference.idxmax()]
    clear = int((table.low > 0).sum())
    fig = theme.figure(
        title=f"Layer {worst.layer} costs most on average, {worst.difference:.2g} ({worst.low:.2g} to {worst.high:.2g})"
        f"; {clear} of {len(table)} intervals lie above 0",
        alt=f"{y} by layer, mean and 95 % interval: "
        + ", ".join(f"{row.layer} {row.difference:.3f}" for row in table.itertuples()) + ".",
        x="layer, in running order", y=y, height=400,
    )  # fmt: skip
    error = theme.spread(table.difference, table.low, table.high, thickness=2)
    marker = theme.style(0)["marker"] | dict(size=9)
    fig.add_scatter(
        x=table.layer.tolist(), y=table.difference.to_numpy(), error_y=error, mode="markers", marker=marker,
        name="mean and 95 % interval", showlegend=True,
    )  # fmt: skip
    fig.add_hline(y=0, line=theme.DOTTED)
    return fig.update_xaxes(type="category")


def ladder(table: pd.DataFrame) -> go.Figure:
    """Times as fast as the float file in the same runtime. Columns: batch, speedup, speedup_low, speedup_high; index
    model: the rung's name, lowest first."""
    batches = list(dict.fromkeys(table.batch))
    last = table.groupby("batch", sort=False).tail(1)
    facts = " and ".join(f"{row.speedup:.2g} times at batch {row.batch}" for row in last.itertuples())
    told = "; ".join(f"batch {row.batch} {row.Index} {row.speedup:.2f}" for row in table.itertuples())
    fig = theme.figure(
        title=f"{last.index[-1]} against float in the same runtime: {facts}",
        alt=f"Times as fast as {table.baseline.iloc[0]}, median and 95 % interval: {told}.",
        x=f"times as fast as {table.baseline.iloc[0]}", y="", height=380,
    )  # fmt: skip
    for name, look in theme.series([f"batch {batch}" for batch in batches]).items():
        rows = table[table.batch == int(name.split()[1])]
        error = theme.spread(rows.speedup, rows.speedup_low, rows.speedup_high, thickness=2)
        fig.add_scatter(
            x=rows.speedup.to_numpy(), y=rows.index.tolist(), error_x=error, mode="markers", name=name,
            marker=look["marker"] | dict(size=11),
        )  # fmt: skip
    fig.add_vline(x=1, line=theme.DOTTED)
    ticks = [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]
    return fig.update_xaxes(type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])
