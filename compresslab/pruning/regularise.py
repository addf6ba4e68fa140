"""Penalties to be added to the loss, so that training itself drives weights to zero (lessons 30 and 31)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..layers import layers_of
from .groups import Group


def l1(model: nn.Module) -> Tensor:
    """Sum of |w| over the weights of all Linear and Conv layers, with gradient; ValueError if there is none.

    Added to the loss (R. Tibshirani, "Regression shrinkage and selection via the lasso", 1996) it pulls every weight
    towards zero by the same amount a step, where weight decay (the squares) pulls small weights less and less:

        fit(model, data, loss=lambda model, x, y: F.cross_entropy(model(x), y) + 1e-4 * l1(model))
    """
    return sum(layer.weight.abs().sum() for layer in layers_of(model).values())


def group_lasso(model: nn.Module, groups: Sequence[Group]) -> Tensor:
    """Σ √n ‖w_s‖₂ over the structures s of `groups` (`structures.groups`), n numbers each; ValueError without a group.

    w_s is all that falls together. Inside a structure the norm is smooth, so its numbers shrink in proportion; between
    structures it acts as l1 does, so whole ones go to zero. √n keeps a large group from being favoured. M. Yuan,
    Y. Lin, "Model selection and estimation in regression with grouped variables" (2006), for all that falls together
    as in Fang et al. 2023, section 3.3. At a structure of zeros the derivative is taken as 0.
    """
    if not groups:
        raise ValueError("groups must hold at least one group of structures, got none")
    parts = [torch.cat([m.entries(m.of(model)) for m in group.members], dim=1) for group in groups]
    return sum(part.shape[1] ** 0.5 * torch.linalg.vector_norm(part, dim=1).sum() for part in parts)


def bn_slimming(model: nn.Module) -> Tensor:
    """Σ|γ| over all batch norms, with gradient; ValueError if there is none.

    The scale γ of a batch norm multiplies a whole channel, so one number in place of a filter goes to zero. Z. Liu et
    al., "Learning efficient convolutional networks through network slimming" (2017), equation 1.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.affine]
    if not norms:
        raise ValueError(f"model must have a batch norm with a scale, got {type(model).__name__} without one")
    return sum(norm.weight.abs().sum() for norm in norms)
