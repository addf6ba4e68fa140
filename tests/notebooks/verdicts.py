"""Run with a student's library: its checks beside those of the full one, on every answer that the tests know.

python verdicts.py FULL writes JSON: {"library": its folder, "secrets": keys of exercises that hold something they
should not, "theirs": what the student's checks say, "ours": what the full ones say to the same answers}.
"""

import importlib
import importlib.util
import itertools
import json
import sys
from pathlib import Path

import torch
from torch.utils import _pytree as pytree

import compresslab

FULL = Path(*sys.argv[1:2])  # "." where it is imported only


def load(name, path, **places):
    spec = importlib.util.spec_from_file_location(name, path, **places)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def families():
    found = (FULL / "compresslab").glob("*/exercises*")
    return sorted(f"{p.parent.name}.exercises" for p in found if p.suffix == ".py" or (p / "__init__.py").exists())


def by_key(library):
    """{key: exercise} of all families of a library."""
    modules = [importlib.import_module(f"{library}.{family}") for family in families()]
    return {exercise.key: exercise for module in modules for exercise in module.ALL}


def stub_of(exercise):
    space = {}
    names = ", ".join(exercise.reference.parameters)
    exec(f"def stub({names}):\n    raise NotImplementedError('write your own')", space)
    return space["stub"]


def bent(solution):
    """Right shapes, wrong numbers."""

    def bend(x):
        if isinstance(x, torch.Tensor) and not x.is_floating_point():
            return x.flip(0) if x.ndim else x
        return x * 1.37 + 0.11 if isinstance(x, (float, torch.Tensor)) else x

    return lambda *args: pytree.tree_map(bend, solution(*args))


def constant(solution):
    """The answer of the first call, for ever."""
    first = []

    def fn(*args):
        first.append(solution(*args))
        return first[0]

    return fn


def answers(full):
    """(key, kind, answer); made anew at each call, for some answers remember."""
    for key, exercise in full.items():
        yield key, "stub", stub_of(exercise)
        yield key, "solution", exercise.solution
        yield key, "bent", bent(exercise.solution)
        yield key, "constant", constant(exercise.solution)
        for mistake in exercise.mistakes:
            yield key, mistake.sentence, mistake.function
    for key, answer, *_ in itertools.chain(*load("answers", FULL / "tests/answers.py").listed()):
        yield key, "tested", answer


def judged(library, full):
    """[key, kind, status, sentence, code] of every answer."""
    reports = ((key, kind, library[key].check(answer)) for key, kind, answer in answers(full))
    return [[key, kind, report.status, report.sentence, report.code] for key, kind, report in reports]


def has_secrets(exercise):
    told = exercise.source() or "source" in repr(exercise.check(stub_of(exercise)))
    return bool(exercise.solution or exercise.expected or exercise.mistakes or told)


if __name__ == "__main__":
    load("full", FULL / "compresslab/__init__.py", submodule_search_locations=[str(FULL / "compresslab")])
    full, student = by_key("full"), by_key("compresslab")
    result = {
        "library": str(Path(compresslab.__file__).parents[1]),
        "secrets": [key for key, exercise in student.items() if has_secrets(exercise)],
        "theirs": judged(student, full),
        "ours": judged(full, full),
    }
    print(json.dumps(result))
