"""Compress your own model: `compresslab.report` measures a model that it has never seen, and proposes what to do.

    report = compresslab.report(model, example_inputs, train=(x, y), val=(x, y), test=(x, y))
    report                  the honest cost, three sensitivity scans, a recipe with its measured result
    report.file             the bytes of the proposed ONNX file

Its arguments are checked in `checks`. The parts are in `steps` and `recipe`, what they fill and how that
reads in `result`; the same with buttons is in `panel`.
"""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from .checks import checked
from .recipe import recipe
from .result import Report
from .steps import Job, bits, cost, structures, weights

STOPPED = "Stopped before the end: what is shown was finished, the rest is missing."


def report(
    model: nn.Module,
    example_inputs: Tensor,
    train: tuple[Tensor, Tensor] | None = None,
    val: tuple[Tensor, Tensor] | None = None,
    test: tuple[Tensor, Tensor] | None = None,
    *,
    max_drop: float = 0.01,
    prefer: str = "fastest",
    batch: int = 1,
    rounds: int = 30,
    fit: Callable[[nn.Module], object] | None = None,
    epochs: int = 5,
    lr: float = 3e-3,
    scan_examples: int = 500,
    seed: int = 0,
    progress: bool | Callable[[float, str, Report], None] = True,
    stop=None,
) -> Report:
    """What `model` costs, where it is sensitive, and a recipe that makes it smaller or faster, tried and measured.

    model: any nn.Module that takes one tensor (n, ...) and returns scores (n, classes). It is never changed: all is
    done with a copy. example_inputs: a batch of what it takes (n, ...), float32 or whole numbers, on the CPU.
    train, val, test: pairs (x, y) with classes y, int64 (n,). The recipe is chosen on val and judged on test.
    Without val the model's own answers on example_inputs take the place of labels: agreement with the original is
    judged, not accuracy. Without train nothing is trained after a cut, and example_inputs calibrate.

    max_drop: the share of accuracy that may be lost. prefer: "fastest" or "smallest" of what keeps it. batch: examples
    a call, where times are taken, on one thread, `rounds` times. fit(model): your own training after a cut, in place;
    else Adam with a one-cycle schedule up to `lr`, for `epochs`. scan_examples: how many of val the scans look at.
    progress: a bar, or a function of (share done, what comes next, the Report so far). stop: a threading.Event; it
    and an interrupt of the kernel (■) stop the work and keep what is done.

    What cannot be done for a model becomes a sentence in `notes`, and the rest goes on. ValueError, in one sentence,
    for arguments that no report can be made of. Torch's random numbers are put back at the end as they were.
    """
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
        job = checked(
            model, example_inputs, train, val, test, max_drop=max_drop, prefer=prefer, batch=batch, rounds=rounds,
            fit=fit, epochs=epochs, lr=lr, scan_examples=scan_examples, seed=seed,
        )  # fmt: skip
        latest = job.start
        with _shown(progress) as show:

            def tell(share: float, words: str, found: Report) -> None:
                nonlocal latest
                latest = found
                show(share, words, found)
                if stop is not None and stop.is_set():
                    raise KeyboardInterrupt

            try:
                _run(job, tell)
            except KeyboardInterrupt:
                latest = replace(latest, notes=(*latest.notes, STOPPED))
        return latest


def _run(job: Job, tell: Callable[[float, str, Report], None]) -> None:
    """Do all parts; `tell` hears (share of all that is done, what comes next, the Report so far)."""
    found, parts = job.start, (cost, weights, bits, structures, recipe)
    for i, part in enumerate(parts):

        def told(share: float, words: str = "", notes=(), i=i, **fields) -> None:
            nonlocal found
            if fields or notes:
                found = replace(found, **fields, notes=(*found.notes, *notes))
            tell(round((i + share) / len(parts), 3), words, found)

        part(job, found, told)


@contextmanager
def _shown(progress):
    """What `progress` asks for, as a function of (share, words, Report so far)."""
    if callable(progress) or not progress:
        yield progress or (lambda *_: None)
        return
    from tqdm.auto import tqdm

    layout = "{desc}: {percentage:3.0f}% |{bar}| {elapsed}{postfix}"
    words = "report (■ stops and keeps what is done)"
    with tqdm(total=1.0, desc=words, bar_format=layout, miniters=0, leave=False) as bar:

        def show(share: float, words: str, found: Report) -> None:
            bar.set_postfix_str(words, refresh=False)
            bar.update(share - bar.n)

        yield show
