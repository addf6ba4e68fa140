"""The rungs of the ladder, and torch's own int8 beside ONNX Runtime's."""

import copy
import shutil
import sys

import pytest
import torch

from compresslab import measure, models
from compresslab.runtimes import torch_compiled
from compresslab.runtimes.ladder import ladder, rungs
from compresslab.runtimes.torch_compiled import compiled, pt2e_int8


def images(n, size=8, seed=0):
    return torch.randn(n, 1, size, size, generator=torch.Generator().manual_seed(seed))


def test_every_rung_answers_alike():
    model, x = models.resnet20(width=8, seed=0).eval(), images(40)
    models_ = rungs(model, x, dynamic=True)
    assert list(models_) == ["eager", "channels-last", "onnx float", "onnx dynamic int8", "onnx int8"]
    with torch.no_grad():
        expected = model(x)
        for name, rung in models_.items():
            # 8 bits: 2**-8 of the range a rounding, some twenty of them after another, as independent noises
            bound = 1e-5 if name in ("eager", "channels-last", "onnx float") else 20**0.5 * 2**-7
            assert (rung(x) - expected).abs().max() <= bound * (expected.max() - expected.min()), name
    assert next(model.parameters()).is_contiguous()  # the model itself keeps its layout
    assert "channels-last" not in rungs(models.mlp(seed=0), x)


def test_the_ladder_is_a_table_with_float_in_the_same_runtime_as_its_baseline():
    x = images(20)
    table = ladder(models.mlp(seed=0), x[:4], x, (x, torch.zeros(20, dtype=torch.long)), rounds=6)
    assert list(table.index) == ["eager", "onnx float", "onnx int8"]
    assert set(table.baseline) == {"onnx float"} and table.speedup["onnx float"] == 1
    assert table.file_bytes["onnx int8"] < table.file_bytes["onnx float"] and table.accuracy.notna().all()
    assert set(ladder(models.mlp(seed=0), x[:4], x, baseline="eager", rounds=6).baseline) == {"eager"}


def test_pt2e_is_near_float_and_leaves_the_model_alone():
    model, x = models.lenet5(seed=0).train(), images(60, 28)
    before = copy.deepcopy(model.state_dict())
    int8 = pt2e_int8(model, x)
    assert model.training and all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    scores = measure.predict(model, x)
    difference = (measure.predict(int8, x, batch_size=7) - scores).abs().max()
    assert 0 < difference < 0.05 * (scores.max() - scores.min())
    with pytest.raises(ValueError, match="calibration must hold at least one example"):
        pt2e_int8(model, x[:0])
    with pytest.raises(ValueError, match="finite numbers, got NaN or infinity in 1 of 60"):
        pt2e_int8(model, torch.cat([x[1:], x[:1] / 0]))
    with pytest.raises(ValueError, match="model cannot be exported with this calibration set: "):
        pt2e_int8(model, images(4, 5))
    assert pt2e_int8(model, x[:1])(x).shape == (60, 10)


@pytest.mark.needs("C++ compiler")
def test_compiled_pt2e_computes_its_model():
    x = images(60, 28)
    int8 = pt2e_int8(models.lenet5(seed=0), x)
    fast = compiled(int8)
    for batch in (x[:5], x[:2], x[:5] + 0.1):
        simulated = measure.predict(int8, batch)
        # a sum that lies at a half may round to the neighbouring code: a few codes of the scores' 8 bits
        assert (fast(batch) - simulated).abs().max() <= 4 / 255 * (simulated.max() - simulated.min()).clamp(min=0.1)


class Missing:
    """An installation without torchao."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torchao":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_without_a_compiler_or_torchao_a_sentence_says_what_to_do(monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert not torch_compiled.has_compiler()
    with pytest.raises(RuntimeError, match="needs a C.. compiler, found none: install g"):
        compiled(models.mlp())
    for name in [name for name in sys.modules if name.split(".")[0] == "torchao"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    with pytest.raises(ModuleNotFoundError, match="torchao is not installed: python -m pip install torchao"):
        pt2e_int8(models.mlp(), images(4))
