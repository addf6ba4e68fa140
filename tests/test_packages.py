"""`quiet` silences its own thread, and two threads that use it leave the streams as they were."""

import sys
import threading

import pytest

from compresslab.packages import package, quiet


def test_a_missing_package_is_named_with_its_command():
    with pytest.raises(
        ModuleNotFoundError, match="^nowhere_at_all is not installed: python -m pip install nowhere_at_all$"
    ):
        package("nowhere_at_all.part")


def test_other_threads_are_heard(capsys):
    with quiet():
        print("silent")
        print("silent", file=sys.stderr)
        other = threading.Thread(target=print, args=("heard",))
        other.start()
        other.join()
    print("after")
    assert capsys.readouterr() == ("heard\nafter\n", "")


def test_threads_that_overlap_put_the_streams_back():
    before, inside = (sys.stdout, sys.stderr), threading.Event()

    def work():
        inside.set()
        with quiet():  # waits for the block below
            pass

    with quiet():
        with quiet():
            other = threading.Thread(target=work)
            other.start()
            inside.wait(10)
        assert sys.stdout is not before[0]
    other.join(10)
    assert (sys.stdout, sys.stderr) == before and not other.is_alive()
