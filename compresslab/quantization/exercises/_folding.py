"""Lesson 41: batch norm folded into a convolution."""

import torch
from torch.nn.utils.fusion import fuse_conv_bn_weights

from ...lesson import Exercise, Mistake


def fold(conv_weight, conv_bias, gamma, beta, mean, var, eps):
    factor = gamma / torch.sqrt(var + eps)
    weight = conv_weight * factor.reshape(-1, 1, 1, 1)
    bias = (conv_bias - mean) * factor + beta
    return weight, bias


# Shape of the convolution's weight, eps. Factors fit along all axes, so that these can be mixed up. One is depthwise.
_SETTINGS = (((3, 3, 3, 3), 1e-2), ((3, 1, 3, 3), 1e-1), ((2, 2, 2, 2), 1e-3), ((5, 5, 5, 5), 0.5))


def _layers(shape, eps):
    generator = torch.Generator().manual_seed(sum(shape))
    conv_weight = torch.randn(shape, generator=generator)
    conv_bias, gamma, beta, mean = torch.randn(4, shape[0], generator=generator)
    var = 0.02 + 2 * torch.rand(shape[0], generator=generator)
    return conv_weight, conv_bias, gamma, beta, mean, var, eps


def _trial(fn):
    return [tuple(fn(*_layers(*setting))) for setting in _SETTINGS]


def _by_torch(conv_weight, conv_bias, gamma, beta, mean, var, eps):
    return fuse_conv_bn_weights(conv_weight, conv_bias, mean, var, eps, gamma, beta)


def _first_axis(weight, factor):
    return weight * factor.reshape(-1, 1, 1, 1)


def _variant(
    factor=lambda gamma, var, eps: gamma / torch.sqrt(var + eps),
    weight=_first_axis,
    bias=lambda b, f, beta, mean: (b - mean) * f + beta,
):
    """The right function with one thing exchanged."""

    def fold(conv_weight, conv_bias, gamma, beta, mean, var, eps):
        f = factor(gamma, var, eps)
        return weight(conv_weight, f), bias(conv_bias, f, beta, mean)

    return fold


def _bias(bias):
    return _variant(bias=bias)


_AXIS = "The weights are scaled along another dimension. A channel is conv_weight[i]: factor.reshape(-1, 1, 1, 1)."

folding = Exercise(
    key="41/fold",
    title="Batch norm without batch norm",
    solution=fold,
    trial=_trial,
    expected=lambda: _trial(_by_torch),
    mistakes=(
        Mistake(
            "The mean is forgotten; batch norm subtracts it first: (conv_bias − mean) · factor + beta.",
            _bias(lambda b, f, beta, mean: b * f + beta),
        ),
        Mistake("eps is forgotten: divide by √(var + eps).", _variant(lambda gamma, var, eps: gamma / torch.sqrt(var))),
        Mistake(
            "eps is added outside the root: divide by √(var + eps).",
            _variant(lambda gamma, var, eps: gamma / (torch.sqrt(var) + eps)),
        ),
        Mistake(
            "This divides by the variance; batch norm divides by the standard deviation, √(var + eps).",
            _variant(lambda gamma, var, eps: gamma / (var + eps)),
        ),
        Mistake(
            "This multiplies by the standard deviation; batch norm divides by it.",
            _variant(lambda gamma, var, eps: gamma * torch.sqrt(var + eps)),
        ),
        Mistake(
            "gamma is forgotten: factor = gamma / √(var + eps).",
            _variant(lambda gamma, var, eps: 1 / torch.sqrt(var + eps)),
        ),
        Mistake(
            "Only gamma is folded in: batch norm also divides by √(var + eps).", _variant(lambda gamma, var, eps: gamma)
        ),
        Mistake(_AXIS, _variant(weight=lambda w, f: w * f)),
        Mistake(_AXIS, _variant(weight=lambda w, f: w * f.reshape(-1, 1))),
        Mistake(_AXIS, _variant(weight=lambda w, f: w * f.reshape(1, -1, 1, 1))),
        Mistake(
            "The weights stay as they were: multiply each output channel by its factor.",
            _variant(weight=lambda w, f: w.clone()),
        ),
        Mistake(
            "The convolution's own bias is forgotten; batch norm reads it too: (conv_bias − mean) · factor + beta.",
            _bias(lambda b, f, beta, mean: beta - mean * f),
        ),
        Mistake(
            "The convolution's own bias is not scaled; batch norm reads it too: (conv_bias − mean) · factor + beta.",
            _bias(lambda b, f, beta, mean: b - mean * f + beta),
        ),
        Mistake(
            "The mean is not scaled: it is subtracted before batch norm divides, (conv_bias − mean) · factor + beta.",
            _bias(lambda b, f, beta, mean: b * f - mean + beta),
        ),
        Mistake(
            "Neither bias nor mean is scaled: (conv_bias − mean) · factor + beta.",
            _bias(lambda b, f, beta, mean: b - mean + beta),
        ),
        Mistake(
            "The mean is added; batch norm subtracts it.",
            _bias(lambda b, f, beta, mean: (b + mean) * f + beta),
        ),
        Mistake("beta is forgotten: batch norm adds it last.", _bias(lambda b, f, beta, mean: (b - mean) * f)),
        Mistake(
            "beta is scaled too; batch norm adds it last, after the division.",
            _bias(lambda b, f, beta, mean: (b - mean + beta) * f),
        ),
        Mistake(
            "The bias is beta alone: (conv_bias − mean) · factor + beta.", _bias(lambda b, f, beta, mean: beta.clone())
        ),
    ),
    hints=(
        "Batch norm: gamma · (y − mean) / √(var + eps) + beta. Put y = w x + b into it and sort: what stands before x?",
        "With factor = gamma / √(var + eps) it is (factor · w) x + (b − mean) · factor + beta.",
        "Each output channel, conv_weight[i], has a factor of its own: factor.reshape(-1, 1, 1, 1).",
    ),
    rtol=1e-4,  # float32, and torch takes rsqrt
    atol=1e-5,
)
