"""The recipe of `compresslab.report`: what could be shipped, measured on val; the proposal, judged on test."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace

import pandas as pd
import torch
from torch import Tensor, nn

from .. import measure, training
from ..capstone.certificate import products, verdict
from ..intervals import median_interval, paired_answers, wilson_interval
from ..optimizers.schedules import one_cycle
from ..pruning.sensitivity import budget
from ..runtimes.deployment import choose, speed
from ..runtimes.onnx_export import export_onnx
from ..runtimes.onnx_int8 import dynamic_int8, static_int8
from ..runtimes.onnx_run import OnnxSession
from .result import AS_IS, ONNX, Report
from .steps import Job, attempt, without

CUTS = {"cut": 0.03, "cut more": 0.1}  # what each group alone may lose, before the training that wins it back
BATCH_SIZE = 32  # of that training
SPEED = ("speedup", "speedup_low", "speedup_high")


@dataclass(frozen=True, eq=False)
class Way:
    """One row of the recipe. model: the module behind it; file: its ONNX file, None in torch; run: what answers."""

    row: dict
    model: nn.Module
    file: bytes | None
    run: Callable[[Tensor], Tensor]
    answers: Tensor


def recipe(job: Job, found: Report, tell) -> None:
    """Try one way after the other, each built on an earlier one; then judge the chosen one on test."""
    ways, cuts, notes = {}, *_cuts(job, found)
    tell(0, cuts=cuts, notes=notes)
    plan = _plan(job, cuts)
    for i, (step, base, make) in enumerate(plan):

        def on_step(progress: float, i=i, step=step) -> None:
            tell((i + 0.9 * progress) / len(plan), f"{step}: training")

        tell(i / len(plan), f"trying: {step}")
        hopeless = step.endswith(ONNX) and step != ONNX and ONNX not in ways  # torch could not export it uncut either
        if base in {None, *ways} and not hopeless:
            made, notes = attempt(step, _made, job, ways, step, make, ways.get(base), on_step)
            ways |= {} if made is None else {step: made}
            tell((i + 1) / len(plan), notes=notes, **_proposal(found, ways))
    judged, notes = attempt("the table of test", _judged, job, ways, found)
    tell(1, notes=notes, **judged or {})


def _plan(job: Job, cuts: dict) -> list[tuple]:
    """(step, the step that it is built on, function of that Way and on_step: (module, ONNX file or None))."""

    int8 = {" int8": lambda file: static_int8(file, job.calibration), " int8 dynamic": dynamic_int8}

    def in_onnx(base: str, before: str = "") -> list[tuple]:
        rows = [(before + ONNX, base, lambda way, _: (way.model, export_onnx(way.model, torch.cat([job.x[:1]] * 2))))]
        for kind, make in int8.items():
            rows.append((f"{before}ONNX{kind}", before + ONNX, lambda way, _, make=make: (way.model, make(way.file))))
        return rows

    plan = [(AS_IS, None, lambda *_: (job.model, None)), *in_onnx(AS_IS)]
    for name, ratios in cuts.items():
        plan.append((name, AS_IS, lambda way, _, ratios=ratios: (without(job, ratios), None)))
        if job.train is not None:
            plan.append((f"{name}, retrained", name, lambda way, on_step: (_trained(job, way.model, on_step), None)))
        plan += in_onnx(plan[-1][0], f"{plan[-1][0]}, ")
    return plan


def _cuts(job: Job, found: Report) -> tuple[dict[str, dict[str, float]], list[str]]:
    """({cut: {group: pruning_ratio}} by the scan of structures, notes)."""
    if found.structures is None:
        return {}, []
    scan = found.structures.rename(columns={"group": "layer", "pruning_ratio": "sparsity"})
    allowed = CUTS if job.train is not None else {"cut": found.max_drop / scan.layer.nunique()}
    cuts, notes = {}, []
    for name, drop in allowed.items():
        ratios = {group: ratio for group, ratio in budget(scan, drop).items() if ratio}
        if not ratios:
            notes.append(f"There is no {name!r}: every group loses more than {drop:.1%} alone.")
        elif ratios not in cuts.values():
            cuts[name] = ratios
    return cuts, notes


def _trained(job: Job, model: nn.Module, on_step: Callable) -> nn.Module:
    """A trained copy, in eval mode."""
    model = copy.deepcopy(model)
    if job.fit is not None:
        job.fit(model)
        return model.eval()
    torch.manual_seed(job.seed)
    size = BATCH_SIZE + (len(job.train[0]) % BATCH_SIZE == 1)  # batch norm cannot learn from one example
    adam, data = partial(torch.optim.Adam, lr=job.lr), SimpleNamespace(train=job.train, val=job.scanned)
    settings = dict(epochs=job.epochs, batch_size=size, seed=job.seed, schedule=one_cycle, on_step=on_step)
    for _ in training.epoch_by_epoch(model, data, adam, **settings):
        pass
    return model.eval()


def _made(job: Job, ways: dict, step: str, make: Callable, base: Way | None, on_step: Callable) -> Way:
    """Make it, and measure it on val and beside the model as it is and its float file, which take turns with it."""
    model, file = make(base, on_step)
    run = model if file is None else OnnxSession(file)
    x, y = job.val
    scores = measure.predict(run, x)
    if not scores.isfinite().all():
        raise ValueError(f"{step} must give finite scores, got NaN or infinity")
    answers = scores.argmax(1)
    others = [ways[name].run if name in ways else run for name in (AS_IS, ONNX)]
    seconds = measure.paired_times([run, *others], job.timed, rounds=job.start.rounds)
    size = measure.file_bytes(model) if file is None else len(file)
    row = dict(step=step, kb=size / 1000, parameters=measure.count_parameters(model))
    row["macs"] = measure.count_macs(model, job.x[:1])
    row |= zip(("ms", "ms_low", "ms_high"), median_interval(1e3 * seconds[:, 0]))
    row |= _speed(seconds[:, 1], seconds[:, 0], step == AS_IS)
    beside = _speed(seconds[:, 2], seconds[:, 0], step == ONNX) if ONNX in {step, *ways} else {}
    row |= {f"onnx_{name}": value for name, value in beside.items()}
    row |= _answers(answers, ways[AS_IS].answers if ways else answers, y, job.start.max_drop)
    ran = None if file is None else products(run.operators(job.timed))
    row |= dict(int8=None if ran is None else int(ran.sum()), products=None if ran is None else len(ran))
    return Way(row, model, file, run, answers)


def _speed(base, times, baseline: bool) -> dict:
    return dict.fromkeys(SPEED, 1.0) | dict(verdict="baseline") if baseline else speed(base, times)


def _answers(answers: Tensor, before: Tensor, y: Tensor, max_drop: float) -> dict:
    """Accuracy, and its difference from before on the same examples, each with its 95 % interval; is it kept?"""
    right, was = answers == y, before == y
    low, high = wilson_interval(int(right.sum()), len(y))
    found = dict(accuracy=right.double().mean().item(), accuracy_low=low, accuracy_high=high)
    if answers is before:
        return found | dict(difference=0.0, difference_low=0.0, difference_high=0.0, agreement=1.0, kept="yes")
    paired = paired_answers(was, right)
    found |= zip(("difference", "difference_low", "difference_high"), paired.values())
    agreement = (answers == before).double().mean().item()
    return found | dict(agreement=agreement, kept=verdict(paired["low"], paired["high"], -max_drop))


def _proposal(found: Report, ways: dict[str, Way]) -> dict:
    """The rows so far, and of those that lose at most max_drop on val the preferred one."""
    if not ways:
        return {}
    table = pd.DataFrame([way.row for way in ways.values()]).astype({"int8": "Int64", "products": "Int64"})
    compared = table
    if ONNX in ways:  # the steadier of the two to compare with; only the model as it is has no pairs with it
        turned = 1 / table.set_index("step").loc[ONNX, ["speedup", "speedup_high", "speedup_low"]].to_numpy(float)
        compared = table.assign(**{name: table[f"onnx_{name}"] for name in SPEED})
        compared.loc[0, list(SPEED)] = turned
    within = compared[table.difference >= -found.max_drop - 1e-9]
    worth = within[(within.verdict != "slower") | (found.prefer == "smallest")]
    files = worth[[step == AS_IS or ways[step].file is not None for step in worth.step]]
    best = choose(files if len(files) > 1 else worth, found.prefer)
    fastest = "the fastest, or the smallest of those that cannot be told from it"
    why = (
        f"{len(within)} of {len(table)} ways lose at most {found.max_drop:.1%} of {found.judged} on val; "
        f"of these it is {fastest if found.prefer == 'fastest' else 'the smallest'}."
    )
    if best.kept == "not settled":
        why += f" That it loses no more on new examples is not settled by {found.examples}."
    way = ways[best.step]
    return dict(recipe=table, chosen=best.step, why=why, model=way.model, file=way.file)


def _judged(job: Job, ways: dict[str, Way], found: Report) -> dict:
    """The chosen row on test, which nothing before has looked at."""
    if job.test is None or not ways:
        return {}
    chosen = _proposal(found, ways)["chosen"]
    x, y = job.test
    before = measure.predict(job.model, x).argmax(1)
    rows = [dict(step=AS_IS, n=len(y)) | _answers(before, before, y, found.max_drop)]
    if chosen != AS_IS:
        answers = measure.predict(ways[chosen].run, x).argmax(1)
        rows.append(dict(step=chosen, n=len(y)) | _answers(answers, before, y, found.max_drop))
    return dict(test=pd.DataFrame(rows))
