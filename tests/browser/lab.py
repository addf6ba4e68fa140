"""A real JupyterLab in a real Chromium, cut off from the world.

As a command it runs notebooks and takes pictures of them, the quickest way to see what a reader sees:

    python tests/browser/lab.py notebooks/00_start_here.ipynb --theme dark --out build/screenshots
"""

import argparse
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
LOCAL = re.compile(r"(https?|wss?)://(127\.0\.0\.1|localhost)[:/]|data:|blob:|about:")
CHROMIUM_OPTIONS = """--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --hide-scrollbars""".split()
# anywidget says this of any widget that is not up after two seconds, as happens while a busy machine reads plotly's
# 5 MB; the widget comes up all the same, and the tests look at it.
SLOW = "[anywidget] Failed to initialize model."
# The figures in the window are as wide as their place.
FITTED = """() => [...document.querySelectorAll('.js-plotly-plot')].every(figure => {
    const {top, bottom} = figure.getBoundingClientRect();
    return bottom < 0 || top > innerHeight ||
        Math.abs(figure.querySelector('.main-svg')?.clientWidth - figure.clientWidth) < 2;
})"""
NOTEBOOK = "window.jupyterapp.shell.currentWidget"
IDLE = f"{NOTEBOOK}.sessionContext.session?.kernel?.status === 'idle'"


def chromium():
    """Path of the first Chromium on this machine, or None."""
    return next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)


@contextmanager
def server(root, theme="light"):
    """A JupyterLab server over the folder `root`, with a home of its own; gives its URL and token."""
    with tempfile.TemporaryDirectory(prefix="lab_", ignore_cleanup_errors=True) as name:
        home = Path(name)
        settings = {
            "@jupyterlab/apputils-extension/themes": {"theme": THEMES[theme]},
            "@jupyterlab/apputils-extension/notification": {
                "checkForUpdates": False, "doNotDisturbMode": True, "fetchNews": "false"},
            "@jupyterlab/notebook-extension/tracker": {"scrollPastEnd": False},  # else the last picture is empty
        }  # fmt: skip
        for plugin, values in settings.items():
            path = home / "settings" / f"{plugin}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values))
        folders = ["JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR",
                   "JUPYTERLAB_WORKSPACES_DIR", "COMPRESSLAB_HOME"]  # fmt: skip
        env = os.environ | {folder: str(home / folder.lower()) for folder in folders}
        env |= {"HOME": str(home), "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
                "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}  # fmt: skip
        token = secrets.token_hex(16)
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", "--ServerApp.port=0",
                   "--allow-root", f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={root}",
                   "--LabApp.expose_app_in_browser=True"]  # fmt: skip
        log = home / "server.log"
        with log.open("w") as out:
            process = subprocess.Popen(command, env=env, stdout=out, stderr=subprocess.STDOUT)
        try:
            yield wait_for_url(process, home / "jupyter_runtime_dir", log, token), token
        finally:
            process.send_signal(signal.SIGTERM)  # shuts the kernels down too; SIGINT would ask first
            process.wait(30)


def wait_for_url(process, runtime, log, token, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        for info in runtime.glob("jpserver-*.json"):
            try:
                url = json.loads(info.read_text())["url"].replace("localhost", "127.0.0.1")
                urllib.request.urlopen(f"{url}api/status?token={token}", timeout=2).read()
                return url
            except (ValueError, urllib.error.URLError, TimeoutError):
                pass  # half-written file, or not listening yet
        time.sleep(0.05)
    raise RuntimeError("JupyterLab did not start:\n" + log.read_text()[-3000:])


@contextmanager
def browser(theme="light", width=1280, height=900):
    """A page of a fresh Chromium. page.outside: refused requests; page.complaints: console errors."""
    from playwright.sync_api import sync_playwright

    def guard(route):
        url = route.request.url
        if LOCAL.match(url):
            return route.continue_()
        page.outside.append(url)
        route.abort()

    with sync_playwright() as playwright:
        chrome = playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_OPTIONS)
        context = chrome.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
        context.route("**/*", guard)
        page = context.new_page()
        page.outside, page.complaints = [], []
        page.on("console", lambda m: m.type == "error" and page.complaints.append(m.text))
        page.on("pageerror", lambda error: SLOW in str(error) or page.complaints.append(f"page error: {error}"))
        try:
            yield page
        finally:
            chrome.close()


def made(folder, cell):
    """A notebook of one cell, written into a folder; gives its path."""
    import nbformat

    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    cells = [nbformat.v4.new_code_cell(cell)]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, folder / "made.ipynb")
    return folder / "made.ipynb"


@contextmanager
def open_notebook(path, theme="light", **size):
    """Server, browser and a copy of one notebook's folder (Lab saves what it opens); nothing has run yet."""
    with tempfile.TemporaryDirectory(prefix="notebooks_") as folder:
        shutil.copytree(Path(path).resolve().parent, folder, dirs_exist_ok=True)
        with server(folder, theme) as (url, token), browser(theme, **size) as page:
            page.set_default_timeout(60_000)
            page.goto(f"{url}doc/tree/{Path(path).name}?token={token}", wait_until="domcontentloaded")
            wait_until_ready(page)
            yield page


