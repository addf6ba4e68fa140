"""Lesson 60: an image as tokens, and the parameters of a transformer block."""

import torch
import torch.nn.functional as F
from torch import nn

from ...lesson import Exercise, Mistake

# ------------------------------------------------------------------------------ patches


def patches(images, size):
    n, channels, height, width = images.shape
    grid = images.reshape(n, channels, height // size, size, width // size, size)
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(n, -1, channels * size * size)


def _images(*shape):
    return torch.arange(torch.Size(shape).numel(), dtype=torch.float32).reshape(shape)


_SETTINGS = ((_images(2, 1, 8, 8), 2), (_images(1, 3, 4, 8), 2), (_images(2, 2, 9, 6), 3))


def _patches_trial(fn):
    return [fn(images, size) for images, size in _SETTINGS]


def _patches_by_unfold(images, size):
    return F.unfold(images, size, stride=size).transpose(1, 2)


def _axes(*order):
    """Patches with the six dimensions (image, channel, row, row inside, column, column inside) in another order."""

    def patches(images, size):
        n, channels, height, width = images.shape
        grid = images.reshape(n, channels, height // size, size, width // size, size)
        return grid.permute(*order).reshape(n, -1, channels * size * size)

    return patches


def _split_wrongly(images, size):
    n, channels, height, width = images.shape
    grid = images.reshape(n, channels, size, height // size, size, width // size)
    return grid.permute(0, 3, 5, 1, 2, 4).reshape(n, -1, channels * size * size)


cut_up = Exercise(
    key="60/patches",
    title="An image as tokens",
    solution=patches,
    trial=_patches_trial,
    expected=lambda: _patches_trial(_patches_by_unfold),
    mistakes=(
        Mistake(
            "reshape alone does not cut patches: a token then holds pixels that follow each other in a row of the "
            "image. Split height and width in two dimensions each, and permute before the last reshape.",
            lambda images, size: images.reshape(len(images), -1, images.shape[1] * size * size),
        ),
        Mistake("The tokens go down the columns of patches: let them go along the rows.", _axes(0, 4, 2, 1, 3, 5)),
        Mistake(
            "The pixels inside a patch are transposed: they go row by row, as in the image.", _axes(0, 2, 4, 1, 5, 3)
        ),
        Mistake("All is transposed, patches and pixels: rows come before columns in both.", _axes(0, 4, 2, 1, 5, 3)),
        Mistake(
            "The channels of a pixel lie side by side: in a token all of one channel comes first, then the next.",
            _axes(0, 2, 4, 3, 5, 1),
        ),
        Mistake(
            "Each channel has become tokens of its own: one token holds all channels of its patch.",
            _axes(0, 1, 2, 4, 3, 5),
        ),
        Mistake(
            "A patch is made of pixels that lie apart: height splits into (height // size, size), in this order.",
            _split_wrongly,
        ),
        Mistake(
            "Tokens and their numbers have changed places: the shape is (images, tokens, numbers of a token).",
            lambda images, size: F.unfold(images, size, stride=size),
        ),
        Mistake(
            "The patches overlap: move on by the size of a patch, not by one pixel.",
            lambda images, size: F.unfold(images, size).transpose(1, 2),
        ),
        Mistake(
            "This gives a grid of patches: put its rows one after the other, as one list of tokens.",
            lambda images, size: patches(images, size).unflatten(1, (images.shape[2] // size, -1)),
        ),
    ),
    hints=(
        "Height h is (h // size) patches of `size` rows each: reshape(n, channels, h // size, size, w // size, size).",
        "Order the six dimensions with permute: image; row and column of the patch; channel; row and column in it.",
        "Now the first of these is the image, the next two make the tokens, the last three one token: reshape(n, -1, "
        "channels * size * size).",
    ),
    rtol=0,
    atol=0,  # pixels are moved, not computed
)

# ------------------------------------------------------------------------------ parameters of a block


def block_parameters(width, heads, neurons):
    attention = 4 * (width * width + width)
    feed_forward = (width * neurons + neurons) + (neurons * width + width)
    norms = 2 * (width + width)
    return attention + feed_forward + norms


_SIZES = ((64, 4, 128), (64, 8, 128), (768, 12, 3072), (10, 5, 7))


def _block_trial(fn):
    return [fn(*sizes) for sizes in _SIZES]


def _block_by_torch(width, heads, neurons):
    with torch.device("meta"):  # sizes without memory
        return sum(p.numel() for p in nn.TransformerEncoderLayer(width, heads, neurons).parameters())


def _count(matrices=4, attention_bias=True, hidden_bias=True, out_bias=True, norms=4, both=2):
    def block_parameters(width, heads, neurons):
        n = matrices(heads) if callable(matrices) else matrices
        biases = attention_bias * n * width + hidden_bias * neurons + out_bias * width
        return int(n * width * width + both * width * neurons + biases + norms * width)

    return block_parameters


_FOUR_WIDTHS = (
    "4 * width are missing: the biases of the attention's four layers, or the two layer norms, which have a scale and "
    "a shift of width numbers each."
)
_HEADS = "The heads share the width: each reads width and gives width / heads numbers, so their number changes nothing."

counted = Exercise(
    key="60/block-parameters",
    title="The parameters of a transformer block",
    solution=block_parameters,
    trial=_block_trial,
    expected=lambda: _block_trial(_block_by_torch),
    mistakes=(
        Mistake(
            "The biases are missing: every linear layer adds one number for each of its outputs.",
            _count(attention_bias=False, hidden_bias=False, out_bias=False),
        ),
        Mistake(_FOUR_WIDTHS, _count(attention_bias=False)),
        Mistake(
            "The biases of the two feed-forward layers are missing: neurons of the one, width of the other.",
            _count(hidden_bias=False, out_bias=False),
        ),
        Mistake(
            "The second feed-forward layer has one bias for each of its outputs, and these are width, not neurons.",
            lambda width, heads, neurons: block_parameters(width, heads, neurons) - width + neurons,
        ),
        Mistake(_FOUR_WIDTHS, _count(norms=0)),
        Mistake(
            "2 * width are missing: there are two layer norms, one for the attention and one for the feed-forward "
            "part, and each has a scale and a shift of width numbers.",
            _count(norms=2),
        ),
        Mistake(
            "The output projection is missing: after query, key and value a fourth layer mixes the heads.",
            _count(matrices=3),
        ),
        Mistake(
            "Query, key and value are three layers, and with the output projection the attention has four.",
            _count(matrices=2),
        ),
        Mistake("The attention has four layers, query, key, value and output: here is one.", _count(matrices=1)),
        Mistake(_HEADS, _count(matrices=lambda heads: 4 * heads)),
        Mistake(_HEADS, _count(matrices=lambda heads: 3 * heads + 1)),
        Mistake(_HEADS, _count(matrices=lambda heads: 3 / heads + 1)),
        Mistake("The feed-forward part has two layers: width to neurons, and back.", _count(both=1, out_bias=False)),
        Mistake(
            "These are the weights of the linear layers alone: biases and layer norms are missing.",
            _count(attention_bias=False, hidden_bias=False, out_bias=False, norms=0),
        ),
    ),
    hints=(
        "A linear layer from a to b numbers has a * b weights and b biases.",
        "Attention: query, key, value and output, each from width to width. Feed-forward: width to neurons, and back.",
        "Then two layer norms, each with a scale and a shift of width numbers. The heads only share out the width.",
    ),
    rtol=0,
    atol=0,  # whole numbers
)
