"""Panels: the picture is what draw returns, little is sent, errors are shown, the newest wins."""

import threading

import ipywidgets as widgets
import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compresslab.lesson import Panel, theme
from compresslab.lesson.panel import changes, log_slider, tick_box


def plain(value):
    """Plotly properties as lists, dicts and numbers.

    NaN becomes a word, so that == works; what is empty is no property; identifiers are left out.
    """
    if isinstance(value, (np.ndarray, list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        items = {key: plain(v) for key, v in value.items() if key != "uid"}
        return {key: v for key, v in items.items() if v is not None and v not in ({}, [])}
    return "nan" if value != value else value


def content(fig: go.Figure):
    """All that can be seen."""
    shown = [plain(trace.to_plotly_json()) for trace in fig.data if trace.visible is not False]
    return shown, plain(fig.layout.to_plotly_json())


def wave(rate=1.0, shift=0.0):
    t = np.linspace(0, 1, 200)
    fig = theme.figure(title="Waves", alt=f"Rate {rate:.2f}, shift {shift:.2f}.", x="t", y="y")
    for i in range(3):
        fig.add_scatter(x=t, y=np.sin(rate * t + i * shift), **theme.style(i))
    return fig


def sliders():
    return dict(
        rate=widgets.FloatSlider(1, min=0, max=10, description="Rate"),
        shift=widgets.FloatSlider(0, min=0, max=1, description="Shift"),
    )


def test_a_panel_shows_the_drawing_of_its_controls_values():
    panel = Panel(wave, sliders(), label="Waves", note="Move <it>.")
    assert content(panel.figure) == content(wave())
    panel.controls["rate"].value = 4
    assert content(panel.figure) == content(wave(4))
    assert panel.caption.value == '<p class="cl-caption">Rate 4.00, shift 0.00.</p>'
    assert panel.children[0].value == '<p class="cl-line">Move &lt;it&gt;.</p>'
    assert "Rate 4.00" in panel._repr_mimebundle_()[0]["text/plain"]


numbers = st.floats(-5, 5, width=32) | st.just(float("nan"))
arrays = st.lists(numbers, max_size=4)


@st.composite
def traces(draw):
    kind = draw(st.sampled_from(["scatter", "bar", "heatmap"]))
    props = dict(name=draw(st.sampled_from(["a", "b"])), visible=draw(st.sampled_from([True, "legendonly"])))
    if kind == "heatmap":
        props["z"] = np.array(draw(st.lists(st.lists(numbers, min_size=2, max_size=2), max_size=3)))
    else:
        convert = draw(st.sampled_from([list, np.array]))
        props.update(x=convert(draw(arrays)), y=convert(draw(arrays)))
        if draw(st.booleans()):
            props["marker"] = dict(color=draw(st.sampled_from(["red", "blue"])), opacity=draw(st.floats(0, 1)))
    return dict(type=kind, **props)


@st.composite
def figures(draw):
    layout = dict(title=dict(text=draw(st.text("ab", max_size=3))))
    if draw(st.booleans()):
        layout["xaxis"] = dict(range=[draw(st.floats(-5, 0)), 5], type=draw(st.sampled_from(["linear", "log"])))
    if draw(st.booleans()):
        layout["shapes"] = [dict(type="line", x0=draw(st.floats(0, 1)), x1=1)] * draw(st.integers(1, 2))
    return go.Figure(draw(st.lists(traces(), max_size=4)), layout)


@settings(max_examples=60)
@given(st.lists(figures(), min_size=2, max_size=5))
def test_after_any_sequence_of_drawings_the_live_figure_is_the_last_one(sequence):
    step = widgets.IntSlider(0, min=0, max=len(sequence) - 1, description="Step")
    panel = Panel(lambda step: sequence[step], dict(step=step), label="Any")
    for i, fig in enumerate(sequence):
        step.value = i
        assert panel.alert.value == ""
        assert content(panel.figure) == content(fig)


def sent(panel, change):
    """What goes to the browser's figure during `change`: {message: [content]}."""
    messages = []
    names = [name for name in panel.figure.trait_names() if name.startswith("_py2js_")]
    panel.figure.observe(lambda c: c["new"] and messages.append((c["name"], c["new"])), names)
    change()
    return messages


def test_only_what_differs_is_sent_and_in_one_message():
    def draw(rate):
        fig = wave()
        fig.data[1].y = np.full(200, rate)
        return fig

    panel = Panel(draw, dict(rate=sliders()["rate"]), label="Waves")
    [(name, message)] = sent(panel, lambda: setattr(panel.controls["rate"], "value", 7))
    assert name == "_py2js_update"
    assert message["style_traces"] == [1] and set(message["style_data"]) == {"y"} and not message["layout_data"]


def test_nothing_is_sent_when_nothing_differs():
    panel = Panel(lambda rate: wave(), dict(rate=sliders()["rate"]), label="Waves")
    assert sent(panel, lambda: setattr(panel.controls["rate"], "value", 7)) == []


def test_traces_that_go_and_come_back_are_one_message():
    """A trace deleted, or added again, would be a second drawing in the browser."""

    def draw(rate):
        return go.Figure([dict(type="scatter", y=[rate, i]) for i in range(int(rate))], dict(title=dict(text="Lines")))

    panel = Panel(draw, dict(rate=widgets.IntSlider(3, description="Rate")), label="Lines")
    for rate in (1, 2, 3, 0, 3):
        [(name, _)] = sent(panel, lambda rate=rate: setattr(panel.controls["rate"], "value", rate))
        assert name == "_py2js_update" and content(panel.figure) == content(draw(rate))
    panel.controls["rate"].value = 4
    assert len(panel.figure.data) == 4 and content(panel.figure) == content(draw(4))


def test_the_first_picture_travels_with_the_figure(monkeypatch):
    """Messages that overtake a figure which the browser is still drawing would be errors in its console."""
    messages = []
    for name in ("_send_update_msg", "_send_addTraces_msg", "_send_relayout_msg", "_send_restyle_msg"):
        monkeypatch.setattr(go.FigureWidget, name, lambda *a, name=name, **k: messages.append(name))
    panel = Panel(wave, sliders(), label="Waves")
    assert messages == [] and len(panel.figure.get_state()["_widget_data"]) == 3


def test_a_zoom_made_by_hand_stays():
    panel = Panel(wave, sliders(), label="Waves")
    panel.figure.layout.xaxis.range = [0.2, 0.4]
    panel.controls["rate"].value = 5
    assert panel.figure.layout.xaxis.range == (0.2, 0.4)


def test_a_slider_that_sends_its_own_value_back_rounded_draws_nothing():
    drawn = []
    rate = widgets.FloatLogSlider(0.3, min=-2, max=1, description="Rate")
    Panel(lambda rate: drawn.append(rate) or wave(rate), dict(rate=rate), label="Waves")
    rate.value = 0.3 * (1 + 4e-16)
    rate.value = 0.3 * (1 + 1e-6)
    assert drawn == [0.3, 0.3 * (1 + 1e-6)]


def test_set_draws_once():
    drawn = []
    panel = Panel(lambda **v: drawn.append(v) or wave(**v), sliders(), label="Waves")
    panel.set(rate=3, shift=0.5)
    assert drawn == [dict(rate=1, shift=0), dict(rate=3, shift=0.5)]


def test_an_exception_is_shown_as_one_sentence_and_cleared(page):
    def draw(rate, shift):
        if rate > 5:
            raise ValueError("rate must be at most 5 & finite, got <9>")
        return wave(rate, shift)

    panel = Panel(draw, sliders(), label="Waves")
    panel.controls["rate"].value = 9
    html = page(panel.alert.value)
    assert html.all("p")[0][0]["role"] == "alert"
    assert html.text == "ValueError: rate must be at most 5 & finite, got <9>"
    assert content(panel.figure) == content(wave(1))  # the last good picture stays
    panel.controls["rate"].value = 2
    assert panel.alert.value == ""
    assert content(panel.figure) == content(wave(2))


def test_a_draw_that_fails_at_first_can_succeed_later():
    panel = Panel(lambda rate: wave(rate) if rate > 2 else None, dict(rate=sliders()["rate"]), label="Waves")
    assert "role=" in panel.alert.value
    panel.controls["rate"].value = 3
    assert panel.alert.value == "" and content(panel.figure) == content(wave(3))


def test_after_a_failure_half_way_the_picture_is_still_right(monkeypatch):
    def draw(rate, shift):
        return wave(rate, shift) if rate != 4 else wave(rate, shift).add_bar(y=[1])

    panel = Panel(draw, sliders(), label="Waves")
    with monkeypatch.context() as broken:
        broken.setattr(type(panel.figure), "add_traces", lambda *a, **k: 1 / 0)
        panel.controls["rate"].value = 4  # the waves are changed, then adding the bar fails
    assert "ZeroDivisionError" in panel.alert.value
    panel.controls["rate"].value = 1
    assert panel.alert.value == "" and content(panel.figure) == content(wave(1))


def test_a_click_sets_controls_and_draws_once():
    drawn = []

    def draw(x, y):
        drawn.append((x, y))
        return go.Figure().add_heatmap(z=np.zeros((3, 3))).add_scatter(x=[x], y=[y])

    both = {name: widgets.FloatSlider(0, min=0, max=5, description=name) for name in "xy"}
    panel = Panel(draw, both, label="Start", on_click=lambda x, y: dict(x=x, y=y))
    click = dict(trace_indexes=[0], point_indexes=[[1, 2]], xs=[2.0], ys=[1.0], zs=[0.0])
    panel.figure._handler_js2py_pointsCallback(
        {"new": dict(event_type="plotly_click", points=click, device_state=None, selector=None)}
    )
    assert drawn == [(0, 0), (2, 1)]
    assert panel.figure.data[1].x == (2,)


def test_a_failing_click_is_shown():
    panel = Panel(wave, sliders(), label="Waves", on_click=lambda x, y: 1 / 0)
    points = type("Points", (), dict(point_inds=[0], xs=[1], ys=[1]))()
    panel._clicked(None, points, None)
    assert "ZeroDivisionError" in panel.alert.value


def test_of_values_that_arrive_while_drawing_only_the_newest_is_drawn():
    drawn, busy, go_on = [], threading.Event(), threading.Event()

    def draw(rate, shift):
        drawn.append(rate)
        if rate == 2:
            busy.set()
            assert go_on.wait(10)
        return wave(rate, shift)

    panel = Panel(draw, sliders(), label="Waves")
    threads = [threading.Thread(target=setattr, args=(panel.controls["rate"], "value", v)) for v in (2, 3, 4, 5)]
    threads[0].start()
    assert busy.wait(10)
    for thread in threads[1:]:  # each of them waits for the drawing of 2; the value is set before it waits
        thread.start()
        while panel.controls["rate"].value != threads.index(thread) + 2 or panel._newest != threads.index(thread) + 1:
            pass
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert drawn == [1, 2, 5]
    assert content(panel.figure) == content(wave(5))


def test_many_threads_leave_the_picture_of_the_final_values():
    panel = Panel(wave, sliders(), label="Waves")

    def move(name, top):
        for value in np.linspace(0, top, 15):
            panel.controls[name].value = value

    threads = [threading.Thread(target=move, args=a) for a in (("rate", 10), ("shift", 1), ("rate", 10))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    values = {name: control.value for name, control in panel.controls.items()}
    assert panel.alert.value == "" and content(panel.figure) == content(wave(**values))


def test_every_control_needs_a_description():
    with pytest.raises(ValueError, match="every control needs a description, got none for rate"):
        Panel(wave, dict(rate=widgets.FloatSlider()), label="Waves")


@pytest.mark.needs("chromium")
def test_static_mode_shows_a_picture_and_no_widget(monkeypatch):
    panel = Panel(wave, sliders(), label="Waves")
    live, _ = panel._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in live
    monkeypatch.setenv("COMPRESSLAB_STATIC", "1")
    data, metadata = panel._repr_mimebundle_()
    assert set(data) == {"text/plain", "image/png"}
    assert data["text/plain"] == "Waves\nRate 1.00, shift 0.00."
    assert metadata["image/png"]["alt"] == "Rate 1.00, shift 0.00."


@given(
    st.dictionaries(st.sampled_from("abc"), arrays.map(np.array)),
    st.dictionaries(st.sampled_from("abc"), arrays),
)
def test_changes_turn_the_old_into_the_new_and_nothing_into_nothing(old, new):
    new = {key: np.array(value) for key, value in new.items()}
    merged = {key: value for key, value in (old | changes(old, new)).items() if value is not None}
    assert plain(merged) == plain(new)
    assert changes(new, {key: value.copy() for key, value in new.items()}) == {}


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.array([1.0]), np.array([1])),
        (np.array([1, 2]), np.array([[1, 2]])),
        (np.array(["a"]), np.array(["b"])),
        ([1, [2]], [1, [3]]),
        ({"a": 1}, {"a": 1, "b": 2}),
        (1, True),
        (None, 0),
    ],
)
def test_what_counts_as_a_change(a, b):
    assert changes({"p": a}, {"p": b}) and changes({"p": b}, {"p": a})
    assert not changes({"p": a}, {"p": a}) and not changes({"p": b}, {"p": b})


