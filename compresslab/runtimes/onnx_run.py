"""An ONNX file as a plain function of tensors, and the operators that really ran in it."""

import json
import re
import tempfile
from pathlib import Path

import pandas as pd
import torch

from ..packages import package

CONVERSIONS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")  # between float and codes, no arithmetic


class OnnxSession:
    """An ONNX file in ONNX Runtime, on the CPU: called with tensors, it answers with a tensor.

    It stands wherever a model does in `measure.compare`, `measure.accuracy`, `measure.paired_times`. `file`: what
    `export_onnx` or `static_int8` gave. `threads` are the runtime's own, apart from torch's; they sleep when idle.
    ValueError, in one sentence, if the runtime cannot take the file or lacks an operator.
    """

    def __init__(self, file: bytes, threads: int = 1):
        if threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads}")
        self.file, self.threads = file, threads
        self.file_bytes = len(file)
        self._session = self._start()
        self._names = [value.name for value in self._session.get_inputs()]

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self._run(self._session, inputs)[0])

    def operators(self, *inputs: torch.Tensor) -> pd.DataFrame:
        """What ran for these inputs, from the runtime's own profile: one row a kernel, in the order of the run.

        Columns: node (named after the module, where the runtime left that name), operator, kind, input and output (type
        of the first), microseconds (of one run, a hint only). kind: "int8" (reads 8-bit codes: QLinearConv, QGemm,
        but also Reshape), "float", "conversion" (between the two), "other". An int8 file whose convolutions the
        runtime did not fuse shows them as float, between conversions.
        """
        with tempfile.TemporaryDirectory() as folder:
            session = self._start(profile=str(Path(folder, "profile")))
            for _ in range(2):  # the second run is warm
                self._run(session, inputs)
            events = json.loads(Path(session.end_profiling()).read_text())
        kernels = [event for event in events if event["name"].endswith("_kernel_time")]
        return pd.DataFrame(
            [_row(event) for event in kernels[len(kernels) // 2 :]],
            columns=["node", "operator", "kind", "input", "output", "microseconds"],
        )

    def _run(self, session, inputs) -> list:
        if len(inputs) != len(self._names) or not all(isinstance(value, torch.Tensor) for value in inputs):
            got = f"{len(inputs)} ({', '.join(type(value).__name__ for value in inputs)})"
            raise ValueError(f"inputs must be {len(self._names)} tensors ({', '.join(self._names)}), got {got}")
        try:
            return session.run(None, {name: value.detach().numpy() for name, value in zip(self._names, inputs)})
        except Exception as error:
            raise ValueError(f"inputs cannot be taken by the file: {reason(error)}") from error

    def _start(self, profile: str | None = None):
        runtime = package("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.enable_cpu_mem_arena = False  # else a session keeps what its largest batch took, hardly faster
        options.log_severity_level = 3  # errors only
        # Else bytes 5 to 8 decide: an ONNX file with "ORTM" there would be read as another format than was checked.
        options.add_session_config_entry("session.load_model_format", "ONNX")
        if profile is not None:
            options.enable_profiling, options.profile_file_prefix = True, profile
        try:
            return runtime.InferenceSession(self.file, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ValueError(f"file cannot be run by ONNX Runtime {runtime.__version__}: {reason(error)}") from error


def _row(event: dict) -> dict:
    types = [list(kind)[0] for kind in event["args"]["input_type_shape"]]
    operator = event["args"]["op_name"]
    return {
        "node": re.sub(r"(_token_\d+)?_kernel_time$", "", event["name"]),
        "operator": operator,
        "kind": _kind(operator, types),
        "input": next(iter(types), ""),
        "output": next((list(kind)[0] for kind in event["args"]["output_type_shape"]), ""),
        "microseconds": event["dur"],
    }


def _kind(operator: str, types: list[str]) -> str:
    if operator in CONVERSIONS:
        return "conversion"
    if {"int8", "uint8"} & set(types):
        return "int8"
    return "float" if "float" in types else "other"


def reason(error: BaseException) -> str:
    """What ONNX Runtime says, in one line, without its codes and its advice."""
    return " ".join(str(error).split(" : ", 3)[-1].split("Please fix")[0].split())
