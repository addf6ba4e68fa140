"""The digits objective: its folds, and the batch that gives, run for run, what training one by one gives."""

import math

import numpy as np
import pytest
import torch

from compresslab import data, models, training
from compresslab.search import batch, spaces, trials
from compresslab.search.digits import DigitsObjective, kfold, pool, sgd


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.mark.parametrize("k", [2, 5, 7])
def test_every_row_validates_once_and_classes_are_even(digits, k):
    x, y = pool(digits)
    assert len(y) == len(digits.train.y) + len(digits.val.y)
    folds = kfold(digits, k, seed=3)
    assert sorted(torch.cat([val for _, val in folds]).tolist()) == list(range(len(y)))
    for train, val in folds:
        assert sorted([*train.tolist(), *val.tolist()]) == list(range(len(y)))
        counts = y[val].bincount(minlength=10)
        assert (counts - y.bincount() / k).abs().max() <= 1
    again, other = kfold(digits, k, seed=3), kfold(digits, k, seed=4)
    assert all(torch.equal(a[1], b[1]) for a, b in zip(folds, again))
    assert not torch.equal(folds[0][1], other[0][1])


def test_the_test_set_is_in_no_fold(digits):
    x, _ = pool(digits)
    assert not {tuple(row) for row in x.flatten(1).tolist()} & {tuple(row) for row in digits.test.x.flatten(1).tolist()}


def test_one_fold_is_the_data_sets_own_split(digits):
    config = dict(lr=0.1, momentum=0.5, weight_decay=1e-3)
    model = models.mlp((64, 32, 10), seed=4)
    history = training.fit(model, digits, lambda p: torch.optim.SGD(p, **config), epochs=3, seed=4)
    assert DigitsObjective("loss")(config, seed=4, epochs=3) == history.val_loss.iloc[-1]
    error = DigitsObjective("error")(config, seed=4, epochs=3)
    assert error == 1 - history.val_accuracy.iloc[-1]
    assert list(DigitsObjective("error").curve(config, seed=4, epochs=3)) == (1 - history.val_accuracy).tolist()


def test_a_curve_trains_only_when_asked(monkeypatch):
    from compresslab.search import digits as module

    trained = []
    real = module.epoch_by_epoch

    def counted(*args, **settings):
        for row in real(*args, **settings):
            trained.append(row["epoch"])
            yield row

    monkeypatch.setattr(module, "epoch_by_epoch", counted)
    curve = DigitsObjective().curve(dict(lr=0.1))
    assert trained == []
    next(curve), next(curve)
    assert trained == [1, 2]


def test_sgd_is_torchs():
    start, curvature = torch.tensor([2.0, -1.0], dtype=torch.float64), torch.tensor([3.0, 0.5], dtype=torch.float64)
    theirs = start.clone().requires_grad_()
    optimizer = torch.optim.SGD([theirs], lr=0.1, momentum=0.8, weight_decay=0.2)
    ours, state = start, {}
    for _ in range(50):
        theirs.grad = (curvature * theirs).detach()
        optimizer.step()
        ours, state = sgd(ours, curvature * ours, state, lr=0.1, momentum=0.8, weight_decay=0.2)
    torch.testing.assert_close(ours, theirs.detach(), rtol=1e-12, atol=1e-13)  # some 50 * 10 roundings of 2**-53


SPACE = dict(
    lr=spaces.Real(5e-3, 0.2, log=True), weight_decay=spaces.Real(1e-6, 1e-1, log=True),
    momentum=spaces.Choice((0.0, 0.9)), hidden=spaces.Choice((8, 24)), batch_size=spaces.Choice((32, 50)),
)  # fmt: skip


@pytest.mark.parametrize("metric", ["loss", "error"])
def test_the_batch_gives_the_table_of_one_by_one(metric):
    """Folds of two sizes (1438 rows in 4 folds: 359 or 360 each), two widths, two batch sizes: several batches."""
    objective = DigitsObjective(metric, folds=4, dtype=torch.float64)
    configs = spaces.random(SPACE, 6, seed=2)
    one_by_one = trials.evaluate(objective, configs, seeds=(0, 1), folds=4, epochs=2)
    together = batch.evaluate_batch(objective, configs, seeds=(0, 1), epochs=2)
    assert one_by_one.drop(columns=["seconds", "score"]).equals(together.drop(columns=["seconds", "score"]))
    # In float64 both round at 1e-16 and differ only in the order of sums; 70 steps are far from turning that into 1e-9.
    # An error is a count: the same count, unless two classes are equally likely to 1e-9.
    np.testing.assert_allclose(one_by_one.score, together.score, rtol=1e-9)


