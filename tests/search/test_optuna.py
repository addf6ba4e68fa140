"""Optuna behind the one table: seeds, pruners, two objectives, importance; a study that is killed and goes on."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from filelock import FileLock

from compresslab.search import analysis, optuna_adapter, optuna_books, spaces, trials
from compresslab.search.optuna_adapter import importance, study

SPACE = dict(x=spaces.Real(-2, 2), rate=spaces.Real(1e-4, 1, log=True), kind=spaces.Choice(("a", "b")))
ROOT = Path(__file__).resolve().parents[2]


def bowl(config, *, seed, fold, epochs):
    return (config["x"] - 0.5) ** 2 + abs(math.log10(config["rate"]) + 2) / 10 + (config["kind"] == "b")


def same(a, b):
    return a.drop(columns="seconds").equals(b.drop(columns="seconds"))


@pytest.mark.parametrize("sampler", optuna_adapter.SAMPLERS)
def test_the_same_seed_gives_the_same_table(sampler):
    first, again, other = (study(SPACE, bowl, sampler=sampler, n_trials=20, seed=s) for s in (1, 1, 2))
    assert same(first, again) and not same(first, other)
    assert list(first.columns) == [
        "trial",
        "config",
        *SPACE,
        "seed",
        "fold",
        "epochs",
        "score",
        "seconds",
        "status",
        "error",
    ]
    assert first.score.tolist() == [bowl(c, seed=1, fold=0, epochs=1) for c in first[list(SPACE)].to_dict("records")]
    assert first.x.between(-2, 2).all() and first.rate.between(1e-4, 1).all() and first.x.nunique() > 15


def test_tpe_learns_where_random_does_not():
    """The mean of the last trials, 5 seeds: TPE has moved to the bottom, random has not. No matter of luck: random has
    kind b, and so a score above 1, in half of its trials."""
    late = {
        s: [study(SPACE, bowl, sampler=s, n_trials=40, seed=i).score[-15:].mean() for i in range(5)]
        for s in ("tpe", "random")
    }
    assert max(late["tpe"]) < min(late["random"])


def test_failed_and_nan_trials_are_recorded_and_the_study_goes_on():
    def moody(config, **where):
        if config["x"] < -1:
            raise ZeroDivisionError("left")
        return math.nan if config["x"] > 1 else bowl(config, **where)

    table = study(SPACE, moody, sampler="random", n_trials=30)
    assert len(table) == 30
    expected = np.select([table.x < -1, table.x > 1], ["failed", "nan"], "done")
    assert table.status.tolist() == expected.tolist() and set(expected) == {"failed", "nan", "done"}
    assert set(table.error[table.status == "failed"]) == {"ZeroDivisionError: left"}
    assert trials.best(table)["x"] == table.x[table.score.idxmin()]


def test_a_pruner_stops_curves_and_epochs_are_counted():
    asked = []

    def curve(config, *, seed, fold, epochs):
        for epoch in range(1, epochs + 1):
            asked.append(epoch)
            yield abs(config["x"]) + 1 / epoch

    table = study(SPACE, curve, sampler="random", pruner="halving", n_trials=20, epochs=9)
    assert set(table.status) == {"done", "pruned"} and table.epochs.sum() == len(asked)
    assert (table.epochs[table.status == "done"] == 9).all() and set(table.epochs) <= {1, 3, 9}
    # On the same scores Optuna alone decides the same: its own loop, its own reports.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
    told = optuna.create_study(pruner=pruner)
    for x in table.x:
        trial = told.ask()
        for epoch in range(1, 10):
            trial.report(abs(x) + 1 / epoch, epoch)
            if epoch < 9 and trial.should_prune():
                told.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            told.tell(trial, abs(x) + 1 / 9)
    assert [t.last_step for t in told.trials] == table.epochs.tolist()


def test_two_objectives_and_their_front():
    space = dict(width=spaces.Integer(1, 50), x=spaces.Real(0, 1))

    def both(config, **_):
        return 1 / config["width"] + config["x"], config["width"]

    table = study(space, both, sampler="nsga2", n_trials=80, objectives=("score", "parameters"))
    assert list(table.columns)[-1] == "parameters" and (table.parameters == table.width).all()
    front = analysis.pareto_front(table, ["score", "parameters"])
    assert 3 <= len(front) < 80 and front.parameters.is_monotonic_decreasing
    assert front.x.mean() < table.x[:16].mean()  # the first generation is random
    wrong = study(space, lambda config, **_: 1.0, n_trials=1, objectives=("score", "parameters"))
    assert wrong.error[0] == "ValueError: objective must return 2 numbers, got 1"


@pytest.mark.parametrize("evaluator", optuna_adapter.EVALUATORS)
def test_importance_finds_the_axis_that_matters(evaluator):
    space = dict(a=spaces.Real(0, 1), b=spaces.Real(0, 1), c=spaces.Choice((1, 2)))
    table = trials.evaluate(
        lambda config, **_: math.nan if config["b"] > 0.98 else config["a"] ** 2 + 0.05 * config["b"],
        spaces.random(space, 200, seed=0),
    )
    shares = importance(space, table, evaluator)
    assert shares.parameter[0] == "a" and shares.importance[0] > 0.7 and set(shares.parameter) == set(space)
    assert shares.importance.sum() == pytest.approx(1) and shares.importance.is_monotonic_decreasing


# --- killed, and taken up again

CHILD = """
import os, sys, time
sys.path[:0] = [{root!r}]
from compresslab.search import optuna_adapter, spaces

