"""The newest value wins: presses that come while a slow panel draws are not drawn one by one."""

import re

import pytest
from browser.lab import made, open_notebook, run_all, settle

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.timeout(120), pytest.mark.xdist_group("newest")]

CELL = """
import time
import ipywidgets as widgets
from compresslab.lesson import theme
from compresslab.lesson.panel import Panel

draws = []

def draw(place):
    draws.append(place)
    time.sleep(0.3)
    return theme.figure(title=f"place {place}, draw {len(draws)}", alt="drawn").add_scatter(x=[place], y=[place])

Panel(draw, dict(place=widgets.IntSlider(0, max=50, description="Place")), label="Slow", busy="Drawing ...")
"""
PRESSES = 20


def test_the_newest_of_many_presses_is_drawn_and_not_all_of_them(tmp_path):
    with open_notebook(made(tmp_path, CELL)) as page:
        assert run_all(page) == []
        page.get_by_text("place 0, draw 1").wait_for()
        page.locator(".noUi-handle").focus()
        for _ in range(PRESSES):
            page.keyboard.press("ArrowRight")
        page.locator(".cl-caption", has_text="Drawing ...").wait_for()
        page.locator(".cl-caption", has_text="drawn").wait_for()
        settle(page)
        place, draws = re.findall(r"\d+", page.locator(".gtitle").text_content())
        assert int(place) == PRESSES
        assert int(draws) - 1 < PRESSES
        assert page.complaints == []
