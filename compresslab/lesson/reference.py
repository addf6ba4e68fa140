"""What a learner's function is compared with: the functions of an exercise, or a record of what they gave."""

import inspect
import json
from functools import cached_property
from pathlib import Path

import torch
from torch.utils import _pytree as pytree


class Live:
    """The exercise's own functions. name, parameters: of the solution."""

    def __init__(self, exercise):
        self.solution, self.expected, self.mistakes = exercise.solution, exercise.expected, exercise.mistakes
        self.name, self.parameters = self.solution.__name__, list(inspect.signature(self.solution).parameters)

    def answer(self, call: int, args, kwargs):
        """What the solution gives in this call of the trial; it may change its arguments."""
        with torch.random.fork_rng(devices=[]):  # so that the learner's function draws the same random numbers
            return self.solution(*args, **kwargs)

    def mistaken(self, call: int, args, kwargs):
        """(sentence, what it gives in this call) of each mistake; one that breaks on these arguments is left out."""
        for mistake in self.mistakes:
            own_args, own_kwargs = copy((args, kwargs))
            try:
                with torch.random.fork_rng(devices=[]):
                    theirs = mistake.function(*own_args, **own_kwargs)
            except Exception:  # a wrong answer may break on some arguments
                continue
            yield mistake.sentence, theirs

    def known(self, run):
        """(sentence, run(function)) of each mistake; `run` runs a function through the whole trial."""
        for mistake in self.mistakes:
            yield mistake.sentence, run(mistake.function)


class Recorded:
    """The same from a record: numbers only, made when a student's edition was built.

    It answers call by call, whatever the arguments. Up to the first wrong number of a learner these are those of the
    record; after it only type and shape of an answer are looked at.
    """

    def __init__(self, path: Path):
        self.path = path

    @cached_property
    def data(self) -> dict:
        return json.loads(self.path.read_text(encoding="utf-8"))

    name = property(lambda self: self.data["name"])
    parameters = property(lambda self: self.data["parameters"])

    def answer(self, call: int, args, kwargs):
        return unpack(self.data["answers"][call - 1])

    def mistaken(self, call: int, args, kwargs):
        for which, theirs in self.data["mistaken"][call - 1]:
            yield self.data["sentences"][which], unpack(theirs)

    def known(self, run):
        for which, result in self.data["known"]:
            yield self.data["sentences"][which], unpack(result)

    def expected(self):
        return unpack(self.data["expected"])


def copy(nest):
    """Tensors and the containers they are in copied, everything else as it is."""
    return pytree.tree_map_only(torch.Tensor, lambda x: x.detach().clone().requires_grad_(x.requires_grad), nest)


def pack(nest):
    """A nest of tensors, numbers and texts as JSON holds it; TypeError for anything else.

    >>> pack((torch.ones(1, 2), {"n": 3}))
    [{'tensor': [1.0, 1.0], 'shape': [1, 2], 'dtype': 'float32'}, {'dict': {'n': 3}}]
    """
    if isinstance(nest, torch.Tensor):
        numbers = nest.detach().flatten().numpy()
        # as few digits as give the same number again
        values = [float(str(x)) for x in numbers] if nest.is_floating_point() else numbers.tolist()
        return {"tensor": values, "shape": list(nest.shape), "dtype": str(nest.dtype).removeprefix("torch.")}
    if isinstance(nest, (tuple, list)):
        return [pack(item) for item in nest]
    if isinstance(nest, dict) and all(isinstance(key, str) for key in nest):
        return {"dict": {key: pack(value) for key, value in nest.items()}}
    value = nest.item() if hasattr(nest, "item") and not getattr(nest, "shape", ()) else nest  # a number of NumPy
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"nest must hold tensors, numbers and texts, got {type(nest).__name__}")


def unpack(packed):
    """The nest that was packed; tuples have become lists.

    >>> unpack(pack((torch.ones(1, 2), {"n": 3})))
    [tensor([[1., 1.]]), {'n': 3}]
    """
    if isinstance(packed, list):
        return [unpack(item) for item in packed]
    if not isinstance(packed, dict):
        return packed
    if "dict" in packed:
        return {key: unpack(value) for key, value in packed["dict"].items()}
    return torch.tensor(packed["tensor"], dtype=getattr(torch, packed["dtype"])).reshape(packed["shape"])
