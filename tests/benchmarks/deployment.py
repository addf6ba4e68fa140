"""The promises about Hugging Face models and about LiteRT: one thread, intervals of 95 %."""

import copy
from functools import partial

from benchmarks.report import ratio, row

ROUNDS = 60


def transformer(width=384, narrower=(64, 256), seed=0):
    """A small BERT that names the intent of SNIPS sentences: int8 in the same runtime, and half of it pruned.

    The promises are about a width of 384, that of the small language models in use (MiniLM). The runtime gains less on
    narrower products: these stand below, untrained, which is as fast.
    """
    import torch

    from compresslab import measure, training
    from compresslab.hf import models, text
    from compresslab.optimizers.schedules import cosine
    from compresslab.pruning import masks, shrink, structures
    from compresslab.runtimes.onnx_export import export_onnx
    from compresslab.runtimes.onnx_int8 import dynamic_int8
    from compresslab.runtimes.onnx_run import OnnxSession

    torch.set_num_threads(1)
    snips, words = text.snips(length=16)
    settings = dict(optimizer=partial(torch.optim.AdamW, lr=5e-4), epochs=1, batch_size=64, schedule=cosine)
    model = models.intent_bert(words.get_vocab_size(), len(snips.classes), width, heads=8, length=16, seed=seed)
    training.fit(model, snips, seed=seed, **settings)
    model.eval()

    x, example = snips.test.x, snips.test.x[:2]
    file = export_onnx(model, example)
    full, small = OnnxSession(file), OnnxSession(dynamic_int8(file))
    row(f"BERT of width {width}, SNIPS: right, float and int8", shares(full, small, snips.test))
    same = int((measure.predict(full, x).argmax(1) == measure.predict(small, x).argmax(1)).sum())
    row("  int8 gives float's answer", share(same, len(x)))
    kinds = small.operators(example).kind.value_counts()
    row("  kernels that ran", ", ".join(f"{count} {kind}" for kind, count in kinds.items()))
    for batch in (1, 64):
        speedup = faster(full, small, x[:batch])
        ratio(f"  batch {batch}: onnx float / onnx int8", speedup, at_least=1.5, unit=" times")

    for less in narrower:
        other = export_onnx(models.intent_bert(words.get_vocab_size(), 7, less, heads=8, length=16, seed=seed), example)
        pair = OnnxSession(other), OnnxSession(dynamic_int8(other))
        for batch in (1, 64):
            ratio(f"  width {less}, batch {batch}: the same", faster(*pair, x[:batch]), unit=" times")

    # Half of the heads and of the feed-forward neurons, the weakest in size; then one epoch more for both.
    heads = models.heads_attribute(model)
    pruned = copy.deepcopy(model)
    masks.mask_(pruned, structures.structure_masks(pruned, example, 0.5, "l2", heads=heads))
    pruned = shrink.shrink(pruned, example, heads=heads)
    before = measure.accuracy(pruned, snips.test).accuracy
    for network in (model, pruned):
        training.fit(network, snips, seed=100 + seed, **settings)
        network.eval()
    row("half of heads and neurons: right, dense and pruned", shares(model, pruned, snips.test))
    row("  pruned, before it was trained on", f"{before:.1%}")
    macs = [measure.count_macs(network, example[:1]) for network in (model, pruned)]
    row("  fewer MACs", f"{macs[0] / macs[1]:.2f} times")
    exported = OnnxSession(export_onnx(model, example)), OnnxSession(export_onnx(pruned, example))
    for batch in (1, 64):
        ratio(f"  batch {batch}: dense / pruned, eager", faster(model, pruned, x[:batch]), unit=" times")
        ratio(f"  batch {batch}: dense / pruned, onnx float", faster(*exported, x[:batch]), unit=" times")


def litert():
    """LiteRT's flat files: float16 against float32, and int8 beside them; an untrained network is as large and fast."""
    import torch

    from compresslab import models
    from compresslab.runtimes.litert import PRECISIONS, LiteRTSession, litert_file, litert_quantized

    torch.set_num_threads(1)
    for name, build, shape in [
        ("LeNet-300-100", models.lenet300, (1, 28, 28)),
        ("LeNet-5", models.lenet5, (1, 28, 28)),
        ("ResNet-20", partial(models.resnet20, in_channels=3), (3, 32, 32)),
        ("transformer", partial(models.tiny_transformer, width=128), (1, 8, 8)),
    ]:
        x = torch.rand(64, *shape, generator=torch.Generator().manual_seed(0))
        model = build(seed=0).eval()
        first = litert_file(model, x)
        files = {"float32": first} | {p: litert_quantized(first, p, x) for p in PRECISIONS if p != "float32"}
        with torch.no_grad():
            exact = model(x)
        full = LiteRTSession(first)
        row(f"LiteRT, {name}: float32", f"{len(first) / 1e3:,.0f} kB")
        for precision, file in files.items():
            session = LiteRTSession(file)
            error = (session(x) - exact).abs().max().item()
            kept = error < 1e-3 if precision == "float16" else None
            row(f"  {precision}: largest error", f"{error:.1e}", "below 1e-3" if kept is not None else "", kept)
            if precision != "float32":
                half = len(file) / len(first)
                near = abs(half - 0.5) < 0.05 if precision == "float16" else None
                row("    bytes / float32", f"{half:.3f}", "half, within 0.05" if near is not None else "", near)
                ratio("    float32 / this, batch 64", faster(full, session, x), unit=" times")


def faster(one, other, x):
    """Median of time of `one` / time of `other` on x, with its interval."""
    from compresslab import intervals, measure

    times = measure.paired_times([one, other], x, rounds=ROUNDS)
    return intervals.median_interval(times[:, 0] / times[:, 1])


def share(correct, n):
    from compresslab import intervals

    low, high = intervals.wilson_interval(correct, n)
    return f"{correct / n:.1%} ({low:.1%} to {high:.1%})"


def shares(one, other, split):
    from compresslab import measure

    found = [measure.accuracy(model, split) for model in (one, other)]
    return " and ".join(f"{accuracy.accuracy:.1%}" for accuracy in found)
