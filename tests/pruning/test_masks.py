"""Masks equal those of torch.nn.utils.prune bit for bit; on a model they hold, are replaced, and are baked."""

import copy
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrize, prune

from compresslab import data, measure, models, training
from compresslab.pruning import criteria, masks

SPARSITIES = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 0.75, 0.9]), st.floats(0, 1, exclude_max=True))


@st.composite
def weights(draw, min_dims=2, max_dims=4):
    """Normal numbers; whole ones, so that most are tied; one value only; zeros with a few others."""
    shape = draw(st.lists(st.integers(1, 9), min_size=min_dims, max_size=max_dims))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    values = torch.randn(shape, generator=generator, dtype=draw(st.sampled_from([torch.float32, torch.float64])))
    kind = draw(st.sampled_from(["normal", "whole", "equal", "zeros"]))
    if kind == "normal":
        return values
    whole = values.round()
    return whole if kind == "whole" else torch.full_like(values, -2.0) if kind == "equal" else whole * (values > 1.2)


def layer(weight):
    """A module with just this weight, as torch.nn.utils.prune wants it."""
    module = nn.Module()
    module.weight = nn.Parameter(weight.clone())
    return module


def same_or_empty(ours, theirs: list):
    """Bit for bit; where torch leaves a whole tensor without weights, a ValueError instead."""
    if all(module.weight_mask.any() for module in theirs):
        for mask, module in zip(ours().values(), theirs, strict=True):
            assert mask.dtype == torch.bool and mask.shape == module.weight_mask.shape
            assert torch.equal(mask, module.weight_mask.bool())
    else:
        with pytest.raises(ValueError, match="must leave something of every weight"):
            ours()


@given(weights(), SPARSITIES)
def test_local_l1_equals_torch(weight, sparsity):
    theirs = prune.l1_unstructured(layer(weight), "weight", sparsity)
    same_or_empty(lambda: masks.local_masks({"1.weight": criteria.l1(weight)}, sparsity), [theirs])


@given(weights(), SPARSITIES, st.integers(0, 2**32), st.booleans())
def test_random_equals_torch(weight, sparsity, seed, of_its_own):
    generator = torch.Generator().manual_seed(seed) if of_its_own else None
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        theirs = prune.random_unstructured(layer(weight), "weight", sparsity)
        torch.manual_seed(seed)
        score = criteria.random(weight, generator)
    same_or_empty(lambda: masks.local_masks({"1.weight": score}, sparsity), [theirs])


@given(st.lists(weights(), min_size=1, max_size=4), SPARSITIES)
def test_global_l1_equals_torch(tensors, sparsity):
    tensors = [weight.float() for weight in tensors]  # torch takes one vector of all
    theirs = [layer(weight) for weight in tensors]
    prune.global_unstructured([(module, "weight") for module in theirs], prune.L1Unstructured, amount=sparsity)
    scores = {f"{i}.weight": criteria.l1(weight) for i, weight in enumerate(tensors)}
    same_or_empty(lambda: masks.global_masks(scores, sparsity), theirs)


@given(weights(), SPARSITIES)
def test_as_many_go_as_torch_rounds(weight, sparsity):
    pruned = round(sparsity * weight.numel())
    if pruned < weight.numel():
        score = criteria.l1(weight)
        mask = masks.local_masks({"weight": score}, sparsity)["weight"]
        assert (~mask).sum() == pruned and (not pruned or score[~mask].max() <= score[mask].min())


def test_half_way_rounds_to_even_as_in_torch():
    for n, pruned in ((5, 2), (7, 4)):  # 2.5 and 3.5
        assert (~masks.local_masks({"weight": torch.rand(n, 1)}, 0.5)["weight"]).sum() == pruned


@given(weights(), st.integers(1, 4), st.integers(1, 4))
def test_n_of_every_m_stay_and_they_are_the_best(weight, n, m):
    score = criteria.l1(weight).repeat_interleave(m, dim=1)
    n = min(n, m)
    mask = masks.n_of_m_masks({"weight": score}, n, m)["weight"]
    assert mask.shape == score.shape
    for start in range(0, score.shape[1], m):
        block, kept = (part[:, start : start + m].movedim(1, -1).flatten(0, -2) for part in (score, mask))
        assert (kept.sum(1) == n).all()
        for values, stays in zip(block, kept):
            assert n == m or values[stays].min() >= values[~stays].max()


