"""The promises about pruning, on all of MNIST and Fashion-MNIST; test errors in percent, means with 95 % intervals."""

from functools import partial

from benchmarks.report import ratio, row


def test_error(model, data):
    from compresslab import training

    return 100 * (1 - training.evaluate(model, data.test).accuracy)


def means(errors):
    """A row for each name of {name: errors, one a seed}."""
    from compresslab import intervals

    for name, values in errors.items():
        ratio(f"  test error, {name}", intervals.mean_interval(values), unit=" %")


def difference(errors, one, other, at_most=None, at_least=None):
    """A row: the errors of `one` minus those of `other`, paired by seed."""
    from compresslab import intervals

    found = intervals.paired_difference(errors[one], errors[other])
    ratio(f"  {one} - {other}, points", tuple(found.values()), at_most, at_least)


def lenet300(seeds=(6, 7, 8), epochs=8, sparsity=0.92):
    """LeNet-300-100 on MNIST: trained dense, then pruned while it trains on for twice as many epochs.

    The promise is about the network that was pruned, as in Han et al. 2015. The fairer rival stands beside it: the same
    dense network trained on for as long, with the same order of the examples and learning rates.
    """
    import copy

    import torch

    from compresslab import data, measure, models, training
    from compresslab.optimizers.schedules import cosine
    from compresslab.pruning import gradual, masks

    torch.set_num_threads(1)
    mnist, errors = data.load("mnist"), {"dense": [], "pruned": [], "dense, trained on": []}
    sgd = partial(torch.optim.SGD, lr=0.2, momentum=0.9, nesterov=True, weight_decay=5e-4)
    for seed in seeds:
        dense = models.lenet300(seed=seed)
        training.fit(dense, mnist, sgd, epochs=epochs, batch_size=128, seed=seed, schedule=cosine)
        pruned, longer = copy.deepcopy(dense), copy.deepcopy(dense)
        again = dict(optimizer=sgd, epochs=2 * epochs, batch_size=128, seed=100 + seed)
        gradual.prune_and_train_(pruned, mnist, sparsity, end=0.5, lr_schedule=cosine, **again)
        masks.bake_(pruned)
        training.fit(longer, mnist, schedule=cosine, **again)
        for name, model in zip(errors, (dense, pruned, longer)):
            errors[name].append(test_error(model, mnist))
    fewer = measure.count_nonzeros(dense) / measure.count_nonzeros(pruned)
    what = f"LeNet-300-100, MNIST, {len(seeds)} seeds: fewer weights"
    row(what, f"{fewer:.1f} times", "at least 12 times", fewer >= 12)
    means(errors)
    difference(errors, "pruned", "dense", at_most=0)
    difference(errors, "pruned", "dense, trained on")


def resnet20(seeds=3, rounds=60):
    """ResNet-20 on Fashion-MNIST without half of the channels of its first two stages: ours against torch-pruning's.

    The third stage, small images with three quarters of the parameters, stays. One epoch dense; then dense, ours and
    theirs are trained for one more, with the same order of the examples and the same learning rates. Times: eager
    torch on one thread, in both memory formats.
    """
    import copy

    import torch
    import torch_pruning as tp

    from compresslab import data, intervals, measure, models, training
    from compresslab.optimizers.schedules import one_cycle
    from compresslab.pruning import masks, shrink, structures

    torch.set_num_threads(1)
    half = {"0": 0.5, "6.body.3": 0.5} | {f"{block}.body.0": 0.5 for block in range(3, 9)}
    fashion, example = data.load("fashion_mnist"), torch.zeros(1, 1, 28, 28)
    sgd = partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)

    def train(model, seed):
        model.to(memory_format=torch.channels_last)  # a fifth faster to train
        training.fit(model, fashion, sgd, epochs=1, batch_size=128, seed=seed, schedule=one_cycle)

    def ours(model):
        masks.mask_(model, structures.structure_masks(model, example, half, "l2"))
        return shrink.shrink(model, example)

    def theirs(model):
        importance = tp.importance.GroupMagnitudeImportance(p=2)
        whole = [layer for layer in model[9:].modules() if hasattr(layer, "weight")]
        tp.pruner.BasePruner(model, example, importance, pruning_ratio=0.5, ignored_layers=whole).step()
        return model

    errors = dict(dense=[], ours=[], theirs=[])
    for seed in range(seeds):
        start = models.resnet20(seed=seed)
        train(start, seed)
        trained = dict(dense=copy.deepcopy(start), ours=ours(copy.deepcopy(start)), theirs=theirs(copy.deepcopy(start)))
        for name, model in trained.items():
            train(model, 100 + seed)
            errors[name].append(test_error(model, fashion))

    macs = {name: measure.count_macs(model, example) for name, model in trained.items()}
    fewer = macs["dense"] / macs["ours"]
    row(f"ResNet-20, Fashion-MNIST, {seeds} seeds: fewer MACs", f"{fewer:.2f} times", "at least 2 times", fewer >= 2)
    row("  the same number as torch-pruning's", f"{macs['ours']:,}", "equal", macs["ours"] == macs["theirs"])
    for layout in ("contiguous_format", "channels_last"):
        pair = [trained[name].to(memory_format=getattr(torch, layout)) for name in ("dense", "ours")]
        for batch, promise in ((64, 1.6), (1, None)):
            times = measure.paired_times(pair, torch.rand(batch, 1, 28, 28), rounds=rounds)
            speedup = intervals.median_interval(times[:, 0] / times[:, 1])
            ratio(f"  faster, batch {batch}, {layout}", speedup, at_least=promise, unit=" times")
    means(errors)
    difference(errors, "ours", "dense")
    difference(errors, "ours", "theirs")
