"""`python -m compresslab.grade FOLDER` re-measures the submissions of lesson 90 under FOLDER into one CSV file.

Each is measured on this machine beside an original that is trained here. The digits are public, and so is their test
set: a network that knows them by heart passes. For a real examination give images of your own with --test. Int8 is
judged by the names of the kernels that ran; products written out in other operators (Mul, ReduceSum) are not seen.

Submissions are read as data and measured with limits of time and memory; that is no protection against faults in ONNX
Runtime itself: for files of strangers use a container or an account of its own (compresslab/capstone/sandbox.py). Start
the command in a folder of your own, not in FOLDER: `python -m` looks for modules in the current folder first.
"""

if __name__ == "__main__":  # before any other import: a submission named json.py must not be taken for Python's
    import os
    import sys

    here, root = os.getcwd(), os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sys.path[:] = [path for path in sys.path if path == root or os.path.abspath(path) != here]

import argparse
import sys
import tempfile
from dataclasses import fields
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 when the table is written, 2 with one sentence for bad arguments, 130 after an interrupt."""
    options = _parser().parse_args(arguments)
    try:
        return _grade(options)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted before the first file was graded", file=sys.stderr)
        return 130


def _grade(options) -> int:
    from . import data
    from .capstone import grading, task
    from .intervals import paired_shares
    from .runtimes.onnx_export import export_onnx

    budget = task.Budget(**{field.name: getattr(options, field.name) for field in fields(task.Budget)})
    _check(options)
    if not any(grading.found(options.folder, options.out)):
        raise ValueError(f"no files found in {options.folder}")
    digits = data.load("digits")
    split = grading.read_test(options.test) if options.test else digits.test
    if 100 * paired_shares(0, 0, len(split.y))["low"] < -budget.drop:
        lost = f"not even equal answers prove that at most {budget.drop:g} points are lost"
        print(f"note: {len(split.y)} images are few: {lost}", file=sys.stderr)
    original = export_onnx(task.reference(digits), digits.train.x[:2])
    limits = dict(seconds=options.seconds, memory_mb=options.memory_mb)
    table = grading.grade(options.folder, original, split, budget, skip=options.out, **limits)
    # The mark in front tells spreadsheets that the text is UTF-8.
    _write(options.out, table.to_csv(index=False).encode("utf-8-sig"))
    counts = ", ".join(f"{n} {status}" for status, n in table.status.value_counts().items())
    passed = sum(value is True for value in table.passed)
    print(f"{len(table)} files: {counts}; {passed} passed. Written to {options.out}")
    return 130 if (table.status == "not reached").any() else 0


def _write(path: Path, data: bytes) -> None:
    """OSError after the measurements are kept elsewhere: on Windows a table that is open cannot be replaced."""
    from . import storage

    try:
        storage.write(path, data)
    except OSError as error:
        with tempfile.NamedTemporaryFile(prefix="grades-", suffix=".csv", delete=False) as kept:
            kept.write(data)
        raise OSError(f"{path} cannot be written ({error.strerror or error}); the table is in {kept.name}") from error


def _check(options) -> None:
    if options.out.is_dir():
        raise ValueError(f"--out must be a file, got the folder {options.out}")
    if options.out.exists() and not options.overwrite:
        raise ValueError(f"{options.out} exists: give another --out, or --overwrite")
    if not options.out.parent.is_dir():
        raise ValueError(f"--out must lie in a folder that exists, got {options.out}")
    for name, least in (("seconds", 5), ("memory_mb", 100)):
        if getattr(options, name) < least:
            raise ValueError(f"--{name.replace('_', '-')} must be at least {least}, got {getattr(options, name)}")


def _parser() -> argparse.ArgumentParser:
    from .capstone.task import BUDGET

    about = dict(description=__doc__.split("\n")[0], epilog=" ".join(__doc__.split("\n\n", 1)[1].split()))
    parser = argparse.ArgumentParser(prog="python -m compresslab.grade", **about)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="submissions, also in folders of their own")
    parser.add_argument("--out", type=Path, default=Path("grades.csv"), help="the table (default: grades.csv)")
    parser.add_argument("--overwrite", action="store_true", help="replace an --out that exists")
    parser.add_argument("--test", type=Path, metavar="FILE.npz", help="your own x (n,1,8,8) float32 and y (n,) int64")
    parser.add_argument("--seconds", type=int, default=60, metavar="N", help="for one file, at most (default: 60)")
    parser.add_argument(
        "--memory-mb", type=int, default=2000, metavar="N", help="for one file, at most (default: 2000)"
    )
    promises = dict(kb="kB of a file", speedup="times as fast", drop="points lost", batch="images at a time")
    for name, value in vars(BUDGET).items():
        words = f"of the budget: {promises[name]} (default: {value:g})"
        parser.add_argument(f"--{name}", type=type(value), metavar="N", default=value, help=words)
    return parser


if __name__ == "__main__":
    sys.exit(main())
