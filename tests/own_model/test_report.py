"""`compresslab.report` on classes that the library has never seen: what it says is so, the model stays as it was."""

import copy
import random
import threading
import time
from dataclasses import replace
from functools import partial

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, prune

import compresslab
from compresslab import data, measure, training
from compresslab.own_model import checks, recipe, steps
from compresslab.own_model.recipe import Way
from compresslab.own_model.report import STOPPED
from compresslab.own_model.result import AS_IS, ONNX, Report
from compresslab.pruning import masks, sensitivity, structures
from compresslab.quantization import analysis


class Residual(nn.Module):
    """Convolutions, batch norm, dropout, an addition, a concatenation."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU())
        self.body, self.norm = nn.Conv2d(12, 12, 3, padding=1), nn.BatchNorm2d(12)
        self.side, self.drop, self.head = nn.Conv2d(12, 8, 1), nn.Dropout(0.2), nn.Linear(20, 10)

    def forward(self, x):
        x = self.stem(x)
        x = torch.cat([F.relu(x + self.norm(self.body(x))), self.side(x)], 1)
        return self.head(self.drop(x.amax((2, 3))))


class Attention(nn.Module):
    """A transformer's block around nn.MultiheadAttention; rows of the image are its words."""

    def __init__(self):
        super().__init__()
        self.embed, self.place = nn.Linear(8, 16), nn.Parameter(torch.randn(1, 8, 16) / 10)
        self.attention, self.norm = nn.MultiheadAttention(16, 2, batch_first=True), nn.LayerNorm(16)
        self.mlp, self.head = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16)), nn.Linear(16, 10)

    def forward(self, x):
        x = self.embed(x.squeeze(1)) + self.place
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.head((x + self.mlp(self.norm(x))).mean(1))


class Branch(nn.Module):
    """A Python `if` on the data: nothing can trace it."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(64, 24), nn.Linear(24, 10)

    def forward(self, x):
        x = F.relu(self.first(x.flatten(1)))
        return self.last(x if x.mean() > 0 else -x)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rows, self.head = nn.LSTM(8, 16, batch_first=True), nn.Linear(16, 10)

    def forward(self, x):
        return self.head(self.rows(x.squeeze(1))[0][:, -1])


class Words(nn.Module):
    """Whole numbers in: an embedding; and one layer that stands in two places."""

    def __init__(self):
        super().__init__()
        self.table, self.twice, self.head = nn.Embedding(17, 12), nn.Linear(12, 12), nn.Linear(12, 10)

    def forward(self, x):
        return self.head(F.relu(self.twice(F.relu(self.twice(self.table(x).mean(1))))))


class Bare(nn.Module):
    """No layer at all, a parameter."""

    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(64, 10) / 8)

    def forward(self, x):
        return x.flatten(1) @ self.matrix


CLASSES = (Residual, Attention, Branch, Recurrent, Words, Bare)
QUICK = dict(rounds=6, epochs=2, progress=False)


def splits(kind):
    digits = data.load("digits")
    parts = {name: (x[:n], y[:n]) for name, (x, y), n in (
        ("train", digits.train, 400), ("val", digits.val, 150), ("test", digits.test, 120)
    )}  # fmt: skip
    if kind is Words:
        parts = {name: ((x.flatten(1) * 16).long(), y) for name, (x, y) in parts.items()}
    return parts


def trained(kind, epochs=6):
    torch.manual_seed(0)
    model, parts = kind(), splits(kind)
    few = type("Few", (), parts)
    training.fit(model, few, partial(torch.optim.Adam, lr=0.01), epochs=epochs)
    model.train()
    F.cross_entropy(model(parts["train"][0][:9]), parts["train"][1][:9]).backward()  # so that there are gradients
    return model


def everything(model):
    """All that a report might leave behind in a model, and in torch's random numbers."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return dict(
        tensors={name: (id(t), t.detach().clone()) for name, t in tensors},
        grads={name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()},
        learns=[p.requires_grad for p in model.parameters()],
        modes=[module.training for module in model.modules()],
        hooks=[len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()],
        attributes=[sorted(vars(module)) for module in model.modules()],
        random=(torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()),
        settings=(torch.get_num_threads(), torch.is_grad_enabled(), torch.backends.mha.get_fastpath_enabled()),
    )


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.fixture(scope="module")
def reports():
    """{class: (model, is it as it was?, report)}, each made when it is first asked for."""
    made = {}

    def get(kind):
        if kind not in made:
            model, parts = trained(kind), splits(kind)
            before = everything(model)
            found = compresslab.report(model, parts["train"][0][:40], **parts, **QUICK)
            made[kind] = model, same(before, everything(model)), found
        return made[kind]

    return get


