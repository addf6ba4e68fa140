"""What was saved comes back bit for bit, in another process too; what was damaged is refused, and nothing changes."""

import copy
import hashlib
import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load as read_tensors
from safetensors.torch import save as write_tensors
from torch import nn
from torch.nn.utils import parametrize

from compresslab import measure, models, storage
from compresslab.pruning import masks, shrink, structures

ROOT = Path(__file__).resolve().parents[1]


def keep(module, rows=None, columns=None):
    """Leave only these outputs and inputs of a linear or convolution layer, and its sizes with them."""
    weight, bias = module.weight.detach(), module.bias
    if rows is not None:
        weight, bias = weight[rows], bias if bias is None else nn.Parameter(bias.detach()[rows])
    if columns is not None:
        weight = weight[:, columns]
    module.weight, module.bias = nn.Parameter(weight.clone()), bias
    names = ("out_features", "in_features") if isinstance(module, nn.Linear) else ("out_channels", "in_channels")
    for name, size in zip(names, weight.shape):
        setattr(module, name, size)
    if isinstance(module, nn.Conv2d) and module.groups > 1:
        module.groups = module.in_channels = module.out_channels


def keep_norm(norm, rows):
    for name in ("weight", "bias"):
        setattr(norm, name, nn.Parameter(getattr(norm, name).detach()[rows]))
    norm.running_mean, norm.running_var = norm.running_mean[rows], norm.running_var[rows]
    norm.num_features = len(rows)


def small_mlp():
    model = models.mlp(seed=1)
    keep(model[1], rows=[3, 4, 9])
    keep(model[3], columns=[3, 4, 9])
    return model


def small_lenet5():
    model = models.lenet5(seed=1)
    keep(model[0], rows=list(range(7)))
    keep(model[3], rows=[0, 5, 6], columns=list(range(7)))
    keep(model[7], rows=list(range(11)), columns=[16 * c + i for c in (0, 5, 6) for i in range(16)])
    keep(model[9], columns=list(range(11)))
    return model


def small_resnet20():
    model = models.resnet20(seed=1)
    for block, inner in [(model[3], [1, 2, 8]), (model[7], list(range(30)))]:
        keep(block.body[0], rows=inner)
        keep_norm(block.body[1], inner)
        keep(block.body[3], columns=inner)
    return model


def small_depthwise():
    model, inner = models.depthwise(seed=1), [0, 3, 5, 15]
    keep(model[0], rows=inner)
    keep_norm(model[1], inner)
    keep(model[3], rows=inner)  # groups fall with the channels
    keep_norm(model[4], inner)
    keep(model[6], columns=inner)
    return model


def small_transformer():
    model = models.tiny_transformer(seed=1)
    attention, rows = model.blocks[1].attention, list(range(8)) + list(range(24, 32))
    for name in ("query", "key", "value"):
        keep(getattr(attention, name), rows=rows)
    keep(attention.out, columns=rows)
    attention.heads = 2  # of four heads the first and the last stay
    keep(model.blocks[0].mlp[0], rows=list(range(5)))
    keep(model.blocks[0].mlp[2], columns=list(range(5)))
    return model


def small_rnn():
    model, rows = models.tiny_rnn(seed=1), [1, 4, 6, 7, 30]
    keep(model.input, rows=rows)
    keep(model.recurrent, rows=rows, columns=rows)
    keep(model.output, columns=rows)
    return model


CASES = {
    "mlp": (small_mlp, 8), "lenet5": (small_lenet5, 28), "resnet20": (small_resnet20, 12),
    "depthwise": (small_depthwise, 12), "tiny_transformer": (small_transformer, 8), "tiny_rnn": (small_rnn, 8),
}  # fmt: skip

ELSEWHERE = """
import sys, torch
from compresslab import models, storage
torch.set_num_threads(1)
name, folder = sys.argv[1:]
model = storage.load(getattr(models, name)(seed=5), folder + "/model.safetensors").eval()
with torch.no_grad():
    torch.save((model(torch.load(folder + "/x.pt")), model.state_dict()), folder + "/answers.pt")
"""


