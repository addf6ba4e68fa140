"""Huffman's code against brute force, the entropy and constriction's Huffman tree."""

import itertools
import math

import constriction
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from compresslab.compression import huffman

COUNTS = st.lists(st.integers(0, 1000), min_size=1, max_size=40).filter(any)


def total(counts, lengths):
    return sum(count * length for count, length in zip(counts, lengths))


@given(COUNTS)
def test_entropy_is_scipys(counts):
    assert huffman.entropy_bits(counts) == pytest.approx(stats.entropy(counts, base=2), rel=1e-12, abs=1e-12)


@given(st.lists(st.integers(0, 9), min_size=2, max_size=5).filter(lambda counts: np.count_nonzero(counts) > 1))
def test_no_prefix_code_is_shorter(counts):
    """Every choice of lengths that satisfies Kraft's inequality; five symbols need four bits at most."""
    used = [count for count in counts if count]
    kraft = (ls for ls in itertools.product(range(1, 5), repeat=len(used)) if sum(2.0**-n for n in ls) <= 1)
    assert total(counts, huffman.code_lengths(counts)) == min(total(used, lengths) for lengths in kraft)


@given(COUNTS.filter(lambda counts: np.count_nonzero(counts) > 1))
def test_as_long_as_constrictions(counts):
    used = [count for count in counts if count]
    tree = constriction.symbol.huffman.EncoderHuffmanTree(np.array(used, np.float64))
    coder = constriction.symbol.QueueEncoder()
    for symbol, count in enumerate(used):
        before = coder.get_compressed()[1]
        coder.encode_symbol(symbol, tree)
        used[symbol] = (count, coder.get_compressed()[1] - before)
    assert total(counts, huffman.code_lengths(counts)) == sum(count * length for count, length in used)


@given(COUNTS)
def test_within_a_bit_of_the_entropy(counts):
    """Shannon: entropy <= mean length < entropy + 1; a symbol that is alone takes a bit though it tells nothing."""
    mean = total(counts, huffman.code_lengths(counts)) / sum(counts)
    entropy = huffman.entropy_bits(counts)
    assert entropy - 1e-9 <= mean and (mean < entropy + 1 or np.count_nonzero(counts) == 1 and mean == 1)


@given(COUNTS)
def test_no_code_begins_another_and_lengths_are_as_told(counts):
    lengths = huffman.code_lengths(counts)
    codes = huffman.codes(lengths)
    assert [len(code) for code in codes] == lengths and [n > 0 for n in lengths] == [c > 0 for c in counts]
    used = sorted(code for code in codes if code)
    assert not any(after.startswith(code) for code, after in itertools.pairwise(used))


def test_even_powers_of_two_reach_the_entropy():
    counts = [8, 4, 2, 1, 1]
    assert huffman.code_lengths(counts) == [1, 2, 3, 4, 4]
    assert huffman.entropy_bits(counts) == total(counts, [1, 2, 3, 4, 4]) / 16


def test_a_fibonacci_alphabet_gets_the_longest_codes_there_are():
    fibonacci = [1, 1, 2, 3, 5, 8, 13, 21]
    assert sorted(huffman.code_lengths(fibonacci)) == [1, 2, 3, 4, 5, 6, 7, 7]


@given(COUNTS, st.data())
def test_decoding_gives_the_symbols_back(counts, data):
    lengths = huffman.code_lengths(counts)
    alphabet = [symbol for symbol, count in enumerate(counts) if count]
    symbols = data.draw(st.lists(st.sampled_from(alphabet), max_size=60))
    written = huffman.encode(symbols, lengths)
    assert len(written) == math.ceil(sum(lengths[s] for s in symbols) / 8)
    assert huffman.decode(written, lengths, len(symbols)) == symbols


@given(st.binary(max_size=20), COUNTS, st.integers(0, 200))
def test_any_bytes_decode_or_are_refused(data, counts, n):
    lengths = huffman.code_lengths(counts)
    try:
        symbols = huffman.decode(data, lengths, n)
    except ValueError as error:
        assert str(error).startswith(f"data must hold {n} codes, got ")
    else:
        assert len(symbols) == n and sum(lengths[s] for s in symbols) <= 8 * len(data)


@pytest.mark.parametrize("kind", [np.array, np.uint8, torch.tensor, lambda numbers: list(np.uint8(numbers))])
def test_small_integers_do_not_overflow(kind):
    """Counts whose sum passes 255, and codes of more than 8 bits, in types of 8 bits among others."""
    counts = [200, 100, 50, 25, 12, 6, 3, 2, 1, 1]
    lengths = huffman.code_lengths(kind(counts))
    assert lengths == huffman.code_lengths(counts) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 9]
    assert (
        huffman.entropy_bits(kind(counts))
        == huffman.entropy_bits(counts)
        == pytest.approx(stats.entropy(counts, base=2))
    )
    assert huffman.codes(kind(lengths)) == huffman.codes(lengths)
    symbols = kind([0, 9, 8, 0])
    assert huffman.decode(huffman.encode(symbols, kind(lengths)), lengths, 4) == [0, 9, 8, 0]


@pytest.mark.parametrize("seed", range(5))
def test_codes_too_long_for_a_float(seed):
    """2**-n of 80 bits is lost beside 1 in a float: neither may a full code be refused nor one too many be let in."""
    fibonacci = [1, 1]
    while len(fibonacci) < 80:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    counts = np.random.default_rng(seed).permutation(np.array(fibonacci)).tolist()
    lengths = huffman.code_lengths(counts)
    assert max(lengths) == 79
    symbols = list(range(80))
    assert huffman.decode(huffman.encode(symbols, lengths), lengths, 80) == symbols
    with pytest.raises(ValueError, match="lengths must be whole numbers whose 2"):
        huffman.codes([*lengths, 200])


def test_bad_input_gets_a_sentence():
    for counts in ([], [0, 0], [3, -1], [1, math.nan], [1, math.inf]):
        for function in (huffman.entropy_bits, huffman.code_lengths):
            with pytest.raises(ValueError, match="counts must be at least 0, and one above, got "):
                function(counts)
    for lengths in ([1, 1, 1], [-1], [0.5]):
        with pytest.raises(ValueError, match="lengths must be whole numbers whose 2"):
            huffman.codes(lengths)
    for symbol in (2, 3, -1):
        with pytest.raises(ValueError, match=f"symbols must have a code, got {symbol}"):
            huffman.encode([0, symbol], [1, 1, 0])
    with pytest.raises(ValueError, match="data must hold 9 codes, got 8 and then no code"):
        huffman.decode(b"\0", [1, 1], 9)
    with pytest.raises(ValueError, match="data must hold 1 codes, got 0 and then no code"):
        huffman.decode(b"\xff", [1, 2], 1)
