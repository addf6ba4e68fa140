"""Lesson 30: fine-tuning that keeps the zeros."""

import torch

from ...lesson import Exercise, Mistake
from ._stages import CLOSE


def masked_sgd(weight, grad, velocity, mask, lr, momentum):
    velocity = momentum * velocity + grad
    weight = (weight - lr * velocity) * mask
    return weight, velocity


_SETTINGS = ((0.1, 0.9, 0.5), (0.05, 0.5, 0.25), (0.2, 0.0, 0.75))  # lr, momentum, share of zeros
_STEPS = 12


def _start(share):
    """Pruned weights, the mask, the velocity from the training before, which moves the pruned ones too.

    The last weight is kept and happens to be zero.
    """
    generator = torch.Generator().manual_seed(int(100 * share))
    weight, velocity, target = torch.randn(3, 4, 6, generator=generator)
    mask = torch.rand(4, 6, generator=generator) > share
    weight[-1, -1], mask[-1, -1] = 0, True
    return weight * mask, mask, velocity, target


def _trial(fn):
    """The weights of each step. The velocity of a pruned weight is free as long as the weight stays zero."""
    path = []
    for lr, momentum, share in _SETTINGS:
        weight, mask, velocity, target = _start(share)
        for _ in range(_STEPS):
            weight, velocity = fn(weight, weight - target, velocity, mask.clone(), lr, momentum)
            path.append(weight.clone())
    return torch.stack(path)


def _by_torch():
    """torch's SGD moves a hidden weight; the network sees it through the mask."""
    path = []
    for lr, momentum, share in _SETTINGS:
        weight, mask, velocity, target = _start(share)
        hidden = weight.clone().requires_grad_()
        optimizer = torch.optim.SGD([hidden], lr=lr, momentum=momentum)
        optimizer.state[hidden]["momentum_buffer"] = velocity
        for _ in range(_STEPS):
            optimizer.zero_grad()
            (0.5 * (hidden * mask - target) ** 2).sum().backward()
            optimizer.step()
            path.append((hidden * mask).detach())
    return torch.stack(path)


def _unmasked(weight, grad, velocity, mask, lr, momentum):
    velocity = momentum * velocity + grad
    return weight - lr * velocity, velocity


def _gradient_only(weight, grad, velocity, mask, lr, momentum):
    return _unmasked(weight, grad * mask, velocity, mask, lr, momentum)


def _old_velocity_only(weight, grad, velocity, mask, lr, momentum):
    return _unmasked(weight, grad, velocity * mask, mask, lr, momentum)


def _before(weight, grad, velocity, mask, lr, momentum):
    return _unmasked(weight * mask, grad, velocity, mask, lr, momentum)


def _returned_velocity(weight, grad, velocity, mask, lr, momentum):
    weight, velocity = _unmasked(weight, grad, velocity, mask, lr, momentum)
    return weight, velocity * mask


def _inverted(weight, grad, velocity, mask, lr, momentum):
    return masked_sgd(weight, grad, velocity, ~mask, lr, momentum)


def _frozen(weight, grad, velocity, mask, lr, momentum):
    return weight.clone(), momentum * velocity + grad


def _pruned_move(weight, grad, velocity, mask, lr, momentum):
    velocity = (momentum * velocity + grad) * ~mask
    return weight - lr * velocity, velocity


def _no_momentum(weight, grad, velocity, mask, lr, momentum):
    return (weight - lr * grad) * mask, velocity


def _averaged(weight, grad, velocity, mask, lr, momentum):
    return masked_sgd(weight, (1 - momentum) * grad, velocity, mask, lr, momentum)


def _late(weight, grad, velocity, mask, lr, momentum):
    return (weight - lr * velocity) * mask, momentum * velocity + grad


def _uphill(weight, grad, velocity, mask, lr, momentum):
    return masked_sgd(weight, grad, velocity, mask, -lr, momentum)


def _not_handed_back(weight, grad, velocity, mask, lr, momentum):
    return masked_sgd(weight, grad, velocity, mask, lr, momentum)[0], velocity


masked_step = Exercise(
    key="30/masked-step",
    title="Fine-tune without undoing the mask",
    solution=masked_sgd,
    trial=_trial,
    expected=_by_torch,
    mistakes=(
        Mistake(
            "Nothing is masked: the first step of fine-tuning brings the pruned weights back. Multiply the new weight "
            "by the mask.",
            _unmasked,
        ),
        Mistake(
            "Only the gradient is masked. The velocity from before the pruning still moves the pruned weights: mask "
            "the weight after the step.",
            _gradient_only,
        ),
        Mistake(
            "Only the old velocity is masked; the new gradient still moves the pruned weights: mask the weight after "
            "the step.",
            _old_velocity_only,
        ),
        Mistake(
            "The weight is masked before the step, and the step brings the pruned ones back: mask it after the step.",
            _before,
        ),
        Mistake(
            "Only the velocity that is handed back is masked; the weight has moved already. Mask the weight too.",
            _returned_velocity,
        ),
        Mistake("The mask is inverted: True means kept, so multiply by mask, not by ~mask.", _inverted),
        Mistake(
            "A kept weight may happen to be zero, and must learn: multiply by mask, not by weight != 0.",
            lambda weight, grad, velocity, mask, lr, momentum: masked_sgd(
                weight, grad, velocity, weight != 0, lr, momentum
            ),
        ),
        Mistake("The kept weights stand still: move them by −lr times the velocity.", _frozen),
        Mistake("The kept weights stand still and the pruned ones move: the mask is inverted.", _pruned_move),
        Mistake(
            "The momentum is lost: the step is lr times the new velocity, momentum * velocity + grad.", _no_momentum
        ),
        Mistake("The new velocity is not handed back, so nothing is remembered: return it.", _not_handed_back),
        Mistake("The gradient is weighted with (1 − momentum); torch adds the whole gradient: v ← μ·v + g.", _averaged),
        Mistake("The step uses the old velocity: update the velocity first, then move with the new one.", _late),
        Mistake("The step goes uphill: subtract lr times the velocity.", _uphill),
    ),
    hints=(
        "First the step of lesson 10: velocity = momentum * velocity + grad, then weight - lr * velocity.",
        "Two things can move a pruned weight: its gradient, and the velocity that it had before it was pruned.",
        "The product with the mask after the step undoes both: (weight - lr * velocity) * mask.",
    ),
    # float32 on a problem that contracts: twelve steps of a few roundings of 6e-8. A mistake moves a weight by 1e-2.
    **CLOSE,
)
