"""The first cell: what it sets, what it says, what it does not touch."""

import subprocess
import sys

import plotly.io as pio
import pytest
import torch

from compresslab.lesson import progress, setup


@pytest.fixture(autouse=True)
def as_before():
    threads, renderer, rng = torch.get_num_threads(), pio.renderers.default, torch.get_rng_state()
    yield
    torch.set_num_threads(threads)
    pio.renderers.default = renderer
    torch.set_rng_state(rng)


def test_setup_seeds_and_shows_one_line(shown, page):
    progress.record("solved", "10/momentum")
    setup("10_optimizers_by_hand", seed=3)
    drawn = torch.rand(4)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(4))
    assert torch.get_num_threads() == 1
    assert pio.renderers.default == "plotly_mimetype"
    [(data, _)] = shown
    _, exercises, predictions = progress.LESSONS["10_optimizers_by_hand"]
    line = f"1 of {len(exercises)} exercises solved, 0 of {len(predictions)} predictions locked."
    assert data["text/plain"] == f"Optimizers by hand: {line}"
    html = page(data["text/html"])
    assert html.all("style") and not html.all("script")
    assert html.words[-1] == data["text/plain"]


def test_an_unknown_lesson_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"lesson must be one of 00_start_here, .*, got 12_nothing"):
        setup("12_nothing")


def test_trouble_with_progress_is_told_once(shown):
    file = progress.home() / "progress.json"
    file.parent.mkdir(parents=True)
    file.write_text("{")
    setup("00_start_here")
    setup("00_start_here")
    first, second = (data["text/plain"] for data, _ in shown)
    assert "damaged" in first and "damaged" not in second


def test_importing_the_lesson_changes_nothing():
    code = (
        "import torch; before = torch.get_num_threads(), torch.get_rng_state().sum().item()\n"
        "import plotly.io; renderer = plotly.io.renderers.default\n"
        "import compresslab.lesson\n"
        "assert before == (torch.get_num_threads(), torch.get_rng_state().sum().item())\n"
        "assert renderer == plotly.io.renderers.default\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == run.stderr == ""
    assert not progress.home().exists()
