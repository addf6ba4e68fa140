"""What `compresslab.report` gives: its tables, its proposal, and how they read as text and as a page."""

import html
from dataclasses import dataclass, field

import pandas as pd
from torch import nn

from ..pruning.sensitivity import budget

LEGEND = (
    "In brackets: 95 % intervals. speed-up: over the model as it is, taking turns. points: {0.judged} minus that of "
    "the model as it is, on the same examples. kept: is it certain that at most {0.max_drop:.1%} is lost? int8: how "
    "many of the kernels that multiply ran on 8-bit codes."
)
AS_IS, ONNX = "as it is", "ONNX float"  # the two rows that the others are compared with


@dataclass(frozen=True, eq=False)
class Report:
    """What was found about a model of the class `name`; None or empty where there is nothing (yet).

    judged: "accuracy" on val, or "agreement" with the model's own answers, on `examples` examples.
    cost: `measure.compare` of the model. weights, bits: the scans of lessons 30 and 41, layer by layer; structures: the
    same for groups, one row a group and pruning_ratio. recipe: one row a way to ship the model, on val; chosen: the
    proposed one, why in a sentence, the module behind it and its ONNX file (None if it runs in torch). test: the model
    as it is and the chosen row on test. cuts: {row: {group: pruning_ratio}}. notes: what could not be done.

    Columns of recipe: step, kb (1,000 bytes), parameters, macs (of one example), ms a call of `batch` examples,
    speedup and verdict (against "as it is", paired by round), the same with onnx_ (against "ONNX float"), accuracy,
    difference (from "as it is" on the same examples), agreement, kept ("yes", "no", "not settled": is at most
    max_drop lost?), int8 of products (how many of the multiplying kernels ran on 8-bit codes). _low, _high: 95 %
    intervals.
    """

    name: str
    judged: str
    examples: int
    max_drop: float
    prefer: str
    batch: int
    rounds: int
    cost: pd.DataFrame | None = None
    weights: pd.DataFrame | None = None
    bits: pd.DataFrame | None = None
    structures: pd.DataFrame | None = None
    recipe: pd.DataFrame | None = None
    test: pd.DataFrame | None = None
    cuts: dict[str, dict[str, float]] = field(default_factory=dict)
    chosen: str = ""
    why: str = ""
    model: nn.Module | None = None
    file: bytes | None = None
    notes: tuple[str, ...] = ()

    def proposal(self) -> str:
        """What is proposed, with its numbers and why; "" where there is nothing yet."""
        if self.recipe is None:
            return ""
        if self.chosen == AS_IS:
            return f"Proposed: leave it as it is. {self.why}"
        row = self.recipe.set_index("step").loc[self.chosen]
        size = f"{row.kb:,.1f} kB instead of {self.recipe.kb[0]:,.1f}"
        beside = f" and {_span(row, 'onnx_speedup')} times as fast as {ONNX}" if "onnx_speedup" in row else ""
        return (
            f"Proposed: {self.chosen}. {size}, {_span(row, 'speedup')} times as fast as it is{beside}, "
            f"{_span(row, 'difference', '+.1f', 100)} points of {self.judged}. {self.why}"
        )

    def tables(self) -> dict[str, pd.DataFrame]:
        """{caption: table in words} of what is there."""
        found, alone = {}, "one at a time, nothing trained after it"
        if self.cost is not None:
            found["What it costs"] = _cost(self.cost.iloc[0], self.batch)
        if self.weights is not None:
            caption = f"Share of the weights of a layer set to 0, {alone}: {self.judged}"
            found[caption] = _wide(self.weights, "layer", "sparsity")
        if self.bits is not None:
            caption = f"8 bits for the weights and inputs of a layer, {alone}: {self.judged}"
            columns = {self.judged: [_span(row, "accuracy", ".1%") for _, row in self.bits.iterrows()]}
            found[caption] = pd.DataFrame(columns, index=pd.Index(self.bits.layer, name="layer"))
        if self.structures is not None:
            caption = f"Share of the structures of a group cut out, {alone}: {self.judged}"
            found[caption] = _wide(self.structures, "group", "pruning_ratio")
        if self.recipe is not None:
            found[f"Recipe: {self.judged} on {self.examples} examples, times for {self.batch} a call"] = self._recipe()
        if self.test is not None:
            found[f"Judged on {self.test.n[0]} examples of test"] = _answers(self.test, "accuracy")
        return found

    def _recipe(self) -> pd.DataFrame:
        rows = [row for _, row in self.recipe.iterrows()]
        times = dict(kB=[f"{row.kb:,.1f}" for row in rows], ms=[_span(row, "ms", ".3g") for row in rows])
        times["speed-up"] = [_span(row, "speedup") for row in rows]
        if "onnx_speedup" in self.recipe:
            times[f"over {ONNX}"] = [_span(row, "onnx_speedup") for row in rows]
        counts = ["" if pd.isna(row.products) else f"{row.int8} of {row.products}" for row in rows]
        table = pd.DataFrame(times, index=self.recipe.step)
        return table.join(_answers(self.recipe, self.judged)).assign(**{"int8": counts})

    def _scans(self) -> list[str]:
        """One line a scan: how far each layer goes alone."""
        lines, lost = [], f"alone loses at most {self.max_drop:.1%}"
        for table, name, share, what in (
            (self.weights, "layer", "sparsity", "Weights that may be 0"),
            (self.structures, "group", "pruning_ratio", "Structures that may go"),
        ):
            if table is not None:
                most = budget(table.rename(columns={name: "layer", share: "sparsity"}), self.max_drop)
                lines.append(f"{what}, where a {name} {lost}: {_few(f'{k} {v:.0%}' for k, v in most.items())}.")
        if self.bits is not None:
            lost = zip(self.bits.layer[1:], 100 * (self.bits.accuracy[1:] - self.bits.accuracy[0]))
            costs = _few(f"{name} {points:+.1f}" for name, points in lost)
            lines.append(f"Eight bits, points of {self.judged}: {costs}.")
        return lines

    def __repr__(self):
        lines, tables = [f"Report on {self.name}"], self.tables()
        if self.cost is not None:
            cost = tables["What it costs"].iloc[0]
            lines.append("Cost: " + ", ".join(f"{name} {value}" for name, value in cost.items()))
        lines += self._scans()
        for caption, table in tables.items():
            if caption.startswith(("Recipe", "Judged")):
                narrow = table.drop(columns=["ms", self.judged], errors="ignore").rename_axis(None)
                lines += [f"{caption}, 95 % intervals in brackets", narrow.to_string()]
        return "\n".join(lines + [self.proposal()] * bool(self.proposal()) + [f"Note: {note}" for note in self.notes])

    def _repr_html_(self):
        parts = [f"<p><strong>Report on {html.escape(self.name)}.</strong> {html.escape(self.proposal())}</p>"]
        parts += [_section(caption, table) for caption, table in self.tables().items()]
        if parts[1:]:
            parts.append(f"<p>{html.escape(LEGEND.format(self))}</p>")
        if self.notes:
            notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
            parts.append(f"<p>Notes:</p><ul>{notes}</ul>")
        label = html.escape(f"Report on {self.name}", quote=True)
        body, wide = "".join(parts), 'style="max-width: none"'
        return f'<section class="cl-report cl-board cl-todo" {wide} aria-label="{label}">{body}</section>'


