"""Pictures of lessons 20 and 21: tables in, plotly figure out; only medians, ranks and labels are made here."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ..lesson import theme
from .analysis import distinct
from .spaces import Choice
from .trials import parameters, summary

# metric -> (axis title, factor, unit in sentences)
METRICS = {"error": ("validation error (%)", 100, " %"), "loss": ("validation loss (nats)", 1, " nats")}


def _metric(metric: str) -> tuple[str, float, str]:
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}, got {metric!r}")
    return METRICS[metric]


def _log_axis(space: dict, name: str) -> dict:
    log = getattr(space[name], "log", False)
    return dict(type="log", exponentformat="power") if log else {}


def projection(space: dict, designs: dict[str, list[dict]]) -> go.Figure:
    """Each way to place trials in a space of two axes, and the values that each axis really sees.

    `designs`: {name: configurations}. The ticks along the sides are the shadows of the points.
    """
    x, y = space
    seen = {name: (distinct(configs, x), distinct(configs, y)) for name, configs in designs.items()}
    n = {name: len(configs) for name, configs in designs.items()}
    fig = make_subplots(1, len(designs), subplot_titles=list(designs), horizontal_spacing=0.06)
    for column, (name, configs) in enumerate(designs.items(), 1):
        look = theme.style(column - 1)
        at = {axis: [config[axis] for config in configs] for axis in (x, y)}
        low = {axis: space[axis].low for axis in (x, y)}
        for xs, ys, marker in (
            (at[x], at[y], look["marker"]),
            (at[x], [low[y]] * n[name], dict(color=look["marker"]["color"], symbol="line-ns-open", size=11)),
            ([low[x]] * n[name], at[y], dict(color=look["marker"]["color"], symbol="line-ew-open", size=11)),
        ):
            fig.add_scatter(
                x=xs, y=ys, mode="markers", marker=marker, name=name, showlegend=False, row=1, col=column
            )
    few, many = min(seen, key=lambda name: seen[name][0]), max(seen, key=lambda name: seen[name][0])
    said = "; ".join(f"{name}: {a} values of {x} and {b} of {y}" for name, (a, b) in seen.items())
    theme.dress(
        fig, height=400,
        title=f"With {n[few]} trials {few} sees {seen[few][0]} values of {x}, {many} {seen[many][0]}",
        alt=f"{len(designs)} ways to place trials. {said}.",
    )  # fmt: skip
    fig.update_layout(margin_t=90)
    fig.update_xaxes(title_text=x, **_log_axis(space, x))
    return fig.update_yaxes(**_log_axis(space, y)).update_yaxes(title_text=y, row=1, col=1)


def landscape(space: dict, table: pd.DataFrame, metric: str = "error", trials=(), title: str = "") -> go.Figure:
    """Heat map of the trained scores over the two axes of `space`; `trials`: positions in `table` to mark, in order.

    `table` holds one row for each point of a grid, as `batch.evaluate_batch` or `summary` gives it. A point that
    diverged is left blank.
    """
    (x, y), (label, factor, unit) = space, _metric(metric)
    scores = factor * table.pivot_table(index=y, columns=x, values="score", dropna=False)
    low = table.loc[table.score.idxmin()]
    best = f"{factor * low.score:.2f}{unit}"
    found = table.iloc[list(trials)]
    alt = f"{label[0].upper() + label[1:]} of {len(table)} trained networks over {x} and {y}: lowest, {best}, at "
    alt += f"{x} {low[x]:.3g} and {y} {low[y]:.3g}; {table.score.isna().sum()} diverged."
    if len(found):
        alt += f" {len(found)} trials are marked; the best of them has {factor * found.score.min():.2f}{unit}."
    fig = theme.figure(
        title=title or f"The best of {len(table)} trained networks, {best}, lies at {x} {low[x]:.2g}",
        alt=alt, x=x, y=y, height=430,
    )  # fmt: skip
    fig.add_trace(_heat(scores, label, 1.0))
    if len(found):
        fig.add_scatter(**_marks(found, x, y, factor, unit))
    return fig.update_xaxes(**_log_axis(space, x)).update_yaxes(**_log_axis(space, y))


def _heat(scores: pd.DataFrame, label: str, at: float) -> go.Heatmap:
    """Colour in even steps of the logarithm, so that the good ones can be told apart; text: the scores themselves."""
    z = np.log10(scores.clip(lower=scores[scores > 0].min().min()).to_numpy())
    ticks = np.array([m * 10.0**e for e in range(-4, 4) for m in (1, 2, 3, 5)])
    ticks = ticks[(np.log10(ticks) >= np.nanmin(z)) & (np.log10(ticks) <= np.nanmax(z))]
    return go.Heatmap(
        x=scores.columns.to_numpy(), y=scores.index.to_numpy(), z=z, reversescale=True, name="landscape",
        showlegend=False, text=scores.to_numpy(), hovertemplate="%{x:.3g}, %{y:.3g}: %{text:.3g}<extra></extra>",
        colorbar=dict(title=dict(text=label, side="right"), thickness=14, x=at, tickvals=np.log10(ticks).tolist(),
                      ticktext=[f"{tick:g}" for tick in ticks]),
    )  # fmt: skip


def _marks(found: pd.DataFrame, x: str, y: str, factor: float, unit: str) -> dict:
    best = (found.score == found.score.min()).to_numpy()
    return dict(
        x=found[x].to_numpy(), y=found[y].to_numpy(), mode="markers", name="trials", showlegend=False,
        marker=dict(symbol=np.where(best, "star", "circle").tolist(), size=np.where(best, 17, 9).tolist(),
                    color="#ffffff", line=dict(color="#1a1a1a", width=1.5)),
        text=[f"{factor * score:.2f}{unit}" for score in found.score],
        hovertemplate="%{x:.3g}, %{y:.3g}: %{text}<extra></extra>",
    )  # fmt: skip


def played(
    space: dict, table: pd.DataFrame, trials: list[int], curves: dict[str, list[float]], method: str, metric: str
) -> go.Figure:
    """Left the landscape with the trials of one method; right the best score so far of every method.

    `curves`: {method: best score after 1, 2, ... trials}; the dotted line is the best of the whole landscape.
    """
    (x, y), (label, factor, unit), n = space, _metric(metric), len(trials)
    found, floor = table.iloc[trials], factor * table.score.min()
    best, values = factor * found.score.min(), found[x].nunique()
    fig = make_subplots(1, 2, column_widths=[0.55, 0.45], horizontal_spacing=0.2)
    scores = factor * table.pivot_table(index=y, columns=x, values="score", dropna=False)
    fig.add_trace(_heat(scores, label, 0.46), 1, 1)
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
        line=dict(color=theme.TEXT, dash="dot", width=1),
    )  # fmt: skip
    fig.add_scatter(
        x=[n], y=[best], mode="markers", marker=dict(symbol="star", size=15, color=theme.TEXT), name="now",
        showlegend=False, row=1, col=2,
    )  # fmt: skip
    theme.dress(
        fig, height=430,
        title=f"{method}: {n} trials, {values} values of {x}, best {best:.2f}{unit} (there is {floor:.2f}{unit})",
        alt=f"{method} places {n} trials on {len(table)} trained networks and sees {values} values of {x} and "
        f"{found[y].nunique()} of {y}; its best has {best:.2f}{unit}, the best of all {floor:.2f}{unit}.",
    )  # fmt: skip
    fig.update_xaxes(title_text=x, **_log_axis(space, x), row=1, col=1)
    fig.update_yaxes(title_text=y, **_log_axis(space, y), row=1, col=1)
    fig.update_xaxes(title_text="trials", row=1, col=2)
    return fig.update_yaxes(title_text=f"best so far: {label}", type="log", row=1, col=2)


def regret(budgets, found: dict[str, np.ndarray], metric: str = "error", floor: float = 0.0) -> go.Figure:
    """Best score so far over the epochs spent, {method: array (seeds, budgets)} of `analysis.best_at`.

    Line: median of the seeds; band: the middle half of them. `floor`, the best score known, is subtracted where given.
    """
    label, factor, unit = _metric(metric)
    middle = {name: factor * (np.nanmedian(values, axis=0) - floor) for name, values in found.items()}
    winner = min(middle, key=lambda name: middle[name][-1])
    seeds = max(len(values) for values in found.values())
    said = ", ".join(f"{name} {values[-1]:.2f}{unit}" for name, values in middle.items())
    what = "above the best known" if floor else "best so far"
    fig = theme.figure(
        title=f"After {budgets[-1]:,.0f} epochs {winner} is lowest, at {middle[winner][-1]:.2f}{unit} ({what})",
        alt=f"{label[0].upper() + label[1:]}, {what}, over the epochs spent, median of {seeds} seeds. At the end: {said}.",
        x="epochs spent, all trials together", y=f"{label}, {what}", height=430,
    )  # fmt: skip
    budgets = np.asarray(budgets)
    for name, look in theme.series(found).items():
        known = ~np.isnan(middle[name])
        low, high = factor * (np.nanpercentile(found[name][:, known], [25, 75], axis=0) - floor)
        x = budgets[known]
        fig.add_scatter(
            x=np.concatenate([x, x[::-1]]), y=np.concatenate([high, low[::-1]]), fill="toself", opacity=0.2,
            fillcolor=look["line"]["color"], line=dict(width=0), mode="lines", hoverinfo="skip", showlegend=False,
            legendgroup=name, name=name,
        )  # fmt: skip
        fig.add_scatter(x=x, y=middle[name][known], mode="lines", legendgroup=name, **look)
    return fig.update_xaxes(type="log").update_yaxes(type="log")


def parallel(space: dict, table: pd.DataFrame, metric: str = "error") -> go.Figure:
    """Parallel coordinates: one line a trial across all axes to its score; drag along an axis to select."""
    label, factor, unit = _metric(metric)
    good = table.dropna(subset="score")
    top = good.nsmallest(max(1, len(good) // 10), "score")
    numeric = {name: axis for name, axis in space.items() if not isinstance(axis, Choice)}
    spread = {name: np.ptp([axis.share(v) for v in top[name]]) for name, axis in numeric.items()}
    said = "; ".join(f"{name} from {top[name].min():.2g} to {top[name].max():.2g}" for name in numeric)
    narrow = min(spread, key=spread.get, default="")
    title = f"The best {len(top)} of {len(good)} trials"
    if narrow:
        title += f" have {narrow} between {top[narrow].min():.2g} and {top[narrow].max():.2g}"
    fig = theme.figure(
        title=title, height=430,
        alt=f"{len(good)} trials as lines across {', '.join(space)} and the score. The best tenth: {said}; "
        f"{label} from {factor * top.score.min():.2f} to {factor * top.score.max():.2f}{unit}.",
    )  # fmt: skip
    scores = factor * good.score
    dimensions = [_dimension(name, axis, good[name]) for name, axis in space.items()]
    dimensions.append(dict(label=label, values=scores.to_numpy()))
    fig.add_trace(
        go.Parcoords(
            dimensions=dimensions, labelfont=dict(color=theme.TEXT), tickfont=dict(color=theme.TEXT),
            rangefont=dict(color=theme.TEXT),
            line=dict(color=scores.to_numpy(), colorscale="Cividis", reversescale=True,
                      cmax=float(np.percentile(scores, 90)), cmin=float(scores.min())),
        )
    )  # fmt: skip
    return fig.update_layout(margin=dict(l=70, r=60, t=120, b=30))


def _dimension(name: str, axis, values: pd.Series) -> dict:
    if isinstance(axis, Choice):
        places = {option: i for i, option in enumerate(axis.options)}
        return dict(
            label=name, values=[places[value] for value in values], tickvals=list(places.values()),
            ticktext=[str(option) for option in places],
        )  # fmt: skip
    if not axis.log:
        return dict(label=name, values=values.to_numpy(), range=[axis.low, axis.high])
    ticks = np.arange(np.ceil(np.log10(axis.low) - 1e-9), np.floor(np.log10(axis.high) + 1e-9) + 1)
    ticks = ticks if len(ticks) > 1 else np.log10([axis.low, axis.high])
    return dict(
        label=name, values=np.log10(values.to_numpy()), range=np.log10([axis.low, axis.high]).tolist(),
        tickvals=ticks.tolist(), ticktext=[f"{10**tick:g}" for tick in ticks],
    )  # fmt: skip


def importance(shares: dict[str, pd.DataFrame]) -> go.Figure:
    """Importance of each axis, {evaluator: table of `optuna_adapter.importance`}, as bars side by side."""
    first = next(iter(shares.values()))
    names = first.parameter.tolist()
    said = "; ".join(
        f"{name}: " + ", ".join(f"{row.parameter} {100 * row.importance:.0f} %" for row in table.itertuples())
        for name, table in shares.items()
    )
    fig = theme.figure(
        title=f"{names[0]} decides most: {100 * first.importance.iloc[0]:.0f} % by {next(iter(shares))}",
        alt=f"Importance of each axis. {said}.", x="axis", y="share of the importance (%)",
    )  # fmt: skip
    for i, (name, table) in enumerate(shares.items()):
        heights = 100 * table.set_index("parameter").importance.reindex(names).fillna(0)
        marker = dict(color=theme.COLORS[i], pattern_shape=["", "/", "x"][i % 3])
        fig.add_bar(x=names, y=heights.to_numpy(), name=name, marker=marker)
    return fig.update_yaxes(range=[0, 100])


def pareto(table: pd.DataFrame, front: pd.DataFrame, size: str = "parameters", metric: str = "error") -> go.Figure:
    """Score against size of all trials, and the front: the trials that no other beats in both."""
    label, factor, unit = _metric(metric)
    good = table.dropna(subset=["score", size])
    front = front.sort_values(size)
    small, large = front.iloc[0], front.iloc[-1]
    ends = f"{small[size]:,.0f} {size} with {factor * small.score:.1f}{unit} to {large[size]:,.0f} with "
    ends += f"{factor * large.score:.1f}{unit}"
    fig = theme.figure(
        title=f"{len(front)} of {len(good)} trials are beaten by none: from {ends}",
        alt=f"{label[0].upper() + label[1:]} against {size}; the front of {len(front)} trials goes from {ends}.",
        x=size, y=label, height=430,
    )  # fmt: skip
    fig.add_scatter(
        x=good[size].to_numpy(), y=factor * good.score.to_numpy(), mode="markers", name="trials",
        marker=dict(color=theme.COLORS[5], symbol="circle-open", size=8),
    )  # fmt: skip
    look = theme.style(3)
    fig.add_scatter(
        x=front[size].to_numpy(), y=factor * front.score.to_numpy(), mode="lines+markers", name="Pareto front",
        line=dict(look["line"], shape="hv"), marker=dict(look["marker"], size=10),
    )  # fmt: skip
    return fig.update_xaxes(type="log").update_yaxes(type="log")


def rungs(log: pd.DataFrame, bracket: int | None = None, metric: str = "error") -> go.Figure:
    """A halving run: every trial's score at every rung of one bracket (default: the first); thin lines end there."""
    label, factor, unit = _metric(metric)
    bracket = log.bracket.iloc[0] if bracket is None else bracket
    if bracket not in set(log.bracket):
        raise ValueError(f"bracket must be one of {sorted(set(log.bracket))}, got {bracket}")
    log = log[log.bracket == bracket]
    sizes = log.groupby("rung").agg(n=("trial", "size"), epochs=("epochs", "max"))
    last = log[log.rung == log.rung.max()]
    spent, full = log.groupby("trial").epochs.max().sum(), sizes.n.iloc[0] * sizes.epochs.iloc[-1]
    steps = ", ".join(f"{row.n} at {row.epochs}" for row in sizes.itertuples())
    fig = theme.figure(
        title=f"{sizes.n.iloc[0]} start, {sizes.n.iloc[-1]} reach the last rung: {spent:,} epochs instead of {full:,}",
        alt=f"Trials at each rung, trials at epochs: {steps}. The best at the end has "
        f"{factor * last.score.min():.2f}{unit}.",
        x="epochs trained", y=label, height=430,
    )  # fmt: skip
    winner = last.trial[last.score.idxmin()] if last.score.notna().any() else None
    groups = {"dropped": [], "went on to the last rung": [], "best": []}
    for trial, rows in log.groupby("trial"):
        name = "best" if trial == winner else "went on to the last rung" if trial in set(last.trial) else "dropped"
        groups[name].append(rows)
    looks = {"dropped": (theme.COLORS[7], 1, 5), "went on to the last rung": (theme.COLORS[0], 2, 7)}
    for i, (name, parts) in enumerate(groups.items()):
        color, width, size = looks.get(name, (theme.COLORS[3], 4, 11))
        gap = [np.nan]  # one trace for many lines: a gap between two
        x = np.concatenate([[*rows.epochs, *gap] for rows in parts]) if parts else []
        y = factor * np.concatenate([[*rows.score, *gap] for rows in parts]) if parts else []
        fig.add_scatter(
            x=x, y=y, mode="lines+markers", name=name, line=dict(color=color, width=width),
            marker=dict(symbol=theme.SYMBOLS[i], size=size),
        )  # fmt: skip
    ticks = sizes.epochs.tolist()
    return fig.update_xaxes(type="log", tickvals=ticks, ticktext=[str(t) for t in ticks]).update_yaxes(type="log")


