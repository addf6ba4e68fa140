"""The file computes what the model computes, its integers are integers, and every refusal is one sentence."""

import copy
import importlib.util
import sys

import numpy as np
import pytest
import torch
from runtimes.networks import images, lively
from torch import nn

from compresslab import measure, models
from compresslab.runtimes import litert, litert_converter
from compresslab.runtimes.litert import PRECISIONS, LiteRTSession, litert_file, litert_quantized, missing

pytestmark = [
    pytest.mark.needs("LiteRT's converter"),
    pytest.mark.xdist_group("litert"),  # the files below are made once
    pytest.mark.timeout(600),  # each conversion starts a process that imports torch and jax
]
BATCH = 4
MODELS = {"lenet5": (models.lenet5, 28), "resnet20": (models.resnet20, 8), "transformer": (models.tiny_transformer, 8)}


@pytest.fixture(scope="module", params=MODELS)
def network(request):
    """(model, examples, {precision: session}) of each architecture."""
    build, size = MODELS[request.param]
    x = images(64, size)
    model = lively(build(seed=0), x)
    file = litert_file(model, x[:BATCH])
    return model, x, {name: LiteRTSession(litert_quantized(file, name, x)) for name in PRECISIONS}


@pytest.fixture(scope="module")
def linear():
    """(model, examples, {precision: session}) of one linear layer: small enough to compute by hand."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, generator=generator)
    x = images(BATCH, 8)
    file = litert_file(model, x)
    return model, x, {name: LiteRTSession(litert_quantized(file, name, images(50, 8, seed=1))) for name in PRECISIONS}


# ------------------------------------------------------------------------------------------ what is computed


@torch.no_grad()
def test_float32_computes_the_same_for_any_number_of_examples(network):
    model, x, sessions = network
    for n in (1, BATCH, BATCH + 3):
        # as for ONNX: at most 800 float32 products summed in another order, some 800 * 2**-24 = 5e-5 of the scores
        torch.testing.assert_close(sessions["float32"](x[:n]), model(x[:n]), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_float16_is_the_model_with_rounded_weights_in_half_the_bytes(network):
    model, x, sessions = network
    rounded = copy.deepcopy(model)
    weights = [module.weight for module in rounded.modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
    saved = 2 * sum(weight.numel() for weight in weights)
    # of the float32 file; what the tensors' names and the steps that read them add is some 400 bytes a weight
    before, after = sessions["float32"].file_bytes, sessions["float16"].file_bytes
    assert abs(before - after - saved) < 500 * len(weights)
    # a normalisation's gain is folded into the next or the last weight before that is rounded
    if not any(isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)) for module in model.modules()):
        for weight in weights:
            weight.copy_(weight.half().float())
        torch.testing.assert_close(sessions["float16"](x), rounded(x), rtol=1e-4, atol=1e-4)
    # a rounding to 11 bits is off by 2**-12 of the value on average; some twenty layers, as independent noises
    scores = model(x)
    assert 0 < (sessions["float16"](x) - scores).abs().max() < 20**0.5 * 2**-11 * (scores.max() - scores.min())


@torch.no_grad()
def test_int8_is_near_float(network):
    model, x, sessions = network
    scores = model(x)
    for name in ("dynamic_int8", "int8"):
        # 8 bits: 2**-8 of the range a rounding, of activations and weights; a transformer has 60 of them in a row
        bound = 60**0.5 * 2**-7 * (scores.max() - scores.min())
        assert 1e-5 < (sessions[name](x) - scores).abs().max() < bound, name


@torch.no_grad()
def test_dynamic_int8_multiplies_codes_of_every_row(linear):
    """Each row of the input asymmetric on its own extremes, weights symmetric a channel; then exact integers."""
    model, x, sessions = linear
    codes, scale_w = weight_codes(model[1].weight)
    rows = x.flatten(1)
    low, high = rows.amin(1, keepdim=True).clamp(max=0), rows.amax(1, keepdim=True).clamp(min=0)
    scale = (high - low) / 255
    zero = torch.round(-128 - low / scale)
    codes_x = torch.round(rows / scale + zero).clamp(-128, 127)
    expected = ((codes_x - zero) @ codes.T) * scale * scale_w + model[1].bias
    scores = sessions["dynamic_int8"](x)
    torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-5)  # one float32 product after an exact sum
    float_input = rows @ (codes * scale_w[:, None]).T + model[1].bias
    assert (scores - float_input).abs().max() > 0.01  # so the input was rounded too


@torch.no_grad()
def test_static_int8_multiplies_codes_on_the_scales_in_the_file(linear):
    model, x, sessions = linear
    session = sessions["int8"]
    tensors = {entry["index"]: entry["quantization_parameters"] for entry in session._interpreter.get_tensor_details()}
    step = next(step for step in session._interpreter._get_ops_details() if step["op_name"] == "FULLY_CONNECTED")
    (scale_x, zero_x), (scales_w, zeros_w), (scale_y, zero_y) = [
        (torch.tensor(tensors[t]["scales"]), torch.tensor(tensors[t]["zero_points"]))
        for t in (step["inputs"][0], step["inputs"][1], step["outputs"][0])
    ]
    codes, scale_w = weight_codes(model[1].weight)
    torch.testing.assert_close(scales_w, scale_w, rtol=1e-6, atol=0)  # one a channel, symmetric
    assert len(scales_w) == 10 and not zeros_w.any()
    codes_x = torch.round(x.flatten(1) / scale_x + zero_x).clamp(-128, 127)
    sums = (codes_x - zero_x) @ codes.T + torch.round(model[1].bias / (scale_x * scale_w))
    expected = torch.round(sums * scale_x * scale_w / scale_y + zero_y).clamp(-128, 127)
    got = session(x) / scale_y + zero_y
    # a sum that lies at a half may round to the neighbouring code
    assert (got - expected).abs().max() < 1.01 and ((got - expected).abs() > 0.5).sum() <= 1


def weight_codes(weight):
    scale = weight.abs().amax(1) / 127
    return torch.round(weight / scale[:, None]), scale


# ------------------------------------------------------------------------------------------ what ran


def test_the_types_prove_the_precision(network):
    _, _, sessions = network
    tables = {name: session.operators() for name, session in sessions.items()}
    columns = ["node", "operator", "kind", "input", "weight", "output", "kernel"]
    assert all(list(table.columns) == columns for table in tables.values())
    layers = {name: table[table.operator.isin(["CONV_2D", "FULLY_CONNECTED"])] for name, table in tables.items()}
    assert len({len(table) for table in layers.values()}) == 1
    for name, types in {
        "float32": ("float", "float32", "float32", "float32"),
        "float16": ("float", "float32", "float32", "float32"),
        "dynamic_int8": ("int8", "float32", "int8", "float32"),
        "int8": ("int8", "int8", "int8", "int8"),
    }.items():
        found = layers[name][["kind", "input", "weight", "output", "kernel"]].drop_duplicates()
        assert found.values.tolist() == [[*types, "XNNPACK"]], name
    assert set(tables["float32"].kind) <= {"float", "other"}
    stored = tables["float16"].query("kind == 'conversion'")
    assert set(stored.input) == {"float16"} and len(stored) >= len(layers["float16"])
    assert set(tables["int8"].kind) == {"int8", "conversion"}  # nothing is computed in float
    assert (tables["int8"].kind == "conversion").sum() == 2  # one at each end


def test_steps_are_named_after_their_modules(network):
    model, _, sessions = network
    table = sessions["float32"].operators()
    layers = table[table.operator.isin(["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"])]
    assert set(layers.node) <= set(dict(model.named_modules())) - {""}


def test_sizes(network):
    _, _, sessions = network
    size = {name: session.file_bytes for name, session in sessions.items()}
    assert all(len(session.file) == session.file_bytes for session in sessions.values())
    assert size["float32"] > size["float16"] > max(size["int8"], size["dynamic_int8"])


def test_a_session_stands_in_every_measure(network):
    model, x, sessions = network
    split = x, measure.predict(model, x).argmax(1)
    assert measure.accuracy(sessions["float32"], split, batch_size=7).accuracy == 1
    table = measure.compare({"eager": model, **sessions}, x[:BATCH], split, rounds=6)
    assert table.file_bytes["int8"] == sessions["int8"].file_bytes and table.parameters.isna()["int8"]


def test_threads_change_no_score(linear):
    _, x, sessions = linear
    for session in sessions.values():
        assert torch.equal(LiteRTSession(session.file, threads=2)(x), session(x))


# ------------------------------------------------------------------------------------------ models


class Tokens(nn.Module):
    """Two inputs, one of them whole numbers, and a step that training alone takes."""

    def __init__(self):
        super().__init__()
        self.table = nn.utils.parametrizations.weight_norm(nn.Embedding(20, 8))
        self.drop = nn.Dropout()

    def forward(self, ids, gain):
        return self.drop(self.table(ids).mean(1)) - 2 * gain


def test_several_inputs_tokens_parametrizations_and_silence(capfd):
    model = Tokens().train()
    before, modes = copy.deepcopy(model.state_dict()), [module.training for module in model.modules()]
    ids, gain = torch.randint(0, 20, (3, 5)), torch.rand(3, 8)
    session = LiteRTSession(litert_file(model, (ids, gain), "int8", (ids, gain)))
    exact = LiteRTSession(litert_file(model, (ids, gain)))
    assert capfd.readouterr() == ("", "")
    assert modes == [module.training for module in model.modules()]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with torch.no_grad():
        expected = model.eval()(ids, gain)
    torch.testing.assert_close(exact(ids, gain), expected, rtol=1e-5, atol=1e-5)
    assert (session(ids, gain) - expected).abs().max() < 4 * 2**-8 * (expected.max() - expected.min())
    with pytest.raises(ValueError, match="inputs must be 2 tensors, got 1"):
        session(ids)
    with pytest.raises(ValueError, match=r"inputs must have shape \(n, 5\), got \(3, 4\)"):
        session(ids[:, 1:], gain)


# ------------------------------------------------------------------------------------------ bad input


class Branch(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class NoLowering(nn.Module):
    def forward(self, x):
        return torch.special.i0e(x)


def test_what_cannot_be_converted_is_named_in_one_sentence():
    with pytest.raises(ValueError, match="cannot be exported to LiteRT: .*data-dependent") as error:
        litert_file(Branch(), torch.rand(2, 3))
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="LiteRT's converter cannot make this model float32: .*i0e") as error:
        litert_file(NoLowering(), torch.rand(2, 3))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "calibration, sentence",
    [
        (None, "precision int8 needs calibration, a few hundred training examples; dynamic_int8 needs none"),
        (torch.zeros(0, 1, 8, 8), "calibration must hold at least one example, got none"),
        (torch.full((3, 1, 8, 8), torch.nan), "finite numbers, got NaN or infinity in 3 of 3 examples"),
        (torch.zeros(3, 8, 8), r"calibration must have the inputs' shape \(n, 1, 8, 8\), got \(n, 8, 8\)"),
        ((torch.zeros(3, 1, 8, 8),) * 2, r"shape \(n, 1, 8, 8\), got \(n, 1, 8, 8\), \(n, 1, 8, 8\)"),
        ((torch.zeros(3, 1, 8, 8), torch.zeros(2, 3)), r"as many examples for each input, got \[3, 2\]"),
    ],
)
def test_bad_calibration_is_refused(linear, monkeypatch, calibration, sentence):
    model, x, sessions = linear
    monkeypatch.setattr(litert_converter, "run", lambda *_: pytest.fail("the converter was started"))
    with pytest.raises(ValueError, match=sentence):
        litert_file(model, x, "int8", calibration)
    with pytest.raises(ValueError, match=sentence):
        litert_quantized(sessions["float32"].file, "int8", calibration)


def test_bad_precisions_threads_and_files_are_refused(linear):
    model, x, sessions = linear
    sentence = "precision must be one of float32, float16, dynamic_int8, int8, got 'int4'"
    with pytest.raises(ValueError, match=sentence):
        litert_file(model, x, "int4")
    file = sessions["float32"].file
    with pytest.raises(ValueError, match=sentence):
        litert_quantized(file, "int4")
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        LiteRTSession(file, threads=0)
    for broken in (b"no model", file[: len(file) // 2]):
        with pytest.raises(ValueError, match="file cannot be run by LiteRT: .*Flatbuffer") as error:
            LiteRTSession(broken)
        assert "\n" not in str(error.value)


class Missing:
    """An installation without LiteRT."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "ai_edge_litert":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_a_missing_runtime_or_converter_is_named_with_its_command(linear, monkeypatch, tmp_path):
    model, x, sessions = linear
    file = sessions["float32"].file
    assert missing() == ""
    for name in [name for name in sys.modules if name.split(".")[0] == "ai_edge_litert"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    with pytest.raises(ModuleNotFoundError, match="ai_edge_litert is not installed: python -m pip install"):
        LiteRTSession(file)
    assert missing() == "ai_edge_litert is not installed: python -m pip install ai_edge_litert"
    monkeypatch.setattr(litert_converter, "FOLDER", tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    sentence = "LiteRT's converter is not installed: python -m compresslab.runtimes.litert_converter"
    for attempt in (lambda: litert_file(model, x), lambda: litert_quantized(file, "float16")):
        with pytest.raises(ModuleNotFoundError, match=f"^{sentence}$"):
            attempt()
    assert missing() == sentence


def test_a_converter_that_dies_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(litert_converter, "JOB", tmp_path / "nowhere.py")
    with pytest.raises(ValueError, match="cannot make this model float32: its process ended with exit status 2$"):
        litert_file(models.mlp(), torch.zeros(2, 1, 8, 8))


def test_module_names_are_read_from_litert_s_names():
    name = "a.Model/torch.nn.Sequential_blocks/a.Block_0/torch.nn.Linear_q_proj;;a.Model/torch.nn.Linear_embed;4"
    assert litert._module(name) == "blocks.0.q_proj"
    assert litert._module("serving_default_output_0_output") == ""


def test_calibration_fills_the_last_batch_with_examples_from_the_start():
    x = torch.arange(5.0)[:, None]
    batches = litert._batches((x, x.long()), [(3, 1), (3, 1)])
    assert batches["args_0"][..., 0].tolist() == [[0, 1, 2], [3, 4, 0]]
    assert batches["args_1"].dtype == np.int32
