"""Lesson 60: attention that leaves out padding, and one head cut out of it."""

import torch
import torch.nn.functional as F

from ...lesson import Exercise, Mistake

# ------------------------------------------------------------------------------ padding


def attention(q, k, v, padding):
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    scores = scores.masked_fill(padding[:, None, None, :], -torch.inf)
    return scores.softmax(-1) @ v


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _qkv(n, heads, tokens, d):
    return tuple(_normal(n, heads, tokens, d, seed=seed) for seed in range(3))


_SENTENCES = (
    (*_qkv(2, 2, 5, 4), torch.tensor([[0, 0, 0, 1, 1], [0, 0, 0, 0, 1]]).bool()),
    (*_qkv(3, 1, 3, 9), torch.tensor([[0, 0, 0], [0, 0, 1], [0, 1, 1]]).bool()),
)


def _attention_trial(fn):
    return [fn(*sentences) for sentences in _SENTENCES]


def _attention_by_torch(q, k, v, padding):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=~padding[:, None, None, :])


def _attend(fill=-torch.inf, mask=lambda p: p[:, None, None, :], scale=lambda d: d**-0.5, dim=-1, after=None):
    """The solution with one thing exchanged; `after(weights, mask)` masks what comes out of a plain softmax."""

    def attention(q, k, v, padding):
        scores = q @ k.transpose(-2, -1) * scale(q.shape[-1])
        out = mask(padding)
        if after:
            return after(scores.softmax(dim), out) @ v
        return scores.masked_fill(out, fill).softmax(dim) @ v

    return attention


def _nothing(padding):
    return torch.zeros_like(padding)[:, None, None, :]


_ROWS = (
    "Rows were masked in the place of columns: it is the key that may be padding, the last dimension of the scores, so "
    "use padding[:, None, None, :]."
)
_BOTH = (
    "Rows were masked beside the columns: a row of -inf alone has no softmax. Mask the columns; what a padded token "
    "reads is read by nobody."
)
_PLUS = "+inf gives the padding all the weight: set its scores to -inf."

padded = Exercise(
    key="60/padding",
    title="Attention that leaves out padding",
    solution=attention,
    trial=_attention_trial,
    expected=lambda: _attention_trial(_attention_by_torch),
    mistakes=(
        Mistake(
            "The padding was masked after the softmax: the weights that are left no longer sum to 1. Mask the scores.",
            _attend(after=lambda weights, out: weights.masked_fill(out, 0)),
        ),
        Mistake(
            "Padded scores were set to 0, and e⁰ = 1 is a weight like others: set them to -inf, whose e^ is 0.",
            _attend(fill=0.0),
        ),
        Mistake(_ROWS, _attend(mask=lambda p: p[:, None, :, None])),
        Mistake(_ROWS, _attend(mask=lambda p: p[:, None, :, None], fill=-1e9)),
        Mistake(_ROWS, _attend(mask=lambda p: p[:, None, :, None], after=lambda weights, out: weights * ~out)),
        Mistake(_BOTH, _attend(mask=lambda p: p[:, None, :, None] | p[:, None, None, :])),
        Mistake(
            "The mask is turned over: padding is True where there is nothing to read.",
            _attend(mask=lambda p: ~p[:, None, None, :]),
        ),
        Mistake("The mask is not used: padded tokens are read like words.", _attend(mask=_nothing)),
        Mistake("Divide the scores by √d, the root of the last dimension of q.", _attend(scale=lambda d: 1.0)),
        Mistake("The scores were divided by d: the root, √d, is enough.", _attend(scale=lambda d: 1 / d)),
        Mistake("The scores were multiplied by √d: divide by it.", _attend(scale=lambda d: d**0.5)),
        Mistake(
            "The softmax runs over the queries: it must run over the keys, dim=-1, so that each row sums to 1.",
            _attend(dim=-2),
        ),
        Mistake(_PLUS, _attend(fill=1e9)),
        Mistake(_PLUS, _attend(fill=torch.inf)),
    ),
    hints=(
        "The scores q @ k.transpose(-2, -1) / √d have the shape (n, heads, queries, keys).",
        "padding is (n, tokens). padding[:, None, None, :] fits the keys, for all heads and all queries.",
        "scores.masked_fill(mask, -torch.inf) before softmax(-1): e^(-inf) is 0, and the others still sum to 1.",
    ),
    rtol=1e-5,
    atol=1e-6,  # float32
)

# ------------------------------------------------------------------------------ one head less


def without_head(layers, head, size):
    (q, qb), (k, kb), (v, vb), (o, ob) = (layers[name] for name in "qkvo")
    stay = torch.ones(len(q), dtype=torch.bool)
    stay[head * size : (head + 1) * size] = False
    return {"q": (q[stay], qb[stay]), "k": (k[stay], kb[stay]), "v": (v[stay], vb[stay]), "o": (o[:, stay], ob)}


def _layers(heads, size, seed):
    width = heads * size
    return {
        name: (_normal(width, width, seed=seed + i), _normal(width, seed=seed + 10 + i))
        for i, name in enumerate("qkvo")
    }


_MODULES = ((_layers(3, 2, seed=0), 1, 2), (_layers(4, 3, seed=20), 0, 3), (_layers(2, 4, seed=40), 1, 4))


