"""Two helpers for the packages under this one: a clear sentence where one is missing, and silence while they work."""

import contextlib
import importlib
import logging
import sys
import threading
import warnings


def package(name: str):
    """The module `name`; ModuleNotFoundError with the command that installs it where it is missing."""
    try:
        with quiet():
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        top = name.split(".")[0]
        if error.name != top:
            raise
        raise ModuleNotFoundError(f"{top} is not installed: python -m pip install {top}", name=top) from None


class _Deaf:
    """A stream without what the thread that made it writes; what other threads write passes."""

    def __init__(self, stream):
        self.stream, self.thread = stream, threading.get_ident()

    def write(self, text: str) -> int:
        return len(text) if threading.get_ident() == self.thread else self.stream.write(text)

    def __getattr__(self, name):
        return getattr(self.stream, name)


_one_at_a_time = threading.RLock()  # else the last of two threads would put the other's deaf stream back


@contextlib.contextmanager
def quiet():
    """Nothing printed by this thread, logged below ERROR or warned inside the block."""
    with _one_at_a_time, contextlib.ExitStack() as stack:
        stack.callback(logging.disable, logging.root.manager.disable)
        logging.disable(max(logging.root.manager.disable, logging.WARNING))
        stack.enter_context(contextlib.redirect_stdout(_Deaf(sys.stdout)))
        stack.enter_context(contextlib.redirect_stderr(_Deaf(sys.stderr)))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        yield
