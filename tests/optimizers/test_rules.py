"""Every rule against torch.optim, and against closed forms."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compresslab.optimizers import parity, rules, surfaces
from compresslab.optimizers.parity import TORCH, torch_path

STEPS = 200


def test_every_rule_has_a_torch_twin():
    assert set(TORCH) == set(rules.RULES)


# Both do the same operations in float64, at most reassociated. Each of about 10 operations a step rounds by at most
# 2**-53 relative; on this contracting problem errors do not grow, so 200 steps stay below 200 * 10 * 2**-53 = 2e-13
# relative to the size of the start (about 3). 1e-11 leaves room for the division by small roots.
@pytest.mark.parametrize("name", rules.RULES)
@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), lr=st.sampled_from([1e-3, 0.01, 0.03]))
def test_equals_torch_for_200_steps(name, seed, lr):
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(6, dtype=torch.float64, generator=generator)
    curvature = 10 * torch.rand(6, dtype=torch.float64, generator=generator)

    def gradient(p):
        return curvature * p + torch.sin(3 * p)

    ours = torch.stack(rules.descend(rules.get_rule(name), gradient, start, steps=STEPS, lr=lr))
    theirs = torch_path(partial(TORCH[name], lr=lr), gradient, start, STEPS)
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)


def test_default_rates_are_those_of_torch():
    rates = parity.default_rates()
    for name, make in TORCH.items():
        assert make([torch.zeros(1, requires_grad=True)]).param_groups[0]["lr"] == rates[name]


def test_muon_is_as_close_as_bfloat16_allows():
    # 2**-8 in each of 20 steps, not all in one direction: 20 * 0.4 % at the worst; and not equal, for torch rounds
    assert 1e-4 < parity.muon_difference() < 0.08


def test_the_lesson_table_says_the_same():
    table = parity.differences()
    assert list(table.index) == list(rules.RULES) and table["same"].all() and (table.moved > 0.1).all()


@pytest.mark.parametrize("name", rules.RULES)
def test_works_on_numpy_tensors_and_floats_alike(name):
    rule = rules.get_rule(name)
    on_float = rules.descend(rule, lambda p: 3 * p, 1.0, steps=50, lr=0.01)
    on_numpy = rules.descend(rule, lambda p: 3 * p, np.array([1.0, 1.0]), steps=50, lr=0.01)
    on_torch = rules.descend(rule, lambda p: 3 * p, torch.ones(2, dtype=torch.float64), steps=50, lr=0.01)
    np.testing.assert_allclose(on_numpy[-1], on_float[-1], rtol=1e-12)
    np.testing.assert_allclose(on_torch[-1].numpy(), on_float[-1], rtol=1e-12)


@pytest.mark.parametrize("name", rules.RULES)
def test_leaves_its_arguments_alone_and_batches_learning_rates(name):
    rule = rules.get_rule(name)
    param, grad, lr = torch.randn(3, 4), torch.randn(3, 4), torch.tensor([[0.1], [0.01], [1.0]])
    before = param.clone(), grad.clone()
    new, state = rule(param, grad, {}, lr=lr)
    again, _ = rule(new, grad, state, lr=lr)
    assert torch.equal(param, before[0]) and torch.equal(grad, before[1])
    for i in range(3):
        alone, alone_state = rule(param[i], grad[i], {}, lr=lr[i].item())
        torch.testing.assert_close(new[i], alone)  # float32 rounding of lr: default tolerance
        torch.testing.assert_close(again[i], rule(alone, grad[i], alone_state, lr=lr[i].item())[0])


def test_first_step_of_adam_is_the_learning_rate():
    # Closed form: m̂ = g and v̂ = g², so the step is lr·sign(g) up to eps.
    new, _ = rules.adam(torch.tensor([1.0, 1.0]).double(), torch.tensor([1e-3, -500.0]).double(), {}, lr=0.01)
    torch.testing.assert_close(new, torch.tensor([0.99, 1.01]).double(), rtol=0, atol=0.01 * 1e-8 / 1e-3)


def test_orthogonalize_moves_singular_values_as_the_polynomial_says():
    generator = torch.Generator().manual_seed(0)
    for shape in [(5, 3), (3, 5), (4, 4), (2, 6, 3)]:
        matrix = torch.randn(*shape, dtype=torch.float64, generator=generator)
        u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
        s = s / s.norm(dim=-1, keepdim=True)
        for _ in range(5):
            s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
        expected = u @ torch.diag_embed(s) @ vh
        # SVD and five products of rounding 2**-53 with slopes up to 3.44**5 = 485
        torch.testing.assert_close(rules.orthogonalize(matrix), expected, rtol=0, atol=1e-10)


def test_muon_agrees_with_torch_up_to_bfloat16():
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(6, 4, generator=generator)
    target = torch.randn(6, 4, generator=generator)
    ours = rules.descend(rules.muon, lambda p: p - target, start, steps=100, lr=0.02)[-1]
    theirs = torch_path(partial(torch.optim.Muon, lr=0.02), lambda p: p - target, start, 100)[-1]
    # bfloat16 keeps 8 bits: 0.4 % a step of a direction of norm about 2·lr, for 100 steps that are not independent
    assert (ours - theirs).norm() < 0.004 * 100 * 0.02 * 2
    assert (ours - theirs).norm() < 0.1 * (ours - start).norm()


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9])
def test_stability_limit_of_the_quadratic(beta):
    limit = 2 * (1 + beta) / 30
    for factor, stable in [(0.99, True), (1.01, False)]:
        path = rules.descend(
            partial(rules.momentum, momentum=beta), lambda x: 30 * x, 1.0, steps=3000, lr=factor * limit
        )
        assert (abs(path[-1]) < 1) == stable


def test_unknown_names_list_the_valid_ones():
    with pytest.raises(ValueError, match="optimizer must be one of sgd, momentum, .*adamw, got 'adma'"):
        rules.get_rule("adma")
    with pytest.raises(ValueError, match="surface must be one of quadratic, .*noisy, got 'hill'"):
        surfaces.get_surface("hill")


@pytest.mark.parametrize("name", surfaces.SURFACES)
def test_gradient_equals_automatic_differentiation(name):
    surface = surfaces.get_surface(name)
    points = np.random.default_rng(0).uniform(-3, 3, (50, 2))
    tensor = torch.tensor(points, requires_grad=True)
    (expected,) = torch.autograd.grad(surface.value(tensor).sum(), tensor)
    ours = np.array([surface.gradient(p) for p in points])
    # values reach 1e5 in 20 operations: relative rounding 20 * 2**-53, with cancellation
    np.testing.assert_allclose(ours, expected.numpy(), rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("name", surfaces.SURFACES)
def test_minima_are_minima_and_starts_are_inside(name):
    surface = surfaces.get_surface(name)
    for minimum in surface.minima:
        assert np.linalg.norm(surface.gradient(np.array(minimum, float))) < 1e-3  # minima are given to 6 decimals
        around = np.array(minimum) + 0.05 * np.array([(math.cos(t), math.sin(t)) for t in np.linspace(0, 6.2, 20)])
        assert (surface.value(around) > surface.value(np.array(minimum, float))).all()
    for value, (low, high) in zip(surface.start, (surface.x_range, surface.y_range)):
        assert low < value < high


def test_noise_is_the_same_for_every_optimizer():
    surface = surfaces.get_surface("noisy")
    first, second = surfaces.noisy_gradient(surface, seed=3), surfaces.noisy_gradient(surface, seed=3)
    point = np.array([1.0, 1.0])
    samples = np.array([first(point) for _ in range(2000)])
    np.testing.assert_array_equal(samples[:5], [second(point) for _ in range(5)])
    # mean of 2000 draws: standard error 5 / sqrt(2000) = 0.11; five of them
    np.testing.assert_allclose(samples.mean(0), surface.gradient(point), atol=0.56)
    np.testing.assert_allclose(samples.std(0), 5.0, rtol=5 / math.sqrt(2 * 2000))
