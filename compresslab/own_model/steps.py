"""The parts of `compresslab.report`: cost, three sensitivity scans, a recipe. None fails: it notes what it cannot do.

Each tells what it has: tell(share of it that is done, what comes next in words, fields of the Report as they are now).
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
import torch
from torch import Tensor, nn

from .. import measure, training
from ..intervals import wilson_interval
from ..layers import KINDS
from ..packages import quiet
from ..pruning import dependencies, sensitivity
from ..pruning.groups import Group, cut
from ..pruning.structures import importance, kept_structures
from ..quantization.post_training import static_
from .result import Report

SPARSITIES = (0.5, 0.7, 0.8, 0.9)  # of a layer's weights
RATIOS = (0.25, 0.5, 0.75)  # of a group's structures
CALIBRATION = 200  # examples


@dataclass(frozen=True, eq=False)
class Job:
    """What `report` was asked for, checked. model: a copy in eval mode, which is copied on and never changed."""

    model: nn.Module
    x: Tensor
    train: tuple[Tensor, Tensor] | None
    val: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor] | None
    start: Report
    fit: Callable | None
    epochs: int
    lr: float
    scan_examples: int
    seed: int

    @cached_property
    def scanned(self) -> tuple[Tensor, Tensor]:
        """The examples of val that the scans look at."""
        chosen = self._some(len(self.val[0]), self.scan_examples)
        return self.val[0][chosen], self.val[1][chosen]

    @cached_property
    def calibration(self) -> Tensor:
        x = self.x if self.train is None else self.train[0]
        return x[self._some(len(x), CALIBRATION)]

    @cached_property
    def timed(self) -> Tensor:
        """One batch, for times."""
        return self.x[torch.arange(self.start.batch) % len(self.x)]

    @cached_property
    def groups(self) -> list[Group]:
        with quiet():
            return dependencies.groups(self.model, self.x[:1])

    @property
    def layers(self) -> list[str]:
        return [name for name, module in self.model.named_modules() if isinstance(module, KINDS)]

    def _some(self, n: int, count: int) -> Tensor:
        return torch.randperm(n, generator=torch.Generator().manual_seed(self.seed))[:count].sort().values


def attempt(what: str, function: Callable, *args, **kwargs) -> tuple:
    """(what the function returns, []), or (None, [why it cannot, in a sentence])."""
    try:
        return function(*args, **kwargs), []
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return None, [f"{what}: not possible here, {' '.join(reason.split())[:240]}"]


def cost(job: Job, found: Report, tell) -> None:
    """`measure.compare` of the model alone; MACs are those of one example."""
    tell(0, "measuring the cost")
    split = job.val if found.judged == "accuracy" else None
    models = {"as it is": job.model}
    table, notes = attempt("the table of costs", measure.compare, models, job.timed, split, rounds=found.rounds)
    if table is not None:
        table["macs"] = measure.count_macs(job.model, job.x[:1])
    tell(1, cost=table, notes=notes)


def weights(job: Job, found: Report, tell) -> None:
    """`pruning.sensitivity.scan`: the smallest weights of one layer set to 0."""

    def scan(name):
        return sensitivity.scan(job.model, job.scanned, SPARSITIES, layers=[name])

    if not job.layers:
        tell(0, notes=["There is no linear layer and no convolution, so nothing to prune or quantise layer by layer."])
    _one_by_one("weights", "pruning weights of", job.layers, scan, tell)


def bits(job: Job, found: Report, tell) -> None:
    """`quantization.analysis.sensitivity`: 8 bits for the weights and inputs of one layer, then of all."""

    def coarse(name):
        names = {"none": [], "all": job.layers}.get(name, [name])
        copied = copy.deepcopy(job.model)
        return pd.DataFrame([row(static_(copied, job.calibration, layers=names) if names else copied, job, layer=name)])

    _one_by_one("bits", "8 bits for", ["none", *job.layers, "all"] if job.layers else [], coarse, tell)


def structures(job: Job, found: Report, tell) -> None:
    """Neurons, channels or heads of one group cut out, those with the smallest weights (l1)."""
    tell(0, "looking for structures")
    groups, notes = attempt("cutting structures", lambda: job.groups)
    if groups == []:
        notes = ["No neuron, channel or head can be cut out of this model without changing more than itself."]
    named = {group.name: group for group in groups or []}

    def scan(name):
        what = dict(group=name, kind=named[name].kind, size=named[name].size)
        ratios = (0.0, *RATIOS)
        return pd.DataFrame([row(without(job, {name: r}), job, **what, pruning_ratio=r) for r in ratios])

    tell(0, notes=notes)
    _one_by_one("structures", "cutting structures of", list(named), scan, tell)


def _one_by_one(field: str, words: str, names: list[str], scan: Callable, tell) -> None:
    """A scan, name by name; what fails for one of them becomes a note."""
    tables = []
    for i, name in enumerate(names):
        tell(i / len(names), f"{words} {name}, {i + 1} of {len(names)}")
        table, notes = attempt(f"{words} {name}", scan, name)
        tables += [] if table is None else [table]
        together = pd.concat(tables, ignore_index=True) if tables else None
        tell((i + 1) / len(names), notes=notes, **{field: together})


def without(job: Job, ratios: dict[str, float]) -> nn.Module:
    """The model without the share `ratios` {group: ratio} of its structures; at least one of each group stays."""
    chosen = [group for group in job.groups if ratios.get(group.name)]
    scores = [importance(job.model, group) for group in chosen]
    counts = [min(round(ratios[group.name] * group.size), group.size - 1) for group in chosen]
    return cut(job.model, chosen, kept_structures(chosen, scores, counts, round_to=1))


def row(model: nn.Module, job: Job, **what) -> dict:
    """`what`, and loss and accuracy of a model on the scanned examples, with its 95 % interval."""
    loss, correct, n = training.evaluate(model, job.scanned)
    low, high = wilson_interval(correct, n)
    return what | dict(loss=loss, accuracy=correct / n, accuracy_low=low, accuracy_high=high)
