"""A submission: one ONNX file, with the learner's name and claims inside.

Why ONNX, and not a pickle (.pt, .pkl, .joblib)? A pickle is a program: opening it runs what its author wrote. An ONNX
file holds operators and numbers, and whoever opens it chooses what is done with them (`safety.check`).
"""

import json
import os
import unicodedata
from dataclasses import dataclass, field

from .. import storage
from . import safety

KEY = "compresslab"  # of the entry in the file's metadata_props; its value is JSON
CLAIMS = ("kb", "speedup", "accuracy")
NAME_LENGTH, JSON_LENGTH = 80, 2000  # characters


@dataclass(frozen=True)
class Submission:
    """What a submission says, nothing of it verified: the learner's name, and what the learner measured.

    claims: some of kb (1,000 bytes of the file), speedup (against the original), accuracy (a share, 0 to 1).
    """

    name: str
    claims: dict[str, float] = field(default_factory=dict)


def submit(path: str | os.PathLike, file: bytes, name: str, claims: dict[str, float]) -> Submission:
    """Write the ONNX file `file` to `path` (.onnx) with `name` and `claims` in it; gives back what `read` finds there.

    The network is unchanged; the entry adds some hundred bytes. ValueError, in one sentence, before anything is written
    if the name or a claim is none, or if the file is not what `safety.check` lets through, as then the teacher's grader
    would refuse it.
    """
    if not os.fspath(path).lower().endswith(".onnx"):
        raise ValueError(f"path must end in .onnx, got {os.fspath(path)}")
    said = _submission(dict(name=name, claims=claims))
    proto = safety.check(file)
    others = [entry for entry in proto.metadata_props if entry.key != KEY]
    del proto.metadata_props[:]
    proto.metadata_props.extend(others)
    proto.metadata_props.add(key=KEY, value=json.dumps(dict(name=said.name, claims=said.claims)))
    data = proto.SerializeToString()
    safety.check_size(data)
    storage.write(path, data)
    return said


def read(data: bytes) -> Submission:
    """What the submission `data` says; nothing of it is run.

    ValueError, in one sentence, if it is no ONNX file (`safety.parsed`), or does not say it as `submit` writes it.
    """
    entries = [entry.value for entry in safety.parsed(data).metadata_props if entry.key == KEY]
    if len(entries) != 1 or len(entries[0]) > JSON_LENGTH:
        raise ValueError("file must hold the learner's name and claims once: write it with compresslab's submit()")
    try:
        said = json.loads(entries[0])
    except (ValueError, RecursionError) as error:
        raise ValueError("file must hold the learner's name and claims as JSON: write it with submit()") from error
    return _submission(said)


def clean(text: str, length: int = 200) -> str:
    """`text` as one line that is safe to show: in a terminal, and in a cell of a spreadsheet.

    Characters that steer (control, direction, unassigned) become spaces, and runs of blanks one; what is longer is cut,
    and ends in "…". A cell that begins with = + - @ is a formula to a spreadsheet: a ' in front makes it text. A ;
    becomes a comma, as it parts cells in some countries.

    >>> clean("=1+1"), clean("Eva\\nLuator\\x1b[31m")
    ("'=1+1", 'Eva Luator [31m')
    """
    plain = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text[: 10 * length])
    line = " ".join(plain.replace(";", ",").split())
    line = line if len(line) <= length else f"{line[: length - 1]}…"
    return f"'{line}" if unicodedata.normalize("NFKC", line[:1]) in ("=", "+", "-", "@", "|", "%") else line


def _submission(said) -> Submission:
    """The one check of what a learner says, before it is written and after it is read."""
    if not isinstance(said, dict) or not {"name", "claims"} >= set(said):
        raise ValueError("a submission must say a name and claims")
    name, claims = said.get("name"), said.get("claims", {})
    if not isinstance(name, str) or not name.strip() or len(name) > NAME_LENGTH:
        raise ValueError(f"name must be a text of 1 to {NAME_LENGTH} characters, got {name!r:.90}")
    if not isinstance(claims, dict) or not set(claims) <= set(CLAIMS):
        raise ValueError(f"claims must be a dict with some of {', '.join(CLAIMS)}, got {claims!r:.90}")
    for key, value in claims.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
            raise ValueError(f"claims must be numbers of at least 0, got {value!r:.40} for {key}")
    if not claims.get("accuracy", 0) <= 1:
        raise ValueError(f"the claim of accuracy is a share from 0 to 1, got {claims['accuracy']}")
    return Submission(name, {key: float(value) for key, value in claims.items()})
