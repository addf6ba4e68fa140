"""What the tests of the lesson machinery share."""

from html.parser import HTMLParser
from importlib import import_module

import pytest

from compresslab.lesson import progress

VOID = {"br", "hr", "img", "input"}


class Page(HTMLParser):
    """HTML as a list of (tag, attributes, depth) and its text; refuses tags that do not nest."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.words, self._open = [], [], []
        self.feed(text)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs), len(self._open)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open and self._open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def all(self, tag):
        return [(attrs, depth) for name, attrs, depth in self.tags if name == tag]


@pytest.fixture
def page():
    return Page


@pytest.fixture(autouse=True)
def fresh_progress(monkeypatch):
    """Each test starts as a new process would: nothing kept in memory, no trouble told."""
    monkeypatch.setattr(progress, "_memory", {"solved": {}, "locked": {}})
    monkeypatch.setattr(progress, "_said", set())


@pytest.fixture
def shown(monkeypatch):
    """What lessons display, as a list of (data, metadata)."""
    seen = []

    def display(data, metadata=None, raw=False):
        assert raw
        seen.append((data, metadata or {}))

    for name in ("figure", "setup"):
        monkeypatch.setattr(import_module(f"compresslab.lesson.{name}"), "display", display)
    return seen
