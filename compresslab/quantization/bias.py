"""Bias correction: rounding weights shifts a layer's mean output; the bias can take that back (lesson 41)."""

import copy

import torch
from torch import nn

from ..parametrizations import register_
from .calibration import check_calibration
from .fake import ShiftBias, remove_, weight_quantizers
from .tracing import watch_layers


def correct_bias_(model: nn.Module, calibration: torch.Tensor) -> nn.Module:
    """Subtract from each bias what quantization adds to its channel on average over `calibration` (n, ...).

    Layer after layer in the order in which they run, the ones before already corrected: afterwards no channel of a
    quantised layer has a mean error on the calibration set, before the output's own quantizer. (But for a layer that
    runs several times, whose own correction changes its later inputs.) A layer without a bias stays as it is: folding
    a batch norm gives it one. `remove_` takes all back. M. Nagel et al., "Data-Free Quantization through Weight
    Equalization and Bias Correction" (2019), section 4.2 and appendix D. ValueError for a model without such layers,
    and as in `static_`.
    """
    layers = {name: model.get_submodule(name) for name in weight_quantizers(model)}
    layers = {name: layer for name, layer in layers.items() if layer.bias is not None}
    if not layers:
        raise ValueError("model must hold fake-quantised layers that have a bias, got none")
    check_calibration(calibration)
    wanted = _channel_means(remove_(copy.deepcopy(model)), layers, calibration)
    for name in wanted:  # in the order in which they ran
        shift = _channel_means(model, [name], calibration)[name] - wanted[name]
        register_(layers[name], "bias", ShiftBias(shift.to(layers[name].bias.dtype)))
    return model


def _channel_means(model: nn.Module, names, calibration: torch.Tensor) -> dict[str, torch.Tensor]:
    """{layer: mean of each output channel, float64 (channels,)}, in the order in which the layers run."""
    outputs = {}

    def note(name, layer, read, output):
        channels = output.movedim(-1 if isinstance(layer, nn.Linear) else 1, 0).flatten(1).double()
        sums, count = outputs.get(name, (0, 0))
        outputs[name] = sums + channels.sum(1), count + channels.shape[1]

    watch_layers(model, names, calibration, note)
    return {name: (sums / count).clone() for name, (sums, count) in outputs.items()}
