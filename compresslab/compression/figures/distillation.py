"""Pictures of lesson 50: a teacher's softened answer, the pull of its term, students side by side."""

import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor

from ...intervals import mean_interval
from ...lesson import theme
from ..distillation import soft_targets

TEMPERATURES = np.geomspace(0.5, 100, 60)


def entropy_bits(p: Tensor) -> Tensor:
    """Entropy of the probabilities `p` along the last dimension, in bits; 0 log 0 counts as 0."""
    return torch.special.entr(p).sum(-1) / math.log(2)


def soft_answer(image: Tensor, scores: Tensor, label: int, temperature: float) -> go.Figure:
    """One picture (height, width), the teacher's answer softened by `temperature`, and its entropy over temperature.

    scores: the teacher's (classes,).
    """
    p = soft_targets(scores, temperature)
    first, second = p.topk(2).indices.tolist()
    told, most = [_percent(v) for v in p.tolist()], math.log2(len(p))
    entropy = entropy_bits(p).item()
    fig = make_subplots(1, 3, column_widths=[0.18, 0.48, 0.34], horizontal_spacing=0.13)
    theme.dress(
        fig, height=380,
        title=f"T = {temperature:.3g}: {first} gets {told[first]} %, {second} gets {told[second]} %; "
        f"entropy {entropy:.2f} of {most:.2f} bits",
        alt=f"A picture labelled {label}, and the teacher's answer to it at temperature {temperature:.3g} in percent: "
        + ", ".join(f"{digit}: {value}" for digit, value in enumerate(told))
        + f". Its entropy is {entropy:.2f} bits; the most possible is {most:.2f}.",
        showlegend=False,
    )  # fmt: skip
    shade = dict(colorscale="Greys", showscale=False, hoverinfo="skip", name="picture")
    fig.add_heatmap(z=image.numpy(), **shade, row=1, col=1)
    digits = [str(digit) for digit in range(len(p))]
    colors = [theme.COLORS[digit == label] for digit in range(len(p))]
    patterns = dict(shape=["/" if digit == label else "" for digit in range(len(p))], fgcolor="white", size=5)
    fig.add_bar(
        x=digits, y=100 * p.numpy(), text=["≈0" if "<" in value else value for value in told],
        textposition="outside", constraintext="none", cliponaxis=False,
        name="soft targets", marker=dict(color=colors, pattern=patterns), row=1, col=2,
    )  # fmt: skip
    curve = entropy_bits(torch.softmax(scores / torch.tensor(TEMPERATURES, dtype=torch.float32)[:, None], 1))
    fig.add_scatter(
        x=TEMPERATURES, y=curve.numpy(), mode="lines", name="entropy", line=theme.style(0)["line"], row=1, col=3
    )
    marker = theme.style(1)["marker"] | dict(size=12)
    fig.add_scatter(x=[temperature], y=[entropy], mode="markers", marker=marker, name="now", row=1, col=3)
    fig.update_xaxes(visible=False, row=1, col=1)
    fig.update_yaxes(autorange="reversed", scaleanchor="x", visible=False, row=1, col=1)
    fig.update_xaxes(title_text=f"digit (striped: the label, {label})", type="category", row=1, col=2)
    fig.update_yaxes(title_text="soft target (%)", range=[0, 112], row=1, col=2)
    fig.update_xaxes(title_text="temperature T", type="log", tickvals=[0.5, 1, 3, 10, 30, 100], row=1, col=3)
    fig.update_xaxes(tickangle=0, col=3)
    return fig.update_yaxes(title_text="entropy (bits)", range=[-0.1, most + 0.2], row=1, col=3)


def _percent(p: float) -> str:
    return "<0.01" if p < 1e-4 else f"{100 * p:.2g}" if p < 0.095 else f"{100 * p:.0f}"


def gradient_size(table: pd.DataFrame) -> go.Figure:
    """Size of the gradient over the temperature, both axes logarithmic. Columns: way, temperature, size."""
    hot = table[table.temperature >= 10]
    slopes = {way: slope(rows) for way, rows in hot.groupby("way", sort=False)}
    told = "; ".join(
        f"{way}: " + ", ".join(f"{row.size_:.2g} at T = {row.temperature:.3g}" for row in rows.itertuples())
        for way, rows in table.rename(columns={"size": "size_"}).groupby("way", sort=False)
    )
    fig = theme.figure(
        title="Slope from T = 10 on: "
        + ", ".join(f"{way} {value:+.2f}".replace("-", "−") for way, value in slopes.items()),
        alt=f"Mean size of the gradient of one picture's soft term over the temperature. {told}.",
        x="temperature T", y="size of the gradient",
    )  # fmt: skip
    for way, look in theme.series(slopes).items():
        rows = table[table.way == way]
        fig.add_scatter(x=rows.temperature.to_numpy(), y=rows["size"].to_numpy(), mode="lines+markers", **look)
    fig.update_xaxes(type="log", tickvals=[1, 2, 5, 10, 20, 50, 100])
    return fig.update_yaxes(type="log", exponentformat="power", dtick=1)


