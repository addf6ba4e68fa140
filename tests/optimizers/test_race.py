"""Schedules against torch's, statistics against SciPy's, and the race's bookkeeping."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compresslab import data, models, training
from compresslab.optimizers import quadratic, race, rules, schedules

TOTAL = 60


def torch_factors(make_scheduler):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler, factors = make_scheduler(optimizer), []
    for _ in range(TOTAL):
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return factors


def warmup_then_cosine(optimizer):
    parts = [
        torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1e-12, total_iters=6),
        torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=TOTAL - 6),
    ]
    return torch.optim.lr_scheduler.SequentialLR(optimizer, parts, milestones=[6])


# Torch multiplies its rate by a ratio at each step: 60 roundings of 2**-53. LinearLR cannot start at 0: hence 1e-11.
@pytest.mark.parametrize(
    "ours, theirs",
    [
        (schedules.constant, partial(torch.optim.lr_scheduler.ConstantLR, factor=1.0)),
        (schedules.step, partial(torch.optim.lr_scheduler.MultiStepLR, milestones=[30, 45], gamma=0.1)),
        (schedules.cosine, partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=TOTAL)),
        (schedules.warmup_cosine, warmup_then_cosine),
    ],
)
def test_schedule_equals_torch(ours, theirs):
    np.testing.assert_allclose([ours(step / TOTAL) for step in range(TOTAL)], torch_factors(theirs), atol=1e-11)


def test_one_cycle_equals_torch():
    # torch counts the last step as the end and puts the peak at 0.3 * 60 - 1 = 17 of 59 steps
    theirs = torch_factors(partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=1.0, total_steps=TOTAL + 1))
    ours = [schedules.one_cycle(step / TOTAL, peak=(0.3 * (TOTAL + 1) - 1) / TOTAL) for step in range(TOTAL)]
    np.testing.assert_allclose(ours, theirs, atol=1e-11)


@given(st.floats(0, 1))
def test_every_schedule_stays_between_0_and_1(progress):
    assert all(0 <= schedule(progress) <= 1 + 1e-12 for schedule in schedules.SCHEDULES.values())


@pytest.fixture(scope="module")
def run():
    digits = data.load("digits")
    history, trained = race.race(
        partial(models.mlp, (64, 16, 10)),
        digits,
        ["sgd", "adam"],
        lrs=[1e-3, 1e-2, 1e3],
        seeds=range(3),
        epochs=3,
    )
    return digits, history, trained


def test_race_keeps_its_books(run):
    digits, history, trained = run
    assert len(history) == 2 * 3 * 3 * 3 and len(trained) == 2 * 3 * 3
    assert not history.duplicated(["name", "lr", "seed", "epoch"]).any()
    for (name, lr, seed), model in trained.items():  # noqa: B007 (used by the query)
        row = history.query("name == @name and lr == @lr and seed == @seed and epoch == 3").iloc[0]
        assert training.evaluate(model, digits.val).accuracy == pytest.approx(row.val_accuracy, abs=1e-6)


def test_best_is_the_lowest_mean_and_divergence_never_wins(run):
    _, history, _ = run
    worse = history.copy()
    worse.loc[(worse.lr == 1e-2) & (worse.seed == 1), "val_loss"] = np.nan
    assert race.best_lr(history).to_dict() == {"sgd": 1e-2, "adam": 1e-2}
    assert race.best_lr(worse).to_dict() == {"sgd": 1e-3, "adam": 1e-3}
    table = race.best_losses(history)
    last = history.query("epoch == 3 and lr == 0.01 and name == 'adam'").val_loss
    assert table.val_loss["adam"] == pytest.approx(last.mean())
    assert table["±"]["adam"] == pytest.approx(4.302653 * last.std() / 3**0.5, rel=1e-5)  # t of 2 degrees of freedom


def test_results_are_those_of_the_models(run):
    digits, history, trained = run
    table = race.results(history, trained, digits)
    for name in ("sgd", "adam"):
        test = [100 * training.evaluate(trained[name, 1e-2, seed], digits.test).accuracy for seed in range(3)]
        train = [100 * training.evaluate(trained[name, 1e-2, seed], digits.train).accuracy for seed in range(3)]
        assert table["test_%"][name] == pytest.approx(np.mean(test))
        assert table.gap[name] == pytest.approx(np.mean(train) - np.mean(test))


def test_epochs_to_reach_counts_from_the_first_time():
    curve = {0: [0.5, 0.91, 0.89], 1: [0.95, 0.2, 0.2], 2: [0.1, 0.2, 0.3]}
    history = pd.DataFrame(
        [
            dict(name="a", lr=1.0, seed=s, epoch=e + 1, val_accuracy=v)
            for s, values in curve.items()
            for e, v in enumerate(values)
        ]
    )
    row = race.epochs_to_reach(history, {"a": 1.0}).loc["a"]
    assert (row.seeds, row.epochs, row.fewest, row.most) == ("2 of 3", 1.5, 1, 2)


def losses(table, name="a"):
    """A one-epoch history from {lr: [loss of each seed]}."""
    return pd.DataFrame(
        [
            dict(name=name, lr=lr, seed=s, epoch=1, train_loss=v, val_loss=v)
            for lr, values in table.items()
            for s, v in enumerate(values)
        ]
    )


def test_good_rates_by_hand():
    history = losses({0.001: [0.9, 0.9], 0.01: [0.3, 0.5], 0.1: [0.2, 0.2], 1.0: [0.3, np.nan]})
    row = race.good_rates(history, factor=2).loc["a"]  # means 0.9, 0.4, 0.2, inf: 0.4 is exactly twice the best
    assert (row.lowest, row.best, row.highest, row.decades) == (0.01, 0.1, 0.1, 1.0)


def test_rate_needed_interpolates_the_left_wall():
    # loss = 0.01 / lr falls in a straight line in the logarithms, then the wall: loss 0.05 is at 0.2
    history = pd.concat(
        [losses({0.01: [1.0], 0.1: [0.1], 1.0: [0.01], 10.0: [5.0]}), losses({0.01: [0.03], 0.1: [0.02]}, "low")]
    )
    assert race.rate_needed(history, 0.05)["a"] == pytest.approx(0.2)
    assert np.isnan(race.rate_needed(history, 0.001)["a"])  # never reached
    assert np.isnan(race.rate_needed(history, 0.05)["low"])  # below the lowest rate tried


def test_at_best_is_indexed_by_seed(run):
    _, history, _ = run
    rows = race.at_best(history, "adam")
    assert rows.index.tolist() == [0, 1, 2] and (rows.lr == 1e-2).all() and (rows.epoch == 3).all()


def test_an_interrupted_race_keeps_the_optimizers_that_are_done():
    calls = []

    def impatient(progress):
        calls.append(progress)
        if len(calls) > 45:  # 34 steps an epoch: the second optimizer is cut
            raise KeyboardInterrupt
        return 1.0

    history, trained = race.race(
        models.mlp, data.load("digits"), ["sgd", "adam"], lrs=[0.1], seeds=range(2), epochs=1, schedule=impatient
    )
    assert set(history["name"]) == {"sgd"} and set(trained) == {("sgd", 0.1, 0), ("sgd", 0.1, 1)}


def test_unknown_optimizer_lists_the_valid_ones_before_training():
    with pytest.raises(ValueError, match="optimizer must be one of sgd, .*, got 'adma'"):
        race.race(None, None, ["sgd", "adma"])


@pytest.mark.parametrize("mu", [0.0, 0.5, 0.9])
def test_distance_after_equals_a_loop(mu):
    rates = [0.01, 0.05, 0.2]
    measured = quadratic.distance_after([1.0, 30.0], rates, mu=mu, steps=50)
    for rate, distance in zip(rates, measured):
        path = rules.descend(
            partial(rules.momentum, momentum=mu),
            lambda p: np.array([1.0, 30.0]) * p,
            np.ones(2),
            steps=50,
            lr=rate,
        )
        assert distance == pytest.approx(np.linalg.norm(path[-1]) / 2**0.5, rel=1e-9)


def test_first_step_without_correction_has_its_closed_form():
    ones = torch.ones(3, 2, dtype=torch.float64)
    assert quadratic.step_sizes(quadratic.adam_without_correction, ones, lr=0.1)[0] == pytest.approx(
        0.1 / 0.001**0.5, rel=1e-6
    )
    assert quadratic.step_sizes(rules.adam, ones, lr=0.1) == pytest.approx([1, 1, 1], rel=1e-6)


def test_weight_left_has_its_closed_form_when_decoupled():
    # The noise has mean zero and a step of Adam is at most about lr: 1,000 steps of 1e-3 wander by about
    # sqrt(1000) * 1e-3 = 0.03 a weight, 0.002 in the mean of 256; five of them.
    left = quadratic.weight_left("adam", [0.1, 10.0], weight_decay=0.5, decoupled=True)
    np.testing.assert_allclose(left, 0.9995**1000, atol=0.01)


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (([1.0], 1.0), r"momentum must be in \[0, 1\), got 1.0"),
        (([1.0, 0.0],), "curvatures must be positive, got 0.0"),
    ],
)
def test_lr_limit_refuses(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        quadratic.lr_limit(*arguments)
