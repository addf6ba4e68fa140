"""Progress: kept, merged, and never in the learner's way when the disk or the file is not as it should be."""

import errno
import json
import os
import subprocess
import sys
import threading

import pytest

from compresslab.lesson import board, progress


def path():
    return progress.home() / "progress.json"


def locked(key):
    return progress.load()[0]["locked"].get(key)


def as_new_process(monkeypatch):
    monkeypatch.setattr(progress, "_memory", {"solved": {}, "locked": {}})
    monkeypatch.setattr(progress, "_said", set())


def test_what_is_recorded_is_there_for_the_next_process(monkeypatch):
    assert progress.record("solved", "10/adam") == ""
    assert progress.record("locked", "10/lr-limit", 0.25) == ""
    as_new_process(monkeypatch)
    assert progress.load() == ({"solved": {"10/adam": True}, "locked": {"10/lr-limit": 0.25}}, "")
    assert os.listdir(progress.home()).count("progress.json") == 1
    assert not [name for name in os.listdir(progress.home()) if name.endswith(".part")]


def test_none_forgets():
    progress.record("locked", "10/lr-limit", 0.25)
    progress.record("locked", "10/lr-limit", None)
    assert json.loads(path().read_text()) == {"solved": {}, "locked": {}}


def test_nothing_is_written_by_reading():
    assert progress.load() == ({"solved": {}, "locked": {}}, "")
    repr(board())
    assert not progress.home().exists()


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe\x00", b"[1, 2]", b'{"solved": 3}', b"null"])
def test_a_damaged_file_is_put_aside_and_said_once(content):
    path().parent.mkdir(parents=True)
    path().write_bytes(content)
    state, trouble = progress.load()
    assert state == {"solved": {}, "locked": {}}
    aside = path().with_name("progress.damaged.json")
    assert trouble == f"Progress starts afresh: the file was damaged and is now {aside}."
    assert aside.read_bytes() == content
    assert progress.load()[1] == ""
    assert progress.record("solved", "10/adam") == ""
    assert json.loads(path().read_text())["solved"] == {"10/adam": True}


def test_a_damaged_file_is_also_noticed_when_writing():
    path().parent.mkdir(parents=True)
    path().write_text("{")
    assert "damaged" in progress.record("solved", "10/adam")
    assert progress.load()[0]["solved"] == {"10/adam": True}


def full_disk(*args):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_only(*args):
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


@pytest.mark.parametrize("fault", [full_disk, read_only])
def test_a_disk_that_takes_nothing_is_said_once_and_the_lesson_goes_on(monkeypatch, fault):
    progress.record("solved", "10/momentum")
    before = path().read_bytes()
    monkeypatch.setattr(progress.os, "replace", fault)
    trouble = progress.record("solved", "10/adam")
    assert trouble.startswith("Progress is kept only until this notebook closes:") and str(path()) in trouble
    assert progress.record("locked", "10/lr-limit", 0.5) == ""  # said once
    assert path().read_bytes() == before
    state, _ = progress.load()
    assert state == {"solved": {"10/momentum": True, "10/adam": True}, "locked": {"10/lr-limit": 0.5}}
    monkeypatch.undo()  # space again: the next record writes what was kept in memory, too
    progress.record("solved", "10/rmsprop")


def test_what_was_kept_in_memory_is_written_as_soon_as_that_is_possible(monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(progress.os, "replace", full_disk)
        progress.record("solved", "10/adam")
    progress.record("solved", "10/rmsprop")
    as_new_process(monkeypatch)
    assert set(progress.load()[0]["solved"]) == {"10/adam", "10/rmsprop"}


@pytest.mark.parametrize("blocked", ["home", "progress.json"])
def test_something_else_in_the_way(blocked):
    """A file where the folder should be, or a folder where the file should be, stops even root."""
    if blocked == "home":
        progress.home().write_text("not a folder")
    else:
        path().mkdir(parents=True)
    progress.load()
    assert "cannot be written" in progress.record("solved", "10/adam")
    assert progress.load()[0]["solved"] == {"10/adam": True}
    assert "1 of" in repr(board())


def test_a_file_that_cannot_be_read_is_not_overwritten(monkeypatch):
    progress.record("solved", "10/momentum")
    before = path().read_bytes()
    with monkeypatch.context() as broken:
        denied = OSError(errno.EACCES, "Permission denied")
        broken.setattr(type(path()), "read_text", lambda *a, **k: (_ for _ in ()).throw(denied))
        assert "Permission denied" in progress.load()[1]
        assert "Permission denied" in progress.record("solved", "10/adam")
    assert path().read_bytes() == before
    assert set(progress.load()[0]["solved"]) == {"10/momentum", "10/adam"}


def test_two_processes_that_write_at_once_lose_nothing():
    code = (
        "import sys; from compresslab.lesson import progress\n"
        "print('ready', flush=True); input()\n"
        "for i in range(40): progress.record('solved', f'{sys.argv[1]}/{i}')\n"
    )
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    runs = [subprocess.Popen([sys.executable, "-c", code, name], **pipes) for name in "ab"]
    for run in runs:
        assert run.stdout.readline() == "ready\n"
    for run in runs:
        run.stdin.write("go\n")
        run.stdin.flush()
    for run in runs:
        assert run.communicate() == ("", "")
    assert set(progress.load()[0]["solved"]) == {f"{name}/{i}" for name in "ab" for i in range(40)}


def test_threads_that_write_at_once_lose_nothing():
    def work(name):
        for i in range(20):
            progress.record("locked", f"{name}/{i}", i)

    threads = [threading.Thread(target=work, args=name) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(progress.load()[0]["locked"]) == 60


def test_every_key_starts_with_its_lessons_number_and_occurs_once():
    keys = [key for _, exercises, predictions in progress.LESSONS.values() for key in exercises + predictions]
    assert len(set(keys)) == len(keys)
    for name, (title, exercises, predictions) in progress.LESSONS.items():
        assert title and all(key.startswith(name[:2] + "/") for key in exercises + predictions)


def test_the_board_is_a_table_with_headers_and_words(monkeypatch, page):
    lessons = {
        "00_a": progress.Lesson("Start & go"),
        "10_b": progress.Lesson("Optimizers", ("10/x", "10/y"), ("10/p",)),
    }
    monkeypatch.setattr(progress, "LESSONS", lessons)
    progress.record("solved", "10/x")
    progress.record("solved", "99/unknown")
    progress.record("locked", "10/p", 0.0)  # zero is an answer
    table = board()
    assert repr(table) == (
        "Your progress\n"
        "Start & go: no exercises, no predictions\n"
        "Optimizers: 1 of 2 exercises solved, 1 of 1 predictions locked"
    )
    html = page(table._repr_html_())
    assert len(html.all("table")) == len(html.all("caption")) == 1
    assert [a["scope"] for a, _ in html.all("th")] == ["col"] * 3 + ["row"] * 2
    assert "Start & go none none" in html.text and "1 of 2 solved" in html.text and "1 of 1 locked" in html.text
    assert all(a.get("aria-hidden") == "true" for a, _ in html.all("span"))  # icons are not read out


def test_the_board_tells_about_trouble(page):
    path().parent.mkdir(parents=True)
    path().write_text("{")
    table = board()
    assert "damaged" in repr(table)
    assert ({"role": "status"}, 1) in page(table._repr_html_()).all("p")