def test_m_of_a_whole_row_is_one_threshold_an_output():
    score = torch.rand(6, 10)
    mask = masks.n_of_m_masks({"weight": score}, n=3, m=10)["weight"]
    for row, kept in zip(score, mask):
        assert torch.equal(kept, masks.local_masks({"weight": row}, 0.7)["weight"])


def test_a_dict_is_local_and_leaves_the_rest_dense():
    model = models.mlp((64, 20, 20, 10), seed=0)
    found = masks.weight_masks(model, {"1": 0.5, "5": 0.9})
    assert [round(1 - mask.float().mean().item(), 6) for mask in found.values()] == [0.5, 0, 0.9]
    local = masks.weight_masks(model, 0.9, scope="local")
    assert torch.equal(found["5.weight"], local["5.weight"])
    assert list(masks.weight_masks(model, 0.5, layers=["3"])) == ["3.weight"]


# ------------------------------------------------------------------------------------------ on a model


@pytest.fixture
def model():
    return models.mlp((64, 24, 10), seed=0)


def test_masks_survive_training_and_the_optimizer_keeps_its_parameters(model):
    """Momentum and weight decay move the stored weights on; what the model reads stays exactly 0."""
    digits, before = data.load("digits"), list(map(id, model.parameters()))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-2)
    training.fit(model, digits, lambda _: optimizer, epochs=1)  # momentum from before the mask
    chosen = masks.weight_masks(model, 0.8)
    masks.mask_(model, chosen)
    assert sorted(map(id, model.parameters())) == sorted(before)
    first = model[1].weight.detach().clone()
    training.fit(model, digits, lambda _: optimizer, epochs=1)
    for name, mask in chosen.items():
        weight = model.get_submodule(name.removesuffix(".weight")).weight
        assert (weight[~mask] == 0).all() and (weight[mask] != 0).all()
    assert not torch.equal(model[1].weight, first)


def test_a_second_mask_replaces_the_first(model):
    dense = model[1].weight.detach().clone()
    one, two = (torch.rand(24, 64) < 0.5 for _ in range(2))
    masks.mask_(model, {"1.weight": one})
    masks.mask_(model, {"1.weight": two})
    assert len(model[1].parametrizations.weight) == 1 and torch.equal(masks.masks_of(model)["1.weight"], two)
    assert torch.equal(model[1].weight, dense * two)
    masks.mask_(model, {"1.bias": torch.zeros(24, dtype=torch.bool)})
    assert torch.equal(model[1].weight, dense * two) and (model[1].bias == 0).all()


def test_a_mask_belongs_to_the_model_alone(model):
    mask = torch.ones(24, 64, dtype=torch.bool)
    masks.mask_(model, {"1.weight": mask})
    mask[:] = False
    masks.masks_of(model)["1.weight"][:] = False
    assert (model[1].weight != 0).all()


@pytest.mark.parametrize("make", [models.mlp, models.resnet20, models.tiny_transformer])
def test_baked_is_plain_and_exactly_masked(make):
    model = make(seed=0)
    dense = copy.deepcopy(model)
    chosen = masks.weight_masks(model, 0.7)
    masks.mask_(model, chosen)
    x = torch.rand(3, 1, 8, 8)
    masked, objects = measure.predict(model, x), {id(p) for p in model.parameters()}
    masks.bake_(model)
    assert list(model.state_dict()) == list(dense.state_dict()) and masks.masks_of(model) == {}
    assert not any(parametrize.is_parametrized(m) for m in model.modules())
    assert {id(p) for p in model.parameters()} == objects and all(p.requires_grad for p in model.parameters())
    for name, p in dense.named_parameters():
        expected = p.detach().clone()
        if name in chosen:
            expected[~chosen[name]] = 0.0
        baked = model.get_parameter(name).detach()
        assert torch.equal(baked, expected) and not torch.signbit(baked[baked == 0]).any()  # no -0: it packs worse
    assert torch.equal(measure.predict(model, x), masked)
    masks.bake_(model)  # nothing left to do
    assert list(model.state_dict()) == list(dense.state_dict())


