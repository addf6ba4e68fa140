"""`compresslab.report` with a Start and a Stop button: the work runs beside the notebook, not in a cell.

While a cell runs the kernel does not hear buttons. So here a thread works, and the cell is over at once.
"""

import threading

import ipywidgets as widgets

from ..lesson.figure import alert, paragraph
from ..lesson.names import Names
from .report import report
from .result import Report


class ReportPanel(widgets.VBox):
    """The panel that `report_panel` makes. report: the Report so far, None before the first start."""

    def __init__(self, make):
        self.report: Report | None = None
        self._make, self._stop, self._thread = make, threading.Event(), None
        self.start_button = widgets.Button(description="Start the report", layout=dict(width="max-content"))
        self.stop_button = widgets.Button(description="Stop and keep what is done", layout=dict(width="max-content"))
        self.stop_button.disabled = True
        self.start_button.on_click(lambda _: self.start())
        self.stop_button.on_click(lambda _: self.stop())
        self.bar = widgets.FloatProgress(0, min=0, max=1, description="Done", style=dict(description_width="initial"))
        self.line, self.page, self.alert = widgets.HTML().add_class("cl-live"), widgets.HTML(), widgets.HTML()
        row = widgets.Box([self.start_button, self.stop_button, self.bar]).add_class("cl-controls")
        super().__init__([row, self.line, self.alert, self.page, Names(label="Report on your own model")])
        self.add_class("cl-panel")
        self._say("Not started yet.")

    def start(self) -> None:
        """Begin; nothing happens while it is at work."""
        if self._thread is not None and self._thread.is_alive():
            return
        self._stop.clear()
        self.report = None
        self.alert.value = self.page.value = ""
        self.bar.value = 0
        self._say("At work: checking the model.")
        self.start_button.disabled, self.stop_button.disabled = True, False
        self._thread = threading.Thread(target=self._work, name="compresslab report", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask it to stop: it does at the next step, and keeps what is done."""
        if not self.stop_button.disabled:
            self.stop_button.disabled = True
            self._say("Stopping after this step.")
            self._stop.set()

    def wait(self, timeout: float | None = None) -> Report | None:
        """Block until it is done, at most `timeout` seconds; gives the report. An interrupt (■) stops the work."""
        if self._thread is not None:
            try:
                self._thread.join(timeout)
            except KeyboardInterrupt:
                self.stop()
                self._thread.join()
        return self.report

    def _work(self) -> None:
        try:
            self._show(1, "", self._make(progress=self._show, stop=self._stop))
            self._say("Stopped: what was done is below." if self._stop.is_set() else "Done.")
        except Exception as error:
            self._say("Not done.")
            self.alert.value = alert(error)
        self.start_button.description = "Start again"
        self.start_button.disabled, self.stop_button.disabled = False, True

    def _show(self, share: float, words: str, found: Report) -> None:
        self.bar.value = share
        if words and not self._stop.is_set():
            self._say(f"At work: {words}.")
        if found is not self.report:
            self.report = found
            self.page.value = found._repr_html_()

    def _say(self, sentence: str) -> None:
        self.line.value = paragraph(sentence).replace("<p ", '<p role="status" ', 1)

    def _repr_mimebundle_(self, **kwargs):
        data = super()._repr_mimebundle_(**kwargs)
        data["text/plain"] = "A panel with the buttons Start and Stop for compresslab.report."
        return data


def report_panel(model, example_inputs, train=None, val=None, test=None, **settings) -> ReportPanel:
    """`compresslab.report` with buttons, progress in words, and a page that grows part by part; same arguments.

    panel.start() and panel.stop() do what the buttons do, panel.wait() blocks until it is done and gives the Report,
    panel.report is the Report so far. Do not change the model or draw torch's random numbers in other cells meanwhile:
    the generator is put back at the end as it was at the start.
    """

    def make(**also) -> Report:
        return report(model, example_inputs, train, val, test, **settings, **also)

    return ReportPanel(make)
