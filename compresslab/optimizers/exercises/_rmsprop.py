"""Lesson 10: one step of RMSprop."""

from functools import partial

import torch

from ...lesson import Exercise, Mistake
from ._problem import CLOSE, START, STEPS, expected_paths, gradient


def rmsprop_step(param, grad, square, lr, alpha, eps):
    square = alpha * square + (1 - alpha) * grad * grad
    return param - lr * grad / (square.sqrt() + eps), square


# lr, alpha, eps: two walks, so that no value can be written into the function
_WALKS = ((0.01, 0.99, 1e-8), (0.02, 0.9, 1e-3))


def _rmsprop_trial(fn):
    paths = []
    for walk in _WALKS:
        param, square, path = START.clone(), torch.zeros_like(START), []
        for _ in range(STEPS):
            param, square = fn(param, gradient(param), square, *walk)
            path.append(param)
        paths.append(torch.stack(path))
    return torch.stack(paths)


def _rmsprop_expected():
    return expected_paths(partial(torch.optim.RMSprop, lr=lr, alpha=alpha, eps=eps) for lr, alpha, eps in _WALKS)


def _variant(
    average=lambda s, g, alpha: alpha * s + (1 - alpha) * g * g,
    move=lambda p, g, s, lr, eps: p - lr * g / (s.sqrt() + eps),
):
    """RMSprop with one thing wrong."""

    def rmsprop_step(param, grad, square, lr, alpha, eps):
        square = average(square, grad, alpha)
        return move(param, grad, square, lr, eps), square

    return rmsprop_step


def _old_square(param, grad, square, lr, alpha, eps):
    return param - lr * grad / (square.sqrt() + eps), alpha * square + (1 - alpha) * grad * grad


def _not_handed_back(param, grad, square, lr, alpha, eps):
    return rmsprop_step(param, grad, square, lr, alpha, eps)[0], square


rmsprop = Exercise(
    key="10/rmsprop",
    title="RMSprop",
    solution=rmsprop_step,
    trial=_rmsprop_trial,
    expected=_rmsprop_expected,
    mistakes=(
        Mistake(
            "eps stands inside the square root: that makes it √eps, ten thousand times larger. Take the root first, "
            "then add eps.",
            _variant(move=lambda p, g, s, lr, eps: p - lr * g / (s + eps).sqrt()),
        ),
        Mistake(
            "The square root is missing: dividing by the mean square makes small gradients take huge steps.",
            _variant(move=lambda p, g, s, lr, eps: p - lr * g / (s + eps)),
        ),
        Mistake(
            "The squares are summed up, as AdaGrad does, so the steps shrink for ever. RMSprop forgets: "
            "square ← alpha·square + (1 − alpha)·g².",
            _variant(average=lambda s, g, alpha: s + g * g),
        ),
        Mistake(
            "alpha and 1 − alpha are swapped: alpha is the share of the old average that is kept, most of it.",
            _variant(average=lambda s, g, alpha: (1 - alpha) * s + alpha * g * g),
        ),
        Mistake(
            "The gradient is not squared before it is averaged.",
            _variant(average=lambda s, g, alpha: alpha * s + (1 - alpha) * g),
        ),
        Mistake(
            "The average adds the whole g²: weight it with 1 − alpha.",
            _variant(average=lambda s, g, alpha: alpha * s + g * g),
        ),
        Mistake(
            "Brackets are missing: eps belongs to the denominator, / (root + eps).",
            _variant(move=lambda p, g, s, lr, eps: p - lr * g / s.sqrt() + eps),
        ),
        Mistake("The step divides by the old average: update square first.", _old_square),
        Mistake("The new square is not handed back, so nothing is remembered: return it with param.", _not_handed_back),
    ),
    hints=(
        "Keep a moving average of the squared gradient. Divide the gradient by its root.",
        "A moving average keeps the share alpha of the old value and takes 1 − alpha of the new one.",
        "square = alpha * square + (1 - alpha) * grad**2; the denominator is square.sqrt() + eps.",
    ),
    **CLOSE,
)
