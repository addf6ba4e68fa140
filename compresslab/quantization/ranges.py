"""Which range of values shall have codes? Rules (blocks, scheme) -> (low, high), then the scale and the zero point.

blocks is a float32 matrix (blocks, values), see `Scheme.blocks`; low and high are (blocks,). What lies outside is
clamped to the ends (clipping), what lies inside is rounded: a wide range rounds coarsely, a narrow one clips much.

>>> x = torch.tensor([[-0.5, 0.2, 1.0]])
>>> affine(*min_max(x, Scheme(symmetric=False)), Scheme(symmetric=False))
(tensor([0.0059]), tensor([-43], dtype=torch.int32))
"""

from collections.abc import Callable

import numpy as np
import torch
from scipy.special import rel_entr

from .scheme import Scheme, nearest

EPS = torch.finfo(torch.float32).eps  # the smallest scale, as in torch's observers


def affine(low: torch.Tensor, high: torch.Tensor, scheme: Scheme) -> tuple[torch.Tensor, torch.Tensor]:
    """(scale float32, zero_point int32), both (blocks,), for the ranges from low to high.

    The range is stretched to hold 0, and a symmetric one to be as long on both sides, so that 0 has a code of its own:
    padding and the zeros of a ReLU are exact. The formulas are those of `torch.ao.quantization`'s observers, bit for
    bit; the scale is at least 2^-23.
    """
    low, high = low.float(), high.float()
    if not (low.isfinite() & high.isfinite() & (high.clamp(min=0) - low.clamp(max=0)).isfinite()).all():
        raise ValueError(f"the range must be finite and its width too, got {low.min().item()} to {high.max().item()}")
    low, high = low.clamp(max=0), high.clamp(min=0)
    if scheme.symmetric:
        reach = torch.maximum(-low, high) if scheme.signed else high
        return (reach / scheme.qmax).clamp(min=EPS), torch.zeros_like(reach, dtype=torch.int32)
    scale = ((high - low) / (scheme.qmax - scheme.qmin)).clamp(min=EPS)
    zero_point = scheme.qmin - torch.round(low / scale)
    return scale, zero_point.clamp(scheme.qmin, scheme.qmax).int()


def min_max(blocks: torch.Tensor, scheme: Scheme) -> tuple[torch.Tensor, torch.Tensor]:
    """The smallest and the largest value: nothing is clipped, and one outlier makes the steps coarse for all."""
    return torch.aminmax(check_finite(blocks), dim=-1)


def moving_average(constant: float = 0.01, rule: Callable = min_max) -> Callable:
    """A rule with a memory: after every batch the range moves the share `constant` of the way to that batch's.

    Make a new one for each tensor that is watched. `torch.ao.quantization.MovingAverageMinMaxObserver`; Jacob et al.
    2018, section 3.1.
    """
    if not 0 < constant <= 1:
        raise ValueError(f"constant must be in (0, 1], got {constant}")
    seen = []

    def running(blocks, scheme):
        now = rule(blocks, scheme)
        seen[:] = [old + constant * (new - old) for old, new in zip(seen, now)] if seen else now
        return tuple(seen)

    return running


def percentile(q: float = 99.9) -> Callable:
    """The rule that keeps q percent of the values: the rest is cut off, half of it at either end.

    A symmetric scheme cuts at the percentile q of the magnitudes, a plain one at (100 - q) / 2 from both ends; between
    two values lies a straight line, as in `numpy.percentile`. `onnxruntime.quantization`'s PercentileCalibrater.
    """
    if not 0 < q <= 100:
        raise ValueError(f"q must be in (0, 100], got {q}")

    def rule(blocks, scheme):
        check_finite(blocks)
        if scheme.symmetric:
            reach = _quantile(blocks.abs() if scheme.signed else blocks.clamp(min=0), q / 100)
            return -reach, reach
        cut = (1 - q / 100) / 2
        return _quantile(blocks, cut), _quantile(blocks, 1 - cut)

    return rule


def _quantile(blocks: torch.Tensor, share: float) -> torch.Tensor:
    """As torch.quantile(blocks, share, dim=-1), which takes no more than 2^24 values."""
    ordered = blocks.sort(dim=-1).values
    place = share * (blocks.shape[-1] - 1)
    left, right = ordered[:, int(place)], ordered[:, min(int(place) + 1, blocks.shape[-1] - 1)]
    return torch.lerp(left.double(), right.double(), place - int(place)).float()


