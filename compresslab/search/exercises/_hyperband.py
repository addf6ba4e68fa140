"""Lesson 21: the brackets of Hyperband."""

import math
from fractions import Fraction

from ...lesson import Exercise, Mistake


def bracket(s, s_max, max_epochs, eta):
    n = math.ceil((s_max + 1) * eta**s / (s + 1))
    return [(n // eta**i, max_epochs // eta ** (s - i)) for i in range(s + 1)]


_SETTINGS = [(s, 4, 81, 3) for s in range(5)] + [(s, 3, 64, 4) for s in range(4)] + [(s, 4, 16, 2) for s in range(5)]
# Li et al. 2018 (JMLR 18:185), table 1 for R = 81, eta = 3; the others follow algorithm 1, with exact fractions.
_TABLE_1 = [
    [(5, 81)],
    [(8, 27), (2, 81)],
    [(15, 9), (5, 27), (1, 81)],
    [(34, 3), (11, 9), (3, 27), (1, 81)],
    [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
]


def _algorithm_1(s, s_max, max_epochs, eta):
    """The loop as it is printed: B = (s_max + 1) R, n = ⌈B/R · ηˢ/(s + 1)⌉, r = R η⁻ˢ; n_i = ⌊n η⁻ⁱ⌋, r_i = r ηⁱ."""
    budget = (s_max + 1) * max_epochs
    n = math.ceil(Fraction(budget, max_epochs) * Fraction(eta**s, s + 1))
    r = max_epochs * Fraction(1, eta) ** s
    return [(math.floor(n * Fraction(1, eta) ** i), int(r * eta**i)) for i in range(s + 1)]


def _brackets_expected():
    later = [_algorithm_1(*setting) for setting in _SETTINGS[len(_TABLE_1) :]]
    return _TABLE_1 + later


def _bracket_like(n, r=lambda s, i, max_epochs, eta: max_epochs // eta ** (s - i), ceil=False):
    def fn(s, s_max, max_epochs, eta):
        first = n(s, s_max, eta)
        size = (lambda i: math.ceil(first / eta**i)) if ceil else (lambda i: first // eta**i)
        return [(size(i), r(s, i, max_epochs, eta)) for i in range(s + 1)]

    return fn


def _n(s, s_max, eta):
    return math.ceil((s_max + 1) * eta**s / (s + 1))


hyperband = Exercise(
    key="21/hyperband",
    title="The brackets of Hyperband",
    solution=bracket,
    trial=lambda fn: [[tuple(map(float, rung)) for rung in fn(*setting)] for setting in _SETTINGS],
    expected=_brackets_expected,
    mistakes=(
        Mistake(
            "Every bracket starts ηˢ trials. All may spend the same epochs, so those with fewer rungs can start "
            "more: (s_max + 1) / (s + 1) times as many.",
            _bracket_like(lambda s, s_max, eta: eta**s),
        ),
        Mistake(
            "The number that starts is rounded down; algorithm 1 rounds it up.",
            _bracket_like(lambda s, s_max, eta: (s_max + 1) * eta**s // (s + 1)),
        ),
        Mistake(
            "This is ⌊(s_max + 1)/(s + 1)⌋ · ηˢ, as in the first preprint; the paper rounds the whole product up.",
            _bracket_like(lambda s, s_max, eta: (s_max + 1) // (s + 1) * eta**s),
        ),
        Mistake("The number at each rung is rounded up; algorithm 1 keeps ⌊n / ηⁱ⌋.", _bracket_like(_n, ceil=True)),
        Mistake(
            "Every bracket begins at 1 epoch; bracket s begins at R / ηˢ, so that its last rung reaches R.",
            _bracket_like(_n, lambda s, i, max_epochs, eta: eta**i),
        ),
        Mistake(
            "The epochs run backwards: the first rung has the most trials and the fewest epochs.",
            _bracket_like(_n, lambda s, i, max_epochs, eta: max_epochs // eta**i),
        ),
    ),
    hints=(
        "How many start? Each bracket may spend (s_max + 1) · R epochs, spread over s + 1 rungs of about equal cost.",
        "n = ⌈(s_max + 1) · ηˢ / (s + 1)⌉, and the first rung trains each of them for R / ηˢ epochs.",
        "Rung i has n // eta**i trials at max_epochs // eta**(s − i) epochs, for i = 0 ... s.",
    ),
    rtol=0,
    atol=0,  # whole numbers
)
