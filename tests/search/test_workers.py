"""The same study in this process, on a process pool and on a Dask cluster; and workers that are killed."""

import math

import dask
import pytest
from distributed import Client, LocalCluster
from search.objectives import bowl, deadly, mixed

from compresslab.search import optuna_adapter, spaces, trials, workers

CONFIGS = [dict(lr=lr, weight_decay=wd) for lr in (0.02, 0.1) for wd in (0.0, 1e-3)] + [dict(lr=-1.0), dict(lr=99.0)]

pytestmark = pytest.mark.xdist_group("workers")  # one cluster at a time


@pytest.fixture(scope="module")
def pool():
    with workers.process_pool(2) as executor:
        yield executor


@pytest.fixture(scope="module")
def cluster():
    """A real Dask cluster: a scheduler and two worker processes. A killed worker fails its task at once."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0, "distributed.worker.memory.terminate": False}),
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client.get_executor()


@pytest.fixture(params=["pool", "cluster"])
def executor(request):
    return request.getfixturevalue(request.param)


def test_the_same_table_whoever_runs_it(executor):
    settings = dict(seeds=(0, 1), folds=2, epochs=1)
    here = trials.evaluate(mixed, CONFIGS, **settings)
    there = trials.evaluate(mixed, CONFIGS, executor=executor, **settings)
    assert here.drop(columns="seconds").equals(there.drop(columns="seconds"))
    assert here.status.value_counts().to_dict() == dict(done=16, failed=4, nan=4)
    assert set(here.error[here.status == "failed"]) == {"ValueError: lr must be positive, got -1.0"}


def test_an_optuna_study_gives_the_same_table_whoever_runs_it(executor):
    settings = dict(n_trials=12, batch=4, epochs=2, seed=1)
    space = dict(x=spaces.Real(-1, 1))
    here = optuna_adapter.study(space, bowl, **settings)
    there = optuna_adapter.study(space, bowl, executor=executor, **settings)
    assert here.drop(columns="seconds").equals(there.drop(columns="seconds")) and len(here) == 12


def test_a_worker_that_dies_costs_one_trial_which_runs_again(executor, tmp_path):
    times = [0, 1, 0, math.inf, 0, 0]
    configs = [dict(x=x, times=t, folder=str(tmp_path)) for x, t in enumerate(times)]
    table = trials.evaluate(deadly, configs, executor=executor)
    assert table.status.tolist() == ["done", "done", "done", "failed", "done", "done"]
    assert table.score.dropna().tolist() == [0, 1, 2, 4, 5] and table.error[3]
    runs = [len(list(tmp_path.glob(f"{x}-*"))) for x in range(6)]
    assert 2 <= runs[1] <= 3 and 2 <= runs[3] <= 3  # one more in a pool, to find out whose fault it was
    # (Dask, for its part, computes a result again that was lost with the worker that held it.)
    again = trials.evaluate(bowl, [dict(x=0.3)], executor=executor)  # a pool that broke is no obstacle
    assert again.status.tolist() == ["done"]


def test_no_retries_means_none(cluster, tmp_path):
    configs = [dict(x=0, times=1, folder=str(tmp_path))]
    table = trials.evaluate(deadly, configs, executor=cluster, retries=0)
    assert table.status.tolist() == ["failed"] and len(list(tmp_path.iterdir())) == 1


def test_what_cannot_be_sent_is_a_failure_with_its_reason(pool):
    table = trials.evaluate(lambda config, **_: 0.0, [dict(x=1)], executor=pool)
    assert table.status.tolist() == ["failed"] and "pickle" in table.error[0].lower()


def test_an_interrupt_cancels_what_waits_and_keeps_what_is_done(pool, monkeypatch, capsys):
    real, calls = workers.wait, []

    def interrupted(*args, **settings):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*args, **settings)

    monkeypatch.setattr(workers, "wait", interrupted)
    table = trials.evaluate(bowl, [dict(x=x / 10) for x in range(20)], executor=pool)
    assert 3 <= len(table) <= 6 and (table.status == "done").all()
    assert f"{len(table)} of 20 trials are done and kept" in capsys.readouterr().out
