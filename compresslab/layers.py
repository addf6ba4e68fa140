"""The layers that are pruned, quantised and shared: linear layers and convolutions."""

from collections.abc import Collection, Iterable

from torch import nn

KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def layers_of(model: nn.Module, names: str | Iterable[str] | None = None) -> dict[str, nn.Module]:
    """{name: module} of the linear layers and convolutions, in the model's order; of `names` only, where given.

    ValueError for a name that is none of them, and for a model that has none.

    >>> list(layers_of(nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))))
    ['1', '3']
    """
    found = {name: module for name, module in model.named_modules() if isinstance(module, KINDS)}
    if not found:
        raise ValueError(f"model must have a Linear or Conv layer, got {type(model).__name__} without one")
    if names is None:
        return found
    names = [names] if isinstance(names, str) else list(names)
    check_names(names, found)
    return {name: module for name, module in found.items() if name in names}


def check_names(names: Iterable[str], known: Collection[str]) -> None:
    """ValueError unless every one of `names` is among the layers `known`."""
    for name in names:
        if name not in known:
            raise ValueError(f"layers must be among {', '.join(known)}, got {name!r}")
