"""A learner's function, watched while it runs: each call is compared with the solution's."""

import inspect
import linecache
import traceback

import numpy as np
import torch
from torch.utils import _pytree as pytree


class Finding(Exception):
    """What is wrong, as a sentence for the learner, and the line of code it is about."""

    def __init__(self, sentence: str, code: str = ""):
        super().__init__(sentence)
        self.sentence, self.code = sentence, code


def check_signature(fn, solution) -> None:
    """Raise a Finding unless `fn` can be called like `solution`."""
    if not callable(fn):
        kind = type(fn).__name__
        raise Finding(f"check needs the function itself, got {kind}: pass its name without brackets or quotes.")
    try:
        got, wanted = inspect.signature(fn).parameters, inspect.signature(solution).parameters
    except ValueError:  # built in, without a signature that Python can read
        return
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in got.values()):
        return
    missing = [name for name in wanted if name not in got]
    extra = [name for name, p in got.items() if name not in wanted and p.default is p.empty]
    wrong = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"also asks for {', '.join(extra)}"] * bool(extra)
    if not wrong and [name for name in got if name in wanted] != list(wanted):
        wrong = ["has them in another order"]
    if wrong:
        name = getattr(fn, "__name__", "the function")
        raise Finding(f"{name} must take the parameters ({', '.join(wanted)}); yours {' and '.join(wrong)}.")


class Watch:
    """Stands in for the learner's function in a trial.

    What makes a trial pointless (an exception, None, a wrong shape, a changed argument) is raised at once; a
    wrong shape in the words of the first of `mistakes` that gives the same.
    The first wrong number is kept in `first` and the trial goes on, because the whole result may match a
    known mistake.
    """

    def __init__(self, fn, solution, rtol: float, atol: float, mistakes=()):
        self.fn, self.solution, self.tolerance, self.mistakes = fn, solution, (rtol, atol), mistakes
        self.calls, self.first = 0, None

    def __call__(self, *args, **kwargs):
        self.calls += 1
        before, after = _copy((args, kwargs)), _copy((args, kwargs))
        with torch.random.fork_rng(devices=[]):  # so that the learner's function draws the same random numbers
            wanted = self.solution(*after[0], **after[1])
        got = self._call(args, kwargs)
        if got is None and wanted is not None:
            raise Finding("Your function returned None: is a return statement missing?")
        self._compare_arguments(before, after, (args, kwargs))
        wrong = mismatch(got, wanted)
        if wrong:
            raise Finding(self._known_mistake(before, got) or f"Call {self.calls}: {wrong}.")
        if self.first is None and not close(got, wanted, *self.tolerance):
            self.first = Finding(f"Call {self.calls}: {difference(got, wanted, *self.tolerance)}.")
        return got

    def _known_mistake(self, before, got) -> str:
        for mistake in self.mistakes:
            args, kwargs = _copy(before)
            try:
                with torch.random.fork_rng(devices=[]):
                    same = close(mistake.function(*args, **kwargs), got, *self.tolerance)
            except Exception:  # a wrong answer may break on some arguments
                same = False
            if same:
                return mistake.sentence
        return ""

    def _call(self, args, kwargs):
        try:
            return self.fn(*args, **kwargs)
        except Exception as error:
            file = getattr(getattr(inspect.unwrap(self.fn), "__code__", None), "co_filename", None)
            frames = traceback.extract_tb(error.__traceback__)
            own = [frame for frame in frames if frame.filename == file]
            if isinstance(error, NotImplementedError) and own and own[-1] is frames[-1]:
                raise  # the stub's own; torch raises it too, from its own files
            raise Finding(f"{type(error).__name__}: {error}", _line(own)) from None

    def _compare_arguments(self, before, after, now) -> None:
        """What the solution leaves alone must be left alone; what it changes must be changed alike."""
        names = list(inspect.signature(self.solution).parameters)
        given = dict(zip(names, zip(before[0], after[0], now[0])))
        given |= {name: (before[1][name], after[1][name], now[1][name]) for name in now[1]}
        for name, (old, reference, mine) in given.items():
            if close(old, reference, 0, 0):
                if not close(old, mine, 0, 0):
                    raise Finding(f"Your function changed its argument {name} in place: return new tensors instead.")
            elif self.first is None and not close(mine, reference, *self.tolerance):
                wrong = mismatch(mine, reference, name) or difference(mine, reference, *self.tolerance, name)
                self.first = Finding(f"Call {self.calls}: {wrong}.")


