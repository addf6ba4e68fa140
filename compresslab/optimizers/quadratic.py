"""What can be computed about a quadratic bowl, and what can be measured on it (lesson 10)."""

import numpy as np
import torch

from .rules import descend, get_rule, momentum


def lr_limit(curvatures, momentum: float = 0.0) -> float:
    """The largest learning rate at which momentum still converges on ½ Σ λᵢ xᵢ²: 2(1 + μ) / λmax.

    curvatures: the λᵢ > 0; momentum: μ in [0, 1), 0 for plain gradient descent (Polyak 1964, section 2).

    >>> lr_limit([1, 10])
    0.2
    """
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must be in [0, 1), got {momentum}")
    if min(curvatures) <= 0:
        raise ValueError(f"curvatures must be positive, got {min(curvatures)}")
    return 2 * (1 + momentum) / max(curvatures)


def distance_after(curvatures, lrs, *, mu: float = 0.0, steps: int = 300) -> np.ndarray:
    """Distance to the minimum after `steps` steps from (1, 1, ...), as a share of the first; one number a rate.

    All rates run at once: the point is a tensor (rates, dimensions). Divergence gives inf.
    """
    lam = torch.tensor(curvatures, dtype=torch.float64)
    lr = torch.tensor(np.asarray(lrs), dtype=torch.float64)[:, None]
    start = torch.ones(len(lr), len(lam), dtype=torch.float64)
    end = descend(momentum, lambda x: lam * x, start, steps=steps, lr=lr, momentum=mu)[-1]
    return (end.norm(dim=1) / start.norm(dim=1)).nan_to_num(nan=np.inf).numpy()


def adam_without_correction(param, grad, state, *, lr, betas=(0.9, 0.999), eps=1e-8):
    """Adam as it would be if m and v, which start at 0, were used as they are."""
    mean = betas[0] * state.get("mean", 0.0) + (1 - betas[0]) * grad
    square = betas[1] * state.get("square", 0.0) + (1 - betas[1]) * grad * grad
    return param - lr * mean / (square**0.5 + eps), {"mean": mean, "square": square}


def step_sizes(rule, gradients, lr: float) -> np.ndarray:
    """|step| / lr of each step of `rule` for a given sequence of gradients (steps, ...), averaged over the rest."""
    queue = iter(gradients)
    path = descend(rule, lambda _: next(queue), gradients[0] * 0, steps=len(gradients), lr=lr)
    return torch.stack(path).diff(dim=0).abs().flatten(1).mean(1).numpy() / lr


def weight_left(rule, scales, *, weight_decay: float, decoupled: bool, lr=1e-3, steps=1000, seed=0) -> np.ndarray:
    """Share of each weight left after `steps` steps with pure noise as gradient, one weight group a noise scale.

    With `decoupled` the weights are shrunk by lr·weight_decay at each step, as AdamW does; otherwise
    weight_decay·weight is added to the gradient (L2), as `torch.optim.Adam(weight_decay=...)` does.
    Returns the mean over 256 weights that start at 1, shape (scales,).
    """
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor(np.asarray(scales), dtype=torch.float64)[:, None]
    weight, state = torch.ones(len(scale), 256, dtype=torch.float64), {}
    for _ in range(steps):
        grad = scale * torch.randn(weight.shape, dtype=torch.float64, generator=generator)
        if decoupled:
            weight = weight * (1 - lr * weight_decay)
        else:
            grad = grad + weight_decay * weight
        weight, state = get_rule(rule)(weight, grad, state, lr=lr)
    return weight.mean(1).numpy()
