"""Pictures of lesson 00."""

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from ..lesson import theme


def attempts(tried: list[dict], now: dict, original: dict) -> go.Figure:
    """Accuracy against bytes of everything tried; the present attempt with its 95 % interval, and the original."""
    what = f"{now['sparsity']:.0%} zeros, {now['bits']} bits"
    right = f"{now['accuracy']:.1%} right"
    interval = f"{now['accuracy_low']:.1%} to {now['accuracy_high']:.1%}"
    if now == original:
        title = f"Nothing removed: {now['size_bytes']:,} bytes, {right}"
        alt = f"The original: a file of {now['size_bytes']:,} bytes, {right} (95 % interval {interval})."
    else:
        ratio = original["size_bytes"] / now["size_bytes"]
        title = f"{what}: {now['size_bytes']:,} bytes ({ratio:.1f} times smaller), {right}"
        alt = (
            f"With {what} the file has {now['size_bytes']:,} bytes instead of {original['size_bytes']:,}, and {right} "
            f"(95 % interval {interval}) instead of {original['accuracy']:.1%}. {len(tried)} tried so far."
        )
    fig = theme.figure(title=title, alt=alt, x="file size (bytes)", y="accuracy (%)", height=430)
    fig.add_scatter(
        x=[row["size_bytes"] for row in tried], y=[100 * row["accuracy"] for row in tried], mode="markers",
        name="tried so far", marker=dict(color=theme.COLORS[5], symbol="circle-open", size=9),
        text=[f"{row['sparsity']:.0%} zeros, {row['bits']} bits" for row in tried],
        hovertemplate="%{text}<br>%{x:,} bytes, %{y:.1f} %<extra></extra>",
    )  # fmt: skip
    for name, row, look in (("original", original, theme.style(6)), ("now", now, theme.style(3))):
        middle, low, high = (100 * row[key] for key in ("accuracy", "accuracy_low", "accuracy_high"))
        fig.add_scatter(
            x=[row["size_bytes"]], y=[middle], name=name, mode="markers", marker=dict(look["marker"], size=14),
            error_y=theme.spread(middle, low, high, thickness=2),
        )  # fmt: skip
    ticks = [500, 1000, 2000, 5000, 10_000, 20_000]
    fig.update_xaxes(type="log", range=[2.7, 4.4], tickvals=ticks, ticktext=[f"{tick:,}" for tick in ticks])
    lowest = 100 * min(row["accuracy_low"] for row in tried)
    return fig.update_yaxes(range=[min(80, 10 * (lowest // 10)), 101])


def digits(images: torch.Tensor, answers, labels) -> go.Figure:
    """Images (n, 1, height, width) in a row, each with the network's answer; a wrong answer says what was right."""
    words = [f"{a}" if a == y else f"{a},<br>not {y}" for a, y in zip(answers, labels)]
    right = sum(int(a) == int(y) for a, y in zip(answers, labels))
    fig = make_subplots(1, len(images), subplot_titles=words, horizontal_spacing=0.01)
    for i, image in enumerate(images, 1):
        fig.add_heatmap(z=image[0].flip(0).numpy(), colorscale="Greys", showscale=False, hoverinfo="skip", row=1, col=i)
    said = "; ".join(words).replace("<br>", " ")
    alt = f"{len(images)} digits of the test set with the network's answers: {said}."
    theme.dress(fig, title=f"The network reads {right} of these {len(images)} digits right", alt=alt, height=200)
    fig.update_layout(margin_t=fig.layout.margin.t + 40, margin_b=10)
    fig.update_xaxes(visible=False, constrain="domain")
    for i in range(1, len(images) + 1):
        fig.update_yaxes(visible=False, scaleanchor=f"x{'' if i == 1 else i}", row=1, col=i)
    return fig
