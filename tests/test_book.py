"""The book is whole: every lesson, picture, term and link, and nothing that comes from outside."""

import functools
import http.server
import importlib.util
import re
import subprocess
import sys
import threading
from collections import Counter

import nbformat
import pytest
from browser.lab import browser
from bs4 import BeautifulSoup
from nbconvert import HTMLExporter
from notebooks.editions import NOTEBOOKS, ROOT
from notebooks.test_notebooks import guarded

pytestmark = [pytest.mark.xdist_group("book"), pytest.mark.timeout(180)]
GLOSSARY = "book/glossary.html"
OUTSIDE = re.compile(r"(https?:)?//")


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """The book's folder, built without a network and with every warning as an error."""
    folder = tmp_path_factory.mktemp("book")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "book", ".", str(folder / "html")]
    run = subprocess.run(command, cwd=ROOT, env=guarded(folder), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-4000:]
    return folder / "html"


@pytest.fixture(scope="module")
def pages(book):
    """{path inside the book: its page}."""
    paths = sorted(book.rglob("*.html"))
    return {str(path.relative_to(book)): BeautifulSoup(path.read_text(), "html.parser") for path in paths}


def lessons(pages):
    return {name: page.select_one("article") for name, page in pages.items() if name.startswith("notebooks/")}


def test_contents_name_every_page_in_the_order_of_the_lessons(pages):
    entries = pages["book/index.html"].select(".sidebar-tree a.reference")
    targets = [entry["href"].removeprefix("../") for entry in entries]
    shown = [f"notebooks/{path.stem}.html" for path in NOTEBOOKS]
    assert [target for target in targets if target.startswith("notebooks/")] == shown == list(lessons(pages))
    written = {f"{path.stem}.html" for path in (ROOT / "book").glob("*.md")} - {"index.html"}
    assert {target for target in targets if "/" not in target} == written
    for entry in entries:
        if "notebooks/" in entry["href"]:
            assert entry.text[:4] == entry["href"].split("/")[-1][:2] + " ·"  # as lessons are called in the text


def test_no_page_asks_for_anything_outside(book, pages):
    for name, page in pages.items():
        fetched = [tag.get("src") or tag.get("href") for tag in page.select("[src], link[href]")]
        assert [url for url in fetched if OUTSIDE.match(url)] == [], name
    for path in book.rglob("*.css"):
        assert re.findall(r"(?:url\(\s*['\"]?|@import\s+['\"]?)(?:https?:)?//", path.read_text()) == [], path


def test_every_internal_link_leads_somewhere(book, pages):
    anchors = {name: {tag["id"] for tag in page.select("[id]")} for name, page in pages.items()}
    wrong = []
    for name, page in pages.items():
        for link in page.select("a[href]"):
            path, _, anchor = link["href"].partition("#")
            if OUTSIDE.match(path) or path.startswith("mailto:"):
                continue
            target = str((book / name).parent.joinpath(path).resolve().relative_to(book)) if path else name
            if not (book / target).is_file() or (anchor and anchor not in anchors.get(target, ())):
                wrong.append((name, link["href"]))
    assert wrong == []


