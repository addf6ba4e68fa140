"""A packed file really decodes, to what was written."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compresslab import models
from compresslab.tour import health
from compresslab.tour.packing import BITS, pack, prune, quantize, unpack

STATE = models.mlp((64, 16, 10), seed=0).state_dict()


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("sparsity", [0.0, 0.37, 0.98])
def test_unpack_gives_back_what_pack_wrote(bits, sparsity):
    state = prune(STATE, sparsity)
    decoded = unpack(pack(state, bits))
    assert list(decoded) == list(state)
    for name, tensor in state.items():
        assert decoded[name].shape == tensor.shape and decoded[name].dtype == torch.float32
        if bits == 32 or tensor.ndim == 1:
            assert torch.equal(decoded[name], tensor)
        else:
            codes, scale = quantize(tensor, bits)
            assert torch.equal(decoded[name], torch.tensor(codes * np.float32(scale)))


@settings(max_examples=50)
@given(st.integers(0, 1000), st.sampled_from([b for b in BITS if b < 32]))
def test_error_is_at_most_half_a_step(seed, bits):
    weight = torch.randn(7, 5, generator=torch.Generator().manual_seed(seed))
    codes, scale = quantize(weight, bits)
    error = np.abs(codes * scale - weight.numpy().astype(float)).max()
    assert error <= scale / 2 * (1 + 1e-6) and np.abs(codes).max() == 2 ** (bits - 1) - 1  # float32 division: 1e-7


def test_all_zero_weights_survive():
    state = {"w": torch.zeros(3, 3)}
    assert torch.equal(unpack(pack(state, 4))["w"], state["w"])


@given(st.floats(0, 0.99))
def test_prune_keeps_the_largest(sparsity):
    before = torch.cat([w.flatten() for w in STATE.values() if w.ndim > 1])
    after = torch.cat([w.flatten() for w in prune(STATE, sparsity).values() if w.ndim > 1])
    assert (after == 0).sum() == int(sparsity * len(before))
    dropped, kept = before[after == 0].abs(), after[after != 0].abs()
    assert len(dropped) == 0 or dropped.max() <= kept.min()
    assert torch.equal(after[after != 0], before[after != 0])


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, float("nan")])
def test_bad_sparsity(sparsity):
    with pytest.raises(ValueError, match=rf"sparsity must be in \[0, 1\), got {sparsity}"):
        prune(STATE, sparsity)


def test_bad_bits():
    with pytest.raises(ValueError, match="bits must be one of 2, 3, 4, 5, 6, 7, 8, 32, got 9"):
        pack(STATE, 9)


def test_health_names_this_machine():
    table = health.health()
    assert table.loc["torch", "this machine"] == torch.__version__
    assert "digits" in table.loc["data sets at hand", "this machine"]
