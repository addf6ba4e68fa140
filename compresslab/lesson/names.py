"""What ipywidgets leaves out of its controls for readers who hear the page or work it by keyboard."""

from functools import cache

import anywidget
import traitlets


class _Keys(anywidget.AnyWidget):
    _esm = """
export default { initialize() {
  document.addEventListener("focusin", ({target}) => {
    if (target.closest(".cl-panel, details")) target.setAttribute("data-lm-suppress-shortcuts", "true");
  });
} }"""


@cache
def free_keys() -> _Keys:
    """Give panels and things to unfold their keys back, once a kernel.

    JupyterLab takes arrows, Enter and Space for its cells, from whatever has the focus, unless it says otherwise
    itself; that something around it says so is not enough.
    """
    return _Keys()


class Names(anywidget.AnyWidget):
    """Put into a panel: names it and its sliders, tells the sliders' values, fits the picture.

    ipywidgets shows a slider's description without tying it to the handle, and the handle of a logarithmic slider
    tells the exponent.
    """

    _esm = """
const set = (el, key, value) => { if (value && el.getAttribute(key) !== value) el.setAttribute(key, value); };
const name = controls => {
  for (const slider of controls.querySelectorAll(".widget-slider")) {
    const label = slider.querySelector(".widget-label")?.textContent;
    const readout = slider.querySelector(".widget-readout");
    if (readout?.isContentEditable) {
      set(readout, "role", "textbox");
      set(readout, "aria-label", label + ", as a number");
    }
    for (const handle of slider.querySelectorAll(".noUi-handle")) {
      set(handle, "aria-label", label);
      set(handle, "aria-valuetext", readout?.textContent);
    }
  }
};
export default { render({model, el, signal}) {
  el.style.display = "none";
  const start = () => {
    if (signal?.aborted) return;
    const panel = el.closest(".cl-panel"), controls = panel?.querySelector(".cl-controls");
    if (!controls) return setTimeout(start, 50);
    set(panel, "role", "group");
    set(panel, "aria-label", model.get("label"));
    for (const live of panel.querySelectorAll(".cl-live")) set(live, "aria-live", "polite");
    name(controls);
    const watch = new MutationObserver(() => name(controls));
    watch.observe(controls, {childList: true, subtree: true, characterData: true});
    // plotly draws its first picture 700 pixels wide; it fits it to the page when the window changes
    const fit = () => window.dispatchEvent(new Event("resize"));
    const drawn = event => { if (panel.contains(event.detail.element)) fit(); };
    document.addEventListener("plotlywidget-after-render", drawn, {signal});
    new ResizeObserver(fit).observe(panel);
  };
  start();
} }"""
    label = traitlets.Unicode().tag(sync=True)

    def __init__(self, **kwargs):
        free_keys()
        super().__init__(**kwargs)
