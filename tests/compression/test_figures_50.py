"""Pictures and panels of lesson 50: what they show is what the library computes."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import special, stats

from compresslab.compression import explorer, figures
from compresslab.compression.distillation import distillation_loss
from compresslab.lesson import theme


def noise(*shape, seed=0, size=3.0):
    return size * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def trace(fig, name):
    return [t for t in fig.data if t.name == name][-1]


@pytest.mark.parametrize("temperature", [0.5, 4.0, 100.0])
def test_soft_answer_shows_softmax_and_entropy(temperature):
    scores = noise(10)
    fig = figures.soft_answer(noise(8, 8), scores, 3, temperature)
    p = special.softmax(scores.double().numpy() / temperature)
    # float32 probabilities, in percent
    assert np.allclose(trace(fig, "soft targets").y, 100 * p, atol=1e-4)
    assert trace(fig, "now").y[0] == pytest.approx(stats.entropy(p, base=2), abs=1e-4)
    assert np.interp(temperature, trace(fig, "entropy").x, trace(fig, "entropy").y) == pytest.approx(
        stats.entropy(p, base=2), abs=0.01  # between two of sixty points
    )  # fmt: skip
    assert f"{p.argmax()} gets" in theme.title(fig) and "labelled 3" in theme.alt(fig)


def test_a_sure_teacher_reads_as_percent():
    fig = figures.soft_answer(noise(8, 8), torch.tensor([20.0, 0, 50] + 7 * [0.0]), 2, 1.0)
    assert theme.title(fig) == "T = 1: 2 gets 100 %, 0 gets <0.01 %; entropy 0.00 of 3.32 bits"
    assert list(trace(fig, "soft targets").text) == ["≈0", "≈0", "100"] + 7 * ["≈0"]  # room for all at 800 pixels


def test_gradient_size_tells_the_slopes():
    rows = [(way, t, 5.0 * t**power) for way, power in (("a", -2), ("b", 0)) for t in (1, 10, 100)]
    fig = figures.gradient_size(pd.DataFrame(rows, columns=["way", "temperature", "size"]))
    assert theme.title(fig).startswith("Slope from T = 10 on: a −2.00, b ") and "a: 5 at T = 1," in theme.alt(fig)


def test_students_puts_each_case_on_its_way():
    cases = {"before": {"x": [9.0, 11.0, 10.0], "y": [20.0, 20.0, 20.0]}, "after": {"y": [28.0, 30.0, 32.0]}}
    fig = figures.students(cases, "right (%)")
    half = stats.t.ppf(0.975, 2) * 2 / np.sqrt(3)  # the t interval of 28, 30, 32
    assert list(trace(fig, "after").x) == [30] and trace(fig, "after").error_x.array == pytest.approx([half])
    assert list(trace(fig, "before").x) == [10, 20] and list(fig.layout.yaxis.ticktext) == ["x", "y"]
    assert np.round(trace(fig, "before").y).tolist() == [0, 1] and np.round(trace(fig, "after").y).tolist() == [1]
    assert theme.title(fig) == "Means, before: 10.0 to 20.0; after: 30.0 to 30.0"
    assert f"y, after: 30.0 ({30 - half:.1f} to {30 + half:.1f})" in theme.alt(fig)


@pytest.mark.parametrize("squared, reduction", [(True, "batchmean"), (False, "batchmean"), (True, "mean")])
def test_the_pull_is_the_gradient_of_the_loss(squared, reduction):
    scores, teacher_scores, y = noise(20, 10), noise(20, 10, seed=1), torch.arange(20) % 10
    panel = explorer.balance_explorer(scores, teacher_scores, y)
    panel.set(temperature=2.0, share=0.25, squared=squared, reduction=reduction)

    def size(share):  # autograd through the library's loss; a mean over 20 pictures, hence the factor
        z = scores.clone().requires_grad_()
        return 20 * torch.autograd.grad(distillation_loss(z, teacher_scores, y, 2.0, share), z)[0].norm(dim=1).mean()

    wrong = (1 if squared else 2.0**-2) * (1 if reduction == "batchmean" else 1 / 10)
    shown = trace(panel.figure, "pull")
    assert list(shown.x) == ["teacher", "labels"]
    assert list(shown.y) == pytest.approx([0.25 * wrong * size(1).item(), 0.75 * size(0).item()], rel=1e-4)
    part = trace(panel.figure, "now").y[0]
    assert part == pytest.approx(100 * shown.y[0] / sum(shown.y))
    chosen = trace(panel.figure, "your loss")
    assert np.interp(np.log(2.0), np.log(chosen.x), chosen.y) == pytest.approx(part, abs=0.2)  # between two points


def test_the_pictures_offered_are_the_least_and_the_most_sure():
    x, scores = noise(30, 1, 8, 8), noise(30, 10)
    sure = stats.entropy(special.softmax(scores.double().numpy(), axis=1), axis=1).argsort()
    panel = explorer.temperature_explorer(x, torch.arange(30) % 10, scores, unsure=3, sure=2)
    offered = [n for _, n in panel.controls["picture"].options]
    assert offered == [*sure[::-1][:3], sure[1], sure[0]]
