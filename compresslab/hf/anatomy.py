"""Where the parameters, the multiplications and the time of a transformer are."""

import time
from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..measure import check_at_least, evaluating, inputs_of

PARTS = ("embeddings", "attention", "feed-forward", "norms", "head", "rest")
WORDS = {"embed": "embeddings", "attention": "attention", "attn": "attention"}


def anatomy(model: nn.Module, example_inputs: Tensor | tuple, rounds: int = 10) -> pd.DataFrame:
    """What each part of a transformer costs, one row a part: parameters, size_bytes, macs, time_share.

    attention includes the layers for query, key, value and output; norms are those of all parts; head is what follows
    the blocks (a pooler, the classifier); rest is what belongs to none of them (sums, masks, Python). macs: as in
    `measure.count_macs`, which sees the products inside attention where it is written out, as in models made or
    loaded here. time_share: of the median times over `rounds` runs, taken with hooks where one part borders on another.

    ValueError for a model without an attention module.
    """
    check_at_least(1, rounds=rounds)
    inputs = inputs_of(example_inputs)
    table = pd.DataFrame(0, index=pd.Index(PARTS, name="part"), columns=["parameters", "size_bytes", "macs"])
    parts = {name: part(name, module) for name, module in model.named_modules()}
    if "attention" not in parts.values():
        raise ValueError(f"model must be a transformer, got {type(model).__name__} without an attention module")
    for name, parameter in model.named_parameters():
        row = parts[name.rpartition(".")[0]]
        table.loc[row, "parameters"] += parameter.numel()
        table.loc[row, "size_bytes"] += parameter.numel() * parameter.element_size()
    with evaluating(model, torch.no_grad):
        with FlopCounterMode(display=False) as counter:
            table["macs"] = _by_part(model, inputs, parts, counter.get_total_flops) // 2
        model(*inputs)  # warm
        runs = [_by_part(model, inputs, parts, time.perf_counter) for _ in range(rounds)]
    seconds = pd.concat(runs, axis=1).median(axis=1)
    return table.assign(time_share=seconds / seconds.sum())


def part(name: str, module: nn.Module) -> str:
    """The part that a module belongs to, from its class and from its path in a transformers model.

    >>> part("vit.layers.0.attention.q_proj", nn.Linear(4, 4)), part("vit.layers.0.mlp.fc1", nn.Linear(4, 4))
    ('attention', 'feed-forward')
    """
    kind, whole = type(module).__name__.lower(), bool(list(module.children()))
    if "norm" in kind:
        return "norms"
    for word, found in WORDS.items():
        if word in name.lower() or word in kind:
            return found
    steps = [step.isdigit() for step in name.split(".")]
    if any(steps):  # in a block
        return "rest" if steps[-1] and whole else "feed-forward"
    return "rest" if whole else "head"


def _by_part(model: nn.Module, inputs: tuple, parts: dict[str, str], meter: Callable[[], float]) -> pd.Series:
    """How far `meter` goes on in each part in one forward pass; what is inside another part counts there alone."""
    own, open_parts, last = dict.fromkeys(PARTS, 0), ["rest"], [0]

    def turn() -> None:
        """Give what went by since the last border to the part that is open."""
        own[open_parts[-1]] += meter() - last[0]
        last[0] = meter()  # anew, so that the hooks' own time counts nowhere

    def enter(name):
        def hook(module, inputs):
            turn()
            open_parts.append(parts[name])

        return hook

    def leave(module, inputs, output):
        turn()
        open_parts.pop()

    handles = []
    try:
        for name, module in model.named_modules():
            if parts[name] != parts.get(name.rpartition(".")[0]) or not name:
                handles += [module.register_forward_pre_hook(enter(name)), module.register_forward_hook(leave)]
        last[0] = meter()
        model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return pd.Series(own)
