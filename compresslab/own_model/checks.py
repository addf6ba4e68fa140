"""The arguments of `compresslab.report`, checked before anything is measured, and the copy of the model it works on."""

import copy
from collections.abc import Mapping
from numbers import Real

import torch
from torch import Tensor, nn

from ..layers import KINDS
from ..measure import check_at_least, evaluating, predict
from ..parametrizations import unregister_
from ..runtimes.deployment import PREFER
from .result import Report
from .steps import CALIBRATION, Job

OLD_STYLE = ("torch.nn.utils.weight_norm", "torch.nn.utils.spectral_norm", "torch.nn.utils.prune")


def checked(model: nn.Module, x: Tensor, train, val, test, **settings) -> Job:
    """The arguments of `report` as a Job, with a copy of the model; ValueError where no report can be made of them."""
    for name, value in (("max_drop", settings["max_drop"]), ("lr", settings["lr"])):
        if not (isinstance(value, Real) and value >= 0):
            raise ValueError(f"{name} must be a number of at least 0, got {value!r}")
    if not (settings["fit"] is None or callable(settings["fit"])):
        raise ValueError(f"fit must be a function of the model, got {settings['fit']!r}")
    if settings["prefer"] not in PREFER:
        raise ValueError(f"prefer must be one of {', '.join(PREFER)}, got {settings['prefer']!r}")
    check_at_least(6, rounds=settings["rounds"])  # fewer give no 95 % interval of a median
    check_at_least(1, **{name: settings[name] for name in ("batch", "epochs", "scan_examples")})
    _check_inputs("example_inputs", x)
    copied, notes = _copy(model)
    classes, more = _check_scores(copied, x)
    notes += more
    for name, split in (("train", train), ("val", val), ("test", test)):
        if split is not None:
            _check_split(name, split, x, classes)
            _scores(copied, f"x of {name}", split[0][:1])
    if val is None:
        scores = predict(copied, x)
        notes.append(
            f"Without val the model's own answers on the {len(x)} example_inputs are the labels: "
            "agreement with the original is judged, not accuracy."
        )
    if train is None:
        how = f"{min(len(x), CALIBRATION)} of example_inputs calibrate the 8 bits"
        notes.append(f"Without train nothing is trained after a cut, and {how}; a few hundred examples are usual.")
    judged = "agreement" if val is None else "accuracy"
    val = (x, scores.argmax(1)) if val is None else (val[0], val[1].long())
    train, test = ((s[0], s[1].long()) if s is not None else None for s in (train, test))
    told = {name: settings.pop(name) for name in ("max_drop", "prefer", "batch", "rounds")}
    start = Report(type(model).__name__, judged, len(val[1]), **told, notes=tuple(notes))
    return Job(copied, x, train, val, test, start, **settings)