def curse(table: pd.DataFrame, metric: str = "error") -> go.Figure:
    """Best validation score of n trials, and the test score of the same trial: the table of `analysis.winners_curse`."""
    label, factor, unit = _metric(metric)
    last = table.iloc[-1]
    val, test = factor * last.score, factor * last.test_score
    fig = theme.figure(
        title=f"The best of {last.n:.0f} scores {val:.2f}{unit} on validation, {test:.2f}{unit} on test",
        alt=f"Best of n trials: from n = {table.n.iloc[0]} to {last.n:.0f} the validation score falls from "
        f"{factor * table.score.iloc[0]:.2f} to {val:.2f}{unit}, the test score of the same trial from "
        f"{factor * table.test_score.iloc[0]:.2f} to {test:.2f}{unit}.",
        x="trials to choose from", y=label.replace("validation ", ""),
    )  # fmt: skip
    for i, (column, name) in enumerate({"score": "validation (chosen by)", "test_score": "test (untouched)"}.items()):
        y = factor * table[column].to_numpy()
        fig.add_scatter(x=table.n.to_numpy(), y=y, mode="lines+markers", name=name, **theme.style(i))
    return fig.update_xaxes(type="log")


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
    fig.add_scatter(x=ns, y=100 * (1 - (1 - share) ** ns), mode="lines", name="1 − (1 − share)ⁿ", line=theme.style(1)["line"])
    fig.add_scatter(
        x=[ns[0], ns[-1]], y=[95, 95], mode="lines", name="95 %", line=dict(color=theme.TEXT, dash="dot", width=1)
    )
    return fig.update_yaxes(range=[0, 103])


def folds(table: pd.DataFrame, by: str, chosen: dict, metric: str = "error", log: bool = True) -> go.Figure:
    """Mean score over the folds ± one standard error along one axis; marked: the lowest, and `chosen` (the rule's)."""
    label, factor, unit = _metric(metric)
    means = summary(table).dropna(subset="score")
    low, means = means.iloc[0], means.sort_values(by)
    limit = factor * (low.score + low.standard_error)
    pick = means[(means[parameters(table)] == pd.Series(chosen)).all(axis=1)].iloc[0]
    fig = theme.figure(
        title=f"{by} {low[by]:.3g} is lowest; the simplest that cannot be told from it is {pick[by]:.3g}",
        alt=f"{label[0].upper() + label[1:]}, mean over {int(low.trials)} folds, against {by}: lowest {factor * low.score:.2f}"
        f"{unit} at {low[by]:.3g}, plus its standard error {limit:.2f}{unit}; chosen {pick[by]:.3g} with "
        f"{factor * pick.score:.2f}{unit}.",
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
    return fig.update_xaxes(type="log" if log else "linear").update_yaxes(type="log")
