"""What a reader can stop: an interrupt from the toolbar, and a report's own Stop button; what is done is kept."""

import re

import pytest
from browser.lab import NOTEBOOK, made, open_notebook, run_all

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.timeout(120), pytest.mark.xdist_group("interrupt")]

CELL = """
from compresslab import data, models, training
history = training.fit(models.mlp(seed=0), data.load("digits"), epochs=100_000, progress=True)
print("kept", 0 < len(history) < 100_000)
"""

REPORT = """
import compresslab
from compresslab import data, models
digits = data.load("digits")
compresslab.report_panel(models.mlp(seed=0), digits.train.x[:64], digits.train, digits.val, epochs=100_000)
"""


def test_the_buttons_of_a_report_start_and_stop_it(tmp_path):
    with open_notebook(made(tmp_path, REPORT)) as page:
        assert run_all(page) == []
        page.get_by_role("button", name="Start the report").click()
        page.get_by_text("At work: cut, retrained: training.").wait_for()  # it would train for hours
        page.get_by_role("button", name="Stop and keep what is done").click()
        page.get_by_text("Stopped: what was done is below.").wait_for()
        page.get_by_text("Stopped before the end").first.wait_for()  # the page says so, and has the parts before
        assert page.get_by_role("button", name="Start again").is_enabled()
        assert page.complaints == []


def test_an_interrupt_keeps_what_is_done(tmp_path):
    with open_notebook(made(tmp_path, CELL)) as page:
        page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")  # no waiting
        page.get_by_text("■ stops and keeps what is done").wait_for()
        page.get_by_text(re.compile(r"[1-9]\d*/100000")).wait_for()  # an epoch is done
        page.evaluate("window.jupyterapp.commands.execute('notebook:interrupt-kernel')")
        outputs = f"{NOTEBOOK}.content.widgets[0].model.outputs.toJSON()"
        page.wait_for_function(f"{outputs}.some(o => (o.text ?? '').includes('kept'))")
        texts = [output.get("text", "") for output in page.evaluate(outputs)]
        assert any("kept True" in text for text in texts), texts
        assert any("epochs are done and kept" in text for text in texts), texts
