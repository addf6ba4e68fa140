"""What this machine is, for the first page of the course."""

import os
import platform
from importlib.metadata import version

import pandas as pd
import psutil
import torch

from ..data import NAMES, at_hand
from ..measure import int8_instructions


def health() -> pd.DataFrame:
    """One row a fact about this machine and installation: versions, cores, memory, int8 instructions, data sets."""
    memory = psutil.virtual_memory()
    facts = {
        "Python": platform.python_version(),
        "torch": torch.__version__,
        "plotly": version("plotly"),
        "processor": f"{platform.machine()}, vector instructions: {torch.backends.cpu.get_cpu_capability()}",
        "int8 instructions": int8_instructions(),
        "cores": f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()}",
        "memory": f"{memory.available / 2**30:.1f} GiB free of {memory.total / 2**30:.1f} GiB",
        "data sets at hand": ", ".join(at_hand()),
        "data sets on request": ", ".join(name for name in NAMES if name not in at_hand()) or "none",
    }
    return pd.DataFrame({"this machine": facts})
