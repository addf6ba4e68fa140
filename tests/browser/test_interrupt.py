"""The bar's promise: an interrupt from the toolbar stops a training and keeps what is done."""

import re

import nbformat
import pytest
from browser.lab import NOTEBOOK, open_notebook

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.timeout(120), pytest.mark.xdist_group("interrupt")]

CELL = """
from compresslab import data, models, training
history = training.fit(models.mlp(seed=0), data.load("digits"), epochs=100_000, progress=True)
print("kept", 0 < len(history) < 100_000)
"""
PYTHON = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}


def test_an_interrupt_keeps_what_is_done(tmp_path):
    path = tmp_path / "long.ipynb"
    cells = [nbformat.v4.new_code_cell(CELL)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=PYTHON), path)
    with open_notebook(path) as page:
        page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")  # no waiting
        page.get_by_text("■ stops and keeps what is done").wait_for()
        page.get_by_text(re.compile(r"[1-9]\d*/100000")).wait_for()  # an epoch is done
        page.evaluate("window.jupyterapp.commands.execute('notebook:interrupt-kernel')")
        outputs = f"{NOTEBOOK}.content.widgets[0].model.outputs.toJSON()"
        page.wait_for_function(f"{outputs}.some(o => (o.text ?? '').includes('kept'))")
        texts = [output.get("text", "") for output in page.evaluate(outputs)]
        assert any("kept True" in text for text in texts), texts
        assert any("epochs are done and kept" in text for text in texts), texts
