"""The file computes what the model computes, speaks its names, and every refusal is one sentence."""

import copy
import sys

import onnx
import pytest
import torch
from networks import NETS
from runtimes.networks import images, lively
from torch import nn
from torch.nn.utils import parametrize

from compresslab import models
from compresslab.runtimes.onnx_export import OPSET, export_onnx
from compresslab.runtimes.onnx_run import OnnxSession


def test_the_file_computes_the_same_for_any_batch():
    for name, (build, size) in NETS.items():
        model = lively(build(seed=0), images(32, size))
        session = OnnxSession(export_onnx(model, images(1, size)))  # a batch of one must not become the only batch
        for n in (1, 2, 7):
            x = images(n, size, seed=n)
            with torch.no_grad():
                expected = model(x)
            # both sum at most 800 float32 products, in different orders: some 800 * 2**-24 = 5e-5 of the scores
            torch.testing.assert_close(session(x), expected, rtol=1e-4, atol=1e-4, msg=f"{name}, {n} images")


def test_opset_names_and_weights_inside():
    proto = onnx.load_from_string(export_onnx(models.resnet20(seed=0), images(2, 8)))
    onnx.checker.check_model(proto)
    assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", OPSET)]
    assert [value.name for value in proto.graph.input] == ["x"]
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert [value.name for value in proto.graph.output] == ["14"]
    assert not any(value.external_data for value in proto.graph.initializer)
    made = {name for node in proto.graph.node for name in node.output}
    assert {"1", "2", "3.body.1", "3.body.2", "3.body.4", "3.relu", "6.shortcut.1", "12", "13"} <= made
    assert "3" not in made  # the sum inside block 3 is not what block 3 returns


def test_a_matrix_that_onnx_stores_transposed_keeps_its_name():
    model = models.tiny_transformer(seed=0)
    proto = onnx.load_from_string(export_onnx(model, images(2, 8)))
    weights = {value.name: value for value in proto.graph.initializer}
    stored = onnx.numpy_helper.to_array(weights["blocks.1.mlp.0.weight"])
    assert torch.equal(torch.tensor(stored).T, model.blocks[1].mlp[0].weight)


def test_every_named_tensor_is_what_that_module_returns():
    model = lively(models.resnet20(seed=0), images(32, 8))
    proto = onnx.load_from_string(export_onnx(model, images(2, 8)))
    modules = dict(model.named_modules())
    named = [name for node in proto.graph.node for name in node.output if name in modules and name != "14"]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in named)
    seen = {}
    for name in named:
        modules[name].register_forward_hook(lambda _, __, y, name=name: seen.update({name: y}))
    x = images(3, 8)
    with torch.no_grad():
        model(x)
    import onnxruntime

    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    for name, value in zip(named, session.run(named, {"x": x.numpy()})):
        torch.testing.assert_close(torch.tensor(value), seen[name], rtol=1e-4, atol=1e-4, msg=name)
    assert len(named) >= 40


def test_the_file_holds_weights_and_little_else_and_no_path_of_this_machine():
    model = models.resnet20(seed=0)
    file = export_onnx(model, images(2, 8))
    assert b"compresslab" not in file and len(file) < 1.02 * 4 * sum(p.numel() for p in model.parameters())


def test_exporting_is_quiet_and_leaves_the_model_alone(capfd):
    model = lively(models.resnet20(seed=0), images(32, 8)).train()
    model[0].eval()
    before, modes = copy.deepcopy(model.state_dict()), [module.training for module in model.modules()]
    export_onnx(model, images(2, 8))
    assert capfd.readouterr() == ("", "")
    assert modes == [module.training for module in model.modules()]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class Halved(nn.Module):
    def forward(self, weight):
        return weight * 0.5


def test_a_parametrized_weight_is_exported_as_the_forward_pass_sees_it():
    model = models.mlp(seed=0)
    parametrize.register_parametrization(model[1], "weight", Halved())
    x = images(5, 8)
    with torch.no_grad():
        torch.testing.assert_close(OnnxSession(export_onnx(model, x))(x), model(x), rtol=1e-5, atol=1e-6)


class Two(nn.Module):
    def forward(self, a, b):
        return a - 2 * b


def test_several_inputs():
    a, b = torch.rand(4, 3), torch.rand(4, 3)
    session = OnnxSession(export_onnx(Two(), (a, b)))
    torch.testing.assert_close(session(a, b), a - 2 * b)
    with pytest.raises(ValueError, match="inputs must be 2 tensors .x0, x1., got 1"):
        session(a)


class NoOperator(nn.Module):
    def forward(self, x):
        return torch.special.i0e(x)


class Branch(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class FixedBatch(nn.Module):
    def forward(self, x):
        return x.reshape(len(x), -1)


@pytest.mark.parametrize("n", [1, 2])
def test_a_model_that_keeps_to_one_batch_size_is_refused(n):
    with pytest.raises(ValueError, match=f"any number of examples, it keeps to {n}: x.shape.0. instead of len"):
        export_onnx(FixedBatch(), images(n, 8))


def test_what_cannot_be_exported_is_named_in_one_sentence_and_quietly(capfd):
    with pytest.raises(ValueError, match="cannot be exported to ONNX: .*No ONNX function found.*bessel_i0e") as error:
        export_onnx(NoOperator(), torch.rand(2, 3))
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="cannot be exported to ONNX: .*data-dependent") as error:
        export_onnx(Branch(), torch.rand(2, 3))
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("missing", ["onnxscript", "onnxruntime"])
def test_a_missing_package_is_named_with_its_command(missing, monkeypatch):
    file = export_onnx(models.mlp(), images(2, 8))
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ModuleNotFoundError, match=f"^{missing} is not installed: python -m pip install {missing}$"):
        export_onnx(models.mlp(), images(2, 8)) if missing == "onnxscript" else OnnxSession(file)


class NamedLikeFunctions(nn.Module):
    """The exporter names results after functions, here as two modules are named."""

    def __init__(self):
        super().__init__()
        self.add, self.relu_1 = nn.Linear(3, 3), nn.ReLU()

    def forward(self, x):
        return torch.relu(self.add(x + 1) - self.relu_1(x))


class TwoMatrices(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Parameter(torch.rand(3, 3)), nn.Parameter(torch.rand(3, 3) - 0.5)

    def forward(self, x):
        return nn.functional.linear((x @ self.first).tanh(), self.second)


@pytest.mark.parametrize("x", [torch.rand(4, 3), torch.rand(4, 5, 3)])
@pytest.mark.parametrize("make", [NamedLikeFunctions, TwoMatrices])
def test_names_that_meet(make, x):
    model = nn.Sequential(make(), make()) if make is TwoMatrices else make()
    session = OnnxSession(export_onnx(model, x))
    for batch in (x, x[:1]):
        torch.testing.assert_close(session(batch), model(batch).detach())
