"""Masks (lesson 30): dicts {parameter name: bool tensor of its shape, True = kept}, made from scores, put on a model.

    masks = global_masks(scores(model, "l1"), sparsity=0.9)   which weights go
    mask_(model, masks)                                       they read as 0; training cannot bring them back
    bake_(model)                                              final: plain parameters that hold the zeros

As many weights go as torch.nn.utils.prune takes, round(sparsity * n), and of equal scores the same ones. Masks that
would leave nothing of a weight are refused: such a layer passes no signal on, and no training repairs it (the "layer
collapse" of H. Tanaka et al., "Pruning neural networks without any data ...", 2020).
"""

from numbers import Real

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..layers import check_names, layers_of
from ..parametrizations import register_, unregister_
from . import criteria

# ---------------------------------------------------------------------------------- scores -> masks


def local_masks(scores: dict[str, Tensor], sparsity: float | dict[str, float]) -> dict[str, Tensor]:
    """The lowest `sparsity` of each weight's scores goes: one threshold a layer.

    A dict {layer: sparsity} leaves the layers that it does not name dense. ValueError for a sparsity outside [0, 1),
    an unknown layer, a score that is nan, a weight of which nothing would be left.

    >>> local_masks({"1.weight": torch.tensor([[3.0, 1.0], [4.0, 2.0]])}, sparsity=0.5)
    {'1.weight': tensor([[ True, False],
            [ True, False]])}
    """
    shares = _shares(scores, sparsity)
    check_numbers(scores)
    return _whole({name: _without_lowest(score, shares[name]) for name, score in scores.items()}, sparsity)


def global_masks(scores: dict[str, Tensor], sparsity: float) -> dict[str, Tensor]:
    """The lowest `sparsity` of all scores taken together goes: one threshold for the model.

    ValueError for a sparsity outside [0, 1), a score that is nan, a weight of which nothing would be left.
    """
    check_share(sparsity)
    check_numbers(scores)
    kept = _without_lowest(torch.cat([score.flatten() for score in scores.values()]), sparsity)
    parts = kept.split([score.numel() for score in scores.values()])
    return _whole({name: part.view(scores[name].shape) for name, part in zip(scores, parts)}, sparsity)


def _without_lowest(score: Tensor, sparsity: float) -> Tensor:
    mask = torch.ones(score.numel(), dtype=torch.bool, device=score.device)
    lowest = torch.topk(score.flatten(), round(sparsity * score.numel()), largest=False, sorted=False)
    mask[lowest.indices] = False
    return mask.view(score.shape)


def n_of_m_masks(scores: dict[str, Tensor], n: int = 2, m: int = 4) -> dict[str, Tensor]:
    """The best n of every m neighbouring inputs stay, for each output: 2:4 is what sparse tensor cores can skip.

    A. Mishra et al., "Accelerating sparse deep neural networks" (2021). Neighbours along dimension 1 (for a
    convolution, input channels at one position of the kernel); ValueError unless m divides its size.
    """
    if not 1 <= n <= m:
        raise ValueError(f"n must be in 1..m, got n={n}, m={m}")
    for name, score in scores.items():
        if score.ndim < 2 or score.shape[1] % m:
            raise ValueError(f"m must divide the number of inputs of {name}, {tuple(score.shape)}, got {m}")
    check_numbers(scores)
    masks = {}
    for name, score in scores.items():
        blocks = score.movedim(1, -1).unflatten(-1, (-1, m))
        best = blocks.topk(n, dim=-1).indices
        kept = torch.zeros_like(blocks, dtype=torch.bool).scatter_(-1, best, True)
        masks[name] = kept.flatten(-2).movedim(-1, 1).contiguous()
    return masks


