"""Optuna over our spaces: TPE, NSGA-II, its pruners, its storage, its parameter importance (lesson 21).

One result type for all searches: the table of `compresslab.search.trials`. Lower is better, for every objective.
"""

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import numpy as np
import optuna
import pandas as pd
from optuna.trial import TrialState

from ..measure import check_at_least
from ..training import track
from . import optuna_books as books
from .spaces import Choice, Integer, check_space
from .trials import failure, outcome_of, row_of, table_of
from .workers import run_on

SAMPLERS = {
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "nsga2": lambda seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=16),
}
PRUNERS = {
    "none": lambda epochs: optuna.pruners.NopPruner(),
    "median": lambda epochs: optuna.pruners.MedianPruner(),
    "halving": lambda epochs: optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
    "hyperband": lambda epochs: optuna.pruners.HyperbandPruner(1, epochs, reduction_factor=3),
}
EVALUATORS = {
    "ped-anova": lambda seed: optuna.importance.PedAnovaImportanceEvaluator(),
    "fanova": lambda seed: optuna.importance.FanovaImportanceEvaluator(seed=seed),
}


def study(
    space: dict,
    objective: Callable,
    *,
    n_trials: int,
    sampler: str = "tpe",
    pruner: str = "none",
    epochs: int = 10,
    seed: int = 0,
    storage=None,
    name: str = "search",
    objectives: Sequence[str] = ("score",),
    batch: int = 1,
    executor: Executor | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Let an Optuna sampler choose `n_trials` configurations, each with a look at those before; returns the table.

    `objective(config, seed=, fold=0, epochs=)` returns a score, or one number for each name in `objectives` (all are
    made small; the first is the column score), or is a learning curve, one score an epoch (`DigitsObjective.curve`),
    whose scores the pruner sees. sampler: tpe, random, nsga2; pruner: none, median, halving, hyperband.

    `storage` is the path of an SQLite file. A study of this `name` that is in it goes on, up to `n_trials` in all:
    what is done is kept; a trial whose process was killed is marked as failed and its configuration runs again. The
    sampler is seeded by `seed` and the number of trials before, so a study that was killed goes on as if it had not
    been. `batch` configurations are chosen at a time and run through `executor`: the result depends on `batch`, not
    on the executor.

    Raises ValueError for unknown names, RuntimeError while another process runs a study in the same storage.
    """
    check_space(space)
    for what, value, known in (("sampler", sampler, SAMPLERS), ("pruner", pruner, PRUNERS)):
        if value not in known:
            raise ValueError(f"{what} must be one of {', '.join(known)}, got {value!r}")
    check_at_least(1, n_trials=n_trials, epochs=epochs, batch=batch)
    if pruner != "none" and (executor is not None or batch > 1):
        raise ValueError(f"pruner must be 'none' with an executor or a batch, got {pruner!r}")
    axes = {key: _distribution(axis) for key, axis in space.items()}
    with books.opened(storage) as backend, books.quiet():
        found = optuna.create_study(
            storage=backend, study_name=name, load_if_exists=True, pruner=PRUNERS[pruner](epochs),
            directions=["minimize"] * len(objectives),
        )  # fmt: skip
        names, known = ", ".join(objectives), found.user_attrs.get("objectives")
        if known is None:
            found.set_user_attr("objectives", names)
        elif known != names:
            raise ValueError(f"objectives must be those of the stored study, {known}, got {names}")
        books.take_up(found)
        try:
            for _ in track(range(math.ceil((n_trials - books.done(found)) / batch)), "trials", progress, _best(found)):
                asked = []
                for position in range(books.done(found), min(books.done(found) + batch, n_trials)):
                    found.sampler = SAMPLERS[sampler](_seed(seed, position))
                    trial = found.ask(axes)
                    trial.set_user_attr("seed", seed)
                    asked.append(trial)
                _run(found, asked, objective, objectives, seed, epochs, executor)
        except KeyboardInterrupt:
            print(f"Interrupted: {books.done(found)} of {n_trials} trials are done and kept.")
        return _table(found, space, objectives)


def importance(space: dict, table: pd.DataFrame, evaluator: str = "ped-anova", seed: int = 0) -> pd.DataFrame:
    """How much of the score each axis decides: columns parameter, importance (shares of 1), largest first.

    From any table of trials over `space`. evaluator: ped-anova (Watanabe et al. 2023: what sets the best tenth of the
    trials apart), fanova (Hutter et al. 2014: shares of the variance of a random forest fitted to all). Optuna's
    fanova counts every axis in plain numbers, also one on a log scale: to be asked about factors, hand it logarithms.
    """
    if evaluator not in EVALUATORS:
        raise ValueError(f"evaluator must be one of {', '.join(EVALUATORS)}, got {evaluator!r}")
    scored = table.dropna(subset="score")
    if len(scored) < 2:
        raise ValueError(f"table must hold at least 2 trials with a score, got {len(scored)}")
    axes = {key: _distribution(axis) for key, axis in space.items()}
    with books.quiet():
        told = optuna.create_study()
        for row in scored[[*space, "score"]].to_dict("records"):
            value = row.pop("score")
            told.add_trial(optuna.create_trial(params=row, distributions=axes, value=value))
        shares = optuna.importance.get_param_importances(told, evaluator=EVALUATORS[evaluator](seed))
    return pd.DataFrame(shares.items(), columns=["parameter", "importance"])


def attempt(objective: Callable, config: dict, seed: int, fold: int, epochs: int, watch=None, **_) -> dict:
    """One trial, wherever it runs: the columns of its outcome and, beside them, its values.

    `watch(epoch, score)`, for a learning curve, says whether to stop.
    """
    start, values = time.perf_counter(), []
    try:
        result, spent, status = objective(config, seed=seed, fold=fold, epochs=epochs), epochs, "done"
        if hasattr(result, "__next__"):
            for spent, score in enumerate(result, 1):  # noqa: B007
                if watch and spent < epochs and watch(spent, float(score)):
                    status = "pruned"
                    break
            result = score
        values = [float(value) for value in (result if isinstance(result, (tuple, list)) else [result])]
        worst = next((value for value in values if not math.isfinite(value)), values[0])
        outcome = outcome_of(worst, spent, status)
        if outcome["status"] != "nan":
            outcome["score"] = values[0]
    except Exception as error:
        outcome = failure(error)
    return outcome | dict(seconds=time.perf_counter() - start, values=values)


def _run(found, asked: list, objective, objectives, seed: int, epochs: int, executor) -> None:
    jobs = [dict(number=i, config=trial.params, seed=seed, fold=0, epochs=epochs) for i, trial in enumerate(asked)]
    if executor is None:  # here the pruner can look on
        outcomes = enumerate(
            attempt(objective, **job, watch=_watch(trial, objectives)) for job, trial in zip(jobs, asked)
        )
    else:
        outcomes = run_on(executor, attempt, objective, jobs)
    results = {}
    for i, outcome in outcomes:
        if isinstance(outcome, BaseException):
            outcome = failure(outcome) | dict(values=[])
        if outcome["status"] in ("done", "pruned") and len(outcome["values"]) != len(objectives):
            sentence = f"objective must return {len(objectives)} numbers, got {len(outcome['values'])}"
            outcome = failure(ValueError(sentence)) | dict(values=[])
        results[i] = outcome
    for i, trial in enumerate(asked):  # told in the order in which they were asked, whoever was first
        trial.set_user_attr("outcome", results[i])
        books.settle(found, trial.number, results[i])


def _watch(trial, objectives):
    if len(objectives) > 1:
        return None

    def watch(epoch: int, score: float) -> bool:
        trial.report(score, epoch)
        return trial.should_prune()

    return watch


def _best(found):
    def note():
        done = found.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return f"best {min((trial.values[0] for trial in done), default=math.nan):.4g}"

    return note


def _table(found, space: dict, objectives) -> pd.DataFrame:
    rows = []
    for trial in found.get_trials(deepcopy=False):
        outcome = dict(trial.user_attrs.get("outcome", {}))
        if not outcome:
            if trial.state is not TrialState.FAIL:  # waiting, or interrupted in this very process
                continue
            outcome = failure(RuntimeError("its process was killed; the configuration ran again"))
        values = outcome.pop("values", []) or [math.nan] * len(objectives)
        job = dict(number=trial.number, index=trial.number, config=trial.params, fold=0)
        job["seed"] = trial.user_attrs.get("seed", -1)
        rows.append(row_of(job, outcome) | dict(zip(objectives[1:], values[1:])))
    table = table_of([{k: v for k, v in row.items() if k not in objectives[1:]} for row in rows], [space])
    return table.assign(**{key: [row[key] for row in rows] for key in objectives[1:]})


def _seed(seed: int, position: int) -> int:
    return int(np.random.SeedSequence([seed, position]).generate_state(1)[0])


def _distribution(axis):
    if isinstance(axis, Choice):
        return optuna.distributions.CategoricalDistribution(axis.options)
    kind = optuna.distributions.IntDistribution if isinstance(axis, Integer) else optuna.distributions.FloatDistribution
    return kind(axis.low, axis.high, log=axis.log)
