"""Notebooks 00 and 10 as a reader meets them: JupyterLab, Chromium, keyboard, both themes, no network."""

import pytest
from browser.lab import ROOT, SCREENSHOTS, explorers, focus, open_notebook, run_all, screenshots, settle

CASES = [
    pytest.param((path, theme), id=f"{path[:2]}-{theme}", marks=pytest.mark.xdist_group(f"{path}-{theme}"))
    for path in ["00_start_here.ipynb", "10_optimizers_by_hand.ipynb"]
    for theme in ["light", "dark"]
]
pytestmark = [pytest.mark.needs("chromium"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module", params=CASES)
def lab(request):
    """A page on which every cell of one notebook has run."""
    path, theme = request.param
    with open_notebook(ROOT / "notebooks" / path, theme) as page:
        page.theme = theme
        page.errors = run_all(page)
        settle(page)
        yield page


def picture(panel):
    """What a plotly picture draws inside its axes: outlines, places and colours of all marks."""
    return panel.locator(".js-plotly-plot .overplot").evaluate_all(
        """plots => plots.flatMap(p => [...p.querySelectorAll('path, rect, image, text')]).map(mark =>
            ['d', 'transform', 'x', 'y', 'width', 'height', 'style', 'href']
            .map(key => mark.getAttribute(key)).join()).join('\\n')"""
    )


def press_until_changed(page, panel, key):
    settle(page)
    before = picture(panel)
    page.keyboard.press(key)
    for _ in range(100):
        page.wait_for_timeout(100)
        if picture(panel) != before:
            return
    pytest.fail(f"{key} changed nothing in the picture within 10 s")


def test_runs_to_the_end_without_a_complaint(lab, request):
    name = request.node.callspec.id
    screenshots(lab, SCREENSHOTS, name)
    assert lab.errors == [], "cells that failed"
    assert lab.complaints == [], "errors in the browser's console"
    assert lab.outside == [], "requests to the outside world"


def test_slider_is_moved_with_the_keyboard_and_the_picture_follows(lab):
    panels = explorers(lab)
    assert panels.count() > 0, "the notebook has an explorer with a slider"
    for panel in panels.all():
        handle = panel.locator(".noUi-handle").first
        assert handle.get_attribute("aria-label"), "a screen reader needs the slider's name"
        value = handle.get_attribute("aria-valuetext")
        there, back = focus(handle)
        lab.keyboard.press(there)  # not counted: the first change also fits the picture to the page
        lab.keyboard.press(back)
        press_until_changed(lab, panel, there)
        assert handle.get_attribute("aria-valuetext") != value
        press_until_changed(lab, panel, back)
        assert handle.get_attribute("aria-valuetext") == value
    assert lab.complaints == []


def test_text_of_figures_is_readable(lab):
    """Titles and axis labels have at least WCAG 2's contrast for text, 4.5 : 1, to what is behind them."""
    lab.locator(".js-plotly-plot .gtitle").first.scroll_into_view_if_needed()
    settle(lab)
    inks = lab.evaluate(
        """() => [...document.querySelectorAll('.js-plotly-plot :is(.gtitle, .xtitle, .ytitle, .xtick text)')]
            .map(text => {
                let behind = text.closest('.main-svg');
                const paint = () => getComputedStyle(behind).backgroundColor;
                while (/rgba\\(.*, 0\\)/.test(paint())) behind = behind.parentElement;
                return [getComputedStyle(text).fill, paint()];
            })"""
    )
    assert inks, "there is a figure with text"
    assert min(contrast(ink, paper) for ink, paper in inks) >= 4.5
    dark = [luminance(paper) < 0.2 for _, paper in inks]
    assert all(dark) if lab.theme == "dark" else not any(dark), "figures stand on the theme's own background"


def luminance(color):
    """Relative luminance of "rgb(r, g, b)", W3C's Web Content Accessibility Guidelines 2.2."""
    channels = [float(c) / 255 for c in color[color.index("(") + 1 : -1].split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(ink, paper):
    light, dark = sorted([luminance(ink), luminance(paper)], reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_of_black_on_white_is_21():
    assert contrast("rgb(0, 0, 0)", "rgb(255, 255, 255)") == pytest.approx(21)