def test_a_copy_leaves_its_original_alone(model):
    """torch 2.13 gives a copy the class of its original, and takes the weight away from both."""
    masks.mask_(model, masks.weight_masks(model, 0.5))
    before = [model[1].weight.detach().clone(), model[1].bias.detach().clone()]
    baked, further = copy.deepcopy(model), copy.deepcopy(model)
    masks.bake_(baked)
    masks.mask_(further, {"1.weight": full(24, 64), "1.bias": ~full(24)})
    assert torch.equal(model[1].weight, before[0]) and torch.equal(model[1].bias, before[1])
    assert list(masks.masks_of(model)) == ["1.weight", "3.weight"] and masks.masks_of(baked) == {}
    assert list(masks.masks_of(further)) == ["1.weight", "1.bias", "3.weight"] and (further[1].bias == 0).all()
    masks.bake_(model)
    assert torch.equal(model[1].weight, baked[1].weight) and (further[1].bias == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_mask_keeps_the_type_of_its_weight(dtype):
    linear = nn.Linear(2, 1).to(dtype)
    masks.mask_(linear, {"weight": torch.tensor([[True, False]])})
    assert linear.weight.dtype == dtype and linear.weight[0, 1] == 0


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


@pytest.mark.parametrize("mask_first", [True, False])
def test_another_parametrization_stays(model, mask_first):
    dense, mask = model[1].weight.detach().clone(), torch.rand(24, 64) < 0.5
    steps = [
        lambda: masks.mask_(model, {"1.weight": mask}),
        lambda: parametrize.register_parametrization(model[1], "weight", Doubled()),
    ]
    for step in steps if mask_first else reversed(steps):
        step()
    assert torch.equal(masks.masks_of(model)["1.weight"], mask) and torch.equal(model[1].weight, 2 * dense * mask)
    masks.bake_(model)
    assert masks.masks_of(model) == {} and torch.equal(model[1].weight, 2 * dense * mask)
    assert torch.equal(model[1].parametrizations.weight.original, dense * mask)


@pytest.mark.parametrize("criterion", criteria.CRITERIA)
@pytest.mark.parametrize("scope", ["local", "global"])
def test_masks_nest_and_never_come_back(model, criterion, scope):
    split = data.load("digits").val
    draw = partial(masks.weight_masks, model, criterion=criterion, scope=scope, split=split)
    before = draw(0.0, generator=torch.Generator().manual_seed(9))
    for step, sparsity in enumerate((0.3, 0.6, 0.6, 0.9, 0.2)):
        now = draw(sparsity, generator=torch.Generator().manual_seed(step))
        assert not any((now[name] & ~before[name]).any() for name in now)
        masks.mask_(model, now)
        pruned = sum((~mask).sum().item() for mask in now.values())
        assert pruned == pytest.approx(max(0.3, sparsity, 0.9 * (step == 4)) * 1776, abs=1)  # 64 · 24 + 24 · 10 weights
        before = now


def test_sparsity_counts_the_zeros_that_the_model_reads(model):
    assert masks.sparsity(model) == 0
    masks.mask_(model, masks.weight_masks(model, 0.75))
    assert masks.sparsity(model) == 0.75 == 1 - (measure.count_nonzeros(model) - 34) / 1776  # 34 biases
    masks.bake_(model)
    assert masks.sparsity(model) == 0.75


# ------------------------------------------------------------------------------------------- bad input


def scores_with(value):
    return {"1.weight": torch.tensor([[1.0, value]])}


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda m: masks.weight_masks(m, 1.5), r"sparsity must be in \[0, 1\), got 1.5"),
        (lambda m: masks.weight_masks(m, 1.0), r"sparsity must be in \[0, 1\), got 1.0"),
        (lambda m: masks.weight_masks(m, -0.1, scope="local"), r"sparsity must be in \[0, 1\), got -0.1"),
        (lambda m: masks.weight_masks(m, float("nan")), r"sparsity must be in \[0, 1\), got nan"),
        (lambda m: masks.weight_masks(m, "half"), r"sparsity must be in \[0, 1\), got 'half'"),
        (lambda m: masks.weight_masks(m, {"1": 2}), r"sparsity must be in \[0, 1\), got 2"),
        (lambda m: masks.weight_masks(m, {"7": 0.5}), "layers must be among 1, 3, got '7'"),
        (lambda m: masks.weight_masks(m, 0.5, layers=["0"]), "layers must be among 1, 3, got '0'"),
        (lambda m: masks.weight_masks(m, 0.5, scope="row"), "scope must be local or global, got 'row'"),
        (lambda m: masks.weight_masks(m, 0.5, "snip"), "criterion snip needs split"),
        (lambda m: masks.weight_masks(nn.ReLU(), 0.5), "model must have a Linear or Conv layer"),
        (
            lambda m: masks.weight_masks(m, 0.9999, scope="local"),
            "leave something of every weight, got 0.9999, which le",
        ),
        (lambda m: masks.local_masks(scores_with(float("nan")), 0.5), "scores of 1.weight must be numbers, got nan"),
        (lambda m: masks.global_masks(scores_with(float("nan")), 0.5), "scores of 1.weight must be numbers, got nan"),
        (lambda m: masks.n_of_m_masks(scores_with(float("nan")), 1, 2), "scores of 1.weight must be numbers, got nan"),
        (lambda m: masks.global_masks({}, 0.5), "scores must hold at least one weight, got none"),
        (lambda m: masks.n_of_m_masks({"1.weight": m[1].weight}, 2, 5), r"m must divide .* \(24, 64\), got 5"),
        (lambda m: masks.n_of_m_masks({"1.weight": m[1].weight}, 5, 4), "n must be in 1..m, got n=5, m=4"),
        (
            lambda m: masks.mask_(m, {"3.weight": full(10, 24), "2.weight": full(1)}),
            "masks must name .* got '2.weight'",
        ),
        (
            lambda m: masks.mask_(m, {"3.weight": full(10, 24), "1.weight": full(64, 24)}),
            r"must be bool \(24, 64\), got",
        ),
        (
            lambda m: masks.mask_(m, {"3.weight": full(10, 24).float()}),
            r"mask of 3.weight must be bool \(10, 24\), got torch.float32",
        ),
        (
            lambda m: masks.mask_(m, {"3.weight": [[True]]}),
            r"mask of 3.weight must be bool \(10, 24\), got list",
        ),
    ],
)
def test_bad_input_gets_a_sentence_and_changes_nothing(model, call, sentence):
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=sentence):
        call(model)
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values()))


