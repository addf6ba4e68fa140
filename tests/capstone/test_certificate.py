"""The numbers of the certificate equal those of plain torch, of len and of a pencil; its verdicts follow its rule."""

import dataclasses
import itertools
import re

import numpy as np
import pandas as pd
import pytest
import torch
from capstone.files import DIGITS, by_torch, changed, int8, model, network, not_a_number, plain, weights

from compresslab.capstone.certificate import Certificate, certificate, products, verdict
from compresslab.capstone.task import Budget
from compresslab.runtimes.onnx_int8 import dynamic_int8
from compresslab.runtimes.onnx_run import OnnxSession

FAST = dict(rounds=6, warmup=1)
GOOD = Certificate(
    budget=Budget(kb=60, speedup=2.5, drop=1.5), n=359, kb=45.4, original_kb=606.8, ms=0.17, original_ms=0.65,
    speedup=3.9, speedup_low=3.8, speedup_high=4.0, int8=4, products=4, accuracy=0.98, original_accuracy=0.981,
    points=-0.1, points_low=-1.2, points_high=1.0, agreement=0.99, agreement_low=0.97, agreement_high=0.995,
)  # fmt: skip


@pytest.fixture(scope="module")
def files():
    return network(400), int8(network(100))


def test_the_numbers_are_those_of_torch_and_len():
    first, second = weights(400), weights(100)
    original, file, (x, y) = plain(*first), plain(*second), DIGITS.test
    found = certificate(original, file, DIGITS.test, **FAST)
    answers = [by_torch(x, *pair).argmax(1) for pair in (first, second)]
    right = [(answer == y).double().mean().item() for answer in answers]
    assert (found.kb, found.original_kb) == (len(file) / 1000, len(original) / 1000)
    assert (found.original_accuracy, found.accuracy) == pytest.approx(right)
    assert found.points == pytest.approx(100 * (right[1] - right[0]))
    assert found.agreement == pytest.approx((answers[0] == answers[1]).double().mean().item())
    lost = int(((answers[0] == y) & (answers[1] != y)).sum())
    won = int(((answers[0] != y) & (answers[1] == y)).sum())
    a, b = (lost + 1) / 361, (won + 1) / 361  # Bonett and Price by hand: one image more in both cells
    half = 100 * 1.959964 * ((a + b - (b - a) ** 2) / 361) ** 0.5
    centre = 100 * (b - a)
    assert (found.points_low, found.points_high) == pytest.approx((centre - half, centre + half), abs=1e-4)
    assert found.n == 359 and (found.int8, found.products) == (0, 2)


def test_times_are_paired_and_in_milliseconds(files, monkeypatch):
    # round by round original / file: 4, 3, 4, 3, 4, 3; an interval of a median of six is the lowest to the highest
    seconds = np.array([[4e-3, 1e-3], [6e-3, 2e-3]] * 3)
    monkeypatch.setattr("compresslab.measure.paired_times", lambda *_, **__: seconds)
    found = certificate(*files, DIGITS.test)
    assert (found.speedup, found.speedup_low, found.speedup_high) == pytest.approx((3.5, 3, 4))
    assert (found.original_ms, found.ms) == pytest.approx((5, 1.5))


def test_timed_at_the_budgets_batch_also_with_fewer_images(files, monkeypatch):
    shapes = []
    run = OnnxSession._run
    monkeypatch.setattr(
        OnnxSession, "_run", lambda self, s, inputs: shapes.append(len(inputs[0])) or run(self, s, inputs)
    )
    few = DIGITS.test.x[:20], DIGITS.test.y[:20]
    assert certificate(*files, few, Budget(batch=50), **FAST).n == 20
    assert set(shapes) == {20, 50}  # answers, times


# ------------------------------------------------------------------------------------------ really int8?


def test_int8_counts_kernels_that_multiply_codes(files):
    float_file, int8_file = files
    assert certificate(float_file, int8_file, DIGITS.test, **FAST).verdicts["int8"] == "yes"
    assert certificate(float_file, float_file, DIGITS.test, **FAST).verdicts["int8"] == "no"
    dynamic = certificate(float_file, dynamic_int8(float_file), DIGITS.test, **FAST)
    assert (dynamic.int8, dynamic.products) == (2, 2)


def test_codes_that_are_stored_and_not_multiplied_are_no_int8(files):
    """Weights as int8 and the products in float: small, and its arithmetic is not int8."""
    first, second = weights(100)
    scale = first.abs().max() / 127
    nodes = [("DequantizeLinear", ["codes", "scale"], ["a"]), ("Flatten", ["x"], ["r"]), ("MatMul", ["r", "a"], ["s"])]
    nodes += [("Relu", ["s"], ["h"]), ("MatMul", ["h", "b"], ["y"])]
    file = model(nodes, codes=(first / scale).round().to(torch.int8), scale=scale, b=second)
    found = certificate(files[0], file, DIGITS.test, **FAST)
    assert found.verdicts["int8"] == "no" and found.products == 2


def test_names_of_nodes_hide_no_kernel(files):
    """The runtime's profile is JSON with these names in it: unquoted, one could end its row and write another."""

    def rename(proto):
        for i, node in enumerate(proto.graph.node):
            node.name = f'n{i}_kernel_time","ts":1}},{{"name":"n","x":"\\\n'

    found = certificate(files[0], changed(files[0], rename), DIGITS.test, **FAST)
    assert (found.int8, found.products) == (0, 2)


