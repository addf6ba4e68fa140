"""`make teacher`: the lessons with their solutions, and an answer key as one page that prints."""

import argparse
import ast
import html
import os
import shutil
import tempfile
from typing import NamedTuple

import nbformat
from notebooks.editions import NOTEBOOKS, ROOT, code_cells, read, retold, solved, stubs
from notebooks.refresh import clean, execute

from compresslab.lesson import board, progress

HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>compresslab: answer key</title>
<style>
body { max-width: 46rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; }
pre { white-space: pre-wrap; border-left: 3px solid #777; padding-left: 0.8rem; font-size: 0.85rem; }
h1, h2, h3, h4, dt { break-after: avoid; } pre, li, dd { break-inside: avoid; }
dt { font-weight: 600; margin-top: 1rem; } dd { margin-left: 1.2rem; }
@media print { h2 { break-before: page; } body { font-size: 10pt; margin: 0; max-width: none; } }
</style>
</head>
<body>
<h1>Answer key</h1>
<p>Of each lesson the exercises with their solution, their hints and the mistakes that the checker names; then the
predictions, with the answer that was measured when the lesson was saved. Times and their ratios differ between
machines. The student's edition holds none of these solutions. The library's own functions are the subject of the
course and stay there, and some of them compute the same.</p>
"""


class Answer(NamedTuple):
    """A prediction: its question, what could be chosen, and what the saved notebook measured."""

    key: str
    question: str
    choice: str
    measured: str


def answers(notebook):
    """All predictions of a notebook, from its cells `guess = lesson.predict(...)` and `guess.measure(...)`."""
    asked, measured = {}, {}
    for cell in code_cells(notebook):
        told = [text for text in map(_text, cell.outputs) if text.startswith("No prediction locked. Measured: ")]
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("lesson.predict("):
                asked[ast.unparse(node.targets[0])] = node.value, cell
            elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "measure":
                if told and ast.unparse(node.func.value) in asked:
                    measured[ast.unparse(node.func.value)] = told.pop(0).partition("Measured: ")[2]
    return [_answer(call, cell, measured.get(name, "")) for name, (call, cell) in asked.items()]


def _text(output):
    return output.get("data", {}).get("text/plain", "")


def _answer(call, cell, measured):
    """From the call of `lesson.predict` and the cell's saved output, which has the question as it was asked."""
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    asked = [text.removeprefix("Predict. ") for text in map(_text, cell.outputs) if text.startswith("Predict. ")]
    if "options" in named:
        options = named["options"]
        choice = " / ".join(ast.literal_eval(options)) if isinstance(options, (ast.List, ast.Tuple)) else ""
    else:
        ends = " to ".join(ast.unparse(named[end]) for end in ("low", "high"))
        choice = f"{ends} {ast.literal_eval(named['unit']) if 'unit' in named else ''}".strip()
    return Answer(ast.literal_eval(call.args[0]), "".join(asked), choice, measured)


def key_of(path):
    """The part of the answer key about one lesson, as HTML."""
    notebook, number = read(path), path.stem.split("_")[0]
    parts = [f"<h2>{number} {html.escape(progress.LESSONS[path.stem].title)}</h2>", "<h3>Exercises</h3>"]
    for _, exercise in stubs(notebook):
        sentences = dict.fromkeys(mistake.sentence for mistake in exercise.mistakes)
        parts += [
            f"<h4>{html.escape(exercise.title)} ({exercise.key})</h4>",
            f"<pre><code>{html.escape(exercise.source().rstrip())}</code></pre>",
            "<p>Hints:</p>" + _list("ol", exercise.hints),
            "<p>Mistakes that the checker names:</p>" + _list("ul", sentences),
        ]
    parts += ["<h3>Predictions</h3>", "<dl>"]
    for answer in answers(notebook):
        choice = f" ({html.escape(answer.choice)})" if answer.choice else ""
        parts.append(f"<dt>{html.escape(answer.question)}{choice}</dt><dd>{html.escape(answer.measured)}</dd>")
    return "\n".join([*parts, "</dl>"])


def _list(kind, items):
    return f"<{kind}>{''.join(f'<li>{html.escape(item)}</li>' for item in items)}</{kind}>"


def taught(path, run=False):
    """A notebook with its solutions; reports and board tell so. run: run all of it instead of keeping the outputs."""
    notebook = read(path)
    kept = os.environ.get("COMPRESSLAB_HOME")
    with tempfile.TemporaryDirectory() as home:
        os.environ["COMPRESSLAB_HOME"] = home  # the teacher's own progress stays as it is
        try:
            reports = {exercise.key: exercise.check(exercise.solution) for _, exercise in stubs(notebook)}
            retold(notebook, lambda exercise: reports[exercise.key], board())
        finally:
            os.environ.pop("COMPRESSLAB_HOME") if kept is None else os.environ.update(COMPRESSLAB_HOME=kept)
    solved(notebook)
    if run:
        execute(notebook, path.parent, COMPRESSLAB_STATIC="1")
        clean(notebook)
    return notebook


def build(folder, run=False):
    """The teacher's edition in `folder`, which is made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "notebooks/images", folder / "notebooks/images")
    lessons = [path for path in NOTEBOOKS if path.stem in progress.LESSONS]
    for path in lessons:
        nbformat.write(taught(path, run), folder / "notebooks" / path.name)
    key = "\n".join([HEAD, *map(key_of, lessons), "</body>", "</html>", ""])
    (folder / "answers.html").write_text(key, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Build the lessons with their solutions, and an answer key.")
    parser.add_argument("--run", action="store_true", help="run every lesson instead of keeping its saved outputs")
    build(ROOT / "build/teacher", parser.parse_args().run)
    print("The teacher's edition is in build/teacher: notebooks/ and answers.html")
