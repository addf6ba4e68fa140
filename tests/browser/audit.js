// What a reader would stumble over on a page of JupyterLab. Each function gives sentences, one for each fault.
window.audit = (() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const box = el => el.getBoundingClientRect();
  const shown = el => el.checkVisibility({visibilityProperty: true, opacityProperty: true});
  const seen = el => box(el).top + box(el).bottom > 0 && box(el).top + box(el).bottom < 2 * innerHeight;
  const words = el => (el.textContent || el.ariaLabel || el.className).trim().replace(/\s+/g, " ").slice(0, 60);
  const FIGURE = ".js-plotly-plot", OUTPUT = ".jp-OutputArea-output", PANEL = ".cl-panel";
  const figures = () => all(FIGURE);
  const MARKS = ".overplot :is(path, rect, image, text), .cartesianlayer .trace :is(path, rect, image, text)";
  const CONTROLS = ":is(input, select, button, summary, .noUi-handle, [contenteditable=true])";

  // Outputs without height, figures without marks, panels without controls, widgets that never came up, errors.
  function blank() {
    const empty = all(OUTPUT).filter(shown).filter(output => box(output).height < 4);  // a closed progress bar is hidden
    const dead = all(PANEL).filter(panel => !all(CONTROLS, panel).some(shown));
    const lost = all(OUTPUT).filter(output => /Error displaying widget|Loading widget|Error creating/.test(output.innerText));
    const wrong = all(".cl-alert").filter(shown).filter(el => el.textContent.trim());
    return [...empty.map(el => `output without height: ${el.outerHTML.slice(0, 120)}`),
            ...figures().flatMap(bare),
            ...dead.map(el => `panel without controls: ${words(el)}`),
            ...lost.map(el => `widget that did not come up: ${words(el)}`),
            ...wrong.map(el => `error in a panel: ${words(el)}`)];
  }

  // A figure without marks, or its subplots that hold neither a mark nor an annotation.
  function bare(figure) {
    if (figure.querySelector(".parcoords")) return [];  // drawn on a canvas
    const marks = root => all(MARKS, root).map(box).filter(mark => mark.width || mark.height);
    if (!marks(figure).length) return [`figure without marks: ${words(figure)}`];
    const notes = all(".annotation text", figure).filter(text => text.textContent.trim()).map(box).map(middle);
    const filled = area => [...notes, ...all(`.subplot.${area.dataset.subplot}`, figure).flatMap(marks)]
      .some(mark => touch(mark, box(area)));
    return all(".draglayer .nsewdrag", figure).filter(area => !filled(area))
      .map(area => `subplot without marks: ${area.dataset.subplot} of ${words(figure)}`);
  }

  function middle({left, right, top, bottom}) {
    const x = (left + right) / 2, y = (top + bottom) / 2;
    return {left: x, right: x, top: y, bottom: y};
  }

  const touch = (a, b) => a.left <= b.right && b.left <= a.right && a.top <= b.bottom && b.top <= a.bottom;

  // For each cell of code the kinds of what it shows.
  function shows() {
    const kinds = [["figure", ".js-plotly-plot, img"], ["table", "table"], ["caption", ".cl-caption"], ["text", "*"]];
    const kind = output => kinds.find(([, selector]) => output.querySelector(selector))?.[0];
    return all(".jp-CodeCell").map(cell => all(".jp-OutputArea-child", cell).map(kind));
  }

  // What is cut off or makes something scroll sideways. Only tables may scroll, inside their own box.
  // sight: leave out figures whose middle is out of the window; they fit themselves when they are seen.
  function wide(sight) {
    const judged = el => !sight || seen(el) || !(el.matches(FIGURE) || el.querySelector(FIGURE));
    const over = el => el.scrollWidth > el.clientWidth + 1;
    const pages = [document.scrollingElement, ...all(".jp-WindowedPanel-outer")].filter(over);
    const boxes = all(`${OUTPUT}, .jp-MarkdownOutput, ${PANEL}, .cl-controls, .cl-report pre`).filter(over)
      .filter(el => !el.querySelector("table") || el.querySelector(PANEL)).filter(judged);
    const out = (el, room) => box(el).left < box(room).left - 2 || box(el).right > box(room).right + 2 ||
                              box(el).top < box(room).top - 2 || box(el).bottom > box(room).bottom + 2;
    const cut = figures().filter(judged).flatMap(figure => texts(figure).filter(text => out(text, figure)));
    const loose = all(`${PANEL} ${CONTROLS}`).filter(shown).filter(el => out(el, el.closest(PANEL)));
    return [...pages.map(el => `the page scrolls sideways: ${el.scrollWidth} in ${el.clientWidth} pixels`),
            ...boxes.map(el => `${el.scrollWidth} in ${el.clientWidth} pixels: ${words(el)}`),
            ...cut.map(el => `text outside its figure: ${words(el)}, in: ${words(el.closest(".js-plotly-plot"))}`),
            ...loose.map(el => `control outside its panel: ${words(el)}, in: ${words(el.closest(PANEL))}`)];
  }

  const texts = figure => all("svg.main-svg text", figure).filter(text =>
    text.textContent.trim() && shown(text) && box(text).width && !text.closest(".hoverlayer, .modebar"));

  // Two texts of a figure, one upon the other.
  function overlaps() {
    return figures().flatMap(figure => {
      const found = texts(figure);
      return found.flatMap((a, i) => found.slice(i + 1).filter(b => upon(box(a), box(b)))
        .map(b => `"${words(a)}" upon "${words(b)}", in: ${words(figure)}`));
    });
  }

  function upon(a, b) {
    const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    return width > 2 && height > 3 && width * height > 0.1 * Math.min(a.width * a.height, b.width * b.height);
  }

  // Every text in the window: [its words, its colour, its opacity, left, top, width, height].
  function inks() {
    const found = figures().flatMap(figure => texts(figure)).map(el => [el, getComputedStyle(el).fill, box(el)]);
    for (const root of all(`${OUTPUT}, .jp-MarkdownOutput`)) {
      const walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT), range = document.createRange();
      while (walk.nextNode()) {
        const el = walk.currentNode.parentElement;
        // JupyterLab's own colours of code are not ours to judge.
        if (!walk.currentNode.data.trim() || el.closest("svg, style, select, .modebar, .jp-RenderedMarkdown pre") || !shown(el)) continue;
        range.selectNodeContents(walk.currentNode);
        for (const line of range.getClientRects()) found.push([el, getComputedStyle(el).color, line]);
      }
    }
    for (const el of all(`${PANEL} select`)) found.push([el, getComputedStyle(el).color, box(el)]);
    const page = box(document.querySelector(".jp-WindowedPanel-outer"));
    const inside = ([, , at]) => at.width > 3 && at.height > 3 && at.top >= page.top && at.bottom <= page.bottom &&
                                 at.left >= page.left && at.right <= page.right;
    return found.filter(inside).map(([el, color, at]) => {
      let opacity = 1;
      for (let up = el; up; up = up.parentElement) opacity *= getComputedStyle(up).opacity;
      return [words(el), color, opacity, at.left, at.top, at.width, at.height];
    });
  }

  // Controls that look the same with and without the focus. A key must have been pressed before, for :focus-visible.
  function unseen() {
    const look = el => { const s = getComputedStyle(el); return [s.outlineStyle, s.outlineWidth, s.outlineColor].join(); };
    const before = document.activeElement;
    before?.blur();
    const faults = all(`${PANEL} ${CONTROLS}, .cl-report summary`).filter(shown).filter(el => !el.disabled).filter(el => {
      const plain = look(el);
      el.focus({preventScroll: true});
      const focused = getComputedStyle(el);
      return document.activeElement !== el || look(el) === plain || focused.outlineStyle === "none" || parseFloat(focused.outlineWidth) < 2;
    });
    before?.focus({preventScroll: true});
    return faults.map(el => `no visible focus: ${el.tagName} ${words(el)}`);
  }

  return {blank, shows, wide, overlaps, inks, unseen};
})();
