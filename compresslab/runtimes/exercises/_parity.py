"""Lesson 61: a parity check that nothing slips through."""

import numpy as np
import torch

from ...lesson import Exercise, Mistake


def parity_check(reference, scores, tolerance):
    error = ((scores - reference).abs().max() / reference.abs().max()).item()
    return error, error <= tolerance


def _scores(n, classes, size=1.0):
    return size * torch.randn(n, classes, generator=torch.Generator().manual_seed(n + classes))


def _cases():
    """(reference, scores, tolerance): fine, one bad score among many, too low, huge, tiny, NaN, infinite, exact."""
    noise = _scores(40, 11)[:, :10]
    fine, one, low, huge, tiny, lost, broken = (_scores(40, 10) for _ in range(7))
    moved = one.clone()
    moved[17, 3] += 0.5
    lower = low - 0.2  # every score is below its reference
    nan, infinite = lost.clone(), broken.clone()
    nan[5, 5], infinite[7, 0] = torch.nan, torch.inf
    return [
        (fine, fine + 1e-4 * noise, 1e-3),
        (one, moved, 1e-2),
        (low, lower, 1e-2),
        (300 * huge, 300 * huge + 0.03 * noise, 1e-3),
        (1e-4 * tiny, 1e-4 * tiny + 1e-5 * noise, 1e-3),
        (lost, nan, 1e-3),
        (broken, infinite, 1e-3),
        (torch.tensor([[1.0, -4.0]]), torch.tensor([[1.5, -4.0]]), 0.125),  # exactly the tolerance
    ]


def _trial(fn):
    return [fn(*case) for case in _cases()]


def _by_numpy(reference, scores, tolerance):
    error = np.linalg.norm((scores - reference).flatten(), np.inf) / np.linalg.norm(reference.flatten(), np.inf)
    return float(error), bool(np.allclose(scores, reference, rtol=0, atol=tolerance * np.abs(reference.numpy()).max()))


def _variant(reduce, passes=lambda error, tolerance: error <= tolerance):
    """The error by `reduce(difference, reference)`, and what passes."""

    def check(reference, scores, tolerance):
        error = float(reduce(scores - reference, reference))
        return error, passes(error, tolerance)

    return check


def _right(d, r):
    return d.abs().max() / r.abs().max()


_MEAN = "A mean hides one bad score among thousands of good ones: take the largest difference."
_ABS = "A score that is too low slips through: take the absolute value of the differences first."
_NAN = "NaN slips through: it must not pass. Say what passes, error <= tolerance, not what fails."

parity = Exercise(
    key="61/parity",
    title="A parity check",
    solution=parity_check,
    trial=_trial,
    expected=lambda: _trial(_by_numpy),
    mistakes=(
        Mistake(_MEAN, _variant(lambda d, r: d.abs().mean() / r.abs().max())),
        Mistake(_MEAN, _variant(lambda d, r: d.abs().mean() / r.abs().mean())),
        Mistake(_MEAN, _variant(lambda d, r: d.square().mean().sqrt() / r.abs().max())),
        Mistake(_MEAN, _variant(lambda d, r: d.norm() / r.norm())),
        Mistake(
            "This is the difference itself. 0.01 is much for scores around 0.1 and nothing for scores around 1,000: "
            "divide by the largest |reference|.",
            _variant(lambda d, r: d.abs().max()),
        ),
        Mistake(
            "Each difference is divided by its own score, which may be next to 0: divide the largest difference by the "
            "largest |reference|.",
            _variant(lambda d, r: (d.abs() / r.abs()).max()),
        ),
        Mistake(_ABS, _variant(lambda d, r: d.max() / r.abs().max())),
        Mistake(_ABS, _variant(lambda d, r: d.max() / r.max())),
        Mistake(
            "The reference too can be far below 0: divide by the largest |reference|.",
            _variant(lambda d, r: d.abs().max() / r.max()),
        ),
        Mistake(
            "The reference's scale is its largest |score|, not the mean one.",
            _variant(lambda d, r: d.abs().max() / r.abs().mean()),
        ),
        Mistake(
            "Divide by the largest score of the reference: that of the answers under test may itself be wrong.",
            lambda reference, scores, tolerance: parity_check(scores, reference, tolerance),
        ),
        Mistake(_NAN, _variant(_right, lambda error, tolerance: not error > tolerance)),
        Mistake(
            "NaN is left out of the maximum, so a broken score passes: use max, which answers NaN.",
            _variant(lambda d, r: torch.nan_to_num(d, nan=0.0).abs().max() / r.abs().max()),
        ),
        Mistake("The verdict is turned round: it passes if error <= tolerance.", _variant(_right, lambda e, t: e > t)),
    ),
    hints=(
        "One number that says how bad the worst score is: start from scores - reference.",
        "error is the largest |difference| divided by the largest |reference|, both over the whole tensor.",
        "error = ((scores - reference).abs().max() / reference.abs().max()).item(); return error, error <= tolerance.",
    ),
    rtol=1e-4,
    atol=1e-9,  # the error of the first cases is 1e-4, from float32 scores
)
