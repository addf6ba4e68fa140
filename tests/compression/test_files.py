"""The file: the same bits again, in as few bytes as it says, and one sentence for whatever else lies there."""

import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrize

from compresslab import models
from compresslab.compression import files
from compresslab.compression.files import DTYPES, ledger, load, save


class Holder(nn.Module):
    """A model of the tensors that it is given."""

    def __init__(self, **tensors):
        super().__init__()
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)


def blank(model):
    """The same with other numbers in it."""
    return Holder(**{name: torch.ones_like(tensor) for name, tensor in model.state_dict().items()})


def bits(model):
    """{tensor: (dtype, shape, bytes)}."""
    return {
        name: (t.dtype, t.shape, t.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        for name, t in model.state_dict().items()
    }


def compressed(make=models.mlp, share=0.9, values=8, seed=0):
    """A model with this share of zeros in its weights, and so many values in the rest and in the biases."""
    model, g = make(seed=seed), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            steps = torch.linspace(-0.4, 0.5, values)
            weight.copy_(steps[torch.randint(values, weight.shape, generator=g)])
            if weight.ndim > 1:
                weight[torch.rand(weight.shape, generator=g) < share] = 0
    return model


def written(model, folder):
    save(model, folder / "m.clab")
    return (folder / "m.clab").read_bytes()


# ---------------------------------------------------------------- the same bits


@pytest.mark.parametrize(
    "make", [models.lenet300, models.lenet5, lambda seed: models.resnet20(width=4, seed=seed)], ids=["300", "5", "res"]
)
@pytest.mark.parametrize("share, values", [(0.97, 8), (0.5, 300), (0.0, 20)])
def test_a_model_comes_back_bit_for_bit(make, share, values, tmp_path):
    model = compressed(make, share, values)
    save(model, tmp_path / "m.clab")
    other = make(seed=1)
    parameters = list(other.parameters())
    assert load(other, tmp_path / "m.clab") is other
    assert bits(other) == bits(model)
    assert all(old is new for old, new in zip(parameters, other.parameters(), strict=True))  # an optimizer keeps them


TENSORS = {
    "signed zeros": torch.tensor([0.0, -0.0, 0.0, -0.0, 1.0]),
    "not numbers": torch.tensor([0x7FC00000, 0x7FC00001, -1, 0x7F800000, 0], dtype=torch.int32).view(torch.float32),
    "subnormal": torch.tensor([1e-45, -1e-45, 0.0]),
    "nothing": torch.zeros(0, 3),
    "nothing, long": torch.zeros(5, 0),
    "one number": torch.tensor(3.5),
    "one zero": torch.tensor(0),
    "all zeros": torch.zeros(20, 30),
    "one value": torch.full((4, 5, 6), -2.0),
    "other memory order": torch.arange(24.0).reshape(2, 3, 4).permute(2, 0, 1),
    "257 values": torch.arange(257.0).repeat(2),
    "256 values": torch.arange(1.0, 257.0).repeat(2).reshape(16, 32),
    "many dimensions": torch.eye(8).reshape((2,) * 6),
    "negative integers": torch.tensor([-5, 0, 0, 0, 2**62, -(2**63)] * 9),
}


@pytest.mark.parametrize("name", TENSORS)
def test_odd_tensors_come_back(name, tmp_path):
    model = Holder(x=TENSORS[name])
    save(model, tmp_path / "m.clab")
    assert bits(load(blank(model), tmp_path / "m.clab")) == bits(model)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@given(data=st.data())
@settings(max_examples=15)
def test_any_bits_of_any_dtype_come_back(dtype, data, tmp_path_factory):
    shape = data.draw(st.lists(st.integers(0, 9), max_size=3))
    size = int(np.prod(shape, dtype=int))
    choices = data.draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5)) + [0, 0]
    numbers = np.array(data.draw(st.lists(st.sampled_from(choices), min_size=size, max_size=size)), np.uint64)
    if dtype is torch.bool:
        numbers = numbers % 2
    raw = torch.from_numpy(numbers.astype(f"u{dtype.itemsize}").view(np.uint8))
    model = Holder(**{"a tensor": raw.view(dtype).reshape(shape), "zweite": torch.ones(2)})
    path = tmp_path_factory.mktemp("any") / "m.clab"
    save(model, path)
    assert bits(load(blank(model), path)) == bits(model)
    assert ledger(path).size_bytes.sum() == path.stat().st_size


