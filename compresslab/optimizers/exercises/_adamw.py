"""Lesson 10: one step of AdamW."""

from functools import partial

import torch

from ...lesson import Exercise, Mistake
from ._adam import WALKS, adam_step, adam_trial
from ._problem import CLOSE, expected_paths


def adamw_step(param, grad, mean, square, step, lr, beta1, beta2, eps, weight_decay):
    param = param * (1 - lr * weight_decay)
    return adam_step(param, grad, mean, square, step, lr, beta1, beta2, eps)


# Adam's walks, and a weight_decay for each
_WALKS = ((*WALKS[0], 0.5), (*WALKS[1], 0.1))


def _adamw_trial(fn):
    return adam_trial(fn, _WALKS)


def _adamw_expected():
    return expected_paths(
        partial(torch.optim.AdamW, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)
        for lr, *betas, eps, weight_decay in _WALKS
    )


def _l2(param, grad, mean, square, step, lr, beta1, beta2, eps, weight_decay):
    return adam_step(param, grad + weight_decay * param, mean, square, step, lr, beta1, beta2, eps)


def _decay_without_lr(param, grad, mean, square, step, lr, beta1, beta2, eps, weight_decay):
    return adam_step(param * (1 - weight_decay), grad, mean, square, step, lr, beta1, beta2, eps)


def _decay_forgotten(param, grad, mean, square, step, lr, beta1, beta2, eps, weight_decay):
    return adam_step(param, grad, mean, square, step, lr, beta1, beta2, eps)


def _decay_grows(param, grad, mean, square, step, lr, beta1, beta2, eps, weight_decay):
    return adam_step(param * (1 + lr * weight_decay), grad, mean, square, step, lr, beta1, beta2, eps)


def _decay_of_no_weight(param, grad, mean, square, step, lr, beta1, beta2, eps, weight_decay):
    return adam_step(param - lr * weight_decay, grad, mean, square, step, lr, beta1, beta2, eps)


def _decay_afterwards(param, grad, mean, square, step, lr, beta1, beta2, eps, weight_decay):
    param, mean, square = adam_step(param, grad, mean, square, step, lr, beta1, beta2, eps)
    return param * (1 - lr * weight_decay), mean, square


adamw = Exercise(
    key="10/adamw",
    title="AdamW",
    solution=adamw_step,
    trial=_adamw_trial,
    expected=_adamw_expected,
    mistakes=(
        Mistake(
            "This is L2: the decay goes through the gradient, so Adam divides it by the gradient's scale. "
            "Decoupled decay shrinks param itself, by lr·weight_decay.",
            _l2,
        ),
        Mistake("The decay lacks the learning rate: AdamW shrinks param by lr·weight_decay.", _decay_without_lr),
        Mistake("There is no weight decay in this step: it is plain Adam.", _decay_forgotten),
        Mistake(
            "The same lr·weight_decay is taken from every weight: decay takes a share of it, lr·weight_decay·param.",
            _decay_of_no_weight,
        ),
        Mistake("The weights grow: multiply by 1 − lr·weight_decay.", _decay_grows),
        Mistake(
            "The decay comes after the Adam step, so it shrinks the step too; torch shrinks param first.",
            _decay_afterwards,
        ),
    ),
    hints=(
        "Shrink param a little, then take one ordinary Adam step from there. The gradient stays as it was given.",
        "A little means: multiply by 1 − lr * weight_decay.",
        "You may call your own adam_step for the second half.",
    ),
    **CLOSE,
)
