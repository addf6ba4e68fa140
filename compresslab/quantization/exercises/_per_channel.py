"""Lesson 40: a scale for each output channel."""

import torch
from torch.ao.quantization.observer import PerChannelMinMaxObserver

from ...lesson import Exercise, Mistake


def channel_scales(weight, bits):
    largest = weight.abs().flatten(1).amax(dim=1)
    return largest / (2 ** (bits - 1) - 1)


# First squares, in which inputs and outputs can be mixed up; then a layer of each kind, the last depthwise.
_SETTINGS = (((5, 5), 8), ((4, 4, 4, 4), 8), ((3, 7), 4), ((6, 3, 5, 5), 8), ((2, 9), 3), ((8, 1, 3, 3), 8))


def _weight(shape):
    """The channels differ in size up to a hundredfold, and in the sign of their largest weight."""
    generator = torch.Generator().manual_seed(sum(shape))
    weight = torch.randn(shape, generator=generator)
    weight[0] = -weight[0].abs()
    return weight * torch.logspace(0, -2, shape[0]).reshape(-1, *[1] * (len(shape) - 1))


def _trial(fn):
    return [fn(_weight(shape), bits) for shape, bits in _SETTINGS]


def _by_observer(weight, bits):
    reach = 2 ** (bits - 1) - 1
    observer = PerChannelMinMaxObserver(
        ch_axis=0, dtype=torch.qint8, qscheme=torch.per_channel_symmetric, quant_min=-reach, quant_max=reach
    )
    observer(weight)
    return observer.calculate_qparams()[0]


def _variant(largest, codes=lambda bits: 2 ** (bits - 1) - 1):
    return lambda weight, bits: largest(weight) / codes(bits)


def _of_outputs(weight):
    return weight.abs().flatten(1).amax(dim=1)


def _of_inputs(weight):
    return weight.abs().transpose(0, 1).flatten(1).amax(dim=1)


def _kept_dimensions(weight):
    return _of_outputs(weight).reshape(-1, *[1] * (weight.ndim - 1))


_AXIS = (
    "This is a scale for each input channel, the second dimension. The outputs are the first: one scale for weight[i]."
)
_ONE = "This is one scale for the whole tensor: take the largest magnitude within each output channel, weight[i]."
_SHAPE = "The scales are right, but they must have the shape (channels,): drop keepdim, or flatten them."
_INNER = (
    "Only the last dimension is looked through: a channel of a convolution is weight[i], all its inputs and places."
)
_ABS = "Only one side of 0 is looked at: compare the magnitudes, weight.abs()."

per_channel = Exercise(
    key="40/per-channel",
    title="A scale for each channel",
    solution=channel_scales,
    trial=_trial,
    expected=lambda: _trial(_by_observer),
    mistakes=(
        Mistake(_AXIS, _variant(_of_inputs)),
        Mistake(_ONE, _variant(lambda weight: weight.abs().max())),
        Mistake(_ONE, _variant(lambda weight: weight.abs().max().expand(len(weight)))),
        Mistake(_SHAPE, _variant(_kept_dimensions)),
        Mistake(_SHAPE, _variant(lambda weight: _of_outputs(weight)[:, None])),
        Mistake(_INNER, _variant(lambda weight: weight.abs().amax(dim=-1))),
        Mistake(_INNER, _variant(lambda weight: weight.abs().amax(dim=1))),
        Mistake(
            "This is the mean magnitude of each channel, so its larger half would be clipped: use the largest.",
            _variant(lambda weight: weight.abs().flatten(1).mean(dim=1)),
        ),
        Mistake(
            "This is the standard deviation of each channel, so its largest weights would be clipped: use the largest "
            "magnitude.",
            _variant(lambda weight: weight.flatten(1).std(dim=1)),
        ),
        Mistake(_ABS, _variant(lambda weight: weight.flatten(1).amax(dim=1))),
        Mistake(_ABS, _variant(lambda weight: weight.flatten(1).amax(dim=1).abs())),
        Mistake(
            "This divides by 2^(b−1) codes; the symmetric range ends one earlier: 2**(bits - 1) - 1.",
            _variant(_of_outputs, lambda bits: 2 ** (bits - 1)),
        ),
        Mistake(
            "From 0 to the largest magnitude there are only half as many codes: divide by 2**(bits - 1) - 1.",
            _variant(_of_outputs, lambda bits: 2**bits - 1),
        ),
        Mistake(
            "This is the range from min to max. A symmetric one is as long on both sides of 0: use weight.abs().",
            lambda weight, bits: (weight.flatten(1).amax(1) - weight.flatten(1).amin(1)) / (2**bits - 1),
        ),
        Mistake(
            "bits is not used: the codes end at 2**(bits - 1) - 1, not always at 127.",
            _variant(_of_outputs, lambda _: 127),
        ),
    ),
    hints=(
        "The first dimension of a weight is the outputs, for linear layers and convolutions: channel i is weight[i].",
        "weight.flatten(1) makes a row of each channel, whatever the layer. Take the largest magnitude of each row.",
        "weight.abs().flatten(1).amax(dim=1) / (2**(bits - 1) - 1).",
    ),
    rtol=1e-5,
    atol=0,  # float32
)
