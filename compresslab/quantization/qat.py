"""Quantization-aware training: the network learns with the rounding in place, and adapts to it (lesson 42).

A model after `post_training.static_` can be trained as it is: forwards it computes with the values that codes stand
for, backwards the gradient passes straight through to the float weights. What is added here: the weights move, so
their ranges must follow. (`lsq` learns the scales instead.)
"""

from collections.abc import Callable

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from ..measure import predict
from ..training import fit
from .fake import remove_
from .post_training import ACTIVATIONS, WEIGHTS, static_
from .ranges import mse


def quantize_and_train_(
    model: nn.Module,
    data,
    calibration: torch.Tensor,
    weight_scheme=WEIGHTS,
    activation_scheme=ACTIVATIONS,
    rule: Callable = mse,
    *,
    weight_rule: Callable = mse,
    layers=None,
    every: float = 0.1,
    **settings,
) -> pd.DataFrame:
    """Quantise `model` by `static_`, then train it in place with `training.fit`; returns fit's history.

    Arguments up to `layers` and errors are those of `static_`. All ranges are found anew at each share `every` of the
    training, but not at its end; with every=1 they stay as they are found first. From a trained model that costs
    nothing, from scratch it costs much. `settings` go to `fit`: begin with a
    trained model and about a tenth of its learning rate. Fold batch norm first. Afterwards the model is one after
    `static_`: evaluate, freeze, write it. B. Jacob et al., "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference" (2018), section 3. ValueError for `every` outside (0, 1].
    """
    if not 0 < every <= 1:
        raise ValueError(f"every must be in (0, 1], got {every}")
    due = every

    def quantise_() -> None:
        ranges = dict(rule=rule, weight_rule=weight_rule, layers=layers)
        static_(model, calibration, weight_scheme, activation_scheme, **ranges)

    def follow(progress: float) -> None:
        nonlocal due
        if due <= progress < 1:
            remove_(model)  # the parameters stay the very same tensors, so the optimizer goes on
            quantise_()
            due += every

    quantise_()
    return fit(model, data, on_step=follow, **settings)


def soft_loss(teacher: nn.Module, temperature: float = 4.0, share: float = 0.5) -> Callable:
    """A `loss` for `training.fit`: learn the teacher's answers too, here those of the float model.

    share T² KL(teacher || model), both softened by the temperature T, plus (1 - share) times the cross-entropy with
    the labels, each a mean over the batch, in nats. The factor T² keeps the gradient's size while T softens. Give a
    copy of the float model, made before it is quantised. G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in
    a Neural Network" (2015). ValueError for a temperature that is not above 0 or a share outside [0, 1].
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    if not 0 <= share <= 1:
        raise ValueError(f"share must be in [0, 1], got {share}")

    def loss(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        scores, wanted = model(x), F.log_softmax(predict(teacher, x) / temperature, dim=1)
        own = F.log_softmax(scores / temperature, dim=1)
        soft = F.kl_div(own, wanted, log_target=True, reduction="batchmean") * temperature**2
        return share * soft + (1 - share) * F.cross_entropy(scores, y)

    return loss
