"""Lesson 50: soft targets, the loss that learns them, and the bias of a digit that was left out."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy import special, stats

from ...lesson import Exercise, Mistake
from ..distillation import correct_bias_


def _scores(n, classes, size, seed=0):
    return size * torch.randn(n, classes, generator=torch.Generator().manual_seed(10 * n + classes + seed))


# ------------------------------------------------------------------------------------ soft targets


def soft_targets(scores, temperature):
    return torch.softmax(scores / temperature, dim=1)


# Inputs, classes, size of the scores, temperature. The last scores are too large for exp in float32.
_SOFT = ((4, 10, 4.0, 4.0), (6, 3, 2.0, 0.5), (5, 7, 3.0, 1.0), (3, 5, 5.0, 20.0), (8, 4, 150.0, 2.0))


def _soft_trial(fn):
    return [fn(_scores(n, classes, size), temperature) for n, classes, size, temperature in _SOFT]


def _soft_by_scipy(scores, temperature):
    return torch.from_numpy(special.softmax(scores.double().numpy() / temperature, axis=1)).float()


_AFTER = "The temperature comes after the softmax: divide the scores by it, then take the softmax."
_ROWS = "Every row is one input and must sum to 1 by itself: take the softmax over the classes, dim=1."
_SUM = "The rows do not sum to 1: divide each by its sum, or let torch.softmax do so."

softened = Exercise(
    key="50/soft-targets",
    title="Soft targets",
    solution=soft_targets,
    trial=_soft_trial,
    expected=lambda: _soft_trial(_soft_by_scipy),
    mistakes=(
        Mistake(
            "The scores are multiplied by the temperature, which sharpens them: divide.",
            lambda scores, temperature: torch.softmax(scores * temperature, dim=1),
        ),
        Mistake(_AFTER, lambda scores, temperature: torch.softmax(scores, dim=1) / temperature),
        Mistake(_AFTER, lambda scores, temperature: torch.softmax(torch.softmax(scores, 1) / temperature, 1)),
        Mistake(_ROWS, lambda scores, temperature: torch.softmax(scores / temperature, dim=0)),
        Mistake(
            _ROWS,
            lambda scores, temperature: torch.softmax((scores / temperature).flatten(), dim=0).view(scores.shape),
        ),
        Mistake(
            "The temperature is not used, or has no effect (to subtract it has none): divide the scores by it first.",
            lambda scores, temperature: torch.softmax(scores, dim=1),
        ),
        Mistake(
            "The sign is turned: a higher score must give a higher probability.",
            lambda scores, temperature: torch.softmax(-scores / temperature, dim=1),
        ),
        Mistake(
            "These are logarithms of probabilities: use torch.softmax, not log_softmax.",
            lambda scores, temperature: torch.log_softmax(scores / temperature, dim=1),
        ),
        Mistake(_SUM, lambda scores, temperature: torch.softmax(scores, dim=1) ** (1 / temperature)),
        Mistake(_SUM, lambda scores, temperature: torch.exp(scores / temperature)),
        Mistake(
            "The exponential is missing: exp(score / temperature), divided by the sum of these in the row.",
            lambda scores, temperature: scores / temperature / (scores / temperature).sum(1, keepdim=True),
        ),
        Mistake(
            "exp of a large score is inf, and inf / inf is nan: subtract the largest score of each row first.",
            lambda scores, temperature: (scores / temperature).exp() / (scores / temperature).exp().sum(1, True),
        ),
        Mistake(
            "T² belongs to the loss; here the scores are divided by the temperature itself.",
            lambda scores, temperature: torch.softmax(scores / temperature**2, dim=1),
        ),
        Mistake(
            "A sigmoid looks at one class alone: the softmax shares 1 out among the classes.",
            lambda scores, temperature: torch.sigmoid(scores / temperature),
        ),
        Mistake(
            "This is the hard answer, 1 for the best class. Soft targets keep what the teacher thinks of the others.",
            lambda scores, temperature: F.one_hot(scores.argmax(1), scores.shape[1]).float(),
        ),
    ),
    hints=(
        "A high temperature makes the probabilities more alike: it brings the scores closer together first.",
        "Divide the scores by the temperature, then take the softmax over the classes of each input.",
        "return torch.softmax(scores / temperature, dim=1)",
    ),
)


# -------------------------------------------------------------------------------- distillation loss


def distillation_loss(scores, teacher_scores, y, temperature, share):
    wanted = torch.softmax(teacher_scores / temperature, dim=1)
    own = torch.log_softmax(scores / temperature, dim=1)
    soft = torch.nn.functional.kl_div(own, wanted, reduction="batchmean") * temperature**2
    return share * soft + (1 - share) * torch.nn.functional.cross_entropy(scores, y)


# Inputs, classes, temperature, share
_LOSS = ((8, 10, 4.0, 0.5), (12, 5, 2.0, 0.8), (6, 10, 5.0, 0.25), (9, 4, 3.0, 1.0))


def _loss_trial(fn):
    results = []
    for n, classes, temperature, share in _LOSS:
        scores, teacher_scores = (_scores(n, classes, 3.0, seed) for seed in range(2))
        results.append(torch.as_tensor(fn(scores, teacher_scores, torch.arange(n) % classes, temperature, share)))
    return results


def _loss_by_scipy(scores, teacher_scores, y, temperature, share):
    own, wanted = (s.double().numpy() for s in (scores, teacher_scores))
    soft = stats.entropy(*(special.softmax(s / temperature, axis=1) for s in (wanted, own)), axis=1)
    hard = -special.log_softmax(own, axis=1)[np.arange(len(y)), y]
    return share * temperature**2 * soft.mean() + (1 - share) * hard.mean()


def _kl(p, log_q):
    """One number an input."""
    return (p * (p.log() - log_q)).sum(1)


def _loss_variant(
    soft=_kl,
    reduce=lambda terms, classes: terms.mean(),
    factor=lambda t: t**2,
    own=lambda scores, t: scores / t,
    wanted=lambda scores, t: scores / t,
    hard=lambda scores, t: scores,
    join=lambda soft, hard, share, t: share * soft + (1 - share) * hard,
    dim=1,
):
    """The right function with one thing exchanged. soft(p, log q), p of the teacher, gives one number an input."""

    def distillation_loss(scores, teacher_scores, y, temperature, share):
        t = temperature
        p, log_q = torch.softmax(wanted(teacher_scores, t), dim), torch.log_softmax(own(scores, t), dim)
        term = reduce(soft(p, log_q), scores.shape[1]) * factor(t)
        return join(term, F.cross_entropy(hard(scores, t), y), share, t)

    return distillation_loss


def _squares(scores, teacher_scores, y, temperature, share):
    return share * F.mse_loss(scores, teacher_scores) + (1 - share) * F.cross_entropy(scores, y)


_LOG = "kl_div takes the student's logarithms, not probabilities: its first argument must be a log_softmax."
_ROUND = (
    "The divergence is the wrong way round: the sum of p · (log p − log q), with p the teacher's and q the student's."
)
_ONE_SIDE = "The temperature softens one side only: teacher and student are compared at the same temperature."

distilled = Exercise(
    key="50/distillation-loss",
    title="The loss of a student",
    solution=distillation_loss,
    trial=_loss_trial,
    expected=lambda: _loss_trial(_loss_by_scipy),
    mistakes=(
        Mistake(
            "T² is missing: softening makes the gradient about T² times smaller, so the labels would drown it.",
            _loss_variant(factor=lambda t: 1),
        ),
        Mistake("The factor is T², not T.", _loss_variant(factor=lambda t: t)),
        Mistake(
            "The factor is T², not 1 / T²: it makes up for what softening takes.", _loss_variant(factor=lambda t: t**-2)
        ),
        Mistake(
            "T² multiplies the labels' term too: only the soft one has shrunk.",
            _loss_variant(
                factor=lambda t: 1, join=lambda soft, hard, share, t: t**2 * (share * soft + (1 - share) * hard)
            ),
        ),
        Mistake(
            'reduction="mean" divides by the classes too, so this is one number of classes too small: "batchmean".',
            _loss_variant(reduce=lambda terms, classes: terms.mean() / classes),
        ),
        Mistake(
            'This is the sum over the batch, while the labels\' term is a mean: "batchmean".',
            _loss_variant(reduce=lambda terms, classes: terms.sum()),
        ),
        Mistake(
            'Two mistakes at once: T² is missing, and reduction="mean" divides by the classes too: "batchmean".',
            _loss_variant(factor=lambda t: 1, reduce=lambda terms, classes: terms.mean() / classes),
        ),
        Mistake(_ROUND, _loss_variant(lambda p, log_q: (log_q.exp() * (log_q - p.log())).sum(1))),
        Mistake(_LOG, _loss_variant(lambda p, log_q: (p * (p.log() - log_q.exp())).sum(1))),
        Mistake(
            "The sign of the divergence is turned: it is 0 for equal answers, else above 0.",
            _loss_variant(lambda p, log_q: -_kl(p, log_q)),
        ),
        Mistake(
            "This is the cross-entropy with the soft targets. Its gradient is the same, but it never falls to 0: "
            "subtract the teacher's entropy, as kl_div does.",
            _loss_variant(lambda p, log_q: -(p * log_q).sum(1)),
        ),
        Mistake(_ONE_SIDE, _loss_variant(own=lambda scores, t: scores)),
        Mistake(_ONE_SIDE, _loss_variant(wanted=lambda scores, t: scores)),
        Mistake(
            "The soft term has no temperature: divide the scores of teacher and student by it.",
            _loss_variant(own=lambda scores, t: scores, wanted=lambda scores, t: scores),
        ),
        Mistake(
            "The labels' term is softened too: it is the plain cross-entropy of the scores.",
            _loss_variant(hard=lambda scores, t: scores / t),
        ),
        Mistake(
            "The shares are swapped: share weighs the soft term, 1 − share the labels.",
            _loss_variant(join=lambda soft, hard, share, t: share * hard + (1 - share) * soft),
        ),
        Mistake(
            "cross_entropy takes the softmax itself: give it the scores, not probabilities.",
            _loss_variant(hard=lambda scores, t: scores.softmax(1)),
        ),
        Mistake(
            "The labels' term is not weighed: 1 − share times the cross-entropy.",
            _loss_variant(join=lambda soft, hard, share, t: share * soft + hard),
        ),
        Mistake(
            "The soft term is not weighed: share times T² times the divergence.",
            _loss_variant(join=lambda soft, hard, share, t: soft + (1 - share) * hard),
        ),
        Mistake(
            "The two terms are not weighed: share times the soft one, 1 − share times the labels'.",
            _loss_variant(join=lambda soft, hard, share, t: soft + hard),
        ),
        Mistake(
            "The labels' term is missing: add (1 − share) times the cross-entropy.",
            _loss_variant(join=lambda soft, hard, share, t: share * soft),
        ),
        Mistake(
            "The softmax runs over the batch: each input has probabilities of its own, dim=1.", _loss_variant(dim=0)
        ),
        Mistake(
            "This is the squared distance of the scores, what the soft term becomes at high temperature only.", _squares
        ),
    ),
    hints=(
        "Two terms: how far the student's soft targets are from the teacher's, and the cross-entropy with the labels.",
        "kl_div wants the student's log_softmax first, the teacher's softmax second, both of scores / temperature.",
        'Use reduction="batchmean" and multiply by temperature**2; then share * soft + (1 - share) * hard.',
    ),
    atol=1e-5,  # float32: a few hundred terms of size 10
)


# --------------------------------------------------------------------------------- the omitted digit


def corrected_bias(bias, scores, digit, share):
    others = scores.clone()
    others[:, digit] = -torch.inf
    lacks = (others.amax(dim=1) - scores[:, digit]).sort().values
    count = round(share * len(scores))
    corrected = bias.clone()
    corrected[digit] += (lacks[count - 1] + lacks[count]) / 2
    return corrected


# Inputs, classes, digit, share of the inputs, what the digit's scores are moved by before: too rare, too frequent
# The share of 12 is 6.6 inputs, that of 10 is 3.2: round, neither up nor down.
_BIAS = ((20, 10, 3, 0.1, -4.0), (12, 4, 0, 0.55, -2.0), (30, 5, 4, 0.2, 3.0), (10, 6, 2, 0.32, -9.0))


def _student(n, classes, digit, move):
    bias = _scores(1, classes, 1.0)[0]
    bias[digit] += move
    return bias, _scores(n, classes, 2.0) + bias


def _bias_trial(fn):
    return [fn(*_student(n, classes, digit, move), digit, share) for n, classes, digit, share, move in _BIAS]


def _by_the_library(bias, scores, digit, share):
    """A network whose scores are its inputs plus the bias."""
    layer = torch.nn.Linear(len(bias), len(bias))
    with torch.no_grad():
        layer.weight.copy_(torch.eye(len(bias)))
        layer.bias.copy_(bias)
    correct_bias_(layer, scores - bias, digit, share)
    return layer.bias.detach()


def _bias_variant(
    shift=lambda lacks, count: (lacks[count - 1] + lacks[count]) / 2,
    rival=lambda others, scores: others.amax(1),
    count=lambda share, scores: round(share * len(scores)),
    add=lambda bias, digit, shift: bias.index_add(0, torch.tensor([digit]), shift[None]),
):
    """The right function with one thing exchanged. rival: what the digit's score must exceed, one number an input."""

    def corrected_bias(bias, scores, digit, share):
        others = scores.index_fill(1, torch.tensor([digit]), -torch.inf)
        lacks = (rival(others, scores) - scores[:, digit]).sort().values
        return add(bias, digit, shift(lacks, count(share, scores)))

    return corrected_bias


