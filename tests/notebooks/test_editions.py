"""The teacher's edition is solved and has its key; the student's holds no solution, and its checker says the same."""

import html
import json
import re
import shutil
import subprocess
import sys
import types
from collections import defaultdict

import nbformat
import pytest
import torch
from notebooks.editions import NOTEBOOKS, REPORT, ROOT, code_cells, read, stubs
from notebooks.records import record
from notebooks.test_notebooks import guarded, nbval
from notebooks.trimming import trimmed

from compresslab.lesson import Exercise, progress
from notebooks import leaks, student, teacher

pytestmark = pytest.mark.xdist_group("editions")  # the student's edition is built once

EXERCISES = {exercise.key: exercise for family in student.families() for exercise in student.exercises(family)}
HINTS = [hint for exercise in EXERCISES.values() for hint in exercise.hints]

# Found in the student's edition, and no leak: (file, secret) -> why.
OPEN = {
    ("compresslab/optimizers/quadratic.py", "10/stability largest_lr"): "the library's own: the subject",
    ("compresslab/search/analysis.py", "20/trials-needed trials_needed"): "the library's own: the subject",
    ("notebooks/60_hugging_face.ipynb", "60/patches _patches_by_unfold"): "the lesson shows torch's way itself",
    ("compresslab/search/optuna_adapter.py", "41/fold _by_torch"): "only like it: one function that calls another",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("student") / "course"
    student.build(folder)
    return folder


def used(*values):
    """All functions in modules of exercises that these use."""
    found, todo = set(), list(values)
    while todo:
        value = todo.pop()
        if isinstance(value, (tuple, list, types.CodeType)):
            todo += value.co_consts if isinstance(value, types.CodeType) else value
        elif isinstance(value, types.FunctionType) and ".exercises" in value.__module__ and value not in found:
            found.add(value)
            codes = [value.__code__]
            while codes:
                code = codes.pop()
                todo += [value.__globals__[name] for name in code.co_names if name in value.__globals__]
                codes += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return found


def secrets():
    """Each solution, and each function of which the answer to compare with is made."""
    for exercise in EXERCISES.values():
        for function in {exercise.solution} | (used(exercise.expected) - used(exercise.trial)):
            if function.__name__ != "<lambda>":
                yield leaks.Secret(f"{exercise.key} {function.__name__}", function)


SECRETS = list(secrets())


def found(folder, paths=None):
    """{(file, secret)} of what leaks in a folder."""
    paths = paths or [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    return {(path.relative_to(folder).as_posix(), name) for path, name in leaks.leaks(paths, SECRETS, HINTS)}


# --- the student's edition


def test_nothing_leaks_into_the_students_edition(folder):
    assert found(folder) - set(OPEN) == set()


def test_every_secret_is_found_where_it_is():
    """In the full course: in the modules of exercises under its own names, and in the saved outputs of the checks."""
    modules = [path for family in student.families() for path in ([family] if family.suffix else family.glob("*.py"))]
    assert {name for _, name in found(ROOT, modules)} == {secret.name for secret in SECRETS}
    solutions = {f"{e.key} {e.solution.__name__}" for path in NOTEBOOKS for _, e in stubs(read(path))}
    assert solutions <= {name for _, name in found(ROOT, NOTEBOOKS)}


RENAMED = '''
def anything(a, b, c, d, e):
    """Other names, a docstring, and a comment."""
    import math  # unused
    c = e * c + b
    return a - d * c, c
'''


def in_a_cell(folder):
    path = folder / "notebooks/10_optimizers_by_hand.ipynb"
    notebook = read(path)
    notebook.cells.append(nbformat.v4.new_code_cell(f"x = 1\n{RENAMED}"))
    nbformat.write(notebook, path)
    return path


def in_an_output(folder):
    path = folder / "notebooks/10_optimizers_by_hand.ipynb"
    shutil.copy2(ROOT / "notebooks/10_optimizers_by_hand.ipynb", path)
    return path


def in_the_library(folder):
    path = folder / "compresslab/lesson/source.py"
    path.write_text(path.read_text() + RENAMED)
    return path


def in_a_record(folder):
    path = folder / "compresslab/lesson/records/10-momentum.json"
    data = json.loads(path.read_text())
    path.write_text(json.dumps(data | {"name": EXERCISES["10/momentum"].source()}))
    return path


def in_a_text(folder):
    path = folder / "README.md"
    path.write_text(f"{path.read_text()}\n```python\n{RENAMED}```\n")
    return path


@pytest.mark.parametrize("put_back", [in_a_cell, in_an_output, in_the_library, in_a_record, in_a_text])
def test_a_solution_that_is_put_back_is_found(folder, put_back, tmp_path):
    shutil.copytree(folder, tmp_path / "course")
    path = put_back(tmp_path / "course")
    assert "10/momentum momentum_step" in {name for _, name in found(tmp_path / "course", [path])}


def test_records_hold_numbers_and_the_sentences_of_the_checker(folder):
    for key, exercise in EXERCISES.items():
        data = json.loads((folder / f"compresslab/lesson/records/{key.replace('/', '-')}.json").read_text())
        assert set(data.pop("sentences")) == {mistake.sentence for mistake in exercise.mistakes}
        assert [data.pop("name"), *data.pop("parameters")] == [exercise.reference.name, *exercise.reference.parameters]
        kinds = {"float32", "float64", "int32", "int64", "uint8", "int8", "bool"}
        # "no network" is said of layers that do not fit together
        assert {text.replace("no network", "") for text in leaks.strings(data)} <= {*kinds, ""}


def test_a_trial_that_uses_a_solution_is_refused():
    source = """
def right(x): return x
first = Exercise(key="k", solution=right, trial=lambda fn: right(fn(1)))
ALL = [first]
"""
    with pytest.raises(ValueError, match="a trial must not use a solution, got right"):
        trimmed({"": source})


def test_a_solution_that_changes_its_arguments_is_refused():
    def shift(x):
        return x.add_(1)

    exercise = Exercise("k", "Shift", shift, lambda fn: fn(torch.ones(2)), lambda: torch.full((2,), 2.0))
    with pytest.raises(ValueError, match="k: the solution must leave its arguments alone"):
        record(exercise)


@pytest.fixture(scope="module")
def verdicts(folder, tmp_path_factory):
    """What the student's checks and the full ones say to the same answers."""
    command = [sys.executable, ROOT / "tests/notebooks/verdicts.py", ROOT]
    env = guarded(tmp_path_factory.mktemp("home"), folder)
    run = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    result = json.loads(run.stdout)
    assert result["library"] == str(folder)
    return result


@pytest.mark.timeout(600)
def test_the_students_checker_gives_the_same_verdicts_in_the_same_words(verdicts):
    assert len(verdicts["theirs"]) > 20 * len(EXERCISES)
    assert [pair for pair in zip(verdicts["theirs"], verdicts["ours"]) if pair[0] != pair[1]] == []


@pytest.mark.timeout(600)
def test_the_students_verdicts_are_right(verdicts):
    said = defaultdict(dict)
    for key, kind, status, sentence, _ in verdicts["theirs"]:
        said[key][kind] = status, sentence
    assert set(said) == set(EXERCISES)
    for key, exercise in EXERCISES.items():
        assert said[key]["stub"][0] == "todo" and said[key]["solution"][0] == "solved"
        assert said[key]["constant"][0] == "wrong"
        for mistake in exercise.mistakes:
            assert said[key][mistake.sentence] == ("wrong", mistake.sentence)


@pytest.mark.timeout(600)
def test_no_exercise_of_a_student_leads_to_its_solution(verdicts):
    assert verdicts["secrets"] == []


@pytest.mark.timeout(400)
@pytest.mark.parametrize("lesson", ["00_start_here", "40_numbers"])
def test_the_students_lessons_run(folder, lesson, tmp_path):
    assert not nbval(read(folder / f"notebooks/{lesson}.ipynb"), tmp_path, folder)["solved"]


def test_the_students_folder_is_whole(folder):
    """Its own set-up, all lessons, nothing for contributors or teachers, and no link to what is not there."""
    lessons = {path.name for path in NOTEBOOKS if path.stem in progress.LESSONS}
    assert {path.name for path in (folder / "notebooks").glob("*.ipynb")} == lessons
    readme, makefile = (folder / "README.md").read_text(), (folder / "Makefile").read_text()
    links = re.findall(r"\]\(([^)#:]+)\)", readme)
    assert links and [link for link in links if not (folder / link).exists()] == []
    assert "tests" not in makefile and not (folder / "tests").exists()
    assert re.findall(r"^([a-z]+):", makefile, re.MULTILINE) == ["help", "lab", "litert", "clean"]
    assert (folder / "binder/environment.yml").resolve() == folder / "environment.yml"


def test_the_students_reports_send_to_the_teacher(folder):
    for path in (folder / "notebooks").glob("*.ipynb"):
        told = [output.data for cell in code_cells(read(path)) for output in cell.outputs
                if REPORT.match(output.get("data", {}).get("text/html", ""))]  # fmt: skip
        assert len(told) == len(stubs(read(path)))
        assert all("Your teacher has the solution." in data["text/html"] for data in told)
        assert not any("Show the" in data["text/html"] or "source()" in data["text/plain"] for data in told)


# --- the teacher's edition


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_teachers_lessons_are_solved_and_say_so(path, tmp_path):
    notebook, before = teacher.taught(path), set(tmp_path.iterdir())
    nbformat.validate(notebook)
    for cell, exercise in stubs(notebook):
        assert exercise.source().rstrip() in cell.source and "NotImplementedError" not in cell.source
    text = json.dumps(notebook, ensure_ascii=False)
    assert "not attempted yet" not in text
    assert text.count("cl-solved") >= len(stubs(notebook))
    assert set(tmp_path.iterdir()) == before, "the teacher's own progress was touched"


@pytest.fixture(scope="module")
def key():
    return html.unescape("\n".join(map(teacher.key_of, NOTEBOOKS)))


def test_the_key_has_every_exercise(key):
    for path in NOTEBOOKS:
        for _, exercise in stubs(read(path)):
            wanted = [exercise.title, exercise.source().rstrip(), *exercise.hints]
            assert all(part in key for part in wanted + [mistake.sentence for mistake in exercise.mistakes])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_key_has_every_prediction_with_its_answer(path, key):
    answers = teacher.answers(read(path))
    assert tuple(answer.key for answer in answers) == progress.LESSONS[path.stem].predictions
    assert all(answer.question in key and answer.measured in key for answer in answers)
    assert [answer.key for answer in answers if not answer.measured] == []


def test_an_answer_is_read_from_the_saved_outputs():
    ask = nbformat.v4.new_code_cell('guess = lesson.predict("0/a", "How many?", low=0, high=9, unit="pears")\nguess')
    ask.outputs = [nbformat.v4.new_output("execute_result", data={"text/plain": "Predict. How many?"})]
    tell = nbformat.v4.new_code_cell("guess.measure(3)")
    tell.outputs = [
        nbformat.v4.new_output("display_data", data={"text/plain": "a picture"}),
        nbformat.v4.new_output("display_data", data={"text/plain": "No prediction locked. Measured: 3 pears. Why."}),
    ]
    answers = teacher.answers(nbformat.v4.new_notebook(cells=[ask, tell]))
    assert answers == [("0/a", "How many?", "0 to 9 pears", "3 pears. Why.")]
