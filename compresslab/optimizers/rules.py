"""Update rules of the classic optimizers, one short function each (lesson 10).

Every rule has the same shape:

    new_param, new_state = rule(param, grad, state, lr=...)

`param` and `grad` are arrays of one shape: a torch tensor, a NumPy array or a plain float, because the rules use
arithmetic only. `state` is a dict, `{}` before the first step. A rule changes neither of its arguments. `lr` may be a
tensor that broadcasts against `param`: this is how many runs are trained at once (`compresslab.training.fit_many`).
Each rule equals the optimizer of the same name in `torch.optim`.
"""

import math


def sgd(param, grad, state, *, lr):
    """Gradient descent: θ ← θ − lr·g.

    >>> sgd(1.0, 0.5, {}, lr=0.1)
    (0.95, {})
    """
    return param - lr * grad, state


def momentum(param, grad, state, *, lr, momentum=0.9):
    """Heavy ball: v ← μ·v + g, then θ ← θ − lr·v (Polyak 1964, in the form of Sutskever et al. 2013)."""
    velocity = momentum * state.get("velocity", 0.0) + grad
    return param - lr * velocity, {"velocity": velocity}


def nesterov(param, grad, state, *, lr, momentum=0.9):
    """Nesterov's momentum: v ← μ·v + g, then θ ← θ − lr·(g + μ·v): a step that looks ahead (Nesterov 1983)."""
    velocity = momentum * state.get("velocity", 0.0) + grad
    return param - lr * (grad + momentum * velocity), {"velocity": velocity}


def adagrad(param, grad, state, *, lr, eps=1e-10):
    """G ← G + g², then θ ← θ − lr·g / (√G + eps): every weight its own, shrinking step (Duchi et al. 2011)."""
    total = state.get("total", 0.0) + grad * grad
    return param - lr * grad / (total**0.5 + eps), {"total": total}


def rmsprop(param, grad, state, *, lr, alpha=0.99, eps=1e-8):
    """s ← α·s + (1−α)·g², then θ ← θ − lr·g / (√s + eps) (Tieleman & Hinton 2012, lecture 6.5)."""
    square = alpha * state.get("square", 0.0) + (1 - alpha) * grad * grad
    return param - lr * grad / (square**0.5 + eps), {"square": square}


def adam(param, grad, state, *, lr, betas=(0.9, 0.999), eps=1e-8):
    """m ← β₁m + (1−β₁)g and v ← β₂v + (1−β₂)g², both divided by 1−βᵗ; then θ ← θ − lr·m̂ / (√v̂ + eps).

    Kingma & Ba 2015, algorithm 1.
    """
    step = state.get("step", 0) + 1
    mean = betas[0] * state.get("mean", 0.0) + (1 - betas[0]) * grad
    square = betas[1] * state.get("square", 0.0) + (1 - betas[1]) * grad * grad
    mean_hat, square_hat = mean / (1 - betas[0] ** step), square / (1 - betas[1] ** step)
    return param - lr * mean_hat / (square_hat**0.5 + eps), {"step": step, "mean": mean, "square": square}


def adamw(param, grad, state, *, lr, weight_decay=0.01, betas=(0.9, 0.999), eps=1e-8):
    """θ ← θ − lr·λ·θ, then one Adam step: weight decay that the gradient's scale cannot touch.

    Loshchilov & Hutter 2019.
    """
    return adam(param * (1 - lr * weight_decay), grad, state, lr=lr, betas=betas, eps=eps)


def orthogonalize(matrix, steps=5):
    """The matrix (..., rows, columns) with its singular values pushed towards 1, by matrix products alone.

    Newton-Schulz iteration of degree five with the coefficients of Jordan et al. 2024 (Muon). They trade accuracy for
    speed: the singular values end between about 0.7 and 1.2, not at 1.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix / matrix.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


def muon(param, grad, state, *, lr, momentum=0.95, weight_decay=0.1):
    """Momentum whose direction is orthogonalised; for weight matrices (..., rows, columns) only.

    Jordan et al. 2024. `torch.optim.Muon` does the same in bfloat16, so the two agree to about 1 %.
    """
    rows, columns = param.shape[-2:]
    velocity = momentum * state.get("velocity", 0.0) + (1 - momentum) * grad
    direction = orthogonalize((1 - momentum) * grad + momentum * velocity)
    param = param * (1 - lr * weight_decay) - lr * math.sqrt(max(1, rows / columns)) * direction
    return param, {"velocity": velocity}


RULES = {rule.__name__: rule for rule in (sgd, momentum, nesterov, adagrad, rmsprop, adam, adamw)}


def get_rule(name):
    """The rule called `name`; a ValueError lists the valid names."""
    if name not in RULES:
        raise ValueError(f"optimizer must be one of {', '.join(RULES)}, got {name!r}")
    return RULES[name]


def descend(rule, gradient, start, *, steps, **hyper):
    """The points visited by `steps` steps of `rule` from `start`: a list of steps + 1 arrays.

    `gradient(point)` returns the gradient; `hyper` is passed on to the rule (`lr=`, `momentum=` ...).

    >>> descend(sgd, lambda x: 2 * x, 1.0, steps=2, lr=0.25)
    [1.0, 0.5, 0.25]
    """
    point, state, path = start, {}, [start]
    for _ in range(steps):
        point, state = rule(point, gradient(point), state, **hyper)
        path.append(point)
    return path
