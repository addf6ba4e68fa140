"""A session stands where a model does, and tells which kernels ran."""

import os
import subprocess
import sys

import onnx
import pytest
import torch

from compresslab import measure, models
from compresslab.runtimes.onnx_export import export_onnx
from compresslab.runtimes.onnx_run import OnnxSession


@pytest.fixture(scope="module")
def lenet5():
    model = models.lenet5(seed=0)
    return model, export_onnx(model, torch.zeros(2, 1, 28, 28))


def test_a_session_stands_in_every_measure(lenet5):
    model, file = lenet5
    session, x = OnnxSession(file), torch.rand(40, 1, 28, 28)
    split = x, measure.predict(model, x).argmax(1)
    assert measure.accuracy(session, split, batch_size=16).accuracy == 1  # the last batch is smaller
    assert measure.paired_times([model, session], x[:1], rounds=2).shape == (2, 2)
    table = measure.compare({"eager": model, "onnx": session}, x[:1], split, rounds=6)
    assert table.file_bytes["onnx"] == session.file_bytes == len(file)
    assert table.parameters.isna()["onnx"] and table.accuracy["onnx"] == 1


HELD = """
import os
from pathlib import Path

import torch

from compresslab.runtimes.onnx_export import export_onnx
from compresslab.runtimes.onnx_run import OnnxSession


class Wide(torch.nn.Module):
    def forward(self, x):  # in between, five million floats an example: 20 MB
        return x.expand(-1, 5_000_000).relu().sum(1, keepdim=True)


def held_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


file, x = export_onnx(Wide(), torch.ones(2, 1)), torch.ones(1, 1)
sessions = [OnnxSession(file) for _ in range(8)]
before = held_mb()
assert all(session(x).item() == 5e6 for session in sessions)
print(held_mb() - before)
"""


@pytest.mark.needs("linux")
def test_sessions_that_ran_hold_no_memory_of_their_batches():
    """Eight that kept what lies between input and output would hold 160 MB; one run takes 20."""
    env = os.environ | {"MALLOC_MMAP_THRESHOLD_": "1000000"}  # else the C library, too, keeps some of what is freed
    run = subprocess.run([sys.executable, "-c", HELD], env=env, capture_output=True, text=True, check=True)
    assert float(run.stdout.split()[-1]) < 20


def test_operators_of_a_float_file_are_float(lenet5):
    table = OnnxSession(lenet5[1]).operators(torch.rand(2, 1, 28, 28))
    assert list(table.columns) == ["node", "operator", "kind", "input", "output", "microseconds"]
    assert set(table.kind) == {"float"}
    assert (table.operator == "Conv").sum() == 2 and table.operator.str.endswith("Gemm").sum() == 2


def test_operators_leave_no_file_behind(lenet5, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    OnnxSession(lenet5[1]).operators(torch.rand(1, 1, 28, 28))
    assert list(tmp_path.iterdir()) == []


def test_what_the_runtime_cannot_take_is_one_sentence():
    node = onnx.helper.make_node("Quaternion", ["x"], ["y"])
    kind = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node], "g", [kind("x", onnx.TensorProto.FLOAT, [1])], [kind("y", onnx.TensorProto.FLOAT, [1])]
    )
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    with pytest.raises(ValueError, match="file cannot be run by ONNX Runtime .*Quaternion") as error:
        OnnxSession(proto.SerializeToString())
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="file cannot be run by ONNX Runtime"):
        OnnxSession(b"no model")
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        OnnxSession(b"no model", threads=0)


@pytest.mark.parametrize(
    "inputs, sentence",
    [
        (
            (torch.rand(2, 1, 5, 5),),
            "inputs cannot be taken by the file: Got invalid dimensions .* Got: 5 Expected: 28",
        ),
        ((torch.rand(2, 28),), "inputs cannot be taken by the file: Invalid rank for input: x Got: 2 Expected: 4$"),
        ((torch.rand(2, 1, 28, 28).double(),), r"inputs cannot be taken by the file: .*Actual: \(tensor\(double\)\)"),
        ((None,), "inputs must be 1 tensors .x., got 1 .NoneType."),
    ],
)
def test_inputs_that_do_not_fit_get_a_sentence(lenet5, inputs, sentence):
    session = OnnxSession(lenet5[1])
    for call in (session, session.operators):
        with pytest.raises(ValueError, match=sentence) as error:
            call(*inputs)
        assert "\n" not in str(error.value)
