"""Jobs run here or through any `concurrent.futures.Executor`; one whose worker dies is run again (lesson 21)."""

import itertools
import multiprocessing
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, ProcessPoolExecutor, wait


def run_on(
    executor: Executor | None, function: Callable, objective: Callable, jobs: Sequence[dict], retries: int = 1
) -> Iterator[tuple[int, object]]:
    """Yield (job["number"], function(objective, **job)) as they finish; an exception in place of a result that is lost.

    `function` must catch what the objective raises: an exception that still arrives is the executor's own
    trouble (a worker was killed, the objective cannot be sent). A worker takes others down with it: one dead
    process breaks a whole pool, and Dask gives up all that waited on that worker. So the jobs that were lost
    run again one at a time, in a new pool where the old one broke; only what is lost then counts, and is
    tried `retries` times more. Closing the generator cancels what waits.
    """
    if executor is None:
        for job in jobs:
            yield job["number"], function(objective, **job)
        return
    pool, waiting, alone, flying, lost = executor, deque(jobs), deque(), {}, Counter()
    calls = itertools.count()
    width = getattr(executor, "_max_workers", len(jobs))  # Dask keeps its own queue

    def submit(job: dict) -> None:
        nonlocal pool
        call = next(calls)  # tells a second try from the first: Dask remembers what the same call gave before
        try:
            future = pool.submit(function, objective, **job, call=call)
        except BrokenExecutor:
            pool = _new_pool_like(executor)
            future = pool.submit(function, objective, **job, call=call)
        flying[future] = job

    try:
        while waiting or alone or flying:
            if not flying:
                one_at_a_time = bool(alone)
            if one_at_a_time and not flying:
                submit(alone.popleft())
            while waiting and len(flying) < width and not alone and not one_at_a_time:
                submit(waiting.popleft())
            suspects = len(flying)
            done, _ = wait(flying, return_when=FIRST_COMPLETED)
            if any(isinstance(future.exception(), BrokenExecutor) for future in done):
                done, _ = wait(flying)  # the others have broken with it
            for future in done:
                job, error = flying.pop(future), future.exception()
                if error is None:
                    yield job["number"], future.result()
                    continue
                lost[job["number"]] += suspects == 1
                if lost[job["number"]] > retries:
                    yield job["number"], error
                else:
                    alone.append(job)
            del done, future  # or Dask would keep their results, and compute them again if that worker died
    finally:
        for future in flying:
            future.cancel()
        if pool is not executor:
            pool.shutdown(wait=False, cancel_futures=True)


def process_pool(workers: int = 2) -> ProcessPoolExecutor:
    """An executor of fresh processes with one thread each: started anew, as torch's threads survive no fork.

    What is sent to them must be importable there: an objective of this package, or a function in a file, not in a cell.
    """
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, context, _one_thread)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _new_pool_like(executor: Executor) -> ProcessPoolExecutor:
    """A process pool that broke stays broken; this is a new one with the same settings."""
    if not isinstance(executor, ProcessPoolExecutor):
        raise RuntimeError(f"executor must take jobs, got a broken {type(executor).__name__}")
    return ProcessPoolExecutor(
        executor._max_workers, executor._mp_context, executor._initializer, executor._initargs,
        max_tasks_per_child=executor._max_tasks_per_child,
    )  # fmt: skip
