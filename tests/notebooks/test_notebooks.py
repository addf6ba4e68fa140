"""Every notebook runs, as shipped and solved, offline and within 1 GB; and its file is clean."""

import ast
import copy
import dis
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from notebooks.editions import NOTEBOOKS, ROOT, code_cells, fill, read, solved, stubs
from notebooks.refresh import BADGE, Cost, badge, peak_memory_mb

GUARD = Path(__file__).parent / "guard"
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def guarded(home, root=ROOT):
    """The environment of a process without network and with 2 GB of memory. root: where its library is."""
    folders = [str(GUARD), str(root), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, folders)), "COMPRESSLAB_HOME": str(home)}


# The guard's 2 GB stop a kernel that runs away; this last cell says what it held, in MB (Linux alone tells).
CAP = f"""
import re
from pathlib import Path
{inspect.getsource(peak_memory_mb)}
peak = peak_memory_mb("self")
assert peak < 1000, f"the kernel held {{peak:.0f}} MB"
"""


def capped(notebook):
    """With a last cell that fails where the kernel held 1 GB or more."""
    if sys.platform == "linux":
        notebook.cells.append(nbformat.v4.new_code_cell(CAP))
    return notebook


def nbval(notebook, folder, root=ROOT):
    """Run every cell, compare the outputs of those marked NBVAL_CHECK_OUTPUT; gives the progress file."""
    path, home = folder / "lesson.ipynb", folder / "home"
    nbformat.write(capped(notebook), path)
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", str(path.parent), str(path),
               "-q", "--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=120",
               "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=short"]  # fmt: skip
    run = subprocess.run(command, env=guarded(home, root), capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    progress = home / "progress.json"
    return json.loads(progress.read_text()) if progress.exists() else {"solved": {}}


@pytest.mark.timeout(400)
@each_notebook
def test_runs_as_shipped(path, tmp_path):
    assert not nbval(read(path), tmp_path)["solved"], "an unfilled stub counts as solved"


@pytest.mark.timeout(600)
@each_notebook
def test_runs_with_the_solutions_put_in_and_every_cell_run_twice(path, tmp_path):
    notebook = read(path)
    keys = {exercise.key for _, exercise in stubs(notebook)}
    assert set(nbval(doubled(solved(notebook)), tmp_path)["solved"]) == keys


def doubled(notebook):
    """Each code cell two times in a row, as an impatient reader runs it: no second mask, and the same outputs."""
    cells = []
    for cell in notebook.cells:
        cells.append(cell)
        if cell.cell_type == "code":
            cells.append(copy.deepcopy(cell))
            cells[-1].id = f"{cell.id}-again"
    notebook.cells = cells
    return notebook


@each_notebook
def test_exercises_are_those_of_the_progress_board(path):
    from compresslab.lesson import progress

    assert tuple(exercise.key for _, exercise in stubs(read(path))) == progress.LESSONS[path.stem].exercises


def in_guard(code, tmp_path):
    return subprocess.run([sys.executable, "-c", code], env=guarded(tmp_path), capture_output=True, text=True)


@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)",  # RFC 5737: for examples
        "import urllib.request; urllib.request.urlopen('https://example.org', timeout=1)",
        "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'', ('192.0.2.1', 53))",
    ],
)
def test_guard_refuses_the_network(code, tmp_path):
    assert "the network is off in this test" in in_guard(code, tmp_path).stderr


@pytest.mark.needs("linux")
def test_guard_refuses_three_gigabytes_but_not_one(tmp_path):
    ones = "import torch; torch.ones({} << 28); print('allocated')"
    assert "allocated" in in_guard(ones.format(1), tmp_path).stdout
    assert "can't allocate memory" in in_guard(ones.format(3), tmp_path).stderr


def test_fill_keeps_what_stands_around_the_stub():
    source = "import math\n\ndef mine(path):\n    raise NotImplementedError\n\nprint(mine(1))"
    filled = fill(source, read)
    assert filled.startswith("import math\n\ndef read(path):")
    assert filled.endswith("mine = read\n\nprint(mine(1))")


# --- hygiene: each rule gives the complaints about one notebook


def outputs(notebook):
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def text_of(output):
    return output.get("text", "") + json.dumps(output.get("data", {}))


