"""The honest cost of a model: parameters, non-zeros, multiply-accumulates, bytes, latency and accuracy."""

from __future__ import annotations

import gzip
import io
import random
import tempfile
import time
import timeit
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parametrize
from torch.utils.flop_counter import FlopCounterMode

from .intervals import median_interval, wilson_interval
from .packages import quiet

BLOCK_SECONDS = 1e-3  # one timing repeats a fast call until this long, far above the clock's resolution
SIZES = ["parameters", "nonzeros", "macs", "file_bytes", "gzip_bytes"]  # what `compare` counts in an nn.Module


@dataclass(frozen=True)
class Latency:
    """Milliseconds a call: median, 5th percentile (low) and 95th percentile (high) of `repeats` timings."""

    median_ms: float
    low_ms: float
    high_ms: float
    repeats: int
    threads: int


@dataclass(frozen=True)
class Accuracy:
    """Share of right answers, with the bounds of its 95 % Wilson interval."""

    accuracy: float
    low: float
    high: float
    correct: int
    n: int


# ---------------------------------------------------------------------------------------------- size


def count_parameters(model: nn.Module) -> int:
    """Number of parameters as the forward pass sees them; a shared one counts once.

    A parametrized weight (a mask, a fake quantizer) counts as the one tensor it yields, not as the tensors it
    is computed from. Buffers (running means, masks) are not parameters.

    >>> count_parameters(nn.Linear(4, 3))
    15
    """
    return sum(weight.numel() for weight in _effective_weights(model))


def count_nonzeros(model: nn.Module) -> int:
    """Number of parameters that are not zero, counted in the same tensors as `count_parameters`.

    Zeros are stored and multiplied like any other number in a dense format: see `file_bytes`, `latency`. A
    layer in a sparse format has its stored values as parameters, and so few of them are zero.
    """
    return sum(int(weight.count_nonzero()) for weight in _effective_weights(model))


def _effective_weights(model: nn.Module) -> list[torch.Tensor]:
    sources = {id(p): p for p in model.parameters()}
    computed = []
    with evaluating(model):
        for module in model.modules():
            if not parametrize.is_parametrized(module):
                continue
            for name, chain in module.parametrizations.items():
                originals = list(chain.parameters())
                if originals:  # otherwise it stands for a buffer
                    computed.append(getattr(module, name))
                for p in originals:
                    sources.pop(id(p), None)
    return [*sources.values(), *computed]


def file_bytes(model: nn.Module, compressed: bool = False) -> int:
    """Bytes on disk of the model's saved state dict; with `compressed`, of that file after gzip.

    The file is really written, so it holds whatever the state dict holds: zeros, masks, originals of
    parametrizations. On a full or read-only disk it is written to memory instead (a percent larger at most: the
    records in it have longer names there).
    """
    file = _saved(model.state_dict())
    return len(gzip.compress(file)) if compressed else len(file)


def _saved(state: dict) -> bytes:
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.pt")
            torch.save(state, path)
            return path.read_bytes()
    except (OSError, RuntimeError):  # torch tells of a full disk in a RuntimeError
        buffer = io.BytesIO()
        torch.save(state, buffer)
        return buffer.getvalue()


def count_macs(model: nn.Module, example_inputs: torch.Tensor | tuple) -> int:
    """Multiply-accumulates of one forward pass over `example_inputs` (give one example for the usual figure).

    Matrix products and convolutions, as torch's FLOP counter sees them run, at two operations each; sums,
    activations, normalisations and bilinear layers are left out. Zeros in a dense tensor are multiplied, so they
    count; of a sparse (CSR) matrix the stored values count. Fused kernels of attention and of an LSTM hide their
    products from the counter: they run written out here.

    >>> count_macs(nn.Linear(4, 3), torch.zeros(1, 4))
    12
    """
    inputs = inputs_of(example_inputs)
    products = torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.mv, torch.ops.aten.addmv
    counter = FlopCounterMode(display=False, custom_mapping=dict.fromkeys(products, _product_flops))
    with evaluating(model, torch.no_grad), _written_out(model), counter:
        model(*inputs)  # (in inference mode the counter fails on parametrized weights)
    return counter.get_total_flops() // 2


