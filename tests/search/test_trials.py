"""The table of trials: its order, its records of failure, its summary and the rule, and questions to it."""

import math

import numpy as np
import optuna
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from search.objectives import bowl
from sklearn.base import BaseEstimator
from sklearn.model_selection import GridSearchCV, KFold

from compresslab.search import analysis, spaces, trials

CONFIGS = [dict(x=x) for x in (0.0, 0.3, 0.5)]


def flaky(config, **where):
    if config["x"] == 0.3:
        raise RuntimeError("no luck")
    return math.nan if config["x"] == 0.0 else bowl(config, **where)


def test_one_row_a_trial_in_order():
    table = trials.evaluate(bowl, CONFIGS, seeds=(4, 7), folds=3, epochs=5)
    assert list(table.columns) == [
        "trial",
        "config",
        "x",
        "seed",
        "fold",
        "epochs",
        "score",
        "seconds",
        "status",
        "error",
    ]
    assert table.trial.tolist() == list(range(18)) and table.config.tolist() == sorted([0, 1, 2] * 6)
    assert table.seed.tolist()[:6] == [4, 4, 4, 7, 7, 7] and table.fold.tolist()[:3] == [0, 1, 2]
    expected = [(r.x - 0.3) ** 2 + 0.2 + 0.01 * r.seed + 0.001 * r.fold for r in table.itertuples()]
    assert table.score.tolist() == pytest.approx(expected, rel=1e-12)
    assert (table.epochs == 5).all() and (table.status == "done").all() and (table.error == "").all()


def test_failed_and_nan_trials_are_marked_and_rank_last():
    table = trials.evaluate(flaky, CONFIGS, seeds=(0, 1))
    assert table.status.tolist() == ["nan"] * 2 + ["failed"] * 2 + ["done"] * 2
    assert table.error.tolist()[1] == "score must be a finite number, got nan"
    assert table.error.tolist()[2] == "RuntimeError: no luck"
    ranked = trials.summary(table)
    assert ranked.config.tolist()[0] == 2 and ranked.score.isna().tolist() == [False, True, True]
    assert trials.best(table) == dict(x=0.5)


def test_one_bad_fold_disqualifies_a_configuration():
    def unlucky(config, *, seed, fold, epochs):
        return math.inf if config["x"] == 0.3 and fold == 1 else bowl(config, seed=seed, fold=fold, epochs=epochs)

    table = trials.evaluate(unlucky, CONFIGS, folds=3)
    assert table.status.tolist().count("nan") == 1
    assert trials.best(table) == dict(x=0.5)  # 0.3 would have the lowest mean of those that are left


def test_keys_that_some_lack_are_columns_all_the_same():
    table = trials.evaluate(lambda config, **_: len(config), [dict(a=1), dict(a=1, b=2)])
    assert trials.parameters(table) == ["a", "b"] and table.b.isna().tolist() == [True, False]
    assert trials.best(table)["a"] == 1


def test_an_interrupt_keeps_what_is_done(capsys):
    def impatient(config, **where):
        if config["x"] == 0.5:
            raise KeyboardInterrupt
        return bowl(config, **where)

    table = trials.evaluate(impatient, CONFIGS)
    assert table.trial.tolist() == [0, 1]
    assert "2 of 3 trials are done and kept" in capsys.readouterr().out


def test_the_bar_tells_the_best_so_far(monkeypatch):
    notes = []
    monkeypatch.setattr("tqdm.std.tqdm.set_postfix_str", lambda self, text, *_: notes.append(text))
    table = trials.evaluate(bowl, CONFIGS, epochs=1, progress=True)
    assert notes == [f"best {table.score[: i + 1].min():.4g}" for i in range(len(CONFIGS))]


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (dict(configs=[]), "configs must hold at least one configuration, got none"),
        (dict(configs=CONFIGS, seeds=()), "seeds must hold at least one seed, got none"),
        (dict(configs=CONFIGS, folds=0), "folds must be at least 1, got 0"),
        (dict(configs=CONFIGS, epochs=0), "epochs must be at least 1, got 0"),
        (dict(configs=[dict(seed=1)]), "a configuration must not use the names trial, config, seed, .*, got seed"),
    ],
)
def test_bad_input_gets_a_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        trials.evaluate(bowl, **arguments)


class Stored(BaseEstimator):
    def __init__(self, x=0):
        self.x = x

    def fit(self, data, y=None):
        return self


def table_from(scores):
    """A table of trials with these scores, one row of `scores` a configuration, one column a fold."""
    where = {i: row for i, row in enumerate(scores)}
    return trials.evaluate(
        lambda config, *, seed, fold, epochs: where[config["x"]][fold],
        [dict(x=i) for i in range(len(scores))],
        folds=len(scores[0]),
    )


SCORES = st.integers(2, 5).flatmap(
    lambda k: st.lists(
        st.lists(st.integers(0, 10_000).map(lambda i: i / 1000), min_size=k, max_size=k), min_size=2, max_size=6
    )
)


