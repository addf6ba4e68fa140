"""The checkers of lesson 90: right answers pass, wrong ones, as learners have them, are named."""

import math

import numpy as np
import torch

from compresslab.capstone import board, exercises
from compresslab.capstone.certificate import products
from compresslab.capstone.task import Budget
from compresslab.intervals import paired_shares

EXERCISES = {exercise.key: exercise for exercise in exercises.ALL}

# --- right answers that do not look like the solutions


def paired_by_counts(before, after):
    lost, won, n = (before & ~after).sum().item(), (after & ~before).sum().item(), len(before)
    a, b = (lost + 1) / (n + 2), (won + 1) / (n + 2)
    half = 1.96 * math.sqrt((a + b - (b - a) ** 2) / (n + 2))
    return (won - lost) / n, b - a - half, b - a + half


def paired_by_library(before, after):
    counts = int((before & ~after).sum()), int((after & ~before).sum()), len(before)
    return tuple(paired_shares(*counts).values())


def paired_by_numpy(before, after):
    change = after.numpy().astype(int) - before.numpy().astype(int)
    more = np.append(change, [1, -1])
    half = 1.96 * np.sqrt(np.var(more) / len(more))
    return change.mean(), more.mean() - half, more.mean() + half


def certain_by_loop(kb, speedup, points, max_kb, least_speedup, max_drop):
    rows = zip(kb, speedup, points)
    return torch.tensor([bool(k <= max_kb and s[1] >= least_speedup and p[1] >= -max_drop) for k, s, p in rows])


def certain_by_stack(kb, speedup, points, max_kb, least_speedup, max_drop):
    rooms = torch.stack([max_kb - kb, speedup.amin(1) - least_speedup, points.amin(1) + max_drop])
    return (rooms >= 0).all(0)


def share_by_library(operators, kinds):
    import pandas as pd

    ran = products(pd.DataFrame(dict(operator=operators, kind=kinds)))
    return float(ran.mean()) if len(ran) else 0.0


def share_by_loop(operators, kinds):
    int8 = everything = 0
    for name, kind in zip(operators, kinds):
        if any(word in name for word in ("Conv", "MatMul", "Gemm")):
            everything += 1
            int8 += kind == "int8"
    return int8 / max(everything, 1)


RIGHT = {
    "90/paired-interval": [paired_by_counts, paired_by_library, paired_by_numpy],
    "90/certain": [certain_by_loop, certain_by_stack],
    "90/int8-share": [share_by_library, share_by_loop],
}

# --- wrong answers


def unpaired_by_wilson_style(before, after):
    p, q, n = before.double().mean(), after.double().mean(), len(before)
    half = 1.96 * (p * (1 - p) / n + q * (1 - q) / n).sqrt()
    return (q - p).item(), (q - p - half).item(), (q - p + half).item()


def paired_with(add=(1, 1), z=1.96, sign=1, scale=1):
    def fn(before, after):
        lost, won, n = (before & ~after).sum().item(), (after & ~before).sum().item(), len(before)
        m = n + sum(add)
        a, b = (lost + add[0]) / m, (won + add[1]) / m
        half = z * math.sqrt((a + b - (b - a) ** 2) / m)
        ends = sorted((sign * (b - a) - half, sign * (b - a) + half))
        return tuple(scale * value for value in (sign * (won - lost) / n, *ends))

    return fn


def paired_in_place(before, after):
    found = paired_by_counts(before, after)
    before[:] = False
    return found


def without_limit(kb, speedup, points, max_kb, least_speedup, max_drop):
    return (kb < max_kb) & (speedup[:, 1] > least_speedup) & (-points[:, 1] < max_drop)


def conditions(speed=1, answer=1, minus=True):
    def fn(kb, speedup, points, max_kb, least_speedup, max_drop):
        limit = -max_drop if minus else max_drop
        return torch.stack([kb <= max_kb, speedup[:, speed] >= least_speedup, points[:, answer] >= limit]).all(0)

    return fn


def names_of(operators, kinds):
    return [kind == "int8" for name, kind in zip(operators, kinds) if name in ("QLinearConv", "QGemm", "Conv", "Gemm")]


def certain_of_the_loss(kb, speedup, points, max_kb, least_speedup, max_drop):
    return (kb <= max_kb) & (speedup[:, 1] >= least_speedup) & (points[:, 1] <= max_drop)


def certain_of_all_together(kb, speedup, points, max_kb, least_speedup, max_drop):
    return (kb <= max_kb) & (speedup.min() >= least_speedup) & (points.min() >= -max_drop)


def share_of(is_int8=lambda name, kind: kind == "int8", within=lambda name, kind: True):
    def share(operators, kinds):
        products = [(n, k) for n, k in zip(operators, kinds) if ("Conv" in n or "MatMul" in n or "Gemm" in n)]
        products = [each for each in products if within(*each)]
        return sum(is_int8(*each) for each in products) / max(1, len(products))

    return share


