"""The look: contrast, redundancy, titles that fit, a style sheet that reaches nothing outside."""

import re

import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plotly.subplots import make_subplots

from compresslab.lesson import theme


def luminance(color: str) -> float:
    """Relative luminance of "#rrggbb" or "rgb(r, g, b)", WCAG 2.2."""
    if color.startswith("#"):
        rgb = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    else:
        rgb = [int(v) for v in re.findall(r"\d+", color)]
    linear = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear))


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_the_measure_of_contrast_itself():
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # the value WCAG's own tools give


@pytest.mark.parametrize("background", ["#ffffff", "#111111"])
def test_lines_and_text_stand_out_on_both_backgrounds(background):
    for color in theme.COLORS:
        assert contrast(color, background) >= 3, color  # WCAG 1.4.11, graphics
    assert contrast(theme.TEXT, background) >= 4  # without the style sheet; with it JupyterLab's own colour


def test_hover_labels_are_readable():
    label = theme.TEMPLATE.layout.hoverlabel
    assert contrast(label.bgcolor, label.font.color) >= 7


# Machado, Oliveira & Fernandes (2009), severity 1.0, on linear RGB.
BLIND = {
    "protanopia":
        [(0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)],
    "deuteranopia":
        [(0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)],
}  # fmt: skip


def lab(color: str, matrix=((1, 0, 0), (0, 1, 0), (0, 0, 1))):
    """CIELAB of "#rrggbb" as seen through a colour-vision matrix."""
    rgb = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    rgb = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    rgb = [min(max(sum(m * c for m, c in zip(row, rgb)), 0), 1) for row in matrix]
    to_xyz = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    xyz = [sum(m * c for m, c in zip(row, rgb)) / w for row, w in zip(to_xyz, (0.9505, 1, 1.089))]
    f = [v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in xyz]
    return 116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])


@pytest.mark.parametrize("kind", BLIND)
def test_series_differ_without_full_colour_vision(kind):
    """Each pair differs in marker, and in colour as seen (delta E 10; 2.3 is just noticeable) or in dash."""
    looks = [theme.style(i) for i in range(len(theme.COLORS))]
    for i, a in enumerate(looks):
        for b in looks[:i]:
            seen = [lab(look["line"]["color"], BLIND[kind]) for look in (a, b)]
            distance = sum((p - q) ** 2 for p, q in zip(*seen)) ** 0.5
            assert a["marker"]["symbol"] != b["marker"]["symbol"]
            assert distance >= 10 or a["line"]["dash"] != b["line"]["dash"], (a, b)


def test_a_name_keeps_its_look_and_plotly_accepts_it():
    looks = theme.series(f"optimizer {i}" for i in range(8))
    assert len({(v["line"]["color"], v["line"]["dash"], v["marker"]["symbol"]) for v in looks.values()}) == 8
    for i, look in enumerate(looks.values()):
        assert look == dict(name=f"optimizer {i}", **theme.style(i))
        go.Scatter(x=[1], y=[1], **look)


def test_a_figure_carries_title_axes_and_alternative_text():
    fig = theme.figure(title="T", alt="The loss is 0.1.", x="step", y="loss", yaxis_type="log", height=200)
    assert theme.alt(fig) == "The loss is 0.1." and theme.title(fig) == "T"
    layout = fig.layout
    assert (layout.xaxis.title.text, layout.yaxis.title.text, layout.yaxis.type) == ("step", "loss", "log")
    assert layout.height == 200 and layout.width is None
    assert layout.template.layout.paper_bgcolor == "rgba(0,0,0,0)"
    assert theme.alt(go.Figure()) == ""


@given(st.lists(st.text("abcdefgh", min_size=1, max_size=15), min_size=1, max_size=60))
def test_a_long_title_is_wrapped_and_has_room(words):
    text = " ".join(words)
    fig = theme.figure(title=text, alt="")
    lines = fig.layout.title.text.split("<br>")
    assert theme.title(fig) == text
    assert max(map(len, lines)) <= 70  # 70 characters of 16 px are about 560 px: narrower than a notebook at 800 px
    assert fig.layout.margin.t >= 20 * len(lines) + 20


def test_dress_suits_figures_with_several_panels():
    fig = theme.dress(make_subplots(1, 2), title="T", alt="A", x="step")
    assert theme.alt(fig) == "A" and fig.layout.template.layout.font.color == theme.TEXT


def test_the_style_sheet_is_plain_and_follows_the_theme():
    css = theme.css()
    assert css.count("{") == css.count("}")
    assert not re.search(r"url\(|@import|https?:|<", css)
    assert ":focus-visible" in css
    assert css.count("var(--jp-") > 5
    assert all(re.search(r"var\([^(),]+,", use) for use in re.findall(r"var\(--jp-[^)]*\)", css)), "no fallback"
    ours = ".cl-", theme.TEXT, ".plot-img:not([src])"  # our classes, our text, a picture that is none
    ours += ".jp-RenderedHTMLCommon pre", ".jp-RenderedText pre", ".jp-RenderedMarkdown details"  # how a lesson reads
    ours += (".jp-RenderedHTMLCommon mjx-assistive-mml",)  # what only a screen reader reads
    for selectors in re.findall(r"([^{}]+)\{", css):
        for selector in re.split(r",(?![^(]*\))", selectors):
            assert any(part in selector for part in ours), selector