@contextmanager
def _written_out(model: nn.Module) -> Iterator[None]:
    with ExitStack() as stack:
        stack.callback(torch.backends.mha.set_fastpath_enabled, torch.backends.mha.get_fastpath_enabled())
        torch.backends.mha.set_fastpath_enabled(False)
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if any(isinstance(module, nn.LSTM) for module in model.modules()):
            stack.enter_context(quiet())  # the next line warns of GPUs
            stack.enter_context(torch.backends.mkldnn.flags(enabled=False))
        yield


def _product_flops(*tensors, **_) -> int:
    matrix, other = tensors[-2:]  # before them, where there is one, the bias
    stored = matrix.values().numel() if matrix.layout is torch.sparse_csr else matrix.numel()
    return 2 * stored * other.shape[1:].numel()


_product_flops._get_raw = True  # so the counter hands over the tensors, not their shapes


# ---------------------------------------------------------------------------------------------- time


def latency(
    model: Callable,
    example_inputs: torch.Tensor | tuple,
    *,
    threads: int = 1,
    warmup: int = 10,
    repeats: int = 50,
    clock: Callable[[], float] = time.perf_counter,
) -> Latency:
    """Time of one call on the CPU, in eval and inference mode, on `threads` threads of torch.

    Each of the `repeats` timings is the mean over as many calls as fill a millisecond, after `warmup` calls.
    To tell which of two models is faster use `compare`: two latencies taken one after the other differ with
    the machine's mood.
    """
    check_at_least(1, repeats=repeats)
    seconds = paired_times([model], example_inputs, rounds=repeats, threads=threads, warmup=warmup, clock=clock)
    return _latency(seconds[:, 0], threads)


def _latency(seconds: np.ndarray, threads: int) -> Latency:
    low, median, high = (float(q) for q in np.percentile(1e3 * seconds, [5, 50, 95]))
    return Latency(median, low, high, len(seconds), threads)