def share_by_popping(operators, kinds):
    found = []
    while operators:
        name, kind = operators.pop(), kinds.pop()
        if "Conv" in name or "MatMul" in name or "Gemm" in name:
            found.append(kind == "int8")
    return sum(found) / max(1, len(found))


WRONG = [
    ("90/paired-interval", unpaired_by_wilson_style, "two different sets"),
    ("90/paired-interval", paired_with(add=(0, 0)), "Add one lost and one won"),
    ("90/paired-interval", paired_with(add=(1, 0)), "Only one image"),
    ("90/paired-interval", paired_with(add=(0, 1)), "Only one image"),
    ("90/paired-interval", paired_with(z=1), "68 %"),
    ("90/paired-interval", paired_with(z=1.645), "90 %"),
    ("90/paired-interval", paired_with(sign=-1), "sign is turned"),
    ("90/paired-interval", paired_with(scale=100), "factor 100"),
    ("90/paired-interval", lambda before, after: paired_by_counts(before, after)[0], "expected 3 values"),
    ("90/paired-interval", lambda before, after: paired_by_counts(before, after)[::-1], "another order"),
    ("90/paired-interval", lambda before, after: (0.0, 0.0, 0.0), "expected"),
    ("90/paired-interval", paired_in_place, "in place"),
    (
        "90/certain",
        lambda kb, speedup, points, *limits: certain_by_loop(kb, speedup, -points.abs(), *limits),
        "expected",
    ),
    ("90/certain", certain_of_the_loss, "expected"),
    ("90/certain", certain_of_all_together, "expected"),
    ("90/certain", conditions(0, 0), "even the unfavourable end"),
    ("90/certain", conditions(2, 2), "favourable ends of both"),
    ("90/certain", conditions(speed=2), "slower is worse"),
    ("90/certain", conditions(answer=2), "low one: points are negative"),
    ("90/certain", conditions(minus=False), "without the minus"),
    ("90/certain", without_limit, "include the limit"),
    ("90/certain", lambda *args: ~certain_by_loop(*args), "turn it over"),
    ("90/certain", lambda *args: certain_by_loop(*args).float(), "dtype"),
    ("90/certain", lambda *args: certain_by_loop(*args).nonzero(), "shape"),
    ("90/certain", lambda kb, *others: kb <= kb, "expected"),
    ("90/int8-share", lambda operators, kinds: kinds.count("int8") / len(kinds), "share of all kernels"),
    ("90/int8-share", lambda operators, kinds: sum(names_of(operators, kinds)) / len(operators), "expected"),
    ("90/int8-share", lambda operators, kinds: 1 - share_by_loop(operators, kinds), "expected|turn it over"),
    (
        "90/int8-share",
        lambda operators, kinds: (
            sum(k == "int8" and "Conv" in n for n, k in zip(operators, kinds))
            / max(1, sum("Conv" in n for n in operators))
        ),
        "Matrix products count too",
    ),
    ("90/int8-share", lambda operators, kinds: float("int8" in kinds), "expected"),
    ("90/int8-share", share_of(within=lambda name, kind: "Gemm" not in name), "expected"),
    ("90/int8-share", share_of(within=lambda name, kind: kind != "other"), "expected"),
    ("90/int8-share", share_of(lambda name, kind: kind != "float"), "expected"),
    ("90/int8-share", share_of(lambda name, kind: "Q" in name or "Integer" in name), "expected"),
    ("90/int8-share", share_by_popping, "in place: work on a copy, list(operators)"),
    (
        "90/int8-share",
        lambda operators, kinds: share_by_loop([n for n in operators if "Linear" not in n], kinds),
        "expected",
    ),
    (
        "90/int8-share",
        lambda operators, kinds: sum("Conv" in n or "MatMul" in n or "Gemm" in n for n in operators),
        "expected",
    ),
]


def test_nothing_multiplied_is_no_division_by_zero():
    def share(operators, kinds):
        multiply = [
            kind for name, kind in zip(operators, kinds) if "Conv" in name or "MatMul" in name or "Gemm" in name
        ]
        return multiply.count("int8") / len(multiply)

    report = EXERCISES["90/int8-share"].check(share)
    assert report.status == "wrong" and "ZeroDivisionError" in report.sentence


def test_certain_is_what_the_board_means():
    """The exercise and `board.shortfall` agree on the same numbers."""
    import pandas as pd

    g = torch.Generator().manual_seed(1)
    kb, speedup = (
        120 * torch.rand(50, generator=g),
        1 + 3 * torch.rand(50, 1, generator=g) + torch.tensor([0, -0.2, 0.2]),
    )
    points = 3 * torch.rand(50, 1, generator=g) - 2 + torch.tensor([0, -1, 1])
    table = pd.DataFrame(dict(kb=kb, speedup_low=speedup[:, 1], points_low=points[:, 1]))
    short = board.shortfall(table, Budget(80, 1.5, 1.8)).sum(axis=1)
    kept = EXERCISES["90/certain"].solution(kb, speedup, points, 80, 1.5, 1.8)
    assert (short == 0).tolist() == kept.tolist() and 0 < kept.sum() < 50
