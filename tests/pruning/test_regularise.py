"""Penalties on structures: closed forms of value and gradient, and what they do when they are minimised."""

import numpy as np
import pytest
import torch
from torch import nn

from compresslab import models
from compresslab.pruning.dependencies import groups
from compresslab.pruning.masks import mask_
from compresslab.pruning.regularise import bn_slimming, group_lasso

X = torch.zeros(1, 1, 8, 8)


def structure(model, group, s):
    """All numbers of one structure, collected one parameter after the other."""
    parts = [m.of(model).detach().index_select(m.dim, m.index[s]).flatten() for m in group.members]
    return torch.cat(parts).double()


@pytest.mark.parametrize("build", [models.mlp, lambda seed: models.resnet20(4, seed=seed), models.tiny_transformer])
def test_group_lasso_is_a_sum_of_norms(build):
    model = build(seed=0)
    found = groups(model, X)
    norms = [structure(model, group, s) for group in found for s in range(group.size)]
    expected = sum(np.sqrt(len(w)) * w.norm().item() for w in norms)
    assert group_lasso(model, found).item() == pytest.approx(expected, rel=1e-5)  # float32 sums of some 1000 numbers


def test_group_lasso_by_hand():
    model = models.mlp((2, 2, 1))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0, 2.0], [0.0, 0.0]]))
        model[1].bias.copy_(torch.tensor([2.0, 0.0]))
        model[3].weight.copy_(torch.tensor([[4.0, 0.0]]))
    penalty = group_lasso(model, groups(model, torch.zeros(1, 2)))
    assert penalty.item() == 2 * 5  # √4 · √(1 + 4 + 4 + 16), and 0 for the second neuron
    penalty.backward()
    assert torch.equal(model[1].weight.grad, torch.tensor([[0.4, 0.8], [0.0, 0.0]]))  # √n w / ‖w‖; 0 at zero, not nan
    assert torch.equal(model[3].weight.grad, torch.tensor([[1.6, 0.0]])) and model[3].bias.grad is None


def test_minimised_alone_it_shrinks_every_structure_at_its_own_pace():
    """A step of length lr along -√n w / ‖w‖ takes lr √n from the norm, whatever the norm is (weight decay: a share)."""
    model = models.mlp((64, 6, 10), seed=0).double()
    (group,) = groups(model, X.double())
    before = torch.stack([structure(model, group, s).norm() for s in range(6)])
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for _ in range(10):
        optimizer.zero_grad()
        group_lasso(model, [group]).backward()
        optimizer.step()
    after = torch.stack([structure(model, group, s).norm() for s in range(6)])
    torch.testing.assert_close(before - after, torch.full((6,), 10 * 1e-3 * 75**0.5, dtype=torch.float64))


def test_a_mask_is_seen_and_passed_through():
    model = models.mlp((64, 6, 10), seed=0)
    found = groups(model, X)
    dense = group_lasso(model, found).item()
    mask = torch.ones(6, 64, dtype=torch.bool)
    mask[2] = False
    mask_(model, {"1.weight": mask})
    penalty = group_lasso(model, found)
    assert penalty.item() < dense
    penalty.backward()
    gradient = model[1].parametrizations.weight.original.grad
    assert not gradient[2].any() and gradient[[0, 1, 3, 4, 5]].all()


def test_bn_slimming_is_the_sum_of_the_scales():
    model = models.depthwise(4, seed=0)
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([1.0, -2.0, 0.0, 0.5]))
    others = sum(m.num_features for m in model[2:] if isinstance(m, nn.BatchNorm2d))  # all at 1
    penalty = bn_slimming(model)
    assert penalty.item() == 3.5 + others
    penalty.backward()
    assert model[1].weight.grad.tolist() == [1, -1, 0, 1] and model[0].weight.grad is None


def test_bad_input_gets_a_sentence():
    with pytest.raises(ValueError, match="groups must hold at least one group of structures, got none"):
        group_lasso(models.mlp(), [])
    with pytest.raises(ValueError, match="model must have a batch norm with a scale, got Sequential without one"):
        bn_slimming(models.mlp())
