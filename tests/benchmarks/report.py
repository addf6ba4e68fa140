"""What every benchmark prints: a row with what was measured, its interval, the promise and whether it was kept."""

import statistics
import time


def seconds(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def paired(one, other, pairs):
    """(median of one / other, smallest, largest) over runs that take turns, after one warm-up of each."""
    one(), other()
    ratios = []
    for i in range(pairs):
        first, second = (one, other) if i % 2 else (other, one)
        times = {run: seconds(run) for run in (first, second)}
        ratios.append(times[one] / times[other])
    return statistics.median(ratios), min(ratios), max(ratios)


def row(what, measured, promise="", kept=None):
    verdict = {None: "", True: "kept", False: "MISSED"}[kept]
    print(f"{what:<52} {measured:>30}   {promise:<18} {verdict}", flush=True)


def ratio(what, measured, at_most=None, at_least=None, unit=""):
    """A row for (middle, low, high); the promise is about the middle."""
    middle, low, high = measured
    promise, kept = "", None
    if at_most is not None:
        promise, kept = f"at most {at_most}{unit}", middle <= at_most
    if at_least is not None:
        promise, kept = f"at least {at_least}{unit}", middle >= at_least
    row(what, f"{middle:.2f}{unit} ({low:.2f} to {high:.2f})", promise, kept)