def answers(file, x):
    session = onnxruntime.InferenceSession(file)
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]).argmax(1)


@pytest.mark.parametrize("kind", CLASSES)
def test_the_model_is_as_it_was_and_the_table_says_what_the_file_does(kind, reports):
    model, untouched, found = reports(kind)
    assert untouched
    table, parts = found.recipe.set_index("step"), splits(kind)
    row = table.loc[found.chosen]
    x, y = parts["val"]
    if found.file is None:
        given, size = measure.predict(found.model, x).argmax(1), measure.file_bytes(found.model)
    else:
        given, size = answers(found.file, x), len(found.file)
    assert row.accuracy == (given == y).double().mean().item() and row.kb == size / 1000
    before = measure.predict(model, x).argmax(1)
    assert table.accuracy[AS_IS] == (before == y).double().mean().item()
    assert row.agreement == (given == before).double().mean().item()
    assert row.parameters == sum(p.numel() for p in found.model.parameters())
    np.testing.assert_allclose(table.difference, table.accuracy - table.accuracy[AS_IS], atol=1e-12)
    for name in ("accuracy", "difference", "ms", "speedup"):
        assert (table[f"{name}_low"] <= table[name]).all() and (table[name] <= table[f"{name}_high"]).all()
    assert row.difference >= -found.max_drop and row.verdict != "slower"
    assert found.cost.parameters.item() == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("kind", CLASSES)
def test_test_is_judged_for_the_chosen_row_alone(kind, reports):
    model, _, found = reports(kind)
    x, y = splits(kind)["test"]
    right = measure.predict(model, x).argmax(1) == y
    assert found.test.step.tolist() == list(dict.fromkeys([AS_IS, found.chosen]))
    assert found.test.accuracy[0] == right.double().mean().item() and found.test.n[0] == len(y)
    if found.file is not None and found.chosen != AS_IS:
        assert found.test.accuracy[1] == (answers(found.file, x) == y).double().mean().item()


@pytest.mark.parametrize("kind", [Residual, Attention, Words])
def test_the_scans_are_those_of_the_families(kind, reports):
    model, _, found = reports(kind)
    parts = splits(kind)
    pd.testing.assert_frame_equal(found.weights, sensitivity.scan(model, parts["val"], steps.SPARSITIES))
    calibration = parts["train"][0][torch.randperm(400, generator=torch.Generator().manual_seed(0))[:200].sort().values]
    pd.testing.assert_frame_equal(found.bits, analysis.sensitivity(model.eval(), parts["val"], calibration))
    model.train()


def test_structures_cut_out_answer_like_structures_set_to_zero(reports):
    model, _, found = reports(Residual)
    assert set(found.structures.group) == {"stem.0", "side"}
    x = splits(Residual)["train"][0][:1]
    for row in found.structures.itertuples():
        zeroed = copy.deepcopy(model)
        if row.pruning_ratio:
            masks.mask_(zeroed, structures.structure_masks(zeroed.eval(), x, {row.group: row.pruning_ratio}))
        assert row.accuracy == measure.accuracy(zeroed, splits(Residual)["val"]).accuracy
    assert found.structures.accuracy[found.structures.pruning_ratio == 0].nunique() == 1


def test_a_cut_takes_from_each_group_what_it_bears_alone(reports):
    found = reports(Residual)[2]
    kinds, steps = (ONNX, "ONNX int8", "ONNX int8 dynamic"), [AS_IS]
    steps += [
        *kinds,
        *(row for cut in found.cuts for row in (cut, f"{cut}, retrained", *(f"{cut}, retrained, {k}" for k in kinds))),
    ]
    assert found.recipe.step.tolist() == steps and found.cuts
    scan = found.structures.rename(columns={"group": "layer", "pruning_ratio": "sparsity"})
    for name, ratios in found.cuts.items():
        most = sensitivity.budget(scan, recipe.CUTS[name])
        assert ratios == {group: ratio for group, ratio in most.items() if ratio}
        step = found.recipe.set_index("step").loc[name]
        assert step.parameters < found.recipe.parameters[0] and step.macs < found.recipe.macs[0]


