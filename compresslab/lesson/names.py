"""What ipywidgets leaves out of its controls for readers who hear the page or work it by keyboard."""

import anywidget
import traitlets


class Names(anywidget.AnyWidget):
    """Put into a panel: names it and its sliders, tells the sliders' values, frees their arrow keys, fits the picture.

    ipywidgets shows a slider's description without tying it to the handle, the handle of a logarithmic slider
    tells the exponent, and JupyterLab takes arrow keys for itself unless an element says otherwise.
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
    set(controls, "data-lm-suppress-shortcuts", "true");
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
