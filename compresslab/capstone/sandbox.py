"""A submission is measured in a process of its own, with limits, and whatever happens there is one result.

What holds: the file is opened by `safety.check` before ONNX Runtime sees it; the process has limits of wall-clock time
and, on Linux and macOS, of CPU time, file sizes and open files; on Linux of memory too. On Windows the wall-clock
limit alone. What does not: the process runs as you, with your files and your network. A fault in ONNX Runtime's or
protobuf's own code could be used by a file made for it. For files of strangers run the grader in a container or an
account of its own.
"""

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
from dataclasses import asdict, fields
from math import isfinite
from pathlib import Path

import numpy as np
from torch import Tensor

from .certificate import Certificate
from .task import Budget

JOB = Path(__file__).with_name("_grade_job.py")
KEPT = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT")  # of the environment; no PYTHON* among them
RESULT_BYTES = 100_000


def judge(
    data: bytes,
    original: bytes,
    split: tuple[Tensor, Tensor],
    budget: Budget,
    *,
    seconds: int = 60,
    memory_mb: int = 2000,
    rounds: int = 300,
) -> dict:
    """Measure one submission beside the original on split = (x, y); never raises for what the submission does.

    Gives status: "graded" (then also name, claims, certificate and network, a sha256), "refused" (against the rules) or
    "broken", and reason, one sentence. memory_mb: on top of what Python and its libraries hold. The images are shuffled
    anew for each file.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "submission.onnx").write_bytes(data)
        (folder / "original.onnx").write_bytes(original)
        np.savez(folder / "split.npz", x=split[0].numpy(), y=split[1].numpy())
        seed = int.from_bytes(os.urandom(4), "little")
        task = dict(budget=asdict(budget), seconds=seconds, memory_mb=memory_mb, rounds=rounds, seed=seed)
        (folder / "task.json").write_text(json.dumps(task))
        ended = _run(folder, seconds)
        if ended:
            return dict(status="broken", reason=ended)
        return _result(folder / "result.json", budget)


def plain_bytes(path: Path, most: int) -> bytes:
    """At most so many bytes of a plain file; OSError for a link, a pipe or a device, also if it just became one."""
    flags = [getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY")]
    with open(os.open(path, os.O_RDONLY | sum(flags)), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(0, "not a plain file")
        return file.read(most)


def _run(folder: Path, seconds: int) -> str:
    """Run the job; "" if it ended well, else how it ended. Nothing of it is left afterwards, nor after an interrupt."""
    environment = {key: os.environ[key] for key in KEPT if key in os.environ}
    environment |= dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    process = subprocess.Popen(
        [sys.executable, "-E", "-P", str(JOB), str(folder)],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        return f"it was stopped after {seconds} seconds"
    finally:
        _kill(process)
    if status == 0:
        return ""
    if os.name == "posix" and -status == signal.SIGXCPU:
        return f"it was stopped after {seconds} seconds"
    name = signal.Signals(-status).name if os.name == "posix" and status < 0 else f"exit status {status}"
    return f"its process crashed ({name})"


def _kill(process: subprocess.Popen) -> None:
    """End the job and whatever it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL) if os.name == "posix" else process.kill()
    except OSError:  # nothing is left of it
        pass
    process.wait()


def _result(path: Path, budget: Budget) -> dict:
    """What the job wrote, taken as data of a stranger too: known keys, finite numbers, texts."""
    try:
        said = json.loads(plain_bytes(path, RESULT_BYTES))
        if said["status"] in ("refused", "broken"):
            return dict(status=said["status"], reason=str(said["reason"]))
        numbers = {field.name: said["certificate"][field.name] for field in fields(Certificate)} | dict(budget=budget)
        claims = {str(key): float(value) for key, value in said["claims"].items()}
        values = [value for value in [*numbers.values(), *claims.values()] if value is not budget]
        if said["status"] != "graded" or not all(isinstance(v, int | float) and isfinite(v) for v in values):
            raise ValueError
        texts = {key: str(said[key]) for key in ("status", "reason", "name", "network")}
        return texts | dict(claims=claims, certificate=Certificate(**numbers))
    except Exception:
        return dict(status="broken", reason="its process gave no result")