def mse(blocks: torch.Tensor, scheme: Scheme, candidates: int = 100) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the ranges k/candidates of (min, max), k = 1 .. candidates, the one with the smallest squared error.

    M. Nagel et al. 2021, section 3.1 (range setting by mean squared error). Each block finds its own.
    """
    if candidates < 1:
        raise ValueError(f"candidates must be at least 1, got {candidates}")
    low, high = min_max(blocks, scheme)
    best, best_error = (low, high), torch.full_like(low, torch.inf, dtype=torch.float64)
    for k in range(candidates, 0, -1):
        shrunk = low * (k / candidates), high * (k / candidates)
        scale, zero_point = affine(*shrunk, scheme)
        copy = (nearest(blocks, scale, zero_point, scheme) - zero_point[:, None]) * scale[:, None]
        error = (copy - blocks).square().sum(dim=-1, dtype=torch.float64)
        better = error < best_error
        best = tuple(torch.where(better, new, old) for new, old in zip(shrunk, best))
        best_error = torch.minimum(error, best_error)
    return best


def entropy(blocks: torch.Tensor, scheme: Scheme, bins: int = 2047) -> tuple[torch.Tensor, torch.Tensor]:
    """The range -t to t whose codes tell most about a fine histogram: least Kullback-Leibler divergence.

    For granularity "tensor" only. The histogram has `bins` bins (an odd number) around 0; where it is not finer than
    the codes, there is nothing to choose, and the range is that of `min_max`. S. Migacz, "8-bit Inference with
    TensorRT" (2017).
    """
    if scheme.granularity != "tensor":
        raise ValueError(f"entropy needs granularity='tensor', got {scheme.granularity!r}")
    if bins < 1 or bins % 2 == 0:
        raise ValueError(f"bins must be odd and at least 1, got {bins}")
    blocks = blocks.detach()
    if scheme.symmetric and not scheme.signed:
        blocks = check_finite(blocks).clamp(min=0)
    low, high = min_max(blocks, scheme)
    # Where all values lie on one side of zero, all codes do: as many again would lie on the other.
    one_sided = not (scheme.symmetric and scheme.signed) and (low.item() >= 0 or high.item() <= 0)
    levels = (scheme.qmax - scheme.qmin + 1) * (2 if one_sided else 1)
    reach = max(-low.item(), high.item())
    if not reach or bins <= levels:
        return low, high
    # Zero has a code of its own, in every range: the many zeros of a ReLU must not count.
    counts, edges = np.histogram(blocks[blocks != 0].double().numpy(), bins, range=(-reach, reach))
    divergence = kl_divergences(counts, levels)
    threshold = edges[-1 - divergence[::-1].argmin()]  # of equal ones the widest
    return low.clamp(min=-threshold), high.clamp(max=threshold)


def kl_divergences(counts: np.ndarray, levels: int) -> np.ndarray:
    """Divergence, in nats, of keeping i bins on both sides of the middle one, for i = levels // 2 up to all of them.

    counts: a histogram with an odd number of bins around zero. The reference p holds the kept bins, and at its ends
    what is clipped. The candidate q is what `levels` codes can tell of it: the mean of the filled bins that share a
    code.
    """
    middle, divergences = len(counts) // 2, []
    for i in range(levels // 2, middle + 1):
        kept = counts[middle - i : middle + i + 1].astype(float)
        p = kept.copy()
        p[0] += counts[: middle - i].sum()
        p[-1] += counts[middle + i + 1 :].sum()
        code = np.arange(len(p)) * levels // len(p)
        filled = np.bincount(code, p > 0)
        mean = np.bincount(code, kept) / filled.clip(min=1)
        # An end that holds clipped values alone counts as nearly empty, not empty: 10^-4, as in ONNX Runtime.
        q = np.where(p > 0, mean[code].clip(min=1e-4), 0)
        divergences.append(rel_entr(p / p.sum(), q / q.sum()).sum())
    return np.array(divergences)


def check_finite(x: torch.Tensor) -> torch.Tensor:
    """x; ValueError where it holds nan or infinity."""
    if not x.isfinite().all():
        raise ValueError(f"x must hold finite values only, got {x[~x.isfinite()][0].item()}")
    return x