@pytest.mark.parametrize("name", CASES)
def test_another_process_gives_the_same_answers_bit_for_bit(tmp_path, name):
    build, side = CASES[name]
    model = build()
    x = torch.randn(5, 1, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for _ in range(3):
            model.train()(x)  # moves the batch norms' means and counters
        wanted = model.eval()(x)
    assert measure.count_parameters(model) < measure.count_parameters(getattr(models, name)())
    torch.save(x, tmp_path / "x.pt")
    storage.save(model, tmp_path / "model.safetensors")
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    run = [sys.executable, "-c", ELSEWHERE, name, str(tmp_path)]
    done = subprocess.run(run, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answers, state = torch.load(tmp_path / "answers.pt")
    assert torch.equal(answers, wanted)
    assert_same(state, model.state_dict())


def assert_same(state, wanted):
    assert list(state) == list(wanted)
    for name, value in wanted.items():
        assert state[name].dtype == value.dtype and state[name].shape == value.shape, name
        assert bits(state[name]) == bits(value), name


def bits(tensor):
    """All of a tensor's bytes: NaN equals itself, and 0.0 is not -0.0."""
    return bytes(tensor.detach().contiguous().flatten().view(torch.uint8).numpy())


@pytest.mark.parametrize("name", CASES)
def test_what_shrink_leaves_comes_back(tmp_path, name):
    build, side = getattr(models, name), CASES[name][1]
    model, x = build(seed=1), torch.randn(3, 1, side, side, generator=torch.Generator().manual_seed(0))
    model.train()(x)
    masks.mask_(model.eval(), structures.structure_masks(model, x, 0.5))
    small = shrink.shrink(model, x).eval()
    storage.save(small, tmp_path / "model")
    loaded = storage.load(build(), tmp_path / "model").eval()
    assert str(loaded) == str(small) and measure.count_parameters(small) < measure.count_parameters(model)
    assert torch.equal(loaded(x), small(x))


def test_the_loaded_model_goes_on_training_with_right_sizes(tmp_path):
    storage.save(small_depthwise(), tmp_path / "model")
    model = storage.load(models.depthwise(), tmp_path / "model")
    assert (model[3].groups, model[3].in_channels, model[4].num_features, model[6].in_channels) == (4, 4, 4, 4)
    assert all(p.requires_grad and p.is_leaf for p in model.parameters())
    model.train()(torch.rand(2, 1, 8, 8)).sum().backward()
    assert all(p.grad.shape == p.shape for p in model.parameters())
    assert measure.count_macs(model.eval(), torch.zeros(1, 1, 8, 8)) > 0


class Anything(nn.Module):
    """A parameter and buffers of any dtype and shape, one that is not saved, a tuple of whole numbers."""

    def __init__(self, tensors=(), step=0.5):
        super().__init__()
        self.sizes, self.step, self._hidden, self.flag = tuple(len(t.shape) for t in tensors), step, 7, True
        self.scale = nn.Parameter(torch.ones(2), requires_grad=False)
        for i, tensor in enumerate(tensors):
            self.register_buffer(f"t{i}", tensor)
        self.register_buffer("scratch", torch.ones(1), persistent=False)


DTYPES = [
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.uint8, torch.int16, torch.int32,
    torch.int64, torch.bool,
]  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    dtypes=st.lists(st.sampled_from(DTYPES), min_size=1, max_size=4),
    shapes=st.lists(st.lists(st.integers(0, 4), max_size=3), min_size=4, max_size=4),
    seed=st.integers(0, 99),
)
def test_every_dtype_and_shape(tmp_path, dtypes, shapes, seed):
    generator = torch.Generator().manual_seed(seed)
    tensors = []
    for dtype, shape in zip(dtypes, shapes):
        raw = torch.randint(0, 256, (*shape, dtype.itemsize), generator=generator, dtype=torch.uint8)  # NaN among them
        tensors.append(raw.bool()[..., 0] if dtype == torch.bool else raw.view(dtype)[..., 0])
    model = Anything(tensors)
    storage.save(model, tmp_path / "model")
    fresh = Anything([torch.zeros(1)] * len(tensors))
    assert storage.load(fresh, tmp_path / "model") is fresh
    assert_same(fresh.state_dict(), model.state_dict())
    assert fresh.sizes == model.sizes and type(fresh.sizes) is tuple
    assert not fresh.scale.requires_grad and "scratch" in dict(fresh.named_buffers())


@pytest.mark.parametrize("dtype", storage.DTYPES)
def test_every_dtype_that_is_promised(tmp_path, dtype):
    raw = torch.arange(24, dtype=torch.uint8)
    model = Anything([raw.bool() if dtype == torch.bool else raw.view(dtype)])
    storage.save(model, tmp_path / "model")
    loaded = storage.load(Anything([torch.zeros(1)]), tmp_path / "model").t0
    assert loaded.dtype == dtype and torch.equal(loaded.view(torch.uint8), model.t0.view(torch.uint8))


@pytest.mark.parametrize("dtype", [torch.complex128, torch.float8_e8m0fnu])
def test_other_dtypes_are_refused_before_anything_is_written(tmp_path, dtype):
    model = Anything([torch.zeros(16, dtype=torch.uint8).view(dtype)])
    with pytest.raises(ValueError, match=f"dtypes that safetensors keeps, got {dtype} in t0$"):
        storage.save(model, tmp_path / "model")
    assert not list(tmp_path.iterdir())


class Sides(NamedTuple):
    height: int
    width: int


def test_named_tuples_of_whole_numbers_come_back(tmp_path):
    model, fresh = (Anything([torch.zeros(1)]) for _ in range(2))
    model.sides, fresh.sides = Sides(3, 5), Sides(1, 1)
    storage.save(model, tmp_path / "model")
    assert storage.load(fresh, tmp_path / "model").sides == Sides(3, 5) and type(fresh.sides) is Sides


def test_strided_views_and_special_numbers(tmp_path):
    whole = torch.tensor([[0.0, -0.0, float("nan")], [float("inf"), 1e-45, -1.0]])
    model = Anything([whole.t(), whole[:, 1:], whole[0, :1].expand(4)])
    storage.save(model, tmp_path / "model")
    assert_same(storage.load(Anything([whole] * 3), tmp_path / "model").state_dict(), model.state_dict())


def tied(width=4):
    embed, out = nn.Embedding(6, width), nn.Linear(width, 6, bias=False)
    out.weight = embed.weight
    return nn.Sequential(embed, out)


def test_shared_tensors_are_written_once_and_shared_again(tmp_path):
    model = tied(width=3)
    storage.save(model, tmp_path / "model")
    loaded = storage.load(tied(), tmp_path / "model")
    assert loaded[0].weight is loaded[1].weight and torch.equal(loaded[0].weight, model[0].weight)
    assert loaded[0].embedding_dim == loaded[1].in_features == 3
    assert list(read_tensors((tmp_path / "model").read_bytes())) == ["0.weight"]
    layer = nn.Linear(2, 2)
    storage.save(nn.Sequential(layer, layer), tmp_path / "twice")
    other = nn.Linear(2, 2)
    twice = storage.load(nn.Sequential(other, other), tmp_path / "twice")
    assert torch.equal(twice[1].weight, layer.weight) and twice[0] is twice[1] and len(list(twice.parameters())) == 2


def test_the_file_is_plain_safetensors_and_replaced_in_one_step(tmp_path):
    path = tmp_path / "model"
    path.write_bytes(b"an older file")
    broken = models.mlp()
    broken.register_buffer("sparse", torch.eye(3).to_sparse())
    with pytest.raises(ValueError, match="^model must hold strided tensors only, got torch.sparse_coo in sparse$"):
        storage.save(broken, path)
    assert path.read_bytes() == b"an older file"
    model = small_mlp()
    storage.save(model, path)
    assert_same(dict(sorted(read_tensors(path.read_bytes()).items())), dict(sorted(model.state_dict().items())))
    assert os.listdir(tmp_path) == ["model"]  # no temporary file is left
    with pytest.raises(FileNotFoundError, match="^path must lie in a folder that exists, got .*nowhere/model$"):
        storage.save(model, tmp_path / "nowhere" / "model")


class Half(nn.Module):
    def forward(self, weight):
        return weight / 2


def test_a_mask_must_be_baked_first(tmp_path):
    model = models.mlp()
    storage.save(model, tmp_path / "model")
    parametrize.register_parametrization(model[3], "weight", Half())
    sentence = "^model must have no parametrizations left: bake it first, got one on 3.weight$"
    with pytest.raises(ValueError, match=sentence):
        storage.save(model, tmp_path / "other")
    with pytest.raises(ValueError, match=sentence):
        storage.load(model, tmp_path / "model")
    assert os.listdir(tmp_path) == ["model"]


# ------------------------------------------------------------------------------------------- damaged files


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("storage") / "model"
    storage.save(small_mlp(), path)
    return path, path.read_bytes()


def refuses(path, data, model=None, sentence=None):
    """A ValueError of one line that names the file, and a model in which nothing changed."""
    path = path.with_name("damaged")
    path.write_bytes(data)
    model = models.mlp(seed=2) if model is None else model
    before = copy.deepcopy(model)
    with pytest.raises(ValueError, match=sentence) as caught:
        storage.load(model, path)
    assert str(caught.value).startswith(f"{path} ") and "\n" not in str(caught.value)
    assert str(model) == str(before)
    assert_same(model.state_dict(), before.state_dict())


def header_end(data):
    return 8 + int.from_bytes(data[:8], "little")


@settings(max_examples=200)
@given(data=st.data())
def test_no_truncated_file_is_read(written, data):
    path, whole = written
    refuses(path, whole[: data.draw(st.integers(0, len(whole) - 1))])


@settings(max_examples=400)
@given(data=st.data())
def test_no_flipped_byte_is_overlooked(written, data):
    path, whole = written
    place = data.draw(st.one_of(st.integers(0, header_end(whole) - 1), st.integers(0, len(whole) - 1)))
    other = whole[place] ^ data.draw(st.integers(1, 255))
    refuses(path, whole[:place] + bytes([other]) + whole[place + 1 :])


def test_one_bit_in_every_byte_of_the_header(written):
    """The spaces that fill the header up say nothing, and are covered by the sum all the same."""
    path, whole = written
    for place in range(header_end(whole)):
        refuses(path, whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])


