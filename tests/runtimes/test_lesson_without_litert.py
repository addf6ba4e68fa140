"""Lesson 61 where LiteRT's converter is missing, as on Binder: it says so and goes on with ONNX Runtime alone."""

import nbformat
import pytest
from notebooks.editions import ROOT, code_cells
from notebooks.refresh import execute

HIDE = """
from pathlib import Path
from compresslab.runtimes import litert_converter
litert_converter.FOLDER = Path("nowhere")
"""


@pytest.mark.timeout(300)
def test_the_lesson_says_what_is_missing_and_runs_to_its_end():
    notebook = nbformat.read(ROOT / "notebooks/61_deployment.ipynb", as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(HIDE))
    execute(notebook, ROOT / "notebooks")  # an error in a cell would be raised here
    told = "\n".join(output.get("text", "") for cell in code_cells(notebook) for output in cell.outputs)
    assert told.count("LiteRT's converter is not installed: python -m compresslab.runtimes.litert_converter") == 2
    tables = [output.data["text/plain"] for cell in code_cells(notebook) for output in cell.outputs if "data" in output]
    assert any("ONNX static int8" in text for text in tables) and not any("LiteRT static" in text for text in tables)
