"""Lesson 31: from channels to the inputs of a linear layer."""

import torch
from torch import nn

from ...lesson import Exercise, Mistake


def next_inputs(keep, height, width):
    size = height * width
    first = keep.nonzero().flatten() * size
    return (first[:, None] + torch.arange(size)).flatten()


# Channels that stay, of how many; height, width. Never as high as wide but once.
_MAPS = (([0, 2, 3], 5, 2, 3), ([1], 3, 4, 2), ([0, 1, 4, 6], 8, 3, 3), ([2, 5], 6, 1, 4))


def _keep(kept, channels):
    keep = torch.zeros(channels, dtype=torch.bool)
    keep[kept] = True
    return keep


def _trial(fn):
    return [fn(_keep(kept, channels), height, width) for kept, channels, height, width in _MAPS]


def _by_flatten():
    """Numbers 0, 1, 2 ... as nn.Flatten lays them out; those that lie in a kept channel."""
    places = []
    for kept, channels, height, width in _MAPS:
        numbers = torch.arange(channels * height * width)
        image = nn.Unflatten(0, (channels, height, width))(numbers)
        places.append(nn.Flatten()(image[None, kept])[0])
    return places


def _grid(channel, pixel, first=0, per_channel=True):
    """Positions `channel(c, size, n) + pixel(p, n)`, channel by channel or pixel by pixel."""

    def fn(keep, height, width):
        size, n = height * width, len(keep)
        places = channel(keep.nonzero().flatten(), size, n)[:, None] + pixel(torch.arange(size), n) + first
        return (places if per_channel else places.T).flatten()

    return fn


def _transposed(keep, height, width):
    image = torch.arange(len(keep) * height * width).reshape(-1, height, width)
    return image.transpose(1, 2)[keep].flatten()


flattened = Exercise(
    key="31/flattened",
    title="Channels behind a flatten",
    solution=next_inputs,
    trial=_trial,
    expected=_by_flatten,
    mistakes=(
        Mistake(
            "This counts as if the channel came last; flatten lays out one whole channel after the other: channel c "
            "begins at c · height · width.",
            _grid(lambda c, size, n: c, lambda p, n: p * n),
        ),
        Mistake(
            "This counts as if the channel came last; flatten lays out one whole channel after the other: channel c "
            "begins at c · height · width.",
            _grid(lambda c, size, n: c, lambda p, n: p * n, per_channel=False),
        ),
        Mistake(
            "This is one input for each channel; flatten makes height · width of each.",
            lambda keep, height, width: keep.nonzero().flatten(),
        ),
        Mistake(
            "This is only the first input of each channel; height · width of them belong to it.",
            lambda keep, height, width: keep.nonzero().flatten() * height * width,
        ),
        Mistake(
            "One too far: positions count from 0, so channel c begins at c · height · width.",
            _grid(lambda c, size, n: c * size, lambda p, n: p, first=1),
        ),
        Mistake(
            "A channel has height · width inputs; this takes one row of it.",
            lambda keep, height, width: next_inputs(keep, 1, width),
        ),
        Mistake(
            "A channel has height · width inputs; this takes one column of it.",
            lambda keep, height, width: next_inputs(keep, height, 1),
        ),
        Mistake(
            "The channels overlap: channel c begins at c · height · width, not at c.",
            _grid(lambda c, size, n: c, lambda p, n: p),
        ),
        Mistake(
            "The channels overlap: channel c begins at c · height · width; the height is missing.",
            lambda keep, height, width: (
                keep.nonzero().flatten()[:, None] * width + torch.arange(height * width)
            ).flatten(),
        ),
        Mistake(
            "keep says which channels stay; these are the inputs of those that go.",
            lambda keep, height, width: next_inputs(~keep, height, width),
        ),
        Mistake(
            "These are the right inputs in another order: all of the first kept channel come first.",
            _grid(lambda c, size, n: c * size, lambda p, n: p, per_channel=False),
        ),
        Mistake("Within a channel flatten goes row by row, not column by column.", _transposed),
        Mistake(
            "This is a mask; return the positions of its True values: mask.nonzero().flatten().",
            lambda keep, height, width: keep.repeat_interleave(height * width),
        ),
    ),
    hints=(
        "flatten lays out channel 0 row by row, then channel 1, and so on. Where does channel c begin?",
        "Channel c begins at c · height · width, and that many inputs belong to it.",
        "first = keep.nonzero().flatten() * height * width. Add torch.arange(height * width) to each, then flatten.",
    ),
    rtol=0,
    atol=0,  # positions
)
