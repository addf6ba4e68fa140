"""Distillation: a student learns the teacher's softened answers beside the labels (lesson 50).

G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network" (2015).
"""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data import Data, Split
from ..measure import predict


def soft_targets(scores: Tensor, temperature: float) -> Tensor:
    """Probabilities softmax(scores / temperature) along the last dimension: the higher, the more alike (equation 1).

    ValueError for a temperature that is not above 0.

    >>> soft_targets(torch.tensor([[3.0, 1.0, 0.0]]), 1), soft_targets(torch.tensor([[3.0, 1.0, 0.0]]), 4)
    (tensor([[0.8438, 0.1142, 0.0420]]), tensor([[0.4810, 0.2918, 0.2272]]))
    """
    _check(temperature)
    return F.softmax(scores / temperature, dim=-1)


def distillation_loss(
    scores: Tensor, teacher_scores: Tensor, y: Tensor, temperature: float = 4.0, share: float = 0.5
) -> Tensor:
    """share T² KL(teacher || student), both softened by T, plus (1 - share) times the cross-entropy with the labels.

    `scores` and `teacher_scores` (n, classes), `y` int64 (n,). Both terms are means over the batch, in nats. Softening
    makes the gradient of the first about T² times smaller; the factor T² makes up for it (section 2.1). No gradient
    goes to the teacher. ValueError for a temperature that is not above 0, a share outside [0, 1], unequal shapes.
    """
    _check(temperature, share)
    if scores.shape != teacher_scores.shape:
        raise ValueError(f"teacher_scores must be {tuple(scores.shape)}, got {tuple(teacher_scores.shape)}")
    own, wanted = (F.log_softmax(s / temperature, dim=1) for s in (scores, teacher_scores.detach()))
    soft = F.kl_div(own, wanted, log_target=True, reduction="batchmean") * temperature**2
    return share * soft + (1 - share) * F.cross_entropy(scores, y)


def soft_loss(teacher: nn.Module, temperature: float = 4.0, share: float = 0.5) -> Callable:
    """A `loss` for `training.fit`: `distillation_loss` with the scores that `teacher` gives in eval mode.

    The student may be masked, quantised or of shared weights; where it is a compressed copy of its teacher, give a
    deep copy made before. ValueError for a temperature that is not above 0 or a share outside [0, 1].
    """
    _check(temperature, share)

    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return distillation_loss(model(x), predict(teacher, x), y, temperature, share)

    return loss


def _check(temperature: float, share: float = 0.0) -> None:
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be above 0 and finite, got {temperature}")
    if not 0 <= share <= 1:
        raise ValueError(f"share must be in [0, 1], got {share}")


# ------------------------------------------------------------------------------- the omitted digit


def without_class(data: Data, digit: int) -> Data:
    """`data` with no example of the class `digit` in its train part; val and test stay whole.

    Call it again on the result to leave out more. ValueError for a class that train does not hold, or that is all
    it holds.

    >>> from compresslab.data import load
    >>> len(load("digits").train.y), len(without_class(load("digits"), 3).train.y)
    (1079, 969)
    """
    x, y = data.train
    kept = y != digit
    if kept.all() or not kept.any():
        raise ValueError(f"digit must be one of at least two classes in train, {y.unique().tolist()}, got {digit}")
    return replace(data, train=Split(x[kept], y[kept]))


def correct_bias_(model: nn.Module, x: Tensor, digit: int, share: float) -> float:
    """Shift the last layer's bias of the class `digit` until it is the answer to a `share` of `x`; returns the shift.

    A student that never saw a digit has learned not to answer it: its bias is far too low. The paper (section 3)
    chooses the shift by the errors on the test set; how often the digit occurs is enough to know, and needs no labels.
    The model changes in place. ValueError, before that, for a share outside [0, 1], no inputs, a class that the model
    does not have, scores that are not finite, or a model whose last Linear layer, which gives the scores, has no plain
    bias for each class.
    """
    _check(1.0, share)
    if not len(x):
        raise ValueError("x must hold at least one input, got none")
    scores = predict(model, x)
    if not 0 <= digit < scores.shape[1]:
        raise ValueError(f"digit must be in 0..{scores.shape[1] - 1}, got {digit}")
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    bias = linear[-1]._parameters.get("bias") if linear else None  # not one that a parametrization computes
    if bias is None or len(bias) != scores.shape[1]:
        raise ValueError(f"model must end in a Linear layer with {scores.shape[1]} plain biases, one a class")
    if not scores.isfinite().all():
        raise ValueError("model must give finite scores, got inf or nan")
    others = scores.clone()
    others[:, digit] = -torch.inf
    lacks = (others.amax(1) - scores[:, digit]).sort().values  # what each input lacks for the answer digit
    lacks = torch.cat([lacks[:1] - 1, lacks, lacks[-1:] + 1])
    count = round(share * len(x))
    shift = (lacks[count] + lacks[count + 1]).item() / 2
    with torch.no_grad():
        bias[digit] += shift
    return shift
