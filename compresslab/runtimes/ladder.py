"""The ladder of baselines, from eager torch to int8 kernels: what each rung adds to the one below."""

import copy
from collections.abc import Callable

import pandas as pd
import torch
from torch import nn

from .. import measure
from .onnx_export import export_onnx
from .onnx_int8 import dynamic_int8, static_int8
from .onnx_run import OnnxSession
from .torch_compiled import compiled, pt2e_int8


def rungs(
    model: nn.Module, calibration: torch.Tensor, *, threads: int = 1, dynamic: bool = False, compile: bool = False
) -> dict[str, Callable]:
    """`model` on every rung, {name: function of a batch}: eager, channels-last, onnx float, onnx int8.

    channels-last only where there are convolutions. With `dynamic` also onnx dynamic int8. With `compile` also
    compiled and pt2e int8 (torchao), for which see `torch_compiled.compiled`: minutes, and a gigabyte.
    """
    ladder = {"eager": model}
    if any(weight.ndim == 4 for weight in model.parameters()):
        ladder["channels-last"] = copy.deepcopy(model).to(memory_format=torch.channels_last)
    if compile:
        ladder["compiled"] = compiled(model)
        ladder["pt2e int8"] = compiled(pt2e_int8(model, calibration))
    file = export_onnx(model, calibration[:2])
    ladder["onnx float"] = OnnxSession(file, threads)
    if dynamic:
        ladder["onnx dynamic int8"] = OnnxSession(dynamic_int8(file), threads)
    ladder["onnx int8"] = OnnxSession(static_int8(file, calibration), threads)
    return ladder


def ladder(
    model: nn.Module,
    example_inputs: torch.Tensor,
    calibration: torch.Tensor,
    split: tuple[torch.Tensor, torch.Tensor] | None = None,
    *,
    baseline: str = "onnx float",
    threads: int = 1,
    rounds: int = 30,
    dynamic: bool = False,
    compile: bool = False,
) -> pd.DataFrame:
    """The table of `measure.compare` over the `rungs`, on `example_inputs` (n, ...): one row a rung.

    Speed-ups are against the same model as float in the same runtime, so that int8 is not credited with what leaving
    Python gained; `baseline="eager"` gives the ladder from its foot.
    """
    models = rungs(model, calibration, threads=threads, dynamic=dynamic, compile=compile)
    return measure.compare(models, example_inputs, split, baseline=baseline, threads=threads, rounds=rounds)
