"""Gaps between non-zeros: written and read again, whole and in bits."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from compresslab.compression import gaps

MASKS = hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=12), elements=st.sampled_from([0.0, 0.0, 0.5, -2]))
GAPS = st.lists(st.one_of(st.integers(0, 300), st.integers(0, 2**40)), max_size=30).map(lambda n: np.array(n, np.int64))


@given(MASKS)
def test_gaps_count_the_zeros_in_between(array):
    text = "".join("x" if value else "." for value in array.ravel())
    expected = [len(run) for run in text.split("x")[:-1]]
    assert gaps.to_gaps(array).tolist() == expected == gaps.to_gaps(torch.from_numpy(array)).tolist()


@given(MASKS)
def test_positions_come_back(array):
    assert gaps.from_gaps(gaps.to_gaps(array)).tolist() == np.flatnonzero(array).tolist()


@given(GAPS)
def test_bits_are_those_of_the_binary_number(numbers):
    lengths, bits = gaps.split_bits(numbers)
    binary = [format(gap + 1, "b") for gap in numbers.tolist()]
    assert lengths.tolist() == [len(text) - 1 for text in binary]
    assert "".join(map(str, bits.tolist())) == "".join(text[1:] for text in binary)


@given(GAPS, st.integers(0, 7))
def test_gaps_come_back_from_their_bits(numbers, more):
    lengths, bits = gaps.split_bits(numbers)
    assert gaps.join_bits(lengths, np.append(bits, np.ones(more, np.uint8))).tolist() == numbers.tolist()


def test_too_few_bits_are_refused():
    with pytest.raises(ValueError, match="the gaps need 5 bits, got 4"):
        gaps.join_bits(np.array([2, 3]), np.zeros(4, np.uint8))
