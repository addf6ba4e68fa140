"""Quantization-aware training: the network learns with the rounding in place, and adapts to it (lesson 42).

A model after `post_training.static_` can be trained as it is: forwards it computes with the values that codes stand
for, backwards the gradient passes straight through to the float weights. What is added here: the weights move, so
their ranges must follow. (`lsq` learns the scales instead.)
"""

import copy
from collections.abc import Callable

import pandas as pd
import torch
from torch import nn

from ..layers import layers_of
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
    nothing, from scratch it costs much. `settings` go to `fit`: begin with a trained model and about a tenth of its
    learning rate. Fold batch norm first. Afterwards the model is one after `static_`: evaluate, freeze, write it. B.
    Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (2018),
    section 3. ValueError for `every` outside (0, 1]. Where `fit` fails, the quantizers come off again.
    """
    if not 0 < every <= 1:
        raise ValueError(f"every must be in (0, 1], got {every}")
    due = every

    def quantised(model: nn.Module) -> nn.Module:
        ranges = dict(rule=rule, weight_rule=weight_rule, layers=layers)
        return static_(model, calibration, weight_scheme, activation_scheme, **ranges)

    def follow(progress: float) -> None:
        nonlocal due
        if due <= progress < 1:
            # Copied into the quantizers in place at the end: an interrupt or an error on the way changes nothing.
            model.load_state_dict(quantised(remove_(copy.deepcopy(model))).state_dict())
            due += every

    layers = None if layers is None else list(layers_of(model, layers))  # a generator could be read once
    quantised(model)
    try:
        return fit(model, data, on_step=follow, **settings)
    except Exception:
        remove_(model)
        raise
