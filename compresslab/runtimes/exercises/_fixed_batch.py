"""Lesson 61: any number of examples through a file that takes a fixed number."""

import torch

from ...lesson import Exercise, Mistake


def in_batches(run, x, size):
    results = []
    for part in x.split(size):
        missing = size - len(part)
        padded = torch.cat([part, part.new_zeros(missing, *part.shape[1:])])
        results.append(run(padded)[: len(part)])
    return torch.cat(results)


class _File:
    """A runtime's session with a fixed batch size: it refuses another one, and counts its calls."""

    def __init__(self, size):
        self.size, self.calls = size, 0

    def __call__(self, x):
        if len(x) != self.size:
            raise ValueError(f"the file takes batches of {self.size} examples, got {len(x)}")
        self.calls += 1
        return torch.stack([x.flatten(1).sum(1), x.flatten(1).amax(1)], dim=1)


_SIZES = ((8, 4), (10, 4), (3, 8), (1, 1), (7, 2), (65, 64))  # examples, batch size of the file


def _x(n):
    return torch.randn(n, 1, 3, 3, generator=torch.Generator().manual_seed(n))


def _trial(fn):
    return [fn(_File(size), _x(n), size) for n, size in _SIZES]


def _expected():
    return [torch.stack([x.sum((1, 2, 3)), x.amax((1, 2, 3))], dim=1) for x in (_x(n) for n, _ in _SIZES)]


def _padded(x, size):
    return torch.cat([x, x.new_zeros(-len(x) % size, *x.shape[1:])])


def _run(run, x, size):
    return torch.cat([run(part) for part in x.split(size)])


def _full_ones(run, x, size):
    full = [run(part) for part in x.split(size) if len(part) == size]
    return torch.cat(full) if full else torch.zeros(0, 2)


def _overlapping(run, x, size):
    if len(x) < size:
        return run(_padded(x, size))[: len(x)]
    return torch.cat([run(x[min(start, len(x) - size) :][:size]) for start in range(0, len(x), size)])


_LOST = "The examples of the last batch are lost where it is not full: fill it up and keep their results."
_KEPT = "The results of the filling come out too: keep the first len(x) results only."

fixed_batch = Exercise(
    key="61/fixed-batch",
    title="A file with a fixed batch size",
    solution=in_batches,
    trial=_trial,
    expected=_expected,
    mistakes=(
        Mistake(_LOST, _full_ones),
        Mistake(_KEPT, lambda run, x, size: _run(run, _padded(x, size), size)),
        Mistake(
            "Only the first batch is computed: go through all of x, size by size.",
            lambda run, x, size: run(_padded(x[:size], size))[: len(x)],
        ),
        Mistake(
            "The filling comes before the examples, and its results are kept in place of the last ones: fill up at the "
            "end.",
            lambda run, x, size: _run(run, torch.cat([x.new_zeros(-len(x) % size, *x.shape[1:]), x]), size)[: len(x)],
        ),
        Mistake(
            "The last batch is taken from the end of x, so some examples come out twice: keep each once.",
            _overlapping,
        ),
    ),
    hints=(
        "x.split(size) gives the batches; the last may hold fewer than size examples, and the file refuses it.",
        "Fill it up with zeros: torch.cat([part, part.new_zeros(size - len(part), *part.shape[1:])]).",
        "Of each batch's results keep run(padded)[:len(part)], and join them with torch.cat.",
    ),
    rtol=1e-5,
    atol=1e-5,  # float32
)
