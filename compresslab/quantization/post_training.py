"""Post-training quantization of any model, in place: weight-only, dynamic and static (lesson 41).

    weight_only_(model)            few bits on disk; all arithmetic stays float
    dynamic_(model)                and each layer's input, with the range of the batch at hand
    static_(model, calibration)    and every tensor that an integer kernel reads, with ranges found beforehand

Which tensors those are is said in `calibration`. Biases stay float: runtimes give them 32 bits. Fold batch norm first
(`folding`). What is left is a float model with fake quantizers (`fake`), with the answers of integers and the speed of
floats.
"""

from collections.abc import Callable

import pandas as pd
import torch
from torch import nn

from ..parametrizations import register_
from .affine import quantize_tensor
from .calibration import check_calibration, observe, quantised_points, widest
from .fake import DynamicQuantizer, FakeQuantizeWeight, StaticQuantizer, activation_quantizers, chosen_layers
from .ranges import affine, min_max, moving_average
from .scheme import Scheme

WEIGHTS = Scheme(granularity="channel")  # signed and symmetric, one scale for each output channel
ACTIVATIONS = Scheme(symmetric=False, signed=False)  # one scale and zero point for the tensor


def weight_only_(model: nn.Module, scheme: Scheme = WEIGHTS, rule: Callable = min_max, layers=None) -> nn.Module:
    """Fake-quantise the weights of linear layers and convolutions (those named in `layers`); returns the model.

    rule: see `ranges`. ValueError, and the model as it was, for an unknown layer, a model without any or quantised
    already, a weight that is not finite, a group size that does not divide.

    >>> model = weight_only_(nn.Sequential(nn.Linear(4, 2)), Scheme(bits=2))
    >>> len(model[0].weight.unique()) <= 3
    True
    """
    found = _weights(chosen_layers(model, layers), scheme, rule)
    return _put_weights_(model, found)


def dynamic_(
    model: nn.Module,
    weight_scheme: Scheme = WEIGHTS,
    activation_scheme: Scheme = ACTIVATIONS,
    rule: Callable = min_max,
    layers=None,
) -> nn.Module:
    """Fake-quantise weights by `rule`, and the input of each layer from its smallest to its largest value just then.

    The same example gives other numbers in other company: the range is that of the batch. Other arguments and errors
    as in `weight_only_`.
    """
    found = _weights(chosen_layers(model, layers), weight_scheme, rule)
    for name in found:
        DynamicQuantizer(activation_scheme).attach_(model.get_submodule(name), "input")
    return _put_weights_(model, found)


def static_(
    model: nn.Module,
    calibration: torch.Tensor,
    weight_scheme: Scheme = WEIGHTS,
    activation_scheme: Scheme = ACTIVATIONS,
    rule: Callable = min_max,
    *,
    weight_rule: Callable = min_max,
    layers=None,
    average: float | None = None,
    batch_size: int | None = None,
) -> nn.Module:
    """Fake-quantise weights, and tensors with a range that `rule` finds on `calibration` (n, ...); returns the model.

    The float model is run on the calibration set, `batch_size` examples at a time (all at once if None). A range is
    the widest of all batches; with `average`, the moving average over the batches with that constant. With `layers`
    only what these layers read is quantised. Errors as in `weight_only_`, and ValueError for a calibration set that is
    empty or not finite, and for activations that are not one block.
    """
    chosen = chosen_layers(model, layers)
    check_calibration(calibration)
    if activation_scheme.granularity != "tensor":
        raise ValueError(f"activation_scheme must have granularity 'tensor', got {activation_scheme.granularity!r}")
    found = _weights(chosen, weight_scheme, weight_rule)
    points = quantised_points(model, calibration[:1], chosen, whole=layers is None)
    rules = {point: widest(rule) if average is None else moving_average(average, rule) for point in points}
    ranges = observe(model, rules, calibration, activation_scheme, batch_size)
    for (name, side), (low, high) in ranges.items():
        scale, zero_point = affine(low, high, activation_scheme)
        StaticQuantizer(scale, zero_point, activation_scheme).attach_(model.get_submodule(name), side)
    return _put_weights_(model, found)


def ranges_of(model: nn.Module) -> pd.DataFrame:
    """The fixed ranges of a model after `static_`, one row a tensor.

    Columns: module, side ("input" or "output" of the module), low and high (the values of the lowest and the highest
    code: `ranges.affine` makes the same scale of them), scale, zero_point, bits.
    """
    rows = []
    for (module, side), quantizer in activation_quantizers(model).items():
        if isinstance(quantizer, StaticQuantizer):
            scheme, scale, zero = quantizer.scheme, quantizer.scale.item(), quantizer.zero_point.item()
            row = dict(module=module, side=side, low=(scheme.qmin - zero) * scale, high=(scheme.qmax - zero) * scale)
            rows.append(row | dict(scale=scale, zero_point=zero, bits=scheme.bits))
    return pd.DataFrame(rows, columns=["module", "side", "low", "high", "scale", "zero_point", "bits"])


def _weights(layers: dict, scheme: Scheme, rule: Callable) -> dict[str, FakeQuantizeWeight]:
    found = {}
    for name, layer in layers.items():
        try:
            q = quantize_tensor(layer.weight, scheme, rule)
        except ValueError as error:
            raise ValueError(f"weight of layer {name}: {error}") from None
        found[name] = FakeQuantizeWeight(q.scale, q.zero_point, scheme)
    return found


def _put_weights_(model: nn.Module, found: dict[str, FakeQuantizeWeight]) -> nn.Module:
    for name, quantizer in found.items():
        register_(model.get_submodule(name), "weight", quantizer)
    return model
