"""Lesson 11: a training loop with targets that stay."""

import numpy as np
import torch

from ...lesson import Exercise, Mistake


def fit_line(x, y, lr, steps):
    slope, offset = torch.zeros(()), torch.zeros(())
    for _ in range(steps):
        error = slope * x + offset - y
        slope, offset = slope - lr * 2 * (error * x).mean(), offset - lr * 2 * error.mean()
    return slope, offset


def _line_data():
    generator = torch.Generator().manual_seed(7)
    x = torch.linspace(-2, 2, 64)
    return x, 1.5 * x - 0.5 + 0.3 * torch.randn(64, generator=generator)


def _line_trial(fn):
    return torch.stack([torch.as_tensor(number, dtype=torch.float32) for number in fn(*_line_data(), 0.1, 300)])


def _least_squares():
    x, y = (t.double().numpy() for t in _line_data())
    return torch.tensor(np.polyfit(x, y, 1), dtype=torch.float32)


def _fresh_targets(x, y, lr, steps):
    slope, offset = torch.zeros(()), torch.zeros(())
    for _ in range(steps):
        error = slope * x + offset - torch.randn(x.shape)
        slope, offset = slope - lr * 2 * (error * x).mean(), offset - lr * 2 * error.mean()
    return slope, offset


def _no_offset(x, y, lr, steps):
    slope = torch.zeros(())
    for _ in range(steps):
        slope = slope - lr * 2 * ((slope * x - y) * x).mean()
    return slope, torch.zeros(())


def _summed(x, y, lr, steps):
    slope, offset = torch.zeros(()), torch.zeros(())
    for _ in range(steps):
        error = slope * x + offset - y
        slope, offset = slope - lr * 2 * (error * x).sum(), offset - lr * 2 * error.sum()
    return slope, offset


def _one_step(x, y, lr, steps):
    return fit_line(x, y, lr, 1)


mended = Exercise(
    key="11/mended-loop",
    title="Mend the loop",
    solution=fit_line,
    trial=_line_trial,
    expected=_least_squares,
    mistakes=(
        Mistake(
            "The targets are still drawn afresh at each step: compare with the y that you were given.", _fresh_targets
        ),
        Mistake("The offset never moves: it needs its own gradient, 2·mean(error).", _no_offset),
        Mistake(
            "The gradient is a sum over the points, 64 times too large for this learning rate: take the mean.", _summed
        ),
        Mistake("Only one step was taken: repeat `steps` times.", _one_step),
    ),
    hints=(
        "Nothing may be drawn inside the loop: the data are x and y, and they stay as they are.",
        "error = slope * x + offset - y. The gradient of mean(error²) is 2·mean(error·x) for the slope "
        "and 2·mean(error) for the offset.",
        "Update both from the same error, then go on.",
    ),
    rtol=0,
    atol=1e-5,  # float32: values of size 1.5, rounding 2**-24 each of a few operations near the fixed point
)
