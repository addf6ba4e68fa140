"""Criteria (lesson 30): how much does one weight matter? Scores of a weight's own shape, higher = keep.

w is a weight, g = ∂L/∂w the gradient of the mean loss over a split, x_j the j-th input of the layer over a batch:

    random  u ~ U(0, 1]       no opinion: what every other criterion has to beat
    l1      |w|               magnitude
    l2      w²                magnitude; orders single weights as l1 does
    taylor  (w g)²            change of the loss when w is set to 0, to first order, squared
    snip    |w g| / Σ|w g|    the same change without the square, as a share of the sum over all layers
    wanda   |w| ‖x_j‖₂        magnitude of what the weight adds to its output
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers import layers_of
from ..measure import evaluating


def random(weight: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Uniform random scores in (0, 1]; they prune what `torch.nn.utils.prune.RandomUnstructured` prunes."""
    return 1 - torch.rand(weight.shape, generator=generator, dtype=weight.dtype, device=weight.device)


def l1(weight: Tensor) -> Tensor:
    """|w|: S. Han et al., "Learning both weights and connections for efficient neural networks" (2015)."""
    return weight.abs()


def l2(weight: Tensor) -> Tensor:
    """w²: the same order as |w| for single weights; it differs once squares are summed over a structure."""
    return weight**2


def taylor(weight: Tensor, grad: Tensor) -> Tensor:
    """(w g)²: P. Molchanov et al., "Importance estimation for neural network pruning" (2019), equation 8."""
    return (weight * grad) ** 2


def snip(weight: Tensor, grad: Tensor) -> Tensor:
    """|w g|: N. Lee et al., "SNIP: single-shot network pruning ..." (2019), equations 4 to 6, not yet divided.

    w g is the derivative of the loss by a switch c that multiplies w, at c = 1.
    """
    return (weight * grad).abs()


def wanda(weight: Tensor, input_norm: Tensor) -> Tensor:
    """|w_ij| ‖x_j‖₂: M. Sun et al., "A simple and effective pruning approach for large language models" (2024), eq. 1.

    `weight` (out, in, ...) of a Linear or Conv layer, `input_norm` (inputs,); a grouped convolution has more inputs
    than its weight has columns. The paper compares the weights of one output only: `n_of_m_masks` with m = in.
    """
    groups = len(input_norm) // weight.shape[1]
    norm = input_norm.view(groups, -1).repeat_interleave(len(weight) // groups, dim=0)  # (out, in)
    return weight.abs() * norm.view(*norm.shape, *[1] * (weight.ndim - 2))


CRITERIA = {rule.__name__: rule for rule in (random, l1, l2, taylor, snip, wanda)}


def gradients(model: nn.Module, split, batch_size: int = 1000) -> dict[str, Tensor]:
    """{parameter: ∂L/∂parameter} of the mean cross-entropy L over `split` = (x, y), in eval mode.

    The names are those of the dense model ("1.weight"), also where a mask or another parametrization stands between;
    for a masked weight the gradient is 0. Frozen parameters have none. Neither `.grad` nor the batch norm's running
    means are touched. ValueError for a split without examples.
    """
    x, y = _check_split(split)
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    total = {dense_name(name): torch.zeros_like(p) for name, p in parameters.items()}
    if not total:
        return total
    with evaluating(model, torch.enable_grad):
        for batch, labels in zip(x.split(batch_size), y.split(batch_size)):
            loss = F.cross_entropy(model(batch), labels, reduction="sum") / len(y)
            grads = torch.autograd.grad(loss, list(parameters.values()), materialize_grads=True)
            for name, grad in zip(total, grads):
                total[name] += grad
    return total


def wide(tensor: Tensor) -> Tensor:
    """`tensor` in float32 at least: a sum of squares leaves the range of float16 on both sides."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def dense_name(name: str) -> str:
    """The name that a parameter has once its mask is baked: "1.weight" for "1.parametrizations.weight.original"."""
    return name.replace("parametrizations.", "").removesuffix(".original") if "parametrizations." in name else name


def input_norms(model: nn.Module, x: Tensor, batch_size: int = 1000) -> dict[str, Tensor]:
    """{layer: ‖x_j‖₂ of each of its inputs, shape (inputs,)} as `x` (n, ...) passes through, in eval mode.

    The norm is taken over all examples and, where there are any, tokens, rows or pixels; an input of a convolution
    is a channel.
    """
    squares = {}

    def watch(name):
        def hook(layer, inputs):
            channels = -1 if isinstance(layer, nn.Linear) else 1
            squares[name] += wide(inputs[0]).movedim(channels, 0).flatten(1).square().sum(1)

        return hook

    handles = []
    for name, layer in layers_of(model).items():
        squares[name] = wide(layer.weight).new_zeros(layer.weight.shape[1] * getattr(layer, "groups", 1))
        handles.append(layer.register_forward_pre_hook(watch(name)))
    try:
        with evaluating(model, torch.no_grad):
            for batch in x.split(batch_size):
                model(batch)
    finally:
        for handle in handles:
            handle.remove()
    return {name: square.sqrt() for name, square in squares.items()}


def scores(
    model: nn.Module, criterion: str = "l1", *, split=None, layers=None, generator: torch.Generator | None = None
) -> dict[str, Tensor]:
    """{"1.weight": scores} of the weights of all Linear and Conv layers, or of those named in `layers`.

    taylor and snip need `split` = (x, y) for their gradients, wanda reads its x; random draws from `generator`.
    Scores of half precision weights are float32, those of random aside. ValueError for an unknown criterion or layer,
    for a missing or empty split, and for a model with no layer to prune.
    """
    chosen = check(model, criterion, split, layers)
    rule, weights = CRITERIA[criterion], {f"{name}.weight": layer.weight.detach() for name, layer in chosen.items()}
    if criterion == "random":
        return {name: rule(weight, generator) for name, weight in weights.items()}
    weights = {name: wide(weight) for name, weight in weights.items()}
    if criterion in ("l1", "l2"):
        return {name: rule(weight) for name, weight in weights.items()}
    if criterion == "wanda":
        second = {f"{name}.weight": norm for name, norm in input_norms(model, split[0]).items()}
    else:
        second = gradients(model, split)
        if frozen := weights.keys() - second.keys():
            raise ValueError(
                f"criterion {criterion} needs weights that require a gradient, got frozen {sorted(frozen)}"
            )
    found = {name: rule(weight, second[name]) for name, weight in weights.items()}
    if criterion == "snip":
        total = sum(score.sum() for score in found.values())
        found = {name: score / total for name, score in found.items()}
    return found


def check(model: nn.Module, criterion: str, split=None, names=None) -> dict[str, nn.Module]:
    """The prunable layers, or those in `names`; ValueError where `scores` would refuse its arguments."""
    found = layers_of(model, names)
    if criterion not in CRITERIA:
        raise ValueError(f"criterion must be one of {', '.join(CRITERIA)}, got {criterion!r}")
    if criterion in ("taylor", "snip", "wanda"):
        if split is None:
            raise ValueError(f"criterion {criterion} needs split, a pair (x, y) of examples, got None")
        _check_split(split)
    return found


def _check_split(split):
    pair = isinstance(split, (tuple, list)) and len(split) == 2
    if not pair or not len(split[0]) == len(split[1]) > 0:
        got = " and ".join(str(len(part)) for part in split) if pair else type(split).__name__
        raise ValueError(f"split must be a pair (x, y) of as many examples as labels, at least one, got {got}")
    return split
