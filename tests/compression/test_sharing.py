"""Weight sharing: k-means beside scikit-learn and brute force, centroids that train, zeros that stay zero."""

import copy
import io
import itertools
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune

from compresslab import data, models, storage, training
from compresslab.compression import files, sharing
from compresslab.compression.sharing import SharedWeights, kmeans, share_, unshare_
from compresslab.measure import count_nonzeros, predict
from compresslab.pruning.masks import bake_, mask_, weight_masks

DIGITS = data.load("digits")
ADAM = partial(torch.optim.Adam, lr=3e-3)
SIZES = st.integers(1, 60), st.integers(1, 9), st.sampled_from(sharing.INITS), st.integers(0, 100)


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def squared_error(values, centroids, codes):
    return ((values - centroids[codes]) ** 2).sum().item()


@pytest.fixture
def pruned():
    model = models.mlp(seed=0)
    mask_(model, weight_masks(model, 0.8))
    bake_(model)
    return model


# ----------------------------------------------------------------------------------------- k-means


@given(*SIZES)
def test_codes_are_the_nearest_and_centroids_the_means(n, k, init, seed):
    values = noise(n, seed=seed, dtype=torch.float64)
    centroids, codes = kmeans(values, k, init, seed)
    assert codes.dtype == torch.int64 and len(centroids) == min(n, k)
    assert (centroids.diff() >= 0).all()
    distances = (values[:, None] - centroids).abs()
    assert torch.equal(distances.gather(1, codes[:, None])[:, 0], distances.amin(1))
    for code in codes.unique():
        assert values[codes == code].mean().item() == pytest.approx(centroids[code].item(), abs=1e-12)


@given(*SIZES)
def test_kmeans_is_scikit_learn_s_from_the_same_start(n, k, init, seed):
    from sklearn.cluster import KMeans

    values = noise(n, seed=seed, dtype=torch.float64)
    assume(n > k)
    first = step = sharing.start(values, k, init, seed)
    for _ in range(30):
        assume(len(sharing.nearest(values, step).unique()) == k)  # scikit-learn moves a centroid without members
        step = sharing.means(values, sharing.nearest(values, step), step)
    centroids, codes = kmeans(values, k, init, seed)
    theirs = KMeans(k, init=first[:, None].numpy(), n_init=1, tol=0, max_iter=1000).fit(values[:, None].numpy())
    assert np.allclose(centroids, theirs.cluster_centers_[:, 0], rtol=0, atol=1e-12)
    assert (codes.numpy() == theirs.labels_).all()


@given(st.integers(2, 12), st.integers(1, 4), st.sampled_from(sharing.INITS), st.integers(0, 100))
def test_kmeans_against_the_exact_optimum(n, k, init, seed):
    """Never better; clusters in one dimension are intervals, so all of them can be tried. k = 1 is the mean."""
    values = noise(n, seed=seed, dtype=torch.float64).sort().values
    found = squared_error(values, *kmeans(values, k, init, seed))
    cuts = itertools.combinations(range(1, n), min(k, n) - 1)
    parts = ([values[a:b] for a, b in itertools.pairwise((0, *cut, n))] for cut in cuts)
    best = min(sum(((part - part.mean()) ** 2).sum().item() for part in each) for each in parts)
    assert found >= best - 1e-12
    if k == 1 or k >= n:
        assert found == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("init", sharing.INITS)
def test_kmeans_finds_clusters_that_lie_apart(init):
    values = torch.tensor([-5.0, 0.0, 3.0])[torch.arange(30) % 3] + 0.01 * noise(30)
    seed = next(s for s in range(99) if len(sharing.start(values, 3, "random", s).round().unique()) == 3)
    centroids, codes = kmeans(values, 3, init, seed)
    assert codes.tolist() == list(range(3)) * 10 and torch.allclose(centroids, torch.tensor([-5.0, 0, 3]), atol=0.01)


