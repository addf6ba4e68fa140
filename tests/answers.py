"""The answers that the families' tests of exercises hold: RIGHT, {key: [answer]}, and WRONG, [(key, answer, words)].

A wrong answer's sentence must hold its words, or one of several with | between them.
"""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

FILES = sorted(Path(__file__).parent.glob("*/test_*exercises.py"))


def listed():
    """([(key, right answer)], [(key, wrong answer, words)]) of all families, made anew: some answers remember."""
    modules = [_load(path) for path in FILES]
    right = [(key, answer) for module in modules for key, answers in module.RIGHT.items() for answer in answers]
    return right, [row for module in modules for row in module.WRONG]


def _load(path):
    spec = spec_from_file_location(f"answers_{path.parent.name}_{path.stem}", path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
