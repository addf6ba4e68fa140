"""Lesson 51: gaps between non-zeros, the entropy of a code, and the lengths of Huffman's."""

import heapq
import math

import numpy as np
import torch

from ...lesson import Exercise, Mistake

# ------------------------------------------------------------------------------ gaps


def gaps(weight):
    positions = weight.flatten().nonzero().flatten()
    before = torch.cat([torch.tensor([-1]), positions[:-1]])
    return positions - before - 1


_WEIGHTS = (
    torch.tensor([[0, 0, 3.4, 0.9], [0, 0, 0, 1.7], [-2.0, 0, 0, 0]]),
    torch.tensor([[5.0, 0, 1], [0, 0, 0], [0, 2, 0], [0, 0, 4]]),
    torch.eye(6),
    torch.tensor([0.0, 0, 0, 0, 0, 0, 0, -1, 2, 0]),
)


def _gaps_trial(fn):
    return [fn(weight) for weight in _WEIGHTS]


def _gaps_by_runs(weight):
    """The zeros in front of each non-zero, as the lengths of the runs in a text."""
    text = "".join("x" if value else "." for value in weight.flatten().tolist())
    return torch.tensor([len(run) for run in text.split("x")[:-1]])


def _of_positions(function, order=torch.flatten):
    return lambda weight: function(order(weight).nonzero().flatten())


def _by_rows(weight):
    return torch.cat([gaps(row) for row in weight.reshape(-1, weight.shape[-1])])


def _and_the_end(weight):
    return gaps(torch.cat([weight.flatten(), torch.ones(1)]))


_ZEROS = "A gap counts the zeros in between. Neighbours have none, so take 1 from the difference of their positions."
_FIRST = (
    "The first gap is missing: count the zeros in front of the first non-zero too, or no position can be found again."
)

spacing = Exercise(
    key="51/gaps",
    title="Gaps between the weights that are left",
    solution=gaps,
    trial=_gaps_trial,
    expected=lambda: _gaps_trial(_gaps_by_runs),
    mistakes=(
        Mistake(_ZEROS, _of_positions(lambda p: p.diff(prepend=torch.tensor([-1])))),
        Mistake(_ZEROS, _of_positions(lambda p: p.diff(prepend=torch.tensor([0])))),
        Mistake(_FIRST, _of_positions(lambda p: p.diff() - 1)),
        Mistake(_FIRST, _of_positions(lambda p: p.diff())),
        Mistake(
            "The first gap is one too small: start from position -1, so that a non-zero at the very front has gap 0.",
            _of_positions(lambda p: p.diff(prepend=torch.tensor([0])) - 1),
        ),
        Mistake(
            "These are gaps down the columns. The weights lie row by row: use weight.flatten().",
            lambda weight: gaps(weight.T if weight.ndim == 2 else weight),
        ),
        Mistake(
            "The count starts again in each row, so nobody knows where a row ends: flatten the weight first.", _by_rows
        ),
        Mistake(
            "These are the positions themselves: a gap counts from the non-zero before.", _of_positions(lambda p: p)
        ),
        Mistake(
            "Negative weights are left out: all that is not 0 counts.",
            lambda weight: gaps(weight.clamp(min=0)),
        ),
        Mistake(
            "The count of zeros goes on: set it back to 0 after each weight.",
            lambda weight: gaps(weight).cumsum(0),
        ),
        Mistake("The zeros after the last non-zero are no gap: the shape of the weight tells them.", _and_the_end),
        Mistake(
            "These are the zeros after each non-zero; a gap counts those in front of it.",
            lambda weight: _and_the_end(weight)[1:],
        ),
    ),
    hints=(
        "weight.flatten().nonzero().flatten() gives the positions of the non-zeros in rising order.",
        "Between the positions 3 and 7 lie 7 - 3 - 1 = 3 zeros.",
        "In front of the first stands an imagined non-zero at position -1: put it before the positions with torch.cat.",
    ),
    rtol=0,
    atol=0,  # whole numbers
)

# ------------------------------------------------------------------------------ entropy


def entropy(counts):
    share = counts / counts.sum()
    share = share[share > 0]
    return -(share * share.log2()).sum()


_COUNTS = tuple(
    map(torch.tensor, ([8, 4, 2, 2], [5, 0, 3, 0, 1], [7, 7, 7], [40, 1, 1], [1, 9], [6.0, 2.0], [8000, 0, 1]))
)


def _entropy_trial(fn):
    return [float(fn(counts)) for counts in _COUNTS]


def _entropy_by_scipy(counts):
    from scipy import stats

    return stats.entropy(counts.double().numpy(), base=2)


def _of_shares(function):
    return lambda counts: function(counts[counts > 0] / counts.sum())


