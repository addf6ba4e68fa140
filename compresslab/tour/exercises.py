"""The warm-up exercise of lesson 00."""

import numpy as np
import torch

from ..lesson import Exercise, Mistake


def sparsity(weight):
    return (weight == 0).float().mean()


def _weights():
    generator = torch.Generator().manual_seed(0)
    for shape in [(8, 5), (3, 4), (10,)]:
        weight = torch.randn(shape, generator=generator)
        weight = torch.where(weight.abs() > 0.8, weight, 0.0)
        weight.view(-1)[:2] = torch.tensor([1e-4, -1e-4])  # small, but not zero
        yield weight


def _expected():
    return torch.tensor([1 - np.count_nonzero(w.numpy()) / w.numel() for w in _weights()], dtype=torch.float64)


share_of_zeros = Exercise(
    key="00/sparsity",
    title="Share of zeros",
    solution=sparsity,
    trial=lambda fn: torch.tensor([float(fn(weight)) for weight in _weights()], dtype=torch.float64),
    expected=_expected,
    mistakes=(
        Mistake(
            "This is the share of weights that are left; sparsity is the share of zeros.",
            lambda weight: (weight != 0).float().mean(),
        ),
        Mistake(
            "This counts the zeros; sparsity is a share: divide by the number of weights.",
            lambda weight: (weight == 0).float().sum(),
        ),
        Mistake(
            "This is a percentage; sparsity is a share between 0 and 1.",
            lambda weight: 100 * (weight == 0).float().mean(),
        ),
        Mistake(
            "This counts the weights that are zero or negative; only zeros count.",
            lambda weight: (weight <= 0).float().mean(),
        ),
        Mistake(
            "This is the mean of the weights themselves; count the zeros among them.", lambda weight: weight.mean()
        ),
        Mistake(
            "Small is not zero: count entries that are exactly 0.", lambda weight: (weight.abs() < 1e-3).float().mean()
        ),
        Mistake(
            "len(weight) is the number of rows; divide by the number of all entries, weight.numel().",
            lambda weight: (weight == 0).sum() / len(weight),
        ),
    ),
    hints=(
        "weight == 0 is a tensor of True and False.",
        "True counts as 1: turn it into floats and take the mean.",
        "(weight == 0).float().mean()",
    ),
    rtol=1e-6,
    atol=0.0,  # a float32 mean of at most 40 numbers
)

ALL = (share_of_zeros,)
