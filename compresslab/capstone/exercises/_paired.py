"""Lesson 90: how many points were lost, on the same images, and how sure is that?"""

import math

import torch

from ...intervals import paired_shares
from ...lesson import Exercise, Mistake


def paired_interval(before, after):
    change = after.double() - before.double()  # -1: lost, +1: won, 0: the same
    more = torch.cat([change, torch.tensor([-1.0, 1.0], dtype=torch.float64)])
    half = 1.96 * more.std(correction=0) / math.sqrt(len(more))
    return change.mean().item(), (more.mean() - half).item(), (more.mean() + half).item()


def _answers(lost, won, n):
    """before, after: bool (n,), right or wrong; about nine of ten that both agree on are right."""
    before = torch.arange(n) % 10 != 3
    after = before.clone()
    right, wrong = before.nonzero().flatten(), (~before).nonzero().flatten()
    after[right[:lost]], after[wrong[:won]] = False, True
    order = torch.randperm(n, generator=torch.Generator().manual_seed(n))
    return before[order], after[order]


_CASES = ((5, 1, 40), (2, 1, 359), (0, 0, 100), (1, 6, 80), (10, 10, 200), (30, 2, 60))  # lost, won, images


def _trial(fn):
    return [fn(*_answers(*case)) for case in _CASES]


def _expected():
    """From the three counts alone."""
    return [tuple(paired_shares(*case).values()) for case in _CASES]


def _variant(extra=(-1.0, 1.0), correction=0, z=1.96, scale=1.0, middle=None, root=math.sqrt):
    def fn(before, after):
        change = after.double() - before.double()
        more = torch.cat([change, torch.tensor(extra, dtype=torch.float64)])
        half = z * more.std(correction=correction) / root(len(more))
        centre = middle(change) if middle else more.mean()
        return tuple(scale * value.item() for value in (change.mean(), centre - half, centre + half))

    return fn


def _unpaired(before, after):
    p, q = before.double().mean().item(), after.double().mean().item()
    half = 1.96 * math.sqrt(p * (1 - p) / len(before) + q * (1 - q) / len(after))
    return q - p, q - p - half, q - p + half


def _without_square(before, after):
    change = after.double() - before.double()
    n = len(change) + 2
    centre, half = change.sum() / n, 1.96 * ((change.abs().sum() + 2) / n / n).sqrt()
    return change.mean().item(), (centre - half).item(), (centre + half).item()


_TURNED = "The sign is turned: after − before, so that lost answers make the difference negative."

paired = Exercise(
    key="90/paired-interval",
    title="A difference in pairs",
    solution=paired_interval,
    trial=_trial,
    expected=_expected,
    mistakes=(
        Mistake(
            "This is the interval for two different sets of images. They are the same images: only those whose answer "
            "changed count, so go through the changes, image by image.",
            _unpaired,
        ),
        Mistake(_TURNED, lambda before, after: paired_interval(after, before)),
        Mistake(
            _TURNED,
            lambda before, after: (-paired_interval(before, after)[0], *paired_interval(before, after)[1:]),
        ),
        Mistake(
            "Add one lost and one won image before you take mean and standard deviation: without them the interval has "
            "no width where nothing changed.",
            _variant(extra=()),
        ),
        Mistake("Only one image was added: add one that was lost and one that was won.", _variant(extra=(-1.0,))),
        Mistake("Only one image was added: add one that was lost and one that was won.", _variant(extra=(1.0,))),
        Mistake(
            "The added images are a lost one, -1, and a won one, +1: two zeros say nothing.", _variant(extra=(0.0, 0.0))
        ),
        Mistake("These are one standard error, about 68 %: for 95 % take 1.96 of them.", _variant(z=1.0)),
        Mistake("1.645 standard errors are 90 %: for 95 % take 1.96 of them.", _variant(z=1.645)),
        Mistake(
            "torch divides by n - 1 in std unless you say correction=0.",
            _variant(correction=1),
        ),
        Mistake(
            "That is the spread of single images. The mean of n of them is known better: divide by the root of their "
            "number.",
            _variant(root=lambda n: 1.0),
        ),
        Mistake(
            "Divide the standard deviation by the root of the number of images, not by the number.",
            _variant(root=float),
        ),
        Mistake("These are points: return shares, without the factor 100.", _variant(scale=100.0)),
        Mistake(
            "The interval stands around the mean with the two added images; the difference is the mean without them.",
            _variant(middle=lambda change: change.mean()),
        ),
        Mistake(
            "The difference itself is the mean of the changes without the two added images.",
            lambda before, after: (sum(paired_interval(before, after)[1:]) / 2, *paired_interval(before, after)[1:]),
        ),
        Mistake(
            "The standard deviation is taken around the mean: subtract the square of the mean change.", _without_square
        ),
    ),
    hints=(
        "change = after.double() - before.double() is -1 where an answer was lost, +1 where one was won, else 0.",
        "Append -1 and +1 with torch.cat. The half width is 1.96 * std(correction=0) / sqrt(n + 2), over that list.",
        "Return the mean of the changes (without the two), then the mean of the longer list minus and plus the half "
        "width; .item() makes a number of each.",
    ),
    rtol=1e-4,
    atol=1e-5,  # 1.96 is 1.959964 to six digits
)
