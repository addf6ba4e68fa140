"""Training: one network with `fit`, or many runs of one architecture at once with `fit_many`."""

import copy
import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from .measure import check_at_least, predict


class Evaluation(NamedTuple):
    """Mean loss (cross-entropy, nats), number of correct answers, number of examples."""

    loss: float
    correct: int
    n: int

    @property
    def accuracy(self) -> float:
        return self.correct / self.n


def evaluate(model: nn.Module, split, batch_size: int = 1000) -> Evaluation:
    """Cross-entropy and accuracy of `model` in eval mode on `split`, a pair (x, y); every mode is put back."""
    x, y = split
    logits = predict(model, x, batch_size)
    return Evaluation(F.cross_entropy(logits, y).item(), (logits.argmax(1) == y).sum().item(), len(y))


def fit(
    model: nn.Module,
    data,
    optimizer: Callable = torch.optim.Adam,
    *,
    epochs: int = 10,
    batch_size: int = 32,
    seed: int = 0,
    schedule: Callable[[float], float] | None = None,
    loss: Callable[[nn.Module, Tensor, Tensor], Tensor] | None = None,
    on_step: Callable[[float], None] | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Train `model` in place on `data.train`; returns one row an epoch.

    `optimizer(parameters)` makes a torch optimizer: `partial(torch.optim.SGD, lr=0.1, momentum=0.9)`. `seed` fixes the
    order of the examples. `schedule(progress)`, with progress from 0 to 1, multiplies the learning rate at each step.
    `loss(model, x, y)` is what is minimised, in place of the cross-entropy: a penalty may be added to it.
    `on_step(progress)` is called after each step of the optimizer; its last progress is exactly 1.
    `progress=True` shows a bar. An interrupt of the kernel (■, or Ctrl+C) stops the training and keeps what is done.
    Columns: epoch, lr (at its end), train_loss (mean over the epoch's batches), val_loss, val_accuracy, seconds.
    ValueError for `epochs` or a `batch_size` that is no whole number of at least 1.
    """
    check_at_least(1, epochs=epochs, batch_size=batch_size)
    rows = []
    stream = epoch_by_epoch(
        model, data, optimizer, epochs=epochs, batch_size=batch_size, seed=seed, schedule=schedule, loss=loss,
        on_step=on_step,
    )  # fmt: skip
    try:
        for _, row in zip(track(range(epochs), "training", show=progress), stream):
            rows.append(row)
    except KeyboardInterrupt:
        print(f"Interrupted: {len(rows)} of {epochs} epochs are done and kept.")
    return pd.DataFrame(rows, columns=["epoch", "lr", "train_loss", "val_loss", "val_accuracy", "seconds"])


def epoch_by_epoch(
    model: nn.Module,
    data,
    optimizer: Callable = torch.optim.Adam,
    *,
    epochs: int,
    batch_size: int = 32,
    seed: int = 0,
    schedule: Callable[[float], float] | None = None,
    loss: Callable[[nn.Module, Tensor, Tensor], Tensor] | None = None,
    on_step: Callable[[float], None] | None = None,
):
    """The training of `fit` as a generator: each `next` trains one epoch more and gives its row, a dict.

    Training pauses between two epochs for as long as one likes: a search trains on only what is worth it.
    """
    optimizer, (x, y) = optimizer(model.parameters()), data.train
    base = [group["lr"] for group in optimizer.param_groups]
    generator = torch.Generator().manual_seed(seed)
    total, step = epochs * math.ceil(len(x) / batch_size), 0
    for epoch in range(1, epochs + 1):
        start, loss_sum = time.perf_counter(), 0.0
        model.train()
        for index in torch.randperm(len(x), generator=generator).split(batch_size):
            factor = schedule(step / total) if schedule else 1.0
            for group, lr in zip(optimizer.param_groups, base):
                group["lr"] = lr * factor
            value = loss(model, x[index], y[index]) if loss else F.cross_entropy(model(x[index]), y[index])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            loss_sum += value.item() * len(index)
            step += 1
            if on_step:
                on_step(step / total)
        val = evaluate(model, data.val)
        row = dict(epoch=epoch, lr=base[0] * factor, train_loss=loss_sum / len(x), val_loss=val.loss)
        yield row | dict(val_accuracy=val.accuracy, seconds=time.perf_counter() - start)


def fit_many(
    make_model: Callable[..., nn.Module],
    data,
    runs: Sequence[dict],
    rule: Callable,
    *,
    matrix_rule: Callable | None = None,
    rows: Sequence[tuple[Tensor, Tensor]] | None = None,
    masks: dict[str, Tensor] | None = None,
    epochs: int = 10,
    batch_size: int = 32,
    schedule: Callable[[float], float] | None = None,
    dtype: torch.dtype = torch.float32,
    progress: bool = False,
) -> tuple[pd.DataFrame, list[nn.Module]]:
    """Train many runs of one architecture at once, as one batched model; returns (history, trained models).

    `make_model(seed=...)` makes one network. Each run is a dict with `lr` and `seed` (initial weights and order of the
    examples), and any other number that `rule` takes (`momentum`, `weight_decay` ...), the same keys in each.
    `rule(param, grad, state, lr=...)` is one of `compresslab.optimizers.rules`; it sees tensors of shape
    (runs, *shape). `matrix_rule`, where given, updates the weight matrices instead (Muon). Each run gives the numbers
    that `fit` gives for it alone, up to the rounding of sums taken in another order. A run that diverges goes on as
    inf or nan and harms no other.

    `rows`, for cross-validation, gives each run its own pair (rows to train on, rows to validate on) of `data.train`;
    all pairs have the same two lengths, and `data.val` is not looked at. `masks`, for pruning, {parameter: bool
    (runs, *shape)}, holds parameters at 0 where False, from the start weights to the trained models.

    History, one row a run and epoch: run, the run's own keys, epoch, train_loss (mean over the epoch's batches),
    val_loss, val_accuracy. An interrupt of the kernel keeps the epochs that are done.

    ValueError for networks with buffers (batch norm), dropout or frozen parameters, which `fit` can train.
    """
    check_at_least(1, epochs=epochs, batch_size=batch_size)
    if not runs:
        raise ValueError("runs must hold at least one dict with lr and seed, got none")
    for run in runs:
        if set(run) != set(runs[0]) or not {"lr", "seed"} <= set(run):
            raise ValueError(f"runs must all have the same keys, lr and seed among them, got {sorted(run)}")
    models = [make_model(seed=run["seed"]).to(dtype) for run in runs]
    _check_batchable(models[0])
    stacked, _ = stack_module_state(models)
    params, states = {name: p.detach() for name, p in stacked.items()}, {name: {} for name in stacked}
    hyper = {key: torch.tensor([run[key] for run in runs], dtype=dtype) for key in runs[0] if key != "seed"}
    for name, mask in (masks or {}).items():
        if name not in params or mask.dtype != torch.bool or mask.shape != params[name].shape:
            shapes = {name: tuple(p.shape) for name, p in params.items()}
            raise ValueError(f"masks must be bool, of {shapes}, got {name}: {mask.dtype} {tuple(mask.shape)}")
    forward = batched_forward(models[0])
    (x, y), (val_x, val_y) = data.train, data.val
    x, lengths = x.to(dtype), {(len(train), len(val)) for train, val in rows or ()}
    if rows is None:
        val_x, val_y = val_x.to(dtype).expand(len(runs), *val_x.shape), val_y.expand(len(runs), -1)
    else:
        if len(rows) != len(runs) or len(lengths) != 1:
            raise ValueError(f"rows must hold a pair for each run, of equal lengths, got lengths {sorted(lengths)}")
        train_rows, val_rows = (torch.stack(part) for part in zip(*rows))
        val_x, val_y = x[val_rows], y[val_rows]
    n = len(x) if rows is None else train_rows.shape[1]

    factors = {name: mask.to(dtype) for name, mask in (masks or {}).items()}

    def masked(params: dict[str, Tensor]) -> dict[str, Tensor]:
        return params | {name: params[name] * factor for name, factor in factors.items()}

    generators = {run["seed"]: torch.Generator().manual_seed(run["seed"]) for run in runs}
    total, step, history = epochs * math.ceil(n / batch_size), 0, []
    try:
        name, best = f"training {len(runs)} runs", lambda: f"best loss {history[-1].val_loss.min():.4g}"
        for epoch in track(range(1, epochs + 1), name, show=progress, note=best):
            loss_sum = torch.zeros(len(runs), dtype=dtype)
            orders = {seed: torch.randperm(n, generator=g) for seed, g in generators.items()}
            order = torch.stack([orders[run["seed"]] for run in runs])
            order = order if rows is None else train_rows.gather(1, order)
            for index in order.split(batch_size, dim=1):
                lr = hyper["lr"] * (schedule(step / total) if schedule else 1.0)
                for p in params.values():
                    p.requires_grad_()
                losses = F.cross_entropy(forward(masked(params), x[index]), y[index], reduction="none").mean(1)
                grads = torch.autograd.grad(losses.sum(), list(params.values()))  # no run's loss touches another
                for (name, p), grad in zip(params.items(), grads):
                    column = {key: v.view(-1, *[1] * (p.ndim - 1)) for key, v in (hyper | {"lr": lr}).items()}
                    chosen = matrix_rule if matrix_rule and p.ndim == 3 else rule
                    params[name], states[name] = chosen(p.detach(), grad, states[name], **column)
                loss_sum += losses.detach() * index.shape[1]
                step += 1
            with torch.no_grad():
                logits = forward(masked(params), val_x)
            numbers = pd.DataFrame(runs)
            numbers.insert(0, "run", range(len(runs)))
            numbers["epoch"], numbers["train_loss"] = epoch, (loss_sum / n).numpy()
            numbers["val_loss"] = F.cross_entropy(logits, val_y, reduction="none").mean(1).numpy()
            numbers["val_accuracy"] = (logits.argmax(1) == val_y).to(dtype).mean(1).numpy()
            history.append(numbers)
    except KeyboardInterrupt:
        print(f"Interrupted: {len(history)} of {epochs} epochs are done and kept.")
    with torch.no_grad():
        for name, trained in masked(params).items():
            for model, p in zip(models, trained):
                model.get_parameter(name).copy_(p)  # load_state_dict would ask for a shared one under all of its names
    return pd.concat(history, ignore_index=True) if history else pd.DataFrame(), models


def _check_batchable(model: nn.Module) -> None:
    """ValueError for what `fit` can train and one batched model cannot."""
    found = [name for name, _ in model.named_buffers()]
    found += [name for name, p in model.named_parameters() if not p.requires_grad]
    found += [name for name, module in model.named_modules() if isinstance(module, nn.modules.dropout._DropoutNd)]
    if found:
        what = "buffers (batch norm?), frozen parameters or dropout"
        raise ValueError(f"make_model must have no {what}, got {found[0]}; use fit instead")


def batched_forward(model: nn.Module) -> Callable:
    """f(params, x) -> logits (runs, classes, batch), for params {name: (runs, *shape)} and x (runs, batch, ...).

    A plain chain of linear layers after a Flatten becomes one `baddbmm` a layer; any other network goes through
    `torch.func.vmap`. Classes stand before the batch because the softmax over a middle dimension runs several times
    faster.
    """
    layers, plain = dict(model.named_children()), (nn.Linear, nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU)
    first, *rest = layers.values() or [model]
    each_once = isinstance(model, nn.Sequential) and len(model) == len(layers)
    if each_once and type(first) is nn.Flatten and all(type(layer) in plain for layer in rest):

        def chain(params: dict[str, Tensor], x: Tensor) -> Tensor:
            hidden = x.flatten(2).mT
            for name, layer in list(layers.items())[1:]:
                if isinstance(layer, nn.Linear):
                    weight, bias = params[f"{name}.weight"], params.get(f"{name}.bias")
                    hidden = weight @ hidden if bias is None else torch.baddbmm(bias.unsqueeze(-1), weight, hidden)
                else:
                    hidden = layer(hidden)
            return hidden

        return chain
    skeleton = copy.deepcopy(model).to("meta")
    call = vmap(lambda params, x: functional_call(skeleton, params, (x,)))
    return lambda params, x: call(params, x).mT


def track(steps, description: str, show: bool = True, note: Callable[[], str] | None = None):
    """Yield the items of `steps` under a progress bar: how many are done, the time left, and the text of `note()`.

    The bar says how to stop: interrupt the kernel (■), or press Ctrl+C. (A Stop button of its own would be heard only
    after the running cell: the kernel reads a widget's messages then.)
    """
    if not show:
        yield from steps
        return
    from tqdm.auto import tqdm

    with tqdm(steps, desc=f"{description} (■ stops and keeps what is done)", leave=False) as bar:
        for item in bar:
            yield item
            if note:
                bar.set_postfix_str(note())
