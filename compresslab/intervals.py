"""Uncertainty: the interval beside each measured number, and what a difference of pairs settles."""

import math
from statistics import NormalDist

import numpy as np


def wilson_interval(correct: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval (low, high) for the true share, after `correct` right answers out of `n`.

    All shares p from which the measured one is at most z standard errors sqrt(p (1 - p) / n) away: the roots
    of a quadratic in p. E. B. Wilson, "Probable inference, the law of succession, and statistical inference"
    (1927).

    >>> low, high = wilson_interval(90, 100)
    >>> round(low, 3), round(high, 3)
    (0.826, 0.945)
    """
    _check_confidence(confidence)
    if not (n >= 1 and 0 <= correct <= n):
        raise ValueError(f"correct must be in 0..n with n at least 1, got correct={correct}, n={n}")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre = (correct + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(correct * (n - correct) / n + z * z / 4)
    return max(0.0, centre - half), min(1.0, centre + half)


def median_interval(values, confidence: float = 0.95) -> tuple[float, float, float]:
    """Median of independent `values`, and an interval that holds the true median: (median, low, high).

    Any value falls below the true median with chance 1/2, so the k-th smallest and the k-th largest of n
    enclose it with chance 1 - 2 P(Binomial(n, 1/2) < k), whatever the distribution: take the largest k that
    keeps `confidence`. W. R. Thompson, "On confidence ranges for the median ..." (1936). ValueError if there
    are too few values.

    >>> median_interval([3, 1, 2, 4, 6, 5])
    (3.5, 1.0, 6.0)
    """
    _check_confidence(confidence)
    ordered = np.sort(np.asarray(values, dtype=float))
    n = len(ordered)
    k, tail = 0, 1  # tail = 2**n P(Binomial(n, 1/2) < k + 1)
    while 2 * tail / 2**n <= 1 - confidence:  # whole numbers of any length, divided exactly
        k += 1
        tail += math.comb(n, k)
    if k == 0:
        least = math.ceil(1 - math.log2(1 - confidence))
        raise ValueError(f"values must hold at least {least} numbers for confidence {confidence}, got {n}")
    return float(np.median(ordered)), float(ordered[k - 1]), float(ordered[n - k])


def mean_interval(values, confidence: float = 0.95) -> tuple[float, float, float]:
    """(mean, low, high): the mean of a few independent values with its Student t interval (Student 1908)."""
    from scipy.special import stdtrit

    _check_confidence(confidence)
    values = np.asarray(values, float)
    if len(values) < 2:
        raise ValueError(f"values must hold at least 2 numbers, got {len(values)}")
    half = stdtrit(len(values) - 1, (1 + confidence) / 2) * values.std(ddof=1) / np.sqrt(len(values))
    return values.mean(), values.mean() - half, values.mean() + half


def paired_difference(first, second) -> dict:
    """Mean of first − second, paired by position, with the ends of its 95 % interval: difference, low, high.

    Runs with one seed share their start and their batches. The difference of such a pair is free of what they share.
    ValueError unless there are as many of both.
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    if first.shape != second.shape:
        raise ValueError(f"first and second must hold as many values, got {len(first)} and {len(second)}")
    mean, low, high = mean_interval(first - second)
    return dict(difference=mean, low=low, high=high)


def paired_shares(lost: int, won: int, n: int, confidence: float = 0.95) -> dict:
    """Difference of two shares of right answers on the same n images, with its interval: difference, low, high.

    lost: images that the first has right and the second wrong; won: the other way round; the difference is second
    − first, (won - lost) / n. Images that both have right, or both wrong, do not tell the two apart. The interval is
    Wald's with one image more lost and one more won, so that it has a width where none was. D. G. Bonett, R. M. Price,
    "Adjusted Wald confidence interval for a difference of binomial proportions based on paired data" (2012).

    >>> {name: round(value, 4) for name, value in paired_shares(2, 1, 359).items()}
    {'difference': -0.0028, 'low': -0.0149, 'high': 0.0094}
    """
    _check_confidence(confidence)
    if not (lost >= 0 and won >= 0 and 1 <= n and lost + won <= n):
        raise ValueError(f"lost and won must be at least 0 and together at most n, got {lost}, {won} of n={n}")
    a, b = (lost + 1) / (n + 2), (won + 1) / (n + 2)
    half = NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt((a + b - (b - a) ** 2) / (n + 2))
    return dict(difference=(won - lost) / n, low=max(-1.0, b - a - half), high=min(1.0, b - a + half))


def paired_answers(before, after, confidence: float = 0.95) -> dict:
    """`paired_shares` of the same images, from right or wrong before and after: two bool tensors or arrays (n,).

    ValueError unless both have one length.
    """
    if len(before) != len(after):
        raise ValueError(f"before and after must hold as many answers, got {len(before)} and {len(after)}")
    return paired_shares(int((before & ~after).sum()), int((after & ~before).sum()), len(before), confidence)


def compared(first, second) -> dict:
    """`paired_difference` and its verdict: "higher" or "lower", "not settled" where the interval holds 0."""
    found = paired_difference(first, second)
    settled = "higher" if found["low"] > 0 else "lower" if found["high"] < 0 else "not settled"
    return found | dict(verdict=settled)


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence}")
