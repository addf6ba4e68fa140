"""Pictures and panels of lesson 51: what they show is what the library computes."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from compresslab.compression import coder, explorer, figures
from compresslab.compression.figures.deep_compression import random_bits
from compresslab.compression.sharing import kmeans
from compresslab.intervals import mean_interval
from compresslab.lesson import theme


def line(fig, name):
    return [np.asarray(trace.y, float) for trace in fig.data if trace.name == name][-1]


@pytest.fixture(scope="module")
def weight():
    values = torch.randn(40, 30, generator=torch.Generator().manual_seed(0))
    return values * (values.abs() > 1.2)


def test_sharing_panel_shows_what_kmeans_finds(weight):
    panel = explorer.sharing_explorer(weight)
    values = weight[weight != 0]
    for k, start in ((1, "linear"), (8, "density"), (64, "linear"), (64, "random")):
        panel.set(values=k, start=start)
        centroids, codes = kmeans(values, k, start)
        taken = centroids[codes.unique()]
        error = (centroids[codes] - values).double().square().sum().item()
        sqnr = 10 * math.log10(values.double().square().sum().item() / error)
        (marks,) = [t for t in panel.figure.data if t.name == "shared values"]
        np.testing.assert_allclose(marks.x, taken, rtol=1e-6)
        assert f"squared error {error:.3g}, SQNR {sqnr:.1f} dB" in theme.title(panel.figure)
        assert ("taken" in theme.title(panel.figure)) == (len(taken) < k)
        (bars,) = [t for t in panel.figure.data if t.name == "weights"]
        assert sum(bars.y) == len(values)
        assert line(panel.figure, "now") == pytest.approx([sqnr])
    assert line(panel.figure, start)[-1] == pytest.approx(sqnr)  # the curve ends at 64 values


def test_sharing_panel_counts_the_bytes_of_the_values_that_are_taken(weight):
    panel = explorer.sharing_explorer(weight)
    panel.set(values=24, start="linear")
    codes = kmeans(weight[weight != 0], 24, "linear")[1].unique(return_inverse=True)[1].numpy()
    counts = np.bincount(codes)
    assert len(counts) < 24  # the hole
    size = len(coder.encode(codes, coder.frequencies(counts))) + 5 * len(counts)  # one byte and one float32 each
    assert f"{size:,} bytes" in theme.title(panel.figure)


def test_a_layer_of_one_value_has_no_error_and_still_a_picture():
    panel = explorer.sharing_explorer(torch.tensor([[0.0, 0.5], [0.5, 0.0]]))
    assert panel.alert.value == "" and "1 taken" in theme.title(panel.figure)


def test_over_values_names_the_fewest():
    rows = [("a", 2, 9.0), ("a", 8, 3.0), ("b", 2, 7.0), ("b", 8, 3.5)]
    table = pd.DataFrame(rows, columns=["way", "values", "mean"]).assign(low=1.0, high=10.0)
    fig = figures.over_values(table)
    assert theme.title(fig) == "With 2 values, test error (%): a 9.0, b 7.0"
    assert "b: 2 values 7.0 (1.0 to 10.0), 8 values 3.5" in theme.alt(fig)
    assert line(fig, "a").tolist() == [9, 3] and list(fig.layout.xaxis.tickvals) == [2, 8]


def test_symbol_codes_takes_means_weighed_by_the_counts():
    table = pd.DataFrame(
        dict(value=[-1.0, 1, 2], count=[5, 1, 2], codeword=["0", "10", "11"], bits_at_best=[0.68, 3, 2])
    )
    fig = figures.symbol_codes(table, 1.3)
    assert theme.title(fig) == "Huffman: 1.38 bits a weight on average; entropy 1.30; a fixed length 2"
    assert line(fig, "Huffman").tolist() == [1, 2, 2] and line(fig, "weights").tolist() == [5, 1, 2]
    assert "−1.00: 5 weights, codeword 0, at best 0.68 bits" in theme.alt(fig)


def test_random_bits_is_the_entropy_of_a_geometric_gap():
    for density in (0.02, 0.3, 0.5):  # a gap of n zeros has the probability density (1 - density)^n
        gaps = stats.geom(density, loc=-1)
        assert random_bits(density) == pytest.approx(gaps.entropy() / math.log(2), rel=1e-6)


def test_gap_lengths_compares_with_places_at_random():
    lengths = np.array([0] * 50 + [1] * 25 + [2] * 25)
    fig = figures.gap_lengths(lengths, 0.5, 1.9)
    assert line(fig, "measured").tolist() == [50, 25, 25]
    chance = stats.geom(0.5, loc=-1)
    expected = [100 * chance.pmf(zeros).sum() for zeros in ([0], [1, 2], [3, 4, 5, 6])]
    np.testing.assert_allclose(line(fig, "at random places"), expected)
    assert theme.title(fig) == "50.0 % left: 1.90 bits a gap in the file; places at random would need at least 2.00"
    assert list(fig.data[0].x) == ["0", "1-2", "3-6"]


def test_the_waterfall_ends_at_the_file():
    fig = figures.waterfall({"float32": 1000, "pruned": 300, "coded": 100}, {"positions": 70, "values": 30})
    steps, over, bars = fig.data
    assert list(steps.y) == [1000, -700, -200, 100] and list(steps.measure)[-1] == "total"
    assert list(over.y) == [1000, 1000, 300, 100] and list(over.text) == ["1,000", "÷ 3.3", "÷ 3.0", "100"]
    assert sum(bars.x) == 100 and "10.0 times smaller" in theme.title(fig)
    assert "positions 70 (70 %)" in theme.alt(fig)


@pytest.fixture
def runs():
    luck = np.random.default_rng(0)
    rows = [
        dict(
            sparsity=s, values=k, seed=seed, error=3 + luck.normal(), size_bytes=100 * k + seed, val_error=1.0, codes=k
        )
        for s in (0.9, 0.95)
        for k in (2, 8, 16)
        for seed in range(3)
    ]
    return pd.DataFrame(rows).assign(positions=lambda t: t.size_bytes - t.codes)


def test_size_panel_shows_means_and_intervals(runs):
    panel = explorer.size_explorer(runs, dict(size_bytes=8080, mean=2.5))
    panel.set(sparsity=0.95, values=8)
    rows = runs[(runs.sparsity == 0.95) & (runs["values"] == 8)]
    mean, low, high = mean_interval(rows.error)
    title = theme.title(panel.figure)
    assert title == f"95 % zeros, 8 values: 801 bytes, 10 times smaller; error {mean:.1f} % ({low:.1f} to {high:.1f})"
    (star,) = [t for t in panel.figure.data if t.name == "chosen"]
    assert star.x[0] == 801 and star.y[0] == pytest.approx(mean)
    assert star.y[0] + star.error_y.array[0] == pytest.approx(high)
    (bars,) = [t for t in panel.figure.data if t.name == "bytes"]
    assert dict(zip(bars.y, bars.x)) == dict(codes=8, positions=793)
    assert list(bars.y) == ["positions", "codes"]  # the largest part first
    told = theme.alt(panel.figure)
    assert f"95 % zeros, 8 values 801 bytes, {mean:.1f} % ({low:.1f} to {high:.1f})" in told
    assert told.count(" values 2") + told.count(" values 8") + told.count(" values 1,") == 6  # every file
    assert line(panel.figure, "dense").tolist() == [2.5, 2.5]
    expected = runs[runs["values"] == 2].groupby("sparsity").error.mean()
    np.testing.assert_allclose(sorted(line(panel.figure, "2 values")), sorted(expected))
