"""Three networks that somebody quantised wrongly, for lesson 41: look at the causes only after you have named them.

Each function takes a trained `models.depthwise` and calibration examples (n, 1, 8, 8), and gives the float network with
its batch norms folded, and its quantised copy. The float networks of A and C compute what the given one computes, that
of B nearly.
"""

import copy

import torch
from torch import nn

from ..measure import predict
from .folding import fold_batch_norm
from .post_training import static_
from .scheme import Scheme


def model_a(network: nn.Module, calibration: torch.Tensor) -> tuple[nn.Module, nn.Module]:
    """Calibrated on pixels from 0 to 255, but the network reads pixels from 0 to 1."""
    folded = fold_batch_norm(network, calibration)
    return folded, static_(copy.deepcopy(folded), 255 * calibration)


def model_b(network: nn.Module, calibration: torch.Tensor) -> tuple[nn.Module, nn.Module]:
    """A channel was pruned; then the batch norms were measured anew, and each weight got one scale for all of it.

    The batch norm after the dead channel sees zeros only: its variance is 0, and folding divides by the root of eps.
    """
    pruned = copy.deepcopy(network)
    with torch.no_grad():
        weakest = pruned[1].weight.abs().argmin()
        pruned[1].weight[weakest], pruned[1].bias[weakest] = 0, 0  # what the ReLU returns there is 0
        norms = [module for module in pruned.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all batches
        pruned.train()(calibration)
    folded = fold_batch_norm(pruned.eval(), calibration)
    return folded, static_(copy.deepcopy(folded), calibration, Scheme(granularity="tensor"))


def model_c(network: nn.Module, calibration: torch.Tensor, factor: float = 300) -> tuple[nn.Module, nn.Module]:
    """One channel is `factor` times louder, and the layer that reads it multiplies by so much less: the same function.

    A ReLU stands between them, and relu(factor * x) = factor * relu(x).
    """
    folded = fold_batch_norm(network, calibration)
    with torch.no_grad():
        loudest = predict(folded[:12], calibration).amax((0, 2, 3)).argmax()
        folded[9].weight[loudest] *= factor
        folded[9].bias[loudest] *= factor
        folded[12].weight[:, loudest] /= factor
    return folded, static_(copy.deepcopy(folded), calibration)