def no_errors(notebook):
    return [output.ename for output in outputs(notebook) if output.output_type == "error"]


def no_javascript(notebook):
    wrong = re.compile(r"<script|application/javascript|javascript:", re.I)
    return [text_of(output)[:80] for output in outputs(notebook) if wrong.search(text_of(output))]


def no_widget_state(notebook):
    views = ["a widget's view" for output in outputs(notebook) if "widget-view+json" in text_of(output)]
    return views + (["saved widget state"] if "widgets" in notebook.metadata else [])


def no_absolute_paths(notebook):
    wrong = re.compile(r"(?<![\w:/.])(/(home|root|tmp|Users|work|usr|opt|mnt)/|[A-Z]:\\\\)")
    texts = [cell.source for cell in notebook.cells]
    texts += [re.sub(r'"image/png": "[^"]*"', "", text_of(output)) for output in outputs(notebook)]
    return [match.group() for text in texts for match in wrong.finditer(text)]


def images_have_alternative_text(notebook):
    bare = ["an output" for output in outputs(notebook) for kind in output.get("data", {})
            if kind.startswith("image/") and not output.metadata.get(kind, {}).get("alt")]  # fmt: skip
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            bare += re.findall(r"!\[\s*\]\([^)]*\)", cell.source)
            bare += re.findall(r"<img(?![^>]*alt=[\"'][^\"'])[^>]*>", cell.source)
    return bare


def is_numbers(node, least=2):
    numbers = [item for item in getattr(node, "elts", []) if isinstance(item, ast.Constant | ast.UnaryOp)]
    return isinstance(node, ast.List | ast.Tuple) and len(numbers) >= least


def no_drawn_numbers(notebook):
    """Nothing plotted stands in a cell as numbers: no y=[1, 2, 3], and no long list of numbers at all."""
    plotted, wrong = {"x", "y", "z", "values", "r", "theta"}, []
    for cell in code_cells(notebook):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.keyword) and node.arg in plotted and is_numbers(node.value):
                wrong.append(ast.unparse(node.value))
            if is_numbers(node, least=10):
                wrong.append(ast.unparse(node))
    return wrong


def cells_are_short(notebook):
    return [cell.source[:60] for cell in code_cells(notebook) if cell.source.count("\n") >= 30]


def cells_have_ids(notebook):
    ids = [cell.get("id") for cell in notebook.cells]
    return [] if None not in ids and len(set(ids)) == len(ids) else ["an id is missing or there twice"]


def ran_in_order(notebook):
    counts = [cell.execution_count for cell in code_cells(notebook)]
    return [] if counts == [*range(1, len(counts) + 1)] else [counts]


def no_timestamps(notebook):
    return [cell.id for cell in notebook.cells if "execution" in cell.metadata]


def badge_keeps_the_promise(notebook):
    """A minute and 1 GB at most, as measured when the notebook was last refreshed, and as refresh.py writes it."""
    line = BADGE.search(notebook.cells[0].source)
    numbers = [int(number) for number in re.findall(r"\d+", line.group())] if line else []
    written = len(numbers) == 2 and line.group() == badge(Cost(*numbers))
    return [] if written and numbers[0] <= 60 and numbers[1] <= 1000 else [line and line.group()]


def names(code):
    """The global names that a cell's code reads before it binds them, and those that it binds.

    The order is that of its bytecode. What a function reads counts where the function is made.
    """
    reads, binds = {}, {}
    for step in dis.get_instructions(code):
        if inspect.iscode(step.argval):  # a function, a class or a comprehension: most of what it binds is its own
            inner, bound = names(step.argval)
            reads |= {name: True for name in inner if name not in binds}
            binds |= {name: how for name, how in bound.items() if how == "STORE_GLOBAL"}
        elif step.opname in ("LOAD_NAME", "LOAD_GLOBAL") and step.argval not in binds:
            reads[step.argval] = True
        elif step.opname in ("STORE_NAME", "STORE_GLOBAL"):
            binds[step.argval] = step.opname
    return reads, binds


