"""Jobs run in this process or through any `concurrent.futures.Executor`; a job whose worker dies is run again (lesson 21)."""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, ProcessPoolExecutor, wait


def run_on(
    executor: Executor | None, function: Callable, objective: Callable, jobs: Sequence[dict], retries: int = 1
) -> Iterator[tuple[int, object]]:
    """Yield (job["number"], function(objective, **job)) as they finish; an exception in place of a result that is lost.

    `function` must catch what the objective raises: an exception that still arrives is the executor's own trouble (a
    worker was killed, the objective cannot be sent), and the job runs again, up to `retries` times. When one process
    of a pool dies, Python gives up the whole pool and does not say whose fault it was: the jobs that were under way run
    again one at a time, in a new pool, so that only the guilty one is charged. Closing the generator cancels what waits.
    """
    if executor is None:
        for job in jobs:
            yield job["number"], function(objective, **job)
        return
    pool, waiting, alone, flying, lost = executor, deque(jobs), deque(), {}, Counter()
    width = getattr(executor, "_max_workers", len(jobs))  # Dask keeps its own queue
    try:
        while waiting or alone or flying:
            while not flying if alone else waiting and len(flying) < width:
                job = (alone or waiting).popleft()
                try:
                    future = pool.submit(function, objective, **job, tries=lost[job["number"]])
                except BrokenExecutor:
                    pool = _new_pool_like(executor)
                    future = pool.submit(function, objective, **job, tries=lost[job["number"]])
                flying[future] = job
            suspects = len(flying)
            done, _ = wait(flying, return_when=FIRST_COMPLETED)
            if any(isinstance(future.exception(), BrokenExecutor) for future in done):
                done, _ = wait(flying)  # the others have broken with it
            for future in done:
                job, error = flying.pop(future), future.exception()
                if error is None:
                    yield job["number"], future.result()
                    continue
                lost[job["number"]] += suspects == 1 or not isinstance(error, BrokenExecutor)
                if lost[job["number"]] > retries:
                    yield job["number"], error
                else:
                    alone.append(job)
    finally:
        for future in flying:
            future.cancel()
        if pool is not executor:
            pool.shutdown(wait=False, cancel_futures=True)


def _new_pool_like(executor: Executor) -> ProcessPoolExecutor:
    """A process pool that broke stays broken; this is a new one with the same settings."""
    if not isinstance(executor, ProcessPoolExecutor):
        raise RuntimeError(f"executor must take jobs, got a broken {type(executor).__name__}")
    return ProcessPoolExecutor(
        executor._max_workers, executor._mp_context, executor._initializer, executor._initargs,
        max_tasks_per_child=executor._max_tasks_per_child,
    )  # fmt: skip
