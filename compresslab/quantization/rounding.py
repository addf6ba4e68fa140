"""Optimised rounding: up or down, whichever keeps the layer's output, not the nearest (AdaRound, lesson 42).

Each weight lies between two codes. One number between 0 and 1 for each, h, says how far up it is rounded; h is found
by gradient descent on the error of the layer's output, and a penalty drives it to 0 or 1.
M. Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization" (2020).
"""

import copy
import math

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from ..measure import check_at_least
from ..training import track
from .affine import Quantized
from .calibration import check_calibration
from .fake import FakeQuantizeWeight, remove_, weight_quantizers
from .ranges import EPS
from .tracing import watch_layers

ZETA, GAMMA = 1.1, -0.1  # the stretched ends of the sigmoid: so it reaches 0 and 1


class RoundedWeight(FakeQuantizeWeight):
    """Parametrization: the code below a weight or, where `up` (shape of the weight, 0 or 1), the one above it.

    For one weight tensor, and not to be trained: no gradient passes.
    """

    def __init__(self, scale: torch.Tensor, zero_point: torch.Tensor, scheme, up: torch.Tensor):
        super().__init__(scale, zero_point, scheme)
        self.register_buffer("up", up.clone())

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        blocks = (self._codes(weight) - self.zero_point[:, None]) * self.scale[:, None]
        return self.scheme.unblocks(blocks, weight.shape).to(weight.dtype)

    def codes(self, weight: torch.Tensor) -> Quantized:
        codes = self.scheme.unblocks(self._codes(weight.detach()), weight.shape).to(self.scheme.dtype)
        return Quantized(codes, self.scale, self.zero_point, self.scheme)

    def _codes(self, weight: torch.Tensor) -> torch.Tensor:
        steps = self.scheme.blocks(weight).float() * (1 / self.scale)[:, None]
        between = torch.minimum(steps.floor() + self.scheme.blocks(self.up), steps.ceil())  # a whole number stays
        return (between + self.zero_point[:, None]).clamp(self.scheme.qmin, self.scheme.qmax)


def rectified_sigmoid(v: torch.Tensor) -> torch.Tensor:
    """h(v), in [0, 1]: the sigmoid stretched to (-0.1, 1.1), then clamped (equation 23)."""
    return (torch.sigmoid(v) * (ZETA - GAMMA) + GAMMA).clamp(0, 1)


def undecided(h: torch.Tensor, beta: float) -> torch.Tensor:
    """The penalty sum(1 - |2h - 1|^beta): 0 where all h are 0 or 1 (equation 24); flat in the middle for large beta."""
    return (1 - (2 * h - 1).abs() ** beta).sum()


def annealed_beta(progress: float, first: float = 20, last: float = 2, warm_up: float = 0.2) -> float | None:
    """beta falls from first to last along a half cosine; None in the warm-up, which has no penalty."""
    if progress < warm_up:
        return None
    return last + (first - last) * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up))) / 2


