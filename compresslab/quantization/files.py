"""A quantised model as integers: what stands in the file, and how it becomes the same model again (lesson 41)."""

import copy

import torch
from torch import nn

from ..parametrizations import register_
from .affine import check_parameters, dequantize
from .fake import (
    DynamicQuantizer,
    FakeQuantizeWeight,
    StaticQuantizer,
    activation_quantizers,
    check_float,
    freeze_,
    integer_codes,
)
from .ranges import EPS
from .scheme import GRANULARITIES, Scheme


def quantized_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """The state dict of a fake-quantised model, each quantised weight as codes (int8 up to 8 bits), scale and scheme.

    For the weight "1.weight": 1.weight.codes, .scale, .zero_point (unless symmetric) and .scheme (six whole numbers);
    everything else is as in the state dict, biases corrected. Tensors only: `torch.save` and `safetensors` write it,
    `load_quantized_` reads it. ValueError for a model without fake-quantised weights.
    """
    codes = integer_codes(model)
    state = freeze_(copy.deepcopy(model)).state_dict()
    for name, q in codes.items():
        del state[name]
        state |= {f"{name}.codes": q.codes, f"{name}.scale": q.scale, f"{name}.scheme": _numbers(q.scheme)}
        if not q.scheme.symmetric:
            state[f"{name}.zero_point"] = q.zero_point
    for (name, side), quantizer in activation_quantizers(model).items():
        prefix = f"{name}.{side}_quantizer".lstrip(".")
        state[f"{prefix}.scheme"] = _numbers(quantizer.scheme)
        if isinstance(quantizer, StaticQuantizer):
            state[f"{prefix}.scale"] = quantizer.scale.detach().clamp(min=EPS)  # a learned one may be below
    return {name: tensor.clone() for name, tensor in state.items()}


def load_quantized_(model: nn.Module, state: dict[str, torch.Tensor]) -> nn.Module:
    """Make `model`, a float model of the same architecture, the quantised one of `quantized_state`, bit for bit.

    Its float weights are the values of the codes: the ones before quantization are not in the file. ValueError, and the
    model as it was, if a tensor is missing, unknown or of another shape, and if the model is quantised already.
    """
    check_float(model)
    try:
        plain, weights, quantizers = _parts(state)
    except KeyError as error:
        raise ValueError(f"state must be complete: there is no {error.args[0]}") from None
    _check(model, plain, quantizers)
    for name in weights:  # may be shared in a float model; the values of the codes must stay here
        module = model.get_submodule(name.rpartition(".")[0])
        module.weight = nn.Parameter(module.weight.detach().clone(), module.weight.requires_grad)
    model.load_state_dict(plain)
    for name, quantizer in weights.items():
        register_(model.get_submodule(name.rpartition(".")[0]), "weight", quantizer)
    for name, quantizer in quantizers.items():
        module, _, side = name.rpartition(".")
        quantizer.attach_(model.get_submodule(module), side.removesuffix("_quantizer"))
    return model


def _parts(state: dict) -> tuple[dict, dict, dict]:
    """Plain tensors, fake quantizers of weights and quantizers of activations, each by name."""
    plain, weights, quantizers = {}, {}, {}
    for name, tensor in state.items():
        owner, _, what = name.rpartition(".")
        if what == "codes":
            scheme, scale = _scheme(state[f"{owner}.scheme"]), state[f"{owner}.scale"]
            zeros = torch.zeros(len(scale), dtype=torch.int32)
            zero_point = zeros if scheme.symmetric else state[f"{owner}.zero_point"]
            if not ((tensor >= scheme.qmin) & (tensor <= scheme.qmax)).all():
                raise ValueError(f"state must hold codes of {scheme.qmin} to {scheme.qmax} in {name}, got others")
            plain[owner] = dequantize(tensor, scale, zero_point, scheme)
            weights[owner] = FakeQuantizeWeight(scale, zero_point, scheme)
        elif what == "scheme" and owner.endswith("_quantizer"):
            scheme, scale = _scheme(tensor), state.get(f"{owner}.scale")
            if scale is None:
                quantizers[owner] = DynamicQuantizer(scheme)
                continue
            zero_point, blocks = state[f"{owner}.zero_point"], 1 if scheme.granularity == "tensor" else len(scale)
            check_parameters(scale, zero_point, blocks, scheme)
            quantizers[owner] = StaticQuantizer(scale, zero_point, scheme)
        elif what not in ("scale", "zero_point", "scheme") or f"{owner}.scheme" not in state:
            plain[name] = tensor
    return plain, weights, quantizers


def _check(model: nn.Module, plain: dict, quantizers: dict) -> None:
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    given = {name: tuple(tensor.shape) for name, tensor in plain.items()}
    for name in sorted(own.keys() | given.keys()):
        if own.get(name) != given.get(name):
            wanted, got = (shapes.get(name, "no such tensor") for shapes in (own, given))
            raise ValueError(f"state must fit the model: {name} must be {wanted}, got {got}")
    modules = dict(model.named_modules())
    for name in quantizers:
        if name.rpartition(".")[0] not in modules:
            raise ValueError(f"state must fit the model: there is no module for {name}")


def _numbers(scheme: Scheme) -> torch.Tensor:
    granularity = GRANULARITIES.index(scheme.granularity)
    numbers = [scheme.bits, scheme.symmetric, granularity, scheme.axis, scheme.group_size or 0, scheme.signed]
    return torch.tensor(numbers, dtype=torch.int32)


def _scheme(numbers: torch.Tensor) -> Scheme:
    bits, symmetric, granularity, axis, group_size, signed = numbers.tolist()
    if not 0 <= granularity < len(GRANULARITIES):
        raise ValueError(f"state must hold a granularity in 0..{len(GRANULARITIES) - 1}, got {granularity}")
    return Scheme(bits, bool(symmetric), GRANULARITIES[granularity], axis, group_size or None, bool(signed))
