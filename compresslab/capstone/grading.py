"""Grading: every submission under a folder re-measured on this machine, in one table."""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from .. import data
from ..intervals import wilson_interval
from . import safety, sandbox
from .certificate import Certificate
from .submission import CLAIMS, clean
from .task import BUDGET, Budget

PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".joblib", ".bin", ".ckpt")
ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz")
NUMBERS = """n kb original_kb ms original_ms speedup speedup_low speedup_high int8_share accuracy original_accuracy
    points points_low points_high agreement agreement_low agreement_high""".split()
COLUMNS = [
    *("file", "name", "status", "reason", "passed", "smaller", "faster", "int8", "answers"),
    *NUMBERS,
    *(f"{part}_{claim}" for claim in CLAIMS for part in ("claimed", "holds")),
    "same_as",
]


def grade(
    folder: str | os.PathLike,
    original: bytes,
    split: tuple[torch.Tensor, torch.Tensor],
    budget: Budget = BUDGET,
    *,
    seconds: int = 60,
    memory_mb: int = 2000,
    rounds: int = 300,
    skip: Path | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Re-measure the submissions under `folder`, one by one, beside the ONNX file `original` on split = (x, y).

    One row a file, in the order of their paths; hidden files, and the file `skip`, are left out. Columns: file, name
    (the learner's), status: "graded", "refused" (not opened, or against the rules), "broken" or, after an interrupt,
    "not reached"; reason, one sentence; passed and the four verdicts of the certificate (smaller, faster, int8,
    answers) and its numbers; for each claim what the learner claimed and whether it holds; same_as: other files with
    the same bytes or the same network (which the same steps with the same seeds give, too).

    A claim of size holds to the kilobyte; those of speed and accuracy fail only where they lie above the 95 % interval
    measured here. A file is read as data, never as code: see `safety.check` for what it may hold and `sandbox` for what
    its process may do. NotADirectoryError if there is no such folder.
    """
    from tqdm.auto import tqdm

    rows, limits = [], dict(seconds=seconds, memory_mb=memory_mb, rounds=rounds)
    files = list(found(folder, skip))
    bar = tqdm(files, desc="grading (Ctrl+C stops and keeps what is done)", disable=not progress, leave=False)
    try:
        for path, refusal in bar:
            name = clean(os.fspath(path.relative_to(folder)))
            bar.set_postfix_str(name[-40:])
            rows.append(dict(file=name) | _row(path, refusal, original, split, budget, limits))
    except KeyboardInterrupt:
        rest = [clean(os.fspath(path.relative_to(folder))) for path, _ in files[len(rows) :]]
        rows += [dict(file=name, status="not reached", reason="the grading was interrupted") for name in rest]
    table = pd.DataFrame(rows, columns=[*COLUMNS, "sha256", "network"])
    return _with_copies(table)[COLUMNS]


def found(folder: str | os.PathLike, skip: Path | None = None) -> Iterator[tuple[Path, str]]:
    """(path, why it is refused or "") of each file under `folder` that is not hidden; links are not followed."""
    if not Path(folder).is_dir():
        raise NotADirectoryError(f"folder must be a folder that exists, got {os.fspath(folder)}")
    unreadable = []
    for place, folders, files in os.walk(folder, onerror=unreadable.append):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        for name in sorted(files + [name for name in folders if _odd(Path(place, name))]):
            path = Path(place, name)
            if not name.startswith(".") and not (skip and _place(skip) == _place(path)):
                yield path, _refusal(path)
    for error in unreadable:
        yield Path(error.filename), f"a folder that cannot be opened: {error.strerror}"


def _place(path: Path) -> Path:
    return path.parent.resolve() / path.name


def _odd(path: Path) -> bool:
    """A folder that looks like a submission, or a link to a folder."""
    return path.is_symlink() or path.suffix.lower() == ".onnx"


def _refusal(path: Path) -> str:
    """Why a file is not even opened; "" for one that looks like a submission."""
    try:
        kind, size, suffix = path.lstat().st_mode, path.lstat().st_size, path.suffix.lower()
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    if stat.S_ISLNK(kind):
        return "a link: it is not followed"
    if stat.S_ISDIR(kind):
        return "a folder with the name of a file"
    if not stat.S_ISREG(kind):
        return "not a plain file"
    if suffix in PICKLES:
        return "may be a pickle, which runs code when it is opened: ask for the .onnx file that submit() writes"
    if suffix in ARCHIVES:
        return "an archive: unpack it first"
    if suffix != ".onnx":
        return "not a submission: one is an .onnx file that submit() writes"
    if size > safety.FILE_BYTES:
        return f"larger than the {safety.FILE_BYTES:,} bytes that a submission may have"
    return ""


def _row(path: Path, refusal: str, original: bytes, split, budget: Budget, limits: dict) -> dict:
    try:
        file = b"" if refusal else sandbox.plain_bytes(path, safety.FILE_BYTES + 1)
    except OSError as error:
        refusal = f"it cannot be read: {error.strerror}"
    if refusal:
        return dict(status="refused", reason=refusal)
    result = sandbox.judge(file, original, split, budget, **limits)
    row = dict(status=result["status"], reason=clean(result["reason"]), sha256=hashlib.sha256(file).hexdigest())
    if row["status"] != "graded":
        return row
    row |= dict(name=clean(result["name"]), network=result["network"])
    return row | _measured(result["certificate"]) | _claimed(result["claims"], result["certificate"])


def _measured(found: Certificate) -> dict:
    numbers = vars(found) | dict(int8_share=found.int8 / max(found.products, 1))
    return {name: round(numbers[name], 4) for name in NUMBERS} | found.verdicts | dict(passed=found.passed)


def _claimed(claims: dict, found: Certificate) -> dict:
    """What was claimed, and whether it holds here."""
    right = round(found.accuracy * found.n)
    holds = dict(
        kb=lambda claim: found.kb <= claim + 1,
        speedup=lambda claim: found.speedup_high >= claim,
        accuracy=lambda claim: wilson_interval(right, found.n)[1] >= claim,
    )
    row = {f"claimed_{name}": value for name, value in claims.items()}
    return row | {f"holds_{name}": "yes" if holds[name](value) else "no" for name, value in claims.items()}


def _with_copies(table: pd.DataFrame) -> pd.DataFrame:
    others = [
        table.file[((table.sha256 == row.sha256) | (table.network == row.network)) & (table.index != index)]
        for index, row in table.iterrows()
    ]
    return table.assign(same_as=[", ".join(names) for names in others])


def read_test(path: str | os.PathLike) -> data.Split:
    """The teacher's own images: x float32 (n, 1, 8, 8) in [0, 1] and y int64 (n,) of an .npz file, without pickles."""
    try:
        with np.load(path, allow_pickle=False) as file:
            x, y = file["x"], file["y"]
    except Exception as error:  # numpy's own words may advise to open a pickle
        why = f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
        raise ValueError(f"test must be an .npz file with the arrays x and y, got {os.fspath(path)}{why}") from error
    if x.dtype != np.float32 or x.shape[1:] != (1, 8, 8) or not len(x):
        raise ValueError(f"x must be float32 (n, 1, 8, 8) from 0 to 1, got {x.dtype} {x.shape}")
    if not ((x >= 0) & (x <= 1)).all():
        raise ValueError(f"x must be numbers from 0 to 1, got {x.min():g} to {x.max():g}")
    if y.dtype != np.int64 or y.shape != x.shape[:1] or not ((y >= 0) & (y <= 9)).all():
        raise ValueError(f"y must be int64 (n,) from 0 to 9 for {len(x)} images, got {y.dtype} {y.shape}")
    return data.Split(torch.from_numpy(x), torch.from_numpy(y))
