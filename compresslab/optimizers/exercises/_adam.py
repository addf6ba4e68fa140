"""Lesson 10: one step of Adam."""

from functools import partial

import torch

from ...lesson import Exercise, Mistake
from ._problem import CLOSE, START, STEPS, expected_paths, gradient


def adam_step(param, grad, mean, square, step, lr, beta1, beta2, eps):
    mean = beta1 * mean + (1 - beta1) * grad
    square = beta2 * square + (1 - beta2) * grad * grad
    mean_hat = mean / (1 - beta1**step)
    square_hat = square / (1 - beta2**step)
    return param - lr * mean_hat / (square_hat.sqrt() + eps), mean, square


# lr, beta1, beta2, eps: two walks, so that no value can be written into the function
WALKS = ((0.01, 0.9, 0.999, 1e-8), (0.02, 0.8, 0.99, 1e-3))


def adam_trial(fn, walks=WALKS):
    paths = []
    for walk in walks:
        param, mean, square, path = START.clone(), torch.zeros_like(START), torch.zeros_like(START), []
        for step in range(1, STEPS + 1):
            param, mean, square = fn(param, gradient(param), mean, square, step, *walk)
            path.append(param)
        paths.append(torch.stack(path))
    return torch.stack(paths)


def _adam_expected():
    return expected_paths(partial(torch.optim.Adam, lr=lr, betas=betas, eps=eps) for lr, *betas, eps in WALKS)


def _variant(
    new_mean=lambda m, g, beta: beta * m + (1 - beta) * g,
    new_square=lambda s, g, beta: beta * s + (1 - beta) * g * g,
    correct=lambda m, s, beta1, beta2, t: (m / (1 - beta1**t), s / (1 - beta2**t)),
    move=lambda p, g, m, s, lr, eps: p - lr * m / (s.sqrt() + eps),
):
    """Adam with one thing wrong."""

    def adam_step(param, grad, mean, square, step, lr, beta1, beta2, eps):
        mean, square = new_mean(mean, grad, beta1), new_square(square, grad, beta2)
        mean_hat, square_hat = correct(mean, square, beta1, beta2, step)
        return move(param, grad, mean_hat, square_hat, lr, eps), mean, square

    return adam_step


def _corrected_state(param, grad, mean, square, step, lr, beta1, beta2, eps):
    mean = (beta1 * mean + (1 - beta1) * grad) / (1 - beta1**step)
    square = (beta2 * square + (1 - beta2) * grad * grad) / (1 - beta2**step)
    return param - lr * mean / (square.sqrt() + eps), mean, square


def _not_handed_back(param, grad, mean, square, step, lr, beta1, beta2, eps):
    return adam_step(param, grad, mean, square, step, lr, beta1, beta2, eps)[0], mean, square


adam = Exercise(
    key="10/adam",
    title="Adam",
    solution=adam_step,
    trial=adam_trial,
    expected=_adam_expected,
    mistakes=(
        Mistake(
            "The bias correction is missing: mean and square start at zero, so divide the first by 1 − beta1**step and "
            "the second by 1 − beta2**step.",
            _variant(correct=lambda m, s, beta1, beta2, t: (m, s)),
        ),
        Mistake(
            "Only the square is corrected for its start at zero; correct the mean too.",
            _variant(correct=lambda m, s, beta1, beta2, t: (m, s / (1 - beta2**t))),
        ),
        Mistake(
            "Only the mean is corrected for its start at zero; correct the square too.",
            _variant(correct=lambda m, s, beta1, beta2, t: (m / (1 - beta1**t), s)),
        ),
        Mistake(
            "eps stands inside the square root: that makes it √eps, ten thousand times larger. Take the root first, "
            "then add eps.",
            _variant(move=lambda p, g, m, s, lr, eps: p - lr * m / (s + eps).sqrt()),
        ),
        Mistake(
            "The correction counts one step too many: step is already 1 at the first call.",
            _variant(correct=lambda m, s, beta1, beta2, t: (m / (1 - beta1 ** (t + 1)), s / (1 - beta2 ** (t + 1)))),
        ),
        Mistake(
            "The correction is the same at every step: divide by 1 − beta1**step and 1 − beta2**step, which grow to 1.",
            _variant(correct=lambda m, s, beta1, beta2, t: (m / (1 - beta1), s / (1 - beta2))),
        ),
        Mistake(
            "The mean adds the whole gradient. In Adam it is an average: weight the gradient with 1 − beta1.",
            _variant(new_mean=lambda m, g, beta: beta * m + g),
        ),
        Mistake(
            "The square adds the whole g². It is an average too: weight it with 1 − beta2.",
            _variant(new_square=lambda s, g, beta: beta * s + g * g),
        ),
        Mistake(
            "The corrected values are handed back as the new mean and square, so they are corrected again at the next "
            "step. Keep the raw averages; use the corrected ones only in the step.",
            _corrected_state,
        ),
        Mistake(
            "The new mean and square are not handed back, so nothing is remembered: return them with param.",
            _not_handed_back,
        ),
        Mistake(
            "Brackets are missing: eps belongs to the denominator, / (root + eps).",
            _variant(move=lambda p, g, m, s, lr, eps: p - lr * m / s.sqrt() + eps),
        ),
        Mistake(
            "The square root is missing: divide by square_hat.sqrt() + eps.",
            _variant(move=lambda p, g, m, s, lr, eps: p - lr * m / (s + eps)),
        ),
        Mistake(
            "The step moves along grad; Adam moves along the corrected mean of the gradients.",
            _variant(move=lambda p, g, m, s, lr, eps: p - lr * g / (s.sqrt() + eps)),
        ),
    ),
    hints=(
        "Two moving averages: of the gradient (beta1) and of its square (beta2). They start at zero and so too small.",
        "Divide each by 1 − beta**step. Use these corrected values in the step, but return the averages themselves.",
        "param - lr * mean_hat / (square_hat.sqrt() + eps), with mean_hat = mean / (1 - beta1**step).",
    ),
    **CLOSE,
)
