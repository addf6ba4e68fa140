"""Pictures of lesson 42: accuracy over bits, the straight-through slope, paired differences, groups, mixed bits."""

import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from ...lesson import theme
from ..affine import fake_quantize
from ..scheme import Scheme


def over_bits(table: pd.DataFrame) -> go.Figure:
    """Mean and 95 % interval over the number of bits, fewest at the right. Columns: way, bits, mean, low, high.

    Bits are compared as names: 8, 4, 3 and 2 stand equally far apart.
    """
    ways, bits = list(dict.fromkeys(table.way)), sorted(table.bits.unique(), reverse=True)
    fewest = table[table.bits == bits[-1]].set_index("way")["mean"]
    facts = ", ".join(f"{way} {fewest[way]:.1f}" for way in fewest.sort_values(ascending=False).index)
    told = "; ".join(
        f"{way}: " + ", ".join(f"{row.bits} bits {row.mean:.1f} ({row.low:.1f} to {row.high:.1f})" for row in rows)
        for way, rows in ((way, list(table[table.way == way].itertuples())) for way in ways)
    )
    fig = theme.figure(
        title=f"At {bits[-1]} bits, mean of the seeds: {facts}",
        alt=f"test digits right (%) over bits, mean and 95 % interval. {told}.",
        x="bits", y="test digits right (%)", height=420,
    )  # fmt: skip
    for way, look in theme.series(ways).items():
        rows = table[table.way == way].set_index("bits").reindex(bits).dropna()
        x = np.array([bits.index(b) for b in rows.index], float)
        fig.add_scatter(**theme.band(x, rows.low, rows.high, look))
        fig.add_scatter(x=x, y=rows["mean"].to_numpy(), mode="lines+markers", **look)
    lowest, highest = table["mean"].min(), min(table.high.max(), 100.0)
    lowest = max(table.low.min(), lowest - 15)
    fig.update_yaxes(range=[lowest - 1, highest + 1])
    return fig.update_xaxes(tickvals=list(range(len(bits))), ticktext=[str(b) for b in bits], zeroline=False)


def straight_through(scale: float, zero_point: int, bits: int, low: float, high: float) -> go.Figure:
    """Fake quantization from low to high, and the slope that the straight-through estimator claims for it."""
    scheme = Scheme(bits, symmetric=False)
    x = torch.linspace(low, high, 1201, requires_grad=True)
    y = fake_quantize(x, torch.tensor([scale]), torch.tensor([zero_point], dtype=torch.int32), scheme)
    slope = torch.autograd.grad(y.sum(), x)[0]
    passing = x.detach()[slope > 0]
    first, last = passing.min().item(), passing.max().item()
    fig = make_subplots(2, 1, shared_xaxes=True, vertical_spacing=0.1, row_heights=[0.6, 0.4])
    theme.dress(
        fig, height=460,
        title=f"The gradient passes from {first:.2f} to {last:.2f}, where x has a code, and stops outside",
        alt=f"Upper picture: the {2**bits} steps of fake quantization. Lower picture: the slope used for the gradient, "
        f"1 from {first:.2f} to {last:.2f} and 0 outside, beside the true slope, 0 except at the jumps.",
    )  # fmt: skip
    at, looks = x.detach().numpy(), theme.series(["fake-quantised x", "straight-through slope", "true slope"])
    drawn = zip(looks.values(), (y.detach().numpy(), slope.numpy(), 0 * at), (1, 2, 2))
    for look, values, row in drawn:
        fig.add_scatter(x=at, y=values, mode="lines", name=look["name"], line=look["line"], row=row, col=1)
    fig.update_yaxes(title_text="value", row=1, col=1).update_yaxes(title_text="slope", row=2, col=1)
    return fig.update_xaxes(title_text="x", row=2, col=1)


def paired(table: pd.DataFrame, x: str) -> go.Figure:
    """Paired differences with 95 % intervals, one row each. Index: what; columns: difference, low, high."""
    table = table[["difference", "low", "high"]].astype(float)
    clear = int(((table.low > 0) | (table.high < 0)).sum())
    told = ", ".join(f"{name} {row.difference:.2f} ({row.low:.2f} to {row.high:.2f})" for name, row in table.iterrows())
    fig = theme.figure(
        title=f"{clear} of {len(table)} intervals leave out 0; the others settle nothing",
        alt=f"{x}, mean and 95 % interval: {told}.",
        x=x, height=140 + 34 * len(table),
    )  # fmt: skip
    error = theme.spread(table.difference, table.low, table.high, thickness=2)
    marker = theme.style(0)["marker"] | dict(size=9)
    names = [str(name) for name in table.index]
    fig.add_scatter(x=table.difference.to_numpy(), y=names, error_x=error, mode="markers", marker=marker, name="mean")
    fig.add_vline(x=0, line=theme.DOTTED)
    fig.update_xaxes(zeroline=False)
    return fig.update_yaxes(autorange="reversed", automargin=True, type="category")


