"""Importance of heads against a switch that is really there, differentiated example by example."""

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from compresslab import models
from compresslab.pruning.dependencies import groups
from compresslab.pruning.heads import head_importance


@pytest.fixture
def heads():
    """A transformer in float64 with two layers of four heads, its head groups, and 10 examples."""
    model = models.tiny_transformer(seed=0).double()
    torch.manual_seed(1)
    split = torch.rand(10, 1, 8, 8).double(), torch.arange(10)
    return model, [g for g in groups(model, split[0][:1]) if g.kind == "head"], split


def losses_with_switches(model, switches, x, y):
    """Each example's loss, the output of head h in layer i multiplied by switches[i, h]: 8 columns of `out` a head."""
    outs = {f"blocks.{i}.attention.out.weight": model.blocks[i].attention.out.weight for i in range(2)}
    scaled = {name: w * c.repeat_interleave(8) for (name, w), c in zip(outs.items(), switches)}
    return F.cross_entropy(functional_call(model, scaled, (x,)), y, reduction="none")


@pytest.mark.parametrize("batch_size", [1000, 3])
def test_importance_is_the_mean_size_of_each_examples_derivative(heads, batch_size):
    model, found, (x, y) = heads
    got = torch.stack(list(head_importance(model, found, (x, y), batch_size).values()))
    switches = torch.ones(2, 4, dtype=torch.float64)
    slopes = torch.autograd.functional.jacobian(lambda c: losses_with_switches(model, c, x, y), switches)
    # the same sums in another order: 10 examples of 64 products of size 1, some 1e3 roundings of 1e-16
    torch.testing.assert_close(got, slopes.abs().mean(0), rtol=0, atol=1e-13)
    assert (got > 1.05 * slopes.mean(0).abs()).any()  # here the examples do cancel in the mean


def test_the_derivative_is_the_slope_of_the_loss(heads):
    """One example: central differences with h = 1e-5 err by h² |L'''| / 6 + 2⁻⁵³ |L| / h < 1e-9 if |L'''| < 50."""
    model, found, (x, y) = heads
    one = x[:1], y[:1]
    got = torch.stack(list(head_importance(model, found, one).values()))
    for i in range(2):
        for h in range(4):
            step = torch.zeros(2, 4, dtype=torch.float64)
            step[i, h] = 1e-5
            ends = [losses_with_switches(model, 1 + sign * step, *one).item() for sign in (1, -1)]
            assert got[i, h].item() == pytest.approx(abs(ends[0] - ends[1]) / 2e-5, abs=1e-9)


def test_the_model_stays_as_it_was_and_may_be_frozen(heads):
    model, found, split = heads
    expected = head_importance(model.train(), found, split)
    assert model.training and all(p.grad is None for p in model.parameters())
    assert not any(module._forward_pre_hooks for module in model.modules())
    frozen = head_importance(model.requires_grad_(False), found, split)
    for name, score in expected.items():
        torch.testing.assert_close(frozen[name], score)


def test_only_heads(heads):
    model, _, split = heads
    with pytest.raises(ValueError, match="groups must be groups of heads, got .*neuron"):
        head_importance(model, groups(model, split[0][:1]), split)
    with pytest.raises(ValueError, match="groups must be groups of heads, got \\[\\]"):
        head_importance(model, [], split)
