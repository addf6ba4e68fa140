"""From a torch model to a LiteRT file (float32, float16 or int8), and such a file as a plain function of tensors."""

import contextlib
import copy
import os
import re
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from ..packages import package, quiet
from . import litert_converter
from .onnx_int8 import check_calibration

PRECISIONS = ("float32", "float16", "dynamic_int8", "int8")
CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")  # between float and codes, or between two floats; no arithmetic
PRODUCTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "BATCH_MATMUL")  # their second input is a weight


def missing() -> str:
    """The sentence that says what LiteRT lacks here, and how to get it; "" where it can convert and run."""
    try:
        litert_converter.python()
        package("ai_edge_litert.interpreter")
    except ModuleNotFoundError as error:
        return str(error)
    return ""


def litert_file(
    model: nn.Module,
    example_inputs: torch.Tensor | tuple,
    precision: str = "float32",
    calibration: torch.Tensor | tuple | None = None,
) -> bytes:
    """LiteRT file (.tflite) of `model` in eval mode, as bytes, weights inside; 5 to 20 seconds.

    `example_inputs`: one batch (n, ...), or a tuple of them. Unlike an ONNX file the result computes batches of exactly
    n examples: LiteRT's converter writes n into every reshape. int64 inputs (tokens) become int32. For `precision` and
    `calibration` see `litert_quantized`, which makes several precisions from one float32 file.

    The model is left as it is. ValueError, in one sentence, if torch cannot export the model or the converter lacks a
    step; ModuleNotFoundError with the command where the converter is missing (`litert_converter` says why it lives
    apart).
    """
    _check_precision(precision)
    inputs = example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)
    if precision == "int8":
        _check_calibration(calibration, [tuple(x.shape) for x in inputs])
    litert_converter.python()  # missing? then say so before the work
    model = copy.deepcopy(model).eval()
    with tempfile.TemporaryDirectory() as folder:
        try:
            with quiet(), torch.no_grad():
                torch.export.save(torch.export.export(model, inputs), Path(folder, "model.pt2"))
        except Exception as error:
            reason = str(error).strip().split("\n")[0]
            raise ValueError(f"model cannot be exported to LiteRT: {reason}") from error
        file = litert_converter.run(Path(folder), "float32")
    return file if precision == "float32" else litert_quantized(file, precision, calibration)


def litert_quantized(file: bytes, precision: str, calibration: torch.Tensor | tuple | None = None) -> bytes:
    """Copy of a float32 LiteRT file at lower precision, by Google's ai-edge-quantizer; seconds.

    float16: weights stored in half the bytes and computed in float32, so no faster.
    dynamic_int8: int8 weights, symmetric, one scale a channel; each input row is scaled to int8 anew at every call.
    int8: the same weights, and int8 activations, asymmetric, from the lowest to the highest value seen over
    `calibration` (m, ...), a tuple where there are several inputs. Biases are int32. The file still takes and gives
    float32.

    ValueError for int8 if `calibration` is missing, empty, holds NaN or infinity, or has another shape than the inputs.
    """
    _check_precision(precision)
    if precision == "float32":
        return file
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if precision == "int8":
            shapes = LiteRTSession(file).shapes
            np.savez(folder / "calibration.npz", **_batches(_check_calibration(calibration, shapes), shapes))
        (folder / "float.tflite").write_bytes(file)
        return litert_converter.run(folder, precision)


class LiteRTSession:
    """A LiteRT file in LiteRT's interpreter, on the CPU: called with tensors, it answers with a tensor.

    It stands wherever a model does in `measure.compare`, `measure.accuracy`, `measure.paired_times`. `file`: what
    `litert_file` gave. A file computes batches of `batch_size` examples; other numbers are cut into such batches, the
    last one filled up with zeros, which takes as long as a full one: for speed make a file for the size you need.
    `threads` are the runtime's own. ValueError, in one sentence, if the runtime cannot take the file.
    """

    def __init__(self, file: bytes, threads: int = 1):
        if threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads}")
        self.file, self.threads = file, threads
        self.file_bytes = len(file)
        self._interpreter = _start(file, threads)
        inputs = self._interpreter.get_input_details()
        self._inputs = sorted(inputs, key=lambda entry: int((re.findall(r"args_(\d+)", entry["name"]) or [0])[0]))
        self._output = self._interpreter.get_output_details()[0]["index"]
        self.shapes = [tuple(map(int, entry["shape"])) for entry in self._inputs]
        self.batch_size = self.shapes[0][0] if self.shapes[0] else 1

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        self._check(inputs)
        values = [x.detach().numpy().astype(entry["dtype"], copy=False) for x, entry in zip(inputs, self._inputs)]
        n, size = len(values[0]), self.batch_size
        if n == size:
            return torch.from_numpy(self._run(values))
        parts = [self._run([_filled(x[i : i + size], size) for x in values]) for i in range(0, max(n, 1), size)]
        return torch.from_numpy(np.concatenate(parts)[:n])

    def operators(self) -> pd.DataFrame:
        """The steps as the interpreter holds them, ready to run: one row a step, in the order of the run.

        Columns: node (the module, where the converter kept its name), operator, kind, input, weight and output (types),
        kernel: "XNNPACK" (the fast kernels, which take over what they know) or "LiteRT" (plain ones). kind: "int8"
        (codes times codes; where input and output are float32 each row of the input is turned to codes on the fly),
        "float", "conversion" (between float and codes, or float16 and float32), "other".
        """
        types = {entry["index"]: entry["dtype"].__name__ for entry in self._interpreter.get_tensor_details()}
        names = {entry["index"]: entry["name"] for entry in self._interpreter.get_tensor_details()}
        steps = self._interpreter._get_ops_details()  # the only view of what the delegate took; public in TensorFlow
        fast = _delegated(steps)
        rows = [_row(step, types, names, fast) for step in steps if step["op_name"] != "DELEGATE"]
        return pd.DataFrame(rows, columns=["node", "operator", "kind", "input", "weight", "output", "kernel"])

    def _run(self, values: list[np.ndarray]) -> np.ndarray:
        for entry, value in zip(self._inputs, values):
            self._interpreter.set_tensor(entry["index"], value)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output)

    def _check(self, inputs) -> None:
        if len(inputs) != len(self.shapes):
            raise ValueError(f"inputs must be {len(self.shapes)} tensors, got {len(inputs)}")
        for x, shape in zip(inputs, self.shapes):
            if x.shape[1:] != shape[1:]:
                raise ValueError(f"inputs must have shape {_spelt(shape)}, got {tuple(x.shape)}")


