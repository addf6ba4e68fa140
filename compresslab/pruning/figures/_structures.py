"""Pictures of lesson 31: what falls together, and what is left when structures go."""

from math import ceil

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from plotly.subplots import make_subplots
from torch import nn

from ...lesson import theme
from ..groups import Group, zero_masks

COLUMNS, BLOCK, GAP = 6, 32, 10  # blocks in a row; cells of a block, and between two
EMPTY, DARKEST, GOES = -1, 99, 100  # cells without a number, the greys from 0 on, what goes
NOTHING, LIT = "rgba(0, 0, 0, 0)", theme.COLORS[3]
SCALE = [  # in shares of the way from EMPTY to GOES
    [0, NOTHING], [0.5 / 101, NOTHING], [0.5 / 101, "rgba(128, 128, 128, 0.12)"],
    [100.5 / 101, "rgba(128, 128, 128, 0.75)"], [100.5 / 101, LIT], [1, LIT],
]  # fmt: skip


def dependencies(model: nn.Module, group: Group, structure: int) -> go.Figure:
    """Every layer that belongs to `group` as a small picture of its numbers' sizes; what goes with `structure` is lit.

    Layers stand in the order of the network. Outputs are rows, inputs are columns; a kernel is one cell; a bias stands
    as a last column. A batch norm is a strip of two rows, scale and shift.
    """
    layers = list(dict.fromkeys(member.layer for member in group.members))
    rows = ceil(len(layers) / COLUMNS)
    canvas = np.full((rows * (BLOCK + GAP), COLUMNS * (BLOCK + GAP) - GAP), EMPTY)
    words = []
    for i, layer in enumerate(layers):
        top, left = GAP + i // COLUMNS * (BLOCK + GAP), i % COLUMNS * (BLOCK + GAP)
        members = [member for member in group.members if member.layer == layer]
        picture = _block(model, members, structure)
        canvas[top : top + len(picture), left : left + BLOCK] = picture
        words.append((left, top, layer, _words(members, structure)))
    kept = torch.arange(group.size) != structure
    gone = sum(int((~mask).sum()) for mask in zero_masks(model, [group], {group.name: kept}).values())
    share = gone / sum(p.numel() for p in model.parameters())
    name = f"{group.kind.capitalize()} {structure} of group {group.name}"
    fig = theme.figure(
        title=f"{name}: {gone:,} numbers in {len(layers)} layers go together ({share:.1%} of the network)",
        alt=f"{name}. What goes: " + "; ".join(f"{layer}: {said}" for _, _, layer, said in words) + ".",
        height=80 + 165 * rows,
    )
    fig.add_heatmap(z=canvas, zmin=EMPTY, zmax=GOES, colorscale=SCALE, showscale=False, hoverinfo="skip")
    for left, top, layer, said in words:
        text = f"<b>{layer}</b><br>{said}"
        place = dict(x=left - 0.5, y=top - 0.8, xanchor="left", yanchor="bottom", align="left")
        fig.add_annotation(text=text, showarrow=False, font_size=11, **place)
    bare = dict(visible=False, fixedrange=True)
    fig.update_xaxes(**bare)
    return fig.update_yaxes(autorange=False, range=[len(canvas) - 0.5, -0.5], **bare).update_layout(
        margin=dict(l=10, r=10, b=5)
    )