def alternatives(notebook):
    """What the saved pictures say, in order."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output.metadata["image/png"]["alt"] for output in outputs if "image/png" in output.get("data", {})]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_saved_picture_and_table_is_shown(path, pages):
    notebook = nbformat.read(path, 4)
    outputs = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])]
    page = lessons(pages)[f"notebooks/{path.stem}.html"]
    assert [image["alt"] for image in page.select("img")] == alternatives(notebook)
    saved = sum("".join(data.get("text/html", "")).count("<table") for data in outputs)
    assert len(page.select("div.cell_output table")) == saved
    formulas = sum(len(re.findall(r"(\$\$?)[^$]+\1", c.source)) for c in notebook.cells if c.cell_type == "markdown")
    assert len(page.select("math")) == formulas and "$" not in "".join(p.text for p in page.select("section > p"))


def glossary(pages):
    """{anchor: (term, what it says)}."""
    terms = pages[GLOSSARY].select("dl.glossary > dt")
    return {term["id"]: (term.text, term.find_next_sibling("dd")) for term in terms}


def test_glossary_is_in_order_and_short(pages):
    names = [name for name, _ in glossary(pages).values()]
    assert names == sorted(names, key=str.lower) and len(names) == len(set(names))
    for name, text in glossary(pages).values():
        said, lesson = text.p.get_text().rsplit(" Lesson ", 1)
        assert said.endswith((".", ".)")) and 1 <= len(re.findall(r"[.:;?)](?:\s|$)", said)) <= 4, name
        assert text.p.select("a")[-1]["href"].startswith(f"../notebooks/{lesson[:2]}_"), name


def test_every_term_is_linked_and_from_a_lesson_only_once(pages):
    counts = {name: Counter(link["href"] for link in page.select("a.term")) for name, page in lessons(pages).items()}
    assert max(max(count.values()) for count in counts.values()) == 1
    linked = set().union(*counts.values())
    assert linked == {f"../{GLOSSARY}#{anchor}" for anchor in glossary(pages)}


def test_terms_are_linked_in_running_text_only_and_not_before_their_lesson(pages):
    first = {anchor: text.p.select("a")[-1]["href"].split("/")[-1] for anchor, (_, text) in glossary(pages).items()}
    for name, page in lessons(pages).items():
        links = page.select("a.term")
        assert not [link for link in links if link.find_parent(["h1", "h2", "h3", "code", "pre", "math", "a"])], name
        assert not [link for link in links if link.find_parent("div", class_="cell")], name
        assert not [link for link in links if first[link["href"].split("#")[1]] > name.split("/")[-1]], name


def test_commands_of_the_pages_exist():
    text = "".join(path.read_text() for path in (ROOT / "book").glob("*.md"))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE))
    assert {"lab", "test", "book", "teacher", "student"} <= named <= targets
    for module in re.findall(r"python -m ([\w.]+)", text):
        assert importlib.util.find_spec(module), module


def test_the_code_about_a_model_of_your_own_runs(tmp_path, monkeypatch, capsys):
    import compresslab

    monkeypatch.chdir(tmp_path)
    quick = functools.partial(compresslab.report, rounds=6, epochs=1, progress=False)
    monkeypatch.setattr(compresslab, "report", quick, raising=False)
    made = {}
    for code in re.findall(r"```python\n(.*?)```", (ROOT / "book/own_model.md").read_text(), re.DOTALL):
        exec(code, made)
    assert "Proposed: " in capsys.readouterr().out
    assert made["scores"].shape == (3, 10)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def served(book):
    """The address of the book on this machine."""
    handler = functools.partial(Quiet, directory=book)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.needs("chromium")
def test_in_a_browser_without_a_network(served, pages):
    """Every page fits, shows its pictures and has no complaints; search finds; light and dark switch."""
    with browser(width=800) as page:
        for name in set(pages) - {"index.html"}:  # which leads on to the first page, see below
            page.goto(f"{served}/{name}")
            page.wait_for_load_state("load")
            assert page.evaluate("document.documentElement.scrollWidth") <= 800, name
            assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth)"), name
    with browser(width=1280) as page:
        page.goto(served)
        page.wait_for_url("**/book/index.html")
        page.fill(".sidebar-search", "sparsity")
        page.press(".sidebar-search", "Enter")
        page.wait_for_selector("#search-results a[href*='30_pruning_weights']")
        page.goto(f"{served}/notebooks/40_numbers.html")
        seen = set()
        for _ in range(3):  # as the system has it, light, dark
            page.locator(".theme-toggle:visible").first.click()
            seen.add(page.evaluate("getComputedStyle(document.querySelector('.cl-caption')).color"))
        assert len(seen) == 2, "the outputs' own text keeps its colour in the dark"
        assert page.outside == page.complaints == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_plain_nbconvert_shows_pictures_with_alternative_text_and_tables(path):
    notebook = nbformat.read(path, 4)
    for template in ("lab", "classic"):
        html, _ = HTMLExporter(template_name=template).from_filename(str(path))
        page = BeautifulSoup(html, "html.parser")
        images = page.select(".jp-OutputArea-output img, .output_png img")
        assert all(image["src"].startswith("data:") for image in images)
        assert len(images) == len(alternatives(notebook)) > 0
        if template == "classic":
            assert [image["alt"] for image in images] == alternatives(notebook)
        else:  # this template leaves alternative texts out: the same sentence stands below each picture
            below = [image.find_next("p", class_="cl-caption").text for image in images]
            assert below == alternatives(notebook)
        assert page.select("table.dataframe")