def test_in_single_precision_they_agree_to_rounding():
    # float32 rounds at 6e-8. At rates that converge a step enlarges no difference for long: 1e-4 after 70 steps is
    # a factor of 1,700 above that, and 100 times below what tells two of these configurations apart.
    objective, configs = DigitsObjective("loss"), [dict(lr=lr) for lr in (0.005, 0.02, 0.05)]
    one_by_one = trials.evaluate(objective, configs, epochs=2).score
    np.testing.assert_allclose(batch.evaluate_batch(objective, configs, epochs=2).score, one_by_one, rtol=1e-4)
    assert one_by_one.sort_values().pct_change().min() > 0.01


def test_a_batch_marks_what_fails_and_what_diverges():
    configs = [dict(lr=0.1), dict(lr=1e30), dict(lr=0.1, hidden=-3), dict(lr=0.1, depth=2)]
    table = batch.evaluate_batch(DigitsObjective(), configs, epochs=2)
    assert table.status.tolist() == ["done", "nan", "failed", "failed"]
    assert "config may hold lr, momentum, weight_decay, hidden, batch_size, got depth" in table.error[3]
    assert "-3" in table.error[2]
    alone = trials.evaluate(DigitsObjective(), configs, epochs=2)
    assert alone.status.tolist() == table.status.tolist() and alone.error.tolist() == table.error.tolist()
    assert list(alone.columns) == list(table.columns)


def test_an_interrupted_batch_keeps_its_epochs(monkeypatch, capsys):
    from compresslab.search import batch as module

    steps = []

    def impatient(param, grad, state, **hyper):
        steps.append(1)
        if len(steps) > 34 * 4 * 2.5:  # 34 batches an epoch, 4 tensors: in the third epoch
            raise KeyboardInterrupt
        return sgd(param, grad, state, **hyper)

    monkeypatch.setattr(module, "sgd", impatient)
    table = batch.evaluate_batch(DigitsObjective(), [dict(lr=0.1), dict(lr=0.2)], epochs=5)
    assert table.status.tolist() == ["pruned"] * 2 and table.epochs.tolist() == [2, 2]
    assert table.score.notna().all() and "2 of 5 epochs are done" in capsys.readouterr().out


def test_test_scores_are_those_of_the_same_networks(digits):
    table = batch.evaluate_batch(DigitsObjective("error"), [dict(lr=0.1), dict(lr=1e30)], epochs=2, test=True)
    model = models.mlp((64, 32, 10), seed=0)
    training.fit(model, digits, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), epochs=2)
    right = training.evaluate(model, digits.test).accuracy
    assert table.test_score[0] == pytest.approx(1 - right, abs=1.01 / 360)  # float32: one of 360 may tip over
    assert math.isnan(table.test_score[1])


def test_replay_hands_out_the_curves():
    configs = spaces.random(dict(lr=SPACE["lr"], momentum=SPACE["momentum"]), 3, seed=0)
    curves = batch.learning_curves(DigitsObjective("loss", folds=2), configs, seeds=(5,), epochs=3)
    assert len(curves) == 3 * 2 * 3 and curves.epoch.tolist()[:3] == [1, 2, 3]
    replay = batch.Replay(curves)
    rows = curves[(curves.config == 1) & (curves.fold == 1)].score.tolist()
    assert list(replay.curve(configs[1], seed=5, fold=1)) == rows
    assert replay(configs[1], seed=5, fold=1, epochs=2) == rows[1]
    with pytest.raises(ValueError, match="config must be one whose curve was trained"):
        replay(dict(lr=0.5, momentum=0.9), seed=5, epochs=1)


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: DigitsObjective("accuracy"), "metric must be one of error, loss, got 'accuracy'"),
        (lambda: DigitsObjective(folds=0), "folds must be at least 1, got 0"),
        (lambda: DigitsObjective(folds=2)(dict(lr=0.1), fold=2, epochs=1), "fold must be in 0..1, got 2"),
        (lambda: kfold(data.load("digits"), 1), "k must be in 2..1438, got 1"),
    ],
)
def test_bad_input_gets_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_rows_of_unequal_length_are_refused(digits):
    rows = [(torch.arange(10), torch.arange(5)), (torch.arange(9), torch.arange(5))]
    runs = [dict(lr=0.1, momentum=0.0, weight_decay=0.0, seed=s) for s in range(2)]
    with pytest.raises(ValueError, match=r"rows must hold a pair for each run, of equal lengths"):
        training.fit_many(models.mlp, digits, runs, sgd, rows=rows)
