"""Static quantization's two questions: which tensors get codes, and which range does each have (lesson 41)?

A tensor is quantised if a linear layer or convolution, an addition of two module outputs, or an average pool reads it.
Moves (reshapes, slices) and max-pooling give back values that they were given, so they are looked through.
The quantizer hangs at the output of the module that made the tensor, once for all readers; where no module returned it
(the model's input, a function's result) at the input of the layer. A module that runs several times has one quantizer,
with one range for all. So a batch norm or ReLU after a layer comes before its codes, as in integer kernels, which fuse
them. The model's output stays float.
"""

from collections.abc import Callable

import torch
from torch import nn

from .scheme import Scheme
from .tracing import run, trace

READS = {"linear", "conv1d", "conv2d", "conv3d"}
ADDS = {"add", "add_", "__add__", "__iadd__"}
AVERAGES = {f"{kind}avg_pool{d}d" for kind in ("", "adaptive_") for d in (1, 2, 3)}
MOVES = set(
    "flatten unflatten reshape view squeeze unsqueeze permute transpose movedim t __get__ contiguous expand detach "
    "split chunk unbind select narrow __getitem__ dropout max_pool1d max_pool2d max_pool3d".split()
)


def check_calibration(x: torch.Tensor, name: str = "calibration") -> None:
    """ValueError for a set of examples that is empty or holds nan or infinity; `name` is the argument's."""
    if not isinstance(x, torch.Tensor) or not x.ndim or not x.numel():
        got = tuple(x.shape) if isinstance(x, torch.Tensor) else type(x).__name__
        raise ValueError(f"{name} must be a tensor (n, ...) of at least one example, got {got}")
    if not x.isfinite().all():
        raise ValueError(f"{name} must hold finite values only, got {x[~x.isfinite()][0].item()}")


def quantised_points(model: nn.Module, x: torch.Tensor, layers: dict, whole: bool) -> list[tuple[str, str]]:
    """(module, "input" or "output") of the tensors that get a quantizer, in running order, for each reader again."""
    calls, returned = trace(model, x)

    def maker(i):
        while i is not None and calls[i].function in MOVES:
            i = calls[i].reads[0]
        return (calls[i].module, "output") if i in returned else None

    points = []
    for call in calls:
        if call.function in READS and call.module in layers:
            points.append(maker(call.reads[0]) or (call.module, "input"))
        elif whole and call.function in ADDS | AVERAGES:
            makers = [maker(i) for i in call.reads]
            points += makers if None not in makers else []
    return points


def observe(model, rules: dict, calibration: torch.Tensor, scheme: Scheme, batch_size: int | None) -> dict:
    """{point: (low, high)} that the rules, {point: rule}, last gave while the calibration set passed in batches.

    The model's hooks are gone afterwards, come what may.
    """
    ranges, hooks = {}, []

    def watch(point):
        def hook(module, args, output=None):
            x = args[0] if output is None else output
            try:
                ranges[point] = rules[point](scheme.blocks(x), scheme)
            except ValueError as error:
                raise ValueError(f"{point[1]} of module {point[0]}: {error}") from None

        module = model.get_submodule(point[0])
        return module.register_forward_hook(hook) if point[1] == "output" else module.register_forward_pre_hook(hook)

    try:
        hooks = [watch(point) for point in rules]
        run(model, calibration, len(calibration) if batch_size is None else batch_size)
    finally:
        for hook in hooks:
            hook.remove()
    return ranges


def widest(rule: Callable) -> Callable:
    """The rule that holds all the ranges that `rule` has given so far."""
    seen = []

    def running(blocks, scheme):
        low, high = rule(blocks, scheme)
        seen[:] = [torch.minimum(seen[0], low), torch.maximum(seen[1], high)] if seen else [low, high]
        return tuple(seen)

    return running