def test_what_cannot_be_traced_stays_in_torch_and_is_told_once(reports):
    found = reports(Branch)[2]
    assert not found.recipe.step.str.contains("ONNX").any() and found.file is None
    told = [note for note in found.notes if "ONNX" in note]
    assert len(told) == 1 and told[0].startswith("ONNX float: not possible here, model cannot be exported to ONNX")
    assert found.structures is not None and found.bits is not None and "onnx_speedup" not in found.recipe


def test_a_recurrent_layer_stays_float_and_whole(reports):
    found = reports(Recurrent)[2]
    table = found.recipe.set_index("step")
    assert table.int8["ONNX int8"] < table.products["ONNX int8"] and found.structures is None
    assert any("No neuron, channel or head can be cut out" in note for note in found.notes)
    # eight steps; four gates that each multiply the row (8) and the state (16); then the last layer
    assert found.cost.macs.item() == 8 * 4 * 16 * (8 + 16) + 16 * 10


def test_without_layers_the_rest_goes_on(reports):
    found = reports(Bare)[2]
    assert found.weights is None and found.bits is None and {AS_IS, ONNX} <= set(found.recipe.step)
    assert any("no linear layer and no convolution" in note for note in found.notes)


def test_without_labels_the_own_answers_are_agreed_with():
    model, x = trained(Residual), splits(Residual)["val"][0]
    found = compresslab.report(model, x, **QUICK)
    assert found.judged == "agreement" and (found.recipe.accuracy == found.recipe.agreement).all()
    assert found.recipe.accuracy[0] == 1 and found.test is None and "accuracy" not in found.cost
    assert not found.recipe.step.str.contains("retrained").any()
    assert "agreement with the original is judged" in found.notes[0] and "150 of example_inputs" in found.notes[1]
    assert (answers(found.file, x) == measure.predict(model, x).argmax(1)).double().mean() >= 0.99


def test_one_example_is_enough():
    found = compresslab.report(trained(Bare), splits(Bare)["val"][0][:1], batch=3, **QUICK)
    assert found.examples == 1 and {AS_IS, ONNX} <= set(found.recipe.step)
    assert found.cost.macs.item() == found.recipe.macs[0] == 640  # of one example, whatever the batch that is timed
    assert found.file is None or answers(found.file, torch.zeros(5, 1, 8, 8)).shape == (5,)


# ------------------------------------------------------------------------------------------ stopping


def stopped(words, how):
    """A report that is stopped as soon as it says `words`: (report, all that it said)."""
    said, stop = [], threading.Event()

    def hear(share, next_words, found):
        said.append((share, next_words))
        if next_words.startswith(words):
            how(stop)

    model, parts = trained(Branch, epochs=2), splits(Branch)
    before = everything(model)
    found = compresslab.report(model, parts["train"][0][:40], **parts, **QUICK | dict(progress=hear), stop=stop)
    assert same(before, everything(model))
    return found, said


def interrupt(stop):
    raise KeyboardInterrupt


@pytest.mark.parametrize("how", [threading.Event.set, interrupt])
def test_a_stop_keeps_what_is_done(how):
    found, said = stopped("cutting structures of first", how)
    assert said[-1][1].startswith("cutting structures of first") and found.notes[-1] == STOPPED
    assert found.cost is not None and len(found.weights) == 2 * 5 and len(found.bits) == 4
    assert found.structures is None and found.recipe is None and found.model is None
    assert "Proposed" not in repr(found) and STOPPED in found._repr_html_()


def test_a_stop_is_heard_in_the_middle_of_training():
    found, said = stopped("cut, retrained: training", threading.Event.set)
    steps = [share for share, words in said if words.startswith("cut, retrained: training")]
    assert len(steps) == 1  # of 2 epochs of 13 steps
    assert found.recipe.step.tolist() == [AS_IS, "cut"] and found.chosen in found.recipe.step.tolist()
    assert found.model is not None and found.notes[-1] == STOPPED


