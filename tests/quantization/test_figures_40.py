"""Pictures and panel of lesson 40: what they show is what the library computes."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from quantization.tensors import hard

from compresslab.lesson import theme
from compresslab.quantization import explorer, figures
from compresslab.quantization.affine import fake_quantize, quantize_tensor, sqnr_db
from compresslab.quantization.formats import formats, through
from compresslab.quantization.scheme import Scheme


def line(fig, name, i=0):
    """x and y of the i-th trace called `name`."""
    (x, y) = [(np.asarray(t.x, float), np.asarray(t.y, float)) for t in fig.data if t.name == name][i]
    return x, y


@pytest.mark.parametrize("name", ["fp32", "bf16", "fp16", "fp8 e4m3", "int8"])
def test_spacing_is_the_distance_to_the_next_number(name):
    """A number moved by 0.6 steps is rounded to its neighbour, moved by 0.4 steps it comes back."""
    x, y = line(figures.spacing([name]), name)
    largest = formats().set_index("format").largest[name]
    assert x.max() <= max(largest, 2e6)
    for low, step in zip(x[::2], y[::2]):
        if low + step <= largest:
            near, far = (through(torch.tensor(low + part * step, dtype=torch.float64), name) for part in (0.4, 0.6))
            assert far.item() - near.item() == pytest.approx(step, rel=1e-6)


@pytest.mark.parametrize(
    "scheme",
    [Scheme(3), Scheme(2, symmetric=False), Scheme(8, symmetric=False, signed=False), Scheme(1)],
)
def test_the_staircase_is_fake_quantize(scheme):
    scale, zero_point = torch.tensor(0.25), torch.tensor(0 if scheme.symmetric else scheme.qmin + 1)
    fig = figures.staircase(scale.item(), zero_point.item(), scheme, -2.0, 3.0)
    x, y = line(fig, "copy")
    assert (x[0], x[-1]) == (-2, 3) and (np.diff(x) >= 0).all()
    middles, steps = (x[::2] + x[1::2]) / 2, y[::2]
    assert np.array_equal(fake_quantize(torch.tensor(middles).float(), scale, zero_point, scheme).numpy(), steps)
    assert np.array_equal(line(fig, "error")[1], y - x)
    assert "steps of 0.25" in theme.title(fig)


def test_clipping_marks_the_smallest_sum():
    table = pd.DataFrame(dict(share=[0.2, 0.5, 1.0], rounding=[1.0, 2.0, 8.0], clipping=[9.0, 3.0, 0.0]))
    fig = figures.clipping(table)
    assert line(fig, "smallest") == (50, 5) and line(fig, "both")[1].tolist() == [10, 5, 8]
    assert "50% of the largest value: 0.62 times" in theme.title(fig)


def test_channel_ranges_are_those_of_the_rows():
    weight = torch.tensor([[0.1, -0.2], [-1.0, 0.5], [0.3, 0.4]])
    fig = figures.channel_ranges(weight)
    assert line(fig, "largest")[1][::2].tolist() == pytest.approx([0.5, 0.4, 0.1])
    assert line(fig, "range of the row")[1][::2].tolist() == pytest.approx([-1.0, 0.3, -0.2])
    assert line(fig, "range of the tensor")[1].tolist() == [1, 1] and "67% of the rows" in theme.title(fig)
    filters = figures.channel_ranges(weight[:, :, None, None])
    assert "67% of the filters" in theme.title(filters) and "The widest filter reaches 1" in theme.alt(filters)


def test_ranges_counts_every_value_and_draws_each_end():
    x = hard("outlier", 0).abs()
    fig = figures.ranges(x, {"a": 1.0, "b": 2.5})
    assert line(fig, "values")[1][::2].round().sum() == pytest.approx(x.numel(), abs=0)
    assert line(fig, "b: 2.5")[0].tolist() == [2.5, 2.5]
    empty = min(line(fig, "values")[1])
    assert empty < fig.layout.yaxis.autorangeoptions.clipmin < 1, "one value is seen, none is not"


def test_decibels_says_the_slope():
    rows = [dict(data=name, bits=bits, sqnr_db=6 * bits + height, low=0, high=99)
            for name, height in (("one", 0), ("other", -5)) for bits in (2, 3, 4)]  # fmt: skip
    fig = figures.decibels(pd.DataFrame(rows))
    assert "brings 6.0 to 6.0 dB" in theme.title(fig) and line(fig, "other", 1)[1].tolist() == [7, 13, 19]


@pytest.fixture
def panel():
    x = torch.randn(32, 64, generator=torch.Generator().manual_seed(0))
    tensors = {"weight": (x, 0), "activation": (x.T.relu().contiguous() * torch.linspace(0, 2, 32), 1)}
    return explorer.numbers_explorer(tensors, group_size=16), tensors


def test_the_panel_shows_what_quantize_tensor_does(panel):
    panel, tensors = panel
    x, axis = tensors["activation"]
    panel.set(tensor="activation", bits=5, symmetric=False, granularity="channel", rule="MSE")
    q = quantize_tensor(x, Scheme(5, False, "channel", axis), explorer.RULES["MSE"])
    row = panel.tried["activation", 5, False, "channel", "MSE"]
    assert row["sqnr_db"] == sqnr_db(x, q.dequantize()) and row["different"] == len(q.dequantize().unique())
    assert row["bits_per_value"] == 5 + (32 + 5) / 64  # 32 neurons, 64 examples
    assert f"{row['sqnr_db']:.1f} dB" in theme.title(panel.figure)
    # The narrowest range is not that of a neuron that is always 0, but it is narrower than the widest.
    assert 0 < line(panel.figure, "narrowest")[1].max() < line(panel.figure, "widest range")[1].max()


def test_groups_cost_a_scale_each(panel):
    panel, tensors = panel
    panel.set(granularity="group")
    assert panel.tried["weight", 4, True, "group", "min-max"]["bits_per_value"] == 4 + 32 / 16


def test_entropy_falls_back_on_one_range_and_says_so(panel):
    panel, _ = panel
    panel.set(rule="entropy", granularity="group")
    assert panel.alert.value == "" and "entropy knows no other" in theme.title(panel.figure)
    assert ("weight", 4, True, "tensor", "entropy") in panel.tried and len(panel.tried) == 2


def test_values_that_are_all_zero_can_be_shown():
    panel = explorer.numbers_explorer({"zeros": (torch.zeros(4, 16), 0)}, group_size=4)
    for granularity in ("tensor", "channel", "group"):
        panel.set(granularity=granularity)
        assert panel.alert.value == "" and panel.figure.layout.title.text
    assert math.isinf(panel.tried["zeros", 4, True, "tensor", "min-max"]["sqnr_db"])
