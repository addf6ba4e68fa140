"""`make student`: the course without its solutions. The checker says the same, from recorded numbers."""

import json
import re
import shutil
from importlib import import_module

import nbformat
from notebooks.editions import NOTEBOOKS, ROOT, read, retold
from notebooks.records import record
from notebooks.trimming import trimmed

from compresslab.lesson import RecordedExercise, progress
from compresslab.lesson.exercise import TODO, Report

# Beside compresslab/ and the lessons; all else is for contributors and teachers.
KEPT = [".gitignore", "LICENSE", "Makefile", "README.md", "binder/environment.yml", "binder/postBuild",
        "book/first_steps.md", "book/own_model.md", "environment.yml", "pyproject.toml"]  # fmt: skip

# file -> (pattern, what a student reads in its place)
REWRITTEN = {
    "README.md": [
        (r"(?ms)^## For (contributors|teachers)\n.*?(?=^## |^BSD)", ""),
        (r"\[!\[Open on Binder\].*\n\n", ""),
        (r"(?m)^(git clone|make test) .*\n", ""),
        (r", and a solution\.", "; your teacher has the solutions."),
    ],
    "Makefile": [(r"(?ms)^# For contributors and teachers.*", "")],
    "notebooks/00_start_here.ipynb": [(r"; the solution is under the last one\.", "; your teacher has the solution.")],
}  # fmt: skip


def families():
    """The packages and modules of exercises: compresslab/*/exercises/ and compresslab/*/exercises.py."""
    found = (ROOT / "compresslab").glob("*/exercises*")
    return sorted(path for path in found if path.suffix == ".py" or (path / "__init__.py").exists())


def exercises(family):
    """All exercises of one family."""
    return import_module(".".join(family.relative_to(ROOT).with_suffix("").parts)).ALL


def without_solution(exercise):
    """The exercise as a student has it."""
    return RecordedExercise(key=exercise.key, title=exercise.title, trial=exercise.trial, hints=exercise.hints)


def rewritten(name, text):
    """A text with its passages for others taken out; ValueError where they are not found."""
    for pattern, new in REWRITTEN.get(name, []):
        text, times = re.subn(pattern, new, text)
        if not times:
            raise ValueError(f"{name} must hold what REWRITTEN names, got nothing like {pattern}")
    return text


def write_library(folder):
    """compresslab/ with trimmed exercises and their records."""
    shutil.copytree(ROOT / "compresslab", folder / "compresslab", ignore=shutil.ignore_patterns("__pycache__"))
    records = folder / "compresslab/lesson/records"
    records.mkdir()
    for family in families():
        paths = [family] if family.suffix else sorted(family.glob("*.py"))
        modules = {"" if path.name in ("__init__.py", "exercises.py") else path.stem: path for path in paths}
        kept = trimmed({name: path.read_text(encoding="utf-8") for name, path in modules.items()})
        for name, path in modules.items():
            place = folder / path.relative_to(ROOT)
            place.unlink()
            if name in kept:
                place.write_text(kept[name] + "\n", encoding="utf-8")
        for exercise in exercises(family):
            text = json.dumps(record(exercise), separators=(",", ":"))
            (records / f"{exercise.key.replace('/', '-')}.json").write_text(text, encoding="utf-8")


def write_lessons(folder):
    """The notebooks of the lessons and their pictures; the saved reports of checks offer no solution."""
    shutil.copytree(ROOT / "notebooks/images", folder / "notebooks/images")
    for path in NOTEBOOKS:
        if path.stem in progress.LESSONS:  # no notebook that somebody keeps beside them
            notebook = retold(read(path), lambda exercise: Report(without_solution(exercise), "todo", TODO))
            text = nbformat.writes(notebook)
            (folder / "notebooks" / path.name).write_text(rewritten(f"notebooks/{path.name}", text), encoding="utf-8")


def build(folder):
    """The student's edition in `folder`, which is made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_library(folder)
    write_lessons(folder)
    for name in KEPT:
        place = folder / name
        place.parent.mkdir(exist_ok=True)
        shutil.copy2(ROOT / name, place, follow_symlinks=False)
        if name in REWRITTEN:
            place.write_text(rewritten(name, place.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    build(ROOT / "build/student")
    print("The student's edition is in build/student: hand out the whole folder.")