def test_kernels_by_name():
    table = pd.DataFrame(
        [("QLinearConv", "int8"), ("QGemm", "int8"), ("MatMulNBits", "int8"), ("FusedConv", "float"), ("Add", "int8"),
         ("Reshape", "int8"), ("Relu", "float"), ("DynamicQuantizeMatMul", "int8"), ("QuantizeLinear", "conversion")],
        columns=["operator", "kind"],
    )  # fmt: skip
    assert products(table).tolist() == [True, True, False, False, True]


def test_a_file_without_products_is_not_int8():
    assert dataclasses.replace(GOOD, int8=0, products=0).verdicts["int8"] == "no"


# ------------------------------------------------------------------------------------------ verdicts


def test_verdicts_follow_the_unfavourable_end():
    assert GOOD.passed and set(GOOD.verdicts.values()) == {"yes"}
    for changes, question, settled in (
        (dict(kb=60.0), "smaller", "yes"),
        (dict(kb=60.001), "smaller", "no"),
        (dict(speedup_low=2.5), "faster", "yes"),
        (dict(speedup_low=2.49), "faster", "not settled"),
        (dict(speedup=2.3, speedup_low=2.2, speedup_high=2.49), "faster", "no"),
        (dict(int8=3), "int8", "no"),
        (dict(points_low=-1.5), "answers", "yes"),
        (dict(points_low=-1.51), "answers", "not settled"),
        (dict(points=-2.0, points_low=-3.0, points_high=-1.51), "answers", "no"),
    ):
        found = dataclasses.replace(GOOD, **changes)
        expected = dict.fromkeys(GOOD.verdicts, "yes") | {question: settled}
        assert found.verdicts == expected, changes
        assert found.passed == (settled == "yes")


def test_nan_never_passes():
    assert verdict(float("nan"), float("nan"), 1) == "not settled"
    assert not dataclasses.replace(GOOD, speedup_low=float("nan")).passed


def test_the_example_of_the_docstring():
    """At 359 images and 1.5 points: 1 lost, or 2 lost and 1 won, is a yes; 4 lost and none won is not settled."""
    from compresslab.intervals import paired_shares

    def settled(lost, won):
        ends = paired_shares(lost, won, 359)
        return verdict(100 * ends["low"], 100 * ends["high"], -1.5)

    assert [settled(*pair) for pair in ((0, 0), (1, 0), (2, 1), (4, 0), (2, 0), (30, 2))] == [
        "yes", "yes", "yes", "not settled", "not settled", "no"]  # fmt: skip


def test_a_file_that_is_too_bad_by_the_margin_seldom_gets_a_yes():
    """The chance of a yes at a true loss of 1.5 points: every outcome of 359 images, with its probability."""
    from scipy.stats import multinomial

    from compresslab.intervals import paired_shares

    for share_won in (0.0, 0.005, 0.02):
        lost, won = np.array(list(itertools.product(range(45), range(30)))).T
        chances = [share_won + 0.015, share_won, 1 - 2 * share_won - 0.015]
        outcomes = multinomial.pmf(np.stack([lost, won, 359 - lost - won], 1), 359, chances)
        yes = [paired_shares(int(a), int(b), 359)["low"] >= -0.015 for a, b in zip(lost, won)]
        assert outcomes.sum() > 0.999
        assert outcomes[yes].sum() < 0.035  # 1 of 40, and as much again for an interval that is not exact


# ------------------------------------------------------------------------------------------ how it reads


def test_it_holds_plain_numbers_and_is_frozen(files):
    found = certificate(*files, DIGITS.test, **FAST)
    numbers = [value for value in vars(found).values() if value is not found.budget]
    assert all(type(value) in (int, float) for value in numbers)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.kb = 1.0


def test_text_and_html_say_the_same():
    for found in (GOOD, dataclasses.replace(GOOD, int8=2), dataclasses.replace(GOOD, points_low=-2.0)):
        text, page = repr(found), found._repr_html_()
        for name, row in found.table().iterrows():
            for words in (name, row.measured, row.promised, row.verdict):
                assert words in text and words in page
        assert page.count("<tr>") == 5 and page.count('scope="row"') == 4
        assert "style=" not in page  # colours come from the theme
    assert "every promise is kept" in repr(GOOD) and 'class="cl-report cl-solved' in GOOD._repr_html_()
    assert "3 of 4 promises" in repr(dataclasses.replace(GOOD, int8=2))
    assert re.search(r"✗ Really int8\? +no +2 of 4", repr(dataclasses.replace(GOOD, int8=2)))
    assert "cl-todo" in dataclasses.replace(GOOD, points_low=-2.0)._repr_html_()


# ------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    "file, sentence",
    [
        (b"no model", "file cannot be run by ONNX Runtime"),
        (not_a_number(), "file must give finite scores, got NaN or infinity for 359 of 359 images"),
        (
            model([("Flatten", ["x"], ["y"])], y=("batch", 64)),
            "file must score 10 classes as the original does, got 64",
        ),
        (model([("Identity", ["x"], ["y"])], y=("batch", 1, 8, 8)), r"file must give scores of shape \(n, classes\)"),
    ],
)
def test_a_file_that_cannot_be_judged_is_one_sentence(files, file, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        certificate(files[0], file, DIGITS.test, **FAST)
    assert "\n" not in str(error.value)


def test_images_and_labels_must_fit(files):
    with pytest.raises(ValueError, match="as many images as labels, at least one, got 359 and 3"):
        certificate(*files, (DIGITS.test.x, DIGITS.test.y[:3]))
    with pytest.raises(ValueError, match="file cannot be run by ONNX Runtime"):
        certificate(b"", b"", DIGITS.test)
