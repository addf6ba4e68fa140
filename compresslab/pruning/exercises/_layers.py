"""Lesson 31: neurons removed from a layer, and from the layer behind it."""

import torch
from torch import nn

from ...lesson import Exercise, Mistake
from ._stages import CLOSE


def remove_neurons(w1, b1, w2, keep):
    return w1[keep], b1[keep], w2[:, keep]


# Inputs, neurons, outputs, and the neurons that stay. First a square, where rows and columns can be mixed up.
_NETWORKS = ((6, 6, 6, [0, 2, 3, 5]), (5, 8, 3, [1, 2, 4, 7]), (4, 7, 2, [6]))


def _network(inputs, neurons, outputs, kept):
    generator = torch.Generator().manual_seed(neurons)
    shapes = ((neurons, inputs), (neurons,), (outputs, neurons), (10, inputs))
    w1, b1, w2, x = (torch.randn(shape, generator=generator) for shape in shapes)
    keep = torch.zeros(neurons, dtype=torch.bool)
    keep[kept] = True
    return w1, b1, w2, keep, x


def _trial(fn):
    """The size of each small network, and its outputs."""
    results = []
    for sizes in _NETWORKS:
        *network, x = _network(*sizes)
        try:
            w1, b1, w2 = fn(*network)
            results.append((w1.numel() + b1.numel() + w2.numel(), torch.relu(x @ w1.T + b1) @ w2.T))
        except (RuntimeError, IndexError):  # a listed mistake whose layers do not fit together
            results.append("no network")
    return results


def _zeroed():
    """The outputs of the whole network with the other neurons at zero, and the size that is left."""
    results = []
    for inputs, neurons, outputs, kept in _NETWORKS:
        w1, b1, w2, keep, x = _network(inputs, neurons, outputs, kept)
        model = nn.Sequential(nn.Linear(inputs, neurons), nn.ReLU(), nn.Linear(neurons, outputs, bias=False))
        with torch.no_grad():
            for parameter, value in zip(model.parameters(), (w1 * keep[:, None], b1 * keep, w2)):
                parameter.copy_(value)
            results.append((len(kept) * (inputs + 1 + outputs), model(x)))
    return results


layers = Exercise(
    key="31/shrink-layers",
    title="Smaller layers",
    solution=remove_neurons,
    trial=_trial,
    expected=_zeroed,
    mistakes=(
        Mistake(
            "The next layer's inputs are forgotten: it still waits for the neurons that are gone. Take w2[:, keep].",
            lambda w1, b1, w2, keep: (w1[keep], b1[keep], w2),
        ),
        Mistake(
            "The bias is forgotten: each neuron has one, and it goes with the neuron.",
            lambda w1, b1, w2, keep: (w1[keep], b1, w2[:, keep]),
        ),
        Mistake(
            "The columns of w1 are its inputs; its neurons are the rows: w1[keep].",
            lambda w1, b1, w2, keep: (w1[:, keep], b1[keep], w2[:, keep]),
        ),
        Mistake(
            "The rows of w2 are its own neurons; the neurons before it are its columns: w2[:, keep].",
            lambda w1, b1, w2, keep: (w1[keep], b1[keep], w2[keep]),
        ),
        Mistake(
            "Rows and columns are swapped: a neuron is a row of its own weights and a column of the next ones.",
            lambda w1, b1, w2, keep: (w1[:, keep], b1[keep], w2[keep]),
        ),
        Mistake(
            "keep says which neurons stay; here they are the ones removed.",
            lambda w1, b1, w2, keep: (w1[~keep], b1[~keep], w2[:, ~keep]),
        ),
        Mistake(
            "The neurons are zero, but still there: nothing got smaller. Index with keep instead of multiplying.",
            lambda w1, b1, w2, keep: (w1 * keep[:, None], b1 * keep, w2),
        ),
        Mistake(
            "The neurons are zero, but still there: nothing got smaller. Index with keep instead of multiplying.",
            lambda w1, b1, w2, keep: (w1 * keep[:, None], b1 * keep, w2 * keep),
        ),
        Mistake(
            "The number is right, but these are the first neurons, whichever they are: take those with keep.",
            lambda w1, b1, w2, keep: (w1[: keep.sum()], b1[: keep.sum()], w2[:, : keep.sum()]),
        ),
        Mistake(
            "The outputs of w2 are cut too; they are what the network answers, and stay: w2[:, keep].",
            lambda w1, b1, w2, keep: (w1[keep], b1[keep], w2[keep][:, keep]),
        ),
        Mistake(
            "The inputs of w1 are cut too; they are the data, and stay: w1[keep].",
            lambda w1, b1, w2, keep: (w1[keep][:, keep], b1[keep], w2[:, keep]),
        ),
    ),
    hints=(
        "A neuron is in three places: its weights, its bias, and the weights with which the next layer reads it.",
        "w1 has shape (neurons, inputs), w2 has shape (outputs, neurons). A bool tensor picks: w1[keep].",
        "The neurons are the columns of w2: w2[:, keep]. Return all three.",
    ),
    **CLOSE,
)
