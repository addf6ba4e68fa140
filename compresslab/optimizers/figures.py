"""Pictures of lessons 10 and 11: data in, plotly figure out; nothing is computed here but medians and labels."""

from functools import cache

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ..lesson import theme
from .rules import RULES
from .surfaces import Surface

STYLES = theme.series([*RULES, "muon"])


@cache
def _bands(surface: Surface) -> go.Heatmap:
    """The surface in 12 steps of grey, even in the logarithm of the height; a browser draws it faster than contours."""
    x, y = (np.linspace(*limits, 81) for limits in (surface.x_range, surface.y_range))
    z = surface.value(np.stack(np.meshgrid(x, y), axis=-1))
    height = np.log10(z - z.min() + 1e-3 * np.ptp(z)) if surface.minima else z
    return go.Heatmap(
        x=x, y=y, z=np.ceil(12 * (height - height.min()) / np.ptp(height)), name="height", showscale=False,
        colorscale=[[0, "rgba(128, 128, 128, 0.02)"], [1, "rgba(128, 128, 128, 0.5)"]],
        hovertemplate="x %{x:.2f}, y %{y:.2f}<extra>click to start here</extra>",
    )  # fmt: skip


def paths(surface: Surface, paths: dict[str, np.ndarray], lr: float, steps: int) -> go.Figure:
    """Left the surface from above with each path; right the height above the lowest point, step by step."""
    floor = min((float(surface.value(np.array(m, float))) for m in surface.minima), default=None)
    heights = {name: surface.value(path) for name, path in paths.items()}
    ends = {name: heights[name][-1] for name in paths if len(paths[name]) == steps + 1}
    lost = [name for name in paths if name not in ends]
    if ends:
        best = min(ends, key=ends.get)
        title = f"After {steps} steps {best} is lowest, at {ends[best]:.3g}"
    else:
        title = "Tick an optimizer" if not paths else "Every path leaves the picture"
    away = "diverged" if surface.minima else "ran off downhill"
    title += f"; {' and '.join(lost)} {away}" if lost and ends else ""
    alt = f"Surface {surface.name}, learning rate {lr:.3g}, {steps} steps: "
    alt += "; ".join(
        [f"{name} ends at height {value:.3g}" for name, value in ends.items()]
        + [f"{name} {away} at step {len(paths[name])}" for name in lost]
    ) + "."  # fmt: skip

    fig = make_subplots(1, 2, column_widths=[0.56, 0.44], horizontal_spacing=0.16)
    fig.add_trace(_bands(surface), 1, 1)
    for name, path in paths.items():
        look = dict(line=STYLES[name]["line"], legendgroup=name, mode="lines", name=name, hoverinfo="skip")
        fig.add_scatter(x=path[:, 0], y=path[:, 1], **look, row=1, col=1)
        height = heights[name] if floor is None else np.maximum(heights[name] - floor, 1e-12)
        fig.add_scatter(x=np.arange(len(height)), y=height, showlegend=False, **look, row=1, col=2)
    looks = [STYLES[name]["marker"] for name in paths]  # few marks: each costs the browser time
    last = np.array([path[-1] for path in paths.values()]).reshape(-1, 2)
    fig.add_scatter(
        x=last[:, 0], y=last[:, 1], mode="markers", name="end", showlegend=False, hoverinfo="skip", row=1, col=1,
        marker=dict(size=11, color=[look["color"] for look in looks], symbol=[look["symbol"] for look in looks]),
    )  # fmt: skip
    minima = np.array(surface.minima, float).reshape(-1, 2)
    fig.add_scatter(
        x=minima[:, 0], y=minima[:, 1], mode="markers", name="minimum", hoverinfo="skip", row=1, col=1,
        marker=dict(symbol="star", size=14, color=theme.TEXT),
    )  # fmt: skip
    theme.dress(fig, title=title, alt=alt, height=470)
    fig.update_xaxes(range=surface.x_range, title_text="x", row=1, col=1)
    fig.update_yaxes(range=surface.y_range, title_text="y", row=1, col=1)
    fig.update_xaxes(range=[0, steps], title_text="step", row=1, col=2)
    if floor is not None:
        title = dict(text="height above the minimum", standoff=16)
        fig.update_yaxes(type="log", title=title, exponentformat="power", row=1, col=2)
    else:
        top = float(surface.value(np.array([surface.x_range[1], 0.0])))
        fig.update_yaxes(type="linear", range=[-top, top], title_text="height", row=1, col=2)
    return fig