@settings(max_examples=25)
@given(SCORES)
def test_summary_and_rule_are_those_of_scikit_learn(scores):
    """GridSearchCV averages the same scores; its `refit` function is the rule as scikit-learn's user guide means it."""
    k = len(scores[0])
    search = GridSearchCV(
        Stored(), dict(x=list(range(len(scores)))), cv=KFold(k), refit=False,
        scoring=lambda model, rows, _=None: -scores[model.x][int(rows[0, 0])],
    ).fit(np.arange(k).reshape(-1, 1))  # fmt: skip
    table, results = table_from(scores), search.cv_results_
    ranked = trials.summary(table).set_index("x")
    # Both sum at most 5 numbers of at most 10: a few roundings of 2**-53 each.
    np.testing.assert_allclose(ranked.score.sort_index(), -results["mean_test_score"], atol=1e-13)
    low = int(results["mean_test_score"].argmax())
    assert ranked.score[trials.best(table)["x"]] == pytest.approx(-results["mean_test_score"][low], abs=1e-13)
    low = trials.best(table)["x"]
    limit = np.mean(scores[low]) + stats.sem(scores[low])
    simplest = [i for i in range(len(scores)) if np.mean(scores[i]) <= limit + 1e-12]
    near = any(abs(np.mean(row) - limit) < 1e-9 for row in scores)
    if not near:  # at the very limit rounding decides
        assert trials.one_standard_error(table, by="x") == dict(x=simplest[0])


def test_the_rule_needs_several_trials_and_a_known_column():
    table = trials.evaluate(bowl, CONFIGS)
    with pytest.raises(ValueError, match="the rule needs at least 2 trials .* a configuration, got 1"):
        trials.one_standard_error(table, by="x")
    with pytest.raises(ValueError, match="by must be one of x, got 'size'"):
        trials.one_standard_error(trials.evaluate(bowl, CONFIGS, folds=2), by="size")
    with pytest.raises(ValueError, match="at least one trial with a score, got 3 trials without"):
        trials.best(trials.evaluate(lambda config, **_: math.nan, CONFIGS))


# --- questions to a table


@given(st.floats(0.01, 0.5), st.floats(0.1, 0.99))
def test_trials_needed_is_the_quantile_of_the_geometric_distribution(share, chance):
    n = analysis.trials_needed(share, chance)
    assert 1 - (1 - share) ** n >= chance - 1e-12 and (n == 1 or 1 - (1 - share) ** (n - 1) < chance + 1e-12)


@pytest.mark.parametrize("share, chance, n", [(0.05, 0.95, 59), (0.5, 0.75, 2), (0.2, 0.36, 2), (0.1, 0.271, 3)])
def test_trials_needed_where_the_chance_is_reached_exactly(share, chance, n):
    assert analysis.trials_needed(share, chance) == n == stats.geom(share).ppf(chance)


def test_winners_curse_at_its_two_ends():
    table = pd.DataFrame(dict(score=[0.4, 0.2, 0.3, math.nan], test_score=[0.5, 0.35, 0.25, 0.1]))
    curse = analysis.winners_curse(table, [1, 3], repeats=4000).set_index("n")
    assert curse.loc[3].tolist() == pytest.approx([0.2, 0.35])
    assert curse.score[1] == pytest.approx(0.3, abs=5 * 0.082 / 4000**0.5)  # standard deviation of the three: 0.082
    with pytest.raises(ValueError, match="ns must lie in 1..3, got 4"):
        analysis.winners_curse(table, [4])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=15))
@settings(max_examples=30)
def test_pareto_front_is_optunas(points):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["minimize"] * 2)
    for values in points:
        study.add_trial(optuna.create_trial(values=values))
    expected = sorted(trial.number for trial in study.best_trials)
    front = analysis.pareto_front(pd.DataFrame(points, columns=["a", "b"]), ["a", "b"])
    assert sorted(front.index) == expected and front.a.is_monotonic_increasing


def test_best_at_is_a_step_and_saving_reads_it():
    table = pd.DataFrame(dict(epochs=[3, 3, 3, 3], score=[0.5, math.nan, 0.2, 0.4]))
    assert analysis.best_so_far(table).spent.tolist() == [3, 6, 9, 12]
    found = analysis.best_at(table, [1, 3, 8, 9, 100])
    np.testing.assert_array_equal(found, [math.nan, 0.5, 0.5, 0.2, 0.2])
    rungs = pd.DataFrame(dict(spent=[1, 4], score=[0.3, 0.1], epochs=[1, 3]))
    assert analysis.best_at(rungs, [1, 3, 4]).tolist() == [0.3, 0.3, 0.1]
    ours, theirs = np.array([[0.5, 0.2, 0.1, 0.1]]), np.array([[0.9, 0.5, 0.4, 0.2]])
    assert analysis.saving([10, 20, 30, 40], ours, theirs) == 2.0
    assert math.isnan(analysis.saving([10, 20, 30, 40], theirs, ours))


def test_nearest_counts_every_axis_from_0_to_1():
    space = dict(lr=spaces.Real(1e-4, 1, log=True), hidden=spaces.Integer(1, 100))
    table = pd.DataFrame(spaces.grid(space, 5))
    asked = spaces.random(space, 50, seed=2)
    for config, row in zip(asked, analysis.nearest(space, table, asked)):
        distances = [
            ((math.log10(c.lr) - math.log10(config["lr"])) / 4) ** 2 + ((c.hidden - config["hidden"]) / 100) ** 2
            for c in table.itertuples()
        ]
        assert distances[row] == pytest.approx(min(distances), rel=1e-9)
    assert analysis.nearest(space, table, [table.iloc[7].to_dict()]) == [7]
    assert analysis.distinct(asked, "lr") == 50
