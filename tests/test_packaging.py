"""The ways to install say the same, the library stands on its own, and importing it leaves no trace."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MAKEFILE = (ROOT / "Makefile").read_text()
CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def bounds(requirements):
    return {found.name: found.specifier for found in map(Requirement, requirements)}


def conda():
    """(what conda installs, what pip installs then) of environment.yml."""
    *names, nested = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    return names, nested["pip"]


def test_environment_names_the_packages_and_bounds_of_the_project():
    pip = [line for line in conda()[1] if not line.startswith(("--", "torch=="))]
    extras = PROJECT["optional-dependencies"]
    assert extras["lab"][0] == "compresslab[hf,litert]"  # lessons 60 and 61
    wanted = bounds(PROJECT["dependencies"] + extras["lab"][1:] + extras["hf"] + extras["litert"])
    wanted.pop("torch")
    assert bounds(pip) == wanted


def test_binder_reads_the_same_environment():
    assert (ROOT / "binder/environment.yml").resolve() == ROOT / "environment.yml"
    assert os.access(ROOT / "binder/postBuild", os.X_OK)
    assert (ROOT / "binder/postBuild").read_text().startswith("#!")


def test_python_is_one_minor_version_within_the_bounds():
    python = next(line for line in conda()[0] if line.startswith("python"))
    assert re.fullmatch(r"python=3\.\d+", python)
    supported = Requirement(f"python{PROJECT['requires-python']}").specifier
    assert supported.contains(python.removeprefix("python=") + ".0")
    assert all(supported.contains(version) for version in re.findall(r"3\.\d\d", "3.11 3.12 3.13"))
    assert "(3, 11) <= sys.version_info[:2] < (3, 14)" in MAKEFILE and not supported.contains("3.14")


def pip_answers(requirement, platform):
    """Whether the line counts on a platform, and which of the two builds of its version it allows."""
    found = Requirement(requirement)
    if found.marker and not found.marker.evaluate({"sys_platform": platform}):
        return set()
    version = Version(next(iter(found.specifier)).version).public
    return {build for build in [version, f"{version}+cpu", f"{version}+cu126"] if found.specifier.contains(build)}


@pytest.mark.parametrize("platform", ["linux", "win32"])
def test_torch_from_conda_and_binder_can_only_be_the_cpu_build(platform):
    pip = conda()[1]
    assert f"--extra-index-url {CPU_INDEX}" in pip
    allowed = set().union(*(pip_answers(line, platform) for line in pip if line.startswith("torch==")))
    assert len(allowed) == 1 and allowed.pop().endswith("+cpu")


def test_torch_is_the_same_version_everywhere():
    pins = {Version(pin).public for pin in re.findall(r"torch==([\w.+]+)", "\n".join(conda()[1]) + MAKEFILE)}
    assert len(pins) == 1
    assert bounds(PROJECT["dependencies"])["torch"].contains(pins.pop())
    assert CPU_INDEX in MAKEFILE and CPU_INDEX in (ROOT / "README.md").read_text()


def test_installed_torch_is_the_cpu_build():
    import torch

    assert torch.version.cuda is None


def test_every_package_has_an_upper_bound():
    """A new major version breaks no hosted notebook."""
    extras = PROJECT["optional-dependencies"].values()
    every = PROJECT["dependencies"] + [line for extra in extras for line in extra]
    open_ended = [line for line in every if "<" not in line and not line.startswith("compresslab[")]
    assert open_ended == []


def imported_packages():
    """Top-level names of everything that a file of the library imports."""
    trees = [ast.parse(path.read_text()) for path in (ROOT / "compresslab").rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 0}
    return {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"compresslab"}


def test_every_imported_package_is_declared():
    declared = bounds(PROJECT["dependencies"] + sum(PROJECT["optional-dependencies"].values(), []))
    providers = packages_distributions()
    wanted = {name: providers.get(name, [name.replace("_", "-")]) for name in imported_packages()}
    undeclared = {name for name, packages in wanted.items() if not {p.lower() for p in packages} & set(declared)}
    assert undeclared == set()


def test_readme_names_commands_and_files_that_exist():
    readme = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
    commands = set(re.findall(r"(?:^|`)make ([a-z]+)", readme, re.MULTILINE))
    assert {"lab", "test"} <= commands <= targets
    links = re.findall(r"\]\(([^)#:]+)\)", readme)
    assert links and [link for link in links if not (ROOT / link).exists()] == []


def python(code):
    """Run code in a fresh interpreter in which every warning is shown; gives its output and complaints."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "always"}
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout + run.stderr


WITHOUT_JUPYTER = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"IPython", "anywidget", "ipykernel", "ipywidgets", "jupyterlab", "plotly"}:
            raise ModuleNotFoundError(f"{name} is blocked")
sys.meta_path.insert(0, Blocked())
"""


def test_the_library_imports_without_jupyter_and_plotly():
    code = WITHOUT_JUPYTER + "import compresslab; from compresslab import data, measure, models, training\n"
    assert python(code + "print(data.__name__)") == "compresslab.data\n"
    assert "ipywidgets is blocked" in python(
        WITHOUT_JUPYTER + "try:\n    import ipywidgets\nexcept ImportError as error: print(error)"
    )


TWICE = """
import random, sys, warnings
import numpy, torch
def state():
    return [torch.get_rng_state().tolist(), torch.get_num_threads(), torch.get_num_interop_threads(),
            torch.get_default_dtype(), torch.is_grad_enabled(), numpy.random.get_state()[1].tolist(),
            random.getstate(), warnings.filters[:]]
{imports}
for name in [name for name in sys.modules if name.startswith("compresslab")]:
    del sys.modules[name]
for seed in (torch.manual_seed, numpy.random.seed, random.seed, torch.set_num_threads):
    seed(4)  # away from what the first import may have set
warnings.resetwarnings()
before = state()
{imports}
assert state() == before, [pair for pair in zip(before, state()) if pair[0] != pair[1]]
"""


SEARCH = "search\nfrom compresslab.search import batch, exercises, explorer, figures, halving, optuna_adapter"

PRUNING = (
    "pruning\nfrom compresslab.pruning import break_even, exercises, explorer, figures, gradual, lottery, structures"
)
QUANTIZATION = (
    "quantization\nfrom compresslab.quantization import analysis, bias, files, folding, formats, integer, packing"
)
RUNTIMES = (
    "runtimes\nfrom compresslab.runtimes import deployment, exercises, explorer, figures, ladder, litert, onnx_export, "
    "onnx_int8, onnx_run, torch_compiled"
)
HF = "hf\nfrom compresslab.hf import anatomy, exercises, hub, models, text"
GROUND = "data, measure, models, storage, training"


@pytest.mark.parametrize("modules", [GROUND, "lesson, optimizers, tour", SEARCH, PRUNING, QUANTIZATION, RUNTIMES, HF])
def test_import_changes_nothing_and_prints_nothing(modules):
    """Imported once for the packages beneath it, whose own doing is not ours, and then once more alone."""
    assert python(TWICE.format(imports=f"import compresslab; from compresslab import {modules}")) == ""


def test_unknown_part_is_answered_with_the_parts_there_are():
    import compresslab

    with pytest.raises(AttributeError, match="no attribute 'modles'; its parts are capstone, compression, data"):
        _ = compresslab.modles
    assert set(compresslab.__all__) <= set(dir(compresslab))


def test_ci_calls_make_test_and_skips_nothing():
    script = ROOT / ".ci/run"
    text = script.read_text()
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in text and "export CI=true" in text and text.rstrip().endswith("make test")