def test_progress_grows_to_the_end(capsys):
    said = []
    parts = splits(Bare)
    compresslab.report(
        trained(Bare), parts["val"][0], parts["train"], parts["val"],
        **QUICK | dict(progress=lambda share, words, found: said.append(share)),
    )  # fmt: skip
    assert said == sorted(said) and said[0] == 0 and said[-1] == 1
    compresslab.report(trained(Bare), parts["val"][0], parts["train"], parts["val"], **QUICK | dict(progress=True))
    out, err = capsys.readouterr()
    assert out == "" and "■ stops and keeps what is done" in err


# --------------------------------------------------------------------------------------- its own rules


def ways(**rows):
    """{step: Way} with made-up numbers: step=(kb, speed-up over ONNX float, difference)."""
    made = {}
    for step, (kb, over, difference) in rows.items():
        row = dict(step=step, kb=kb, ms=1 / over, ms_low=0.99 / over, ms_high=1.01 / over)
        row |= dict(speedup=2 * over, speedup_low=1.98 * over, speedup_high=2.02 * over)
        row |= dict(onnx_speedup=over, onnx_speedup_low=0.99 * over, onnx_speedup_high=1.01 * over)
        row |= dict(verdict="faster" if over > 0.5 else "slower", difference=difference, kept="yes", int8=1, products=1)
        made[step] = Way(row, None, step.encode(), None, None)
    as_is = made[AS_IS].row | dict.fromkeys(("speedup", "speedup_low", "speedup_high"), 1.0) | dict(verdict="baseline")
    made[AS_IS] = replace(made[AS_IS], row=as_is, file=None)
    return made


EMPTY = Report("Made", "accuracy", 100, 0.01, "fastest", 1, 30)
BEGIN = {AS_IS: (100, 0.5, 0.0), ONNX: (90, 1.0, 0.0)}


@pytest.mark.parametrize(
    "rows, prefer, chosen",
    [
        (dict(a=(50, 2, -0.005), b=(20, 3, -0.02)), "fastest", "a"),  # b is better and loses too much
        (dict(a=(50, 2, -0.01), b=(20, 2.01, 0.0)), "fastest", "b"),  # equally fast, and smaller
        (dict(a=(50, 2, 0.0), b=(20, 1.2, 0.0)), "fastest", "a"),
        (dict(a=(50, 2, 0.0), b=(20, 1.2, 0.0)), "smallest", "b"),
        (dict(a=(50, 0.4, 0.0)), "smallest", "a"),
        (dict(a=(50, 2, -0.1)), "fastest", ONNX),
    ],
)
def test_the_rule_of_the_proposal(rows, prefer, chosen):
    found = recipe._proposal(replace(EMPTY, prefer=prefer), ways(**BEGIN, **rows))
    assert found["chosen"] == chosen and found["file"] == chosen.encode()


def test_what_is_slower_is_not_proposed():
    made = ways(**BEGIN, a=(50, 2, 0.0))
    made[ONNX].row.update(speedup=0.8, speedup_low=0.7, speedup_high=0.99, verdict="slower")
    # by the pairs with ONNX float alone, whose interval is wide, it could be as fast as the model as it is
    made["a"].row.update(speedup=0.9, speedup_low=0.8, speedup_high=0.99, verdict="slower")
    made["a"].row.update(onnx_speedup=1.0, onnx_speedup_low=0.5, onnx_speedup_high=3.0)
    found = recipe._proposal(EMPTY, made)
    assert found["chosen"] == AS_IS and found["file"] is None
    assert replace(EMPTY, **found).proposal().startswith("Proposed: leave it as it is.")
    assert recipe._proposal(replace(EMPTY, prefer="smallest"), made)["chosen"] == "a"


def test_a_fault_in_one_scan_is_a_note_and_the_rest_goes_on(monkeypatch):
    whole = sensitivity.scan

    def scan(model, split, sparsities, layers):
        if layers == ["first"]:
            raise RuntimeError("no luck\nand more")
        return whole(model, split, sparsities, layers=layers)

    monkeypatch.setattr(steps.sensitivity, "scan", scan)
    monkeypatch.setattr(steps.dependencies, "groups", lambda *_: [][0])
    parts = splits(Branch)
    found = compresslab.report(trained(Branch, 1), parts["val"][0], val=parts["val"], **QUICK)
    assert found.weights.layer.unique().tolist() == ["last"] and found.bits is not None and found.chosen
    assert "pruning weights of first: not possible here, no luck" in found.notes
    assert "cutting structures: not possible here, list index out of range" in found.notes


