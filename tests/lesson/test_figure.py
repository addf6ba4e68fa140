"""Showing: MIME types, pictures with alt text, one copy of plotly for all live figures, current state."""

import base64
import io

import numpy as np
import plotly.graph_objects as go
import pytest

from compresslab.lesson import show, theme
from compresslab.lesson.figure import LiveFigure, _Loader, load_plotly

PLOTLY = "application/vnd.plotly.v1+json"


def example() -> go.Figure:
    fig = theme.figure(title="Loss falls", alt="The loss falls from 2 to 1 <at> step 3.", x="step", y="loss")
    return fig.add_scatter(x=np.arange(3), y=np.array([2.0, 1.5, 1.0]), **theme.style(0))


def test_show_displays_the_figure_once_and_its_sentence(shown):
    show(example())
    (figure, _), (caption, _) = shown
    assert set(figure) == {PLOTLY, "text/plain"}
    assert figure["text/plain"] == "Loss falls\nThe loss falls from 2 to 1 <at> step 3."
    y = figure[PLOTLY]["data"][0]["y"]
    assert list(np.frombuffer(base64.b64decode(y["bdata"]), y["dtype"])) == [2.0, 1.5, 1.0]
    assert figure[PLOTLY]["config"]["showSendToCloud"] is False
    assert caption["text/html"] == '<p class="cl-caption">The loss falls from 2 to 1 &lt;at&gt; step 3.</p>'
    assert caption["text/plain"] == theme.alt(example())


def test_no_caption_without_alternative_text(shown):
    show(go.Figure())
    assert len(shown) == 1


@pytest.mark.needs("chromium")
def test_static_mode_adds_a_small_picture_with_alt_text(shown, monkeypatch):
    from PIL import Image

    monkeypatch.setenv("COMPRESSLAB_STATIC", "1")
    z = np.add.outer(np.linspace(-2, 2, 80) ** 2, np.linspace(-2, 2, 80) ** 4)
    show(theme.figure(title="A surface", alt="A bowl.").add_contour(z=z, ncontours=30))
    data, metadata = shown[0]
    assert PLOTLY in data
    picture = base64.b64decode(data["image/png"])
    assert metadata == {"image/png": {"alt": "A bowl."}}  # nbconvert's templates read the alt text here
    assert len(picture) <= 60_000
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    assert image.size == (1080, 570)
    assert image.getpixel((1078, 2)) == (255, 255, 255)
    bands = {image.getpixel((x, y)) for x in range(200, 800, 9) for y in range(100, 450, 9)}
    assert len(bands) > 10  # the surface is there


def test_the_javascript_is_shipped_once():
    first, second = LiveFigure(example()), LiveFigure()
    assert load_plotly() is load_plotly()
    assert len(load_plotly().source) > 1_000_000
    for fig in (first, second):
        sent = sum(len(v) for v in fig.get_state().values() if isinstance(v, str))
        assert sent < 5_000
    promise = _Loader._esm.split("\n")[0]
    assert first._esm.startswith(promise)  # both wait on the same promise
    assert first.get_state()["_config"]["showSendToCloud"] is False


def test_the_state_is_current_after_changes():
    """A page that is reloaded asks for the state: it must hold the last picture, not the first."""
    fig = LiveFigure(example())
    with fig.batch_update():
        fig.data[0].y = np.array([7.0, 8.0, 9.0])
        fig.layout.title.text = "Changed"
    fig.add_scatter(x=[1], y=[4])
    state = fig.get_state()
    y = state["_widget_data"][0]["y"]
    assert np.array_equal(np.frombuffer(y["buffer"], y["dtype"]), [7.0, 8.0, 9.0])
    assert len(state["_widget_data"]) == 2
    assert state["_widget_layout"]["title"]["text"] == "Changed"
    assert "_widget_data" not in fig.get_state(key="_config")