def test_a_shared_parameter_is_not_masked_in_one_place_alone():
    """A parametrization stands in one module; the other would read the weight as it was, until it is baked."""
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    for name in ("0.weight", "2.weight"):
        with pytest.raises(ValueError, match="masks must not name a shared parameter, got 0.weight = 2.weight"):
            masks.mask_(model, {"0.bias": full(4), name: full(4, 4)})
    assert not masks.masks_of(model)
    masks.mask_(model, {"0.bias": full(4)})
    twice = nn.Sequential(model[0], nn.ReLU(), model[0])  # one module in two places reads one mask
    masks.mask_(twice, {"0.bias": ~full(4)})
    assert not twice[2].bias.any()


def full(*shape):
    return torch.ones(shape, dtype=torch.bool)


def test_a_layer_that_a_global_threshold_empties_is_refused(model):
    """Layer collapse: the small layer's weights all lie below the threshold of the whole."""
    with torch.no_grad():
        model[3].weight /= 1000
    masks.mask_(model, masks.weight_masks(model, 0.1))  # 178 of its 240 weights
    with pytest.raises(
        ValueError, match="sparsity must leave something of every weight, got 0.2, which leaves 3.weight"
    ):
        masks.weight_masks(model, 0.2)
    assert 0 < masks.sparsity(model) <= 0.101