def test_a_slow_panel_says_that_it_works():
    seen = []

    def draw(n):
        seen.append(panel.caption.value if n else "")
        if n == 2:
            raise ValueError("two")
        return theme.figure(title="T", alt=f"It is {n}.")

    control = widgets.IntSlider(0, description="N")
    panel = Panel(draw, dict(n=control), label="Slow", busy="Measuring ...")
    for n, told in [(1, "It is 1."), (2, "It is 1."), (3, "It is 3.")]:  # the last caption stays after a failure
        control.value = n
        assert "Measuring ..." in seen[-1] and told in panel.caption.value


@given(st.floats(-4, 3), st.floats(0.1, 4), st.one_of(st.none(), st.floats(0.05, 0.95)))
def test_a_slider_of_factors_has_its_value_on_a_step(start, length, place):
    low, high = 10**start, 10 ** (start + length)
    value = None if place is None else 10 ** (start + place * length)
    slider = log_slider(low, high, "kB", value)
    assert slider.value == pytest.approx(value or high)
    steps = (np.log10(slider.value) - slider.min) / slider.step
    assert steps == pytest.approx(round(steps), abs=1e-6) and 10**slider.min == pytest.approx(low)
    assert abs(slider.max - np.log10(high)) <= slider.step and 180 < (slider.max - slider.min) / slider.step < 221


def test_a_box_to_tick_is_as_wide_as_its_name():
    boxes = tick_box("sgd"), tick_box("adam", ticked=True)
    assert [box.value for box in boxes] == [False, True]
    assert all(box.layout.width == "max-content" and not box.indent for box in boxes)
