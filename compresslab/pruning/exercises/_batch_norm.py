"""Lesson 31: channels removed from a convolution, its batch norm and the next convolution."""

import torch
from torch import nn
from torch.nn import functional as F

from ...lesson import Exercise, Mistake
from ._stages import CLOSE


def remove_channels(conv_weight, gamma, beta, mean, var, next_weight, keep):
    return conv_weight[keep], gamma[keep], beta[keep], mean[keep], var[keep], next_weight[:, keep]


# Channels in, between and out, and those between that stay. First a square, where in and out can be mixed up.
_NETWORKS = ((6, 6, 6, [0, 2, 3, 5]), (3, 8, 4, [1, 2, 4, 7]), (2, 5, 3, [4]))


def _network(before, channels, after, kept):
    generator = torch.Generator().manual_seed(channels)
    conv_weight = torch.randn(channels, before, 3, 3, generator=generator)
    gamma, beta, mean = torch.randn(3, channels, generator=generator)
    var = 0.5 + torch.rand(channels, generator=generator)
    next_weight = torch.randn(after, channels, 3, 3, generator=generator)
    keep = torch.zeros(channels, dtype=torch.bool)
    keep[kept] = True
    return conv_weight, gamma, beta, mean, var, next_weight, keep, torch.randn(2, before, 7, 7, generator=generator)


def _trial(fn):
    """The size of each small network, and its outputs: convolution, batch norm, ReLU, convolution."""
    results = []
    for sizes in _NETWORKS:
        *network, x = _network(*sizes)
        try:
            small = conv_weight, gamma, beta, mean, var, next_weight = fn(*network)
            hidden = F.batch_norm(F.conv2d(x, conv_weight), mean, var, gamma, beta)
            results.append((sum(t.numel() for t in small), F.conv2d(hidden.relu(), next_weight)))
        except (RuntimeError, IndexError):  # a listed mistake whose layers do not fit together
            results.append("no network")
    return results


def _zeroed():
    """The outputs of the whole network with the other channels' scale and shift at zero, and the size that is left."""
    results = []
    for before, channels, after, kept in _NETWORKS:
        conv_weight, gamma, beta, mean, var, next_weight, keep, x = _network(before, channels, after, kept)
        model = nn.Sequential(
            nn.Conv2d(before, channels, 3, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, after, 3, bias=False),
        ).eval()
        values = {
            "0.weight": conv_weight,
            "1.weight": gamma * keep,
            "1.bias": beta * keep,
            "1.running_mean": mean,
            "1.running_var": var,
            "3.weight": next_weight,
        }
        model.load_state_dict(values, strict=False)  # the number of batches seen stays as it is
        with torch.no_grad():
            results.append((len(kept) * (9 * before + 4 + 9 * after), model(x)))
    return results


def _cut(conv="rows", scale="cut", running="cut", after="columns"):
    """What is left where some of the tensors are cut in another way."""
    ways = {
        "rows": lambda t, keep: t[keep],
        "columns": lambda t, keep: t[:, keep],
        "both": lambda t, keep: t[keep][:, keep],
        "cut": lambda t, keep: t[keep],
        "whole": lambda t, keep: t.clone(),
        "zero": lambda t, keep: t * keep.reshape(-1, *[1] * (t.ndim - 1)),
    }

    def remove_channels(conv_weight, gamma, beta, mean, var, next_weight, keep):
        return (
            ways[conv](conv_weight, keep),
            *(ways[scale](t, keep) for t in (gamma, beta)),
            *(ways[running](t, keep) for t in (mean, var)),
            ways[after](next_weight, keep),
        )

    return remove_channels


def _inverted(*tensors_and_keep):
    *tensors, keep = tensors_and_keep
    return remove_channels(*tensors, ~keep)


def _first(conv_weight, gamma, beta, mean, var, next_weight, keep):
    n = int(keep.sum())
    return conv_weight[:n], gamma[:n], beta[:n], mean[:n], var[:n], next_weight[:, :n]


_ZERO = "The channels are zero, but still there: nothing got smaller. Index with keep instead of multiplying."

batch_norm = Exercise(
    key="31/shrink-batch-norm",
    title="A channel and all that goes with it",
    solution=remove_channels,
    trial=_trial,
    expected=_zeroed,
    mistakes=(
        Mistake(
            "Batch norm is forgotten: it has a scale, a shift, a mean and a variance for each channel.",
            _cut(scale="whole", running="whole"),
        ),
        Mistake(
            "The running statistics are forgotten: mean and var have one number for each channel too.",
            _cut(running="whole"),
        ),
        Mistake(
            "Only the running statistics of batch norm are cut: its scale and shift, gamma and beta, go too.",
            _cut(scale="whole"),
        ),
        Mistake(
            "The next convolution's outputs are cut. It reads the channels as its inputs, the second dimension: "
            "next_weight[:, keep].",
            _cut(after="rows"),
        ),
        Mistake(
            "The next convolution is forgotten: it still waits for the channels that are gone.", _cut(after="whole")
        ),
        Mistake(
            "The inputs of conv_weight are cut; its own channels are the first dimension: conv_weight[keep].",
            _cut(conv="columns"),
        ),
        Mistake(
            "Inputs and outputs are swapped: a channel is an output of the first convolution and an input of the next.",
            _cut(conv="columns", after="rows"),
        ),
        Mistake(
            "The inputs of conv_weight are cut too; they are the data, and stay: conv_weight[keep].", _cut(conv="both")
        ),
        Mistake(
            "The outputs of next_weight are cut too; nothing behind it changes: next_weight[:, keep].",
            _cut(after="both"),
        ),
        Mistake(
            "Batch norm and the next convolution are forgotten: both hold numbers for each channel.",
            _cut(scale="whole", running="whole", after="whole"),
        ),
        Mistake("keep says which channels stay; here they are the ones removed.", _inverted),
        Mistake(_ZERO, _cut("zero", "zero", "zero", "whole")),
        Mistake(_ZERO, _cut("zero", "zero", "whole", "whole")),
        Mistake(
            "The number is right, but these are the first channels, whichever they are: take those with keep.", _first
        ),
    ),
    hints=(
        "A channel is in six places: the convolution, four tensors of batch norm, and the next convolution's inputs.",
        "A convolution's weight has shape (channels out, channels in, height, width). A bool tensor picks: var[keep].",
        "The channels are the second dimension of next_weight, next_weight[:, keep], and the first of all the others.",
    ),
    **CLOSE,
)
