"""Small networks to compress. Each function builds one; `seed` fixes its weights and leaves torch's own
random numbers as they were."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from itertools import pairwise
from numbers import Integral

import torch
from torch import nn


@contextmanager
def seeded(seed: int | None):
    """Draw from a generator of our own inside the block; with None, from torch's global one."""
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.default_generator.manual_seed(seed)
        yield


def check_positive(**sizes: int) -> None:
    """ValueError for the first of `sizes` that is no whole number of at least 1."""
    for name, value in sizes.items():
        if not isinstance(value, Integral) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")


def mlp(sizes: Sequence[int] = (64, 32, 10), seed: int | None = None) -> nn.Sequential:
    """Multilayer perceptron: images (n, ...) -> scores (n, sizes[-1]), a ReLU between the layers.

    `sizes` holds the number of inputs, of the neurons in each hidden layer, and of classes.

    >>> model = mlp((64, 32, 10))
    >>> sum(p.numel() for p in model.parameters())
    2410
    """
    if len(sizes) < 2:
        raise ValueError(f"sizes must hold at least two numbers (inputs, classes), got {tuple(sizes)}")
    check_positive(**{f"sizes[{i}]": size for i, size in enumerate(sizes)})
    with seeded(seed):
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        return nn.Sequential(*layers[:-1])


def lenet300(seed: int | None = None) -> nn.Sequential:
    """LeNet-300-100: images (n, 1, 28, 28) -> scores (n, 10).

    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition"
    (1998).

    >>> sum(p.numel() for p in lenet300().parameters())
    266610
    """
    return mlp((784, 300, 100, 10), seed)


