"""The books of an Optuna study: taken up after a kill, told in order, never open in two processes (lesson 21)."""

from contextlib import contextmanager

import optuna
from filelock import FileLock, Timeout
from optuna.trial import TrialState


def settle(found, number: int, outcome: dict) -> None:
    """Tell Optuna what came of a trial. It knows no state for nan: such a trial counts as failed there."""
    if outcome["status"] == "done":
        found.tell(number, outcome["values"])
    else:
        found.tell(number, state=TrialState.PRUNED if outcome["status"] == "pruned" else TrialState.FAIL)


def take_up(found) -> None:
    """Clear up after a process that was killed: whatever is still marked as running is dead, for the storage is ours.

    A trial whose outcome is on record is finished. Any other is failed, and its configuration waits to run again:
    that is written first, so that a second kill in between loses nothing.
    """
    trials = found.get_trials(deepcopy=False)
    again = {trial.user_attrs.get("again") for trial in trials}
    for trial in trials:
        if trial.state is TrialState.RUNNING:
            if outcome := trial.user_attrs.get("outcome"):
                settle(found, trial.number, outcome)
                continue
            if trial.number not in again:
                found.enqueue_trial(trial.params, user_attrs={"again": trial.number})
            found.tell(trial.number, state=TrialState.FAIL)


def done(found) -> int:
    """Number of trials that came to an end, whichever; those whose process was killed do not count."""
    states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    trials = found.get_trials(deepcopy=False, states=states)
    return sum("outcome" in trial.user_attrs for trial in trials)


@contextmanager
def opened(storage):
    """The storage of a study, held by this process alone; the lock falls with the process, however it ends.

    SQLite, because it survives SIGKILL best: a transaction that was cut off is rolled back. Optuna's journal file would
    keep half a line, and its lock file would outlive the process. Optuna's own heartbeat finds a dead trial only after
    minutes, and cannot tell it from a slow one.
    """
    if storage is None:
        yield None
        return
    try:
        with FileLock(f"{storage}.lock", timeout=0):
            backend = optuna.storages.RDBStorage(f"sqlite:///{storage}")
            try:
                yield backend
            finally:
                backend.engine.dispose()
    except Timeout:
        raise RuntimeError(f"storage must be free, got {storage}, in which another process runs a study") from None


@contextmanager
def quiet():
    """Optuna's log off, and put back."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
