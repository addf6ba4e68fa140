"""Networks whose batch norms have seen something, and whose zero points are not all zero."""

import torch
from torch import nn


def stirred(model, seed=0):
    """The model with batch-norm statistics, gains and biases far from their start (0 and 1), in eval mode."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
                if module.track_running_stats:
                    module.running_mean.normal_(generator=g)
                    module.running_var.uniform_(0.3, 3, generator=g)
                if module.affine:
                    module.weight.normal_(generator=g)
                    module.bias.normal_(generator=g)
    return model.eval()


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