def _outputs(layers, x, size, read=None):
    """What attention with these layers gives; of the heads in `read` alone, where given."""
    q, k, v = (F.linear(x, *layers[name]).unflatten(-1, (-1, size)).transpose(1, 2) for name in "qkv")
    heads = F.scaled_dot_product_attention(q, k, v)
    if read is not None:
        heads = heads * torch.tensor(read)[:, None, None]
    return F.linear(heads.transpose(1, 2).flatten(2), *layers["o"])


def _head_trial(fn):
    """The outputs of the smaller attention for three tokens; nan if its layers do not fit together."""
    results = []
    for layers, head, size in _MODULES:
        small = fn(layers, head, size)
        try:
            results.append(_outputs(small, _normal(1, 3, len(layers["o"][1]), seed=99), size))
        except RuntimeError:
            results.append(torch.tensor(torch.nan))
    return results


def _head_by_zeros():
    """The outputs of the whole attention, with what the head gives multiplied by 0."""
    results = []
    for layers, head, size in _MODULES:
        width = len(layers["o"][1])
        read = [float(h != head) for h in range(width // size)]
        results.append(_outputs(layers, _normal(1, 3, width, seed=99), size, read))
    return results


def _without(rows="qkv", biases="qkv", columns="o", where=None):
    """The solution for other tensors, or for the positions where(head, size, heads) in the place of the head's own."""

    def without_head(layers, head, size):
        n = len(layers["q"][0])
        stay = torch.ones(n, dtype=torch.bool)
        stay[where(head, size, n // size) if where else slice(head * size, (head + 1) * size)] = False
        result = {}
        for name, (weight, bias) in layers.items():
            weight = weight[stay] if name in rows else weight
            weight = weight[:, stay] if name in columns else weight
            result[name] = weight, bias[stay] if name in biases else bias
        return result

    return without_head


def _zeroed(layers, head, size):
    gone = slice(head * size, (head + 1) * size)
    layers = {name: (weight.clone(), bias.clone()) for name, (weight, bias) in layers.items()}
    for name in "qkv":
        layers[name][0][gone] = 0
        layers[name][1][gone] = 0
    layers["o"][0][:, gone] = 0
    return layers


smaller = Exercise(
    key="60/one-head-less",
    title="One head less",
    solution=without_head,
    trial=_head_trial,
    expected=_head_by_zeros,
    mistakes=(
        Mistake(
            "Rows of o were cut: o reads the heads side by side, so a head is in its columns, o[:, stay].",
            _without(rows="qkvo", columns=""),
        ),
        Mistake(
            "Rows of o were cut, and its bias with them: a head is in the columns of o, and the bias stays whole.",
            _without(rows="qkvo", biases="qkvo", columns=""),
        ),
        Mistake("The biases of q, k and v are as long as before: each loses the head's entries.", _without(biases="")),
        Mistake("The bias of o was cut: it adds to the outputs, whose number stays.", _without(biases="qkvo")),
        Mistake("o is as wide as before: it must lose the columns that read the head.", _without(columns="")),
        Mistake("v still has the head's rows: query, key and value all lose them.", _without(rows="qk", biases="qk")),
        Mistake(
            "Columns of q, k and v were cut: these read the input, which stays. A head is in the rows.",
            _without(rows="", columns="qkvo"),
        ),
        Mistake(
            "Columns of q, k and v were cut: these read the input, which stays. A head is in rows and in biases.",
            _without(rows="", biases="", columns="qkvo"),
        ),
        Mistake(
            "These rows belong to the next head: heads are counted from 0, so head h starts at h * size.",
            _without(where=lambda head, size, heads: slice((head + 1) % heads * size, ((head + 1) % heads + 1) * size)),
        ),
        Mistake(
            "These rows belong to another head: heads are counted from 0, so head h starts at h * size.",
            _without(where=lambda head, size, heads: slice((head - 1) % heads * size, ((head - 1) % heads + 1) * size)),
        ),
        Mistake(
            "One row of every head was taken: the rows of one head lie together, from head * size on.",
            _without(where=lambda head, size, heads: slice(head, None, heads)),
        ),
        Mistake(
            "The slice starts at `head` itself: head h starts at row h * size.",
            _without(where=lambda head, size, heads: slice(head, head + size)),
        ),
        Mistake("The head was set to zero: cut it out, so that the tensors are smaller.", _zeroed),
        Mistake(
            "Only this head is left: it is the one to go, the others stay.",
            _without(where=lambda head, size, heads: [i for i in range(heads * size) if i // size != head]),
        ),
        Mistake(
            "One row too many goes: a slice ends before its end, so the head is head * size : (head + 1) * size.",
            _without(where=lambda head, size, heads: slice(head * size, (head + 1) * size + 1)),
        ),
        Mistake(
            "One row too few goes: a slice ends before its end, so the head is head * size : (head + 1) * size.",
            _without(where=lambda head, size, heads: slice(head * size, (head + 1) * size - 1)),
        ),
    ),
    hints=(
        "q, k and v make the heads: rows head * size to (head + 1) * size of their weights, and of their biases.",
        "o reads the heads side by side: the same positions, but as columns, o[:, stay]. Its bias stays.",
        "Let stay be a bool tensor of ones, as long as q has rows, with the head's positions set to False.",
    ),
    rtol=1e-4,
    atol=1e-5,  # float32, sums of some tens of products
)