def test_a_test_split_that_fails_late_costs_nothing_else(monkeypatch):
    monkeypatch.setattr(checks, "_scores", lambda model, name, x: model(x))  # let it pass the check of one example
    torch.manual_seed(0)
    parts, model = splits(Bare), Late()
    found = compresslab.report(model, parts["val"][0], val=parts["val"], test=parts["test"], **QUICK)
    assert found.chosen and found.test is None
    assert any(note.startswith("the table of test: not possible here, 120 are too few") for note in found.notes)


class Late(Bare):
    def forward(self, x):
        if len(x) == 120:
            raise RuntimeError("120 are too few")
        return super().forward(x)


def test_the_same_seed_gives_the_same_answers():
    parts, model = splits(Residual), trained(Residual, 2)
    ask = partial(compresslab.report, model, parts["val"][0], parts["train"], parts["val"], **QUICK)
    torch.manual_seed(1)
    first = ask()
    torch.manual_seed(2)
    with torch.inference_mode():
        second = ask()
    columns = ["step", "parameters", "macs", "accuracy", "difference", "agreement", "kept"]
    pd.testing.assert_frame_equal(first.recipe[columns], second.recipe[columns])
    assert first.recipe.step.str.contains("retrained").any()


def test_own_training_after_a_cut():
    seen, parts = [], splits(Branch)

    def fit(model):
        seen.append(model)
        nn.init.zeros_(model.last.weight)
        nn.init.constant_(model.last.bias, 1)

    found = compresslab.report(
        trained(Branch, 2), parts["val"][0], parts["train"], parts["val"], fit=fit, **QUICK
    ).recipe.set_index("step")
    retrained = found[found.index.str.endswith("retrained")]
    assert len(seen) == len(retrained) > 0 and all(model.first.out_features < 24 for model in seen)
    assert (retrained.accuracy == (parts["val"][1] == 0).double().mean().item()).all()  # all scores equal: class 0


# ------------------------------------------------------------------------------------- what an engineer has


def test_a_parametrized_model_with_hooks_is_taken_as_it_answers():
    normed, calls = parametrizations.weight_norm(nn.Linear(64, 16)), []
    model = nn.Sequential(nn.Flatten(), normed, nn.ReLU(), nn.Linear(16, 10))
    model[2].register_forward_hook(lambda *_: calls.append(1))
    x = splits(Bare)["val"][0]
    expected = measure.predict(model, x)
    calls.clear()
    copied, notes = checks._copy(model)
    torch.testing.assert_close(measure.predict(copied, x), expected)
    assert calls == [] and len(model[2]._forward_hooks) == 1 and len(model[1].parametrizations) == 1
    assert notes == [
        "The parametrization of 1.weight was replaced by the weight it yields.",
        "Hooks on the model were left out.",
    ]


class Answers(nn.Module):
    def __init__(self, give):
        super().__init__()
        self.layer, self.give = nn.Linear(64, 10), give

    def forward(self, x, *more):
        return self.give(self.layer(x.flatten(1)), x)


class Output(dict):
    logits = None


class Two(nn.Module):
    def forward(self, ids, mask):
        return ids


def old_style():
    model = Branch()
    prune.l1_unstructured(model.first, "weight", 0.5)
    return model


X = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "model, sentence",
    [
        (len, "model must be an nn.Module, got builtin_function_or_method"),
        (
            Answers(lambda y, x: (y, x)),
            r"one tensor of scores \(n, classes\), got tuple: .* returns self.model\(x\)\[0\]",
        ),
        (
            Answers(lambda y, x: Output()),
            r"got Output: wrap it in an nn.Module whose .* returns self.model\(x\).logits",
        ),
        (Answers(lambda y, x: {"scores": y}), r"got dict: wrap it .* returns self.model\(x\)\['scores'\]"),
        (Answers(lambda y, x: y[:, None]), r"two classes or more, got the shape \(2, 1, 10\) for 2 examples"),
        (Answers(lambda y, x: y[:, :1]), r"two classes or more, got the shape \(2, 1\) for 2 examples"),
        (Answers(lambda y, x: y.squeeze(0)), r"two classes or more, got the shape \(10,\) for 1 examples"),
        (Answers(lambda y, x: y / 0), "must return finite scores for example_inputs"),
        (Answers(lambda y, x: (y, x.add_(1))[0]), "must not change its input in place"),
        (Two(), r"must take example_inputs \(2, 1, 8, 8\) \(wrap a model of several inputs .*'mask'"),
        (Branch().half(), r"model must be float32 on the CPU .* got torch.float16 on cpu in first.weight"),
        (Branch().to("meta"), "model must be float32 on the CPU .* on meta in first.weight"),
        (nn.Sequential(nn.Flatten(), nn.LazyLinear(10)), "model must have been called once before"),
        (torch.compile(Branch()), "model must be a plain nn.Module, got a compiled one"),
        (old_style(), r"plain weights \(call torch.nn.utils.prune.remove, .* L1Unstructured on 'first'"),
        (nn.Linear(9, 3), r"model must take example_inputs .* got: mat1 and mat2"),
    ],
)
def test_models_that_no_report_can_be_made_of(model, sentence):
    with pytest.raises(ValueError, match=sentence):
        compresslab.report(model, X, progress=False)


