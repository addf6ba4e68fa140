"""A submission holds the same network and what the learner says; what is hostile is refused before it is run."""

import json
import pickle

import numpy as np
import onnx
import pytest
import torch
from capstone import files
from capstone.files import DIGITS, changed, int8, model, network
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from compresslab.capstone import safety
from compresslab.capstone.submission import KEY, Submission, clean, read, submit
from compresslab.runtimes.onnx_run import OnnxSession

CLAIMS = dict(kb=45.4, speedup=3.8, accuracy=0.98)
NETWORK = network(20)


@pytest.fixture(scope="module")
def good():
    return int8(NETWORK)


def said(value: str) -> bytes:
    return changed(NETWORK, lambda proto: proto.metadata_props.add(key=KEY, value=value))


# ------------------------------------------------------------------------------------------ writing and reading


@pytest.mark.parametrize("make", [network, lambda: int8(network())])
def test_the_network_is_unchanged_and_the_words_come_back(tmp_path, make):
    file, path = make(), tmp_path / "ada.onnx"
    written = submit(path, file, "Ada Lovelace, 3b ✓", CLAIMS)
    data = path.read_bytes()
    assert written == read(data) == Submission("Ada Lovelace, 3b ✓", CLAIMS)
    assert torch.equal(OnnxSession(data)(DIGITS.test.x), OnnxSession(file)(DIGITS.test.x))
    assert 0 < len(data) - len(file) < 300
    submit(path, data, "Someone else", {})  # written again: said once
    assert read(path.read_bytes()) == Submission("Someone else", {})
    assert [file.name for file in tmp_path.iterdir()] == ["ada.onnx"]


@given(
    name=st.text(min_size=1, max_size=80).filter(str.strip),
    claims=st.dictionaries(st.sampled_from(["kb", "speedup", "accuracy"]), st.floats(0, 1)),
)
def test_whatever_is_said_comes_back(tmp_path_factory, name, claims):
    path = tmp_path_factory.getbasetemp() / "any.onnx"
    submit(path, NETWORK, name, claims)
    assert read(path.read_bytes()) == Submission(name, claims)


@pytest.mark.parametrize(
    "name, claims, sentence",
    [
        ("", CLAIMS, "name must be a text of 1 to 80 characters"),
        ("  ", CLAIMS, "name must be a text of 1 to 80 characters"),
        ("x" * 81, CLAIMS, "name must be a text of 1 to 80 characters"),
        (None, CLAIMS, "name must be a text of 1 to 80 characters, got None"),
        ("Ada", dict(ms=3), "claims must be a dict with some of kb, speedup, accuracy, got .'ms': 3."),
        ("Ada", dict(kb="45"), "claims must be numbers of at least 0, got '45' for kb"),
        ("Ada", dict(kb=True), "claims must be numbers"),
        ("Ada", dict(kb=float("nan")), "claims must be numbers of at least 0, got nan for kb"),
        ("Ada", dict(kb=-1), "claims must be numbers of at least 0, got -1 for kb"),
        ("Ada", dict(accuracy=98), "the claim of accuracy is a share from 0 to 1, got 98"),
        ("Ada", [], "claims must be a dict"),
    ],
)
def test_bad_words_are_one_sentence_written_or_read(tmp_path, name, claims, sentence):
    with pytest.raises(ValueError, match=sentence):
        submit(tmp_path / "a.onnx", NETWORK, name, claims)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match=sentence):
        read(said(json.dumps(dict(name=name, claims=claims))))


def test_numbers_of_numpy_are_claims_too(tmp_path):
    submit(tmp_path / "a.onnx", NETWORK, "Ada", dict(accuracy=np.float64(0.5)))
    assert read((tmp_path / "a.onnx").read_bytes()).claims == dict(accuracy=0.5)


