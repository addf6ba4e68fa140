"""The problem on which a learner's optimizer step walks beside torch's."""

import torch

from ..parity import torch_path

STEPS = 120
# Solution and torch do the same float64 operations in another order, on a problem that contracts: about 10 roundings of
# 2**-53 a step, so 120 steps stay below 2e-13. A mistake moves the path by 1e-6 or more.
CLOSE = dict(rtol=1e-10, atol=1e-10)
# Weights from -2 to 2, so that weight decay shows. Gradients down to 1e-7 at the end, so that the place of eps shows.
START = torch.tensor([2.0, -1.5, 1.0, -0.5], dtype=torch.float64)
CURVATURE = torch.tensor([10.0, 3.0, 0.3, 1e-7], dtype=torch.float64)


def gradient(param):
    return CURVATURE * param


def expected_paths(make_optimizers):
    """The paths (walks, STEPS, 4) of torch optimizers on the problem above."""
    return torch.stack([torch_path(make, gradient, START, STEPS)[1:] for make in make_optimizers])
