"""Pruning while training: the sparsity follows the schedule, masks nest, the result is worth the effort."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compresslab import data, models, training
from compresslab.layers import layers_of
from compresslab.pruning import gradual, masks, schedules, sensitivity
from compresslab.pruning.regularise import l1

adam = partial(torch.optim.Adam, lr=0.01)


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


def watched(monkeypatch):
    """Every mask that is put on, in order."""
    seen = []

    def mask_(model, chosen):
        seen.append(chosen)
        masks.mask_(model, chosen)

    monkeypatch.setattr(gradual, "mask_", mask_)
    return seen


@pytest.mark.parametrize("schedule", [schedules.one_shot, schedules.iterative(3), schedules.cubic])
def test_the_sparsity_follows_the_schedule(digits, schedule, monkeypatch):
    seen = watched(monkeypatch)
    model = models.mlp(seed=0)  # 2368 weights; 34 steps of the optimizer an epoch
    history = gradual.prune_and_train_(
        model, digits, 0.9, schedule, optimizer=adam, epochs=5, begin=0.2, end=0.8, every=1 / 340
    )
    share = [schedule(min(max((epoch / 5 - 0.2) / 0.6, 0), 1)) for epoch in range(1, 6)]
    rounded = [round(round(0.9 * s, 12) * 2368) / 2368 for s in share]
    assert history["sparsity"].tolist() == pytest.approx(rounded, abs=1.01 / 2368)
    assert masks.sparsity(model) == pytest.approx(round(0.9 * 2368) / 2368, abs=1e-12)
    assert len(seen) == 103  # after the steps 34, 35 ... 136 of 170
    for before, now in zip(seen, seen[1:]):
        assert not any((now[name] & ~before[name]).any() for name in now)


def test_every_says_how_often(digits, monkeypatch):
    seen = watched(monkeypatch)
    gradual.prune_and_train_(models.mlp(seed=0), digits, 0.5, epochs=1, begin=0.0, end=1.0, every=0.25)
    assert len(seen) == 5  # at 1/34 (the first step), 1/4, 1/2, 3/4 and 1
    seen.clear()
    gradual.prune_and_train_(models.mlp(seed=0), digits, 0.5, epochs=1, begin=0.999, end=1.0, every=1.0)
    history = gradual.prune_and_train_(models.mlp(seed=0), digits, 0.5, epochs=4, end=0.75, every=0.6)
    assert history["sparsity"].tolist()[2:] == [0.5, 0.5]  # at the end exactly, though 0.6 + 0.6 lies beyond
    assert len(seen) == 1 + 3 and sum((~mask).sum() for mask in seen[0].values()) == 2368 / 2


def test_without_sparsity_it_is_fit(digits):
    pruned, plain = models.mlp(seed=0), models.mlp(seed=0)
    ours = gradual.prune_and_train_(pruned, digits, 0.0, optimizer=adam, epochs=2, seed=3)
    theirs = training.fit(plain, digits, adam, epochs=2, seed=3)
    assert ours.drop(columns=["seconds", "sparsity"]).equals(theirs.drop(columns="seconds"))
    masks.bake_(pruned)
    assert all(torch.equal(a, b) for a, b in zip(pruned.parameters(), plain.parameters()))


def test_training_while_pruning_beats_pruning_after(digits):
    """At 90 % the network pruned at once without training has lost most of what it knew, the gradual one little."""
    at_once = models.mlp(seed=0)
    training.fit(at_once, digits, adam, epochs=10)
    dense = training.evaluate(at_once, digits.val).accuracy
    masks.mask_(at_once, masks.weight_masks(at_once, 0.9))
    model = models.mlp(seed=0)
    gradual.prune_and_train_(model, digits, 0.9, optimizer=adam, epochs=10)
    gradually = training.evaluate(model, digits.val).accuracy
    assert dense - gradually < 0.06 and dense - training.evaluate(at_once, digits.val).accuracy > 0.2


def test_a_budget_is_met_layer_by_layer(digits):
    model = models.mlp(seed=0)
    training.fit(model, digits, adam, epochs=3)
    budget = sensitivity.budget(sensitivity.scan(model, digits.val, (0.5, 0.75)), max_drop=0.05)
    assert budget and max(budget.values()) > 0
    gradual.prune_and_train_(model, digits, budget, optimizer=adam, epochs=2)
    for name, layer in layers_of(model).items():
        assert (layer.weight == 0).float().mean().item() == pytest.approx(budget[name], abs=1e-6)


@pytest.mark.parametrize("criterion", ["taylor", "snip", "wanda", "random"])
def test_every_criterion_finds_its_examples(digits, criterion):
    model = models.mlp(seed=0)
    draw = torch.Generator().manual_seed(0)
    settings = dict(criterion=criterion, generator=draw, epochs=1, every=0.5)
    history = gradual.prune_and_train_(model, digits, 0.5, optimizer=adam, **settings)
    assert history["sparsity"].iloc[-1] == masks.sparsity(model) == 0.5


def test_an_interrupt_keeps_the_epochs_and_tells_their_sparsity(digits, capsys):
    calls = []

    def impatient(progress):
        calls.append(progress)
        if len(calls) > 80:  # the third epoch is cut
            raise KeyboardInterrupt
        return 1.0

    history = gradual.prune_and_train_(models.mlp(seed=0), digits, 0.9, epochs=5, lr_schedule=impatient)
    assert history.epoch.tolist() == [1, 2] and 0 < history["sparsity"].iloc[0] < history["sparsity"].iloc[1] < 0.9


def test_the_l1_penalty_makes_small_weights(digits):
    """With it more than half of the weights end below 0.01, without it few; its gradient is the sign."""
    model = models.mlp(seed=0)
    l1(model).backward()
    for layer in layers_of(model).values():
        assert torch.equal(layer.weight.grad, layer.weight.sign()) and layer.bias.grad is None
    sizes = []
    for strength in (0.0, 1e-3):
        model = models.mlp(seed=0)
        penalised = lambda model, x, y, s=strength: F.cross_entropy(model(x), y) + s * l1(model)  # noqa: E731
        training.fit(model, digits, adam, epochs=10, loss=penalised)
        weights = torch.cat([layer.weight.detach().abs().flatten() for layer in layers_of(model).values()])
        sizes.append((weights < 0.01).float().mean().item())
    assert sizes[1] > 0.5 > 0.2 > sizes[0]


@pytest.mark.parametrize(
    "settings, sentence",
    [
        (dict(sparsity=1.5), r"sparsity must be in \[0, 1\), got 1.5"),
        (dict(sparsity={"1": 0.5, "9": 0.5}), "layers must be among 1, 3, got '9'"),
        (dict(sparsity={"3": 1.0}), r"sparsity must be in \[0, 1\), got 1.0"),
        (dict(sparsity={"3": 0.9999}), "sparsity must leave something of every weight, .* which leaves 3.weight empty"),
        (dict(sparsity=0.5, criterion="size"), "criterion must be one of random, .*, got 'size'"),
        (dict(sparsity=0.5, scope="layer"), "scope must be local or global, got 'layer'"),
        (dict(sparsity=0.5, begin=0.8), r"0 <= begin < end <= 1 and every > 0 must hold, got begin=0.8, end=0.75"),
        (dict(sparsity=0.5, every=0), "every > 0 must hold, got .* every=0"),
    ],
)
def test_bad_input_is_refused_before_training(digits, settings, sentence):
    model = models.mlp(seed=0)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=sentence):
        gradual.prune_and_train_(model, digits, **settings)
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values()))


def test_nothing_to_prune(digits):
    with pytest.raises(ValueError, match="model must have a Linear or Conv layer"):
        gradual.prune_and_train_(nn.Sequential(nn.Flatten(), nn.LayerNorm(64)), digits, 0.5)
    with pytest.raises(ValueError, match="model must have a Linear or Conv layer"):
        l1(nn.LayerNorm(64))