def test_the_path_and_the_file_are_checked_first(tmp_path, good):
    with pytest.raises(ValueError, match="path must end in .onnx, got .*a.pt"):
        submit(tmp_path / "a.pt", good, "Ada", CLAIMS)
    with pytest.raises(FileNotFoundError, match="path must lie in a folder that exists"):
        submit(tmp_path / "none" / "a.onnx", good, "Ada", CLAIMS)
    with pytest.raises(safety.Refused, match="weights itself"):
        submit(tmp_path / "a.onnx", files.external(), "Ada", CLAIMS)
    with pytest.raises(ValueError, match="not an ONNX file"):
        submit(tmp_path / "a.onnx", b"", "Ada", CLAIMS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "value",
    ["", "no json", "[1]", '"x"', "null", "{}", '{"name": "Ada", "code": "1"}', "[" * 1999, "9" * 2000,
     '{"name": "Ada", "claims": {"kb": 1' + "0" * 400 + "}}", "x" * 2001, '{"name": "Ada", "claims": {"kb": NaN}}'],
)  # fmt: skip
def test_what_no_submit_writes_is_a_value_error(value):
    with pytest.raises(ValueError) as error:
        read(said(value))
    assert "\n" not in str(error.value) and len(str(error.value)) < 250


def test_said_twice_or_never():
    twice = changed(said("{}"), lambda proto: proto.metadata_props.add(key=KEY, value="{}"))
    for file in (NETWORK, twice):
        with pytest.raises(ValueError, match="name and claims once: write it with compresslab's submit"):
            read(file)


# ------------------------------------------------------------------------------------------ hostile files


def node(operator, domain="", **attributes):
    return lambda proto: proto.graph.node.append(helper.make_node(operator, ["y"], ["z"], domain=domain, **attributes))


def sparse(proto):
    proto.graph.sparse_initializer.add(dims=[10**9])


def function(proto):
    proto.functions.add(name="f", domain="d")


def sized(dims):
    def change(proto):
        shape = proto.graph.input[0].type.tensor_type.shape
        for dim, value in zip(shape.dim, dims):
            dim.Clear()
            if value is not None:
                dim.dim_value = value

    return change


def of_type(kind):
    def change(proto):
        proto.graph.input[0].type.tensor_type.elem_type = kind

    return change


def unknown_field(proto):
    proto.MergeFromString(b"\xfa\x07\x03abc")  # field 127


def declared(dims):
    return lambda proto: proto.graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=dims)


BRANCH = helper.make_graph([helper.make_node("Identity", ["y"], ["z"])], "b", [], [])
HOSTILE = {
    "external data": (lambda proto: proto.CopyFrom(onnx.load_from_string(files.external())), "hold its weights itself"),
    "external data in an attribute": (
        node("Constant", value=TensorProto(data_location=TensorProto.EXTERNAL)),
        "hold its weights itself",
    ),
    "a loop": (node("Loop", body=BRANCH), "without functions, sparse tensors or graphs inside nodes"),
    "a branch": (node("If", then_branch=BRANCH, else_branch=BRANCH), "graphs inside nodes"),
    "a scan without a graph": (node("Scan"), "operators of the course, got 'Scan'"),
    "a random number": (node("RandomNormal", shape=[1]), "operators of the course, got 'RandomNormal'"),
    "a bomb of constants": (node("ConstantOfShape"), "operators of the course, got 'ConstantOfShape'"),
    "a tile": (node("Tile"), "operators of the course, got 'Tile'"),
    "an operator of somebody": (node("Conv", domain="evil.corp"), "operators of the course, got 'evil.corp.Conv'"),
    "an operator of Microsoft": (node("QGemm", domain="com.microsoft"), "QGemm': let .* with QuantFormat.QDQ"),
    "a function": (function, "without functions"),
    "a sparse tensor": (sparse, "sparse tensors"),
    "a field that nobody knows": (unknown_field, "what ONNX knows and nothing else"),
    "a huge weight": (declared([10**5, 10**5]), r"at most 1,000,000 numbers for one image, got a tensor of \[100000"),
    "a negative weight": (declared([-1, 10]), "at most 1,000,000 numbers"),
    "many dimensions": (declared([1] * 9), "at most 1,000,000 numbers"),
    "a fixed batch": (sized([64]), "input must take any number of images, got a first dimension fixed at 64"),
    "a huge input": (sized([None, 10**9]), "at most 1,000,000 numbers"),
    "doubles": (of_type(TensorProto.DOUBLE), "the input must be float32"),
    "text": (of_type(TensorProto.STRING), "the input must be float32"),
    "two inputs": (lambda proto: proto.graph.input.add(name="q"), "one input, got 2"),
    "two outputs": (lambda proto: proto.graph.output.add(name="q"), "one output, got 2"),
    "no shape": (lambda proto: proto.graph.input[0].type.tensor_type.ClearField("shape"), "must have a shape"),
    "many nodes": (lambda proto: [node("Identity")(proto) for _ in range(1001)], "at most 1,000 nodes, got 1,005"),
    "many parts": (lambda proto: [proto.metadata_props.add() for _ in range(50_001)], "at most 50,000 parts"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_breaks_the_rules_is_refused_in_one_sentence(kind):
    change, sentence = HOSTILE[kind]
    with pytest.raises(safety.Refused, match=sentence) as error:
        safety.check(changed(NETWORK, change))
    assert "\n" not in str(error.value) and len(str(error.value)) <= 200


def test_a_size_that_shape_inference_finds_is_refused():
    grown = model([("Expand", ["x", "shape"], ["h"]), ("ReduceMean", ["h"], ["y"])], shape=np.array([1, 20_000, 8, 8]))
    with pytest.raises(safety.Refused, match="at most 1,000,000 numbers for one image, got 'h'"):
        safety.check(grown)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00", b"hello", pickle.dumps({"w": 1}), network()[:-1000], network()[:60], files.deeply_nested(),
     b"\x0a\xff\xff\xff\xff\x0f", onnx.GraphProto().SerializeToString()],
    ids=range(9),
)  # fmt: skip
def test_what_is_no_onnx_file_is_a_value_error(data):
    for look in (safety.check, read):
        with pytest.raises(ValueError, match="not an ONNX file"):
            look(data)


