"""The range coder: symbols at the cost of their information, log2(1/probability) bits each, however uneven (lesson 51).

The coder itself is constriction's. It computes with the probabilities that it is given, and the file must decode on
every machine: so they are whole numbers of 1/65536, and nothing is rounded on the way. (With perfect=False its model
multiplies the sums of the probabilities by (2**24 - symbols) / 65536 and cuts the fraction off: 40 bits at most, exact
in a double's 53.) R. Bamler, "Understanding entropy coding with asymmetric numeral systems (ANS)" (2022).
"""

import numpy as np

TOTAL = 1 << 16  # the probabilities of all symbols, whole numbers, add up to this


def frequencies(counts) -> np.ndarray:
    """How often each symbol occurs (k,) -> the table of one byte each that stands in the file: 0 only for 0.

    >>> frequencies([1000, 250, 1, 0]).tolist()
    [255, 64, 1, 0]
    """
    counts = np.asarray(counts, np.int64)
    return (-(-255 * counts // max(counts.max(), 1))).astype(np.uint8)


def probabilities(table) -> np.ndarray:
    """Table (k,) -> probabilities in 1/65536, int64, that add up to 65536; all the same where all are 0.

    What the rounding down leaves over goes to the largest. Where there is one symbol alone it gets a second one beside
    it that never comes: the coder needs two, and a certainty is free.

    >>> probabilities([3, 1, 0]).tolist()
    [49152, 16384, 0]
    """
    table = np.asarray(table, np.int64)
    table = table if table.any() else np.ones_like(table)
    share = table * TOTAL // table.sum()
    share[share.argmax()] += TOTAL - share.sum()
    return share if len(share) > 1 else np.append(share, 0)


def encode(symbols, table) -> bytes:
    """Symbols (n,), whole numbers below k, under a table (k,) of `frequencies`."""
    import constriction

    encoder = constriction.stream.queue.RangeEncoder()
    if len(symbols):
        encoder.encode(np.asarray(symbols, np.int32), _model(table))
    return encoder.get_compressed().astype("<u4").tobytes()


def decode(data: bytes, n: int, table) -> np.ndarray:
    """The n symbols, int32 (n,), that `encode` wrote under the same table; ValueError for bytes that hold none."""
    import constriction

    if n == 0:
        return np.zeros(0, np.int32)
    if len(table) == 0 or len(data) % 4:
        raise ValueError(f"{len(data)} bytes under a table of {len(table)} cannot hold {n} symbols")
    decoder = constriction.stream.queue.RangeDecoder(np.frombuffer(data, "<u4").astype(np.uint32))
    try:
        symbols = decoder.decode(_model(table), n)
    except AssertionError as error:
        raise ValueError("the coded symbols are damaged") from error
    if symbols.max() >= len(table):
        raise ValueError("the coded symbols are damaged")
    return symbols


def _model(table):
    import constriction

    return constriction.stream.model.Categorical(probabilities(table).astype(np.float64), perfect=False)