def paired_times(
    models: list[Callable],
    example_inputs: torch.Tensor | tuple,
    *,
    rounds: int = 30,
    threads: int = 1,
    warmup: int = 10,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> np.ndarray:
    """Seconds a call, shape (rounds, models): each round times every model once, in shuffled order.

    The models of one round meet the machine in the same state, so the ratio of two numbers of one row
    survives a machine that slows down, while the numbers themselves do not. `clock` returns seconds.
    """
    check_at_least(1, rounds=rounds, threads=threads)
    check_at_least(0, warmup=warmup)
    inputs = inputs_of(example_inputs)
    timers = [timeit.Timer(lambda model=model: model(*inputs), timer=clock) for model in models]
    seconds = np.zeros((rounds, len(models)))
    order = list(range(len(models)))
    shuffle = random.Random(seed).shuffle
    with ExitStack() as stack:
        stack.enter_context(_threads(threads))
        for model in models:
            stack.enter_context(evaluating(model))
        calls = [_calls_in_a_block(timer, warmup) for timer in timers]
        for row in seconds:
            shuffle(order)
            for i in order:
                row[i] = timers[i].timeit(calls[i]) / calls[i]
    return seconds


def _calls_in_a_block(timer: timeit.Timer, warmup: int) -> int:
    timer.timeit(warmup)
    calls = 1
    while timer.timeit(calls) < BLOCK_SECONDS:
        calls *= 2
    return calls


def int8_instructions() -> str:
    """Which of this processor's instructions multiply 8-bit numbers, as torch names them; "none found" without any."""
    known = ("avx_vnni", "avx512_vnni", "amx_int8", "dot", "i8mm")
    return ", ".join(name for name in known if torch.cpu.get_capabilities().get(name)) or "none found"


# ------------------------------------------------------------------------------------------ accuracy


def predict(model: Callable, x: torch.Tensor, batch_size: int = 1000) -> torch.Tensor:
    """Scores (n, classes) of `model` in eval mode for inputs x (n, ...), computed in batches."""
    check_at_least(1, batch_size=batch_size)
    with evaluating(model):
        scores = [model(batch) for batch in x.split(batch_size)]
    return torch.cat(scores)  # outside inference mode: a normal tensor, which may stand in a loss


def accuracy(model: Callable, split: tuple[torch.Tensor, torch.Tensor], batch_size: int = 1000) -> Accuracy:
    """Share of `split` = (x, y) that `model` gets right, with its 95 % Wilson interval."""
    x, y = split
    if len(x) != len(y) or len(y) == 0:
        raise ValueError(f"split must hold as many images as labels, at least one, got {len(x)} and {len(y)}")
    correct = int((predict(model, x, batch_size).argmax(1) == y).sum())
    return Accuracy(correct / len(y), *wilson_interval(correct, len(y)), correct, len(y))


# -------------------------------------------------------------------------------------- side by side


def compare(
    models: dict[str, Callable],
    example_inputs: torch.Tensor | tuple,
    split: tuple[torch.Tensor, torch.Tensor] | None = None,
    *,
    baseline: str | None = None,
    threads: int = 1,
    rounds: int = 30,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> pd.DataFrame:
    """What each model costs, side by side: a table with one row a model.

    Columns: parameters, nonzeros, macs (for `example_inputs`), file_bytes and, after gzip, gzip_bytes;
    latency_ms (median), latency_low_ms and latency_high_ms (5th and 95th percentile); speedup, the median
    over the rounds of the baseline's time divided by the model's time in the same round, with its 95 %
    interval speedup_low, speedup_high; baseline (default: the first model) and threads; with `split`, accuracy
    and its 95 % Wilson interval accuracy_low, accuracy_high.

    A model that is not an nn.Module (any function of the inputs) has no size, only times and accuracy; where it has an
    attribute file_bytes (a runtime's session), that stands in the table.
    """
    if not models:
        raise ValueError("models must hold at least one model, got none")
    baseline = next(iter(models)) if baseline is None else baseline
    if baseline not in models:
        raise ValueError(f"baseline must be one of {', '.join(models)}, got {baseline!r}")
    check_at_least(6, rounds=rounds)  # fewer give no 95 % interval of a median

    seconds = paired_times(
        list(models.values()), example_inputs, rounds=rounds, threads=threads, seed=seed, clock=clock
    )
    base = seconds[:, list(models).index(baseline)]
    rows = []
    for (name, model), times in zip(models.items(), seconds.T, strict=True):
        row = {"model": name, **_sizes(model, example_inputs)}
        t = _latency(times, threads)
        row |= {"latency_ms": t.median_ms, "latency_low_ms": t.low_ms, "latency_high_ms": t.high_ms}
        row |= zip(("speedup", "speedup_low", "speedup_high"), median_interval(base / times), strict=True)
        row |= {"baseline": baseline, "threads": threads}
        if split is not None:
            right = accuracy(model, split)
            row |= {"accuracy": right.accuracy, "accuracy_low": right.low, "accuracy_high": right.high}
        rows.append(row)
    return pd.DataFrame(rows).astype(dict.fromkeys(SIZES, "Int64")).set_index("model")


def pareto(*costs) -> np.ndarray:
    """Which points no other beats, i.e. has every one of the `costs`, each (n,), as low and one lower: bool, (n,).

    >>> pareto([1, 2, 2], [5, 3, 4]).tolist()
    [True, True, False]
    """
    points = np.stack(costs, axis=1).astype(float)
    return np.array([not ((points <= p).all(1) & (points < p).any(1)).any() for p in points], bool)


def _sizes(model: Callable, example_inputs: torch.Tensor | tuple) -> dict[str, int | None]:
    if not isinstance(model, nn.Module):
        return dict.fromkeys(SIZES) | {"file_bytes": getattr(model, "file_bytes", None)}
    return {
        "parameters": count_parameters(model),
        "nonzeros": count_nonzeros(model),
        "macs": count_macs(model, example_inputs),
        "file_bytes": file_bytes(model),
        "gzip_bytes": file_bytes(model, compressed=True),
    }


# ------------------------------------------------------------------------------------------- helpers


@contextmanager
def evaluating(model: Callable, without_grad=torch.inference_mode) -> Iterator[None]:
    """Eval mode without gradients inside the block; afterwards each module is in the mode it was in."""
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    modes = [module.training for module in modules]
    try:
        for module in modules:
            module.training = False
        with without_grad():
            yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def inputs_of(example_inputs: torch.Tensor | tuple) -> tuple:
    """The arguments of a call, as a tuple; ValueError for what is no tensor on the CPU."""
    inputs = example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)
    for value in inputs:
        if not isinstance(value, torch.Tensor) or value.device.type != "cpu":
            got = value.device if isinstance(value, torch.Tensor) else type(value).__name__
            raise ValueError(f"example_inputs must be a tensor on the CPU or a tuple of them, got {got}")
    return inputs


def check_at_least(least: int, **numbers: int) -> None:
    """ValueError for the first of `numbers` that is no whole number or is below `least`."""
    for name, value in numbers.items():
        if not isinstance(value, Integral):
            raise ValueError(f"{name} must be a whole number, got {value!r}")
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
