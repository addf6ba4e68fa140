"""Lesson 11: a training loop with targets that stay."""

import torch

from ...lesson import Exercise, Mistake


def fit_line(x, y, lr, steps):
    slope, offset = torch.zeros(()), torch.zeros(())
    for _ in range(steps):
        error = slope * x + offset - y
        slope, offset = slope - lr * 2 * (error * x).mean(), offset - lr * 2 * error.mean()
    return slope, offset


_SETTINGS = ((0.1, 300), (0.05, 5), (0.2, 20))  # lr, steps: one that arrives, two that are still on the way


def _line_data():
    """Points whose mean is not 0, so that slope and offset pull at each other."""
    x = torch.linspace(-1, 3, 64)
    return x, 1.5 * x - 0.5 + 0.3 * torch.randn(64, generator=torch.Generator().manual_seed(7))


def _line_trial(fn):
    lines = [fn(*_line_data(), lr, steps) for lr, steps in _SETTINGS]
    return torch.tensor([[float(number) for number in line] for line in lines], dtype=torch.float64)


def _line_by_torch():
    x, y = (t.double() for t in _line_data())
    lines = []
    for lr, steps in _SETTINGS:
        line = torch.zeros(2, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.SGD([line], lr=lr)
        for _ in range(steps):
            optimizer.zero_grad()
            ((line[0] * x + line[1] - y) ** 2).mean().backward()
            optimizer.step()
        lines.append(line.detach())
    return torch.stack(lines)


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


def _half_gradient(x, y, lr, steps):
    return fit_line(x, y, lr / 2, steps)


def _other_sign(x, y, lr, steps):
    return fit_line(x, y, -lr, steps)


def _one_after_the_other(x, y, lr, steps):
    slope, offset = torch.zeros(()), torch.zeros(())
    for _ in range(steps):
        slope = slope - lr * 2 * ((slope * x + offset - y) * x).mean()
        offset = offset - lr * 2 * (slope * x + offset - y).mean()
    return slope, offset


mended = Exercise(
    key="11/mended-loop",
    title="Mend the loop",
    solution=fit_line,
    trial=_line_trial,
    expected=_line_by_torch,
    mistakes=(
        Mistake(
            "The targets are still drawn afresh at each step: compare with the y that you were given.", _fresh_targets
        ),
        Mistake("The offset never moves: it needs its own gradient, 2·mean(error).", _no_offset),
        Mistake(
            "The gradient is a sum over the points, 64 times too large for this learning rate: take the mean.", _summed
        ),
        Mistake("Only one step was taken: repeat `steps` times.", _one_step),
        Mistake("The factor 2 of the gradient is missing: the derivative of error² is 2·error.", _half_gradient),
        Mistake("The line runs away from the points: with error = prediction − y, subtract the gradient.", _other_sign),
        Mistake(
            "The offset already sees the new slope: compute the error once, then update both from it.",
            _one_after_the_other,
        ),
    ),
    hints=(
        "Nothing may be drawn inside the loop: the data are x and y, and they stay as they are.",
        "error = slope * x + offset - y. The gradient of mean(error²) is 2·mean(error·x) for the slope "
        "and 2·mean(error) for the offset.",
        "Update both from the same error, then go on.",
    ),
    rtol=0,
    # float32 against float64: a step rounds by some 1e-7 and keeps 0.9 of the error before it (lr = 0.1, smallest
    # curvature 0.95), so it stays near 1e-6. A listed mistake, or another lr or number of steps, moves a line by 1e-2.
    atol=1e-5,
)