def _span(row: pd.Series, name: str, form: str = ".2f", times: float = 1) -> str:
    """A number with its 95 % interval in brackets; nothing where it is missing or exact by definition."""
    value, low, high = (times * row[name + end] for end in ("", "_low", "_high"))
    if pd.isna(value):
        return ""
    return f"{value:{form}}" if low == high else f"{value:{form}} ({low:{form}} to {high:{form}})"


def _cost(row: pd.Series, batch: int) -> pd.DataFrame:
    ms = f"{row.latency_ms:.3g} ({row.latency_low_ms:.3g} to {row.latency_high_ms:.3g}, 5th to 95th percentile)"
    words = {
        "parameters": f"{row.parameters:,}",
        "not zero": f"{row.nonzeros:,}",
        "MACs of one example": f"{row.macs:,}",
        "kB": f"{row.file_bytes / 1000:,.1f}",
        "kB after gzip": f"{row.gzip_bytes / 1000:,.1f}",
        f"ms for {batch} a call": ms,
    }
    if "accuracy" in row:
        words["accuracy"] = _span(row, "accuracy", ".1%")
    return pd.DataFrame([words], index=[AS_IS])


def _wide(scan: pd.DataFrame, name: str, share: str) -> pd.DataFrame:
    """One row a layer, one column a share."""
    wide = scan.pivot(index=name, columns=share, values="accuracy").loc[scan[name].unique()]
    return wide.map(lambda value: f"{value:.1%}").rename(columns=lambda value: f"{value:.0%}").rename_axis(None, axis=1)


def _answers(table: pd.DataFrame, judged: str) -> pd.DataFrame:
    rows = [row for _, row in table.iterrows()]
    words = {judged: [_span(row, "accuracy", ".1%") for row in rows]}
    words["points"] = [_span(row, "difference", "+.1f", 100) for row in rows]
    words["kept"] = table.kept.tolist()
    return pd.DataFrame(words, index=table.step)


def _few(words, most: int = 8) -> str:
    words = list(words)
    return ", ".join(words[:most]) + f" and {len(words) - most} more" * (len(words) > most)


def _section(caption: str, table: pd.DataFrame) -> str:
    """A table that scrolls in its own box where it is wide."""
    head = "".join(
        f'<th scope="col">{html.escape(str(name))}</th>' for name in [table.index.name or "", *table.columns]
    )
    body = ""
    for name, row in zip(table.index, table.to_numpy()):
        cells = "".join(f"<td>{html.escape(str(value))}</td>" for value in row)
        body += f'<tr><th scope="row">{html.escape(str(name))}</th>{cells}</tr>'
    caption = html.escape(caption, quote=True)
    return (
        f'<div style="overflow: auto; overflow-wrap: normal" tabindex="0" role="region" aria-label="{caption}"><table>'
        f"<caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
