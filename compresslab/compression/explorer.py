"""The live panels of lessons 50 and 51: controls -> numbers -> figure."""

import math
from functools import cache

import ipywidgets as widgets
import numpy as np
import pandas as pd
import torch.nn.functional as F
from torch import Tensor

from ..intervals import mean_interval
from ..lesson import Panel
from ..lesson.panel import WIDE
from . import coder, figures
from .distillation import soft_targets
from .figures.deep_compression import STARTS
from .figures.distillation import TEMPERATURES, entropy_bits
from .sharing import kmeans

SIZES = (1, 2, 4, 8, 16, 32, 64)  # numbers of shared values: where the curves are computed


def temperature_slider(start: float) -> widgets.SelectionSlider:
    stops = (0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 50.0, 70.0, 100.0)
    options = [(f"{stop:g}", stop) for stop in stops]
    return widgets.SelectionSlider(options=options, value=start, description="Temperature", layout=WIDE)


def temperature_explorer(x: Tensor, y: Tensor, scores: Tensor, unsure: int = 6, sure: int = 2) -> Panel:
    """Pick one of the pictures of which the teacher is least (and most) sure, and soften its answer.

    x (n, 1, height, width), y (n,), the teacher's scores (n, classes).
    """
    order = entropy_bits(soft_targets(scores, 1.0)).argsort(descending=True).tolist()
    chosen = order[:unsure] + order[-sure:]
    names = [
        (f"{i}: labelled {y[n].item()}, the teacher says {scores[n].argmax().item()}", n)
        for i, n in enumerate(chosen, 1)
    ]

    def draw(picture, temperature):
        return figures.soft_answer(x[picture, 0], scores[picture], y[picture].item(), temperature)

    picture = widgets.Dropdown(options=names, value=chosen[0], description="Picture", layout=WIDE)
    controls = dict(picture=picture, temperature=temperature_slider(1.0))
    note = f"Pictures 1 to {unsure} are those of which the teacher is least sure, the others those of which it is most."
    return Panel(draw, controls, label="Temperature", note=note)


def balance_explorer(scores: Tensor, teacher_scores: Tensor, y: Tensor) -> Panel:
    """Which part of the pull on a student's scores comes from the teacher, with and without the usual mistakes.

    scores, teacher_scores (n, classes), y (n,). The pull of a term is the size of its gradient with respect to the
    scores of one picture, a mean over the pictures.
    """
    classes = scores.shape[1]
    hard = (soft_targets(scores, 1.0) - F.one_hot(y, classes)).norm(dim=1).mean().item()

    def soft(temperature: float) -> float:
        """Without T², summed over the classes: |q - p| / T, equation 2."""
        gap = soft_targets(scores, temperature) - soft_targets(teacher_scores, temperature)
        return gap.norm(dim=1).mean().item() / temperature

    over_t = np.array([soft(t) for t in TEMPERATURES])

    def draw(temperature, share, squared, reduction):
        rows = 1 if reduction == "batchmean" else 1 / classes
        factor = share * rows * (temperature**2 if squared else 1.0)
        pulls = dict(teacher=factor * soft(temperature), labels=(1 - share) * hard)
        right = share * TEMPERATURES**2 * over_t
        chosen = share * rows * (TEMPERATURES**2 if squared else 1.0) * over_t
        curves = {
            way: 100 * values / (values + (1 - share) * hard)
            for way, values in {"your loss": chosen, "with T² and batchmean": right}.items()
        }
        told = f"T = {temperature:.3g}, share {share:.2f}, {'with' if squared else 'no'} T², {reduction}"
        return figures.balance(temperature, pulls, curves, told)

    share = widgets.FloatSlider(0.5, min=0.05, max=0.95, step=0.05, description="Share", layout=WIDE)
    reduction = widgets.Dropdown(options=["batchmean", "mean"], description="Reduction", layout=WIDE)
    squared = widgets.Checkbox(True, description="Factor T²", indent=False)
    controls = dict(temperature=temperature_slider(4.0), share=share, squared=squared, reduction=reduction)
    note = "Pull: size of the gradient with respect to a picture's scores, a mean over the pictures."
    return Panel(draw, controls, label="Teacher against labels", note=note)


def sharing_explorer(weight: Tensor) -> Panel:
    """How many values the weights of a pruned layer share, and where k-means starts -> error, SQNR and bytes.

    weight: of any shape; what is exactly 0 takes no part.
    """
    values = weight.detach()[weight.detach() != 0]
    heights, edges = np.histogram(values.numpy(), bins=60)

    @cache
    def shared(start, k) -> tuple:
        centroids, codes = kmeans(values, k, start)
        error = (centroids[codes] - values).double().square().sum().item()
        taken, codes, counts = codes.unique(return_inverse=True, return_counts=True)
        centroids = centroids[taken]  # a value that no weight takes is not in the file
        table = coder.frequencies(counts.numpy())
        size = len(coder.encode(codes.numpy(), table)) + len(table) + 4 * len(centroids)
        signal = values.double().square().sum().item()
        return centroids, dict(
            error=error, sqnr_db=10 * math.log10(signal / max(error, 1e-12 * signal)), size_bytes=size
        )

    curves = pd.DataFrame([
        dict(start=start, values=k, sqnr_db=shared(start, k)[1]["sqnr_db"]) for start in STARTS for k in SIZES
    ])  # fmt: skip

    def draw(values, start):
        centroids, found = shared(start, values)
        return figures.shared_values(
            heights, edges, centroids.tolist(), curves, found | dict(start=start, values=values)
        )

    slider = widgets.IntSlider(8, min=1, max=max(SIZES), description="Shared values", layout=WIDE)
    start = widgets.Dropdown(options=STARTS, description="Start", layout=WIDE)
    note = "Bytes: what the codes, their code table and the values in float32 take in a file of this lesson."
    return Panel(draw, dict(values=slider, start=start), label="Shared values", note=note)


def size_explorer(runs: pd.DataFrame, dense: dict) -> Panel:
    """Sparsity and number of shared values -> size and test error of files that were really written.

    runs, a row a file: sparsity, values, seed, error (%), size_bytes, and one column for each part of the ledger.
    dense: size_bytes and mean (error in %) of the float32 network.
    """
    keys = ["sparsity", "values"]
    parts = [name for name in runs.columns if name not in (*keys, "seed", "error", "size_bytes", "val_error")]
    table = pd.DataFrame([
        dict(zip(keys, key)) | dict(zip(("mean", "low", "high"), mean_interval(rows.error)))
        | rows[["size_bytes", *parts]].mean().to_dict()
        for key, rows in runs.groupby(keys)
    ])  # fmt: skip

    def draw(sparsity, values):
        chosen = table.index[(table.sparsity == sparsity) & (table["values"] == values)][0]
        return figures.size_and_error(table, chosen, dense, table.loc[chosen, parts].astype(float).to_dict())

    zeros, numbers = sorted(runs.sparsity.unique().tolist()), sorted(runs["values"].unique().tolist())
    named = [(f"{100 * share:g} %", share) for share in zeros]
    controls = dict(
        sparsity=widgets.SelectionSlider(options=named, value=zeros[len(zeros) // 2], description="Zeros", layout=WIDE),
        values=widgets.SelectionSlider(
            options=numbers, value=numbers[len(numbers) // 2], description="Shared values", layout=WIDE
        ),
    )
    note = "Each point is a mean over the seeds; the bar at the star is the 95 % interval of its error."
    return Panel(draw, controls, label="Size and error", note=note)
