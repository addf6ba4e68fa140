"""`fit` learns and restores; `fit_many` gives, run for run, what one-by-one training gives."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from compresslab import data, models, training
from compresslab.optimizers import rules, schedules
from compresslab.optimizers.parity import TORCH

RUNS = [dict(lr=lr, seed=seed) for lr in (0.003, 0.01) for seed in (0, 1, 2)]


@pytest.fixture(scope="module")
def small():
    """Digits in float64, 300 to learn on: odd enough that the last batch is not full."""
    digits = data.load("digits")
    train, val = (data.Split(s.x[:n].double(), s.y[:n]) for s, n in ((digits.train, 300), (digits.val, 100)))
    return data.Data("small", digits.classes, train, val, val)


class Norm(nn.Module):
    """A network that is not a plain chain: it goes through vmap."""

    def __init__(self, seed):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.first, self.norm, self.last = nn.Linear(64, 12), nn.LayerNorm(12), nn.Linear(12, 10)

    def forward(self, x):
        hidden = self.first(x.flatten(1))
        return self.last(hidden + torch.tanh(self.norm(hidden)))


def conv(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))


def seeded(build):
    def make(seed):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return build()

    return make


def one_relu_twice():
    relu = nn.ReLU()
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), relu, nn.Linear(16, 16), relu, nn.Linear(16, 10))


def one_layer_twice():
    layer = nn.Linear(16, 16)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), layer, nn.Tanh(), layer, nn.Linear(16, 10))


def row_by_row():
    return nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Flatten(), nn.Linear(32, 10, bias=False))


def without_bias():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16, bias=False), nn.Tanh(), nn.Linear(16, 10))


UNUSUAL = [seeded(build) for build in (one_relu_twice, one_layer_twice, row_by_row, without_bias)]


# In float64 both ways round at 2**-53 = 1e-16; only the order of the sums differs. Three epochs are 30 steps; even
# if each step doubled the error of a weight (it does not: the losses fall), 1e-16 * 2**20 stays below 1e-9.
@pytest.mark.parametrize("name", rules.RULES)
def test_every_rule_trains_as_one_by_one(small, name):
    make = partial(models.mlp, (64, 16, 10))
    check_equal(small, make, RUNS, rules.get_rule(name), TORCH[name], epochs=3)


@pytest.mark.parametrize("make", [partial(models.mlp, (64, 20, 12, 10)), models.tiny_rnn, Norm, conv, *UNUSUAL])
def test_every_architecture_trains_as_one_by_one(small, make):
    check_equal(small, make, RUNS, rules.adam, torch.optim.Adam, epochs=2, schedule=schedules.one_cycle)


def test_any_number_of_the_rule_may_vary(small):
    runs = [dict(lr=0.01, seed=0, momentum=m) for m in (0.0, 0.5, 0.95)]
    make = partial(models.mlp, (64, 16, 10))
    history, _ = training.fit_many(make, small, runs, rules.momentum, epochs=2, dtype=torch.float64)
    for i, run in enumerate(runs):
        alone = training.fit(
            make(seed=0).double(),
            small,
            partial(torch.optim.SGD, lr=0.01, momentum=run["momentum"]),
            epochs=2,
        )
        assert history[history.run == i].val_loss.tolist() == pytest.approx(alone.val_loss.tolist(), rel=1e-9)
    assert history.groupby("run").val_loss.last().nunique() == 3


def check_equal(small, make, runs, rule, torch_optimizer, **settings):
    history, trained = training.fit_many(make, small, runs, rule, dtype=torch.float64, **settings)
    assert len(history) == len(runs) * settings["epochs"]
    for i, run in enumerate(runs):
        model = make(seed=run["seed"]).double()
        alone = training.fit(model, small, partial(torch_optimizer, lr=run["lr"]), seed=run["seed"], **settings)
        rows = history[history.run == i]
        assert (rows.lr == run["lr"]).all() and (rows.seed == run["seed"]).all()
        for column in ("train_loss", "val_loss", "val_accuracy"):
            assert rows[column].tolist() == pytest.approx(alone[column].tolist(), rel=1e-9, abs=1e-9)
        for (name, a), b in zip(trained[i].state_dict().items(), model.state_dict().values()):
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9, msg=name)


def test_a_run_that_diverges_harms_no_other(small):
    runs = [dict(lr=lr, seed=0) for lr in (0.01, 1e6, math.inf)]
    history, _ = training.fit_many(models.mlp, small, runs, rules.momentum, epochs=2, dtype=torch.float64)
    alone, _ = training.fit_many(models.mlp, small, runs[:1], rules.momentum, epochs=2, dtype=torch.float64)
    assert history[history.run == 0].val_loss.tolist() == pytest.approx(alone.val_loss.tolist(), rel=1e-9)
    last = history[history.epoch == 2].set_index("run").val_loss
    assert not (last[1] < 100) and not math.isfinite(last[2])


def test_the_same_seed_gives_the_same_numbers(small):
    first, second = (training.fit_many(models.mlp, small, RUNS, rules.adam, epochs=1)[0] for _ in range(2))
    assert first.equals(second)


def test_matrix_rule_moves_matrices_only(small):
    def still(param, grad, state, lr):
        return param, state

    start = models.mlp(seed=0)
    _, (model,) = training.fit_many(models.mlp, small, [dict(lr=0.1, seed=0)], still, matrix_rule=rules.muon, epochs=1)
    for before, after in zip(start.parameters(), model.parameters()):
        assert torch.equal(before, after) == (before.ndim == 1)


@pytest.mark.parametrize(
    "runs, sentence",
    [
        ([], "runs must hold at least one dict with lr and seed, got none"),
        ([dict(lr=0.1)], r"runs must all have the same keys, lr and seed among them, got \['lr'\]"),
        ([dict(lr=0.1, seed=0), dict(lr=0.1, seed=1, momentum=0.5)], "runs must all have the same keys"),
    ],
)
def test_bad_runs_get_a_sentence(small, runs, sentence):
    with pytest.raises(ValueError, match=sentence):
        training.fit_many(models.mlp, small, runs, rules.sgd)


def with_frozen_bias(seed):
    model = models.mlp(seed=seed)
    model[1].bias.requires_grad_(False)
    return model


@pytest.mark.parametrize(
    "make, name",
    [
        (lambda seed: nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.BatchNorm1d(10)), "2.running_mean"),
        (lambda seed: nn.Sequential(nn.Flatten(), nn.Dropout(0.1), nn.Linear(64, 10)), "1"),
        (with_frozen_bias, "1.bias"),
    ],
)
def test_what_cannot_be_batched_is_refused(small, make, name):
    what = r"buffers \(batch norm\?\), frozen parameters or dropout"
    with pytest.raises(ValueError, match=f"^make_model must have no {what}, got {name}; use fit instead$"):
        training.fit_many(make, small, [dict(lr=0.1, seed=0)], rules.sgd)


def test_fit_learns_and_tells_how():
    digits = data.load("digits")
    model = models.mlp(seed=0)
    history = training.fit(model, digits, partial(torch.optim.Adam, lr=0.01), epochs=8, schedule=schedules.cosine)
    assert list(history.columns) == ["epoch", "lr", "train_loss", "val_loss", "val_accuracy", "seconds"]
    assert history.epoch.tolist() == list(range(1, 9)) and history.lr.is_monotonic_decreasing
    final = training.evaluate(model, digits.val)
    assert final.accuracy == history.val_accuracy.iloc[-1] > 0.9
    assert final.loss == pytest.approx(nn.functional.cross_entropy(model(digits.val.x), digits.val.y).item(), rel=1e-5)


def test_evaluate_puts_the_mode_back(small):
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(64, 10)).double()
    model.train()
    assert training.evaluate(model, small.val) == training.evaluate(model, small.val, batch_size=100)  # no dropout
    assert model.training and all(module.training for module in model)


def test_an_interrupt_keeps_what_is_done(small, capsys):
    calls = []

    def impatient(progress):
        calls.append(progress)
        if len(calls) > 25:  # ten steps an epoch: the third epoch is cut
            raise KeyboardInterrupt
        return 1.0

    history = training.fit(models.mlp(seed=0).double(), small, epochs=5, schedule=impatient)
    assert history.epoch.tolist() == [1, 2]
    assert "2 of 5 epochs are done and kept" in capsys.readouterr().out
    calls.clear()
    history, trained = training.fit_many(models.mlp, small, RUNS, rules.sgd, epochs=5, schedule=impatient)
    assert sorted(history.epoch.unique()) == [1, 2] and len(trained) == len(RUNS)


def test_track_shows_a_bar_only_if_asked(capsys):
    assert list(training.track(range(3), "counting", show=False)) == [0, 1, 2]
    assert capsys.readouterr().err == ""
    assert list(training.track(range(3), "counting")) == [0, 1, 2]
    assert "counting" in capsys.readouterr().err


# ------------------------------------------------------------------------------ hooks and masks, for pruning


def test_a_loss_of_ones_own_is_what_is_minimised(small):
    """Cross-entropy plus half the squared weights is the weight decay of SGD: the same numbers but for rounding."""

    def penalised(model, x, y):
        return nn.functional.cross_entropy(model(x), y) + 0.01 / 2 * sum(p.square().sum() for p in model.parameters())

    ours, theirs = models.mlp(seed=0).double(), models.mlp(seed=0).double()
    history = training.fit(ours, small, partial(torch.optim.SGD, lr=0.1), epochs=2, loss=penalised)
    plain = training.fit(theirs, small, partial(torch.optim.SGD, lr=0.1, weight_decay=0.01), epochs=2)
    for a, b in zip(ours.parameters(), theirs.parameters()):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    assert history.val_loss.tolist() == pytest.approx(plain.val_loss.tolist(), rel=1e-9)
    assert (history.train_loss > plain.train_loss).all()  # with the penalty


@pytest.mark.parametrize("epochs, batch_size", [(1, 32), (3, 32), (7, 300), (49, 297)])
def test_every_step_is_told_and_the_last_is_exactly_one(small, epochs, batch_size):
    told, model = [], models.mlp(seed=0).double()
    weights = []

    def on_step(progress):
        told.append(progress)
        weights.append(model[3].bias[0].item())

    training.fit(model, small, epochs=epochs, batch_size=batch_size, on_step=on_step)
    total = epochs * math.ceil(300 / batch_size)
    assert told == [step / total for step in range(1, total + 1)] and told[-1] == 1
    assert len(set(weights)) == total and weights[-1] == model[3].bias[0].item()  # after the optimizer


@pytest.mark.parametrize("name, extra", [("momentum", dict(momentum=0.9)), ("adamw", {}), ("adam", {})])
@pytest.mark.parametrize("make", [partial(models.mlp, (64, 16, 10)), Norm])
def test_masked_runs_train_as_masked_one_by_one(small, make, name, extra):
    """Each run its own masks; alone, the mask is a parametrization. Tolerances as above."""
    from compresslab.pruning.masks import bake_, mask_

    generator, runs = torch.Generator().manual_seed(0), [dict(lr=0.01, seed=seed, **extra) for seed in (0, 1, 2)]
    weights = {key: p.shape for key, p in make(seed=0).named_parameters() if p.ndim == 2}
    kept = {key: torch.rand(3, *shape, generator=generator) < 0.3 for key, shape in weights.items()}
    _, trained = training.fit_many(make, small, runs, rules.get_rule(name), masks=kept, epochs=2, dtype=torch.float64)
    for i in range(3):
        model = make(seed=i).double()
        mask_(model, {key: mask[i] for key, mask in kept.items()})
        optimizer = partial(torch.optim.SGD, lr=0.01, momentum=0.9) if extra else partial(TORCH[name], lr=0.01)
        training.fit(model, small, optimizer, epochs=2, seed=i)
        bake_(model)
        for key, p in trained[i].named_parameters():
            torch.testing.assert_close(p, model.get_parameter(key), rtol=1e-8, atol=1e-9)
            assert key not in kept or torch.equal(p != 0, kept[key][i])


def test_masks_of_ones_change_nothing_and_masks_hold_from_the_start(small):
    runs = [dict(lr=0.01, seed=0), dict(lr=0.0, seed=1)]
    kept = {"1.weight": torch.ones(2, 32, 64, dtype=torch.bool)}
    plain, _ = training.fit_many(models.mlp, small, runs, rules.adam, epochs=1)
    masked, _ = training.fit_many(models.mlp, small, runs, rules.adam, masks=kept, epochs=1)
    assert plain.equals(masked)
    kept["1.weight"][1] = False  # a run that does not learn, with its first layer gone
    masked, trained = training.fit_many(models.mlp, small, runs, rules.adam, masks=kept, epochs=1, dtype=torch.float64)
    start = models.mlp(seed=1).double()
    with torch.no_grad():
        start[1].weight.zero_()
    assert masked.val_loss[1] == pytest.approx(training.evaluate(start, small.val).loss, rel=1e-9)
    assert torch.equal(trained[1][1].weight, start[1].weight)


@pytest.mark.parametrize(
    "kept, sentence",
    [
        (
            {"2.weight": torch.ones(1, 32, 64, dtype=torch.bool)},
            r"masks must be bool, of {'1.weight': \(1, 32, 64\), .*got",
        ),
        ({"1.weight": torch.ones(32, 64, dtype=torch.bool)}, r"got 1.weight: torch.bool \(32, 64\)"),
        ({"1.weight": torch.ones(1, 32, 64)}, r"got 1.weight: torch.float32 \(1, 32, 64\)"),
    ],
)
def test_bad_masks_get_a_sentence(small, kept, sentence):
    with pytest.raises(ValueError, match=sentence):
        training.fit_many(models.mlp, small, [dict(lr=0.1, seed=0)], rules.sgd, masks=kept)


@pytest.mark.parametrize("train", [training.fit, partial(training.fit_many, runs=RUNS, rule=rules.sgd)])
@pytest.mark.parametrize(
    "settings, sentence",
    [
        (dict(epochs=0), "epochs must be at least 1, got 0"),
        (dict(epochs=1.5), "epochs must be a whole number, got 1.5"),
        (dict(batch_size=0), "batch_size must be at least 1, got 0"),
    ],
)
def test_epochs_and_batches_are_counted_in_whole_numbers(small, train, settings, sentence):
    start = models.mlp if train is not training.fit else models.mlp(seed=0)
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        train(start, small, **settings)