@given(st.binary(max_size=200))
def test_noise_is_refused(written, noise):
    refuses(written[0], noise)


@pytest.mark.parametrize("size", [0, 2**31, 2**63, 2**64 - 1])
def test_a_hostile_header_size_allocates_nothing(written, size):
    path, whole = written
    refuses(path, struct.pack("<Q", size) + whole[8:], sentence="was not written by storage.save")


def forge(spec=None, tensors=None, **metadata):
    """A file whose sum is right, made by someone who knows how."""
    state = small_mlp().state_dict() if tensors is None else tensors
    spec = json.dumps({"modules": storage._spec(small_mlp()), "shared": {}} if spec is None else spec)
    metadata = {"format": "compresslab", "version": "1", "spec": spec, "sha256": storage.BLANK} | metadata
    data = write_tensors(state, metadata)
    return data.replace(b"0" * 64, hashlib.sha256(data).hexdigest().encode(), 1)


def test_a_forged_file_is_checked_too(written):
    path, _ = written
    path.with_name("good").write_bytes(forge())
    storage.load(models.mlp(), path.with_name("good"))  # so what follows is refused for what was changed
    refuses(path, forge(version="2"), sentence="must have format compresslab 1, got compresslab 2$")
    refuses(path, forge(format="other"), sentence="must have format compresslab 1, got other 1$")
    good = storage._spec(small_mlp())
    for spec in ([], {}, {"modules": [], "shared": {}}, {"modules": {"1": 3}, "shared": {}}):
        refuses(path, forge(spec), sentence="does not hold what its header promises")
    refuses(path, forge({"modules": good, "shared": {"1.weight": "gone"}}), sentence="promises: 'gone'$")
    for numbers in ({"training": 0}, {"forward": 3}, {"in_features": [3]}, {"in_features": "os"}, {"new": 1}):
        spec = good | {"1": ("Linear", numbers)}
        refuses(path, forge({"modules": spec, "shared": {}}), sentence="another architecture: module '1' has")


