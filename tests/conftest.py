"""What every test stands on: a private home, one thread, and one rule for parts that a machine may lack."""

import os
import shutil
from pathlib import Path

import pytest
from browser.lab import chromium
from hypothesis import HealthCheck, settings

collect_ignore = ["notebooks/guard"]  # would cut the tests themselves off

os.environ["OMP_NUM_THREADS"] = "1"  # tiny tensors, and two test workers side by side
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# No property is timed: a busy machine is no fault of the code. (With CI set, hypothesis has the same rule by itself.)
settings.register_profile("untimed", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def has_data():
    folder = Path(os.environ.get("COMPRESSLAB_DATA", "/nonexistent"))
    return all(len(list((folder / name).glob("*.gz"))) == 4 for name in ["mnist", "fashion-mnist"])


def has_snips():
    return len(list(Path(os.environ.get("COMPRESSLAB_DATA", "/nonexistent"), "snips").glob("*_*.json"))) == 14


def has_converter():
    from compresslab.runtimes import litert_converter

    try:
        return litert_converter.python()
    except ModuleNotFoundError:
        return False


def has_int8():
    import torch

    return "x86" in torch.backends.quantized.supported_engines


# part of the machine -> (is it here?, the sentence that says how to get it)
PARTS = {
    "chromium": (chromium, "install Chromium (Debian, Ubuntu: apt-get install chromium)"),
    "real data": (
        has_data,
        "let COMPRESSLAB_DATA name a folder with mnist/ and fashion-mnist/, four .gz files each",
    ),
    "SNIPS": (has_snips, "let COMPRESSLAB_DATA name a folder with snips/, fourteen .json files"),
    "C++ compiler": (lambda: shutil.which("g++"), "install g++ (Debian, Ubuntu: apt-get install g++)"),
    "LiteRT's converter": (has_converter, "python -m compresslab.runtimes.litert_converter"),
    "torch's int8": (has_int8, "install a torch whose quantized engines hold x86"),
    "linux": (lambda: os.path.exists("/proc/self/status"), "run it on Linux, where memory can be capped"),
}


def pytest_configure(config):
    config.addinivalue_line("markers", "needs(part): a part of the machine: " + ", ".join(PARTS))


def pytest_runtest_setup(item):
    """`@pytest.mark.needs("chromium")`: without it the test is skipped with a reason, and in CI it fails."""
    for mark in item.iter_markers("needs"):
        here, how = PARTS[mark.args[0]]
        if not here():
            refuse = pytest.fail if os.environ.get("CI") else pytest.skip
            refuse(f"needs {mark.args[0]}: {how}")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def private_home(tmp_path, monkeypatch):
    """Nobody's progress and cache are touched; static pictures are off unless a test asks for them."""
    monkeypatch.setenv("COMPRESSLAB_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("COMPRESSLAB_STATIC", raising=False)