Y = torch.tensor([0, 1, 2, 9])


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (dict(example_inputs=[1.0]), r"example_inputs must be one tensor \(n, ...\), got list"),
        (dict(example_inputs=(X, X)), "got tuple: wrap a model of several inputs"),
        (dict(example_inputs=X[:0]), r"at least one example \(n, ...\), got the shape \(0, 1, 8, 8\)"),
        (dict(example_inputs=X.double()), "must be float32 or whole numbers on the CPU, got torch.float64"),
        (dict(example_inputs=X / 0), "example_inputs must hold finite numbers"),
        (dict(val=[X]), r"val must be a pair \(x, y\) of tensors, got list"),
        (dict(val=(X.numpy(), Y)), r"val must be a pair \(x, y\) of tensors"),
        (dict(val=(X[0], Y)), "x of val must be like example_inputs"),
        (dict(train=(X, Y[:2])), r"y of train must be classes, int64 \(4,\), got torch.int64 \(2,\)"),
        (dict(train=(X, F.one_hot(Y))), r"y of train must be classes, .* got torch.int64 \(4, 10\)"),
        (dict(test=(X, Y + 1)), r"y of test must be in 0..9, got 1 to 10"),
        (dict(max_drop=-1), "max_drop must be a number of at least 0, got -1"),
        (dict(prefer="nicest"), "prefer must be one of fastest, smallest, got 'nicest'"),
        (dict(max_drop="1"), "max_drop must be a number of at least 0, got '1'"),
        (dict(lr=-1), "lr must be a number of at least 0, got -1"),
        (dict(fit=3), "fit must be a function of the model, got 3"),
        (dict(rounds=6.5), "rounds must be a whole number, got 6.5"),
        (dict(val=(X[..., :7], Y)), r"model must take x of val \(1, 1, 8, 7\), got: mat1 and mat2"),
        (dict(test=(X[..., :7], Y)), r"model must take x of test \(1, 1, 8, 7\), got: mat1 and mat2"),
        (dict(rounds=5), "rounds must be at least 6, got 5"),
        (dict(epochs=0), "epochs must be at least 1, got 0"),
    ],
)
def test_bad_arguments(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        compresslab.report(Branch(), **dict(example_inputs=X, progress=False) | arguments)


# ------------------------------------------------------------------------------------------------- looks


def test_it_reads_as_text_and_as_a_page(reports):
    found = reports(Residual)[2]
    lines = repr(found).splitlines()
    assert len(lines) <= 40 and lines[0] == "Report on Residual" and f"Proposed: {found.chosen}." in repr(found)
    page = replace(found, name="<Net>", notes=("a < b",))._repr_html_()
    assert "<Net>" not in page and "&lt;Net&gt;" in page and "a &lt; b" in page
    assert page.count("<table>") == page.count("<caption>") == page.count("</table>") == 6
    assert page.count('<th scope="row">') == sum(len(table) for table in found.tables().values())
    for step in found.recipe.step:
        assert f'<th scope="row">{step}</th>' in page
    row = found.recipe.set_index("step").loc[ONNX]
    assert f"<td>{row.kb:,.1f}</td>" in page and "no_" not in page and "nan" not in page


def test_many_layers_are_cut_short_in_the_text():
    layers = [f"layer{i}" for i in range(20)]
    bits = pd.DataFrame(dict(layer=["none", *layers, "all"], accuracy=0.9, accuracy_low=0.8, accuracy_high=0.95))
    text = repr(replace(EMPTY, bits=bits))
    assert "layer7 +0.0 and 13 more" in text and "layer8" not in text


# ------------------------------------------------------------------------------------------------- panel


def test_the_panel_works_beside_the_notebook():
    model, parts = trained(Bare), splits(Bare)
    before = everything(model)
    panel = compresslab.report_panel(model, parts["val"][0], val=parts["val"], rounds=6)
    assert panel.wait() is None and panel.stop_button.disabled and 'role="status"' in panel.line.value
    panel.start_button.click()
    assert panel.start_button.disabled and not panel.stop_button.disabled
    thread = panel._thread
    panel.start()  # at work already
    assert panel._thread is thread
    found = panel.wait()
    assert found is panel.report and found.chosen and panel.bar.value == 1 and "Done." in panel.line.value
    assert panel.page.value == found._repr_html_() and panel.alert.value == ""
    assert not panel.start_button.disabled and panel.stop_button.disabled
    assert same(before, everything(model))
    assert "Start and Stop" in panel._repr_mimebundle_()["text/plain"]


def test_the_panels_stop_button_keeps_what_is_done(monkeypatch):
    at_work, go_on = threading.Event(), threading.Event()
    whole = steps.static_

    def static_(*args, **kwargs):
        at_work.set()
        go_on.wait(60)
        return whole(*args, **kwargs)

    monkeypatch.setattr(steps, "static_", static_)
    parts = splits(Branch)
    panel = compresslab.report_panel(trained(Branch, 1), parts["val"][0], val=parts["val"], rounds=6)
    panel.start_button.click()
    assert at_work.wait(60) and panel.report.weights is not None and "8 bits for first" in panel.line.value
    panel.stop_button.click()
    go_on.set()
    found = panel.wait(60)
    assert found.bits.layer.tolist() == ["none", "first"] and found.recipe is None and found.notes[-1] == STOPPED
    assert "Stopped" in panel.line.value and STOPPED in panel.page.value


def test_the_panel_shows_at_once_that_it_begins_and_that_it_will_stop():
    go_on, panel = threading.Event(), compresslab.report_panel(Branch(), X)
    panel._make = lambda progress, stop: go_on.wait(60) and EMPTY
    panel.stop()  # not at work
    assert "Not started yet." in panel.line.value
    panel.bar.value = 1  # of a report before
    panel.start_button.click()
    assert panel.bar.value == 0 and "At work: checking the model." in panel.line.value
    panel.stop_button.click()
    assert panel.stop_button.disabled and "Stopping after this step." in panel.line.value
    panel._show(0.5, "training", EMPTY)  # the step ends
    assert panel.bar.value == 0.5 and "Stopping after this step." in panel.line.value
    go_on.set()
    assert panel.wait(60) is EMPTY and "Stopped:" in panel.line.value


def test_the_panel_says_errors_in_a_sentence():
    panel = compresslab.report_panel(Branch(), X, val=(X, Y + 1))
    panel.start()
    assert panel.wait() is None and 'role="alert">ValueError: y of val must be in 0..9' in panel.alert.value
    assert not panel.start_button.disabled and panel.page.value == ""


def test_an_interrupt_while_waiting_stops_the_work():
    class Interrupted(threading.Thread):
        def join(self, timeout=None):
            if not panel._stop.is_set():
                raise KeyboardInterrupt
            super().join(timeout)

    def make(progress, stop):
        while not stop.is_set():
            time.sleep(0.01)
        return EMPTY

    panel = compresslab.report_panel(Branch(), X)
    panel._make = make
    panel.start()
    panel._thread.__class__ = Interrupted
    assert panel.wait() is EMPTY and "Stopped" in panel.line.value


def test_it_is_there_when_it_is_asked_for():
    assert {"report", "report_panel"} <= set(compresslab.__all__) <= set(dir(compresslab))
    assert callable(compresslab.report) and compresslab.report is compresslab.own_model.report.report
    with pytest.raises(ModuleNotFoundError):
        __import__("compresslab.report")
