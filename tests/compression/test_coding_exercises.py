"""The checkers of lesson 51's coding: right answers pass, wrong ones, as learners have them, are named."""

import itertools

import numpy as np
import torch

from compresslab.compression import huffman
from compresslab.compression.exercises.coding import information

# --- right answers that do not look like the solutions


def gaps_in_a_loop(weight):
    gaps, zeros = [], 0
    for value in weight.flatten().tolist():
        if value == 0:
            zeros += 1
        else:
            gaps.append(zeros)
            zeros = 0
    return torch.tensor(gaps)


def gaps_in_numpy(weight):
    return torch.from_numpy(np.diff(np.flatnonzero(weight.numpy()), prepend=-1) - 1)


def gaps_by_diff(weight):
    return torch.where(weight.reshape(-1) != 0)[0].diff(prepend=torch.tensor([-1])).sub(1)


def gaps_in_32_bits(weight):
    return gaps_in_numpy(weight).int()


def entropy_in_python(counts):
    return huffman.entropy_bits(counts.tolist())


def entropy_in_torch(counts):
    return torch.distributions.Categorical(probs=counts / counts.sum()).entropy() / np.log(2)


def entropy_by_nansum(counts):
    p = counts / counts.sum()
    return torch.nansum(p * torch.log2(1 / p))


def lengths_of_the_library(counts):
    return huffman.code_lengths(counts)


def lengths_by_sorting(counts):
    """Ties are broken the other way round: the lengths differ, the message does not."""
    nodes = [(count, {symbol: 0}) for symbol, count in enumerate(counts) if count]
    if len(nodes) == 1:
        nodes[0][1].update(dict.fromkeys(nodes[0][1], 1))
    while len(nodes) > 1:
        nodes.sort(key=lambda node: (-node[0], len(node[1])))
        (a, left), (b, right) = nodes.pop(), nodes.pop()
        nodes.append((a + b, {symbol: n + 1 for symbol, n in itertools.chain(left.items(), right.items())}))
    return [nodes[0][1].get(symbol, 0) for symbol in range(len(counts))]


RIGHT = {
    "51/gaps": [gaps_in_a_loop, gaps_in_numpy, gaps_by_diff, gaps_in_32_bits],
    "51/entropy": [entropy_in_python, entropy_in_torch, entropy_by_nansum],
    "51/huffman": [lengths_of_the_library, lengths_by_sorting],
}


def test_ties_are_really_broken_differently():
    """Else these right answers would not show that every best code passes."""
    counts = [2, 1, 1, 2]
    assert lengths_by_sorting(counts) != huffman.code_lengths(counts)


# --- wrong answers in a learner's own words


def gaps_as_steps(weight):
    positions = [i for i, value in enumerate(weight.flatten().tolist()) if value]
    return torch.tensor([b - a for a, b in zip([-1, *positions], positions)])


def gaps_from_the_second(weight):
    positions = weight.flatten().nonzero()[:, 0]
    return positions[1:] - positions[:-1] - 1


def entropy_of_all(counts):
    p = counts / counts.sum()
    return -torch.sum(p * torch.log2(p))


def entropy_in_nats(counts):
    p = counts[counts != 0] / counts.sum()
    return torch.special.entr(p).sum()


def entropy_in_digits(counts):
    p = counts.double()[counts != 0] / counts.sum()
    return (p * (1 / p).log10()).sum()


def entropy_upside_down(counts):
    p = counts[counts != 0] / counts.sum()
    return p @ p.log2()


def gaps_without_a_reset(weight):
    found, zeros = [], 0
    for value in weight.flatten().tolist():
        if value == 0:
            zeros += 1
        else:
            found.append(zeros)
    return torch.tensor(found)


def gaps_of_the_positive(weight):
    return (weight > 0).flatten().nonzero().flatten().diff(prepend=torch.tensor([-1])) - 1


def lengths_joined_in_front(counts):
    nodes = sorted((count, [symbol]) for symbol, count in enumerate(counts) if count)
    lengths = [int(len(nodes) == 1 and count > 0) for count in counts]
    while len(nodes) > 1:
        (a, left), (b, right) = nodes.pop(0), nodes.pop(0)
        for symbol in left + right:
            lengths[symbol] += 1
        nodes.insert(0, (a + b, left + right))
    return lengths


def lengths_joined_at_the_end(counts):
    nodes = sorted((count, [symbol]) for symbol, count in enumerate(counts) if count)
    lengths = [int(len(nodes) == 1 and count > 0) for count in counts]
    while len(nodes) > 1:
        (a, left), (b, right) = nodes.pop(0), nodes.pop(0)
        for symbol in left + right:
            lengths[symbol] += 1
        nodes.append((a + b, left + right))
    return lengths


def lengths_of_fano(counts):
    def lengths(symbols):
        if len(symbols) < 2:
            return dict.fromkeys(symbols, 0)
        total = sum(counts[s] for s in symbols)
        sides = [(abs(total - 2 * sum(counts[s] for s in symbols[:n])), n) for n in range(1, len(symbols))]
        n = min(sides)[1]
        return {s: 1 + length for half in (symbols[:n], symbols[n:]) for s, length in lengths(half).items()}

    found = lengths(sorted((s for s, count in enumerate(counts) if count), key=lambda s: -counts[s]))
    return [max(1, found[s]) if s in found else 0 for s in range(len(counts))]


def lengths_from_the_top(counts):
    nodes = sorted(((count, [symbol]) for symbol, count in enumerate(counts) if count), reverse=True)
    lengths = [int(len(nodes) == 1 and count > 0) for count in counts]
    while len(nodes) > 1:
        (a, left), (b, right), *nodes = nodes
        for symbol in left + right:
            lengths[symbol] += 1
        nodes = sorted([*nodes, (a + b, left + right)], reverse=True)
    return lengths


WRONG = [
    ("51/gaps", gaps_as_steps, "take 1 from the difference"),
    ("51/gaps", gaps_from_the_second, "The first gap is missing"),
    ("51/gaps", gaps_without_a_reset, "set it back to 0"),
    ("51/gaps", gaps_of_the_positive, "Negative weights are left out"),
    ("51/entropy", entropy_of_all, "0 · log 0, which is nan"),
    ("51/entropy", entropy_in_nats, "These are nats"),
    ("51/entropy", entropy_in_digits, "decimal digits"),
    ("51/entropy", entropy_upside_down, "The sign is turned"),
    ("51/huffman", lengths_from_the_top, "join the two rarest"),
    ("51/huffman", lengths_joined_in_front, "joined again at once"),
    ("51/huffman", lengths_joined_at_the_end, "sorted only at the beginning"),
    ("51/huffman", lengths_of_fano, "Shannon and Fano"),
]


def test_rare_symbols_count_too():
    def entropy_with_a_floor(counts):
        p = counts / counts.sum()
        return -(p * p.clamp(min=1e-3).log2()).sum()

    assert not information.check(entropy_with_a_floor)
