"""The promises about quantization, one thread, all 10,000 test images; errors in percent, means with 95 % intervals."""

import copy
import statistics
from collections import defaultdict
from functools import cache, partial

from benchmarks.pruning import difference, means, test_error
from benchmarks.report import ratio, row

CALIBRATION = 256  # training images, the same for everyone
ROUNDS = 100


@cache
def trained(network, name, seed):
    """(network, data) after one epoch, made once for both parts."""
    import torch

    from compresslab import data, models, training
    from compresslab.optimizers.schedules import one_cycle

    torch.set_num_threads(1)
    recipes = dict(
        lenet5=partial(torch.optim.Adam, lr=2e-3),
        resnet20=partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4),
    )
    images, model = data.load(name), getattr(models, network)(seed=seed).to(memory_format=torch.channels_last)
    training.fit(model, images, recipes[network], epochs=1, batch_size=128, seed=seed, schedule=one_cycle)
    return model.to(memory_format=torch.contiguous_format), images


def int8(seeds=3):
    """Static int8 in ONNX Runtime: accuracy and file on real images, then speed, then the rivals' calibrations.

    Trained for one epoch; the promises are about the same weights before and after.
    """
    from compresslab.runtimes.onnx_export import export_onnx
    from compresslab.runtimes.onnx_int8 import static_int8
    from compresslab.runtimes.onnx_run import OnnxSession

    for network, name in [("lenet5", "mnist"), ("resnet20", "fashion_mnist")]:
        errors = {"float": [], "int8": []}
        for seed in range(seeds):
            model, images = trained(network, name, seed)
            calibration = images.train.x[:CALIBRATION]
            file = export_onnx(model, calibration[:2])
            sessions = OnnxSession(file), OnnxSession(static_int8(file, calibration))
            for kind, session in zip(errors, sessions):
                errors[kind].append(test_error(session, images))
        row(f"{network}, {name}, ONNX Runtime", f"{seeds} seeds")
        means(errors)
        difference(errors, "int8", "float", at_most=0.2)
        file_size(*sessions)
        side_by_side(*trained(network, name, 0))
    ladder("lenet300", (1, 28, 28), {64: 2}, compile=True)
    ladder("resnet20", (3, 32, 32), {1: 2, 64: 2})  # the size that it was made for (CIFAR)
    ladder("resnet20", (1, 28, 28), {1: None, 64: None})


def file_size(full, small):
    share = small.file_bytes / full.file_bytes
    what = f"{share:.2f} ({small.file_bytes / 1e3:,.0f} of {full.file_bytes / 1e3:,.0f} kB)"
    row("  int8 file / float file", what, "at most 0.3", share <= 0.3)


def side_by_side(model, images):
    """The same network and calibration set at 8 bits: ours, torchao's PT2E and ONNX Runtime's own calibrations.

    Weights on one scale a channel, activations unsigned. The scores stay float in ours and torchao's; ONNX Runtime's
    are codes too.
    """
    from compresslab.measure import predict
    from compresslab.quantization.affine import sqnr_db
    from compresslab.quantization.folding import fold_batch_norm
    from compresslab.quantization.post_training import static_
    from compresslab.quantization.ranges import min_max, mse
    from compresslab.runtimes.onnx_export import export_onnx
    from compresslab.runtimes.onnx_int8 import METHODS, static_int8
    from compresslab.runtimes.onnx_run import OnnxSession
    from compresslab.runtimes.torch_compiled import pt2e_int8

    calibration, (x, y) = images.train.x[:CALIBRATION], images.test
    folded, file = fold_batch_norm(model, calibration), export_onnx(model, calibration[:2])
    makers = {
        f"ours, {rule.__name__}": partial(static_, copy.deepcopy(folded), calibration, rule=rule, weight_rule=rule)
        for rule in (min_max, mse)
    }
    makers["torchao PT2E"] = partial(pt2e_int8, model, calibration)
    for method in METHODS:
        makers[f"ONNX Runtime, {method}"] = lambda method=method: OnnxSession(
            static_int8(file, calibration, method=method)
        )
    exact = predict(model, x)
    right = (exact.argmax(1) == y).float().mean().item()
    row("  seed 0, calibrated by: accuracy, output SQNR", f"float {right:.2%}")
    for name, make in makers.items():
        scores = predict(make(), x)
        share = (scores.argmax(1) == y).float().mean().item()
        row(f"    {name}", f"{share:.2%} ({100 * (share - right):+.2f}), {sqnr_db(exact, scores):.1f} dB")