def _copy(model: nn.Module) -> tuple[nn.Module, list[str]]:
    """(a copy in eval mode without gradients, hooks and parametrizations, what was left out)."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"model must be an nn.Module, got {type(model).__name__}")
    if isinstance(model, torch.jit.ScriptModule) or hasattr(model, "_orig_mod"):
        raise ValueError(
            f"model must be a plain nn.Module, got a compiled one ({type(model).__name__}): give its source"
        )
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if isinstance(tensor, nn.parameter.UninitializedTensorMixin):
            raise ValueError(f"model must have been called once before, got no shape yet for {name}")
        if tensor.device.type != "cpu" or (tensor.is_floating_point() and tensor.dtype != torch.float32):
            got = f"{tensor.dtype} on {tensor.device.type}"
            raise ValueError(
                f"model must be float32 on the CPU (copy.deepcopy(model).float().cpu()), got {got} in {name}"
            )
    for path, module in model.named_modules():
        for hook in module._forward_pre_hooks.values():
            if type(hook).__module__ in OLD_STYLE:
                how = "call torch.nn.utils.prune.remove, remove_weight_norm or remove_spectral_norm first"
                raise ValueError(f"model must hold plain weights ({how}), got {type(hook).__name__} on {path!r}")
    try:
        copied = copy.deepcopy(model).eval()
    except Exception as error:
        raise ValueError(f"model must be one that copy.deepcopy can copy, got: {_reason(error)}") from error
    copied.zero_grad(set_to_none=True)
    if not any(p.requires_grad for p in copied.parameters()):  # frozen, for use: after a cut it is trained all the same
        copied.requires_grad_(True)
    notes, hooked = [], False
    for path, module in list(copied.named_modules()):
        for kind in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"):
            hooked |= bool(getattr(module, kind))
            getattr(module, kind).clear()
        for name in list(getattr(module, "parametrizations", ())):
            unregister_(module, name, keep=True)
            notes.append(f"The parametrization of {f'{path}.{name}'.lstrip('.')} was replaced by the weight it yields.")
    if hooked:
        notes.append("Hooks on the model were left out.")
    return (nn.Sequential(copied) if isinstance(copied, KINDS) else copied), notes


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _check_inputs(name: str, x) -> None:
    if not isinstance(x, Tensor):
        several = ": wrap a model of several inputs in an nn.Module that takes one tensor"
        raise ValueError(f"{name} must be one tensor (n, ...), got {type(x).__name__}{several}")
    if x.ndim == 0 or len(x) == 0:
        raise ValueError(f"{name} must hold at least one example (n, ...), got the shape {tuple(x.shape)}")
    if x.device.type != "cpu" or x.dtype in (torch.float16, torch.bfloat16, torch.float64) or x.is_complex():
        raise ValueError(f"{name} must be float32 or whole numbers on the CPU, got {x.dtype} on {x.device.type}")
    if not x.isfinite().all():
        raise ValueError(f"{name} must hold finite numbers, got NaN or infinity")


def _check_scores(model: nn.Module, x: Tensor) -> tuple[int, list[str]]:
    """(number of classes, notes); ValueError unless the model answers two examples and one with scores."""
    given = []
    for inputs in (torch.cat([x[:2], x[:1]])[:2], x[:1].clone()):
        before = inputs.clone()
        scores = _scores(model, "example_inputs", inputs)
        if not isinstance(scores, Tensor):
            key = next(iter(scores), 0) if isinstance(scores, Mapping) else 0
            part = ".logits" if hasattr(scores, "logits") else f"[{key!r}]"
            how = f"wrap it in an nn.Module whose forward(self, x) returns self.model(x){part}"
            raise ValueError(f"model must return one tensor of scores (n, classes), got {type(scores).__name__}: {how}")
        if scores.ndim != 2 or len(scores) != len(inputs) or scores.shape[1] < 2:
            got = f"{tuple(scores.shape)} for {len(inputs)} examples"
            raise ValueError(f"model must return scores (n, classes) of two classes or more, got the shape {got}")
        if not scores.isfinite().all():
            raise ValueError("model must return finite scores for example_inputs, got NaN or infinity")
        if not torch.equal(inputs, before):
            raise ValueError("model must not change its input in place (a first layer with inplace=True?), but it did")
        given.append(scores[0])
    alike = torch.allclose(*given, rtol=1e-3, atol=1e-3 * given[0].abs().max().item())
    other = "The model answers the same example differently in other company or at another time, even in eval mode."
    return scores.shape[1], [] if alike else [other]


def _scores(model: nn.Module, name: str, inputs: Tensor):
    try:
        with evaluating(model):
            return model(inputs)
    except Exception as error:
        wrap = " (wrap a model of several inputs in an nn.Module that takes one tensor)" * (name == "example_inputs")
        raise ValueError(f"model must take {name} {tuple(inputs.shape)}{wrap}, got: {_reason(error)}") from error


def _check_split(name: str, split, x: Tensor, classes: int) -> None:
    pair = isinstance(split, (tuple, list)) and len(split) == 2
    if not pair or not all(isinstance(part, Tensor) for part in split):
        raise ValueError(f"{name} must be a pair (x, y) of tensors, got {type(split).__name__}")
    inputs, y = split
    _check_inputs(f"x of {name}", inputs)
    if inputs.dtype != x.dtype or inputs.ndim != x.ndim:
        got = f"{inputs.dtype} {tuple(inputs.shape)} and {x.dtype} {tuple(x.shape)}"
        raise ValueError(f"x of {name} must be like example_inputs, got {got}")
    if y.ndim != 1 or len(y) != len(inputs) or y.is_floating_point() or y.dtype == torch.bool:
        raise ValueError(f"y of {name} must be classes, int64 ({len(inputs)},), got {y.dtype} {tuple(y.shape)}")
    if not (0 <= y.min() and y.max() < classes):
        raise ValueError(f"y of {name} must be in 0..{classes - 1}, got {y.min().item()} to {y.max().item()}")