def lenet5(seed: int | None = None) -> nn.Sequential:
    """LeNet-5 with Caffe's sizes (20-50-500-10): images (n, 1, 28, 28) -> scores (n, 10).

    The network of most pruning papers; here a ReLU follows each convolution too (Caffe's has one only, before
    the last layer). LeCun et al. (1998), as above; Y. Jia et al., "Caffe" (2014), examples/mnist.

    >>> sum(p.numel() for p in lenet5().parameters())
    431080
    """
    with seeded(seed):
        return nn.Sequential(
            nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(20, 50, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(800, 500), nn.ReLU(),
            nn.Linear(500, 10),
        )  # fmt: skip


class ResidualBlock(nn.Module):
    """relu(body(x) + shortcut(x)): two 3 x 3 convolutions; a 1 x 1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(self.body(x) + self.shortcut(x))


def resnet20(width: int = 16, in_channels: int = 1, num_classes: int = 10, seed: int | None = None) -> nn.Sequential:
    """ResNet-20 for small images: (n, in_channels, h, w) -> scores (n, num_classes).

    Three stages of three blocks, `width`, 2 `width` and 4 `width` channels, halving the image between stages.
    The shortcut is a 1 x 1 convolution where the shape changes (option B of the paper, 2,752 parameters more
    than A). K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition" (2016), section
    4.2.

    >>> sum(p.numel() for p in resnet20(in_channels=3).parameters())
    272474
    """
    check_positive(width=width, in_channels=in_channels, num_classes=num_classes)
    with seeded(seed):
        layers = [nn.Conv2d(in_channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
        for outputs, stride in [(width, 1), (2 * width, 2), (4 * width, 2)]:
            for step in (stride, 1, 1):
                layers.append(ResidualBlock(channels, outputs, step))
                channels = outputs
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes)]
        return nn.Sequential(*layers)


def depthwise(width: int = 16, in_channels: int = 1, num_classes: int = 10, seed: int | None = None) -> nn.Sequential:
    """Small MobileNet: images (n, in_channels, h, w) -> scores (n, num_classes).

    Four pairs of a depthwise 3 x 3 convolution (one filter a channel) and a 1 x 1 convolution that mixes
    channels. A. Howard et al., "MobileNets: efficient convolutional neural networks for mobile vision
    applications" (2017).

    >>> sum(p.numel() for p in depthwise().parameters())
    10474
    """
    check_positive(width=width, in_channels=in_channels, num_classes=num_classes)

    def normalised(conv: nn.Conv2d) -> list[nn.Module]:
        return [conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU()]

    with seeded(seed):
        layers = normalised(nn.Conv2d(in_channels, width, 3, padding=1, bias=False))
        channels = width
        for outputs, stride in [(2 * width, 2), (2 * width, 1), (4 * width, 2), (4 * width, 1)]:
            layers += normalised(nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False))
            layers += normalised(nn.Conv2d(channels, outputs, 1, bias=False))
            channels = outputs
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes)]
        return nn.Sequential(*layers)


class RowRNN(nn.Module):
    """Reads one row of pixels a step: hidden <- tanh(input(row) + recurrent(hidden)), from hidden = 0."""

    def __init__(self, pixels: int, hidden: int, num_classes: int):
        super().__init__()
        self.input = nn.Linear(pixels, hidden)
        self.recurrent = nn.Linear(hidden, hidden, bias=False)
        self.output = nn.Linear(hidden, num_classes)

    def forward(self, x):
        rows = self.input(x.flatten(1, 2))  # (n, rows, hidden)
        hidden = torch.tanh(rows[:, 0])
        for step in range(1, rows.shape[1]):
            hidden = torch.tanh(rows[:, step] + self.recurrent(hidden))
        return self.output(hidden)


def tiny_rnn(image_size: int = 8, hidden: int = 32, num_classes: int = 10, seed: int | None = None) -> RowRNN:
    """Recurrent network that reads an image row by row: (n, 1, h, image_size) -> scores (n, num_classes).

    J. Elman, "Finding structure in time" (1990); same numbers as `torch.nn.RNN` with the same weights.

    >>> sum(p.numel() for p in tiny_rnn().parameters())
    1642
    """
    check_positive(image_size=image_size, hidden=hidden, num_classes=num_classes)
    with seeded(seed):
        return RowRNN(image_size, hidden, num_classes)


class Attention(nn.Module):
    """Multi-head self-attention on (n, tokens, width): softmax(q kᵀ / √d) v for each head of d channels."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x):
        def split(y):  # (n, tokens, width) -> (n, heads, tokens, d)
            return y.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        q, k, v = split(self.query(x)), split(self.key(x)), split(self.value(x))
        weights = torch.softmax(q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5, dim=-1)
        return self.out((weights @ v).transpose(1, 2).flatten(2))


class TransformerBlock(nn.Module):
    """Attention, then a two-layer perceptron; each reads a normalised copy and adds to its input."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class RowTransformer(nn.Module):
    """Each row of pixels is one token; the classes are read from the mean of the tokens."""

    def __init__(self, image_size: int, width: int, heads: int, depth: int, num_classes: int):
        super().__init__()
        self.embed = nn.Linear(image_size, width)
        self.position = nn.Parameter(0.02 * torch.randn(image_size, width))
        self.blocks = nn.Sequential(*(TransformerBlock(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, num_classes)

    def forward(self, x):
        tokens = self.embed(x.flatten(1, 2)) + self.position
        return self.output(self.norm(self.blocks(tokens)).mean(1))


def tiny_transformer(
    image_size: int = 8,
    width: int = 32,
    heads: int = 4,
    depth: int = 2,
    num_classes: int = 10,
    seed: int | None = None,
) -> RowTransformer:
    """Transformer whose tokens are image rows: (n, 1, image_size, image_size) -> scores (n, num_classes).

    A. Vaswani et al., "Attention is all you need" (2017); normalised before each part as in R. Xiong et al.,
    "On layer normalization in the transformer architecture" (2020).

    >>> sum(p.numel() for p in tiny_transformer().parameters())
    18026
    """
    check_positive(image_size=image_size, width=width, heads=heads, depth=depth, num_classes=num_classes)
    if width % heads:
        raise ValueError(f"width must be a multiple of heads ({heads}), got {width}")
    with seeded(seed):
        return RowTransformer(image_size, width, heads, depth, num_classes)