def _line(own: list[traceback.FrameSummary]) -> str:
    """The last of the learner's own lines, with its number; linecache knows the cells of a notebook too."""
    if not own:
        return ""
    return f"line {own[-1].lineno}: {linecache.getline(own[-1].filename, own[-1].lineno).strip()}"


def _copy(nest):
    """Tensors and the containers they are in copied, everything else as it is."""
    return pytree.tree_map_only(torch.Tensor, lambda x: x.detach().clone().requires_grad_(x.requires_grad), nest)


def mismatch(got, wanted, path: str = "result") -> str:
    """Where type, shape or dtype of `got` differ from those of `wanted`; "" where they do not.

    >>> mismatch((torch.zeros(3), 1.0), (torch.zeros(2), 1.0))
    'result[0] has shape (3,), expected (2,)'

    A single number may come as int or float, from torch or NumPy.
    """
    if _is_number(got) and _is_number(wanted):
        return ""
    if isinstance(wanted, torch.Tensor):
        if not isinstance(got, torch.Tensor):
            return f"{path} is a {type(got).__name__}, expected a tensor of shape {tuple(wanted.shape)}"
        if got.shape != wanted.shape:
            return f"{path} has shape {tuple(got.shape)}, expected {tuple(wanted.shape)}"
        return "" if got.dtype == wanted.dtype else f"{path} has dtype {got.dtype}, expected {wanted.dtype}"
    if isinstance(wanted, dict):
        if not isinstance(got, dict):
            return f"{path} is a {type(got).__name__}, expected a dict with the keys {list(wanted)}"
        if got.keys() != wanted.keys():
            return f"{path} has the keys {list(got)}, expected {list(wanted)}"
        return next(filter(None, (mismatch(got[key], wanted[key], f"{path}[{key!r}]") for key in wanted)), "")
    if isinstance(wanted, (tuple, list)):
        if not isinstance(got, (tuple, list)):
            return f"{path} is one {type(got).__name__}, expected {len(wanted)} values"
        if len(got) != len(wanted):
            return f"{path} has {len(got)} values, expected {len(wanted)}"
        return next(filter(None, (mismatch(g, w, f"{path}[{i}]") for i, (g, w) in enumerate(zip(got, wanted)))), "")
    if isinstance(got, type(wanted)):
        return ""
    return f"{path} is a {type(got).__name__}, expected a {type(wanted).__name__}"


def _is_number(value) -> bool:
    return isinstance(value, (int, float, np.generic)) or (isinstance(value, torch.Tensor) and value.ndim == 0)


def _numbers(nest) -> list[tuple[str, torch.Tensor]]:
    """(path, float64 tensor) of every tensor and number in a nest."""
    pairs = pytree.tree_flatten_with_path(nest)[0]
    kinds = (torch.Tensor, int, float, np.generic)
    return [
        (pytree.keystr(path), torch.as_tensor(leaf).detach().double())
        for path, leaf in pairs
        if isinstance(leaf, kinds)
    ]


def close(a, b, rtol: float, atol: float) -> bool:
    """Whether two nests have the same structure and |a - b| <= atol + rtol |b|; NaN equals NaN."""
    a, b = _numbers(a), _numbers(b)
    return [(path, x.shape) for path, x in a] == [(path, y.shape) for path, y in b] and all(
        torch.allclose(x, y, rtol, atol, equal_nan=True) for (_, x), (_, y) in zip(a, b)
    )


def difference(got, wanted, rtol: float, atol: float, path: str = "result") -> str:
    """The first number in which two nests part, in words.

    >>> difference(torch.tensor([1.0, 2.5]), torch.tensor([1.0, 2.0]), 0, 0)
    'result[1] differs: got 2.5, expected 2'
    """
    for (where, x), (_, y) in zip(_numbers(got), _numbers(wanted)):
        apart = ~torch.isclose(x, y, rtol, atol, equal_nan=True) if x.shape == y.shape else None
        if apart is not None and apart.any():
            index = tuple(apart.nonzero()[0].tolist())
            place = path + where + (f"[{', '.join(map(str, index))}]" if index else "")
            what = "differs" if x[index].isfinite() else "is not a finite number"
            return f"{place} {what}: got {x[index].item():.6g}, expected {y[index].item():.6g}"
    return f"{path} differs in shape"
