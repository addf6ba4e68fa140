"""Lesson 42: the gradient of a learned step."""

import torch

from ...lesson import Exercise, Mistake


def lsq_gradient(w, step, bits):
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    steps = w / step
    inside = torch.round(steps) - steps
    return torch.where(steps <= low, low, torch.where(steps >= high, high, inside))


_SETTINGS = ((0.1, 4, 60), (0.02, 8, 80), (2.0, 3, 40), (0.7, 2, 30))  # step, bits, number of weights


def _weights(step, bits, n):
    """Inside and outside, many at the ends; none at an end exactly, nor nearer than 0.1 to a half."""
    generator = torch.Generator().manual_seed(n)
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    whole = torch.randint(2 * low, 2 * high + 2, (n,), generator=generator)
    fractions = 0.8 * torch.rand(n, generator=generator) - 0.4
    ends = torch.tensor([low - 1, low, high, high + 1]).repeat_interleave(2)
    steps = torch.cat([whole + fractions, ends + torch.tensor([-0.3, 0.3]).repeat(4)])
    return step * steps, step, bits


def _trial(fn):
    return [fn(*_weights(*setting)) for setting in _SETTINGS]


def _by_autograd(w, step, bits):
    """The pseudocode of the paper: clamp, round with a straight-through gradient, scale; one gradient a weight."""
    each = torch.full_like(w, step).requires_grad_()
    steps = (w / each).clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    rounded = (steps.round() - steps).detach() + steps
    return torch.autograd.grad((rounded * each).sum(), each)[0]


def _variant(
    inside=lambda steps, step: steps.round() - steps,
    below=lambda low, high: low,
    above=lambda low, high: high,
    ends=lambda bits: (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1),
    position=lambda steps: steps,
):
    """The right function with one thing exchanged. position: what is compared with the ends."""

    def lsq_gradient(w, step, bits):
        low, high = ends(bits)
        steps = w / step
        result = inside(steps, step)
        result = torch.where(position(steps) >= high, float(above(low, high)), result)
        return torch.where(position(steps) <= low, float(below(low, high)), result)

    return lsq_gradient


def _inside_everywhere(w, step, bits):
    return torch.round(w / step) - w / step


def _kernel(w, step, bits):
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    steps = w / step
    codes = torch.round(steps)
    return torch.where(codes < low, low, torch.where(codes > high, high, codes - steps))


def _clamped_minus(w, step, bits):
    steps = w / step
    return steps.round().clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) - steps


def _codes(w, step, bits):
    return (w / step).round().clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _of_the_weight(w, step, bits):
    steps = w / step
    return ((steps > -(2 ** (bits - 1))) & (steps < 2 ** (bits - 1) - 1)).float()


_CLIPPED = (
    "Beyond the ends the value is step · code with a fixed code, so the gradient is that code: −2^(b−1) below, "
    "2^(b−1) − 1 above."
)
_ROUNDED = "Whether a weight is clipped is decided after rounding; equation 3 does so before: compare w / step itself."

learned_step = Exercise(
    key="42/lsq",
    title="The gradient of the step",
    solution=lsq_gradient,
    trial=_trial,
    expected=lambda: _trial(_by_autograd),
    mistakes=(
        Mistake(
            "The rounding term is missing inside the range: round(w / step) − w / step.",
            _variant(lambda steps, step: -steps),
        ),
        Mistake(
            "Inside the range − w / step is missing: the code moves with the step too. round(w / step) − w / step.",
            _codes,
        ),
        Mistake(
            "The sign is wrong inside the range: it is round(w / step) − w / step.",
            _variant(lambda steps, step: steps - steps.round()),
        ),
        Mistake(
            "All signs are turned: above the range it is 2^(b−1) − 1, inside round(w / step) − w / step.",
            lambda w, step, bits: -lsq_gradient(w, step, bits),
        ),
        Mistake(_CLIPPED, _variant(below=lambda low, high: 0, above=lambda low, high: 0)),
        Mistake(_CLIPPED, _variant(below=lambda low, high: 1, above=lambda low, high: 1)),
        Mistake(_CLIPPED, _variant(below=lambda low, high: -1, above=lambda low, high: 1)),
        Mistake(_CLIPPED, _inside_everywhere),
        Mistake(_CLIPPED, _clamped_minus),
        Mistake(
            "The ends are swapped: below the range it is −2^(b−1), above it 2^(b−1) − 1.",
            _variant(below=lambda low, high: high, above=lambda low, high: low),
        ),
        Mistake("Below the range the sign is lost: there it is −2^(b−1).", _variant(below=lambda low, high: -low)),
        Mistake(_ROUNDED, _kernel),
        Mistake(_ROUNDED, _variant(position=torch.round)),
        Mistake(
            "The lowest code here is −2^(b−1), as in the paper; this range ends one code earlier.",
            _variant(ends=lambda bits: (1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1)),
        ),
        Mistake(
            "These are the ends of unsigned codes; weights have signed ones, −2^(b−1) to 2^(b−1) − 1.",
            _variant(ends=lambda bits: (0, 2**bits - 1)),
        ),
        Mistake(
            "This is the rounding error in units of w; in steps it is round(w / step) − w / step.",
            _variant(lambda steps, step: (steps.round() - steps) * step),
        ),
        Mistake(
            "The weight itself is subtracted, not its number of steps: round(w / step) − w / step.",
            _variant(lambda steps, step: steps.round() - steps * step),
        ),
        Mistake(
            "This is the gradient with respect to the weight: 1 inside, 0 outside. Here the step moves.",
            _of_the_weight,
        ),
    ),
    hints=(
        "The value is step · round(w / step). A larger step moves the factor and, straight through, w / step.",
        "The derivative of w / step is −w / step²; times step this gives −w / step. Add round(w / step).",
        "Clipped weights are step · code, with a fixed code: their gradient is that code. Decide by w / step.",
    ),
    # float32 in another order: rounding errors of w / step up to 256, times 6e-8
    rtol=1e-5,
    atol=1e-4,
)
