"""Scores against finite differences, brute force and torch; the model that is scored stays as it was."""

import copy
import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compresslab import models
from compresslab.layers import KINDS
from compresslab.pruning import criteria, masks


@pytest.fixture
def tiny():
    """A smooth network (central differences need three derivatives) in float64, and 12 examples in 3 classes."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Tanh(), nn.Dropout(), nn.Flatten(), nn.Linear(8, 3)
    ).double()
    model[1].running_mean.uniform_(), model[1].running_var.uniform_(0.5, 1)
    return model, (torch.rand(12, 1, 4, 4).double(), torch.arange(12) % 3)


# Central differences: error h² |L'''| / 6 + 2⁻⁵³ |L| / h. With h = 1e-5, |L| < 4 and |L'''| < 50 (weights, inputs and
# derivatives of tanh and of the softmax are all of size 1): 8e-10 + 4e-11, below 1e-9.
H, TOLERANCE = 1e-5, 1e-9


def difference(model, split, weight, place, step):
    """∂L/∂t of the loss at t = 0 with weight[place] + t · step."""
    losses, before = [], weight[place].item()
    for t in (H, -H):
        with torch.no_grad():
            weight[place] = before + t * step
            losses.append(F.cross_entropy(model.eval()(split[0]), split[1]).item())
            weight[place] = before
    return (losses[0] - losses[1]) / (2 * H)


def everywhere(weight):
    return itertools.product(*map(range, weight.shape))


def test_taylor_is_the_squared_change_of_the_loss(tiny):
    model, split = tiny
    for name, score in criteria.scores(model, "taylor", split=split).items():
        weight = model.get_parameter(name)
        for place in everywhere(weight):
            w, g = weight[place].item(), difference(model, split, weight, place, 1.0)
            assert abs(w * g) < 1 and abs(w) < 1  # so (w (g + δ))² is off by less than 2 δ + δ²
            assert score[place].item() == pytest.approx((w * g) ** 2, rel=0, abs=3 * TOLERANCE)


def test_snip_is_the_share_of_the_derivative_by_a_switch(tiny):
    model, split = tiny
    found = criteria.scores(model, "snip", split=split)
    expected = {}
    for name in found:
        weight = model.get_parameter(name)
        slopes = [abs(difference(model, split, weight, p, weight[p].item())) for p in everywhere(weight)]
        expected[name] = torch.tensor(slopes).view(weight.shape)
    total = sum(slopes.sum() for slopes in expected.values())
    assert total > 0.1  # 42 weights, each off by TOLERANCE: the sum by 42 of them, a share by less than 1e-6
    for name, score in found.items():
        torch.testing.assert_close(score, expected[name].to(score) / total, rtol=0, atol=1e-6)
    assert sum(score.sum() for score in found.values()).item() == pytest.approx(1, abs=1e-12)


def test_gradients_are_those_of_autograd_in_batches_too(tiny):
    model, split = tiny
    F.cross_entropy(model.eval()(split[0]), split[1]).backward()
    expected = {name: p.grad for name, p in model.named_parameters()}
    for batch_size in (1000, 5):
        found = criteria.gradients(model, split, batch_size)
        assert list(found) == list(expected)
        for name in found:  # sums of 12 terms of size 1 in another order: some 2⁻⁵³ each
            torch.testing.assert_close(found[name], expected[name], rtol=0, atol=1e-14)


@pytest.mark.parametrize("criterion", criteria.CRITERIA)
def test_scoring_leaves_the_model_as_it_was(tiny, criterion):
    model, split = tiny
    model[3].eval()
    before, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    found = criteria.scores(model, criterion, split=split, generator=torch.Generator().manual_seed(0))
    assert list(found) == ["0.weight", "5.weight"]
    for name, score in found.items():
        assert score.shape == model.get_parameter(name).shape and not score.requires_grad and (score >= 0).all()
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values()))
    assert modes == [m.training for m in model.modules()] and all(p.grad is None for p in model.parameters())
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_wanda_by_brute_force():
    torch.manual_seed(0)
    grouped = nn.Sequential(nn.Conv2d(2, 4, 2), nn.ReLU(), nn.Conv2d(4, 6, 2, groups=2), nn.Flatten(), nn.Linear(24, 3))
    x = torch.randn(7, 2, 4, 4)
    found, seen = criteria.scores(grouped, "wanda", split=(x, torch.zeros(len(x)))), x
    for i, layer in enumerate(grouped):
        if isinstance(layer, KINDS):
            score, weight = found[f"{i}.weight"], layer.weight
            for place in everywhere(weight):
                column = place[1]
                if i == 2:  # outputs 0, 1, 2 read channels 0, 1; outputs 3, 4, 5 read channels 2, 3
                    column += 2 * (place[0] // 3)
                norm = sum(value**2 for value in seen[:, column].flatten().tolist()) ** 0.5
                # float32 sums of at most 112 squares: relative error below 112 · 2⁻²⁴ = 7e-6
                assert score[place].item() == pytest.approx(abs(weight[place].item()) * norm, rel=1e-5)
        seen = layer(seen)


def test_input_norms_count_every_token_and_call():
    model, x = models.tiny_rnn(seed=0), torch.rand(5, 1, 8, 8)
    norms = criteria.input_norms(model, x, batch_size=2)
    rows = x.flatten(1, 2)  # (5, 8, 8)
    torch.testing.assert_close(norms["input"], rows.flatten(0, 1).norm(dim=0))
    hidden, states = torch.tanh(model.input(rows[:, 0])), []
    for step in range(1, 8):
        states.append(hidden)
        hidden = torch.tanh(model.input(rows[:, step]) + model.recurrent(hidden))
    torch.testing.assert_close(norms["recurrent"], torch.cat(states).norm(dim=0))


def test_l1_l2_and_random_are_what_they_say():
    model = models.mlp(seed=0)
    weight = model[1].weight.detach()
    assert torch.equal(criteria.scores(model)["1.weight"], weight.abs())
    assert torch.equal(criteria.scores(model, "l2")["1.weight"], weight * weight)
    first, second = (
        criteria.scores(model, "random", generator=torch.Generator().manual_seed(seed))["1.weight"] for seed in (1, 2)
    )
    again = criteria.scores(model, "random", generator=torch.Generator().manual_seed(1))["1.weight"]
    assert torch.equal(first, again) and not torch.equal(first, second) and 0 < first.min() and first.max() <= 1


def test_a_masked_weight_scores_zero(tiny):
    model, split = tiny
    mask = torch.rand(3, 8) < 0.5
    dense = criteria.gradients(model, split)
    masks.mask_(model, {"5.weight": mask})
    assert list(criteria.gradients(model, split)) == ["0.weight", "0.bias", "1.weight", "1.bias", "5.bias", "5.weight"]
    assert set(dense) == set(criteria.gradients(model, split))
    for criterion in ("l1", "l2", "taylor", "snip", "wanda"):
        score = criteria.scores(model, criterion, split=split)["5.weight"]
        assert (score[~mask] == 0).all() and (score[mask] > 0).all()


def test_chosen_layers_only():
    assert list(criteria.scores(models.mlp((64, 8, 8, 10), seed=0), layers=["5", "1"])) == ["1.weight", "5.weight"]


@pytest.mark.parametrize(
    "settings, sentence",
    [
        (dict(criterion="L1"), "criterion must be one of random, l1, l2, taylor, snip, wanda, got 'L1'"),
        (dict(criterion="taylor"), r"criterion taylor needs split, a pair \(x, y\) of examples, got None"),
        (dict(criterion="snip"), "criterion snip needs split"),
        (dict(criterion="wanda"), "criterion wanda needs split"),
        (dict(criterion="taylor", split=(torch.rand(0, 64), torch.zeros(0).long())), "at least one, got 0 and 0"),
        (dict(criterion="wanda", split=(torch.rand(0, 64), torch.zeros(0).long())), "at least one, got 0 and 0"),
        (dict(criterion="snip", split=(torch.rand(4, 64), torch.zeros(3).long())), "as many .* labels, .* got 4 and 3"),
        (dict(criterion="taylor", split=torch.rand(2, 64)), r"split must be a pair \(x, y\) .*, got Tensor"),
        (dict(layers=["1", "2"]), "layers must be among 1, 3, got '2'"),
        (dict(layers="13"), "layers must be among 1, 3, got '13'"),
    ],
)
def test_bad_input_gets_a_sentence(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        criteria.scores(models.mlp(seed=0), **settings)


def test_no_prunable_layer_and_frozen_weights():
    with pytest.raises(ValueError, match="model must have a Linear or Conv layer, got ReLU without one"):
        criteria.scores(nn.ReLU())
    model = models.mlp(seed=0)
    model[1].weight.requires_grad_(False)
    split = (torch.rand(2, 64), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"taylor needs weights that require a gradient, got frozen \['1.weight'\]"):
        criteria.scores(model, "taylor", split=split)
    assert list(criteria.scores(model, "taylor", split=split, layers=["3"])) == ["3.weight"]
    model.requires_grad_(False)
    with pytest.raises(
        ValueError, match=r"taylor needs weights that require a gradient, got frozen \['1.weight', '3.w"
    ):
        criteria.scores(model, "taylor", split=split)
    with pytest.raises(ValueError, match="at least one, got 0 and 0"):
        criteria.gradients(model, (split[0][:0], split[1][:0]))


def test_half_precision_neither_overflows_nor_underflows():
    """Squares of float16 leave its range, 6e-8 to 65504, where the numbers themselves do not."""
    model = models.mlp(seed=0).half()
    norms = criteria.input_norms(model, torch.full((1000, 64), 10.0).half())["1"]
    torch.testing.assert_close(norms, torch.full((64,), 1e5).sqrt())  # √(1000 · 10²), with squares up to 1e5
    split = (torch.rand(10, 64, generator=torch.Generator().manual_seed(0)).half(), torch.arange(10))
    weight, grad = model[1].weight.detach().float(), criteria.gradients(model, split)["1.weight"].float()
    assert torch.equal(criteria.scores(model, "taylor", split=split)["1.weight"], (weight * grad) ** 2)
    assert torch.equal(criteria.scores(model, "l2")["1.weight"], weight**2)