def _by_quantile(bias, scores, digit, share):
    lacks = scores.index_fill(1, torch.tensor([digit]), -torch.inf).amax(1) - scores[:, digit]
    return bias.index_add(0, torch.tensor([digit]), lacks.quantile(share)[None])


def _with_bias_twice(bias, scores, digit, share):
    return corrected_bias(bias, scores + bias, digit, share)


_ROUNDED = "The count is neither cut nor rounded up: round(share * len(scores))."
_EDGE = "On the edge two scores are equal, and rounding decides: go half-way to the next value."

omitted = Exercise(
    key="50/omitted-digit",
    title="The bias of a digit that was never seen",
    solution=corrected_bias,
    trial=_bias_trial,
    expected=lambda: _bias_trial(_by_the_library),
    mistakes=(
        Mistake(
            "The shift has the wrong sign: a digit that is answered too rarely needs a higher bias.",
            _bias_variant(add=lambda bias, digit, shift: bias.index_add(0, torch.tensor([digit]), -shift[None])),
        ),
        Mistake(
            "All biases are shifted, which changes no answer: shift that of the digit alone.",
            _bias_variant(add=lambda bias, digit, shift: bias + shift),
        ),
        Mistake(
            "The shift replaces the bias: add it to the one that is there.",
            _bias_variant(add=lambda bias, digit, shift: bias.index_fill(0, torch.tensor([digit]), shift.item())),
        ),
        Mistake(
            "The digit itself is among its rivals: leave its scores out of the maximum.",
            _bias_variant(rival=lambda others, scores: scores.amax(1)),
        ),
        Mistake(
            "One maximum for all inputs: each input has a best rival of its own, amax(dim=1).",
            _bias_variant(rival=lambda others, scores: others.amax()),
        ),
        Mistake(
            "The rival is the mean of the other scores: the answer goes to the largest, so take their maximum.",
            _bias_variant(rival=lambda others, scores: others.masked_fill(others.isinf(), torch.nan).nanmean(1)),
        ),
        Mistake(
            "These are the inputs that lack most: the digit gets those that lack least. Sort ascending.",
            _bias_variant(lambda lacks, count: (lacks.flip(0)[count - 1] + lacks.flip(0)[count]) / 2),
        ),
        Mistake(
            "Share is not used: this is the mean of what is lacking. Shift until the count is right.",
            _bias_variant(lambda lacks, count: lacks.mean()),
        ),
        Mistake(
            "Share is not used: this is the median of what is lacking. Shift until the count is right.",
            _bias_variant(lambda lacks, count: lacks.quantile(0.5)),
        ),
        Mistake(_EDGE, _bias_variant(lambda lacks, count: lacks[count - 1])),
        *(
            Mistake(
                "Just above the edge is right for these inputs, but not a safe place: go half-way to the next value.",
                _bias_variant(lambda lacks, count, step=step: lacks[count - 1] + step),
            )
            for step in (1e-4, 1e-3, 1e-2, 0.1)
        ),
        Mistake(_EDGE, _bias_variant(lambda lacks, count: lacks[count])),
        Mistake(
            "One input too many gets the digit: indices begin at 0, so go between lacks[count - 1] and lacks[count].",
            _bias_variant(lambda lacks, count: (lacks[count] + lacks[count + 1]) / 2),
        ),
        Mistake(
            "One input too few gets the digit: indices begin at 0, so go between lacks[count - 1] and lacks[count].",
            _bias_variant(lambda lacks, count: (lacks[count - 2] + lacks[count - 1]) / 2),
        ),
        Mistake(_ROUNDED, _bias_variant(count=lambda share, scores: int(share * len(scores)))),
        Mistake(_ROUNDED, _bias_variant(count=lambda share, scores: math.ceil(share * len(scores) - 1e-9))),
        Mistake(
            "What is lacking has the wrong sign: it is the best of the other scores minus the digit's.",
            _bias_variant(lambda lacks, count: -(lacks.flip(0)[count - 1] + lacks.flip(0)[count]) / 2),
        ),
        Mistake(
            "0 is not the lowest score, others are below it: leave the digit's own out with -torch.inf.",
            _bias_variant(rival=lambda others, scores: others.amax(1).clamp(min=0)),
        ),
        Mistake(
            "A quantile lies somewhere between two of them, not half-way: count, and take the mean of the two.",
            _by_quantile,
        ),
        Mistake("The scores hold the bias already: do not add it to them.", _with_bias_twice),
        Mistake(
            "The share is that of the inputs, the rows: count = round(share * len(scores)).",
            _bias_variant(count=lambda share, scores: max(1, round(share * scores.shape[1]))),
        ),
    ),
    hints=(
        "For each input: how much does the digit's score lack to be the largest? Set its own scores to -inf first.",
        "Sorted ascending, the first round(share * n) of these are to be answered with the digit after the shift.",
        "Add (lacks[count - 1] + lacks[count]) / 2 to bias[digit], in a copy of bias.",
    ),
    atol=1e-5,  # float32, numbers up to 20
)