def group_sizes(table: pd.DataFrame) -> go.Figure:
    """SQNR over bits a weight, scales included. Columns: way, name, bits_per_weight, sqnr_db.

    The title sets the dearest point of the first way beside the best that the others offer for no more bits.
    """
    ways = list(dict.fromkeys(table.way))
    dearest = table.loc[table.bits_per_weight[table.way == ways[0]].idxmax()]
    rivals = table[(table.way != ways[0]) & (table.bits_per_weight <= dearest.bits_per_weight)]
    named = [dearest] + ([rivals.loc[rivals.sqnr_db.idxmax()]] if len(rivals) else [])
    points = zip(table["name"], table.bits_per_weight, table.sqnr_db)
    told = "; ".join(f"{name} {bits:.2f} bits {decibels:.1f} dB" for name, bits, decibels in points)
    fig = theme.figure(
        title="; ".join(f"{p['name']}: {p.sqnr_db:.1f} dB for {p.bits_per_weight:.2f} bits a weight" for p in named),
        alt=f"Signal to quantization noise of the weights over bits a weight, scales included: {told}.",
        x="bits a weight, scales included", y="SQNR of the weights (dB)", height=400,
    )  # fmt: skip
    for way, look in theme.series(ways).items():
        rows = table[table.way == way].sort_values("bits_per_weight")
        fig.add_scatter(
            x=rows.bits_per_weight.to_numpy(), y=rows.sqnr_db.to_numpy(), text=rows["name"].tolist(),
            mode="lines+markers+text", textposition="bottom right", **look,
        )  # fmt: skip
    fig.update_traces(marker_size=9, cliponaxis=False)
    low, high = table.bits_per_weight.min(), table.bits_per_weight.max()
    fig.update_yaxes(range=[table.sqnr_db.min() - 1.5, table.sqnr_db.max() + 1])
    return fig.update_xaxes(range=[low - 0.1 * (high - low), high + 0.25 * (high - low)])


def mixed_bits(choices: pd.DataFrame, chosen: int, budget: int) -> go.Figure:
    """The bits of each layer in the chosen row, and its accuracy among all choices.

    choices: one row a choice, bytes, accuracy (0 to 1) and a column of bits for each layer; chosen: its row.
    """
    layers = [name for name in choices.columns if name not in ("bytes", "accuracy")]
    bits, right = choices[layers], 100 * choices.accuracy
    uniform = choices[bits.nunique(axis=1) == 1].sort_values("bytes")
    row, fits = choices.loc[chosen], uniform[uniform.bytes <= budget]
    kinds = {f"uniform {int(r[layers[0]])} bits": 100 * r.accuracy for _, r in fits.iterrows()}
    rival = "".join(f"; {name}: {value:.1f} %" for name, value in list(kinds.items())[-1:])
    fig = make_subplots(1, 2, column_widths=[0.32, 0.68], horizontal_spacing=0.14)
    given = ", ".join(f"layer {name} {int(row[name])}" for name in layers)
    theme.dress(
        fig, height=430,
        title=f"{row.bytes:,.0f} of {budget:,} bytes: {right[chosen]:.1f} % right{rival}",
        alt=f"Bits of each layer: {given}. They need {row.bytes:,.0f} of {budget:,} bytes; {right[chosen]:.1f} % "
        f"right. Of all {len(choices)} choices {int((choices.bytes <= budget).sum())} fit.",
    )  # fmt: skip
    looks = theme.series(["all choices", "uniform bits", "chosen"])
    bar = dict(marker_color=looks["chosen"]["marker"]["color"], textposition="outside", showlegend=False, name="bits")
    values = row[layers].to_numpy(float)
    places = list(range(len(layers)))  # a live figure takes names such as "1" for numbers
    fig.add_bar(x=places, y=values, text=[f"{v:.0f}" for v in values], **bar, row=1, col=1)
    cloud = dict(marker=dict(color=theme.COLORS[-1], size=4), name="all choices")
    fig.add_scatter(x=choices.bytes.to_numpy(), y=right.to_numpy(), mode="markers", **cloud, row=1, col=2)
    marker = looks["uniform bits"]["marker"] | dict(size=11)
    xy = dict(x=uniform.bytes.to_numpy(), y=100 * uniform.accuracy.to_numpy())
    fig.add_scatter(**xy, mode="lines+markers", **looks["uniform bits"] | dict(marker=marker), row=1, col=2)
    star = dict(symbol="star", size=16, color=looks["chosen"]["marker"]["color"], line=dict(width=1, color=theme.TEXT))
    fig.add_scatter(x=[row.bytes], y=[right[chosen]], mode="markers", marker=star, name="chosen", row=1, col=2)
    low, high = math.floor(right.min() - 2), 101
    fig.add_scatter(x=[budget] * 2, y=[low, high], mode="lines", line=theme.DOTTED, name="budget", row=1, col=2)
    fig.update_xaxes(title_text="layer", tickvals=places, ticktext=layers, row=1, col=1)
    fig.update_yaxes(title_text="bits", range=[0, 8.9], row=1, col=1)
    fig.update_xaxes(title_text="bytes of all weights and scales", row=1, col=2)
    return fig.update_yaxes(title_text="test digits right (%)", range=[low, high], row=1, col=2)
