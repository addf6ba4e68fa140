"""The nets themselves: what the other browser tests call silence is silence, and each fault is seen."""

import nbformat
import pytest
from browser import audit
from browser.lab import browser, made

needs = pytest.mark.needs("chromium")
PAGE = """<style>* {{ margin: 0 }} .jp-WindowedPanel-outer {{ width: 700px; height: 500px; overflow: auto }}</style>
<div class="jp-WindowedPanel-outer">
<div class="jp-OutputArea-output" style="overflow: auto; min-height: 9px">{}</div></div>"""
PLOT = """<div class="js-plotly-plot" style="width: 300px; height: 200px">
<svg class="main-svg" width="300" height="200"><g class="overplot">{}</g>{}</svg></div>"""
MARK = '<path d="M0,0 L9,9" stroke="black"/>'


def text(words, y=99, fill="black", x=9):
    return f'<text x="{x}" y="{y}" style="fill: {fill}">{words}</text>'


def subplots(second, note=""):
    """A figure of two subplots, with a mark in the first one."""
    layers = "".join(f'<g class="subplot {id}"><g class="overplot">{marks}</g></g>'
                     for id, marks in [("xy", MARK), ("x2y2", second)])  # fmt: skip
    areas = "".join(f'<rect class="nsewdrag" data-subplot="{id}" x="{x}" width="90" height="90" fill="none"/>'
                    for id, x in [("xy", 0), ("x2y2", 150)])  # fmt: skip
    drawn = f'<g class="cartesianlayer">{layers}</g><g class="draglayer">{areas}</g><g class="annotation">{note}</g>'
    return PLOT.format("", drawn)


@pytest.fixture(scope="module")
def page():
    with browser() as page:
        yield page


@needs
def test_the_guard_sees_outside_requests_and_complaints():
    with browser() as page:
        page.goto("about:blank")
        page.set_content("<img src='https://example.org/picture.png'>")
        page.evaluate("() => { console.error('red'); setTimeout(() => { throw new Error('broken') }) }")
        while not (page.outside and any("broken" in text for text in page.complaints)):  # until the test's time is out
            page.wait_for_timeout(50)
        assert page.outside == ["https://example.org/picture.png"]
        assert "red" in page.complaints and any("broken" in text for text in page.complaints)


WIDE = PLOT.format(MARK, text("too wide")).replace("300", "900")
BELOW = "</div><div class='jp-OutputArea-output{}' style='overflow: auto; margin-top: 9000px'>{}"
FAULTS = {
    "": "<p>a line</p><div style='overflow: auto'><table><td style='min-width: 900px'>wide</td></table></div>",
    "fine figure": PLOT.format(MARK, text("above", 50) + text("below", 90)),
    "fine subplots": subplots('<path d="M160,9 L190,50" stroke="black"/>') + subplots("", text("here", x=170, y=50)),
    "fine out of sight": BELOW.format("", WIDE),
    "fine output out of sight that is a figure": BELOW.format(" js-plotly-plot", WIDE.replace("js-plotly-plot", "")),
    "fine panel": "<div class='cl-panel'><button>move</button><p class='cl-alert'></p></div>",
    "subplot without marks: x2y2": subplots(MARK, text("elsewhere", x=170, y=150)),
    "error in a panel: ValueError": "<div class='cl-panel'><button>x</button><p class='cl-alert'>ValueError</p></div>",
    "output without height": "</div><div class='jp-OutputArea-output'>",
    "figure without marks": PLOT.format("", text("a title")),
    "panel without controls": "<div class='cl-panel'>nothing</div>",
    "widget that did not come up": "Error displaying widget: model not found",
    "the page scrolls sideways": "</div><div style='width: 900px'>wide",
    "900 in 700 pixels": "<pre style='width: 900px'>wide</pre>",
    "900 in 700 pixels: too wide": WIDE,
    "text outside its figure": PLOT.format(MARK, text("far out", x=270)),
    "control outside its panel": "<div class='cl-panel'><button style='margin-left: 720px'>far</button></div>",
    'one" upon "other': PLOT.format(MARK, text("one") + text("other", 101)),
}


@needs
@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_seen(page, fault):
    page.set_content(PAGE.format(FAULTS[fault]))
    found = audit.faults(page, sight="out of sight" in fault)
    assert not found if not fault or fault.startswith("fine") else any(fault in sentence for sentence in found), found


@needs
@pytest.mark.parametrize(
    ("inside", "ratio"),
    [
        ("<p style='color: black'>fine</p>", None),
        ("<p style='color: #949494'>pale</p>", "3.0 : 1"),
        ("<p style='opacity: 0.4; color: black'>thin</p>", "2.8 : 1"),
        ("<p style='background: black; color: #333'>dim</p>", "1.7 : 1"),
        ("<b style='background: linear-gradient(90deg, #aaa, #fff); color: black'>shades</b>", None),
        ("<b style='background: linear-gradient(90deg, #1e1e1e, #222); color: black'>shades</b>", "1.3 : 1"),
        (PLOT.format(MARK, text("pale", fill="#949494")), "3.0 : 1"),
        (PLOT.format('<rect width="300" height="200" fill="navy"/>', text("upon a mark")), "1.3 : 1"),
    ],
)
def test_pale_text_is_seen(page, tmp_path, inside, ratio):
    page.set_content(PAGE.format(inside))
    page.screenshot(path=tmp_path / "page.png")
    found = audit.pale(page, tmp_path / "page.png")
    assert not found if ratio is None else [sentence[:7] for sentence in found] == [ratio]


SAVED = [
    {"image/png": ""},
    {"text/html": "<table>"},
    {"text/html": "<p class='cl-caption'>"},
    {"text/plain": "a widget"},
]
NOW = dict(figure="<i class='js-plotly-plot'></i>", table="<table></table>", text="<select></select>")


@needs
@pytest.mark.parametrize("lost", ["nothing", *NOW])
def test_a_cell_that_shows_less_is_seen(page, tmp_path, lost):
    path = made(tmp_path, "show()")
    notebook = nbformat.read(path, 4)
    notebook.cells[0].outputs = [nbformat.v4.new_output("display_data", data) for data in SAVED]
    nbformat.write(notebook, path)
    outputs = [f"<div class='jp-OutputArea-child'>{html}</div>" for kind, html in NOW.items() if kind != lost]
    page.set_content(f"<div class='jp-CodeCell'>{''.join(outputs)}</div>")
    found = audit.missing(page, path)
    assert found == ([] if lost == "nothing" else [f"no longer shown, {{'{lost}': 1}}: show()"])


@needs
def test_a_focus_without_a_sign_is_seen(page):
    unseen = ["no visible focus: BUTTON here"]
    for outline, found in [("3px solid", []), ("1px solid", unseen), ("none", unseen)]:
        style = f"<style>button:focus {{ outline: {outline} }}</style>"
        page.set_content(style + PAGE.format("<div class='cl-panel'><button>here</button></div>"))
        assert audit.unseen(page) == found


@needs
def test_a_control_without_a_name_is_seen(page):
    page.set_content("<label>Speed <input type=range></label><select><option>a</option></select>")
    assert [found.split(":")[0] for found in audit.nameless(page.locator("body"))] == ["- combobox"]


def test_contrast_of_black_on_white_is_21():
    assert audit.contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert audit.over("rgba(0, 0, 0, 0.5)", 0.5, (255, 255, 255)) == (191.25, 191.25, 191.25)