def ladder(network, shape, promises, compile=False):
    """From eager to int8 kernels, {batch: promise}; an untrained network is as fast as a trained one."""
    import torch

    from compresslab import intervals, measure, models
    from compresslab.runtimes.ladder import rungs
    from compresslab.runtimes.torch_compiled import has_compiler

    torch.set_num_threads(1)
    channels = {} if network == "lenet300" else {"in_channels": shape[0]}
    calibration = torch.rand(CALIBRATION, *shape, generator=torch.Generator().manual_seed(0))
    model = getattr(models, network)(seed=0, **channels)
    steps = rungs(model, calibration, compile=compile and has_compiler())
    row(f"{network}, images {'x'.join(map(str, shape))}: from eager to int8", measure.int8_instructions())
    file_size(steps["onnx float"], steps["onnx int8"])
    kinds = steps["onnx int8"].operators(calibration[:1]).kind.value_counts()
    row("  kernels that ran", ", ".join(f"{count} {kind}" for kind, count in kinds.items()))
    for batch, promise in promises.items():
        times = measure.paired_times(list(steps.values()), calibration[:batch], rounds=ROUNDS)
        seconds = dict(zip(steps, times.T))
        gain = intervals.median_interval(seconds["onnx float"] / seconds["onnx int8"])
        ratio(f"  batch {batch}: onnx float / onnx int8", gain, at_least=promise, unit=" times")
        eager = seconds.pop("eager")
        row("    eager", f"{1e3 * statistics.median(eager):.2f} ms")
        for name, own in seconds.items():
            gain = intervals.median_interval(eager / own)
            ratio(f"    eager / {name}, {1e3 * statistics.median(own):.2f} ms", gain, unit=" times")


def low_bits(seeds=3):
    """Few bits in weights and activations: after the training, and trained on with the rounding in place.

    The better of the two range rules is the baseline. LeNet-5 on MNIST leaves little to mend once it has chosen the
    ranges, and carries no promise. Beside all stands the float network trained on for as long, with the same order of
    the examples and learning rates.
    """
    few_bits("lenet5", "fashion_mnist", {4: None, 2: 5}, 5e-4, seeds, near={4: 1})
    few_bits("lenet5", "mnist", {2: None}, 5e-4, seeds)
    few_bits("resnet20", "fashion_mnist", {2: 5}, 1e-3, seeds)


def few_bits(network, name, better, lr, seeds, near=()):
    """Rows of one network; promises {bits: points}: `near` float, and `better` than after the training."""
    import torch

    from compresslab import training
    from compresslab.optimizers.schedules import cosine
    from compresslab.quantization.folding import fold_batch_norm
    from compresslab.quantization.post_training import static_
    from compresslab.quantization.qat import quantize_and_train_
    from compresslab.quantization.ranges import min_max, mse
    from compresslab.quantization.scheme import Scheme

    again = dict(optimizer=partial(torch.optim.Adam, lr=lr), epochs=1, batch_size=128, schedule=cosine)
    errors = defaultdict(list)
    for seed in range(seeds):
        model, images = trained(network, name, seed)
        calibration = images.train.x[:CALIBRATION]
        longer, folded = copy.deepcopy(model), fold_batch_norm(model, calibration)
        training.fit(longer, images, seed=100 + seed, **again)
        made = {"float": model, "float, trained on": longer}
        for bits in better:
            schemes = Scheme(bits, granularity="channel"), Scheme(bits, symmetric=False, signed=False)
            for rule in (min_max, mse):
                rounded = static_(copy.deepcopy(folded), calibration, *schemes, rule, weight_rule=rule)
                made[f"{bits} bits, {rule.__name__}"] = rounded
            made[f"{bits} bits, trained"] = aware = copy.deepcopy(folded)
            quantize_and_train_(aware, images, calibration, *schemes, every=1, seed=100 + seed, **again)
        for what, some in made.items():
            errors[what].append(test_error(some, images))
    row(f"{network}, {name}, quantization-aware training", f"{seeds} seeds")
    means(errors)
    for bits, points in better.items():
        aware = f"{bits} bits, trained"
        for full in ("float", "float, trained on"):
            difference(errors, aware, full, at_most=dict(near).get(bits))
        best, other = sorted([f"{bits} bits, min_max", f"{bits} bits, mse"], key=lambda rule: sum(errors[rule]))
        difference(errors, best, aware, at_least=points)
        difference(errors, other, aware)