def test_another_process_gives_the_same_answers(tmp_path):
    model = compressed(models.lenet5)
    save(model, tmp_path / "m.clab")
    x = torch.rand(5, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    torch.save((x, model(x).detach()), tmp_path / "answers.pt")
    code = (
        "import sys, torch; from compresslab import models; from compresslab.compression.files import load\n"
        "x, wanted = torch.load(sys.argv[2]); torch.set_num_threads(1)\n"
        "print(torch.equal(load(models.lenet5(), sys.argv[1])(x), wanted))"
    )
    torch.set_num_threads(1)
    torch.save((x, model(x).detach()), tmp_path / "answers.pt")
    paths = [str(tmp_path / "m.clab"), str(tmp_path / "answers.pt")]
    run = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, cwd=Path.cwd())
    assert run.stdout == "True\n", run.stderr


GOLDEN = (
    "434c4142010aa7e65302067765696768740002141e035f05ff00003a4f105baf025d0cbb6087552095cb544363f40f142850"
    "a142850a142858cddddd82c4030000c03e000000be000020bf616aff14885a13fa614ff208de89dd153e1d24f264ae5f9b04"
    "62696173000103000c0000003f0000008000004040"
)


def golden():
    i, j = torch.meshgrid(torch.arange(20), torch.arange(30), indexing="ij")
    weight = torch.where((i - j) ** 2 % 19 < 2, ((i * j) % 3 - 1.25) / 2, 0)
    return Holder(weight=weight, bias=torch.tensor([0.5, -0.0, 3.0]))


def test_a_file_of_today_is_read_tomorrow(tmp_path):
    """Every kind of part is in these bytes: zeros, codes, raw values."""
    (tmp_path / "m.clab").write_bytes(bytes.fromhex(GOLDEN))
    assert bits(load(blank(golden()), tmp_path / "m.clab")) == bits(golden())
    assert set(ledger(tmp_path / "m.clab").part) == {
        "header", "checksum", "positions", "values", "codebook", "code tables", "raw"
    }  # fmt: skip


# ---------------------------------------------------------------- few bytes


def test_ledger_counts_every_byte_once(tmp_path):
    model = compressed(models.lenet300, 0.97)
    data = written(model, tmp_path)
    table = ledger(tmp_path / "m.clab")
    assert list(table.columns) == ["tensor", "part", "size_bytes"] and table.size_bytes.sum() == len(data)
    assert not table.duplicated(["tensor", "part"]).any()
    assert set(table.tensor) == {"", *model.state_dict()}
    size = table.set_index(["tensor", "part"]).size_bytes
    assert size["", "checksum"] == 4 and size["1.weight", "codebook"] == 8 * 4
    assert size["1.weight", "values"] == pytest.approx(3 / 8 * int((model[1].weight != 0).sum()), rel=0.01)


def test_random_zeros_and_values_cost_what_theory_says(tmp_path):
    """With 3 % non-zeros a gap is geometric: it needs `length` bits and the entropy of that length; 8 values 3 bits.

    gap + 1 has length l with chance 0.97^(2^l - 1) - 0.97^(2^(l + 1) - 1). The gaps of 8,000 weights vary by less than
    2 %, and the entropy itself, 6.48 bits a weight, cannot be undercut. The rest (names, codebooks, tables, the
    beginnings of sections, the 410 biases) is below 500 bytes.
    """
    model = compressed(models.lenet300, 0.97)
    kept = int(sum((p != 0).sum() for p in model.parameters() if p.ndim > 1))
    length = np.arange(20.0)
    chance = 0.97 ** (2**length - 1) - 0.97 ** (2 ** (length + 1) - 1)
    a_gap = (chance * (length - np.log2(np.maximum(chance, 1e-300)))).sum()
    entropy = (-0.03 * np.log2(0.03) - 0.97 * np.log2(0.97)) / 0.03
    assert entropy < a_gap < entropy + 0.1
    ideal = kept * (a_gap + 3) / 8
    assert ideal * 0.98 < len(written(model, tmp_path)) < ideal * 1.02 + 500


def test_what_cannot_be_compressed_costs_its_bytes_and_a_header(tmp_path):
    model = models.mlp((64, 32, 10), seed=0)
    assert len(written(model, tmp_path)) < 4 * 2410 + 100


