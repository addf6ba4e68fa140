"""Binder's rules, as repo2docker 2026.4 has them, as far as they can be checked without Docker."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
BINDER = ROOT / "binder"
ENVIRONMENT = yaml.safe_load((BINDER / "environment.yml").read_text())


def test_repo2docker_takes_the_environment_and_the_post_build_script():
    """With a folder binder/ it reads nothing else, and the first of its builders that finds its file does the work."""
    assert not (ROOT / ".binder").exists()  # an error beside binder/
    assert {path.name for path in BINDER.iterdir()} == {"environment.yml", "postBuild"}
    # A Dockerfile would replace all else; other names (requirements.txt, apt.txt, start) would be read too.


def test_environment_is_one_that_conda_and_repo2docker_understand():
    assert set(ENVIRONMENT) == {"name", "channels", "dependencies"}
    python, pip, nested = ENVIRONMENT["dependencies"]
    assert re.fullmatch(r"python=3\.(10|11|12|13|14)", python)  # for these repo2docker has a frozen base
    assert pip == "pip" and set(nested) == {"pip"}  # pip itself must be asked for before its packages
    for line in nested["pip"]:
        # No "-e ." or "-r FILE": the environment is built before the repository is copied.
        assert line.startswith("--extra-index-url https://") or Requirement(line).url is None


def test_the_badge_opens_the_first_notebook():
    badge = re.search(r"\]\((https://mybinder\.org/v2/[^)]+)\)", (ROOT / "README.md").read_text())[1]
    address = urlsplit(badge)
    provider, owner, name, version = address.path.removeprefix("/v2/").split("/")
    assert (provider, version) == ("gh", "HEAD")
    assert f"git clone https://github.com/{owner}/{name}" in (ROOT / "README.md").read_text()
    (start,) = parse_qs(address.query)["labpath"]
    assert (ROOT / start).is_file() and Path(start).name.startswith("00_")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(a copy of the repository, a fresh Python that sees this one's packages but not the library's checkout)."""
    folder = tmp_path_factory.mktemp("binder")
    repository = folder / "repository"
    shutil.copytree(BINDER, repository / "binder")
    shutil.copytree(ROOT / "compresslab", repository / "compresslab", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ["pyproject.toml", "README.md", "LICENSE"]:
        shutil.copy(ROOT / name, repository)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "env")], check=True)
    python = folder / "env" / "bin" / "python"
    site = subprocess.check_output([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True)
    (Path(site.strip()) / "packages.pth").write_text(sysconfig.get_path("purelib"))
    return repository, folder / "env" / "bin"


def post_build(built, **more):
    repository, bin = built
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PIP_", "VIRTUAL_ENV"))}
    # Nothing is fetched here; on Binder pip fetches setuptools, with which the library is built.
    env |= {"PATH": f"{bin}{os.pathsep}{env['PATH']}", "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"} | more
    return subprocess.run(["./binder/postBuild"], cwd=repository, env=env, capture_output=True, text=True)


@pytest.mark.needs("linux")
def test_post_build_adds_the_library(built):
    repository, bin = built
    run = post_build(built)
    assert run.returncode == 0, run.stdout + run.stderr
    code = "import compresslab; print(compresslab.__file__)"
    where = subprocess.check_output([bin / "python", "-I", "-c", code], cwd="/", text=True)
    assert Path(where.strip()).parent == repository / "compresslab"


@pytest.mark.needs("linux")
def test_post_build_refuses_a_torch_with_cuda(built, tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text("__version__ = '2.13.0+cu126'\nclass version:\n    cuda = '12.6'\n")
    run = post_build(built, PYTHONPATH=str(tmp_path))
    assert run.returncode != 0 and "torch 2.13.0+cu126 is not the CPU build" in run.stderr