def names_keep_their_meaning(notebook):
    """No cell reads a name bound before it that a later cell binds anew: run again, it would show another thing."""
    cells, wrong = [(cell.source[:40], *names(compile(cell.source, "", "exec"))) for cell in code_cells(notebook)], []
    for i, (words, reads, _) in enumerate(cells):
        for name in reads:
            later = [other for other, _, binds in cells[i + 1 :] if name in binds]
            if later and any(name in binds for _, _, binds in cells[:i]):
                wrong.append(f"cell {words!r}: {name} is another thing after {later[0]!r}")
    return wrong


RULES = [
    no_errors,
    no_javascript,
    no_widget_state,
    no_absolute_paths,
    images_have_alternative_text,
    no_drawn_numbers,
    cells_are_short,
    cells_have_ids,
    ran_in_order,
    no_timestamps,
    badge_keeps_the_promise,
    names_keep_their_meaning,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@each_notebook
def test_hygiene(path, rule):
    assert rule(read(path)) == []


@each_notebook
def test_file_is_small(path):
    assert path.stat().st_size < 600_000


def dirty():
    """One notebook that breaks every rule."""
    v4 = nbformat.v4
    plot = "import plotly.graph_objects as go\ngo.Figure(go.Scatter(y=[1, 2, 3]))" + "\n" * 30
    bad = v4.new_code_cell(plot, execution_count=7, metadata={"execution": {"iopub.execute_input": "2026"}})
    bad.outputs = [
        v4.new_output("error", ename="ValueError", evalue="", traceback=[]),
        v4.new_output("display_data", data={"text/html": "<script>alert(1)</script>"}),
        v4.new_output("display_data", data={"application/vnd.jupyter.widget-view+json": {"model_id": "1"}}),
        v4.new_output("display_data", data={"image/png": "AAAA"}),
        v4.new_output("stream", text="saved in /home/ada/model.pt"),
    ]
    renamed = [v4.new_code_cell(source) for source in ("x = 1", "print(x)", "x = 2")]
    notebook = v4.new_notebook(cells=[v4.new_markdown_cell("# A title without a badge"), bad, *renamed])
    notebook.cells[1].id = notebook.cells[0].id
    return notebook


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_rule_can_fail(rule):
    assert rule(dirty()) != []


@pytest.mark.parametrize("reads", ["x", "def f():\n    return x", "[x for _ in '12']", "x = x + 1", "x += 1", "f'{x}'"])
@pytest.mark.parametrize("binds", ["x = 2", "for x in '12': ...", "def x(): ...", "import x", "[x := y for y in '12']"])
def test_a_name_that_a_later_cell_takes_over_is_found(reads, binds):
    complaints = names_keep_their_meaning(of_code("x = 1", reads, binds))
    assert complaints == [f"cell {reads!r}: x is another thing after {binds!r}"]


@pytest.mark.parametrize(
    "sources",
    [
        ("x = 1", "x = 2\nprint(x)", "x = 3"),  # bound in the same cell first
        ("x = 1", "def f(x):\n    return x", "x = 2"),  # a function's own
        ("x = 1", "print(x)", "def f():\n    x = 2", "[x for x in '12']"),
        ("x = 1", "x = 2\nprint([x for _ in '12'])", "x = 3"),
        ("x = 1", "class A:\n    x = 2\n    y = x", "x = 3"),
        ("x = 1", "print(x)", "class A:\n    x = 2"),
        ("x = 1", "x = 2", "print(x)"),  # the last one stays
        ("def f():\n    return x", "x = 1"),  # there was no other x
    ],
)
def test_a_name_that_stays_or_is_local_is_no_complaint(sources):
    assert names_keep_their_meaning(of_code(*sources)) == []


def of_code(*sources):
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])


@pytest.mark.parametrize("cost", [Cost(61, 500), Cost(30, 1001)])
def test_badge_of_a_costly_notebook_is_refused(cost):
    assert badge_keeps_the_promise(titled(badge(cost))) != []


def test_badge_written_by_hand_is_refused():
    assert badge_keeps_the_promise(titled(badge(Cost(11, 402)))) == []
    assert badge_keeps_the_promise(titled(badge(Cost(11, 402)).replace("15 s", "12 s"))) != []


def titled(line):
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(f"# A title\n\n{line}")])


def test_the_whole_series_keeps_ten_minutes():
    badges = [BADGE.search(read(path).cells[0].source) for path in NOTEBOOKS]
    assert sum(int(re.search(r"\d+", line.group())[0]) for line in badges) <= 600
