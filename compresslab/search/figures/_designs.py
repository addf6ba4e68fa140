"""Pictures of lesson 20: where trials are placed, on which landscape, and how far their best can be trusted."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ...lesson import theme
from ..analysis import distinct
from ..trials import parameters, summary
from ._common import log_axis, metric_of


def projection(space: dict, designs: dict[str, list[dict]]) -> go.Figure:
    """Each way to place trials in a space of two axes, and the values that each axis really sees.

    `designs`: {name: configurations}. The ticks along the sides are the shadows of the points.
    """
    x, y = space
    seen = {name: (distinct(configs, x), distinct(configs, y)) for name, configs in designs.items()}
    n = {name: len(configs) for name, configs in designs.items()}
    fig = make_subplots(1, len(designs), subplot_titles=list(designs), shared_yaxes=True, horizontal_spacing=0.04)
    for column, (name, configs) in enumerate(designs.items(), 1):
        look = theme.style(column - 1)
        at = {axis: [config[axis] for config in configs] for axis in (x, y)}
        low = {axis: space[axis].low for axis in (x, y)}
        for xs, ys, marker in (
            (at[x], at[y], look["marker"]),
            (at[x], [low[y]] * n[name], dict(color=look["marker"]["color"], symbol="line-ns-open", size=11)),
            ([low[x]] * n[name], at[y], dict(color=look["marker"]["color"], symbol="line-ew-open", size=11)),
        ):
            fig.add_scatter(x=xs, y=ys, mode="markers", marker=marker, name=name, showlegend=False, row=1, col=column)
    few, many = min(seen, key=lambda name: seen[name][0]), max(seen, key=lambda name: seen[name][0])
    said = "; ".join(f"{name}: {a} values of {x} and {b} of {y}" for name, (a, b) in seen.items())
    theme.dress(
        fig, height=400,
        title=f"With {n[few]} trials {few} sees {seen[few][0]} values of {x}, {many} {seen[many][0]}",
        alt=f"{len(designs)} ways to place trials. {said}.",
    )  # fmt: skip
    fig.update_layout(margin_t=90)
    fig.update_xaxes(title_text=x, **log_axis(space, x))
    return fig.update_yaxes(**log_axis(space, y)).update_yaxes(title=dict(text=y, standoff=16), row=1, col=1)


def landscape(space: dict, table: pd.DataFrame, metric: str = "error") -> go.Figure:
    """Heat map of the trained scores over the two axes of `space`.

    `table` holds one row for each point of a grid, as `batch.evaluate_batch` or `summary` gives it. A point that
    diverged is left blank.
    """
    (x, y), (label, factor, unit) = space, metric_of(metric)
    scores = factor * table.pivot_table(index=y, columns=x, values="score", dropna=False)
    low = table.loc[table.score.idxmin()]
    best = f"{factor * low.score:.3g}{unit}"
    alt = f"{label[0].upper() + label[1:]} of {len(table)} trained networks over {x} and {y}: lowest, {best}, at "
    alt += f"{x} {low[x]:.3g} and {y} {low[y]:.3g}; {table.score.isna().sum()} diverged."
    fig = theme.figure(
        title=f"The best of {len(table)} trained networks, {best}, lies at {x} {low[x]:.2g}",
        alt=alt, x=x, y=y, height=430,
    )  # fmt: skip
    fig.add_trace(_heat(scores, label, 1.0))
    return fig.update_xaxes(**log_axis(space, x)).update_yaxes(title_standoff=16, **log_axis(space, y))


def _heat(scores: pd.DataFrame, label: str, at: float, side: str = "right") -> go.Heatmap:
    """Colour in even steps of the logarithm, so that the good ones can be told apart; text: the scores themselves."""
    z = np.log10(scores.clip(lower=scores[scores > 0].min().min()).to_numpy())
    ticks = np.array([m * 10.0**e for e in range(-4, 4) for m in (1, 2, 3, 5)])
    ticks = ticks[(np.log10(ticks) >= np.nanmin(z)) & (np.log10(ticks) <= np.nanmax(z))]
    return go.Heatmap(
        x=scores.columns.to_numpy(), y=scores.index.to_numpy(), z=z, reversescale=True, name="landscape",
        showlegend=False, text=scores.to_numpy(), hovertemplate="%{x:.3g}, %{y:.3g}: %{text:.3g}<extra></extra>",
        colorbar=dict(title=dict(text=label, side=side), thickness=14, x=at, tickvals=np.log10(ticks).tolist(),
                      ticktext=[f"{tick:g}" for tick in ticks]),
    )  # fmt: skip


def _marks(found: pd.DataFrame, x: str, y: str, factor: float, unit: str) -> dict:
    best = (found.score == found.score.min()).to_numpy()
    return dict(
        x=found[x].to_numpy(), y=found[y].to_numpy(), mode="markers", name="trials", showlegend=False,
        marker=dict(symbol=np.where(best, "star", "circle").tolist(), size=np.where(best, 17, 9).tolist(),
                    color="#ffffff", line=dict(color="#1a1a1a", width=1.5)),
        text=[f"{factor * score:.3g}{unit}" for score in found.score],
        hovertemplate="%{x:.3g}, %{y:.3g}: %{text}<extra></extra>",
    )  # fmt: skip


def played(
    space: dict, table: pd.DataFrame, trials: list[int], curves: dict[str, list[float]], method: str, metric: str
) -> go.Figure:
    """Left the landscape with the trials of one method; right the best score so far of every method.

    `curves`: {method: best score after 1, 2, ... trials}; the dotted line is the best of the whole landscape.
    """
    (x, y), (label, factor, unit), n = space, metric_of(metric), len(trials)
    found, floor = table.iloc[trials], factor * table.score.min()
    best, values = factor * found.score.min(), found[x].nunique()
    fig = make_subplots(1, 2, column_widths=[0.55, 0.45], horizontal_spacing=0.14)
    scores = factor * table.pivot_table(index=y, columns=x, values="score", dropna=False)
    fig.add_trace(_heat(scores, unit.strip(), 0.48, side="top"), 1, 1)
    fig.add_scatter(**_marks(found, x, y, factor, unit), row=1, col=1)
    for name, look in theme.series(curves).items():
        best_of = factor * np.asarray(curves[name])
        width = 4 if name == method else 1.5
        fig.add_scatter(
            x=np.arange(1, len(best_of) + 1), y=best_of, mode="lines", line=dict(look["line"], width=width),
            name=name, row=1, col=2,
        )  # fmt: skip
    longest = max(map(len, curves.values()))
    fig.add_scatter(
        x=[1, longest], y=[floor, floor], mode="lines", name="best there is", row=1, col=2,
        line=theme.DOTTED,
    )  # fmt: skip
    fig.add_scatter(
        x=[n], y=[best], mode="markers", marker=dict(symbol="star", size=15, color=theme.TEXT), name="now",
        showlegend=False, row=1, col=2,
    )  # fmt: skip
    theme.dress(
        fig, height=430,
        title=f"{method}: {n} trials, {values} values of {x}, best {best:.3g}{unit} (there is {floor:.3g}{unit})",
        alt=f"{method} places {n} trials on {len(table)} trained networks and sees {values} values of {x} and "
        f"{found[y].nunique()} of {y}; its best has {best:.3g}{unit}, the best of all {floor:.3g}{unit}.",
    )  # fmt: skip
    fig.update_xaxes(title_text=x, **log_axis(space, x), row=1, col=1)
    fig.update_yaxes(title=dict(text=y, standoff=16), **log_axis(space, y), row=1, col=1)
    fig.update_xaxes(title_text="trials", row=1, col=2)
    return fig.update_yaxes(title_text=f"best of n trials: {label}", **theme.LOG, side="right", row=1, col=2)


def curse(table: pd.DataFrame, metric: str = "error") -> go.Figure:
    """Best validation score of n trials, and the test score of that trial: the table of `analysis.winners_curse`."""
    label, factor, unit = metric_of(metric)
    last = table.iloc[-1]
    val, test = factor * last.score, factor * last.test_score
    fig = theme.figure(
        title=f"The best of {last.n:.0f} scores {val:.3g}{unit} on validation, {test:.3g}{unit} on test",
        alt=f"Best of n trials: from n = {table.n.iloc[0]} to {last.n:.0f} the validation score falls from "
        f"{factor * table.score.iloc[0]:.3g} to {val:.3g}{unit}, the test score of the same trial from "
        f"{factor * table.test_score.iloc[0]:.3g} to {test:.3g}{unit}.",
        x="trials to choose from", y=label.replace("validation ", ""),
    )  # fmt: skip
    for i, (column, name) in enumerate({"score": "validation (chosen by)", "test_score": "test (untouched)"}.items()):
        y = factor * table[column].to_numpy()
        fig.add_scatter(x=table.n.to_numpy(), y=y, mode="lines+markers", name=name, **theme.style(i))
    return fig.update_xaxes(**theme.LOG)


def chance(ns, measured, share: float = 0.05) -> go.Figure:
    """Chance that the best of n random trials is in the best `share` of all: measured, and 1 − (1 − share)ⁿ."""
    ns, measured = np.asarray(ns), np.asarray(measured)
    reached = ns[measured >= 0.95]
    when = f"first reaches 95 % at {reached[0]} trials" if len(reached) else "stays below 95 %"
    fig = theme.figure(
        title=f"The measured chance of a top {100 * share:g} % trial {when}",
        alt=f"Chance that the best of n random trials is in the best {100 * share:g} %: {100 * measured[0]:.0f} % for "
        f"{ns[0]}, {100 * measured[-1]:.0f} % for {ns[-1]}; it {when}.",
        x="random trials", y="chance (%)",
    )  # fmt: skip
    fig.add_scatter(x=ns, y=100 * measured, mode="markers", name="measured", marker=theme.style(0)["marker"])
    fig.add_scatter(
        x=ns, y=100 * (1 - (1 - share) ** ns), mode="lines", name="1 − (1 − share)ⁿ", line=theme.style(1)["line"]
    )
    fig.add_scatter(x=[ns[0], ns[-1]], y=[95, 95], mode="lines", name="95 %", line=theme.DOTTED)
    return fig.update_yaxes(range=[0, 103])


def folds(table: pd.DataFrame, by: str, chosen: dict, metric: str = "error") -> go.Figure:
    """Mean score over the folds ± one standard error along one axis; marked: the lowest, and `chosen` (the rule's)."""
    label, factor, unit = metric_of(metric)
    means = summary(table).dropna(subset="score")
    low, means = means.iloc[0], means.sort_values(by)
    limit = factor * (low.score + low.standard_error)
    pick = means[(means[parameters(table)] == pd.Series(chosen)).all(axis=1)].iloc[0]
    fig = theme.figure(
        title=f"{by} {low[by]:.3g} is lowest; the simplest within one standard error is {pick[by]:.3g}",
        alt=f"{label[0].upper() + label[1:]}, mean over {int(low.trials)} folds, against {by}: lowest "
        f"{factor * low.score:.3g}"
        f"{unit} at {low[by]:.3g}, plus its standard error {limit:.3g}{unit}; chosen {pick[by]:.3g} with "
        f"{factor * pick.score:.3g}{unit}.",
        x=by, y=label, height=400,
    )  # fmt: skip
    x, bars = means[by].to_numpy(), factor * means.standard_error.to_numpy()
    fig.add_scatter(
        x=x, y=factor * means.score.to_numpy(), error_y=dict(array=bars), mode="markers", name="mean ± standard error",
        marker=theme.style(0)["marker"],
    )  # fmt: skip
    fig.add_scatter(
        x=[x.min(), x.max()], y=[limit, limit], mode="lines", name="lowest + one standard error",
        line=dict(color=theme.TEXT, dash="dot"),
    )  # fmt: skip
    for i, (name, row) in enumerate({"lowest": low, "chosen": pick}.items()):
        marker = dict(symbol=["square-open", "star-open"][i], size=[14, 18][i], color=theme.COLORS[3], line_width=2)
        fig.add_scatter(x=[row[by]], y=[factor * row.score], mode="markers", name=name, marker=marker)
    return fig.update_xaxes(**theme.LOG).update_yaxes(**theme.LOG)
