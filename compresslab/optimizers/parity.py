"""The same step with the library that people use at work: each rule beside its `torch.optim` twin."""

import inspect
from collections.abc import Callable
from functools import partial

import pandas as pd
import torch

from .rules import RULES, descend, muon

TORCH = {
    "sgd": torch.optim.SGD,
    "momentum": partial(torch.optim.SGD, momentum=0.9),
    "nesterov": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
    "adagrad": torch.optim.Adagrad,
    "rmsprop": torch.optim.RMSprop,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def default_rates() -> dict[str, float]:
    """The learning rate that each torch optimizer takes if it is told none."""
    makers = {name: getattr(make, "func", make) for name, make in TORCH.items()}
    return {name: inspect.signature(make).parameters["lr"].default for name, make in makers.items()}


def torch_path(make_optimizer: Callable, gradient: Callable, start: torch.Tensor, steps: int) -> torch.Tensor:
    """The points (steps + 1, *shape) that a torch optimizer visits; `make_optimizer([param])` makes it."""
    param = start.clone().requires_grad_()
    optimizer, path = make_optimizer([param]), [start]
    for _ in range(steps):
        param.grad = gradient(param.detach())
        optimizer.step()
        path.append(param.detach().clone())
    return torch.stack(path)


def differences(steps: int = 200, lr: float = 0.01, seed: int = 0) -> pd.DataFrame:
    """Largest difference between each rule and its torch twin over `steps` steps from a random start, in float64.

    One row an optimizer: how far it moved, the largest difference, and whether that is below 1e-12: some thousand
    additions and products, each rounded by 1e-16.
    """
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(50, dtype=torch.float64, generator=generator)
    curvature = 10 * torch.rand(50, dtype=torch.float64, generator=generator)
    rows = []
    for name, rule in RULES.items():
        ours = torch.stack(descend(rule, lambda p: curvature * p, start, steps=steps, lr=lr))
        theirs = torch_path(partial(TORCH[name], lr=lr), lambda p: curvature * p, start, steps)
        apart = (ours - theirs).abs().max().item()
        moved = (ours[-1] - start).abs().max().item()
        rows.append(dict(optimizer=name, steps=steps, moved=round(moved, 3), difference=apart, same=apart < 1e-12))
    return pd.DataFrame(rows).set_index("optimizer")


def muon_difference(steps: int = 20, lr: float = 0.02, seed: int = 0) -> float:
    """Distance between our Muon and torch's after `steps` steps on a matrix, as a share of the way they went.

    torch computes the direction in bfloat16, which keeps 8 bits: each step may differ by about 2**-8 = 0.4 %.
    """
    start, target = torch.randn(2, 8, 5, generator=torch.Generator().manual_seed(seed))
    ours = descend(muon, lambda p: p - target, start, steps=steps, lr=lr)[-1]
    theirs = torch_path(partial(torch.optim.Muon, lr=lr), lambda p: p - target, start, steps)[-1]
    return ((ours - theirs).norm() / (ours - start).norm()).item()