def stability(lrs, distances: dict[str, np.ndarray], limits: dict[str, float], steps: int) -> go.Figure:
    """Distance left after `steps` steps against the learning rate; thin dotted lines: the predicted limits."""
    measured = {name: lrs[distance < 1].max() for name, distance in distances.items()}
    off = max(abs(measured[name] / limit - 1) for name, limit in limits.items())
    said = "; ".join(f"{name}: predicted {limits[name]:.3g}, measured {measured[name]:.3g}" for name in limits)
    fig = theme.figure(
        title=f"Each curve explodes within {100 * off:.1f} % of where the formula says",
        alt=f"Distance left after {steps} steps against the learning rate; largest rate that converges, {said}.",
        x="learning rate", y=f"distance after {steps} steps (start = 1)", height=420,
    )  # fmt: skip
    for i, (name, distance) in enumerate(distances.items()):
        fig.add_scatter(x=lrs, y=np.clip(distance, 1e-12, 1e6), mode="lines", name=name, **theme.style(i))
    for i, (name, limit) in enumerate(limits.items()):
        fig.add_scatter(
            x=[limit, limit], y=[1e-12, 1e6], mode="lines", line=dict(color=theme.COLORS[i], width=1, dash="dot"),
            showlegend=False, name=f"{name}: predicted limit", hovertemplate="%{x:.4f}",
        )  # fmt: skip
    fig.update_xaxes(type="log", exponentformat="power", dtick=1)
    return fig.update_yaxes(type="log", range=[-12, 6], exponentformat="power")


def step_sizes(sizes: dict[str, np.ndarray]) -> go.Figure:
    """Size of each step, as a multiple of the learning rate; the second curve is compared with the first."""
    (usual, small), (name, large) = sizes.items()
    ratio = large / small
    worst = int(ratio.argmax())
    fig = theme.figure(
        title=f"{name.capitalize()}, step 1 is {ratio[0]:.1f} times as long, step {worst + 1} {ratio[worst]:.1f} times",
        alt=f"Size of each step {name} as a multiple of that {usual}: {ratio[0]:.2f} at step 1, {ratio[worst]:.2f} at "
        f"step {worst + 1}, {ratio[-1]:.2f} at step {len(ratio)}.",
        x="step", y="size of the step (learning rates)",
    )  # fmt: skip
    for i, (label, size) in enumerate(sizes.items()):
        fig.add_scatter(x=np.arange(1, len(size) + 1), y=size, mode="lines", name=label, **theme.style(i))
    return fig.update_xaxes(type="log", dtick=1)


def weight_left(scales, left: dict[str, np.ndarray]) -> go.Figure:
    """Share of a weight that decay leaves, against the scale of its gradient's noise."""
    first, last = scales[0], scales[-1]
    said = "; ".join(
        f"{name}: {100 * v[0]:.0f} % at scale {first:g}, {100 * v[-1]:.0f} % at {last:g}" for name, v in left.items()
    )
    fig = theme.figure(
        title="L2 inside Adam spares the weights with large gradients; decoupled decay treats all alike",
        alt=f"Share of the weight that is left. {said}.",
        x="standard deviation of the gradient", y="share of the weight left (%)",
    )  # fmt: skip
    for i, (name, values) in enumerate(left.items()):
        fig.add_scatter(x=scales, y=100 * values, mode="lines+markers", name=name, **theme.style(i))
    return fig.update_xaxes(type="log", exponentformat="power", dtick=1).update_yaxes(range=[0, 105])


CAP = 10.0  # a loss above this, and nan, is drawn here; chance is ln 10 = 2.3
TICKS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]
MEASURES = {
    "val_loss": ("validation loss", "lowest"),
    "train_loss": ("training loss", "lowest"),
    "val_accuracy": ("validation accuracy", "highest"),
}


def _table(history: pd.DataFrame, name: str, rows: str, measure: str) -> pd.DataFrame:
    """One row for each value of column `rows`, one column a seed; diverged runs as inf (a loss) or 0 (an accuracy)."""
    table = history[history["name"] == name].pivot(index=rows, columns="seed", values=measure)
    return 100 * table.fillna(0) if measure == "val_accuracy" else table.fillna(np.inf)


def _bands_of_seeds(tables: dict[str, pd.DataFrame], measure: str, **words) -> go.Figure:
    """A line through the means of each table's rows, and a band from its smallest to its largest value."""
    accuracy = measure == "val_accuracy"
    cap, label = (100.0, f"{MEASURES[measure][0]} (%)") if accuracy else (CAP, f"{MEASURES[measure][0]} (nats)")
    fig = theme.figure(y=label, height=430, **words)
    looks = STYLES if set(tables) <= set(STYLES) else theme.series(tables)
    top = 0.0
    for name, table in tables.items():
        x, values, look = table.index.to_numpy(), table.to_numpy(), looks[name]
        low, middle, high = (np.minimum(of(axis=1), cap) for of in (values.min, values.mean, values.max))
        top = max(top, high.max())
        fig.add_scatter(**theme.band(x, low, high, look))
        fig.add_scatter(x=x, y=middle, mode="lines+markers", legendgroup=name, **look)
    if accuracy:
        return fig.update_yaxes(range=[0, 101])
    names = [f"{tick:g}" + (" or more" if tick == CAP else "") for tick in TICKS]
    low = -2 if measure == "train_loss" else -1.1
    return fig.update_yaxes(
        type="log", range=[low, 1.05 if top > 3 else 0.5], tickvals=TICKS, ticktext=names, minor_showgrid=False
    )


