"""LiteRT's converter in an environment of its own: `python -m compresslab.runtimes.litert_converter` builds it.

Why apart: the converter (litert-torch 0.10, through xdsl 0.28) wants typing-extensions below 4.13, and Jupyter's client
wants 4.13 or above. In one environment pip would go back to an older Jupyter, the one that no test ran with. So its
packages lie in a folder inside this environment, with the environment's own underneath: torch is the very same, and
what is added (750 MB, half of it jax) is seen by the converter alone. It runs in a process of its own, which also keeps
its gigabyte of memory, and its chatter, out of the notebook.
"""

import importlib.util
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

PACKAGE = "litert-torch>=0.10,<0.11"  # as in pyproject.toml
COMMAND = "python -m compresslab.runtimes.litert_converter"
FOLDER = Path(sys.prefix, "litert-converter")
JOB = Path(__file__).with_name("_litert_job.py")


def build(folder: Path = FOLDER) -> None:
    """Make the environment, anew where it is half made: a minute and 750 MB, with a network."""
    venv.create(folder, clear=True, with_pip=True)
    scheme = {"base": str(folder), "platbase": str(folder)}
    below = Path(sysconfig.get_path("purelib", "venv", scheme), "below.pth")
    below.write_text("\n".join(dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))))
    subprocess.run([_python(folder), "-m", "pip", "install", "--no-warn-conflicts", PACKAGE], check=True)
    Path(folder, "ready").touch()


def python() -> str:
    """The Python that has the converter; ModuleNotFoundError with the command that builds it."""
    if Path(FOLDER, "ready").exists():
        return _python(FOLDER)
    if importlib.util.find_spec("litert_torch"):  # an environment without Jupyter may hold it itself
        return sys.executable
    raise ModuleNotFoundError(f"LiteRT's converter is not installed: {COMMAND}", name="litert_torch")


def run(folder: Path, precision: str) -> bytes:
    """The file that the job in `folder` makes, silently; ValueError in one sentence where it makes none."""
    job = [python(), "-P", str(JOB), str(folder), precision]
    done = subprocess.run(job, env=os.environ | {"JAX_PLATFORMS": "cpu"}, capture_output=True)
    result, error = folder / "result.tflite", folder / "error.txt"
    if result.exists():
        return result.read_bytes()
    reason = f"its process ended with exit status {done.returncode}"
    if error.exists():
        reason = " ".join(error.read_text(encoding="utf-8").strip().split("\n")[0].split())
    raise ValueError(f"LiteRT's converter cannot make this model {precision}: {reason}")


def _python(folder: Path) -> str:
    return str(folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))


if __name__ == "__main__":
    build()
