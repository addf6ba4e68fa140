"""`torch.nn.utils.parametrize` for one module alone: masks and fake quantizers are put on and taken off with it."""

from torch import nn
from torch.nn.utils import parametrize


def register_(module: nn.Module, name: str, step: nn.Module) -> None:
    """`parametrize.register_parametrization`, for this module alone."""
    _own_class_(module)
    parametrize.register_parametrization(module, name, step)


def unregister_(module: nn.Module, name: str, keep: bool) -> None:
    """`parametrize.remove_parametrizations`, for this module alone; `keep`: with the value that they compute."""
    _own_class_(module)
    parametrize.remove_parametrizations(module, name, leave_parametrized=keep)
    for name in ("weight", "bias"):  # in the order of a fresh layer: whoever walks two models side by side needs it
        if name in module._parameters:
            module._parameters[name] = module._parameters.pop(name)


def _own_class_(module: nn.Module) -> None:
    """A parametrized module has a class made for it; copy.deepcopy shares that class, and a change would reach both."""
    if parametrize.is_parametrized(module):
        kind = type(module)
        module.__class__ = type(kind.__name__, kind.__bases__, dict(vars(kind)))
