"""Answers to the exercises of lesson 61 in other words than the solutions', and mistakes in a learner's own."""

import math
import struct

import numpy as np
import torch

# --- right answers that do not look like the solutions


def parity_in_loops(reference, scores, tolerance):
    differences = [abs(a - b) for a, b in zip(scores.flatten().tolist(), reference.flatten().tolist())]
    largest = max(abs(value) for value in reference.flatten().tolist())
    error = math.nan if any(map(math.isnan, differences)) else max(differences) / largest
    return error, error <= tolerance


def parity_in_numpy(reference, scores, tolerance):
    error = np.abs(scores.numpy() - reference.numpy()).max() / np.abs(reference.numpy()).max()
    return error, error <= tolerance


def half_by_struct(x):
    def rounded(value):
        try:
            return struct.unpack("e", struct.pack("e", value))[0]
        except OverflowError:
            return math.copysign(math.inf, value)

    return torch.tensor([rounded(value) for value in x.tolist()])


def half_in_numpy(x):
    with np.errstate(over="ignore"):
        return torch.from_numpy(x.numpy().astype(np.float16).astype(np.float32))


def batches_by_index(run, x, size):
    results = []
    for start in range(0, len(x), size):
        index = torch.arange(start, start + size).clamp(max=len(x) - 1)  # the last example fills the batch
        results += list(run(x[index]))[: len(x) - start]
    return torch.stack(results)


def batches_padded_once(run, x, size):
    padded = torch.cat([x, x[:1].expand(-len(x) % size, *x.shape[1:])])
    return torch.cat([run(part) for part in padded.chunk(len(padded) // size)])[: len(x)]


def front_in_python(kb, ms):
    points = list(zip(kb.tolist(), ms.tolist()))
    return torch.tensor([not any(b != a and b[0] <= a[0] and b[1] <= a[1] for b in points) for a in points])


def front_by_broadcast(kb, ms):
    points = torch.stack([kb, ms], dim=1)
    as_good = (points[None] <= points[:, None]).all(-1)
    return ~(as_good & (points[None] < points[:, None]).any(-1)).any(1)


RIGHT = {
    "61/parity": [parity_in_loops, parity_in_numpy],
    "61/float16": [half_by_struct, half_in_numpy],
    "61/fixed-batch": [batches_by_index, batches_padded_once],
    "61/pareto": [front_in_python, front_by_broadcast],
}

# --- wrong answers


def parity_by_average(reference, scores, tolerance):
    error = float(np.mean(np.abs(scores.numpy() - reference.numpy())) / reference.abs().amax())
    return error, error <= tolerance


def parity_without_abs(reference, scores, tolerance):
    error = float(np.max((scores - reference).numpy()) / np.max(np.abs(reference.numpy())))
    return error, error <= tolerance


def parity_of_the_difference(reference, scores, tolerance):
    error = torch.linalg.vector_norm(scores - reference, torch.inf).item()
    return error, error <= tolerance


def parity_that_says_what_fails(reference, scores, tolerance):
    error = ((scores - reference).abs().max() / reference.abs().max()).item()
    if error > tolerance:
        return error, False
    return error, True


def half_with_one_infinity(x):
    y = half_in_numpy(x)
    return y.masked_fill(y.isinf(), math.inf)


def half_with_a_fixed_step(x):
    return (x * 2**10).round() * 2**-10


def half_without_infinity(x):
    return half_in_numpy(x).clamp(min=-65504, max=65504)


def half_without_small_numbers(x):
    return half_in_numpy(x) * (x.abs() >= 2**-14)


def batches_without_the_rest(run, x, size):
    results = [run(x[start : start + size]) for start in range(0, len(x) - size + 1, size)]
    return torch.cat(results) if results else torch.zeros(0, 2)


def batches_with_the_filling(run, x, size):
    padded = torch.zeros(math.ceil(len(x) / size) * size, *x.shape[1:])
    padded[: len(x)] = x
    return torch.cat([run(part) for part in padded.split(size)])


def first_batch(run, x, size):
    padded = torch.zeros(size, *x.shape[1:])
    padded[: len(x)] = x[:size]
    return run(padded)[: len(x)]


def batches_as_they_come(run, x, size):
    return torch.cat([run(part) for part in x.split(size)])


def front_of_both_better(kb, ms):
    points = list(zip(kb.tolist(), ms.tolist()))
    return torch.tensor([not any(b[0] < a[0] and b[1] < a[1] for b in points) for a in points])


def front_with_itself(kb, ms):
    return ~((kb[None] <= kb[:, None]) & (ms[None] <= ms[:, None])).any(1)


def front_of_the_largest(kb, ms):
    return front_in_python(-kb, -ms)


def the_ends_only(kb, ms):
    return kb.eq(kb.amin()) | ms.eq(ms.amin())


WRONG = [
    ("61/parity", lambda *case: (parity_in_numpy(*case)[0], parity_in_numpy(*case)[0] < case[2]), "expected"),
    ("61/parity", parity_by_average, "A mean hides one bad score"),
    ("61/parity", parity_without_abs, "too low slips through"),
    ("61/parity", parity_of_the_difference, "This is the difference itself"),
    ("61/parity", parity_that_says_what_fails, "NaN slips through"),
    ("61/float16", half_with_one_infinity, "Infinity has the sign of x"),
    ("61/float16", half_with_a_fixed_step, "One step for all numbers"),
    ("61/float16", half_without_infinity, "float16 has infinity"),
    ("61/float16", half_without_small_numbers, "need not become 0"),
    ("61/fixed-batch", batches_without_the_rest, "last batch are lost"),
    ("61/fixed-batch", batches_with_the_filling, "The results of the filling come out too"),
    ("61/fixed-batch", first_batch, "Only the first batch"),
    ("61/fixed-batch", batches_as_they_come, "the file takes batches of 4 examples, got 2"),
    ("61/pareto", front_of_both_better, "as good in both, and better in one"),
    ("61/pareto", front_with_itself, "do not beat each other"),
    ("61/pareto", front_of_the_largest, "The direction is turned"),
    ("61/pareto", the_ends_only, "the smallest and the fastest only"),
]