def weight_masks(
    model: nn.Module,
    sparsity: float | dict[str, float],
    criterion: str = "l1",
    scope: str = "global",
    *,
    split=None,
    layers=None,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Score the weights of `model` and mask the lowest; see `criteria.scores` for the arguments after `scope`.

    `scope` is "local" (one threshold a layer) or "global" (one for all); a dict {layer: sparsity} is always local.
    `sparsity` counts what is already masked: those weights go first, and none comes back. The model is not changed.
    ValueError as from `scores`, `local_masks` and `global_masks`.
    """
    check(model, sparsity, criterion, scope, split, layers)
    found = criteria.scores(model, criterion, split=split, layers=layers, generator=generator)
    before = {name: mask for name, mask in masks_of(model).items() if name in found}
    found |= {name: found[name].masked_fill(~mask, -torch.inf) for name, mask in before.items()}
    choose = local_masks if scope == "local" or isinstance(sparsity, dict) else global_masks
    masks = choose(found, sparsity)
    return masks | {name: masks[name] & mask for name, mask in before.items()}


# ----------------------------------------------------------------------------------- masks -> model


class Mask(nn.Module):
    """Parametrization: a weight times `mask`, a bool tensor of its shape; so is its gradient."""

    def __init__(self, mask: Tensor):
        super().__init__()
        self.register_buffer("mask", mask.clone())

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask


def mask_(model: nn.Module, masks: dict[str, Tensor]) -> None:
    """Put `masks` on the parameters of `model` that they name, in place of the masks that these had.

    The parameters stay the same objects, so an optimizer goes on; they keep their values under the mask, and what a
    new mask lets through reads as it was. ValueError, before anything is changed, for an unknown name, another shape,
    a mask that is not bool, a parameter that two modules share (only one of them would read the zeros).
    """
    _refuse_tied(model, masks)
    places = {name: _place(model, name, mask) for name, mask in masks.items()}
    for name, (module, parameter) in places.items():
        if not parametrize.is_parametrized(module, parameter):
            register_(module, parameter, Mask(masks[name]))
        elif isinstance(first := module.parametrizations[parameter][0], Mask):
            first.mask = masks[name].clone()
        else:
            module.parametrizations[parameter].insert(0, Mask(masks[name]))  # before a fake quantizer, say


def bake_(model: nn.Module) -> None:
    """Make the masks final: plain parameters again, the same objects, exactly 0 where they were masked.

    Other parametrizations stay.
    """
    for _, module, parameter in list(_masked(model)):
        chain = module.parametrizations[parameter]
        with torch.no_grad():
            chain.original.masked_fill_(~chain[0].mask, 0.0)  # a product may leave -0, which packs worse
        if len(chain) > 1:
            del chain[0]
            continue
        unregister_(module, parameter, keep=False)


def masks_of(model: nn.Module) -> dict[str, Tensor]:
    """{parameter name: mask} of all masks on `model`, copies."""
    return {name: module.parametrizations[parameter][0].mask.clone() for name, module, parameter in _masked(model)}


def sparsity(model: nn.Module) -> float:
    """Share of zeros in the weights of all Linear and Conv layers, as the forward pass sees them.

    >>> model = nn.Linear(4, 1)
    >>> mask_(model, {"weight": torch.tensor([[True, False, False, False]])})
    >>> sparsity(model)
    0.75
    """
    weights = [layer.weight for layer in layers_of(model).values()]
    return 1 - sum(int(weight.count_nonzero()) for weight in weights) / sum(weight.numel() for weight in weights)


def _masked(model: nn.Module):
    for prefix, module in model.named_modules():
        for parameter, chain in getattr(module, "parametrizations", {}).items():
            if isinstance(chain[0], Mask):
                yield f"{prefix}.{parameter}".removeprefix("."), module, parameter


def _place(model: nn.Module, name: str, mask: Tensor) -> tuple[nn.Module, str]:
    """The module and the parameter that `name` stands for; ValueError unless `mask` fits."""
    known = [criteria.dense_name(parameter) for parameter, _ in model.named_parameters()]
    if name not in known:
        raise ValueError(f"masks must name parameters of the model, {', '.join(known)}, got {name!r}")
    path, _, parameter = name.rpartition(".")
    module = model.get_submodule(path)
    shape = getattr(module, parameter).shape
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != shape:
        got = f"{mask.dtype} {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(f"mask of {name} must be bool {tuple(shape)}, got {got}")
    return module, parameter


def _refuse_tied(model: nn.Module, masks) -> None:
    places = {}
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            places.setdefault(parameter, []).append(f"{prefix}.{name}".removeprefix("."))
    for names in places.values():
        if len(names) > 1 and masks.keys() & names:
            raise ValueError(f"masks must not name a shared parameter, got {' = '.join(names)}")


# ------------------------------------------------------------------------------------------- checks


def check(model: nn.Module, sparsity, criterion: str, scope: str, split=None, names=None) -> None:
    """ValueError where `weight_masks` would refuse its arguments; nothing is computed."""
    found = criteria.check(model, criterion, split, names)
    if scope not in ("local", "global"):
        raise ValueError(f"scope must be local or global, got {scope!r}")
    _shares({f"{name}.weight": None for name in found}, sparsity)


def _shares(named: dict, share: float | dict[str, float]) -> dict[str, float]:
    """{weight name: share} from one number for all, or from a dict {layer: share}, 0 for the others."""
    layer_of = {name: name.removesuffix("weight").removesuffix(".") for name in named}
    if isinstance(share, dict):
        check_names(share, layer_of.values())
    for value in share.values() if isinstance(share, dict) else [share]:
        check_share(value)
    return {name: share.get(layer, 0.0) if isinstance(share, dict) else share for name, layer in layer_of.items()}


def check_share(share: float, argument: str = "sparsity") -> None:
    if not (isinstance(share, Real) and 0 <= share < 1):
        raise ValueError(f"{argument} must be in [0, 1), got {share!r}")


def check_numbers(scores: dict[str, Tensor]) -> None:
    if not scores:
        raise ValueError("scores must hold at least one weight, got none")
    for name, score in scores.items():
        if score.isnan().any():
            raise ValueError(f"scores of {name} must be numbers, got nan")


def _whole(masks: dict[str, Tensor], share) -> dict[str, Tensor]:
    for name, mask in masks.items():
        if not mask.any():
            raise ValueError(f"sparsity must leave something of every weight, got {share}, which leaves {name} empty")
    return masks