def _start(file: bytes, threads: int):
    interpreter = package("ai_edge_litert.interpreter")
    try:
        with quiet(), _mute():
            session = interpreter.Interpreter(model_content=file, num_threads=threads)
            session.allocate_tensors()
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"file cannot be run by LiteRT: {reason}") from error
    return session


@contextlib.contextmanager
def _mute():
    """Nothing from C++ on the process's standard error inside the block."""
    before = os.dup(2)
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def _filled(x: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([x, np.zeros((size - len(x), *x.shape[1:]), x.dtype)])


def _delegated(steps: list[dict]) -> set[int]:
    """Indices of the steps that XNNPACK took over: those between a delegate's inputs and its outputs."""
    makers = {t: step for step in steps if step["op_name"] != "DELEGATE" for t in step["outputs"]}
    found = set()
    for delegate in [step for step in steps if step["op_name"] == "DELEGATE"]:
        given, todo = set(delegate["inputs"]), list(delegate["outputs"])
        while todo:
            step = makers.get(todo.pop())
            if step and step["index"] not in found:
                found.add(step["index"])
                todo += [t for t in step["inputs"] if t not in given]
    return found


def _row(step: dict, types: dict, names: dict, fast: set) -> dict:
    inputs = [t for t in step["inputs"] if t in types]
    kinds = [types[t] for t in inputs]
    return {
        "node": _module(names[step["outputs"][0]]) or next(filter(None, (_module(names[t]) for t in inputs[1:])), ""),
        "operator": step["op_name"],
        "kind": _kind(step["op_name"], kinds),
        "input": next(iter(kinds), ""),
        "weight": kinds[1] if step["op_name"] in PRODUCTS else "",
        "output": types[step["outputs"][0]],
        "kernel": "XNNPACK" if step["index"] in fast else "LiteRT",
    }


def _kind(operator: str, types: list[str]) -> str:
    if operator in CONVERSIONS:
        return "conversion"
    if "int8" in types:
        return "int8"
    return "float" if "float32" in types else "other"


def _module(name: str) -> str:
    """`blocks.0.mlp` of LiteRT's "a.Model/b.Sequential_blocks/c.Block_0/d.Sequential_mlp;2"."""
    classes = [part.split(".")[-1] for part in name.split(";")[0].split("/")[1:]]
    return ".".join(part.split("_", 1)[1] for part in classes if "_" in part)


def _batches(calibration: tuple, shapes: list[tuple]) -> dict[str, np.ndarray]:
    """{input: (batches, n, ...)}; examples from the start fill up the last batch."""
    size = shapes[0][0]
    count = -(-len(calibration[0]) // size)
    chosen = torch.arange(count * size) % len(calibration[0])
    arrays = [x.detach()[chosen].unflatten(0, (count, size)).numpy() for x in calibration]
    return {f"args_{i}": x.astype(np.int32) if x.dtype == np.int64 else x for i, x in enumerate(arrays)}


def _check_precision(precision: str) -> None:
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")


def _check_calibration(calibration, shapes: list[tuple]) -> tuple:
    if calibration is None:
        raise ValueError("precision int8 needs calibration, a few hundred training examples; dynamic_int8 needs none")
    given = calibration if isinstance(calibration, tuple) else (calibration,)
    for x in given:
        check_calibration(x)
    if len({len(x) for x in given}) > 1:
        raise ValueError(f"calibration must hold as many examples for each input, got {[len(x) for x in given]}")
    if [x.shape[1:] for x in given] != [shape[1:] for shape in shapes]:
        wanted, got = (", ".join(map(_spelt, several)) for several in (shapes, [tuple(x.shape) for x in given]))
        raise ValueError(f"calibration must have the inputs' shape {wanted}, got {got}")
    return given


def _spelt(shape: tuple) -> str:
    return f"({', '.join(['n', *map(str, shape[1:])])})"
