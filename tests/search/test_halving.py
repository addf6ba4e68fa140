"""Halving and Hyperband: the published table, scikit-learn's survivors, and honest counts of epochs."""

import math

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import HalvingGridSearchCV

from compresslab.search import batch, halving, spaces, trials
from compresslab.search.digits import DigitsObjective

# L. Li et al., "Hyperband", JMLR 18 (2018): table 1, R = 81, eta = 3: the formula of algorithm 1.
TABLE_1 = {
    4: [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
    3: [(34, 3), (11, 9), (3, 27), (1, 81)],
    2: [(15, 9), (5, 27), (1, 81)],
    1: [(8, 27), (2, 81)],
    0: [(5, 81)],
}


def test_brackets_are_the_published_table():
    assert halving.brackets(81, 3) == TABLE_1


@pytest.mark.parametrize("max_epochs, eta", [(81, 3), (50, 3), (64, 4), (64, 2), (100, 10), (2, 3), (1, 2)])
def test_as_many_brackets_as_optuna(max_epochs, eta):
    pruner = optuna.pruners.HyperbandPruner(1, max_epochs, reduction_factor=eta)
    pruner._try_initialization(optuna.create_study())
    plan = halving.brackets(max_epochs, eta)
    assert len(plan) == pruner._n_brackets
    assert all(steps[-1][1] == max_epochs and steps[0][0] >= 1 for steps in plan.values())


@pytest.mark.parametrize("eta, s_max", [(3, 5), (10, 3), (2, 10), (5, 3)])
def test_an_exact_power_loses_no_bracket(eta, s_max):
    """log(243)/log(3) is 4.999... in floating point; Optuna 5.0, which rounds it down, plays one bracket fewer."""
    plan = halving.brackets(eta**s_max, eta)
    assert list(plan) == list(range(s_max, -1, -1)) and plan[s_max][0] == (eta**s_max, 1)


def table_curve(scores):
    """Curves from a table (trials, epochs), and the list of all epochs that were asked for."""
    asked = []

    def curve(config, *, seed):
        for epoch, score in enumerate(scores[config["i"]], 1):
            asked.append((config["i"], epoch))
            yield score

    return curve, asked


class Replayed(BaseEstimator):
    def __init__(self, i=0, epochs=1):
        self.i, self.epochs = i, epochs

    def fit(self, x, y=None):
        return self


@pytest.mark.parametrize("n, eta, seed", [(27, 3, 0), (27, 3, 1), (81, 3, 2), (16, 2, 3), (64, 4, 4)])
def test_survivors_are_those_of_scikit_learn(n, eta, seed):
    rungs = round(math.log(n, eta)) + 1
    max_epochs = eta ** (rungs - 1)
    scores = np.random.default_rng(seed).random((n, max_epochs))
    search = HalvingGridSearchCV(
        Replayed(), dict(i=list(range(n))), factor=eta, resource="epochs", min_resources=1, max_resources=max_epochs,
        cv=[([0], [0])], refit=False, scoring=lambda model, x, _=None: -scores[model.i, model.epochs - 1],
    ).fit(np.zeros((1, 1))).cv_results_  # fmt: skip
    curve, _ = table_curve(scores.tolist())
    table, log = halving.successive_halving(curve, [dict(i=i) for i in range(n)], max_epochs=max_epochs, eta=eta)
    theirs = [{p["i"] for p, k in zip(search["params"], search["iter"]) if k == rung} for rung in range(rungs)]
    assert [set(log.trial[log.rung == rung]) for rung in range(rungs)] == theirs
    assert set(table.trial[table.status == "done"]) == theirs[-1]


TABLES = st.integers(1, 20).flatmap(
    lambda n: st.lists(
        st.lists(st.one_of(st.integers(0, 9).map(float), st.just(math.nan)), min_size=9, max_size=9),
        min_size=n,
        max_size=n,
    )
)


@settings(max_examples=60)
@given(TABLES, st.sampled_from([2, 3]))
def test_no_epoch_is_trained_twice_and_every_one_is_counted(scores, eta):
    curve, asked = table_curve(scores)
    table, log = halving.successive_halving(curve, [dict(i=i) for i in range(len(scores))], max_epochs=9, eta=eta)
    assert len(asked) == len(set(asked)) == table.epochs.sum() == log.spent.max()
    plan = halving.rungs(len(scores), 1, 9, eta)
    alive = list(range(len(scores)))
    for rung, (n, epochs) in enumerate(plan):  # by brute force, with the rule written another way
        at = log[log.rung == rung]
        assert at.trial.tolist() == alive and (at.epochs == epochs).all() and len(alive) <= n
        values = np.array([scores[i][epochs - 1] for i in alive])
        keep = plan[rung + 1][0] if rung + 1 < len(plan) else len(alive)
        ranks = np.argsort(values, kind="stable")[: min(keep, np.isfinite(values).sum())]  # nan sorts last
        alive = [alive[j] for j in ranks]
        assert at.trial[at.kept].tolist() == sorted(alive, key=at.trial.tolist().index)
    lost = table.status == "nan"
    assert table.score[lost].isna().all() and table.score[~lost].notna().all()


def test_a_trial_that_raises_drops_out_and_the_race_goes_on():
    def curve(config, *, seed):
        yield 0.1
        if config["i"] == 0:
            raise MemoryError("too large")
        yield from [0.5] * 8

    table, log = halving.successive_halving(curve, [dict(i=i) for i in range(9)], max_epochs=9)
    assert table.status.tolist()[:2] == ["failed", "done"] and table.error[0] == "MemoryError: too large"
    assert log[log.rung == 1].trial.tolist() == [0, 1, 2] and log[log.rung == 2].trial.tolist() == [1]
    assert table.epochs[0] == 1


def test_hyperband_plays_every_bracket_on_its_own_trials():
    space = dict(x=spaces.Real(0, 1))

    def curve(config, *, seed):
        return iter([config["x"] + 1 / epoch for epoch in range(1, 28)])

    table, log = halving.hyperband(curve, space, max_epochs=27, seed=5)
    plan = halving.brackets(27)
    for s, steps in plan.items():
        counts = log[log.bracket == s].groupby("rung").agg(n=("trial", "size"), epochs=("epochs", "max"))
        assert list(counts.itertuples(index=False, name=None)) == steps
    assert len(table) == sum(steps[0][0] for steps in plan.values())
    assert table.x.tolist() == [config["x"] for config in spaces.random(space, len(table), seed=5)]
    assert table.epochs.sum() == log.spent.iloc[-1] and log.spent.is_monotonic_increasing
    assert trials.best(table)["x"] == pytest.approx(table.x[table.status == "done"].min())


def test_replayed_curves_give_the_same_race():
    """A batch trained beforehand in place of training on demand: the same survivors, the same scores to rounding."""
    import torch

    objective, space = DigitsObjective("loss", dtype=torch.float64), dict(lr=spaces.Real(1e-3, 0.3, log=True))
    live, live_log = halving.hyperband(objective.curve, space, max_epochs=4, eta=2, seed=1)
    curves = batch.learning_curves(objective, spaces.random(space, len(live), seed=1), seeds=[1], epochs=4)
    again, log = halving.hyperband(batch.Replay(curves).curve, space, max_epochs=4, eta=2, seed=1)
    assert log.drop(columns="score").equals(live_log.drop(columns="score"))
    np.testing.assert_allclose(log.score, live_log.score, rtol=1e-9)  # as in test_digits


def test_an_interrupt_keeps_the_rungs_that_are_done(capsys):
    def curve(config, *, seed):
        yield from [0.5, 0.4, 0.3]
        raise KeyboardInterrupt

    table, log = halving.successive_halving(curve, [dict(i=i) for i in range(9)], max_epochs=9)
    assert log.rung.max() == 1 and len(table) == 9 and table.epochs.max() == 3
    assert (table.status == "pruned").all() and "are kept" in capsys.readouterr().out


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: halving.brackets(0), "max_epochs must be at least 1, the budget of one rung, got 0"),
        (lambda: halving.rungs(9, 9, 3), "max_epochs must be at least 9, the budget of one rung, got 3"),
        (lambda: halving.rungs(9, 0, 3), "min_epochs must be at least 1, got 0"),
        (lambda: halving.brackets(9, 1), "eta must be at least 2, got 1"),
        (lambda: halving.successive_halving(None, []), "configs must be at least 1, got 0"),
        (lambda: halving.hyperband(None, {}), "space must hold at least one axis, got none"),
    ],
)
def test_bad_input_gets_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