def slope(rows: pd.DataFrame) -> float:
    """Slope of log size over log temperature, by least squares."""
    return float(np.polyfit(np.log(rows.temperature), np.log(rows["size"]), 1)[0])


def balance(temperature: float, pulls: dict[str, float], curves: dict[str, np.ndarray], told: str) -> go.Figure:
    """How hard the teacher's term and the labels' term pull, and the teacher's part of it over the temperature.

    pulls: {"teacher": size of the gradient, "labels": ...}; curves: {way: percent at TEMPERATURES}.
    """
    part = 100 * pulls["teacher"] / sum(pulls.values())
    ends = [f"{way}: {v[0]:.2g} % at T = 0.5, {v[-1]:.2g} % at T = 100" for way, v in curves.items()]
    fig = make_subplots(1, 2, column_widths=[0.35, 0.65], horizontal_spacing=0.14)
    theme.dress(
        fig, height=400,
        title=f"{told}: {part:.3g} % of the pull comes from the teacher",
        alt=f"{told}. Size of the gradient: teacher {pulls['teacher']:.3g}, labels {pulls['labels']:.3g}, so "
        f"{part:.3g} % of the pull comes from the teacher. {'; '.join(ends)}.",
    )  # fmt: skip
    values = list(pulls.values())
    bars = dict(marker_color=[theme.COLORS[3], theme.COLORS[2]], showlegend=False, name="pull")
    text = [f"{value:.3g}" for value in values]
    fig.add_bar(x=list(pulls), y=values, text=text, textposition="outside", cliponaxis=False, **bars, row=1, col=1)
    for way, look in theme.series(curves).items():
        fig.add_scatter(x=TEMPERATURES, y=curves[way], mode="lines", name=way, line=look["line"], row=1, col=2)
    marker = theme.style(3)["marker"] | dict(size=12)
    fig.add_scatter(x=[temperature], y=[part], mode="markers", marker=marker, name="now", row=1, col=2)
    fig.update_yaxes(title_text="size of the gradient", range=[0, max(*values, 0.1) * 1.2], row=1, col=1)
    fig.update_xaxes(title_text="temperature T", type="log", tickvals=[0.5, 1, 2, 5, 10, 20, 50, 100], row=1, col=2)
    return fig.update_yaxes(title_text="teacher's part of the pull (%)", range=[-3, 103], row=1, col=2)


def students(cases: dict[str, dict[str, list[float]]], x: str) -> go.Figure:
    """Means of six or so students with 95 % intervals: a row for each way, a marker for each case.

    cases: {case: {way: one value a student}}; a case may lack some of the ways.
    """
    found = {case: {way: mean_interval(v) for way, v in values.items()} for case, values in cases.items()}
    ways = list(dict.fromkeys(way for rows in found.values() for way in rows))
    told = "; ".join(
        f"{way}, {case}: {mean:.1f} ({low:.1f} to {high:.1f})"
        for case, rows in found.items() for way, (mean, low, high) in rows.items()
    )  # fmt: skip
    ends = {case: [row[0] for row in rows.values()] for case, rows in found.items()}
    fig = theme.figure(
        title="Means, " + "; ".join(f"{case}: {min(means):.1f} to {max(means):.1f}" for case, means in ends.items()),
        alt=f"{x}, mean and 95 % interval: {told}.",
        x=x, height=170 + 26 * len(ways) * len(found),
    )  # fmt: skip
    shifts = np.linspace(-0.12, 0.12, len(found)) if len(found) > 1 else [0.0]
    for (case, look), shift in zip(theme.series(found).items(), shifts):
        mean, low, high = np.array(list(found[case].values())).T
        at = np.array([ways.index(way) for way in found[case]]) + shift
        error, marker = theme.spread(mean, low, high, thickness=2), look["marker"] | dict(size=10)
        fig.add_scatter(x=mean, y=at, mode="markers", name=case, marker=marker, error_x=error)
    every = [row for rows in found.values() for row in rows.values()]
    low, high = max(min(row[1] for row in every), 0), min(max(row[2] for row in every), 100)
    fig.update_xaxes(range=[low - 0.06 * (high - low) - 0.5, high + 0.06 * (high - low) + 0.5])
    lines = dict(tickvals=list(range(len(ways))), ticktext=ways, range=[len(ways) - 0.5, -0.5])
    return fig.update_yaxes(**lines, zeroline=False)
