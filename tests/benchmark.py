"""`make bench`: the promises about speed, and about accuracy and size after compression, side by side on one thread.

A part alone: python tests/benchmark.py imports (trainer, search, hyperband, latency, notebooks, lenet300, resnet20,
int8, low_bits, deep_lenet300, deep_lenet5, transformer, litert)
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import math
import statistics
import subprocess
import sys
from functools import partial
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(Path(__file__).parent))

from benchmarks.compression import deep_lenet5, deep_lenet300
from benchmarks.deployment import litert, transformer
from benchmarks.pruning import lenet300, resnet20
from benchmarks.quantization import int8, low_bits
from benchmarks.report import paired, ratio, row, seconds


def python(code):
    return partial(subprocess.run, [sys.executable, "-c", code], check=True, cwd=ROOT)


def imports(pairs=10):
    torch, ours = python("import torch"), python("import compresslab")
    ratio("import compresslab / import torch", paired(ours, torch, pairs), at_most=1.1)
    ground = python("from compresslab import data, measure, models, training")
    ratio("its data, measure, models, training / import torch", paired(ground, torch, pairs))


def trainer(runs=64, epochs=3, pairs=5):
    """`fit_many` against `fit` in a loop: same networks, data, batches, optimizer and threads."""
    import torch

    from compresslab import data, models, training
    from compresslab.optimizers import rules

    torch.set_num_threads(1)
    digits = data.load("digits")
    plan = [{"lr": 0.01, "seed": seed} for seed in range(runs)]

    def one_by_one(optimizer):
        for run in plan:
            model, make = models.mlp(seed=run["seed"]), partial(optimizer, lr=run["lr"])
            training.fit(model, digits, make, epochs=epochs, seed=run["seed"])

    for rule, optimizer in [(rules.sgd, torch.optim.SGD), (rules.adam, torch.optim.Adam)]:
        batched = partial(training.fit_many, models.mlp, digits, plan, rule, epochs=epochs)
        measured = paired(partial(one_by_one, optimizer), batched, pairs)
        ratio(f"{runs} digits MLPs, {optimizer.__name__}: one by one / batched", measured, at_least=6)


def search(configs=64, folds=5, epochs=3, pairs=3):
    """A cross-validated search: the batched trainer against scikit-learn and Optuna, which train one by one.

    The same network, configurations, folds, seed and number of epochs for all; no refit, no pruning.
    """
    import numpy as np
    import torch
    from sklearn.base import BaseEstimator
    from sklearn.model_selection import GridSearchCV

    from compresslab import data, models, training
    from compresslab.search import batch, digits, optuna_adapter, spaces

    torch.set_num_threads(1)
    objective = digits.DigitsObjective("error", folds=folds)
    space = dict(lr=spaces.Real(1e-3, 0.5, log=True), weight_decay=spaces.Real(1e-6, 1e-1, log=True))
    plan = spaces.grid(space, round(configs**0.5))
    x, y = digits.pool(data.load("digits"))
    splits = [(train.numpy(), val.numpy()) for train, val in digits.kfold(data.load("digits"), folds)]

    class Network(BaseEstimator):
        def __init__(self, lr=0.1, weight_decay=0.0):
            self.lr, self.weight_decay = lr, weight_decay

        def fit(self, rows, labels):
            self.model = models.mlp((64, 32, 10), seed=0)
            part = data.Split(torch.from_numpy(rows), torch.from_numpy(labels))
            one = data.Data("fold", data.DIGITS, part, data.Split(part.x[:1], part.y[:1]), part)  # not judged here
            make = partial(torch.optim.SGD, lr=self.lr, weight_decay=self.weight_decay, momentum=0.9)
            training.fit(self.model, one, make, epochs=epochs, seed=0)
            return self

        def score(self, rows, labels):
            return training.evaluate(self.model, (torch.from_numpy(rows), torch.from_numpy(labels))).accuracy

    def batched():
        return batch.evaluate_batch(objective, plan, epochs=epochs)

    def scikit_learn():
        axes = {name: axis.points(round(configs**0.5)) for name, axis in space.items()}
        found = GridSearchCV(Network(), axes, cv=splits, refit=False).fit(x.numpy(), y.numpy())
        return found.cv_results_["mean_test_score"]

    def optuna():
        def mean(config, *, seed, fold, epochs):
            return np.mean([objective(config, seed=seed, fold=k, epochs=epochs) for k in range(folds)])

        return optuna_adapter.study(space, mean, sampler="random", n_trials=configs, epochs=epochs)

    ours = batched()
    theirs = 1 - scikit_learn().reshape(-1)
    # The same means, in the same order of the grid; where a rate diverges rounding decides, hence the median.
    apart = np.nanmedian(np.abs(ours.groupby("config").score.mean().to_numpy() - theirs))
    row(
        "median difference of the mean errors to scikit-learn's", f"{100 * apart:.3f} points", "below 0.1", apart < 1e-3
    )
    total = configs * folds * epochs
    for name, other in [("GridSearchCV", scikit_learn), ("Optuna", optuna)]:
        measured = paired(other, batched, pairs)
        ratio(f"{configs} configurations, {folds} folds: {name} / batched", measured, at_least=6)
    for name, run in [("batched", batched), ("GridSearchCV", scikit_learn), ("Optuna", optuna)]:
        row(f"  {name}", f"{total / seconds(run):,.0f} epochs a second")


def hyperband(max_epochs=27, seeds=20):
    """Hyperband against random search with the same epochs in all: the best validation score so far, over the seeds.

    Every curve was really trained, as a batch; epochs are counted as if each search trained what it asked for.
    """
    import numpy as np
    import torch

    from compresslab.search import analysis, batch, digits, halving, spaces, trials

    torch.set_num_threads(1)
    space = dict(lr=spaces.Real(1e-4, 1, log=True), weight_decay=spaces.Real(1e-6, 1, log=True))
    for metric in ("error", "loss"):
        objective, found = digits.DigitsObjective(metric), dict(hyperband=[], random=[])
        plan = halving.brackets(max_epochs)
        spent = sum(steps[0][0] * steps[0][1] for steps in plan.values()) + sum(
            n * (epochs - before) for steps in plan.values() for (_, before), (n, epochs) in zip(steps, steps[1:])
        )
        budgets = np.arange(1, spent + 1)
        for seed in range(seeds):
            n = sum(steps[0][0] for steps in plan.values())
            configs = spaces.random(space, n, seed)
            replay = batch.Replay(batch.learning_curves(objective, configs, seeds=[seed], epochs=max_epochs))
            log = halving.hyperband(replay.curve, space, max_epochs=max_epochs, seed=seed)[1]
            order = np.random.default_rng(1000 + seed).permutation(n)[: spent // max_epochs]
            full = trials.evaluate(replay, [configs[i] for i in order], seeds=[seed], epochs=max_epochs)
            found["hyperband"].append(analysis.best_at(log, budgets))
            found["random"].append(analysis.best_at(full, budgets))
        both = {name: np.array(values) for name, values in found.items()}
        end = {name: np.median(values[:, -1]) for name, values in both.items()}
        wins = np.mean(both["hyperband"][:, -1] < both["random"][:, -1])
        ties = np.mean(both["hyperband"][:, -1] == both["random"][:, -1])
        what = f"{metric} after {spent} epochs, {seeds} seeds, median"
        row(what, f"Hyperband {end['hyperband']:.4f}, random {end['random']:.4f}")
        row("  seeds in which Hyperband is better (and equal)", f"{wins:.0%} ({ties:.0%})")
        saved = analysis.saving(budgets, both["hyperband"], both["random"])
        row("  random's epochs / Hyperband's, to random's end", f"{saved:.2f}" if saved == saved else "never there")


CLOCK = """panel => {
    const clock = window.clock = {pressed: 0, changed: 0};
    const pressed = event => { clock.pressed = event.timeStamp; clock.changed = 0 };
    const stamp = () => requestAnimationFrame(() => { clock.changed = performance.now() });
    document.addEventListener('keydown', pressed, true);
    new MutationObserver(stamp).observe(panel.querySelector('.js-plotly-plot'),
        {subtree: true, childList: true, attributes: true, characterData: true});
}"""
DONE = "performance.now() - (clock.changed || clock.pressed + 750) > 250"  # a key may change nothing


def press(page, key):
    """Milliseconds from the key to the frame that shows the last change it makes in the picture; None without one."""
    page.keyboard.press(key)
    page.wait_for_function(DONE, polling=50)
    changed, pressed = page.evaluate("[clock.changed, clock.pressed]")
    return changed - pressed if changed else None


def walk(panel, presses):
    """Every control of a panel is moved some steps away and back by keyboard; gives the milliseconds of each."""
    from browser.lab import moves

    panel.scroll_into_view_if_needed()
    panel.evaluate(CLOCK)
    times = []
    while len(times) < presses:
        for control, keys in moves(panel):
            control.focus()
            times += [ms for key in keys for _ in range(4) if (ms := press(panel.page, key)) is not None]
    return times


def latency(presses=40, warm_up=4):
    """From the key to the changed picture, in a browser, for every explorer."""
    from browser.lab import explorers, open_notebook, run_all, settle

    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        with open_notebook(path) as page:
            errors = run_all(page, seconds=300)
            assert not errors, errors
            for panel in explorers(page).all():
                settle(page)
                times = sorted(walk(panel, presses + warm_up)[warm_up:])
                median, p95 = statistics.median(times), times[math.ceil(0.95 * len(times)) - 1]
                what = f"{path.name[:2]} {panel.get_attribute('aria-label')}: key to picture, {len(times)} moves"
                kept = median < 100 and p95 < 200
                row(what, f"median {median:.0f} ms, p95 {p95:.0f} ms", "median under 100, p95 under 200", kept)


def notebooks():
    from notebooks.refresh import execute

    total = 0.0
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cost = execute(nbformat.read(path, as_version=4), path.parent)
        kept = cost.seconds < 60 and cost.memory_mb < 1000
        row(f"{path.stem}: run", f"{cost.seconds:.1f} s, {cost.memory_mb:.0f} MB", "60 s, 1000 MB", kept)
        total += cost.seconds
    row("the whole series, one after the other: run", f"{total / 60:.1f} minutes", "10 minutes", total < 600)


PARTS = [imports, trainer, search, hyperband, latency, notebooks, lenet300, resnet20, int8, low_bits]
PARTS = {part.__name__: part for part in [*PARTS, deep_lenet300, deep_lenet5, transformer, litert]}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure the promises.")
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(PARTS))
    chosen = parser.parse_args().parts or list(PARTS)
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"part must be one of {', '.join(PARTS)}, got {', '.join(unknown)}")
    row("load of this machine before (0 is idle)", f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for name in chosen:
        PARTS[name]()
