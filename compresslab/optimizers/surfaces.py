"""Two-dimensional test surfaces with hand-written gradients (lesson 10).

Points are arrays of shape (..., 2), NumPy or torch. The gradients are written out because the explorer takes
thousands of steps between two pictures; a test compares them with automatic differentiation.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .rules import descend, get_rule


@dataclass(frozen=True)
class Surface:
    """A function of two variables: what to plot, where to start, where its minima are."""

    name: str
    value: Callable  # (..., 2) -> (...)
    gradient: Callable  # (2,) -> (2,)
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    start: tuple[float, float]
    minima: tuple[tuple[float, float], ...]  # empty where there is none
    lr: float  # a learning rate that suits plain gradient descent here
    noise: float = 0.0  # standard deviation of the noise added to each gradient


CURVATURES = (1.0, 30.0)  # eigenvalues of the quadratic's Hessian


def _split(p):
    return p[..., 0], p[..., 1]


def _quadratic(p):
    x, y = _split(p)
    return 0.5 * (CURVATURES[0] * x * x + CURVATURES[1] * y * y)


def _quadratic_gradient(p):
    return np.array([CURVATURES[0] * p[0], CURVATURES[1] * p[1]])


def _rosenbrock(p):
    x, y = _split(p)
    return (1 - x) ** 2 + 100 * (y - x * x) ** 2


def _rosenbrock_gradient(p):
    x, y = p
    return np.array([-2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x)])


def _beale(p):
    x, y = _split(p)
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def _beale_gradient(p):
    x, y = p
    a, b, c = 1.5 - x + x * y, 2.25 - x + x * y**2, 2.625 - x + x * y**3
    return np.array(
        [
            2 * (a * (y - 1) + b * (y**2 - 1) + c * (y**3 - 1)),
            2 * x * (a + 2 * b * y + 3 * c * y**2),
        ]
    )


def _himmelblau(p):
    x, y = _split(p)
    return (x * x + y - 11) ** 2 + (x + y * y - 7) ** 2


def _himmelblau_gradient(p):
    x, y = p
    a, b = x * x + y - 11, x + y * y - 7
    return np.array([4 * x * a + 2 * b, 2 * a + 4 * y * b])


def _saddle(p):
    x, y = _split(p)
    return x * x - y * y


def _saddle_gradient(p):
    return np.array([2 * p[0], -2 * p[1]])


SURFACES = {
    surface.name: surface
    for surface in (
        Surface("quadratic", _quadratic, _quadratic_gradient, (-5, 5), (-3, 3), (-4.5, 1.5), ((0, 0),), 0.06),
        Surface("rosenbrock", _rosenbrock, _rosenbrock_gradient, (-2, 2), (-1, 3), (-1.5, 2.0), ((1, 1),), 1e-3),
        Surface("beale", _beale, _beale_gradient, (-4.5, 4.5), (-4.5, 4.5), (1.0, 1.5), ((3, 0.5),), 0.01),
        Surface(
            "himmelblau", _himmelblau, _himmelblau_gradient, (-5, 5), (-5, 5), (-0.5, -1.0),
            ((3, 2), (-2.805118, 3.131312), (-3.779310, -3.283186), (3.584428, -1.848126)), 0.01,
        ),
        Surface("saddle", _saddle, _saddle_gradient, (-2, 2), (-2, 2), (-1.5, 0.01), (), 0.05),
        Surface("noisy", _quadratic, _quadratic_gradient, (-5, 5), (-3, 3), (-4.5, 1.5), ((0, 0),), 0.01, noise=5.0),
    )
}  # fmt: skip


def get_surface(name: str) -> Surface:
    """The surface called `name`; a ValueError lists the valid names."""
    if name not in SURFACES:
        raise ValueError(f"surface must be one of {', '.join(SURFACES)}, got {name!r}")
    return SURFACES[name]


def noisy_gradient(surface: Surface, seed: int = 0) -> Callable:
    """The surface's gradient plus its noise: the same noise in the same order for every optimizer with this seed."""
    generator = np.random.default_rng(seed)
    if surface.noise == 0:
        return surface.gradient
    return lambda p: surface.gradient(p) + surface.noise * generator.standard_normal(2)


def run_optimizers(
    surface: Surface, names, *, lr: float, momentum: float = 0.9, start=None, steps: int = 200, seed: int = 0
) -> dict[str, np.ndarray]:
    """{name: path} of the named optimizers from one start; a path is an array (steps + 1, 2).

    `momentum` is μ of momentum and Nesterov, and β₁ of Adam and AdamW. A path that leaves the picture by more than a
    thousand times its width has diverged; it ends there, so its array is shorter.
    """
    start, paths = np.array(surface.start if start is None else start, float), {}
    far = 1000 * (surface.x_range[1] - surface.x_range[0])
    for name in names:
        rule, hyper = get_rule(name), {}
        if name in ("momentum", "nesterov"):
            hyper = {"momentum": momentum}
        elif name in ("adam", "adamw"):
            hyper = {"betas": (momentum, 0.999)}
        with np.errstate(all="ignore"):  # divergence is a result here
            path = np.array(descend(rule, noisy_gradient(surface, seed), start, steps=steps, lr=lr, **hyper))
            outside = ~(np.abs(path).max(1) < far)
        paths[name] = path[: outside.argmax()] if outside.any() else path
    return paths
