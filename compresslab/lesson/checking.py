"""A learner's function, watched while it runs: each call is compared with the solution's."""

import dis
import inspect
import linecache
import math
from itertools import permutations

import numpy as np
import torch
from torch.utils import _pytree as pytree

from .reference import copy


class Finding(Exception):
    """What is wrong, as a sentence for the learner, and the line of code it is about."""

    def __init__(self, sentence: str, code: str = ""):
        super().__init__(sentence)
        self.sentence, self.code = sentence, code


class Stub(Exception):
    """The function is not written yet: a line of its own raises NotImplementedError."""


def check_signature(fn, wanted: list[str]) -> None:
    """Raise a Finding unless `fn` can be called with the parameters `wanted`, with all values in order."""
    if not callable(fn):
        kind = type(fn).__name__
        raise Finding(f"check needs the function itself, got {kind}: pass its name without brackets or quotes.")
    try:
        got = inspect.signature(fn).parameters
    except ValueError:  # built in, without a signature that Python can read
        return
    kinds = [p.kind for p in got.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return
    name = getattr(fn, "__name__", "Your function")
    missing = [name for name in wanted if name not in got and inspect.Parameter.VAR_KEYWORD not in kinds]
    extra = [name for name, p in got.items() if name not in wanted and p.default is p.empty and p.kind != p.VAR_KEYWORD]
    wrong = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"also asks for {', '.join(extra)}"] * bool(extra)
    if wrong:
        raise Finding(f"{name} must take the parameters ({', '.join(wanted)}); yours {' and '.join(wrong)}.")
    in_order = [name for name, p in got.items() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if in_order[: len(wanted)] != wanted:
        raise Finding(f"{name} is called with its values in order: ({', '.join(wanted)}). Take them in this order.")


class Watch:
    """Stands in for the learner's function in a trial. reference: what the solution and the mistakes give in its calls.

    What makes a trial pointless (an exception, None, a wrong shape, a changed argument) is raised at once; a
    wrong shape in the words of the first mistake that gives the same.
    The first wrong number is kept in `first` and the trial goes on, because the whole result may match a
    known mistake.
    """

    def __init__(self, fn, reference, rtol: float, atol: float):
        self.fn, self.reference, self.tolerance = fn, reference, (rtol, atol)
        self.calls, self.first = 0, None

    def __call__(self, *args, **kwargs):
        self.calls += 1
        before, after = copy((args, kwargs)), copy((args, kwargs))
        wanted = self.reference.answer(self.calls, *after)
        if close(before, after, 0, 0):  # nothing is to be changed, so the trial's own values stay as they are
            args, kwargs = copy((args, kwargs))
        call = "" if kwargs else _written(self.reference.name, before[0])
        got = self._call(args, kwargs, call)
        if got is None and wanted is not None:
            raise Finding(f"{call or 'Your function'} returned None: is a return statement missing?")
        self._compare_arguments(before, after, (args, kwargs))
        result = call or f"Call {self.calls}: result"
        wrong = mismatch(got, wanted, result)
        if wrong:
            raise Finding(self._known_mistake(before, got, wanted) or f"{wrong}.")
        got = plain(got, wanted)
        if self.first is None and not close(got, wanted, *self.tolerance):
            self.first = Finding(f"{difference(got, wanted, *self.tolerance, result)}.")
            others = permutations(got) if isinstance(got, tuple) and len(got) <= 4 else ()
            if any(close(other, wanted, *self.tolerance) for other in others):
                self.first = Finding(
                    "The values are right, but in another order: return them in the order of the text."
                )
        return got

    def _known_mistake(self, before, got, wanted) -> str:
        """The sentence of the first mistake that gives `got` in this call and does not happen to give `wanted`."""
        for sentence, theirs in self.reference.mistaken(self.calls, *before):
            wrong = mismatch(theirs, wanted) or not close(theirs, wanted, *self.tolerance)
            if wrong and close(theirs, got, *self.tolerance):
                return sentence
        return ""

    def _call(self, args, kwargs, call):
        try:
            return self.fn(*args, **kwargs)
        except Exception as error:
            trace = [error.__traceback__]
            while trace[-1].tb_next:
                trace.append(trace[-1].tb_next)
            # The learner's own steps: the cells of a notebook share one namespace.
            namespace = getattr(inspect.unwrap(self.fn), "__globals__", None)
            own = [step for step in trace if step.tb_frame.f_globals is namespace]
            # torch raises NotImplementedError too, from its own files or with no `raise` in Python at all.
            if isinstance(error, NotImplementedError) and own[-1:] == trace[-1:] and _is_raise(own[-1]):
                if len(own) == 1:
                    raise Stub from None
                name = own[-1].tb_frame.f_code.co_name
                raise Finding(f"{name}, which you call here, is not written yet.", _line(own[:-1])) from None
            raise Finding(_explain(error, call), _line(own)) from None

    def _compare_arguments(self, before, after, now) -> None:
        """What the solution leaves alone must be left alone; what it changes must be changed alike."""
        given = dict(zip(self.reference.parameters, zip(before[0], after[0], now[0])))
        given |= {name: (before[1][name], after[1][name], now[1][name]) for name in now[1]}
        for name, (old, reference, mine) in given.items():
            if close(old, reference, 0, 0):
                if not close(old, mine, 0, 0) or _texts(old) != _texts(mine):
                    instead = f"work on a copy, list({name})" if isinstance(old, list) else "return new tensors instead"
                    raise Finding(f"Your function changed its argument {name} in place: {instead}.")
            elif self.first is None and not close(mine, reference, *self.tolerance):
                wrong = mismatch(mine, reference, name) or difference(mine, reference, *self.tolerance, name)
                self.first = Finding(f"Call {self.calls}: {wrong}.")


def _written(name: str, args: tuple) -> str:
    """The call as it is typed, if all values are numbers or short lists; else "".

    >>> _written("half", (3, [0.5, 2.0])), _written("half", (torch.ones(3),))
    ('half(3, [0.5, 2.0])', '')
    """
    short = all(isinstance(a, (int, float)) or (isinstance(a, list) and len(a) <= 8) for a in args)
    return f"{name}({', '.join(map(repr, args))})" if short else ""


def _explain(error: Exception, call: str) -> str:
    if "unsupported operand type(s) for ^" in str(error) or "bitwise_xor" in str(error):
        return "^ is not a power in Python: use **."
    kind = type(error).__name__ + f" in {call}" * bool(call)
    return f"{kind}: {error}" if str(error) else f"{kind}."


def _is_raise(step) -> bool:
    """Whether an exception came from a `raise` statement in this step of its traceback."""
    return dis.opname[step.tb_frame.f_code.co_code[step.tb_lasti]] == "RAISE_VARARGS"


def _line(own: list) -> str:
    """The last of the learner's own lines, with its number; linecache knows the cells of a notebook too."""
    if not own:
        return ""
    line = linecache.getline(own[-1].tb_frame.f_code.co_filename, own[-1].tb_lineno)
    return f"line {own[-1].tb_lineno}: {line.strip()}"


def plain(got, wanted):
    """A result without its graph; where one number is wanted, an array or tensor of one element becomes that number."""
    if isinstance(wanted, dict):
        return {key: plain(got[key], wanted[key]) for key in wanted}
    if isinstance(wanted, (tuple, list)):
        return tuple(map(plain, got, wanted))
    if _is_number(wanted) and _has_one(got):
        return got.item()
    return got.detach().to(wanted.dtype) if isinstance(got, torch.Tensor) else got


def mismatch(got, wanted, path: str = "result") -> str:
    """Where type, shape or dtype of `got` differ from those of `wanted`; "" where they do not.

    >>> mismatch((torch.zeros(3), 1.0), (torch.zeros(2), 1.0))
    'result[0] has shape (3,), expected (2,)'

    A single number may come as int or float, or as an array or tensor of one element; int64 as whole numbers of fewer
    bits.
    """
    if _is_number(wanted):
        what = f"has shape {tuple(got.shape)}" if hasattr(got, "shape") else f"is a {type(got).__name__}"
        return "" if _is_number(got) or _has_one(got) else f"{path} {what}, expected one number"
    if isinstance(wanted, torch.Tensor):
        if not isinstance(got, torch.Tensor):
            return f"{path} is a {type(got).__name__}, expected a tensor of shape {tuple(wanted.shape)}"
        if got.shape != wanted.shape:
            return f"{path} has shape {tuple(got.shape)}, expected {tuple(wanted.shape)}"
        if not _is_dense(got):
            return f"{path} is {_kind(got)}, expected a plain tensor of {wanted.dtype} on the CPU"
        whole = wanted.dtype == torch.int64 and got.dtype in (torch.int8, torch.uint8, torch.int16, torch.int32)
        return "" if whole or got.dtype == wanted.dtype else f"{path} has dtype {got.dtype}, expected {wanted.dtype}"
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


def _has_one(value) -> bool:
    """Whether it is an array or tensor of one element, whatever its shape."""
    return isinstance(value, (np.ndarray, torch.Tensor)) and math.prod(value.shape) == 1


def _is_dense(tensor: torch.Tensor) -> bool:
    """Whether it simply holds its numbers: not sparse, not one of torch's quantized tensors, not on another device."""
    return tensor.layout == torch.strided and not tensor.is_quantized and tensor.device.type == "cpu"


def _kind(tensor: torch.Tensor) -> str:
    quantized = f"quantized ({tensor.dtype})" * tensor.is_quantized
    sparse = f"sparse ({tensor.layout})" * (tensor.layout != torch.strided)
    return quantized or sparse or f"on the device {tensor.device}"


def _texts(nest) -> list[tuple]:
    """(path, text) of every text in a nest."""
    return [(path, leaf) for path, leaf in pytree.tree_flatten_with_path(nest)[0] if isinstance(leaf, str)]


def _numbers(nest) -> list[tuple[str, torch.Tensor]]:
    """(path, float64 tensor) of every plain tensor and number in a nest."""
    pairs = pytree.tree_flatten_with_path(nest)[0]
    return [(pytree.keystr(path), _double(leaf)) for path, leaf in pairs if _has_numbers(leaf)]


def _has_numbers(leaf) -> bool:
    return _is_dense(leaf) if isinstance(leaf, torch.Tensor) else isinstance(leaf, (int, float, np.generic))


def _double(leaf) -> torch.Tensor:
    try:
        return torch.as_tensor(leaf, dtype=torch.float64).detach()
    except OverflowError:  # Python's integers have no end
        return torch.tensor(math.inf, dtype=torch.float64)


def close(a, b, rtol: float, atol: float) -> bool:
    """Whether two nests have the same structure and |a - b| <= atol + rtol |b|; NaN equals NaN."""
    a, b = _numbers(a), _numbers(b)
    return [(path, x.shape) for path, x in a] == [(path, y.shape) for path, y in b] and all(
        torch.allclose(x, y, rtol, atol, equal_nan=True) for (_, x), (_, y) in zip(a, b)
    )


def finite_somewhere(nest) -> bool:
    """Whether a nest holds a finite number: where all is NaN, equal numbers say nothing."""
    return any(x.isfinite().any() for _, x in _numbers(nest))


def difference(got, wanted, rtol: float, atol: float, path: str = "result") -> str:
    """The first number in which two nests part, in words.

    >>> difference(torch.tensor([1.0, 2.5]), torch.tensor([1.0, 2.0]), 0, 0)
    'result[1] is 2.5, expected 2'
    """
    for (where, x), (_, y) in zip(_numbers(got), _numbers(wanted)):
        apart = ~torch.isclose(x, y, rtol, atol, equal_nan=True) if x.shape == y.shape else None
        if apart is not None and apart.any():
            index = tuple(apart.nonzero()[0].tolist())
            place = path + where + (f"[{', '.join(map(str, index))}]" if index else "")
            x, y = x[index].item(), y[index].item()
            digits = next((n for n in range(6, 17) if f"{x:.{n}g}" != f"{y:.{n}g}"), 17)
            single = 1e-9 * abs(y) < abs(x - y) <= 1e-6 * abs(y)
            why = " (was it computed in float32?)" * single
            return f"{place} is {x:.{digits}g}, expected {y:.{digits}g}{why}"
    return f"{path} differs in shape"
