"""The live panel of lesson 40: controls -> numbers -> figure."""

from functools import cache

import ipywidgets as widgets
import torch

from ..lesson import Panel
from ..lesson.panel import WIDE
from . import figures, ranges
from .affine import quantize_tensor, sqnr_db
from .scheme import GRANULARITIES, Scheme

RULES = {
    "min-max": ranges.min_max,
    "percentile 99.9": ranges.percentile(99.9),
    "MSE": ranges.mse,
    "entropy": ranges.entropy,
}


def numbers_explorer(tensors: dict[str, tuple[torch.Tensor, int]], group_size: int) -> Panel:
    """Bits, symmetry, granularity and range rule on real tensors, {name: (tensor, axis of its channels)}.

    What was tried stays: `panel.tried` is a dict {(tensor, bits, symmetric, granularity, rule): row} with sqnr_db and
    bits_per_value (a scale counted as 32 bits, a zero point as many as a code). Groups lie along the last dimension.
    The entropy rule knows one range only; it is shown per tensor.
    """
    tried: dict[tuple, dict] = {}

    @cache
    def quantised(name, bits, symmetric, granularity, rule):
        tensor, axis = tensors[name]
        size = group_size if granularity == "group" else None
        q = quantize_tensor(tensor, Scheme(bits, symmetric, granularity, axis, size), RULES[rule])
        return q, q.dequantize()

    def draw(tensor, bits, symmetric, granularity, rule):
        one = rule == "entropy" and granularity != "tensor"
        granularity = "tensor" if one else granularity
        setting = tensor, bits, symmetric, granularity, rule
        (q, copies), x = quantised(*setting), tensors[tensor][0]
        scheme, scales = q.scheme, q.scale
        widest, finest = scales.argmax().item(), torch.where(scales > ranges.EPS, scales, torch.inf).argmin().item()
        names = {"the only range": widest} if len(scales) == 1 else {"widest range": widest, "narrowest": finest}
        blocks = {name: (scales[i].item(), q.zero_point[i].item(), scheme) for name, i in names.items()}
        scale, zero_point = scales[widest].item(), q.zero_point[widest].item()
        kind = "symmetric" if symmetric else "asymmetric"
        per = "per tensor (entropy knows no other)" if one else f"per {granularity}"
        now = dict(
            tensor=tensor, granularity=granularity, text=f"{tensor.capitalize()}, {bits} bits, {kind}, {per}, {rule}",
            sqnr_db=sqnr_db(x, copies), different=len(copies.unique()),
            bits_per_value=bits + len(scales) * (32 + (not symmetric) * bits) / x.numel(),
            low=(scheme.qmin - zero_point) * scale, high=(scheme.qmax - zero_point) * scale,
        )  # fmt: skip
        tried[setting] = now
        shown = [row for row in tried.values() if row["tensor"] == tensor]
        return figures.quantised(x, copies, blocks, shown, now)

    controls = dict(
        tensor=widgets.Dropdown(options=list(tensors), description="Tensor", layout=WIDE),
        bits=widgets.IntSlider(4, min=2, max=8, description="Bits", layout=WIDE),
        symmetric=widgets.Dropdown(
            options=[("symmetric", True), ("asymmetric", False)], description="Codes", layout=WIDE
        ),
        granularity=widgets.Dropdown(options=list(GRANULARITIES), description="A scale for each", layout=WIDE),
        rule=widgets.Dropdown(options=list(RULES), description="Range rule", layout=WIDE),
    )
    note = (
        f"A group is {group_size} neighbours. The dashed lines in the lower picture are the ends of the widest range."
    )
    panel = Panel(draw, controls, label="Numbers in few bits", note=note)
    panel.tried = tried
    return panel
