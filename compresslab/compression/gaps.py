"""Where the non-zero weights are: the zeros between them are counted (lesson 51).

Few weights make large positions but small gaps, and a gap is what is coded. S. Han, H. Mao, W. Dally, "Deep
Compression" (2016), section 2 and figure 2. They give each gap the same few bits, and bridge a longer one by storing
zeros; here a gap takes as many bits as it needs: P. Elias, "Universal codeword sets ..." (1975).
"""

import numpy as np


def to_gaps(weight) -> np.ndarray:
    """How many zeros stand before each non-zero, back to the one before: int64 (non-zeros,), row by row.

    >>> to_gaps([[0.0, 0.0, 3.4], [0.9, 0.0, 1.7]])
    array([2, 0, 1])
    """
    return np.diff(np.flatnonzero(np.asarray(weight)), prepend=-1) - 1


def from_gaps(gaps: np.ndarray) -> np.ndarray:
    """The positions of the non-zeros in the flat tensor, int64 (non-zeros,).

    >>> from_gaps(np.array([2, 0, 1]))
    array([2, 3, 5])
    """
    return np.cumsum(gaps + 1) - 1


def split_bits(gaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The binary number gap + 1 in two parts: how many bits follow its leading 1 (int64, one a gap), and these bits.

    The lengths are few symbols and very uneven, so they are worth an entropy code. The bits (uint8 of 0 and 1, those of
    all gaps behind one another) are close to even chances, and are kept as they are. Of 5 = 101 in binary:

    >>> split_bits(np.array([4]))
    (array([2]), array([0, 1], dtype=uint8))
    """
    lengths = np.frexp(gaps + 1.0)[1].astype(np.int64) - 1
    return lengths, ((np.repeat(gaps + 1, lengths) >> _places(lengths)) & 1).astype(np.uint8)


def join_bits(lengths: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """The gaps from what `split_bits` gave; more bits may follow. ValueError for too few.

    >>> join_bits(np.array([2]), np.array([0, 1]))
    array([4])
    """
    ends = np.cumsum(lengths, dtype=np.int64)
    total = int(ends[-1]) if len(ends) else 0
    if total > len(bits):
        raise ValueError(f"the gaps need {total} bits, got {len(bits)}")
    sums = np.concatenate([[0], np.cumsum(bits[:total].astype(np.int64) << _places(lengths))])
    return (1 << lengths.astype(np.int64)) + sums[ends] - sums[ends - lengths] - 1


def _places(lengths: np.ndarray) -> np.ndarray:
    """The place of each bit in its number: length - 1 down to 0, for all numbers behind one another."""
    ends = np.cumsum(lengths, dtype=np.int64)
    return np.repeat(ends, lengths) - np.arange(int(lengths.sum())) - 1