def slow(config, *, seed, fold, epochs):
    with open({log!r}, "a") as file:
        print(config["x"], file=file)
    if sum(1 for _ in open({log!r})) == 6:
        time.sleep(600)  # killed here, in the middle of a trial
    return config["x"] ** 2

optuna_adapter.study(dict(x=spaces.Real(-1, 1)), slow, n_trials=12, seed=3, storage={storage!r})
"""


def test_a_study_killed_in_the_middle_of_a_trial_goes_on(tmp_path):
    log, storage = tmp_path / "calls.txt", tmp_path / "study.db"
    code = CHILD.format(root=str(ROOT), log=str(log), storage=str(storage))
    child = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while not log.exists() or len(log.read_text().splitlines()) < 6:
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    with pytest.raises(RuntimeError, match="storage must be free.*another process runs a study"):
        study(dict(x=spaces.Real(-1, 1)), bowl, n_trials=12, storage=storage)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL

    calls = []

    def square(config, **_):
        calls.append(config["x"])
        return config["x"] ** 2

    settings = dict(n_trials=12, seed=3)
    table = study(dict(x=spaces.Real(-1, 1)), square, storage=storage, **settings)
    before = [float(line) for line in log.read_text().splitlines()]
    killed, done = table[table.status == "failed"], table[table.status == "done"]
    assert len(done) == 12 and killed.x.tolist() == [before[5]]  # one trial was lost, and is on record
    assert killed.error.tolist() == ["RuntimeError: its process was killed; the configuration ran again"]
    assert calls == [before[5], *done.x.tolist()[6:]]  # it ran again, first; the five before it did not
    assert done.x.tolist()[:5] == before[:5]
    undisturbed = study(dict(x=spaces.Real(-1, 1)), square, **settings)
    assert done.x.tolist() == undisturbed.x.tolist() and done.score.tolist() == undisturbed.score.tolist()
    calls.clear()
    assert same(table, study(dict(x=spaces.Real(-1, 1)), square, storage=storage, **settings)) and not calls


def test_a_trial_whose_outcome_is_on_record_is_not_run_again(tmp_path, monkeypatch):
    """The process dies after the objective returned and before Optuna was told."""
    calls, settings = [], dict(n_trials=5, seed=1, storage=tmp_path / "s.db")

    def counted(config, **where):
        calls.append(config["x"])
        return bowl(config, **where)

    real = optuna_books.settle

    def dies(found, number, outcome):
        if number == 2:
            raise SystemExit
        real(found, number, outcome)

    monkeypatch.setattr(optuna_books, "settle", dies)
    with pytest.raises(SystemExit):
        study(SPACE, counted, **settings)
    monkeypatch.setattr(optuna_books, "settle", real)
    table = study(SPACE, counted, **settings)
    assert table.status.tolist() == ["done"] * 5 and calls == table.x.tolist() and table.x.is_unique


def test_a_second_kill_while_clearing_up_loses_nothing(tmp_path, monkeypatch):
    settings = dict(n_trials=4, seed=1, storage=tmp_path / "s.db")

    def dies_at_the_second(config, **where):
        if len(seen) == 1:
            raise SystemExit
        seen.append(config["x"])
        return bowl(config, **where)

    seen = []
    with pytest.raises(SystemExit):
        study(SPACE, dies_at_the_second, **settings)
    real = optuna.Study.tell

    def dies(self, *args, **kwargs):
        raise SystemExit

    monkeypatch.setattr(optuna.Study, "tell", dies)
    with pytest.raises(SystemExit):  # the configuration waits to run again, the dead trial is not yet marked
        study(SPACE, bowl, **settings)
    monkeypatch.setattr(optuna.Study, "tell", real)
    table = study(SPACE, bowl, **settings)
    assert table.status.tolist().count("done") == 4 and table.status.tolist().count("failed") == 1
    done = table[table.status == "done"]
    assert done.x.is_unique and done.x.tolist() == study(SPACE, bowl, n_trials=4, seed=1).x.tolist()


def test_an_interrupt_keeps_what_is_done_and_the_study_can_go_on(tmp_path, capsys):
    def impatient(config, **where):
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(config["x"])
        return bowl(config, **where)

    seen, settings = [], dict(n_trials=6, storage=tmp_path / "s.db")
    table = study(SPACE, impatient, **settings)
    assert table.x.tolist() == seen and "3 of 6 trials are done and kept" in capsys.readouterr().out
    done = study(SPACE, bowl, **settings)
    assert done.x[done.status == "done"].tolist() == study(SPACE, bowl, n_trials=6).x.tolist()


def test_the_configuration_that_was_cut_off_runs_again_whatever_the_sampler_would_choose_now(tmp_path):
    def dies(config, **_):
        seen.append(config["x"])
        raise SystemExit

    seen = []
    with pytest.raises(SystemExit):
        study(SPACE, dies, n_trials=3, seed=1, storage=tmp_path / "s.db")
    table = study(SPACE, bowl, n_trials=3, seed=2, sampler="random", storage=tmp_path / "s.db")
    assert table.status.tolist() == ["failed", "done", "done", "done"] and table.x.tolist()[:2] == seen * 2


def test_two_studies_share_a_file_by_name(tmp_path):
    first = study(SPACE, bowl, n_trials=2, storage=tmp_path / "s.db", name="one")
    assert len(study(SPACE, bowl, n_trials=3, storage=tmp_path / "s.db", name="two", seed=9)) == 3
    assert same(first, study(SPACE, bowl, n_trials=2, storage=tmp_path / "s.db", name="one"))


def test_a_stored_study_goes_on_with_its_own_objectives_only(tmp_path):
    path = tmp_path / "studies.db"
    study(SPACE, bowl, n_trials=1, storage=path)
    with pytest.raises(ValueError, match="objectives must be those of the stored study, score, got score, size"):
        study(SPACE, bowl, n_trials=2, storage=path, objectives=("score", "size"))


def test_the_lock_is_given_back(tmp_path):
    study(SPACE, bowl, n_trials=1, storage=tmp_path / "s.db")
    with FileLock(tmp_path / "s.db.lock", timeout=0):
        pass


def test_optunas_log_is_left_as_it_was(capfd):
    optuna.logging.set_verbosity(optuna.logging.INFO)
    study(SPACE, bowl, n_trials=2)
    assert optuna.logging.get_verbosity() == optuna.logging.INFO
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (dict(space={}), "space must hold at least one axis, got none"),
        (dict(space=dict(score=spaces.Real(0, 1))), "must not use the names trial, .*, got score"),
        (dict(sampler="bayes"), "sampler must be one of tpe, random, nsga2, got 'bayes'"),
        (dict(pruner="asha"), "pruner must be one of none, median, halving, hyperband, got 'asha'"),
        (dict(n_trials=0), "n_trials must be at least 1, got 0"),
        (dict(pruner="median", batch=4), "pruner must be 'none' with an executor or a batch, got 'median'"),
    ],
)
def test_bad_input_gets_a_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        study(**(dict(space=SPACE, objective=bowl, n_trials=2) | arguments))


def test_importance_refuses():
    table = pd.DataFrame(dict(x=[1.0], rate=[0.1], kind=["a"], score=[0.5]))
    with pytest.raises(ValueError, match="evaluator must be one of ped-anova, fanova, got 'shap'"):
        importance(SPACE, table, "shap")
    with pytest.raises(ValueError, match="table must hold at least 2 trials with a score, got 1"):
        importance(SPACE, table)


def test_the_outcome_is_plain_json(tmp_path):
    """What the storage holds can be read without this library."""
    study(SPACE, bowl, n_trials=1, storage=tmp_path / "s.db")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    (trial,) = optuna.load_study(study_name="search", storage=f"sqlite:///{tmp_path / 's.db'}").trials
    assert json.loads(json.dumps(trial.user_attrs["outcome"]))["status"] == "done"
