"""Lesson 10: one step of momentum."""

import torch

from ...lesson import Exercise, Mistake
from ._problem import CLOSE, START, STEPS, gradient


def momentum_step(param, grad, velocity, lr, momentum):
    velocity = momentum * velocity + grad
    return param - lr * velocity, velocity


# lr, momentum: two walks, so that no value can be written into the function and none be kept outside it
_WALKS = ((0.02, 0.9), (0.05, 0.5))


def _halved(step, lr):
    """The learning rate of the momentum trial: halved midway, which tells two kinds of velocity apart."""
    return lr if step < STEPS // 2 else lr / 2


def _momentum_trial(fn):
    path = []
    for lr, momentum in _WALKS:
        param, velocity = START.clone(), torch.zeros_like(START)
        for step in range(STEPS):
            param, velocity = fn(param, gradient(param), velocity, _halved(step, lr), momentum)
            path.append(param)
    return torch.stack(path)


def _momentum_expected():
    path = []
    for lr, momentum in _WALKS:
        param = START.clone().requires_grad_()
        optimizer = torch.optim.SGD([param], lr=lr, momentum=momentum)
        for step in range(STEPS):
            optimizer.param_groups[0]["lr"] = _halved(step, lr)
            param.grad = gradient(param.detach())
            optimizer.step()
            path.append(param.detach().clone())
    return torch.stack(path)


def _averaged(param, grad, velocity, lr, momentum):
    velocity = momentum * velocity + (1 - momentum) * grad
    return param - lr * velocity, velocity


def _old_velocity(param, grad, velocity, lr, momentum):
    return param - lr * velocity, momentum * velocity + grad


def _no_momentum(param, grad, velocity, lr, momentum):
    return param - lr * grad, velocity


def _nesterov(param, grad, velocity, lr, momentum):
    velocity = momentum * velocity + grad
    return param - lr * (grad + momentum * velocity), velocity


def _uphill(param, grad, velocity, lr, momentum):
    velocity = momentum * velocity + grad
    return param + lr * velocity, velocity


def _rate_inside(param, grad, velocity, lr, momentum):
    velocity = momentum * velocity + lr * grad
    return param - velocity, velocity


def _no_rate(param, grad, velocity, lr, momentum):
    velocity = momentum * velocity + grad
    return param - velocity, velocity


def _gradient_weighted(param, grad, velocity, lr, momentum):
    velocity = velocity + momentum * grad
    return param - lr * velocity, velocity


momentum = Exercise(
    key="10/momentum",
    title="Momentum",
    solution=momentum_step,
    trial=_momentum_trial,
    expected=_momentum_expected,
    mistakes=(
        Mistake(
            "The gradient is weighted with (1 − momentum): that averages gradients and makes the steps shorter. "
            "torch adds the whole gradient: v ← μ·v + g.",
            _averaged,
        ),
        Mistake(
            "The step uses the old velocity: update the velocity first, then move with the new one.", _old_velocity
        ),
        Mistake(
            "This is plain gradient descent: either the velocity is not used, or the new velocity is not handed back.",
            _no_momentum,
        ),
        Mistake("This is Nesterov's momentum, which looks one step ahead. Plain momentum moves by lr·v.", _nesterov),
        Mistake("The step goes uphill: with v ← μ·v + g the step is −lr·v; one sign is wrong.", _uphill),
        Mistake(
            "The learning rate sits inside the velocity. That is the same as long as the rate stays; when it changes, "
            "the old velocity still moves at the old rate. Here lr multiplies the velocity in the step.",
            _rate_inside,
        ),
        Mistake("The learning rate is missing: param moves by lr times the velocity.", _no_rate),
        Mistake(
            "momentum multiplies the gradient here. It is the share of the old velocity that is kept: v ← μ·v + g.",
            _gradient_weighted,
        ),
    ),
    hints=(
        "Two lines: first a new velocity from the old one and the gradient, then a new param from the new velocity.",
        "The velocity keeps the share `momentum` of its old value and adds the gradient.",
        "velocity = momentum * velocity + grad. Now move param by lr times that, downhill, and return both.",
    ),
    **CLOSE,
)
