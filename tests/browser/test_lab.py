"""Every notebook as a reader meets it: JupyterLab, Chromium, keyboard, both themes, two widths, no network.

One page a notebook: it is run once, looked at in the light theme, then in the dark one, then worked by keyboard.
The pictures stay in build/screenshots.
"""

from itertools import cycle

import pytest
from browser import audit, lab

LOOKS = [("light", 1280), ("dark", 800)]  # with pictures; at the other width a theme has no contrasts of its own
ENDS = ["Home", "End"]
CASES = [
    pytest.param(path, id=path.stem, marks=pytest.mark.xdist_group(path.stem))  # one page, so one worker
    for path in sorted((lab.ROOT / "notebooks").glob("*.ipynb"))
]
pytestmark = [pytest.mark.needs("chromium"), pytest.mark.timeout(400)]


@pytest.fixture(scope="module", params=CASES)
def page(request):
    """A page on which every cell of one notebook has run."""
    with lab.open_notebook(request.param) as page:
        page.path, page.errors = request.param, lab.run_all(page, seconds=300)
        lab.settle(page)
        yield page


def test_runs_to_the_end(page):
    assert page.errors == [], "cells that failed"
    assert page.complaints == [], "errors in the browser's console"
    assert page.outside == [], "requests to the outside world"


@pytest.mark.parametrize(("theme", "width"), LOOKS, ids=[f"{theme}-{width}" for theme, width in LOOKS])
def test_nothing_is_blank_too_wide_or_hard_to_read(page, theme, width):
    other, found = sum(w for _, w in LOOKS) - width, []
    lab.wear(page, theme, width)
    for path in lab.screens(page, lab.SCREENSHOTS, f"{page.path.stem}_{theme}_{width}"):
        found += audit.pale(page, path)
    found += audit.faults(page) + audit.unseen(page) + audit.missing(page, page.path)
    lab.wear(page, theme, other)
    list(lab.roll(page))
    found += [f"{other} pixels wide: {fault}" for fault in audit.faults(page)]
    assert not found, "\n".join(dict.fromkeys(found))
    assert page.complaints == [] and page.outside == []


def changed(panel, before, seconds=3):
    """Whether the picture becomes another one within so many seconds."""
    for _ in range(20 * seconds):
        panel.page.wait_for_timeout(50)
        if lab.picture(panel) != before:
            return True
    return False


def put_back(control, key, value):
    """A slider step by step to its value, else by one key: left at an end, it might hide what the next one does."""
    if value is None:
        return control.press(key)
    for _ in range(300):
        now = control.get_attribute("aria-valuenow")
        if now == value:
            return
        control.press("ArrowRight" if float(now) < float(value) else "ArrowLeft")


def work(panel, control, keys):
    """A control takes the focus, its keys change the picture, and it is put back; gives the faults of that picture."""
    page = panel.page
    lab.settle(page, 200)
    before, value = lab.picture(panel), control.get_attribute("aria-valuenow")
    control.focus()
    for key in [*keys, *ENDS]:  # a step may be too small to see
        page.keyboard.press(key)
        seen = changed(panel, before)
        lab.settle(page, 100)
        assert panel.locator(".cl-alert").all_inner_texts() == []
        if seen:
            faults = audit.faults(page, sight=True)
            put_back(control, keys[-1], value)
            return faults
    pytest.fail(f"{keys} changed nothing: {control.aria_snapshot()}")


def test_every_explorer_is_worked_by_keyboard(page):
    """Every control has a name, takes the focus, and its keys change the picture: half of them in each theme."""
    lab.wear(page, "dark", 1280)
    list(lab.roll(page))  # what is out of sight does not fit itself
    page.set_viewport_size({"width": 1280, "height": 900})
    themes, faults = cycle(["light", "dark"]), []
    assert lab.explorers(page).count(), "the notebook has an explorer"
    for panel in page.locator(".cl-panel").all():
        assert audit.nameless(panel) == []
    for panel in lab.explorers(page).all():
        panel.scroll_into_view_if_needed()
        moves = lab.moves(panel)
        moves = moves if len(moves) > 1 else 2 * moves
        for i, (control, keys) in enumerate(moves):
            if i == len(moves) // 2:
                lab.wear(page, next(themes), 1280, 900)
            faults += work(panel, control, keys)
    assert not faults, "\n".join(dict.fromkeys(faults))
    assert page.complaints == [] and page.outside == []


def test_predictions_and_hints_are_worked_by_keyboard(page):
    questions = page.get_by_role("group", name="Prediction")
    for control, key in [("input[type=radio]", "Space"), (".noUi-handle", "ArrowRight")]:
        for panel in questions.filter(has=page.locator(control)).all()[:1]:
            panel.locator(control).first.focus()
            page.keyboard.press(key)
            panel.get_by_role("button").focus()
            page.keyboard.press("Enter")
            panel.get_by_text("Locked:").wait_for()
    for fold in page.locator("summary").filter(visible=True).all()[:3]:
        fold.focus()
        page.keyboard.press("Enter")
        assert fold.evaluate("summary => summary.parentElement.open"), fold.inner_text()
    assert page.complaints == [] and page.outside == []
