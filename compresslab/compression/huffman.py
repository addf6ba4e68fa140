"""Huffman's code by hand (lesson 51): frequent symbols get short codes, rare ones long codes.

D. Huffman, "A method for the construction of minimum-redundancy codes" (1952). Symbols are 0 to k - 1. A code is stored
as its lengths alone: both sides number the codes of each length in the order of the symbols (canonical codes).
"""

import heapq
import math
from collections.abc import Sequence
from numbers import Integral

import numpy as np


def entropy_bits(counts: Sequence[int]) -> float:
    """Bits a symbol that no code can undercut on average: the sum of p log2(1/p) over the symbols that occur.

    C. Shannon, "A mathematical theory of communication" (1948). ValueError for negative counts, or none above 0.

    >>> entropy_bits([2, 1, 1])
    1.5
    """
    counts = _checked(counts)
    total = sum(counts)
    return sum(count / total * math.log2(total / count) for count in counts if count)


def code_lengths(counts: Sequence[int]) -> list[int]:
    """Bits of the Huffman code of each symbol, from how often each occurs: 0 for those that never do.

    The two rarest nodes are joined until one is left; each joining makes the codes below it a bit longer. A symbol that
    is alone gets 1 bit. ValueError for counts that are negative, or none above 0.

    >>> code_lengths([5, 1, 2, 0])
    [1, 2, 2, 0]
    """
    counts = _checked(counts)
    lengths = [0] * len(counts)
    heap = [(count, i, [i]) for i, count in enumerate(counts) if count]  # (how often, tie break, symbols below)
    if len(heap) == 1:
        lengths[heap[0][1]] = 1
    heapq.heapify(heap)
    while len(heap) > 1:
        (a, _, left), (b, tie, right) = heapq.heappop(heap), heapq.heappop(heap)
        for symbol in left + right:
            lengths[symbol] += 1
        heapq.heappush(heap, (a + b, len(counts) + tie, left + right))
    return lengths


def codes(lengths: Sequence[int]) -> list[str]:
    """The canonical code of each symbol as a string of 0 and 1, "" for length 0; no code begins another.

    Codes are counted up, the short ones first, symbols of equal length in their order. ValueError for lengths that no
    such code has (Kraft: the sum of 2**-length must not pass 1).

    >>> codes([1, 2, 2, 0])
    ['0', '10', '11', '']
    """
    lengths = np.asarray(lengths).tolist()  # numpy's small integers would overflow
    trouble = ValueError(f"lengths must be whole numbers whose 2**-length add up to at most 1, got {lengths}")
    if any(not isinstance(n, Integral) or n < 0 for n in lengths):
        raise trouble
    result, code, before = [""] * len(lengths), 0, 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(lengths) if length):
        code <<= length - before
        if code >> length:  # all codes of this length are taken
            raise trouble
        result[symbol] = f"{code:0{length}b}"
        code, before = code + 1, length
    return result


def encode(symbols: Sequence[int], lengths: Sequence[int]) -> bytes:
    """Symbols as bytes, the first code in the highest bits; the last byte is filled up with 0.

    ValueError for a symbol without a code.

    >>> encode([0, 1, 2, 0], [1, 2, 2]).hex()
    '58'
    """
    table = codes(lengths)
    for symbol in symbols:
        if not 0 <= symbol < len(table) or not table[symbol]:
            raise ValueError(f"symbols must have a code, got {symbol}")
    bits = "".join(table[symbol] for symbol in symbols)
    return bytes(int(bits[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(bits), 8))


def decode(data: bytes, lengths: Sequence[int], n: int) -> list[int]:
    """The n symbols that `encode` wrote. ValueError where the bits end too soon or are no code.

    >>> decode(bytes.fromhex("58"), [1, 2, 2], 4)
    [0, 1, 2, 0]
    """
    symbol_of = {code: symbol for symbol, code in enumerate(codes(lengths)) if code}
    bits, longest = (bit for byte in data for bit in f"{byte:08b}"), max(map(len, symbol_of), default=0)
    symbols = []
    while len(symbols) < n:
        code = ""
        while code not in symbol_of:
            code += next(bits, " ")
            if len(code) > longest or code[-1] == " ":
                raise ValueError(f"data must hold {n} codes, got {len(symbols)} and then no code")
        symbols.append(symbol_of[code])
    return symbols


def _checked(counts: Sequence[int]) -> list[int]:
    counts = np.asarray(counts).tolist()  # numpy's small integers would overflow
    if not all(0 <= count < math.inf for count in counts) or not any(counts):
        raise ValueError(f"counts must be at least 0, and one above, got {counts}")
    return counts
