"""The range coder: exact probabilities, bytes near the information, the same bytes on every machine."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compresslab.compression import coder

TABLES = st.lists(st.integers(0, 255), min_size=1, max_size=256)


@given(TABLES)
def test_probabilities_are_whole_and_add_up(table):
    shares = coder.probabilities(table)
    assert shares.dtype == np.int64 and shares.sum() == coder.TOTAL and (shares >= 0).all() and len(shares) > 1
    if any(table) and len(table) > 1:
        exact = np.array(table) / sum(table) * coder.TOTAL
        apart = shares - exact
        apart[shares.argmax()] -= coder.TOTAL - np.floor(exact).sum()  # what was left over
        assert (apart <= 1e-9).all() and (apart > -1 - 1e-9).all()


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=256))
def test_what_occurs_has_a_frequency(counts):
    table = coder.frequencies(counts)
    assert table.dtype == np.uint8 and ((table > 0) == (np.array(counts) > 0)).all()
    if any(counts):
        ideal = 255 * np.array(counts) / max(counts)
        assert (table >= ideal - 1e-9).all() and (table < ideal + 1 + 1e-9).all()


@pytest.mark.parametrize("choices", [2, 3, 16, 256])
def test_what_the_coder_computes_is_exact_in_a_double(choices):
    """cumulated * (2**24 - choices) / 65536: numerator and denominator fit into 53 bits, the latter a power of two."""
    assert coder.TOTAL * (2**24 - choices) < 2**53 and coder.TOTAL & (coder.TOTAL - 1) == 0


@given(st.data(), TABLES)
def test_symbols_come_back_at_the_cost_of_their_information(data, table):
    """At most 24 bits for what the table gives no chance, and whole words of 4 bytes, two at most beyond the last.

    The coder's own fixed point costs less: at most 256 choices of 2**-24 each, below 0.01 bits for what has a chance
    of 1/65536 or more.
    """
    symbols = np.array(data.draw(st.lists(st.integers(0, len(table) - 1), max_size=200)), int)
    written = coder.encode(symbols, table)
    assert coder.decode(written, len(symbols), table).tolist() == symbols.tolist()
    chance = np.maximum(coder.probabilities(table)[symbols] / coder.TOTAL, 2**-24)
    assert len(written) <= (-np.log2(chance) + 0.01).sum() / 8 + 8


def test_these_bytes_stay_the_same():
    """A file of today must decode with the coder of tomorrow, on every machine."""
    symbols, table = np.arange(40) ** 2 % 7, [40, 80, 70, 1, 60, 3, 2]
    data = bytes.fromhex("9a5c7f11736dfbcb0824e22f")
    assert coder.encode(symbols, table) == data
    assert coder.decode(data, 40, table).tolist() == symbols.tolist()


@given(st.binary(max_size=40), st.integers(0, 300), st.sampled_from([[5, 0, 1], [9], [0, 0], []]))
def test_any_bytes_decode_or_are_refused(data, n, table):
    try:
        symbols = coder.decode(data, n, table)
    except ValueError:
        return
    assert len(symbols) == n and ((0 <= symbols) & (symbols < max(len(table), 1))).all()