def wait_until_ready(page):
    """Until the notebook is shown and its kernel idles."""
    page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.sessionContext")
    page.evaluate(
        f"""async () => {{
            const panel = {NOTEBOOK};
            await Promise.all([window.jupyterapp.restored, panel.context.ready, panel.revealed,
                               panel.sessionContext.ready]);
        }}"""
    )
    page.wait_for_function(IDLE)


def run_all(page, seconds=120):
    """Run every cell to the end; gives the errors found in the outputs, as text."""
    page.set_default_timeout(seconds * 1000)
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.set_default_timeout(60_000)
    return page.evaluate(
        f"""() => {NOTEBOOK}.content.widgets.filter(cell => cell.model.type === 'code')
            .flatMap(cell => cell.model.outputs.toJSON())
            .filter(output => output.output_type === 'error')
            .map(output => output.ename + ': ' + output.evalue)"""
    )


def settle(page, milliseconds=500):
    """Wait until the kernel idles, no plotly figure has changed for a while, and those in the window fit it."""
    sizes = "[...document.querySelectorAll('.js-plotly-plot')].map(plot => plot.innerHTML.length)"
    last = None
    while (now := page.evaluate(sizes)) != last:
        last = now
        page.wait_for_timeout(milliseconds)
        page.wait_for_function(IDLE)
    with suppress(Exception):  # a figure that never fits the page is for the audit to tell
        page.wait_for_function(FITTED, timeout=10_000)


def explorers(page):
    """The panels with a picture and controls that change it."""
    return page.locator(".cl-panel").filter(has=page.locator(".js-plotly-plot"))


def picture(panel):
    """What a plotly picture draws inside its axes: outlines, places and colours of all marks."""
    return panel.locator(".js-plotly-plot .overplot").evaluate_all(
        """plots => plots.flatMap(p => [...p.querySelectorAll('path, rect, image, text')]).map(mark =>
            ['d', 'transform', 'x', 'y', 'width', 'height', 'style', 'href']
            .map(key => mark.getAttribute(key)).join()).join('\\n')"""
    )


def moves(panel):
    """[(control, keys)] for every control of a panel; the keys lead there and back. A push button has only one way."""
    found = []
    for select in panel.locator("select").all():
        last = select.evaluate("box => box.selectedIndex === box.options.length - 1")
        found.append((select, ["ArrowUp", "ArrowDown"] if last else ["ArrowDown", "ArrowUp"]))
    found += [(box, ["Space", "Space"]) for box in panel.locator("input[type=checkbox]:enabled").all()]
    found += [(button, ["Space"]) for button in panel.locator("button.widget-toggle-button:not(.mod-active)").all()]
    found += [(handle, away(handle)) for handle in panel.locator(".noUi-handle").all()]
    return found + [(button, ["Enter"]) for button in panel.locator("button.widget-button:enabled").all()]


def away(handle):
    """The keys that move a slider by a step and back, away from the end it may stand at."""
    at_low_end = handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemin")
    return ["ArrowRight", "ArrowLeft"] if at_low_end else ["ArrowLeft", "ArrowRight"]


def wear(page, theme, width, height=8000):
    """Change the theme and the width of the window while the page stands; a high window takes fewer screens."""
    page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", THEMES[theme])
    light = str(theme == "light").lower()
    page.wait_for_function("light => document.body.dataset.jpThemeLight === light", arg=light)
    page.set_viewport_size({"width": width, "height": height})


def roll(page):
    """Go through the notebook, screen by screen; gives their numbers. What is out of sight does not fit itself."""
    scroller, count = page.locator(".jp-WindowedPanel-outer").first, 0
    scroller.evaluate("box => { box.scrollTop = 0 }")
    while True:
        settle(page, 200)
        yield count
        count += 1
        if scroller.evaluate("box => box.scrollTop + box.clientHeight >= box.scrollHeight - 1"):
            return
        scroller.evaluate("box => { box.scrollTop += box.clientHeight - 60 }")


def screens(page, folder, name):
    """Go through the notebook, screen by screen: a picture of each is saved, and its path given while it shows."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{name}_*.png"):
        old.unlink()
    for count in roll(page):
        path = folder / f"{name}_{count:02d}.png"
        page.screenshot(path=path)
        yield path


def main():
    parser = argparse.ArgumentParser(description="Run notebooks in JupyterLab and take pictures of them.")
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--theme", choices=[*THEMES, "both"], default="both")
    parser.add_argument("--out", type=Path, default=SCREENSHOTS)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=900)
    options = parser.parse_args()
    for path in options.notebooks:
        for theme in THEMES if options.theme == "both" else [options.theme]:
            with open_notebook(path, theme, width=options.width, height=options.height) as page:
                errors = run_all(page, seconds=600)
                troubles = {"cell": errors, "console": page.complaints, "outside": page.outside}
                pictures = list(screens(page, options.out, f"{path.stem}_{theme}"))
                print(f"{path.name} {theme}: {len(pictures)} pictures in {options.out}")
                for kind, texts in troubles.items():
                    for text in texts:
                        print(f"  {kind}: {text}")


if __name__ == "__main__":
    main()