information = Exercise(
    key="51/entropy",
    title="Bits that a symbol is worth",
    solution=entropy,
    trial=_entropy_trial,
    expected=lambda: _entropy_trial(_entropy_by_scipy),
    mistakes=(
        Mistake(
            "These are nats: the natural logarithm was taken. For bits take log2.",
            _of_shares(lambda p: -(p * p.log()).sum()),
        ),
        Mistake(
            "The logarithm to base 10 counts decimal digits. For bits take log2.",
            _of_shares(lambda p: -(p * p.log10()).sum()),
        ),
        Mistake(
            "A count of 0 gives 0 · log 0, which is nan: leave symbols out that never come, they cost nothing.",
            lambda counts: -(counts / counts.sum() * (counts / counts.sum()).log2()).sum(),
        ),
        Mistake(
            "The counts were taken as they are: divide by their sum first, so that they are probabilities.",
            lambda counts: -(counts[counts > 0] * counts[counts > 0].log2()).sum(),
        ),
        Mistake(
            "The sign is turned: log2 of a probability is negative, so the sum needs a minus.",
            lambda counts: -entropy(counts),
        ),
        Mistake(
            "These are the bits of the whole message: leave them divided by the number of symbols in it.",
            lambda counts: entropy(counts) * counts.sum(),
        ),
        Mistake(
            "Each symbol counts the same here: its bits, -log2(p), must be weighed by how often it comes, p.",
            _of_shares(lambda p: -p.log2().mean()),
        ),
        Mistake(
            "Each symbol's bits, -log2(p), must be weighed by how often it comes, p.",
            _of_shares(lambda p: -p.log2().sum()),
        ),
        Mistake(
            "This is the mean of p · log2(1/p) over the symbols: the p are weights already, so take the sum.",
            _of_shares(lambda p: -(p * p.log2()).mean()),
        ),
        Mistake(
            "This is a fixed length for each symbol that occurs: frequent ones may take fewer bits.",
            _of_shares(lambda p: torch.tensor(float(len(p))).log2()),
        ),
        Mistake(
            "This is a fixed length for each symbol: frequent ones may take fewer bits.",
            lambda counts: math.log2(len(counts)),
        ),
        Mistake(
            "A code may only use whole bits, but the entropy does not: leave the rounding out.",
            _of_shares(lambda p: (p * (-p.log2()).ceil()).sum()),
        ),
    ),
    hints=(
        "A symbol that comes with probability p tells log2(1/p) bits: 1 bit at one half, 2 at a quarter.",
        "The entropy is the mean of these bits over the message: each weighed by its p, and all added up.",
        "p is counts / counts.sum(). Keep p[p > 0] only: what never comes adds nothing, and log2(0) has no value.",
    ),
    rtol=1e-5,
    atol=1e-6,  # float32
)

# ------------------------------------------------------------------------------ Huffman's lengths


def code_lengths(counts):
    import heapq

    lengths = [0] * len(counts)
    nodes = [(count, [symbol]) for symbol, count in enumerate(counts) if count > 0]
    if len(nodes) == 1:
        lengths[nodes[0][1][0]] = 1
    heapq.heapify(nodes)
    while len(nodes) > 1:
        (a, left), (b, right) = heapq.heappop(nodes), heapq.heappop(nodes)
        for symbol in left + right:
            lengths[symbol] += 1
        heapq.heappush(nodes, (a + b, left + right))
    return lengths


_ALPHABETS = (
    [5, 1, 2, 1],
    [9, 0, 4, 0, 3, 1],
    [10, 10, 10, 10, 1],
    [1, 1, 2, 3, 5, 8, 13],
    [0, 6, 0],
    [30, 12, 25, 3, 11, 9, 10],
    [7, 7],
    [15, 7, 6, 6, 5],  # cutting from the top (Shannon and Fano) takes 89 bits, Huffman 87
    [2, 1, 1, 2],  # two best codes: lengths 2 2 2 2, and 1 3 3 2
)


def _lengths_trial(fn):
    """What all of Huffman's codes have in common, whichever of equal nodes were joined first."""
    result = []
    for counts in _ALPHABETS:
        lengths = list(fn(list(counts)))
        bits = sum(count * length for count, length in zip(counts, lengths))
        room = sum(2.0**-length for count, length in zip(counts, lengths) if count)
        unused = sum(length for count, length in zip(counts, lengths) if not count)
        result.append([float(bits), room, float(unused)])
    return result


def _lengths_by_constriction(counts):
    import constriction

    used = [symbol for symbol, count in enumerate(counts) if count]
    lengths = [0] * len(counts)
    if len(used) == 1:
        lengths[used[0]] = 1
        return lengths
    tree = constriction.symbol.huffman.EncoderHuffmanTree(np.array([counts[symbol] for symbol in used], np.float64))
    for i, symbol in enumerate(used):
        coder = constriction.symbol.QueueEncoder()
        coder.encode_symbol(i, tree)
        lengths[symbol] = coder.get_compressed()[1]
    return lengths


def _joined(take=heapq.nsmallest, together=lambda a, b: a + b, keep=lambda count: count > 0, alone=1, step=1):
    """Huffman's lengths with one thing exchanged."""

    def code_lengths(counts):
        lengths = [0] * len(counts)
        nodes = [(count, [symbol]) for symbol, count in enumerate(counts) if keep(count)]
        if len(nodes) == 1:
            lengths[nodes[0][1][0]] = alone
        while len(nodes) > 1:
            two = take(2, nodes)
            nodes = [node for node in nodes if not any(node is one for one in two)]
            (a, left), (b, right) = two
            for symbol in left + right:
                lengths[symbol] += step
            nodes.append((together(a, b), left + right))
        return lengths

    return code_lengths


