"""Mixed precision: how many bits for each layer, so that all fit into so many bytes (lesson 42).

    table = bit_costs(model, data.val)       what each layer costs at each number of bits: measured, one layer at a time
    bits = choose_bits(table, budget=20_000)
    mixed_(model, bits)

The table says what layers cost one by one; what they cost together is measured on the model that comes out.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
from torch import nn

from ..parametrizations import register_
from ..training import evaluate
from .affine import quantize_tensor
from .analysis import sensitivity
from .fake import FakeQuantizeWeight, chosen_layers
from .post_training import WEIGHTS
from .ranges import mse
from .scheme import Scheme


def bit_costs(
    model: nn.Module,
    split,
    bits: Sequence[int] = (2, 3, 4, 8),
    scheme: Scheme = WEIGHTS,
    rule: Callable = mse,
) -> pd.DataFrame:
    """Quantise one layer's weights at a time, to each of `bits`: its bytes, and what it costs on `split` = (x, y).

    Columns: layer, bits, bytes (codes packed, and a float32 scale for each block, an int32 zero point too unless
    symmetric), loss_increase (cross-entropy, nats, against the float model; below 0 where it gained by chance) and
    accuracy. The model is not changed. Errors as in `weight_only_`.
    """
    found, tables = chosen_layers(model, None), []
    if not bits:
        raise ValueError("bits must hold at least one number of bits, got none")
    schemes = [replace(scheme, bits=b) for b in sorted(set(bits))]
    for own in schemes:
        table = sensitivity(model, split, None, own, rule=rule, layers=list(found)).set_index("layer")
        sizes = {name: _bytes(layer, own) for name, layer in found.items()}
        rows = table.loc[list(found)].assign(bits=own.bits, bytes=sizes)
        tables.append(rows.assign(loss_increase=rows.loss - table.loss["none"]).reset_index())
    return pd.concat(tables, ignore_index=True)[["layer", "bits", "bytes", "loss_increase", "accuracy"]]


def _bytes(layer: nn.Module, scheme: Scheme) -> int:
    blocks, n = len(scheme.blocks(layer.weight)), layer.weight.numel()
    return -(-n * scheme.bits // 8) + blocks * (4 if scheme.symmetric else 8)


def choose_bits(table: pd.DataFrame, budget: int) -> dict[str, int]:
    """{layer: bits} with the smallest sum of `loss_increase` whose `bytes` sum to at most `budget`; see `bit_costs`.

    Exact, layer by layer: of all choices so far only those are carried on that no other beats in both bytes and loss.
    That losses add up is an assumption. ValueError if nothing fits.

    >>> costs = dict(layer=["a", "a", "b", "b"], bits=[2, 8, 2, 8], bytes=[2, 8, 20, 80])
    >>> choose_bits(pd.DataFrame(costs | dict(loss_increase=[0.5, 0.0, 0.1, 0.0])), budget=30)
    {'a': 8, 'b': 2}
    """
    if not np.isfinite(table[["bytes", "loss_increase"]].to_numpy(float)).all():
        raise ValueError("table must hold finite numbers of bytes and loss_increase, got nan or infinity")
    least = int(table.groupby("layer").bytes.min().sum())
    if not budget >= least:
        raise ValueError(f"budget must be at least {least} bytes, the smallest choice for every layer, got {budget}")
    front = [(0, 0.0, {})]  # (bytes, loss, choice), bytes rising and loss falling
    for layer, options in table.groupby("layer", sort=False):
        options = list(zip(options.bits.tolist(), options.bytes.tolist(), options.loss_increase.tolist()))
        longer = [(a + size, b + loss, c | {layer: bits}) for a, b, c in front for bits, size, loss in options]
        front = []
        for choice in sorted(longer, key=lambda choice: choice[:2]):
            if choice[0] <= budget and (not front or choice[1] < front[-1][1]):
                front.append(choice)
    return front[-1][2]


def mixed_(model: nn.Module, bits: dict[str, int], scheme: Scheme = WEIGHTS, rule: Callable = mse) -> nn.Module:
    """`weight_only_` with its own number of bits for each layer in `bits`, {layer: bits}; returns the model.

    The other layers stay float. Errors as in `weight_only_`, before anything is changed.
    """
    quantizers = {}
    for name, layer in chosen_layers(model, bits).items():
        try:
            q = quantize_tensor(layer.weight, replace(scheme, bits=bits[name]), rule)
        except ValueError as error:
            raise ValueError(f"layer {name}: {error}") from None
        quantizers[name] = FakeQuantizeWeight(q.scale, q.zero_point, q.scheme)
    for name, quantizer in quantizers.items():
        register_(model.get_submodule(name), "weight", quantizer)
    return model


def all_choices(model: nn.Module, costs: pd.DataFrame, split) -> pd.DataFrame:
    """Every way to give bits to layers, measured together on `split` = (x, y); costs: as `bit_costs` gives it.

    Columns: each layer's bits, bytes, accuracy, and loss (cross-entropy, nats). So many rows as options ** layers.
    """
    layers, options = list(dict.fromkeys(costs.layer)), sorted(costs.bits.unique())
    sizes = costs.set_index(["layer", "bits"]).bytes
    rounded = {(name, b): _rounded(model, name, int(b)) for name in layers for b in options}
    changed, rows = copy.deepcopy(model), []
    for choice in product(options, repeat=len(layers)):
        for name, b in zip(layers, choice):
            changed.get_submodule(name).weight.data = rounded[name, b]
        cost = evaluate(changed, split)
        size = sum(int(sizes[pair]) for pair in zip(layers, choice))
        rows.append(dict(zip(layers, map(int, choice))) | dict(bytes=size, accuracy=cost.accuracy, loss=cost.loss))
    return pd.DataFrame(rows)


def _rounded(model: nn.Module, name: str, bits: int):
    quantised = mixed_(copy.deepcopy(model), {name: bits}, WEIGHTS)
    return quantised.get_submodule(name).weight.detach()