def test_pruned_but_not_shared_weights_are_kept_beside_their_positions(tmp_path):
    model = models.mlp((64, 100, 10), seed=0)
    with torch.no_grad():
        model[1].weight[torch.rand(100, 64, generator=torch.Generator().manual_seed(0)) < 0.9] = 0
    size = len(written(model, tmp_path))
    kept = int(sum((p != 0).sum() for p in model.parameters()))
    assert 4 * kept < size < 4 * kept + 0.47 / 8 * 6400 * 1.1 + 150  # H(0.1) = 0.47 bits a weight
    assert set(ledger(tmp_path / "m.clab").query("tensor == '1.weight'").part) >= {"positions", "raw"}


# ---------------------------------------------------------------- what does not fit


def test_a_parametrized_model_is_refused(tmp_path):
    model = models.mlp(seed=0)
    save(model, tmp_path / "m.clab")
    parametrize.register_parametrization(model[1], "weight", nn.Identity())
    for call in (lambda: save(model, tmp_path / "n.clab"), lambda: load(model, tmp_path / "m.clab")):
        with pytest.raises(ValueError, match="model must have no parametrizations left: bake it first, got one on 1.w"):
            call()
    assert [path.name for path in tmp_path.iterdir()] == ["m.clab"]


def test_what_is_no_plain_tensor_is_refused_and_the_old_file_stays(tmp_path):
    before = written(models.mlp(seed=0), tmp_path)
    for odd, words in [
        (Holder(x=torch.eye(2).to_sparse()), "cpu torch.sparse_coo torch.float32 in x"),
        (Holder(x=torch.zeros(2, dtype=torch.complex64)), "cpu torch.strided torch.complex64 in x"),
        (nn.Linear(2, 2, device="meta"), "meta torch.strided torch.float32 in weight"),
        (nn.LazyLinear(2), "UninitializedParameter in weight"),
    ]:
        for call in save, load:
            with pytest.raises(ValueError, match=rf"strided tensors of float32, .*, bool only, got {words}"):
                call(odd, tmp_path / "m.clab")
    assert (tmp_path / "m.clab").read_bytes() == before
    with pytest.raises(FileNotFoundError, match="path must lie in a folder that exists, got "):
        save(models.mlp(), tmp_path / "no" / "m.clab")
    with pytest.raises(FileNotFoundError):
        load(models.mlp(), tmp_path / "none.clab")


def test_what_breaks_off_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    before = written(models.mlp(seed=0), tmp_path)

    def full(path, data):
        with path.open("wb") as file:
            file.write(data[:100])
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        save(models.mlp(seed=1), str(tmp_path / "m.clab"))
    assert [path.name for path in tmp_path.iterdir()] == ["m.clab"]
    assert (tmp_path / "m.clab").read_bytes() == before


def twins(tied):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    if tied:
        model[1].weight = model[0].weight
    return model


def test_one_tensor_under_two_names(tmp_path):
    """It comes back where the file holds the same twice; else one of them could not be right."""
    model, other, apart = twins(True), twins(True), twins(False)
    written(model, tmp_path)
    assert bits(load(other, tmp_path / "m.clab")) == bits(model) == bits(load(apart, tmp_path / "m.clab"))
    written(twins(False), tmp_path)
    with pytest.raises(ValueError, match="must hold the same in 0.weight and 1.weight, which are one tensor in the mo"):
        load(other, tmp_path / "m.clab")
    assert bits(other) == bits(model)


def test_an_expanded_tensor_can_be_saved_but_not_filled(tmp_path):
    model = Holder(a=torch.zeros(2), b=torch.ones(1).expand(5))
    written(model, tmp_path)
    assert bits(load(blank(model), tmp_path / "m.clab")) == bits(model)
    other = Holder(a=torch.ones(2), b=torch.ones(1).expand(5))
    with pytest.raises(ValueError, match="each number in a place of its own, got an expanded tensor in b"):
        load(other, tmp_path / "m.clab")
    assert other.a.tolist() == [1, 1]


@pytest.mark.parametrize("inside", [True, False])
def test_inference_mode_and_frozen_parameters(inside, tmp_path):
    model = models.mlp((8, 4), seed=0).requires_grad_(False)
    with torch.inference_mode(inside):
        written(model, tmp_path)
        other = load(models.mlp((8, 4), seed=1), tmp_path / "m.clab")
    assert bits(other) == bits(model) and not model[1].weight.requires_grad


