"""torch's own way to fast and int8 models: torch.compile, and torchao's PT2E quantization in front of it."""

import copy
import os
import shutil
from collections.abc import Callable

import torch
from torch import nn

from ..packages import package, quiet
from .onnx_int8 import check_calibration

PT2E = "torchao.quantization.pt2e"


def pt2e_int8(model: nn.Module, calibration: torch.Tensor, batch_size: int = 100) -> nn.Module:
    """Static int8 copy of `model` by torchao's PT2E, calibrated on `calibration` (n, ...).

    As for `static_int8`: int8 weights with a scale a channel, uint8 activations, ranges from torchao's histogram
    observer. The copy rounds to codes and computes in float, so it tells the accuracy; `compiled` makes integer kernels
    of it. Its state dict still holds the float weights. ValueError for an empty calibration set, NaN, infinity.

    https://docs.pytorch.org/ao/stable/pt2e_quantization
    """
    check_calibration(calibration)
    steps = package(f"{PT2E}.quantize_pt2e")
    x86 = package(f"{PT2E}.quantizer.x86_inductor_quantizer")
    quantizer = x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config())
    float_model, batch = copy.deepcopy(model).eval(), {0: torch.export.Dim("batch")}
    with quiet(), torch.no_grad():
        try:  # two examples, be there but one: the exporter takes a dimension of 1 for fixed
            exported = torch.export.export(float_model, (calibration[[0, -1]],), dynamic_shapes=(batch,)).module()
        except Exception as error:
            first = str(error).strip().split("\n")[0]
            raise ValueError(f"model cannot be exported with this calibration set: {first}") from error
        observed = steps.prepare_pt2e(exported, quantizer)
        for part in calibration.split(batch_size):
            observed(part)
        return steps.convert_pt2e(observed)


def compiled(model: nn.Module) -> Callable:
    """`model` in eval mode as a function that torch.compile turns into machine code when it is first called.

    Needs a C++ compiler; takes 10 to 60 seconds, again for each new batch size, and 0.75 to 1.2 GB of memory. Weights
    are frozen: later changes of `model` have no effect. RuntimeError where there is no compiler.
    """
    if not has_compiler():
        raise RuntimeError("torch.compile needs a C++ compiler, found none: install g++ (Debian: apt-get install g++)")
    model = copy.deepcopy(model)
    for module in model.modules():
        module.training = False  # (an exported model refuses eval())
    fast = torch.compile(model, dynamic=False)
    seen = set()

    def run(*inputs: torch.Tensor) -> torch.Tensor:
        shapes = tuple(value.shape for value in inputs)
        with torch.inference_mode():
            if shapes in seen:
                return fast(*inputs)
            seen.add(shapes)
            with quiet(), torch._inductor.config.patch(freezing=True):  # integer kernels need constant weights
                return fast(*inputs)

    return run


def has_compiler() -> bool:
    """Whether this machine has the C++ compiler that torch.compile needs."""
    return any(shutil.which(name) for name in [os.environ.get("CXX", ""), "g++", "clang++", "cl"] if name)
