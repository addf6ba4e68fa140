"""Two helpers for the packages under this one: a clear sentence where one is missing, and silence while they work."""

import contextlib
import importlib
import io
import logging
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


@contextlib.contextmanager
def quiet():
    """Nothing printed, logged below ERROR or warned inside the block."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