@pytest.mark.parametrize("share", [0.0, 0.95])
def test_memory_is_a_small_multiple_of_a_large_model(share, tmp_path):
    """Sorting 4 bytes a weight and finding them among the sorted: 8-byte places, a few times; 40 bytes a weight."""
    model = nn.Linear(1000, 500)
    with torch.no_grad():
        model.weight[torch.rand(500, 1000, generator=torch.Generator().manual_seed(0)) < share] = 0
    tracemalloc.start()
    try:
        written(model, tmp_path)
        load(nn.Linear(1000, 500), tmp_path / "m.clab")
        assert tracemalloc.get_traced_memory()[1] < 12 * 4 * 500_500
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "other, words",
    [
        (
            models.mlp((64, 31, 10)),
            r"1.weight must be float32 of shape \(31, 64\) to fit the model, got float32 of shape \(32, 64\)",
        ),
        (
            models.mlp((64, 32, 10)).half(),
            r"1.weight must be float16 of shape \(32, 64\) to fit the model, got float32 of",
        ),
        (
            models.mlp((64, 32, 10, 5)),
            r"5.weight must be float32 of shape \(5, 10\) to fit the model, got no such tensor",
        ),
        (
            nn.Sequential(nn.Flatten(), nn.Linear(64, 32)),
            "the model has no tensor '3.weight'",
        ),
    ],
)
def test_another_model_is_refused_and_left_alone(other, words, tmp_path):
    save(models.mlp((64, 32, 10), seed=0), tmp_path / "m.clab")
    before = bits(other)
    with pytest.raises(ValueError, match=f"m.clab cannot be read: {words}"):
        load(other, tmp_path / "m.clab")
    assert bits(other) == before


# ---------------------------------------------------------------- hostile files


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """(a small model with every kind of part, its file's bytes)."""
    model = Holder(**{
        "a": torch.from_numpy(np.random.default_rng(0).choice([0, 0, 0, 1.5, -2], (12, 20))),
        "b": torch.arange(5.0), "c": golden().state_dict()["weight"],
    })  # fmt: skip
    return model, written(model, tmp_path_factory.mktemp("example"))


def refused(data, model, folder):
    """The sentence with which the bytes are refused, "" if they load; the model is as before when refused."""
    path, other = folder / "m.clab", blank(model)
    path.write_bytes(data)
    before, sentence = bits(other), ""
    try:
        load(other, path)
    except ValueError as error:
        sentence = str(error)
        assert sentence.startswith(str(path)) and "\n" not in sentence and bits(other) == before
    try:
        ledger(path)
    except ValueError:
        assert sentence
    return sentence


def sealed(data):
    """The bytes with a checksum that fits."""
    return data[:5] + zlib.crc32(data[9:]).to_bytes(4, "little") + data[9:]


def test_every_cut_and_every_flipped_bit_is_noticed(example, tmp_path):
    model, data = example
    assert refused(data, model, tmp_path) == ""
    assert all(refused(data[:n], model, tmp_path) for n in range(len(data)))
    assert refused(data + b"\0", model, tmp_path)
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        assert refused(bytes(changed), model, tmp_path)


@given(data=st.data())
@settings(max_examples=300)
def test_changed_bytes_under_a_right_checksum_load_or_are_refused(example, data, tmp_path_factory):
    """Whatever the bytes: a model of the right shapes or one sentence."""
    model, changed = example[0], bytearray(example[1])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(9, len(changed) - 1))
        cut = data.draw(st.integers(0, 3))
        changed[place : place + cut] = data.draw(st.binary(max_size=3))
        changed += bytes(max(0, 12 - len(changed)))
    refused(sealed(bytes(changed)), model, tmp_path_factory.getbasetemp())


@given(st.binary(max_size=80))
def test_any_bytes_after_the_magic_number_load_or_are_refused(example, tmp_path_factory, body):
    data = files.MAGIC + bytes([1]) + files.checksum(body) + body
    assert refused(data, example[0], tmp_path_factory.getbasetemp())


HUGE = files.varint(2**62)
NAME = files.varint(1) + files.varint(1) + b"x" + b"\0"  # one tensor, "x", float32


