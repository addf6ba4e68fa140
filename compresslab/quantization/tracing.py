"""Who reads whose result? One forward pass, watched (lesson 41).

Batch norm is folded into the layer before it, and a tensor is quantised where layers and additions read it: both need
to know which call made a tensor. The pass really runs, so loops and conditions in `forward` are no obstacle.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from ..measure import predict


class Call(NamedTuple):
    """One call of a torch function. reads: the calls that made its tensors, in order; None where no call made it.

    module: the innermost module that runs. shape: of the result.
    """

    function: str
    module: str
    reads: tuple[int | None, ...]
    shape: tuple[int, ...]


class Trace(NamedTuple):
    """All calls in order, and the indices of those whose result is what their module returned."""

    calls: list[Call]
    returned: frozenset[int]


class _Watch(TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.calls, self.made_by, self.alive, self.running, self.returned = [], {}, [], [""], set()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        inputs = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        reads = tuple(self.made_by.get(id(t)) for t in inputs)
        result = function(*args, **(kwargs or {}))
        changed = args[0] if getattr(function, "__name__", "") == "__setitem__" else result  # y[0] = 1 returns None
        for tensor in tree_leaves(changed):
            if isinstance(tensor, torch.Tensor):
                self.alive.append(tensor)  # so that no other tensor gets its id
                self.made_by[id(tensor)] = len(self.calls)
                name = getattr(function, "__name__", str(function))
                self.calls.append(Call(name, self.running[-1], reads, tuple(tensor.shape)))
        return result

    def enter(self, name):
        self.running.append(name)

    def leave(self, output):
        module, made = self.running.pop(), self.made_by.get(id(output))
        if made is not None and self.calls[made].module == module:
            self.returned.add(made)


def run(model: nn.Module, x: torch.Tensor, batch_size: int = 1000) -> torch.Tensor:
    """`measure.predict`; ValueError, with torch's reason, where the model cannot take such examples."""
    try:
        return predict(model, x, batch_size)
    except (RuntimeError, TypeError, IndexError, AttributeError) as error:
        reason = str(error).split("\n")[0]
        raise ValueError(
            f"model must make a tensor of examples of shape {tuple(x.shape[1:])} and type {x.dtype}, got: {reason}"
        ) from error


def trace(model: nn.Module, x: torch.Tensor) -> Trace:
    """The torch functions that `model` calls for one example x (1, ...), in eval mode; the model is not changed."""
    watch, hooks = _Watch(), []
    for name, module in model.named_modules():
        hooks.append(module.register_forward_pre_hook(lambda *_, name=name: watch.enter(name), prepend=True))
        hooks.append(module.register_forward_hook(lambda *args: watch.leave(args[-1])))
    try:
        with watch:
            run(model, x)
    finally:
        for hook in hooks:
            hook.remove()
    return Trace(watch.calls, frozenset(watch.returned))


def watch_layers(model: nn.Module, names: Iterable[str], x: torch.Tensor, note: Callable) -> None:
    """Run `model` on x (n, ...): note(name, layer, read, returned) for each of `names`, before its own hooks."""
    hooks = []
    try:
        for name in names:

            def hook(layer, args, output, name=name):
                note(name, layer, args[0], output)

            hooks.append(model.get_submodule(name).register_forward_hook(hook, prepend=True))
        run(model, x)
    finally:
        for hook in hooks:
            hook.remove()