def optimise_rounding_(
    model: nn.Module,
    calibration: torch.Tensor,
    *,
    steps: int = 1000,
    lr: float = 0.03,
    penalty: float = 10.0,
    batch_size: int = 64,
    seed: int = 0,
    progress: bool = False,
) -> pd.DataFrame:
    """Choose anew how each weight of a fake-quantised model is rounded, layer by layer in the order they run.

    For each layer `steps` steps of Adam on batches of `calibration` (n, ...): what it makes of the inputs that it gets
    in the quantised model shall be the float model's output, before the activation function (section 4, equations 21 to
    25). The penalty is a mean, and the error is in units of that of rounding to nearest, so that one `penalty` fits all
    layers, and a tenth of the paper's steps is enough. Scales stay. An output channel for which rounding
    to nearest is better on the whole set keeps that. Rows: layer, nearest_mse and mse (mean squared error of its output
    on the set, before and after). `remove_`, `freeze_` and `integer_codes` work as before. ValueError for a model
    without fake-quantised weights, for weights that are not rounded to the nearest code, for steps or batch_size below
    1, and as in `static_`.
    """
    quantizers = weight_quantizers(model)
    if not quantizers:
        raise ValueError("model must hold fake-quantised weights, got none")
    for name, quantizer in quantizers.items():
        if type(quantizer) is not FakeQuantizeWeight or quantizer.scheme.binary:
            raise ValueError(f"model must round all weights to the nearest code, got another rule in layer {name}")
    check_at_least(1, steps=steps, batch_size=batch_size)
    check_calibration(calibration)
    generator = torch.Generator().manual_seed(seed)
    exact, rows = remove_(copy.deepcopy(model)), []
    names = list(_seen(exact, quantizers, calibration, 1))
    for name in track(names, "optimising the rounding", show=progress):
        layer, q, weight = model.get_submodule(name), quantizers[name], exact.get_submodule(name).weight.detach()
        x, wanted = _seen(model, [name], calibration, 0)[name], _seen(exact, [name], calibration, 1)[name]
        batches = [torch.randint(len(x), (min(batch_size, len(x)),), generator=generator) for _ in range(steps)]
        soft = _optimised(layer, weight, q, x, wanted, batches, lr, penalty)
        ratio = _ratio(weight, q)
        best = RoundedWeight(q.scale, q.zero_point, q.scheme, ratio.round() - ratio.floor())  # to the nearest
        with torch.no_grad():
            before, after = (_errors(layer, w, x, wanted) for w in (layer.weight, soft(weight)))
            better = (after < before).reshape(-1, *[1] * (weight.ndim - 1))
            best.up = torch.where(better, soft.up, best.up)
        chain = layer.parametrizations.weight
        chain[[step is q for step in chain].index(True)] = best
        rows.append(dict(layer=name, nearest_mse=before.mean().item(), mse=torch.minimum(before, after).mean().item()))
    return pd.DataFrame(rows, columns=["layer", "nearest_mse", "mse"])


@torch.enable_grad()
def _optimised(layer, weight, q, x, wanted, batches, lr: float, penalty: float) -> RoundedWeight:
    """The rounding found by Adam, one step a batch of indices; it starts with h = what rounding to nearest rounds."""
    ratio = _ratio(weight, q)
    v = torch.logit((ratio - ratio.floor() - GAMMA) / (ZETA - GAMMA)).requires_grad_()
    found = RoundedWeight(q.scale, q.zero_point, q.scheme, torch.zeros_like(weight))
    optimizer, size = torch.optim.Adam([v], lr=lr), _errors(layer, layer.weight.detach(), x, wanted).mean() + EPS
    for step, index in enumerate(batches):
        found.up, beta = rectified_sigmoid(v), annealed_beta(step / len(batches))
        loss = _errors(layer, found(weight), x[index], wanted[index]).mean() / size
        loss = loss if beta is None else loss + penalty * undecided(found.up, beta) / v.numel()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found.up = (v > 0).float()
    return found


def _ratio(weight: torch.Tensor, q: FakeQuantizeWeight) -> torch.Tensor:
    """weight / scale, as `scheme.rounded` computes it."""
    return q.scheme.unblocks(q.scheme.blocks(weight).float() * (1 / q.scale)[:, None], weight.shape)


def _errors(layer: nn.Module, weight: torch.Tensor, x: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Mean squared error of each output channel (channels,); a row of the weight decides about its own channel only."""
    bias, linear = None if layer.bias is None else layer.bias.detach(), isinstance(layer, nn.Linear)
    output = F.linear(x, weight, bias) if linear else layer._conv_forward(x, weight, bias)
    return (output - wanted).movedim(-1 if linear else 1, 0).flatten(1).square().mean(dim=1)


def _seen(model: nn.Module, names, calibration: torch.Tensor, side: int) -> dict[str, torch.Tensor]:
    """{layer: all it read (side 0) or returned before a quantizer of its own (side 1)}, in the order they run."""
    seen = {}

    def note(name, layer, *tensors):
        seen.setdefault(name, []).append(tensors[side])

    watch_layers(model, names, calibration, note)
    for name, parts in seen.items():
        if len(sizes := {tuple(part.shape[1:]) for part in parts}) > 1:
            raise ValueError(f"layer {name} must read tensors of one size, got {sorted(sizes)}")
    return {name: torch.cat(parts) for name, parts in seen.items()}