def _per_symbol(length):
    """length(count, total, how many occur, rank from the most frequent): bits of a symbol that occurs."""

    def code_lengths(counts):
        used = sorted((symbol for symbol, count in enumerate(counts) if count), key=lambda s: -counts[s])
        ranks = {symbol: rank for rank, symbol in enumerate(used)}
        n = len(used)
        return [length(c, sum(counts), n, ranks[s]) if c else 0 for s, c in enumerate(counts)]

    return code_lengths


def _from_the_top(counts):
    """Shannon and Fano: cut the sorted symbols into two halves as equally frequent as can be, and so on."""
    lengths = [int(count > 0 and count == sum(counts)) for count in counts]

    def cut(symbols):
        if len(symbols) > 1:
            total = sum(counts[s] for s in symbols)
            first = min(range(1, len(symbols)), key=lambda n: abs(total - 2 * sum(counts[s] for s in symbols[:n])))
            for symbol in symbols:
                lengths[symbol] += 1
            cut(symbols[:first])
            cut(symbols[first:])

    cut(sorted((symbol for symbol, count in enumerate(counts) if count), key=lambda symbol: -counts[symbol]))
    return lengths


def _in_line(counts):
    """The nodes are sorted once, and a joined one goes to the end of the line."""
    nodes = sorted((count, [symbol]) for symbol, count in enumerate(counts) if count)
    lengths = [int(len(nodes) == 1 and count > 0) for count in counts]
    while len(nodes) > 1:
        (a, left), (b, right), *nodes = nodes
        for symbol in left + right:
            lengths[symbol] += 1
        nodes.append((a + b, left + right))
    return lengths


def _one_side(counts):
    lengths = [0] * len(counts)
    nodes = sorted((count, [symbol]) for symbol, count in enumerate(counts) if count)
    if len(nodes) == 1:
        lengths[nodes[0][1][0]] = 1
    while len(nodes) > 1:
        (a, left), (b, right), *rest = nodes
        for symbol in left:
            lengths[symbol] += 1
        nodes = sorted([*rest, (a + b, left + right)])
    return lengths


shortest = Exercise(
    key="51/huffman",
    title="Huffman's code lengths",
    solution=code_lengths,
    trial=_lengths_trial,
    expected=lambda: _lengths_trial(_lengths_by_constriction),
    mistakes=(
        Mistake(
            "The two most frequent nodes are joined first, so frequent symbols get long codes: join the two rarest.",
            _joined(take=heapq.nlargest),
        ),
        Mistake("A symbol that is alone gets 0 bits here: nothing would be written. Give it 1 bit.", _joined(alone=0)),
        Mistake(
            "Symbols that never come get codes too and make others longer: leave counts of 0 out, their length is 0.",
            _joined(keep=lambda count: True),
        ),
        Mistake(
            "A joined node goes back with the larger of the two counts: it comes as often as both together, a + b.",
            _joined(together=max),
        ),
        Mistake(
            "A joined node is joined again at once, as if it were still the rarest: it comes as often as both "
            "together, a + b, and must be sorted in by that.",
            _joined(together=min),
        ),
        Mistake(
            "The nodes are joined in the order of the list: look for the two rarest each time, joined ones included.",
            _joined(take=lambda n, nodes: nodes[:n]),
        ),
        Mistake("The nodes are sorted only at the beginning: sort a joined node in by its count, a + b.", _in_line),
        Mistake(
            "This cuts the symbols into two equal halves from the top (Shannon and Fano): good, but not always the "
            "best. Join the two rarest nodes from below.",
            _from_the_top,
        ),
        Mistake(
            "These lengths are log2(1/p), rounded up (Shannon's code): too long by less than a bit, but not the best.",
            _per_symbol(lambda count, total, n, rank: max(1, math.ceil(math.log2(total / count)))),
        ),
        Mistake(
            "These are fixed lengths: frequent symbols must get shorter codes than rare ones.",
            _per_symbol(lambda count, total, n, rank: max(1, math.ceil(math.log2(n)))),
        ),
        Mistake(
            "Each symbol gets one bit more than the more frequent one before it, which suits only counts that fall by "
            "half each time: join the two rarest nodes instead.",
            _per_symbol(lambda count, total, n, rank: rank + 1),
        ),
        Mistake(
            "Only the symbols of one of the two nodes get a bit more: joining makes the codes on both sides longer.",
            _one_side,
        ),
    ),
    hints=(
        "Keep a list of nodes (count, symbols below it); at first each symbol that occurs is a node of its own.",
        "Take out the two with the smallest counts, add 1 to the length of every symbol below them, and put the joined "
        "node (a + b, left + right) back. heapq.heappop and heapq.heappush find the smallest for you.",
        "Stop when one node is left. If there was one only from the start, its symbol gets length 1.",
    ),
    rtol=0,
    atol=1e-9,  # whole numbers and sums of powers of two
)