def test_what_runs_is_what_was_checked():
    """Bytes 5 to 8 alone would have ONNX Runtime read a file in another format, of other networks than ONNX finds."""
    both = b"\x12\x06__ORTM" + NETWORK  # ModelProto.producer_name, six characters
    assert safety.check(both).graph == onnx.load_from_string(NETWORK).graph
    assert torch.equal(OnnxSession(both)(DIGITS.test.x), OnnxSession(NETWORK)(DIGITS.test.x))


def test_what_is_too_large_is_not_parsed():
    for look in (safety.check, read):
        with pytest.raises(safety.Refused, match="at most 5,000,000 bytes, got 5,000,001"):
            look(b"x" * 5_000_001)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(st.tuples(st.integers(0), st.binary(max_size=4), st.integers(0, 4)), min_size=1, max_size=5))
def test_a_file_with_changed_bytes_is_taken_or_a_value_error(good, edits):
    data = said(json.dumps(dict(name="Ada", claims=CLAIMS))) if len(edits) % 2 else good
    for at, new, cut in edits:
        at %= len(data)
        data = data[:at] + new + data[at + cut :]
    for look in (safety.check, read):
        try:
            look(data)
        except ValueError as error:
            assert "\n" not in str(error) and len(str(error)) <= 250


# ------------------------------------------------------------------------------------------ text that is shown


@given(st.text(), st.integers(1, 50))
def test_cleaned_text_is_one_harmless_line(text, length):
    shown = clean(text, length)
    assert len(shown) <= length + 1
    assert shown == "" or shown[0] not in "=+-@\t\r\n|%＝＋－＠"
    assert all(c.isprintable() for c in shown) and ";" not in shown  # Python's own rule
    assert clean(shown, length + 1) == shown


@pytest.mark.parametrize(
    "text, shown",
    [
        ("Zoë Müller-Ångström 李", "Zoë Müller-Ångström 李"),
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        (" \t=1", "'=1"),
        ("＝1", "'＝1"),
        ("a;=1", "a,=1"),
        ("\x1b[2Jgone\x07\r\nnext", "[2Jgone next"),
        ("\u202egnp.exe", "gnp.exe"),
        ("\udcff", ""),
        ("x" * 300, "x" * 199 + "…"),
    ],
)
def test_cleaned_text_by_hand(text, shown):
    assert clean(text) == shown