def test_where_it_starts():
    values = torch.tensor([0.0, 1, 2, 3, 4, 5, 6, 100])
    assert sharing.start(values, 3, "linear").tolist() == [0, 50, 100]
    assert sharing.start(values, 2, "density").tolist() == np.quantile(values, [0.25, 0.75]).tolist()
    assert set(sharing.start(values, 8, "random").tolist()) == set(values.tolist())


def test_few_different_numbers_are_kept_as_they_are():
    centroids, codes = kmeans(torch.tensor([0.1, 7.3, 0.1, -2.2]), 3)
    assert torch.equal(centroids[codes], torch.tensor([0.1, 7.3, 0.1, -2.2]))


def test_half_way_goes_down_and_an_empty_cluster_keeps_its_centroid():
    values, centroids = torch.tensor([0.0, 1, 1, 2, 8]), torch.tensor([0.0, 2, 5, 9])
    codes = sharing.nearest(values, centroids)
    assert codes.tolist() == [0, 0, 0, 1, 3]
    assert torch.equal(sharing.means(values, codes, centroids), torch.tensor([2 / 3, 2, 5, 8]))


# ------------------------------------------------------------------------------------------ layers


NETWORKS = {
    "linear": (models.mlp, (5, 1, 8, 8)),
    "convolution": (models.lenet5, (3, 1, 28, 28)),
    "grouped, batch norm": (models.depthwise, (3, 1, 8, 8)),
    "recurrent": (models.tiny_rnn, (5, 1, 8, 8)),
    "attention": (models.tiny_transformer, (5, 1, 8, 8)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_any_network_shares_and_is_final_afterwards(name):
    make, shape = NETWORKS[name]
    model, x = make(seed=0), noise(*shape)
    names, before = list(model.state_dict()), copy.deepcopy(model.state_dict())
    same = list(model.parameters())
    assert share_(model, 5, biases=3) is model
    answers = predict(model, x)
    assert unshare_(model) is model
    assert torch.equal(predict(model, x), answers)
    assert list(model.state_dict()) == names and {id(p) for p in model.parameters()} == {id(p) for p in same}
    layers = dict(model.named_modules())
    for key, value in model.state_dict().items():
        layer, _, what = key.rpartition(".")
        if isinstance(layers[layer], (nn.Linear, nn.Conv2d)):
            assert len(value.unique()) == (5 if what == "weight" else 3)
        else:
            assert torch.equal(value, before[key])


def test_the_values_are_those_of_kmeans_and_zeros_stay_zero(pruned):
    weight, bias = pruned[1].weight.detach().clone(), pruned[1].bias.detach().clone()
    share_(pruned, 4, "density")
    values = weight[weight != 0]
    centroids, codes = kmeans(values, 4, "density")
    wanted = torch.zeros_like(weight)
    wanted[weight != 0] = centroids[codes]
    assert torch.equal(pruned[1].weight, wanted) and torch.equal(pruned[1].bias, bias)
    assert not pruned[1].weight[weight == 0].signbit().any()


def test_the_gradient_of_a_centroid_is_the_sum_over_its_members(pruned):
    share_(pruned, 4, biases=2)
    plain, x, y = unshare_(copy.deepcopy(pruned)), DIGITS.train.x[:50], DIGITS.train.y[:50]
    for model in (pruned, plain):
        nn.functional.cross_entropy(model(x), y).backward()
    for layer in (1, 3):
        for name in ("weight", "bias"):
            chain, dense = pruned[layer].parametrizations[name], getattr(plain[layer], name)
            for centroid, gradient in zip(chain.original, chain.original.grad):
                # float32: sums of up to 200 terms in another order
                assert gradient.item() == pytest.approx(dense.grad[dense == centroid].sum().item(), rel=1e-4, abs=1e-6)


def test_training_moves_the_values_and_nothing_else(pruned):
    training.fit(pruned, DIGITS, ADAM, epochs=1)  # also what was 0 takes part, then is pruned again
    mask_(pruned, weight_masks(pruned, 0.8))
    bake_(pruned)
    zeros, before = pruned[1].weight == 0, copy.deepcopy(pruned)
    training.fit(share_(pruned, {"1": 8}, "density"), DIGITS, ADAM, epochs=4)
    assert len(pruned[1].parametrizations.weight.original) == 8
    first = share_(before, {"1": 8}, "density")
    assert torch.equal(pruned[1].parametrizations.weight[0].codes, first[1].parametrizations.weight[0].codes)
    assert not torch.equal(pruned[1].weight, first[1].weight)
    # measured: 265 of 359 where k-means has put the values, 318 after training
    assert training.evaluate(pruned, DIGITS.val).correct > training.evaluate(first, DIGITS.val).correct + 9
    unshare_(pruned)
    assert torch.equal(pruned[1].weight == 0, zeros) and len(pruned[1].weight.unique()) == 9
    assert len(pruned[3].weight.unique()) > 9  # not named
    training.fit(pruned, DIGITS, ADAM, epochs=1)  # plain parameters again: no gradient of another shape is left


def test_gradients_flow_before_and_after(pruned):
    """Sharing and its end change the shape of a parameter, and with it that of its gradient."""
    pruned(DIGITS.val.x).sum().backward()
    for step in (share_, unshare_, lambda model: share_(model, biases=2), unshare_):
        step(pruned)
        pruned(DIGITS.val.x).sum().backward()
        assert all(p.grad.shape == p.shape for p in pruned.parameters())


def test_a_shared_model_is_copied_counted_and_stored(pruned):
    nonzeros = count_nonzeros(pruned)
    share_(pruned, 4)
    assert count_nonzeros(pruned) == nonzeros
    answers, copied = predict(pruned, DIGITS.val.x), copy.deepcopy(pruned)
    unshare_(copied)
    assert isinstance(pruned[1].parametrizations.weight[0], SharedWeights)  # the copy's end is not the first's
    assert torch.equal(predict(copied, DIGITS.val.x), answers)
    file = io.BytesIO()
    torch.save(pruned.state_dict(), file)
    file.seek(0)
    other = copy.deepcopy(pruned)
    with torch.no_grad():
        other[1].parametrizations.weight.original.zero_()
    other.load_state_dict(torch.load(file))
    assert torch.equal(predict(other, DIGITS.val.x), answers)


def test_backward_works_on_the_nonzeros_only():
    """No tensor of the graph between centroids and weight is as large as the weight, but the gradient itself."""
    weight = noise(300, 784) * (noise(300, 784, seed=1) > 2)
    step = SharedWeights(weight, 8)
    sizes, centroids = [], step.right_inverse(weight).requires_grad_()
    shared = step(centroids)
    node = shared.grad_fn.next_functions[0][0]
    while node is not None:
        node.register_prehook(lambda gradients: sizes.append(max(g.numel() for g in gradients if g is not None)))
        node = next((n for n, _ in node.next_functions if n is not None), None)
    shared.sum().backward()
    assert sizes[1:] == [weight.count_nonzero(), 8]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_share_too(dtype):
    model, x = models.lenet5(seed=0).to(dtype), noise(2, 1, 28, 28, dtype=dtype)
    model[0].weight.requires_grad_(False)
    share_(model, 5)
    answers = predict(model, x)
    unshare_(model)
    assert torch.equal(predict(model, x), answers) and not model[0].weight.requires_grad
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            assert module.weight.dtype == dtype and len(module.weight.unique()) <= 5


@pytest.mark.parametrize("rule", [partial(torch.optim.SGD, lr=1e-3, momentum=0.9), torch.optim.AdamW])
def test_momentum_and_weight_decay_keep_zeros_and_the_file_keeps_the_answers(pruned, rule, tmp_path):
    zeros = pruned[1].weight == 0
    training.fit(share_(pruned, 4), DIGITS, partial(rule, weight_decay=0.1), epochs=2)
    answers = predict(unshare_(pruned), DIGITS.val.x)
    assert torch.equal(pruned[1].weight == 0, zeros) and len(pruned[1].weight.unique()) <= 5
    for store in storage, files:
        store.save(pruned, tmp_path / "model")
        assert torch.equal(predict(store.load(models.mlp(seed=1), tmp_path / "model"), DIGITS.val.x), answers)


def test_an_interrupt_leaves_a_shared_model(pruned, capsys):
    def interrupt(model, x, y):
        raise KeyboardInterrupt

    assert len(training.fit(share_(pruned, 4), DIGITS, epochs=2, loss=interrupt)) == 0
    assert "Interrupted" in capsys.readouterr().out
    assert len(unshare_(pruned)[1].weight.unique()) <= 5


def test_what_is_all_zero_has_nothing_to_share(pruned):
    nn.init.zeros_(pruned[1].bias)
    share_(pruned, 4, biases=4)
    assert list(pruned[1].parametrizations) == ["weight"] and len(pruned[3].bias.unique()) == 4


def tied():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    return model


def with_nan():
    model = models.mlp((4, 4, 4), seed=0)
    with torch.no_grad():
        model[3].weight[1, 2] = torch.nan
    return model


def masked():
    model = models.mlp((4, 4, 4), seed=0)
    mask_(model, {"3.weight": torch.eye(4, dtype=torch.bool)})
    return model


def hooked():
    model = models.mlp((4, 4, 4), seed=0)
    prune.l1_unstructured(model[3], "weight", 0.5)  # a plain tensor, computed anew in each forward pass
    return model


@pytest.mark.parametrize(
    "make, arguments, sentence",
    [
        (lambda: models.mlp(seed=0), dict(values=0), "values must be a whole number in 1..256, got 0"),
        (lambda: models.mlp(seed=0), dict(values=257), "values must be a whole number in 1..256, got 257"),
        (
            lambda: models.mlp(seed=0),
            dict(values={"1": 8, "3": 2.5}),
            "values must be a whole number in 1..256, got 2.5",
        ),
        (lambda: models.mlp(seed=0), dict(values={"1": 8, "2": 8}), "layers must be among 1, 3, got '2'"),
        (lambda: models.mlp(seed=0), dict(biases=0), "biases must be a whole number in 1..256, got 0"),
        (lambda: models.mlp(seed=0), dict(init="best"), "init must be one of linear, density, random, got 'best'"),
        (lambda: nn.Sequential(nn.ReLU()), {}, "model must have a Linear or Conv layer, got Sequential without one"),
        (tied, {}, "model must not use one parameter in two modules, got 0.weight"),
        (with_nan, {}, "model must have finite weights, got nan or inf in 3.weight"),
        (masked, {}, "model must have plain parameters to share: bake masks first, got 3.weight"),
        (hooked, {}, "model must have plain parameters to share: bake masks first, got 3.weight"),
        (lambda: share_(models.mlp(seed=0)), {}, "bake masks first, got 1.weight"),
    ],
)
def test_refuses_bad_arguments_and_leaves_the_model_alone(make, arguments, sentence):
    model = make()
    before, modules = copy.deepcopy(model.state_dict()), list(model.modules())
    with pytest.raises(ValueError, match=sentence):
        share_(model, **arguments)
    assert list(model.modules()) == modules and model.state_dict().keys() == before.keys()
    assert all(torch.equal(value.nan_to_num(), before[name].nan_to_num()) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    "values, k, sentence",
    [
        (torch.ones(3), 0, "k must be a whole number in 1..256, got 0"),
        (torch.ones(0), 2, r"values must be finite floats of shape \(n,\), n at least 1, got torch.float32 \(0,\)"),
        (torch.ones(2, 2), 2, r"values must be finite floats of .*, got torch.float32 \(2, 2\)"),
        (torch.tensor([1, torch.inf]), 2, "values must be finite floats"),
        (torch.tensor([1, 2, 9]), 2, "values must be finite floats of .*, got torch.int64"),  # means would be cut off
    ],
)
def test_kmeans_refuses(values, k, sentence):
    with pytest.raises(ValueError, match=sentence):
        kmeans(values, k)
