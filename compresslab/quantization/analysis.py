"""Where does quantization hurt? Noise layer by layer, and the cost of quantising one layer alone (lesson 41)."""

import copy
from collections.abc import Callable

import pandas as pd
import torch
from torch import nn

from ..intervals import wilson_interval
from ..layers import layers_of
from ..training import evaluate
from .affine import sqnr_db
from .calibration import check_calibration
from .post_training import ACTIVATIONS, WEIGHTS, static_, weight_only_
from .ranges import min_max
from .scheme import Scheme
from .tracing import run


def sqnr_by_layer(model: nn.Module, quantised: nn.Module, x: torch.Tensor) -> pd.DataFrame:
    """Signal to quantization noise of `quantised` against the float `model` on x (n, ...), layer by layer.

    Columns: layer, what, sqnr_db (decibels, inf where nothing differs) and channel_db, of the median channel: a large
    channel with little noise hides the others in sqnr_db, not here. what: "weight" (its channels are the outputs');
    "input", as the layer reads it, so with the noise of all layers before; "output", before a quantizer of its own. One
    row each for every linear layer and convolution that runs, in the order in which they run. ValueError for models
    with other layers.
    """
    own, other = layers_of(model), layers_of(quantised)
    if own.keys() != other.keys():
        name = sorted(own.keys() ^ other.keys())[0]
        raise ValueError(f"quantised must have the layers of model, got a difference in {name}")
    check_calibration(x, "x")
    rows, signals, noisy = [], _layer_tensors(model, own, x), _layer_tensors(quantised, other, x)
    for name in signals:
        pairs = {"weight": (own[name].weight.detach().flatten(1), other[name].weight.detach().flatten(1))}
        pairs |= zip(("input", "output"), zip(signals[name], noisy[name]))
        for what, (a, b) in pairs.items():
            rows.append(dict(layer=name, what=what, sqnr_db=sqnr_db(a, b), channel_db=_median_channel_db(a, b)))
    return pd.DataFrame(rows, columns=["layer", "what", "sqnr_db", "channel_db"])


def _median_channel_db(x: torch.Tensor, y: torch.Tensor) -> float:
    """The median (of an even number the lower one) over the rows of `sqnr_db`."""
    signal, noise = x.double().square().sum(1), (x.double() - y.double()).square().sum(1)
    return torch.where(noise == 0, torch.inf, 10 * (signal / noise).log10()).median().item()


def _layer_tensors(model: nn.Module, layers: dict, x: torch.Tensor) -> dict[str, list[torch.Tensor]]:
    """{layer: [all it has read, all it has returned]}, (channels, values), in the order in which the layers run."""
    seen, hooks = {}, []

    def watch(name, layer):
        axis = -1 if isinstance(layer, nn.Linear) else 1

        def read(module, args):
            seen.setdefault(name, ([], []))[0].append(args[0].movedim(axis, 0).flatten(1))

        def returned(module, args, output):
            seen[name][1].append(output.movedim(axis, 0).flatten(1))

        return layer.register_forward_pre_hook(read), layer.register_forward_hook(returned, prepend=True)

    try:
        hooks = [hook for name, layer in layers.items() for hook in watch(name, layer)]
        run(model, x)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: [torch.cat(part, 1) for part in parts] for name, parts in seen.items()}


def sensitivity(
    model: nn.Module,
    split,
    calibration: torch.Tensor | None = None,
    weight_scheme: Scheme = WEIGHTS,
    activation_scheme: Scheme = ACTIVATIONS,
    rule: Callable = min_max,
    *,
    layers=None,
) -> pd.DataFrame:
    """Quantise one layer at a time, the rest stays float: what does it cost on `split` = (x, y)?

    With `calibration` (n, ...) a layer's weight and what it reads are quantised as by `static_`, without it the weight
    alone. Columns: layer, loss (cross-entropy, nats), accuracy with its 95 % Wilson interval accuracy_low and
    accuracy_high. The first row, "none", is the float model, the last, "all", has every layer in `layers` quantised.
    The model is not changed. Errors as in `static_`.
    """
    names = list(layers_of(model, layers))
    check_calibration(split[0], "x of split")
    rows = []
    for row, chosen in [("none", []), *((name, [name]) for name in names), ("all", names)]:
        copied = copy.deepcopy(model)
        if chosen and calibration is None:
            weight_only_(copied, weight_scheme, rule, chosen)
        elif chosen:
            static_(copied, calibration, weight_scheme, activation_scheme, rule, layers=chosen)
        cost = evaluate(copied, split)
        low, high = wilson_interval(cost.correct, cost.n)
        rows.append(dict(layer=row, loss=cost.loss, accuracy=cost.accuracy, accuracy_low=low, accuracy_high=high))
    return pd.DataFrame(rows)
