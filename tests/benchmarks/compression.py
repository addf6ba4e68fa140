"""The promises about Deep Compression, on all of MNIST: real files, judged as they are loaded again.

S. Han, H. Mao, W. J. Dally, "Deep Compression" (2016), tables 1, 2 and 3: LeNet-300-100 40 times smaller at a test
error of 1.58 %, LeNet-5 39 times at 0.74 %.
"""

import itertools
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.pruning import test_error
from benchmarks.report import row


def deep_lenet300(seeds=(0, 1, 2)):
    """LeNet-300-100: learns from a LeNet-5 (trained on shifted images) while 96 % of its weights are pruned."""
    import torch.nn.functional as F

    from compresslab import data, measure, models, training
    from compresslab.compression import distillation, sharing
    from compresslab.optimizers.schedules import cosine
    from compresslab.pruning import gradual, masks

    mnist, temperature = data.load("mnist"), 4.0

    def soft_cross_entropy(model, x, targets):
        return temperature**2 * F.cross_entropy(model(x) / temperature, targets)

    def compressed(seed):
        settings = dict(batch_size=128, seed=seed)
        teacher, model = models.lenet5(seed=seed), models.lenet300(seed=seed)
        training.fit(teacher, mnist, sgd(0.1), epochs=3, schedule=cosine, loss=on_shifted, **settings)
        training.fit(model, mnist, sgd(0.2), epochs=8, schedule=cosine, **settings)
        targets = distillation.soft_targets(measure.predict(teacher, mnist.train.x), temperature)
        soft = data.Data("soft", mnist.classes, data.Split(mnist.train.x, targets), mnist.val, mnist.test)
        settings |= dict(loss=soft_cross_entropy)
        gradual.prune_and_train_(
            model, soft, 0.96, optimizer=sgd(0.2 / temperature), epochs=24, end=0.5, lr_schedule=cosine, **settings
        )
        masks.bake_(model)
        sharing.share_(model, 8, biases=16, seed=seed)
        training.fit(model, soft, adam, epochs=3, schedule=cosine, **settings)
        return sharing.unshare_(model)

    judge("LeNet-300-100", compressed, models.lenet300, mnist, seeds, smaller=80, error=1.58, minutes=5)


def deep_lenet5(seeds=(0, 1, 2)):
    """LeNet-5 (20-50-500-10): trained on shifted images while 97.5 % of its weights are pruned."""
    from compresslab import data, models, training
    from compresslab.compression import sharing
    from compresslab.optimizers.schedules import cosine
    from compresslab.pruning import gradual, masks

    mnist = data.load("mnist")

    def compressed(seed):
        settings = dict(batch_size=128, seed=seed, loss=on_shifted)
        model = models.lenet5(seed=seed)
        training.fit(model, mnist, sgd(0.1), epochs=2, schedule=cosine, **settings)
        gradual.prune_and_train_(
            model, mnist, 0.975, optimizer=sgd(0.1), epochs=10, end=0.6, lr_schedule=cosine, **settings
        )
        masks.bake_(model)
        sharing.share_(model, 8, biases=16, seed=seed)
        training.fit(model, mnist, adam, epochs=1, schedule=cosine, **settings)
        return sharing.unshare_(model)

    judge("LeNet-5", compressed, models.lenet5, mnist, seeds, smaller=150, error=0.74, minutes=8)


def sgd(lr):
    import torch

    return partial(torch.optim.SGD, lr=lr, momentum=0.9, nesterov=True, weight_decay=5e-4)


def adam(parameters):
    import torch

    return torch.optim.Adam(parameters, lr=1e-3)


def shifted(x):
    """Images (n, 1, h, w), a ninth of them each -1, 0 or 1 pixels down and across; MNIST's borders are empty."""
    import torch

    steps = itertools.product((-1, 0, 1), repeat=2)
    return torch.cat([part.roll(step, (2, 3)) for part, step in zip(x.chunk(9), steps)])


def on_shifted(model, x, y):
    import torch.nn.functional as F

    return F.cross_entropy(model(shifted(x)), y)


def judge(name, compressed, fresh, mnist, seeds, smaller, error, minutes):
    """A row for each seed; then the means over the seeds with their smallest and largest, and the promises."""
    import torch

    from compresslab import measure
    from compresslab.compression import files

    torch.set_num_threads(1)
    found = dict(times=[], errors=[], seconds=[], cpu=[])
    for seed in seeds:
        wall, cpu = time.perf_counter(), time.process_time()
        model = compressed(seed)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.clab")
            files.save(model, path)
            seconds, cpu = time.perf_counter() - wall, time.process_time() - cpu
            loaded, size = files.load(fresh(), path), path.stat().st_size
            part = files.ledger(path).groupby("part").size_bytes.sum()
        times = 4 * measure.count_parameters(loaded) / size
        found = {k: [*v, new] for (k, v), new in zip(found.items(), (times, test_error(loaded, mnist), seconds, cpu))}
        measured = f"{times:.1f} times, {found['errors'][-1]:.2f} %"
        row(f"{name}, MNIST, seed {seed}: smaller, test error", measured)
        rest = size - part["positions"] - part["values"]
        row(f"  positions {part['positions']:,} + values {part['values']:,} + rest {rest:,}", f"{size:,} bytes")

    def spread(numbers, unit):
        return f"{sum(numbers) / len(numbers):.2f}{unit} ({min(numbers):.2f} to {max(numbers):.2f})"

    mean = {k: sum(v) / len(v) for k, v in found.items()}
    row(f"{name}: smaller", spread(found["times"], " times"), f"at least {smaller} times", mean["times"] >= smaller)
    row("  test error", spread(found["errors"], " %"), f"at most {error} %", mean["errors"] <= error)
    slowest = max(found["seconds"])
    row("  seconds a seed", spread(found["seconds"], " s"), f"at most {60 * minutes} s each", slowest <= 60 * minutes)
    row("  of which on the processor", spread(found["cpu"], " s"))
