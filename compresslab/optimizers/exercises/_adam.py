"""Lesson 10: one step of Adam."""

from functools import partial

import torch

from ...lesson import Exercise, Mistake
from ._problem import CLOSE, START, STEPS, expected_path, gradient


def adam_step(param, grad, mean, square, step, lr, beta1, beta2, eps):
    mean = beta1 * mean + (1 - beta1) * grad
    square = beta2 * square + (1 - beta2) * grad * grad
    mean_hat = mean / (1 - beta1**step)
    square_hat = square / (1 - beta2**step)
    return param - lr * mean_hat / (square_hat.sqrt() + eps), mean, square


def adam_trial(fn):
    param, mean, square, path = START.clone(), torch.zeros_like(START), torch.zeros_like(START), []
    for step in range(1, STEPS + 1):
        param, mean, square = fn(param, gradient(param), mean, square, step, 0.01, 0.9, 0.999, 1e-8)
        path.append(param)
    return torch.stack(path)


def _adam_variant(correct_mean=True, correct_square=True, eps_inside=False, own_beta=True, late=0, weighted=True):
    """Adam with one thing wrong."""

    def adam_step(param, grad, mean, square, step, lr, beta1, beta2, eps):
        mean = beta1 * mean + ((1 - beta1) if weighted else 1.0) * grad
        b = beta2 if own_beta else beta1
        square = b * square + (1 - b) * grad * grad
        mean_hat = mean / (1 - beta1 ** (step + late)) if correct_mean else mean
        square_hat = square / (1 - b ** (step + late)) if correct_square else square
        root = (square_hat + eps).sqrt() if eps_inside else square_hat.sqrt() + eps
        return param - lr * mean_hat / root, mean, square

    return adam_step


def _adam_corrected_state(param, grad, mean, square, step, lr, beta1, beta2, eps):
    mean = (beta1 * mean + (1 - beta1) * grad) / (1 - beta1**step)
    square = (beta2 * square + (1 - beta2) * grad * grad) / (1 - beta2**step)
    return param - lr * mean / (square.sqrt() + eps), mean, square


adam = Exercise(
    key="10/adam",
    title="Adam",
    solution=adam_step,
    trial=adam_trial,
    expected=lambda: expected_path(partial(torch.optim.Adam, lr=0.01)),
    mistakes=(
        Mistake(
            "The bias correction is missing: mean and square start at zero, so divide the first by 1 − beta1**step and "
            "the second by 1 − beta2**step.",
            _adam_variant(correct_mean=False, correct_square=False),
        ),
        Mistake(
            "Only the square is corrected for its start at zero; correct the mean too.",
            _adam_variant(correct_mean=False),
        ),
        Mistake(
            "Only the mean is corrected for its start at zero; correct the square too.",
            _adam_variant(correct_square=False),
        ),
        Mistake(
            "eps stands inside the square root: that makes it √eps, ten thousand times larger. Take the root first, "
            "then add eps.",
            _adam_variant(eps_inside=True),
        ),
        Mistake("The square is averaged with beta1; it has its own, slower beta2.", _adam_variant(own_beta=False)),
        Mistake("The correction counts one step too many: step is already 1 at the first call.", _adam_variant(late=1)),
        Mistake(
            "The mean adds the whole gradient. In Adam it is an average: weight the gradient with 1 − beta1.",
            _adam_variant(weighted=False),
        ),
        Mistake(
            "The corrected values are handed back as the new mean and square, so they are corrected again at the next "
            "step. Keep the raw averages; use the corrected ones only in the step.",
            _adam_corrected_state,
        ),
    ),
    hints=(
        "Two moving averages: of the gradient (beta1) and of its square (beta2). They start at zero and so too small.",
        "Divide each by 1 − beta**step. Use these corrected values in the step, but return the averages themselves.",
        "param - lr * mean_hat / (square_hat.sqrt() + eps), with mean_hat = mean / (1 - beta1**step).",
    ),
    **CLOSE,
)
