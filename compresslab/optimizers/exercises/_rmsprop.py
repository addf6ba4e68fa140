"""Lesson 10: one step of RMSprop."""

from functools import partial

import torch

from ...lesson import Exercise, Mistake
from ._problem import CLOSE, START, STEPS, expected_path, gradient


def rmsprop_step(param, grad, square, lr, alpha, eps):
    square = alpha * square + (1 - alpha) * grad * grad
    return param - lr * grad / (square.sqrt() + eps), square


def _rmsprop_trial(fn):
    param, square, path = START.clone(), torch.zeros_like(START), []
    for _ in range(STEPS):
        param, square = fn(param, gradient(param), square, 0.01, 0.99, 1e-8)
        path.append(param)
    return torch.stack(path)


def _rms_eps_inside(param, grad, square, lr, alpha, eps):
    square = alpha * square + (1 - alpha) * grad * grad
    return param - lr * grad / (square + eps).sqrt(), square


def _rms_no_root(param, grad, square, lr, alpha, eps):
    square = alpha * square + (1 - alpha) * grad * grad
    return param - lr * grad / (square + eps), square


def _rms_sum(param, grad, square, lr, alpha, eps):
    square = square + grad * grad
    return param - lr * grad / (square.sqrt() + eps), square


def _rms_swapped(param, grad, square, lr, alpha, eps):
    square = (1 - alpha) * square + alpha * grad * grad
    return param - lr * grad / (square.sqrt() + eps), square


def _rms_not_squared(param, grad, square, lr, alpha, eps):
    square = alpha * square + (1 - alpha) * grad.abs()
    return param - lr * grad / (square.sqrt() + eps), square


def _rms_old_square(param, grad, square, lr, alpha, eps):
    return param - lr * grad / (square.sqrt() + eps), alpha * square + (1 - alpha) * grad * grad


rmsprop = Exercise(
    key="10/rmsprop",
    title="RMSprop",
    solution=rmsprop_step,
    trial=_rmsprop_trial,
    expected=lambda: expected_path(partial(torch.optim.RMSprop, lr=0.01, alpha=0.99, eps=1e-8)),
    mistakes=(
        Mistake(
            "eps stands inside the square root: that makes it √eps, ten thousand times larger. Take the root first, "
            "then add eps.",
            _rms_eps_inside,
        ),
        Mistake(
            "The square root is missing: dividing by the mean square makes small gradients take huge steps.",
            _rms_no_root,
        ),
        Mistake(
            "The squares are summed up, as AdaGrad does, so the steps shrink for ever. RMSprop forgets: "
            "square ← alpha·square + (1 − alpha)·g².",
            _rms_sum,
        ),
        Mistake(
            "alpha and 1 − alpha are swapped: alpha = 0.99 is the share of the old average that is kept.", _rms_swapped
        ),
        Mistake("The gradient is not squared before it is averaged.", _rms_not_squared),
        Mistake("The step divides by the old average: update square first.", _rms_old_square),
    ),
    hints=(
        "Keep a moving average of the squared gradient. Divide the gradient by its root.",
        "A moving average keeps the share alpha of the old value and takes 1 − alpha of the new one.",
        "square = alpha * square + (1 - alpha) * grad**2; the denominator is square.sqrt() + eps.",
    ),
    **CLOSE,
)
