"""`make notebooks`: run and measure every notebook; save it clean, with outputs, pictures and badge."""

import argparse
import inspect
import json
import math
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from notebooks import prose

BADGE = re.compile(r"<!-- badge -->.*?<!-- /badge -->", re.DOTALL)
KEPT = ["text/html", "text/plain", "text/markdown", "text/latex", "image/png", "image/svg+xml"]
WORKING = re.compile(r"\d+% ?\||^\w+\(.*\)$", re.DOTALL)  # a progress bar, or the bare repr of a widget


class Cost(NamedTuple):
    seconds: float  # wall time with the start of the kernel
    memory_mb: float  # peak resident memory of the kernel


def execute(notebook, folder, **env):
    """Run all cells in a fresh kernel with a home of its own, filling in the outputs; gives the Cost."""
    with tempfile.TemporaryDirectory() as home:
        client = NotebookClient(
            notebook,
            timeout=300,
            record_timing=False,
            coalesce_streams=True,
            extra_arguments=["--log-level=ERROR"],
            resources={"metadata": {"path": str(folder)}},
        )
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        env = os.environ | {"COMPRESSLAB_HOME": home, "PYTHONPATH": path} | env
        start = time.perf_counter()
        with client.setup_kernel(env=env):
            for index, cell in enumerate(notebook.cells):
                client.execute_cell(cell, index)
            cost = Cost(time.perf_counter() - start, peak_memory_mb(client.km.provisioner.pid))
            if "COMPRESSLAB_STATIC" in env:
                move_panels(client)
            return cost


def move_panels(client):
    """Move each panel as the text under it asks (see prose.py); that cell keeps in its metadata what the panel says."""
    cells = client.nb.cells
    for panel, text in list(zip(cells, cells[1:])):
        moves = prose.moves(text.source) if text.cell_type == "markdown" else []
        if moves:
            code = f"import json\n{inspect.getsource(prose.said)}\n"
            code += f"print(json.dumps(list(said(Out[{panel.execution_count}], {moves}))))"
            cells.append(nbformat.v4.new_code_cell(code))
            said = client.execute_cell(cells[-1], len(cells) - 1).outputs[-1].text
            del cells[-1]
            text.metadata["compresslab"] = {"moved": json.loads(said)}


def peak_memory_mb(pid):
    """Peak resident memory of a process so far (Linux)."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]) * 1024 / 1e6


def badge(cost):
    """The line under the title, rounded up to 5 s and 50 MB.

    >>> print(badge(Cost(seconds=11.2, memory_mb=402)))
    <!-- badge -->
    <BLANKLINE>
    **Runs in** about 15 s and 450 MB (measured on two cores, no GPU).
    <BLANKLINE>
    <!-- /badge -->
    """
    seconds, memory = math.ceil(cost.seconds / 5) * 5, math.ceil(cost.memory_mb / 50) * 50
    text = f"**Runs in** about {seconds} s and {memory} MB (measured on two cores, no GPU)."
    return f"<!-- badge -->\n\n{text}\n\n<!-- /badge -->"  # the empty lines let the text be Markdown


def clean(notebook):
    """Keep what a reader sees without a kernel, and nothing that changes from run to run; in place."""
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
                         "language_info": {"name": "python"}}  # fmt: skip
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in map(static, cell.outputs) if output]


def static(output):
    """An output without live parts, or None where nothing is left."""
    if output.output_type == "stream" and output.name == "stderr" and WORKING.search(output.text):
        return None
    if "data" in output:
        live = "application/vnd.jupyter.widget-view+json" in output.data
        kept = {kind: output.data[kind] for kind in KEPT if kind in output.data}
        output.data = {kind: text for kind, text in kept.items() if "<script" not in text}
        if live and set(output.data) <= {"text/plain"} and WORKING.search(output.data.get("text/plain", "")):
            return None
        output.metadata = {kind: value for kind, value in output.metadata.items() if kind in output.data}
    return output if "data" not in output or output.data else None


def refresh(path):
    """Measure one notebook as a reader runs it, run it again for its static pictures, and save it."""
    notebook = nbformat.read(path, as_version=4)
    cost = execute(notebook, path.parent)
    execute(notebook, path.parent, COMPRESSLAB_STATIC="1")
    clean(notebook)
    title = notebook.cells[0]
    if not BADGE.search(title.source):
        raise SystemExit(f"{path.name}: the first cell needs a line <!-- badge --><!-- /badge -->")
    title.source = BADGE.sub(badge(cost), title.source)
    nbformat.validate(notebook)
    part = path.with_suffix(".part")
    nbformat.write(notebook, part)
    part.replace(path)
    size = path.stat().st_size / 1000
    print(f"{path.name}: {cost.seconds:.1f} s, {cost.memory_mb:.0f} MB, file {size:.0f} kB")
    for complaint in prose.complaints(notebook, path.name):
        print(f"  {complaint}")


def main():
    parser = argparse.ArgumentParser(description="Run notebooks; save them with fresh outputs and badges.")
    every = sorted((ROOT / "notebooks").glob("*.ipynb"))
    parser.add_argument("notebooks", nargs="*", type=Path, default=every)
    for path in parser.parse_args().notebooks:
        refresh(path)


if __name__ == "__main__":
    main()
