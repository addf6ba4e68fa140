"""How much does an attention head matter (lesson 31)? The loss's derivative by a switch on the head's output."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..measure import evaluating
from .groups import Group


def head_importance(model: nn.Module, groups: Sequence[Group], split, batch_size: int = 1000) -> dict[str, Tensor]:
    """{group name: (heads,)}: the mean over the examples of `split` = (x, y) of |∂L/∂c|, higher = keep.

    L is the cross-entropy of one example, c = 1 a switch that multiplies the output of one head, that is its share of
    what the layer after the attention reads: P. Michel, O. Levy, G. Neubig, "Are sixteen heads really better than
    one?" (2019), equation 2. The sizes are taken example by example, so the derivatives of two examples do not cancel,
    as they would in the gradient of the mean loss. ValueError unless `groups` (of `dependencies.groups`) are heads.
    """
    if not groups or any(group.kind != "head" for group in groups):
        raise ValueError(f"groups must be groups of heads, got {[group.kind for group in groups]}")
    readers = {group.name: next(m for m in group.members if m.role == "consumer") for group in groups}
    read = {}  # what each of these layers read in the last forward pass: all heads' outputs side by side

    def watch(name):
        def hook(layer, inputs):
            read[name] = inputs[0].requires_grad_()

        return hook

    x, y = split
    total = {group.name: torch.zeros(group.size).to(readers[group.name].of(model)) for group in groups}
    handles = [model.get_submodule(m.layer).register_forward_pre_hook(watch(name)) for name, m in readers.items()]
    try:
        with evaluating(model, torch.enable_grad):
            for batch, labels in zip(x.split(batch_size), y.split(batch_size)):
                loss = F.cross_entropy(model(batch), labels, reduction="sum")
                for name, grad in zip(read, torch.autograd.grad(loss, list(read.values()))):
                    by_column = (read[name] * grad).detach().flatten(1, -2).sum(1)  # (examples, columns)
                    total[name] += by_column[:, readers[name].index].sum(2).abs().sum(0)
    finally:
        for handle in handles:
            handle.remove()
    return {name: score / len(y) for name, score in total.items()}
