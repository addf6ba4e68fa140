"""What a learner has solved and locked, kept in one small file: COMPRESSLAB_HOME/progress.json."""

import html
import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from ..data import home


class Lesson(NamedTuple):
    title: str
    exercises: tuple[str, ...] = ()
    predictions: tuple[str, ...] = ()


LESSONS = {
    "00_start_here": Lesson("Start here", ("00/sparsity",), ("00/sparsity-limit",)),
    "10_optimizers_by_hand": Lesson(
        "Optimizers by hand",
        ("10/momentum", "10/stability", "10/rmsprop", "10/adam", "10/adamw"),
        ("10/lr-limit", "10/momentum-limit", "10/first-step", "10/decay"),
    ),
    "11_optimizers_on_real_data": Lesson(
        "Optimizers on real data",
        ("11/valley", "11/interval", "11/schedule", "11/mended-loop"),
        ("11/best", "11/generalisation", "11/floor"),
    ),
    "20_grid_and_random_search": Lesson(
        "Grid and random search",
        ("20/log-uniform", "20/trials-needed", "20/k-fold", "20/one-standard-error"),
        ("20/grid-or-random", "20/random-trials", "20/winners-curse"),
    ),
    "21_search_that_learns": Lesson(
        "Search that learns",
        ("21/halving", "21/hyperband"),
        ("21/first-rung", "21/saving", "21/importance"),
    ),
    "30_pruning_weights": Lesson(
        "Pruning weights",
        ("30/magnitude-mask", "30/masked-step", "30/cubic", "30/prune-again", "30/csr-bytes"),
        ("30/how-many-zeros", "30/criterion", "30/lottery", "30/how-much-faster"),
    ),
    "31_pruning_structures": Lesson(
        "Pruning structures",
        (
            "31/shrink-layers",
            "31/shrink-batch-norm",
            "31/flattened",
            "31/speed-up",
            "31/two-of-four",
        ),
        ("31/half-of-channels", "31/criterion", "31/time"),
    ),
    "40_numbers": Lesson(
        "Numbers in few bits",
        ("40/affine", "40/quantize", "40/symmetric", "40/per-channel", "40/integer-matmul"),
        ("40/between-1-and-2", "40/clip", "40/relu", "40/rule", "40/decibels", "40/int16"),
    ),
    "41_quantizing_models": Lesson(
        "Quantizing models",
        ("41/fold", "41/calibrate"),
        (
            "41/answers",
            "41/fold-order",
            "41/calibration-size",
            "41/sensitive-layer",
            "41/depthwise",
            "41/model-a",
            "41/model-b",
            "41/model-c",
            "41/int8-speed",
            "41/slower",
            "41/tutorial",
        ),
    ),
    "42_low_bits": Lesson(
        "Four bits and fewer",
        ("42/ste", "42/lsq", "42/pack"),
        ("42/two-bits", "42/trained", "42/binary", "42/rounding", "42/file", "42/mixed", "42/distil"),
    ),
    "50_distillation": Lesson(
        "Distillation",
        ("50/soft-targets", "50/distillation-loss", "50/omitted-digit"),
        ("50/slope", "50/all", "50/few", "50/even", "50/three", "50/two", "50/pruned"),
    ),
    "51_deep_compression": Lesson(
        "Deep Compression",
        ("51/k-means-step", "51/centroid-gradient", "51/entropy", "51/huffman", "51/gaps"),
        ("51/share", "51/bits", "51/position", "51/file", "51/flip", "51/gzip", "51/speed"),
    ),
    "60_hugging_face": Lesson(
        "Hugging Face models",
        ("60/patches", "60/block-parameters", "60/one-head-less", "60/padding"),
        ("60/attention", "60/words", "60/random-heads", "60/half", "60/flips", "60/int8", "60/kept"),
    ),
    "61_deployment": Lesson(
        "Deployment",
        ("61/parity", "61/float16", "61/fixed-batch", "61/pareto"),
        ("61/flips", "61/half-error", "61/half-speed", "61/padding", "61/static", "61/unscaled"),
    ),
    "90_capstone": Lesson(
        "Capstone",
        ("90/paired-interval", "90/certain", "90/int8-share"),
        ("90/single", "90/zeros", "90/deep", "90/together", "90/best-of-many"),
    ),
}

