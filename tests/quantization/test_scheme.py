"""Schemes: their codes counted, their blocks against plain indexing, their refusals."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compresslab.quantization.scheme import Scheme, nearest

X = torch.arange(2 * 3 * 4 * 6).reshape(2, 3, 4, 6)


@pytest.mark.parametrize("bits", range(1, 17))
def test_codes(bits):
    plain, unsigned = Scheme(bits, symmetric=False), Scheme(bits, symmetric=False, signed=False)
    assert (plain.qmin, plain.qmax) == (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    assert (unsigned.qmin, unsigned.qmax) == (0, 2**bits - 1)
    assert (Scheme(bits, signed=False).qmin, Scheme(bits, signed=False).qmax) == (0, 2**bits - 1)
    symmetric = Scheme(bits)
    assert symmetric.qmin == -symmetric.qmax == (-1 if bits == 1 else 1 - 2 ** (bits - 1))
    for scheme in (plain, unsigned, symmetric):
        ends = torch.tensor([scheme.qmin, scheme.qmax])
        assert ends.to(scheme.dtype).tolist() == ends.tolist()
        assert scheme.dtype.itemsize == (1 if bits <= 8 else 2 if scheme.signed else 4)


def test_the_ternary_and_the_binary_codes():
    x = torch.linspace(-2, 2, 41)[None]
    one, zero = torch.ones(1), torch.zeros(1)
    assert nearest(x, one, zero, Scheme(2)).unique().tolist() == [-1, 0, 1]
    assert nearest(x, one, zero, Scheme(1)).unique().tolist() == [-1, 1]
    assert nearest(torch.zeros(1, 1), one, zero, Scheme(1)).item() == 1


@pytest.mark.parametrize("axis", range(-4, 4))
def test_a_channel_is_an_entry_of_its_axis(axis):
    blocks = Scheme(granularity="channel", axis=axis).blocks(X)
    assert len(blocks) == X.shape[axis]
    for i, block in enumerate(blocks):
        assert block.tolist() == X.select(axis, i).flatten().tolist()


def test_a_group_is_a_run_along_the_last_dimension():
    blocks = Scheme(granularity="group", group_size=3).blocks(X)
    assert blocks.shape == (X.numel() // 3, 3)
    assert blocks[1].tolist() == X[0, 0, 0, 3:6].tolist() and blocks[2].tolist() == X[0, 0, 1, :3].tolist()


def test_a_tensor_is_one_block_and_a_vector_has_channels_of_one():
    assert Scheme().blocks(X).shape == (1, X.numel())
    assert Scheme().blocks(torch.tensor(3.0)).shape == (1, 1)
    assert Scheme(granularity="channel").blocks(torch.arange(5)).shape == (5, 1)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_unblocks_is_the_inverse(shape, data):
    x = torch.arange(int(torch.tensor(shape).prod())).reshape(shape)
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    size = data.draw(st.sampled_from([n for n in range(1, shape[-1] + 1) if shape[-1] % n == 0]))
    for scheme in (Scheme(), Scheme(granularity="channel", axis=axis), Scheme(granularity="group", group_size=size)):
        again = scheme.unblocks(scheme.blocks(x), x.shape)
        assert torch.equal(again, x) and again.is_contiguous()


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: Scheme(0), "bits must be a whole number from 1 to 16, got 0"),
        (lambda: Scheme(True), "bits must be a whole number from 1 to 16, got True"),
        (lambda: Scheme(17), "bits must be a whole number from 1 to 16, got 17"),
        (lambda: Scheme(4.5), "bits must be a whole number from 1 to 16, got 4.5"),
        (lambda: Scheme(granularity="row"), "granularity must be one of tensor, channel, group, got 'row'"),
        (lambda: Scheme(granularity="channel", axis=None), "axis must be a whole number, got None"),
        (lambda: Scheme(granularity="group"), "group_size must be a whole number of at least 1, got None"),
        (lambda: Scheme(granularity="group", group_size=0), "group_size must be a whole number of at least 1, got 0"),
        (lambda: Scheme(group_size=4), "group_size is for granularity='group' only, got 4"),
        (
            lambda: Scheme(granularity="group", group_size=4).blocks(X),
            "group_size must divide the last dimension of x, which is 6, got 4",
        ),
        (
            lambda: Scheme(granularity="group", group_size=2).blocks(torch.tensor(1.0)),
            "group_size must divide the last dimension of x, which is 1, got 2",
        ),
        (
            lambda: Scheme(granularity="channel", axis=4).blocks(X),
            "axis must be a dimension of x, which has 4, got 4",
        ),
        (
            lambda: Scheme(granularity="channel", axis=-5).blocks(X),
            "axis must be a dimension of x, which has 4, got -5",
        ),
        (lambda: Scheme().blocks(torch.zeros(0, 3)), r"x must hold at least one value, got shape \(0, 3\)"),
    ],
)
def test_bad_input_gets_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        call()


def test_whole_numbers_of_a_table_will_do():
    scheme = Scheme(np.int64(4), granularity="channel", axis=np.int64(1))
    assert scheme == Scheme(4, granularity="channel", axis=1) and scheme.qmin == -7
    assert Scheme(granularity="group", group_size=np.int64(3)).blocks(X).shape[1] == 3