def test_several_numbers_must_be_numbers(written):
    conv = nn.Conv2d(1, 1, 3)
    spec = storage._spec(conv)
    spec[""][1]["kernel_size"] = ["3", "3"]
    forged = forge({"modules": spec, "shared": {}}, conv.state_dict())
    refuses(written[0], forged, conv, sentence="another architecture: the whole has kernel_size = ")


def test_a_header_that_promises_more_than_the_file_holds(written):
    """The tensor's shape says 2**40 numbers, the file holds 2,410, and its sum is right."""
    path, _ = written
    data = forge()
    end = header_end(data)
    header = json.loads(data[8:end])
    header["1.weight"]["shape"] = [2**20, 2**20]
    header["__metadata__"]["sha256"] = storage.BLANK
    text = json.dumps(header).encode()
    blank = struct.pack("<Q", len(text)) + text + data[end:]
    forged = blank.replace(b"0" * 64, hashlib.sha256(blank).hexdigest().encode(), 1)
    refuses(path, forged, sentence="does not hold what its header promises")


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (lambda: models.mlp((64, 8, 8, 10)), "module '4' is in the model only"),
        (lambda: models.mlp((64, 10)), "module '2' is in the file only"),
        (lambda: models.tiny_rnn(), "module '0' is in the file only"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 3, bias=False), nn.ReLU(), nn.Linear(3, 10)),
         "tensor '1.bias' is in the file only"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.GELU(), nn.Linear(3, 10)),
         "module '2' is a ReLU in the file and a GELU in the model"),
        (lambda: nn.ModuleList([nn.Flatten(), nn.Linear(64, 3), nn.ReLU(), nn.Linear(3, 10)]),
         "the whole is a Sequential in the file and a ModuleList in the model"),
    ],
)  # fmt: skip
def test_another_architecture_is_named(written, model, sentence):
    path, whole = written
    refuses(path, whole, model(), sentence=f"is of another architecture: {sentence}$")


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="model"):
        storage.load(models.mlp(), tmp_path / "model")