# What could not be written: it joins every later read and write.
_memory: dict[str, dict] = {"solved": {}, "locked": {}}
_said: set[str] = set()  # troubles already told in this process
_guard = threading.Lock()


def load() -> tuple[dict, str]:
    """(state, trouble): {"solved": {key: True}, "locked": {key: answer}} and "" or a sentence, told once."""
    path = home() / "progress.json"
    try:
        state, trouble = _read(path)
    except OSError as error:
        state, trouble = _empty(), f"Progress cannot be read: {path} ({error.strerror or error})."
    return {kind: {**state[kind], **_memory[kind]} for kind in _memory}, _once(trouble)


def record(kind: str, key: str, value=True) -> str:
    """Keep state[kind][key] = value (None forgets it). Returns "" or a sentence about a trouble, told once.

    Reads, merges and replaces the file under a lock, so that notebooks open side by side do not undo each
    other. Where the file cannot be written the value is kept in memory.
    """
    path = home() / "progress.json"
    with _guard:
        _memory[kind][key] = value
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_suffix(".lock"), timeout=5):
                state, trouble = _read(path)
                for kind, items in _memory.items():
                    merged = state[kind] | items
                    state[kind] = {key: value for key, value in merged.items() if value is not None}
                part = path.with_suffix(".part")
                part.write_text(json.dumps(state, indent=1), encoding="utf-8")
                os.replace(part, path)
        except OSError as error:
            why = error.strerror or error
            return _once(f"Progress is kept only until this notebook closes: {path} cannot be written ({why}).")
        for items in _memory.values():
            items.clear()
    return _once(trouble)


def _empty() -> dict[str, dict]:
    return {"solved": {}, "locked": {}}


def _read(path: Path) -> tuple[dict, str]:
    """The file's state; where the file is damaged, it is put aside: an empty state and a sentence."""
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        return {kind: dict(state.get(kind, {})) for kind in _empty()}, ""
    except FileNotFoundError:
        return _empty(), ""
    except (ValueError, TypeError, AttributeError):
        aside = path.with_name("progress.damaged.json")
        os.replace(path, aside)
        return _empty(), f"Progress starts afresh: the file was damaged and is now {aside}."


def _once(trouble: str) -> str:
    if trouble in _said:
        return ""
    _said.add(trouble)
    return trouble


def counts(lesson: str, state: dict) -> tuple[int, int]:
    """(exercises solved, predictions locked) of a lesson."""
    _, exercises, predictions = LESSONS[lesson]
    locked = sum(state["locked"].get(key) is not None for key in predictions)
    return sum(key in state["solved"] for key in exercises), locked


@dataclass(frozen=True)
class Board:
    """One row a lesson: (title, exercises solved, of, predictions locked, of)."""

    rows: tuple[tuple[str, int, int, int, int], ...]
    trouble: str = ""

    def __repr__(self):
        lines = [
            f"{title}: {_plain(a, n, 'exercises solved')}, {_plain(b, m, 'predictions locked')}"
            for title, a, n, b, m in self.rows
        ]
        return "\n".join(["Your progress", *lines, *([self.trouble] if self.trouble else [])])

    def _repr_html_(self):
        body = "".join(
            f'<tr><th scope="row">{html.escape(title)}</th><td>{_share(a, n, "solved")}</td>'
            f"<td>{_share(b, m, 'locked')}</td></tr>"
            for title, a, n, b, m in self.rows
        )
        trouble = f'<p role="status">{html.escape(self.trouble)}</p>' if self.trouble else ""
        head = "".join(f'<th scope="col">{word}</th>' for word in ("Lesson", "Exercises", "Predictions"))
        table = f"<caption>Your progress</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
        return f'<div class="cl-board"><table>{table}</table>{trouble}</div>'


def _plain(done: int, of: int, what: str) -> str:
    return f"{done} of {of} {what}" if of else f"no {what.split()[0]}"


def _share(done: int, of: int, word: str) -> str:
    if not of:
        return "none"
    icon = "✓" if done == of else "◐" if done else "○"
    return f'<span aria-hidden="true">{icon}</span> {done} of {of} {word}'


def board() -> Board:
    """What is solved and locked so far, over all lessons."""
    state, trouble = load()
    rows = []
    for name, (title, exercises, predictions) in LESSONS.items():
        solved, locked = counts(name, state)
        rows.append((title, solved, len(exercises), locked, len(predictions)))
    return Board(tuple(rows), trouble)