@pytest.mark.parametrize(
    "body, words",
    [
        (HUGE, "1 bytes are announced and 0 are left"),
        (files.varint(1) + HUGE, "4611686018427387904 bytes are announced"),
        (NAME + HUGE, "a tensor must have at most 64 dimensions, got 4611686018427387904"),
        (
            NAME + b"\1" + HUGE + b"\0" + files.section(b""),
            r"x must be .* to fit the model, got float32 of shape \(4611",
        ),
        (NAME + b"\1\2\0" + HUGE, "4611686018427387904 bytes are announced"),
        (NAME + b"\1\2\2" + HUGE, "a codebook must hold 1 to 256 values, got 4611686018427387904"),
        (NAME + b"\1\2\2\0", "a codebook must hold 1 to 256 values, got 0"),
        (NAME + b"\1\2\0\3abc", "2 values must have 4 bytes each, got 3 in all"),
        (NAME + b"\1\2\4", "kind must be 0 to 3, got 4"),
        (NAME + b"\1\2\1" + HUGE, "4611686018427387904 values are announced for a tensor of 2"),
        (NAME + b"\1\2\1\3" + b"\0\0\0\0", "3 values are announced for a tensor of 2"),
        (NAME + b"\1\2\1\1" + b"\0\0\0\4abcd", "0 bytes under a table of 0 cannot hold 1 symbols"),
        (NAME + b"\1\2\1\1" + b"\3\0\0\1" + bytes([4]) + 4 * b"\x80" + b"\0\4abcd", "positions must be below 2, and"),
        (NAME + b"\1\2\1\1" + b"\2\0\1" + bytes([4]) + 4 * b"\x80" + b"\0\4abcd", "the gaps need 1 bits, got 0"),
        (NAME + b"\1\2\1\1" + b"\2\0\1" + bytes([4]) + 4 * b"\x80" + b"\1\xff\4abcd", "positions must be below 2, and"),
        (NAME + b"\1\2\2\1abcd\xff\1x", "1 bytes under a table of 1 cannot hold 2 symbols"),
        (files.varint(1) + files.varint(1) + b"x" + b"\x63", "dtype must be below 10, got 99"),
        (files.varint(1) + files.varint(1) + b"\xff", "cannot be read: 'utf-8'"),
        (b"\2" + 2 * (NAME[1:] + b"\1\2\0\x08" + bytes(8)), "a name of its own, got 'x' again"),
        (b"\1\0", "each tensor must have a name of its own, got '' again"),
        (b"\1\2a\n\0\1\2\0\0", r"the model has no tensor 'a\\n'"),
        (NAME + files.varint(65) + 65 * HUGE, "a tensor must have at most 64 dimensions, got 65"),
        (NAME + b"\1\2\1\1" + files.section(bytes(63) + b"\1"), "at most 63 lengths of gaps, got 64"),
        (
            NAME + b"\1\2\1\1" + files.section(bytes(62) + b"\1") + b"\4abcd\x08abcdefgh\4abcd",
            "positions must be below 2, and the last one is not",
        ),
        (b"\xff" * 9, "a number has more than 63 bits"),
    ],
)
def test_hostile_numbers_are_named_and_nothing_is_allocated(body, words, tmp_path):
    (tmp_path / "m.clab").write_bytes(files.MAGIC + bytes([1]) + files.checksum(body) + body)
    with pytest.raises(ValueError, match=words):
        load(Holder(x=torch.zeros(2)), tmp_path / "m.clab")


def test_a_bool_is_0_or_1(tmp_path):
    data = written(Holder(x=torch.tensor([True, False, True])), tmp_path)
    altered = data[:-3] + b"\1\0\2"
    assert data[-3:] == b"\1\0\1" and "a bool must be 0 or 1" in refused(
        sealed(altered), Holder(x=torch.zeros(3, dtype=torch.bool)), tmp_path
    )


def test_another_format_and_a_later_version_are_named(example, tmp_path):
    model, data = example
    assert "was not written by compression.files.save" in refused(b"PK\3\4" + data, model, tmp_path)
    assert "version must be 1, got 2" in refused(data[:4] + b"\2" + data[5:], model, tmp_path)
    assert "was cut short or altered: its checksum is another" in refused(data[:-1], model, tmp_path)
