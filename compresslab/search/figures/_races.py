"""Pictures of lesson 21: races over the epochs spent, rungs, many axes at once, two objectives."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ...lesson import theme
from ..spaces import Choice
from ._common import metric_of


def regret(budgets, found: dict[str, np.ndarray], metric: str = "error") -> go.Figure:
    """Best score so far over the epochs spent, {method: array (seeds, budgets)} of `analysis.best_at`.

    Line: median of the seeds; band: their middle half.
    """
    label, factor, unit = metric_of(metric)
    middle = {name: factor * np.nanmedian(values, axis=0) for name, values in found.items()}
    winner = min(middle, key=lambda name: middle[name][-1])
    seeds = max(len(values) for values in found.values())
    said = ", ".join(f"{name} {values[-1]:.3g}{unit}" for name, values in middle.items())
    fig = theme.figure(
        title=f"After {budgets[-1]:,.0f} epochs {winner} is lowest, at {middle[winner][-1]:.3g}{unit} (best so far)",
        alt=f"{label[0].upper() + label[1:]}, best so far, over the epochs spent, median of {seeds} seeds. "
        f"At the end: {said}.",
        x="epochs spent, all trials together", y=f"{label}, best so far", height=430,
    )  # fmt: skip
    budgets = np.asarray(budgets)
    for name, look in theme.series(found).items():
        known = ~np.isnan(middle[name])
        low, high = factor * np.nanpercentile(found[name][:, known], [25, 75], axis=0)
        x = budgets[known]
        fig.add_scatter(**theme.band(x, low, high, look))
        fig.add_scatter(x=x, y=middle[name][known], mode="lines", legendgroup=name, **look)
    return fig.update_xaxes(**theme.LOG).update_yaxes(**theme.LOG)


def parallel(space: dict, table: pd.DataFrame, metric: str = "error") -> go.Figure:
    """Parallel coordinates: one line a trial across all axes to its score; drag along an axis to select."""
    label, factor, unit = metric_of(metric)
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
        f"{label} from {factor * top.score.min():.3g} to {factor * top.score.max():.3g}{unit}.",
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
    label, factor, unit = metric_of(metric)
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
    return fig.update_xaxes(**theme.LOG).update_yaxes(**theme.LOG)


def rungs(log: pd.DataFrame, bracket: int | None = None, metric: str = "error") -> go.Figure:
    """A halving run: every trial's score at every rung of one bracket (default: the first); thin lines end there."""
    label, factor, unit = metric_of(metric)
    bracket = log.bracket.iloc[0] if bracket is None else bracket
    if bracket not in set(log.bracket):
        raise ValueError(f"bracket must be one of {sorted(set(log.bracket))}, got {bracket}")
    log = log[log.bracket == bracket]
    sizes = log.groupby("rung").agg(n=("trial", "size"), epochs=("epochs", "max"))
    last = log[log.rung == log.rung.max()]
    spent, full = log.groupby("trial").epochs.max().sum(), sizes.n.iloc[0] * sizes.epochs.iloc[-1]
    steps = ", ".join(f"{row.n} at {row.epochs}" for row in sizes.itertuples())
    fig = theme.figure(
        title=f"Of {sizes.n.iloc[0]} trials {sizes.n.iloc[-1]} went on to the last rung: "
        f"{spent:,} epochs, not {full:,}",
        alt=f"Trials at each rung, trials at epochs: {steps}. The best at the end has "
        f"{factor * last.score.min():.3g}{unit}.",
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
    return fig.update_xaxes(type="log", tickvals=ticks, ticktext=[str(t) for t in ticks]).update_yaxes(**theme.LOG)
