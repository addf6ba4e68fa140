"""Pictures of lesson 51: shared values, their codes, the gaps between them, and where a file's bytes are."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ...lesson import theme

STARTS = ("linear", "density", "random")


def shared_values(heights, edges, centroids, curves: pd.DataFrame, now: dict) -> go.Figure:
    """The weights of a layer as a histogram with the values that they share, and the SQNR over their number.

    heights (bins,) and edges (bins + 1,): the histogram. centroids: those that some weight takes. curves, columns:
    start, values, sqnr_db. now: start, values (how many were asked for), error (squared), sqnr_db, size_bytes.
    """
    asked = f"{now['values']} values" + f" ({len(centroids)} taken)" * (len(centroids) < now["values"])
    told = (
        f"{asked}, {now['start']} start: squared error {now['error']:.3g}, SQNR {now['sqnr_db']:.1f} "
        f"dB, {now['size_bytes']:,} bytes"
    )
    fig = make_subplots(1, 2, column_widths=[0.6, 0.4], horizontal_spacing=0.13)
    theme.dress(
        fig, title=told,
        alt=f"{told}. The values are {', '.join(f'{c:.3f}' for c in centroids)}. The SQNR of the three starts: "
        + "; ".join(
            f"{start} {', '.join(f'{row.sqnr_db:.1f} dB for {row.values_}' for row in _rows(rows))}"
            for start, rows in curves.groupby("start", sort=False)
        )
        + ".",
        height=400, bargap=0.05,
    )  # fmt: skip
    middle, width = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
    fig.add_bar(x=middle, y=heights, width=width, marker_color=theme.COLORS[7], name="weights", showlegend=False)
    low = -0.06 * max(heights)
    marker = dict(color=theme.COLORS[3], symbol="triangle-up", size=11)
    at = np.asarray(centroids, float)
    fig.add_scatter(x=at, y=np.full(len(at), low), mode="markers", marker=marker, name="shared values")
    for start, look in theme.series(STARTS).items():
        rows = curves[curves.start == start]
        x, y = rows["values"].to_numpy(), rows.sqnr_db.to_numpy()
        fig.add_scatter(x=x, y=y, mode="lines+markers", **look, row=1, col=2)
    star = dict(color=theme.COLORS[3], symbol="star", size=15)
    fig.add_scatter(x=[now["values"]], y=[now["sqnr_db"]], mode="markers", marker=star, name="now", row=1, col=2)
    fig.update_xaxes(title_text="weight", row=1, col=1)
    fig.update_yaxes(title_text="weights in a bin", range=[2.2 * low, 1.05 * max(heights)], row=1, col=1)
    fig.update_xaxes(title_text="values to share", type="log", tickvals=[1, 2, 4, 8, 16, 32, 64], row=1, col=2)
    return fig.update_yaxes(title_text="SQNR (dB)", row=1, col=2)


def _rows(table: pd.DataFrame):
    return table.rename(columns={"values": "values_"}).itertuples()


def over_values(table: pd.DataFrame) -> go.Figure:
    """Means with 95 % intervals over the number of shared values. Columns: way, values, mean, low, high."""
    fewest = table["values"].min()
    least = table[table["values"] == fewest].set_index("way")["mean"]
    told = "; ".join(
        f"{way}: " + ", ".join(f"{r.values_} values {r.mean:.1f} ({r.low:.1f} to {r.high:.1f})" for r in _plain(rows))
        for way, rows in table.groupby("way", sort=False)
    )
    fig = theme.figure(
        title=f"With {fewest} values, test error (%): " + ", ".join(f"{way} {mean:.1f}" for way, mean in least.items()),
        alt=f"test error (%), mean and 95 % interval, over the number of values that a layer shares. {told}.",
        x="values that a layer shares", y="test error (%)",
    )  # fmt: skip
    looks = theme.series(least.index)
    for i, (way, look) in enumerate(looks.items()):
        rows = table[table.way == way].sort_values("values")
        shifted = rows["values"].to_numpy() * 1.03 ** (i - (len(looks) - 1) / 2)  # so that intervals stand side by side
        error = theme.spread(rows["mean"], rows.low, rows.high)
        fig.add_scatter(x=shifted, y=rows["mean"].to_numpy(), error_y=error, mode="lines+markers", **look)
    return fig.update_xaxes(type="log", tickvals=sorted(table["values"].unique()))


def _plain(table: pd.DataFrame):
    return _rows(table[["values", "mean", "low", "high"]])


def symbol_codes(table: pd.DataFrame, entropy: float) -> go.Figure:
    """Each shared value: how many weights take it, its codeword, and the bits that it would need at best.

    Columns: value, count, codeword (a string of 0 and 1), bits_at_best (log2 of 1/p). entropy: bits a symbol.
    """
    lengths, counts = table.codeword.str.len().to_numpy(), table["count"].to_numpy()
    mean = float((counts * lengths).sum() / counts.sum())
    fixed = int(np.ceil(np.log2(len(table))))
    names = [f"{value:+.2f}".replace("-", "−") for value in table.value]
    told = [
        f"{name}: {row.count_} weights, codeword {row.codeword}, at best {row.bits_at_best:.2f} bits"
        for name, row in zip(names, table.rename(columns={"count": "count_"}).itertuples())
    ]
    fig = make_subplots(1, 2, column_widths=[0.5, 0.5], horizontal_spacing=0.13)
    theme.dress(
        fig, height=400,
        title=f"Huffman: {mean:.2f} bits a weight on average; entropy {entropy:.2f}; a fixed length {fixed}",
        alt=f"The shared values, {'; '.join(told)}. On average Huffman's code takes {mean:.2f} bits, the entropy is "
        f"{entropy:.2f} bits, and a fixed length is {fixed}.",
    )  # fmt: skip
    bars = dict(marker_color=theme.COLORS[5], showlegend=False, name="weights")
    fig.add_bar(x=names, y=counts, text=table.codeword, textposition="outside", cliponaxis=False, **bars, row=1, col=1)
    for (way, look), bits in zip(theme.series(["Huffman", "at best, log₂ 1/p"]).items(), (lengths, table.bits_at_best)):
        fig.add_scatter(x=names, y=np.asarray(bits), mode="markers", name=way, marker=look["marker"] | dict(size=11),
                        row=1, col=2)  # fmt: skip
    fig.update_xaxes(title_text="shared value", type="category")
    fig.update_yaxes(title_text="weights (above: the codeword)", range=[0, 1.12 * max(counts)], row=1, col=1)
    return fig.update_yaxes(title_text="bits", range=[0, max(*lengths, *table.bits_at_best) + 0.5], row=1, col=2)


def gap_lengths(lengths: Sequence[int], density: float, bits_a_gap: float) -> go.Figure:
    """How many bits follow the leading 1 of gap + 1, as measured, and as it would be if all places were as likely.

    density: the share of the weights that is left. bits_a_gap: what a gap takes in the file.
    """
    counts = np.bincount(lengths)
    share, x = 100 * counts / counts.sum(), np.arange(len(counts))
    random = 100 * ((1 - density) ** (2.0**x - 1) - (1 - density) ** (2.0 ** (x + 1) - 1))
    best = random_bits(density)
    names = ["0"] + [f"{2**n - 1}-{2 ** (n + 1) - 2}" for n in x[1:]]
    told = ", ".join(f"{name}: {a:.0f} % ({b:.0f} % at random)" for name, a, b in zip(names, share, random))
    fig = theme.figure(
        title=f"{100 * density:.1f} % left: {bits_a_gap:.2f} bits a gap in the file; places at random would need at "
        f"least {best:.2f}",
        alt=f"Share of the gaps by the number of zeros that they count, with {100 * density:.1f} % of the weights "
        f"left. {told}. A gap takes {bits_a_gap:.2f} bits; places at random would need at least {best:.2f}.",
        x="zeros in the gap (each group needs one bit more)", y="share of the gaps (%)",
    )  # fmt: skip
    fig.add_bar(x=names, y=share, marker_color=theme.COLORS[5], name="measured")
    look = theme.style(3)
    fig.add_scatter(
        x=names, y=random, mode="lines+markers", name="at random places",
        line=look["line"] | dict(dash="dash"), marker=look["marker"] | dict(size=9),
    )  # fmt: skip
    return fig.update_xaxes(type="category")


def random_bits(density: float) -> float:
    """Bits that tell the place of one weight, at least, where each of all is left with probability `density`."""
    p = np.array([density, 1 - density])
    return float(-(p * np.log2(p)).sum() / density)


def waterfall(stages: dict[str, int], parts: dict[str, int]) -> go.Figure:
    """From the float32 file down to the last one, stage by stage, and where that one's bytes are.

    stages: {name: bytes}, first to last; parts: {part: bytes}, which add up to the last stage.
    """
    names, sizes = list(stages), list(stages.values())
    first, last = sizes[0], sizes[-1]
    steps = ", ".join(f"{name} {size:,}" for name, size in stages.items())
    parts = dict(sorted(parts.items(), key=lambda part: part[1]))
    told = ", ".join(f"{part} {size:,} ({100 * size / last:.0f} %)" for part, size in reversed(parts.items()))
    fig = make_subplots(2, 1, vertical_spacing=0.13)  # side by side, the labels of the steps have too little room
    theme.dress(
        fig, height=560, showlegend=False,
        title=f"{first:,} bytes become {last:,}: {first / last:.1f} times smaller",
        alt=f"Bytes after each stage: {steps}; {first / last:.1f} times smaller. The last file: {told}.",
    )  # fmt: skip
    measure = ["absolute"] + ["relative"] * (len(sizes) - 1) + ["total"]
    fig.add_waterfall(
        x=[*names, "the file"], y=[first, *np.diff(sizes), last], measure=measure, name="bytes",
        connector_line=dict(color=theme.LINE, dash="dot"),
        decreasing_marker_color=theme.COLORS[1], totals_marker_color=theme.COLORS[0],
    )  # fmt: skip
    text = [f"{first:,}", *(f"÷ {a / b:.1f}" for a, b in zip(sizes, sizes[1:])), f"{last:,}"]
    over = dict(x=[*names, "the file"], y=[first, *sizes[:-1], last], text=text, name="bytes")
    fig.add_scatter(**over, mode="text", textposition="top center", cliponaxis=False)
    bars = dict(orientation="h", marker_color=theme.COLORS[0], textposition="outside", cliponaxis=False)
    fig.add_bar(x=list(parts.values()), y=list(parts), text=[f"{n:,}" for n in parts.values()], **bars, row=2, col=1)
    fig.update_yaxes(title_text="bytes", range=[0, 1.12 * first], row=1, col=1)
    return fig.update_xaxes(title_text="bytes of the last file", range=[0, 1.1 * max(parts.values())], row=2, col=1)


def size_and_error(table: pd.DataFrame, chosen: int, dense: dict, parts: dict[str, float]) -> go.Figure:
    """All pairs of sparsity and shared values: size against error; one of them chosen, and where its bytes are.

    Columns: sparsity, values, size_bytes, mean, low, high (error in %, 95 % interval). chosen: the row's label.
    dense: size_bytes, mean. parts: {part: bytes} of the chosen file.
    """
    row = table.loc[chosen]
    setting = f"{100 * row.sparsity:.0f} % zeros, {row['values']:.0f} values"
    told = (
        f"{setting}: {row.size_bytes:,.0f} bytes, {dense['size_bytes'] / row.size_bytes:.0f} times smaller; "
        f"error {row['mean']:.1f} % ({row.low:.1f} to {row.high:.1f})"
    )
    every = "; ".join(
        f"{100 * r.sparsity:.0f} % zeros, {r.values_:.0f} values {r.size_bytes:,.0f} bytes, "
        f"{r.mean:.1f} % ({r.low:.1f} to {r.high:.1f})"
        for r in _rows(table[["sparsity", "values", "size_bytes", "mean", "low", "high"]])
    )
    parts = dict(sorted(parts.items(), key=lambda part: -part[1]))
    fig = make_subplots(1, 2, column_widths=[0.6, 0.4], horizontal_spacing=0.2)
    theme.dress(
        fig, height=420, title=told,
        alt=f"{told}. Dense: {dense['size_bytes']:,} bytes, error {dense['mean']:.1f} %. All files: {every}. "
        "Bytes of this one: "
        + ", ".join(f"{part} {size:,.0f}" for part, size in parts.items())
        + ".",
    )  # fmt: skip
    for values, look in theme.series(sorted(table["values"].unique())).items():
        rows = table[table["values"] == values].sort_values("size_bytes")
        x, y = rows.size_bytes.to_numpy(), rows["mean"].to_numpy()
        fig.add_scatter(x=x, y=y, mode="lines+markers", **look | dict(name=f"{values} values"), row=1, col=1)
    ends = [0.9 * table.size_bytes.min(), 1.1 * table.size_bytes.max()]
    line = dict(color=theme.COLORS[7], dash="dot")
    fig.add_scatter(x=ends, y=[dense["mean"]] * 2, mode="lines", line=line, name="dense", row=1, col=1)
    star = dict(color=theme.COLORS[3], symbol="star", size=16)
    error = theme.spread(row["mean"], row.low, row.high, color=theme.COLORS[3])
    fig.add_scatter(
        x=[row.size_bytes], y=[row["mean"]], error_y=error, mode="markers", marker=star, name="chosen", row=1, col=1
    )
    bars = dict(orientation="h", marker_color=theme.COLORS[0], textposition="outside", cliponaxis=False)
    text = [f"{n:,.0f}" for n in parts.values()]
    bytes_ = dict(x=list(parts.values()), y=list(parts), text=text, showlegend=False, name="bytes")
    fig.add_bar(**bytes_, **bars, row=1, col=2)
    fig.update_xaxes(
        title_text="size of the file (bytes)",
        type="log",
        tickvals=[n * 10**e for e in range(2, 7) for n in (1, 2, 5)],
        row=1,
        col=1,
    )
    fig.update_yaxes(title_text="test error (%)", rangemode="tozero", row=1, col=1)
    fig.update_yaxes(autorange="reversed", row=1, col=2)
    return fig.update_xaxes(title_text="bytes in the file", range=[0, 1.3 * max(parts.values())], row=1, col=2)