def _block(model: nn.Module, members: list, structure: int) -> np.ndarray:
    """One layer's picture in whole numbers, which travel fast: sizes in 0 .. DARKEST, and GOES."""
    sizes = {member.parameter: member.of(model).detach().abs() for member in members}
    weight, bias = sizes["weight"], sizes.get("bias")
    norm = weight.ndim == 1
    if norm:
        picture = torch.stack([weight, bias])
    else:
        picture = weight.flatten(2).mean(2) if weight.ndim > 2 else weight
        picture = picture if bias is None else torch.cat([picture, bias[:, None]], 1)
    goes = torch.zeros_like(picture)
    for member in members:
        goes.index_fill_(1 if norm else member.dim, member.index[structure], 1)
    shape = (BLOCK // 4 if norm else BLOCK, BLOCK)
    shades = F.adaptive_avg_pool2d(DARKEST * picture[None] / picture.max().clamp(min=1e-12), shape)[0].int()
    lit = F.adaptive_max_pool2d(goes[None], shape)[0] > 0
    return shades.masked_fill(lit, GOES).numpy()


def _words(members: list, structure: int) -> str:
    said = []
    for member in members:
        places = member.index[structure].tolist()
        where = str(places[0]) if len(places) == 1 else f"{places[0]} to {places[-1]}"
        many = "s" * (len(places) > 1)
        if member.parameter == "bias":
            said[-1] += " and bias" if member.role == "producer" else ""
        elif member.role == "norm":
            said.append(f"scale, shift {where}")
        else:
            said.append(f"out: row{many} {where}" if member.role == "producer" else f"in: column{many} {where}")
    return ", ".join(said)


LEFT = {"parameters": "parameters", "macs": "multiply-accumulates (MACs)", "time": "time"}


def ratios(table: pd.DataFrame, now: tuple) -> go.Figure:
    """What is left (%) against the share of structures removed: rows of `ratios.timed_shares` of one batch.

    `now` is the row (of `table.itertuples()`) that the title speaks of, and has a ring on its time.
    """
    table = table.sort_values("ratio")
    said = (
        f"{now.parameters:.0%} of the parameters, {now.macs:.0%} of the MACs, {now.time:.0%} of the time "
        f"({now.time_low:.0%} to {now.time_high:.0%})"
    )
    fig = theme.figure(
        title=f"{now.ratio:.0%} removed leaves {said}",
        alt=f"What is left against the share of structures removed, batch {now.batch}, "
        f"{len(table)} point{'s' * (len(table) > 1)} measured. "
        f"At {now.ratio:.0%}: {said}. The curve (1 - p)² is at {(1 - now.ratio) ** 2:.0%} there.",
        x="structures removed, p (%)", y="left, of the dense network (%)", height=430,
    )  # fmt: skip
    p = np.linspace(0, 1, 41)
    fig.add_scatter(x=100 * p, y=100 * (1 - p) ** 2, mode="lines", name="(1 − p)²", line=dict(color=theme.LINE))
    _lines(fig, table.assign(x=100 * table.ratio), LEFT)
    ring = dict(symbol="circle-open", size=18, color=theme.TEXT, line=dict(width=2))
    fig.add_scatter(x=[100 * now.ratio], y=[100 * now.time], mode="markers", name="now", marker=ring)
    fig.update_xaxes(range=[-3, 100])
    return fig.update_yaxes(range=[0, max(112, 102 * table.time_high.max())])


def staircase(table: pd.DataFrame) -> go.Figure:
    """Time and MACs of one layer, as shares of the widest one's, against its number of channels.

    Columns: channels, macs, time, time_low, time_high.
    """
    worst = max(table.itertuples(), key=lambda row: row.time - row.macs)
    widest = table.channels.max()
    said = (
        f"{worst.channels} of {widest} channels: {worst.macs:.0%} of the MACs, {worst.time:.0%} of the time "
        f"({worst.time_low:.0%} to {worst.time_high:.0%})"
    )
    fig = theme.figure(
        title=said, x="channels", y=f"of what {widest} channels cost (%)", height=400,
        alt=f"Time and multiply-accumulates of a layer against its channels, {len(table)} widths measured. {said}.",
    )  # fmt: skip
    _lines(fig, table.sort_values("channels").assign(x=table.channels), {key: LEFT[key] for key in ("macs", "time")})
    fig.update_xaxes(dtick=8)
    return fig.update_yaxes(rangemode="tozero")


def _lines(fig: go.Figure, table: pd.DataFrame, names: dict[str, str]) -> None:
    looks = theme.series(LEFT)
    for key, name in names.items():
        share, spread = table[key].to_numpy(), None
        if key == "time":
            spread = theme.spread(100 * share, 100 * table.time_low, 100 * table.time_high)
        look = looks[key] | dict(name=name)
        fig.add_scatter(
            x=table.x.to_numpy(), y=100 * share, error_y=spread, mode="lines+markers", **look,
            hovertemplate=f"%{{x:.0f}}: %{{y:.0f}} % of the {name}<extra></extra>",
        )  # fmt: skip


def differences(table: pd.DataFrame, baseline: str) -> go.Figure:
    """Paired differences from `baseline` with their 95 % intervals, one panel a stage.

    Columns: name, stage, difference, low, high; the title counts the intervals without 0 in the last stage.
    """
    stages, names = list(dict.fromkeys(table.stage)), list(dict.fromkeys(table.name))[::-1]
    last = table[table.stage == stages[-1]]
    sure = int((last.low * last.high > 0).sum())
    fig = make_subplots(1, len(stages), subplot_titles=stages, shared_yaxes=True, horizontal_spacing=0.06)
    for i, stage in enumerate(stages):
        rows = table[table.stage == stage].set_index("name").loc[names]
        middle = rows.difference.to_numpy()
        spread = theme.spread(middle, rows.low, rows.high, thickness=2)
        place = dict(row=1, col=i + 1)
        fig.add_vline(x=0, line=dict(color=theme.LINE, width=2), **place)
        fig.add_scatter(
            x=middle, y=names, error_x=spread, mode="markers", marker=theme.style(i)["marker"] | dict(size=10),
            showlegend=False, hovertemplate="%{y}: %{x:+.1f} points<extra></extra>", **place,
        )  # fmt: skip
    said = "; ".join(
        f"{row.stage}, {row.name}: {row.difference:+.1f} ({row.low:+.1f} to {row.high:+.1f})"
        for row in table.itertuples(index=False)
    )
    theme.dress(
        fig, title=f"{stages[-1].capitalize()}, {sure} of {len(last)} intervals leave out 0",
        alt=f"Test accuracy minus that of {baseline}, in points, with 95 % intervals. {said}.",
        height=190 + 34 * len(names),
    )  # fmt: skip
    fig.update_layout(margin=dict(t=fig.layout.margin.t + 26, b=58))  # room for the panels' own titles
    fig.update_xaxes(rangemode="tozero")
    fig.update_xaxes(title_text=f"points, minus {baseline}", col=(len(stages) + 1) // 2)
    return fig.update_yaxes(ticks="")


def heads(table: pd.DataFrame) -> go.Figure:
    """Accuracy against attention heads left. Columns: name (of a curve), left, mean, low, high (in percent)."""
    curves = {name: rows.sort_values("left", ascending=False) for name, rows in table.groupby("name", sort=False)}
    ends = [
        f"{name} {rows['mean'].iloc[0]:.0f} % with {rows.left.iloc[0]}, {rows['mean'].iloc[-1]:.0f} % with "
        f"{rows.left.iloc[-1]}" for name, rows in curves.items()
    ]  # fmt: skip
    fig = theme.figure(
        title="Right, by heads left: " + "; ".join(ends), x="attention heads left", y="right (%)", height=400,
        alt=f"Accuracy against heads left, mean of the seeds with its 95 % interval. {'; '.join(ends)}.",
    )  # fmt: skip
    for rows, look in zip(curves.values(), theme.series(curves).values()):
        middle = rows["mean"].to_numpy()
        spread = theme.spread(middle, rows.low, rows.high)
        fig.add_scatter(x=rows.left.to_numpy(), y=middle, error_y=spread, mode="lines+markers", **look)
    fig.update_xaxes(autorange="reversed", dtick=1)
    return fig.update_yaxes(range=[0, 104])
