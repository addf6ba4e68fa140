"""Networks and images for the tests of the runtimes."""

import torch
from torch import nn


def images(n, size, seed=0):
    return torch.randn(n, 1, size, size, generator=torch.Generator().manual_seed(seed))


def lively(model, x):
    """The same model with batch statistics, biases and gains that are not 0 and 1."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, 0, 0.2, generator=generator)
    with torch.no_grad():
        model.train()(x)
    return model.eval()