def loss_against_lr(history: pd.DataFrame, names, epoch=None, measure: str = "val_loss", title: str = "") -> go.Figure:
    """The good valley: `measure` at `epoch` (default: the last) against the learning rate.

    One curve for each of `names` in the column `name`; line: mean of the seeds, band: all of them.
    """
    (label, word), epoch = MEASURES[measure], epoch or history.epoch.max()
    tables = {name: _table(history[history.epoch == epoch], name, "lr", measure) for name in names}
    pick = pd.Series.idxmin if word == "lowest" else pd.Series.idxmax
    best = {name: pick(table.mean(axis=1)) for name, table in tables.items()}
    if not title:
        title = "Tick an optimizer"
        if best:
            low, high = min(best, key=best.get), max(best, key=best.get)
            title = f"After epoch {epoch} {low} is best at learning rate {best[low]:g}"
            title += f", {high} at {best[high]:g}" if high != low else ""
    said = "; ".join(f"{n} is {word} at {lr:g} with {tables[n].loc[lr].mean():.3g}" for n, lr in best.items())
    alt = f"{label.capitalize()} after epoch {epoch} against the learning rate, mean of the seeds: {said}."
    fig = _bands_of_seeds(tables, measure, title=title, alt=alt, x="learning rate")
    return fig.update_xaxes(type="log", exponentformat="power", dtick=1)


def learning_curves(
    history: pd.DataFrame, lrs: dict[str, float], measure: str = "val_loss", title: str = ""
) -> go.Figure:
    """`measure` against the epoch, each name at its learning rate in `lrs`; line: mean of the seeds, band: all."""
    label, word = MEASURES[measure]
    tables = {name: _table(history[history.lr == lr], name, "epoch", measure) for name, lr in lrs.items()}
    ends = {name: table.iloc[-1].mean() for name, table in tables.items()}
    if not title:
        title = "Tick an optimizer"
        if ends:
            best, worst = min(ends, key=ends.get), max(ends, key=ends.get)
            best, worst = (best, worst) if word == "lowest" else (worst, best)
            title = f"At the end {best} is {word}, at {ends[best]:.3g}"
            title += f"; {worst} ends at {ends[worst]:.3g}" if worst != best else ""
    said = "; ".join(f"{name} at learning rate {lrs[name]:g} ends at {end:.3g}" for name, end in ends.items())
    alt = f"{label.capitalize()} by epoch, mean of the seeds: {said}."
    return _bands_of_seeds(tables, measure, title=title, alt=alt, x="epoch")


def schedules(shapes: dict[str, tuple]) -> go.Figure:
    """Factor of the learning rate against the share of training done (%), {name: (shares, factors)}."""
    spent = {name: float(np.mean(factors)) for name, (_, factors) in shapes.items()}
    most, least = max(spent, key=spent.get), min(spent, key=spent.get)
    said = "; ".join(
        f"{n} begins at {f[0]:.2g}, ends at {f[-1]:.2g}, mean {spent[n]:.2g}" for n, (_, f) in shapes.items()
    )
    fig = theme.figure(
        title=f"On average {most} spends the whole rate, {least} {100 * spent[least]:.0f} % of it",
        alt=f"Factor of the learning rate: {said}.", x="training done (%)", y="factor of the learning rate",
    )  # fmt: skip
    for i, (name, (shares, factors)) in enumerate(shapes.items()):
        fig.add_scatter(x=shares, y=factors, mode="lines", name=name, **theme.style(i))
    return fig


def loss_by_step(losses: dict[str, np.ndarray], floors: dict[str, float]) -> go.Figure:
    """Loss of each step, smoothed over 50 steps, with the floor that each curve cannot pass."""
    ends = {name: float(np.mean(values[-1000:])) for name, values in losses.items()}
    said = "; ".join(f"{name} ends at {end:.3g}, its floor is {floors[name]:.3g}" for name, end in ends.items())
    fig = theme.figure(
        title="; ".join(f"{name} ends at {end:.2g}" for name, end in ends.items()),
        alt=f"Mean squared error by step: {said}.", x="step", y="mean squared error",
    )  # fmt: skip
    for i, (name, values) in enumerate(losses.items()):
        smooth = np.convolve(values, np.ones(50) / 50, mode="valid")
        fig.add_scatter(x=np.arange(len(smooth)) + 50, y=smooth, mode="lines", name=name, **theme.style(i))
        fig.add_hline(y=floors[name], line=dict(dash="dot", width=1, color=theme.COLORS[i]))
    return fig.update_yaxes(type="log", tickvals=TICKS, ticktext=[f"{tick:g}" for tick in TICKS])
