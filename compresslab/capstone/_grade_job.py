"""One submission, measured in a process of its own: `python -E -P _grade_job.py FOLDER`.

FOLDER holds submission.onnx, original.onnx, split.npz and task.json, as `sandbox.judge` puts them there; the result is
result.json in it. All that is trusted is imported first, then the limits are set, then the submission is opened.
"""

import hashlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

if __name__ == "__main__":  # -E leaves PYTHONPATH out
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import onnx.shape_inference  # noqa: F401
import onnxruntime  # noqa: F401
import torch

from compresslab.capstone import safety, submission
from compresslab.capstone.certificate import certificate, scores_of
from compresslab.capstone.task import Budget
from compresslab.runtimes.onnx_run import OnnxSession

STEADY = 0.95  # share of the answers that stay when images come otherwise; dynamic int8 scales each batch anew
FILE_LIMIT, OPEN_FILES = 50_000_000, 256


def limit(seconds: int, memory_mb: int) -> None:
    """The rest of this process: memory on top of what it holds now, CPU seconds, files (POSIX; macOS: no memory)."""
    try:
        import resource
    except ImportError:  # Windows
        return
    limits = dict(CPU=seconds, FSIZE=FILE_LIMIT, NOFILE=OPEN_FILES, CORE=0)
    if Path("/proc/self/statm").exists():
        held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limits["AS"] = held + memory_mb * 1_000_000
    for name, value in limits.items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))


def judged(folder: Path, task: dict) -> dict:
    """status, reason and, of a file that ran, name, claims, network (sha256 of its graph) and certificate."""
    data = (folder / "submission.onnx").read_bytes()
    try:
        proto = safety.check(data)
        split = shuffled(folder / "split.npz", task["seed"])
        check_steady(data, split[0], task["budget"]["batch"])
        original, budget = (folder / "original.onnx").read_bytes(), Budget(**task["budget"])
        found = asdict(certificate(original, data, split, budget, rounds=task["rounds"]))
    except safety.Refused as error:
        return dict(status="refused", reason=str(error))
    except Exception as error:
        return dict(status="broken", reason=told(error))
    network = hashlib.sha256(proto.graph.SerializeToString(deterministic=True)).hexdigest()
    return dict(status="graded", network=network, certificate=found) | what_it_says(data)


def told(error: Exception) -> str:
    text = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
    memory = ("MemoryError", "bad_alloc", "bad allocation", "Failed to allocate memory", "DefaultCPUAllocator")
    return "file needs more memory than it is allowed" if any(word in text for word in memory) else text


def what_it_says(data: bytes) -> dict:
    """Name and claims; without them a file is graded all the same."""
    try:
        said = submission.read(data)
    except ValueError as error:
        return dict(name="", claims={}, reason=str(error))
    return dict(name=said.name, claims=said.claims, reason="")


def shuffled(path: Path, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The images and labels in an order that nobody knows beforehand."""
    with np.load(path, allow_pickle=False) as file:
        x, y = torch.from_numpy(file["x"]), torch.from_numpy(file["y"])
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    return x[order], y[order]


def check_steady(data: bytes, x: torch.Tensor, batch: int) -> None:
    """Refused unless the answers stay when the images come in another order, one by one, or in other batches."""
    session, n = OnnxSession(data), len(x)
    answers = scores_of("file", session, x, batch).argmax(1)
    for how, other, size in (
        ("in another order", scores_of("file", session, x.flip(0), batch).flip(0), n),
        ("one by one", scores_of("file", session, x[:200], 1), 200),
        ("all at once", scores_of("file", session, x[:1000], 1000), 1000),
    ):
        same = (answers[:size] == other.argmax(1)).float().mean().item()
        if not same >= STEADY:
            raise safety.Refused(f"file must give the same answers {how}, got {same:.0%} of them the same")


if __name__ == "__main__":
    place = Path(sys.argv[1])
    wanted = json.loads((place / "task.json").read_text())
    torch.set_num_threads(1)
    limit(wanted["seconds"], wanted["memory_mb"])
    (place / "result.json").write_text(json.dumps(judged(place, wanted)))
