"""What the eye would see, asked of a page: blank outputs, things too wide, texts too pale, focus without a sign."""

import re
from bisect import bisect
from collections import Counter
from itertools import accumulate
from pathlib import Path

import nbformat
from PIL import Image

SCRIPT = Path(__file__).with_suffix(".js").read_text("utf-8")
LEAST = 4.5  # contrast of text, W3C's Web Content Accessibility Guidelines 2.2, 1.4.3
NAMELESS = re.compile(r"^\s*- (slider|combobox|checkbox|radio|button|textbox|spinbutton)(?! \"\S).*$", re.MULTILINE)


def faults(page, sight=False):
    """Sentences on what is blank, too wide or printed upon something else; sight: a figure's width only while seen."""
    page.evaluate(SCRIPT)
    return page.evaluate("sight => [...audit.blank(), ...audit.wide(sight), ...audit.overlaps()]", sight)


def missing(page, path):
    """Sentences on the cells that show fewer figures, tables or texts than the notebook at `path` was saved with."""
    page.evaluate(SCRIPT)
    codes = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    lost = [
        Counter(filter(None, map(kind, code.outputs))) - Counter(now)
        for code, now in zip(codes, page.evaluate("audit.shows()"), strict=True)
    ]
    return [f"no longer shown, {dict(less)}: {code.source[:80]}" for code, less in zip(codes, lost) if less]


def kind(output):
    """What a saved output is to the reader; None for a caption, which a live panel has inside."""
    data = output.get("data", {})
    if "image/png" in data:
        return "figure"
    text = data.get("text/html", "")
    return "table" if "<table" in text else None if "cl-caption" in text else "text"


def unseen(page):
    """Sentences on the controls that look the same with and without the keyboard's focus."""
    page.evaluate(SCRIPT)
    page.keyboard.press("Tab")  # :focus-visible wants a key before
    return page.evaluate("audit.unseen()")


def pale(page, screenshot):
    """Sentences on the texts of the window with too little contrast to what the screenshot shows behind them."""
    page.evaluate(SCRIPT)
    picture, sentences = Image.open(screenshot).convert("RGB"), []
    for words, color, opacity, left, top, width, height in page.evaluate("audit.inks()"):
        area = picture.crop((round(left), round(top), round(left + width), round(top + height)))
        for paper in papers(area):
            ratio = contrast(over(color, opacity, paper), paper)
            if ratio < LEAST:
                sentences.append(f"{ratio:.1f} : 1, {color} on rgb{paper}: {words}")
    return sentences


def papers(area, share=0.3):
    """The colours that fill at least a share of a picture, or else the middle one by luminance: what is behind a text.

    Letters fill less than half of their box; upon many thin lines their own colour may be the commonest.
    """
    total = area.width * area.height
    colors = sorted(area.getcolors(total), key=lambda entry: luminance(entry[1]))
    middle = bisect(list(accumulate(count for count, _ in colors)), total // 2)
    return [color for count, color in colors if count >= share * total] or [colors[middle][1]]


def nameless(panel):
    """The controls of a panel for which a screen reader has no name."""
    return [found[0].strip() for found in NAMELESS.finditer(panel.aria_snapshot())]


def over(color, opacity, paper):
    """The colour that is seen where a CSS colour, "rgb(...)" or "rgba(...)", lies over an opaque one."""
    *ink, alpha = [float(number) for number in re.findall(r"[\d.]+", color)] + ([1.0] if "rgba" not in color else [])
    return tuple(alpha * opacity * i + (1 - alpha * opacity) * p for i, p in zip(ink, paper))


def luminance(color):
    """Relative luminance of (red, green, blue) in 0..255, W3C's Web Content Accessibility Guidelines 2.2."""
    channels = [c / 255 for c in color]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(ink, paper):
    light, dark = sorted([luminance(ink), luminance(paper)], reverse=True)
    return (light + 0.05) / (dark + 0.05)
