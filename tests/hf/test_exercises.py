"""The checkers of lesson 60: right answers pass, wrong ones, as learners have them, are named."""

import copy

import torch
import torch.nn.functional as F
from torch import nn

# --- right answers that do not look like the solutions


def patches_by_loops(images, size):
    n, _, height, width = images.shape
    corners = [(row, column) for row in range(0, height, size) for column in range(0, width, size)]
    return torch.stack([images[:, :, r : r + size, c : c + size].reshape(n, -1) for r, c in corners], dim=1)


def patches_by_convolution(images, size):
    channels = images.shape[1]
    one = torch.eye(channels * size * size).reshape(-1, channels, size, size)
    return F.conv2d(images, one, stride=size).flatten(2).mT


def patches_by_unfolding(images, size):
    grid = images.unfold(2, size, size).unfold(3, size, size)  # n, channels, rows, columns, size, size
    return grid.flatten(2, 3).transpose(1, 2).flatten(2)


def block_by_layers(width, heads, neurons):
    layers = [nn.Linear(width, width, device="meta") for _ in range(4)]
    layers += [nn.Linear(width, neurons, device="meta"), nn.Linear(neurons, width, device="meta")]
    layers += [nn.LayerNorm(width, device="meta") for _ in range(2)]
    return sum(p.numel() for layer in layers for p in layer.parameters())


def block_closed_form(width, heads, neurons):
    return 4 * width**2 + 2 * width * neurons + 9 * width + neurons


def attention_by_hand(q, k, v, padding):
    powers = (torch.einsum("nhqd,nhkd->nhqk", q, k) / q.shape[-1] ** 0.5).exp() * ~padding[:, None, None]
    return torch.einsum("nhqk,nhkd->nhqd", powers / powers.sum(-1, keepdim=True), v)


def attention_with_large_number(q, k, v, padding):
    scores = q @ k.mT / q.shape[-1] ** 0.5 - 1e9 * padding.float()[:, None, None, :]
    return F.softmax(scores, dim=-1) @ v


def attention_renormalised(q, k, v, padding):
    weights = F.softmax(q @ k.mT / q.shape[-1] ** 0.5, -1) * ~padding[:, None, None, :]
    return weights / weights.sum(-1, keepdim=True) @ v


def head_by_cat(layers, head, size):
    def rest(tensor):
        return torch.cat([tensor[: head * size], tensor[(head + 1) * size :]])

    small = {name: tuple(map(rest, layers[name])) for name in "qkv"}
    return small | {"o": (rest(layers["o"][0].T).T, layers["o"][1])}


def head_by_blocks(layers, head, size):
    small = {}
    for name in ("q", "k", "v"):
        heads = [pair for h, pair in enumerate(zip(*(part.split(size) for part in layers[name]))) if h != head]
        small[name] = [torch.cat(part) for part in zip(*heads)]
    columns = [block for h, block in enumerate(layers["o"][0].split(size, dim=1)) if h != head]
    return {**small, "o": (torch.hstack(columns), layers["o"][1])}


RIGHT = {
    "60/patches": [patches_by_loops, patches_by_convolution, patches_by_unfolding],
    "60/block-parameters": [block_by_layers, block_closed_form],
    "60/padding": [attention_by_hand, attention_with_large_number, attention_renormalised],
    "60/one-head-less": [head_by_cat, head_by_blocks],
}

# --- wrong answers


def swapped(images):
    return images.transpose(2, 3)


def channels_side_by_side(images, size):
    grid = images.unfold(2, size, size).unfold(3, size, size)
    return grid.permute(0, 2, 3, 4, 5, 1).flatten(1, 2).flatten(2)


def inside_transposed(images, size):
    grid = images.unfold(2, size, size).unfold(3, size, size)
    return grid.transpose(4, 5).flatten(2, 3).transpose(1, 2).flatten(2)


def a_token_for_each_channel(images, size):
    return images.unfold(2, size, size).unfold(3, size, size).flatten(1, 3).flatten(2).reshape(
        len(images), -1, images.shape[1] * size * size
    )  # fmt: skip


def block(attention, feed_forward, norms):
    def block_parameters(width, heads, neurons):
        return attention(width, heads) + feed_forward(width, neurons) + norms * width

    return block_parameters


def linear(a, b):
    return a * b + b


def four(width, heads):
    return 4 * linear(width, width)


def both(width, neurons):
    return linear(width, neurons) + linear(neurons, width)


def attend(prepare=None, after=None, scale=0.5, dim=-1):
    def attention(q, k, v, padding):
        scores = q @ k.mT / q.shape[-1] ** scale
        weights = torch.softmax(prepare(scores, padding) if prepare else scores, dim)
        return (after(weights, padding) if after else weights) @ v

    return attention


def keys(scores, padding):
    return scores.masked_fill(padding[:, None, None, :], -torch.inf)


def attention_in_place(q, k, v, padding):
    return attention_with_large_number(q.div_(1.0), k, v.masked_fill_(padding[:, None, :, None], 0), padding)


def head(change):
    """head_by_cat on a copy, then `change(small, layers, head, size)`."""

    def without_head(layers, head, size):
        small = head_by_cat(layers, head, size)
        change(small, layers, head, size)
        return small

    return without_head


def rest(tensor, head, size):
    return torch.cat([tensor[: head * size], tensor[(head + 1) * size :]])


def with_shorter_bias(small, layers, head, size):
    small["o"] = small["o"][0], rest(layers["o"][1], head, size)


def head_of_another(layers, head, size):
    heads = len(layers["q"][0]) // size
    return head_by_cat(layers, (head + 1) % heads, size)


def head_in_place(layers, head, size):
    small = head_by_cat(layers, head, size)
    layers["q"][0].zero_()
    return small


def head_in_the_given_dict(layers, head, size):
    layers.update(head_by_cat(layers, head, size))
    return layers


def head_columns_everywhere(layers, head, size):
    return {
        name: (rest(w.T, head, size).T, b if name == "o" else rest(b, head, size)) for name, (w, b) in layers.items()
    }


WRONG = [
    ("60/patches", lambda images, size: images.view(len(images), -1, images.shape[1] * size**2), "reshape alone"),
    ("60/patches", lambda images, size: patches_by_loops(swapped(images), size), "All is transposed"),
    (
        "60/patches",
        lambda images, size: inside_transposed(swapped(images), size),
        "down the columns",
    ),
    ("60/patches", inside_transposed, "inside a patch are transposed"),
    ("60/patches", channels_side_by_side, "side by side"),
    ("60/patches", a_token_for_each_channel, "tokens of its own"),
    ("60/patches", lambda images, size: patches_by_loops(images, size).mT, "changed places"),
    ("60/patches", lambda images, size: F.unfold(images, size).mT, "overlap"),
    (
        "60/patches",
        lambda images, size: patches_by_loops(images, size).unflatten(1, (-1, images.shape[3] // size)),
        "as one list",
    ),
    ("60/patches", lambda images, size: patches_by_loops(images, size).flip(1), "expected"),
    ("60/patches", lambda images, size: patches_by_loops(images, size).tolist(), "expected a tensor"),
    ("60/block-parameters", lambda width, heads, neurons: 4 * width**2 + 2 * width * neurons + 4 * width, "biases are"),
    ("60/block-parameters", lambda width, heads, neurons: 4 * width**2 + 2 * width * neurons, "alone"),
    ("60/block-parameters", block(four, lambda w, n: 2 * w * n, 4), "two feed-forward layers are missing"),
    ("60/block-parameters", block(lambda w, h: 4 * w * w, both, 4), "attention's four layers"),
    ("60/block-parameters", block(four, both, 0), "or the two layer norms"),
    ("60/block-parameters", block(four, both, 2), "each has a scale and a shift"),
    ("60/block-parameters", block(lambda w, h: 3 * linear(w, w), both, 4), "output projection is missing"),
    ("60/block-parameters", block(lambda w, h: linear(w, w), both, 4), "here is one"),
    ("60/block-parameters", block(lambda w, h: 2 * linear(w, w), both, 4), "has four"),
    ("60/block-parameters", block(lambda w, h: 4 * h * linear(w, w), both, 4), "share the width"),
    (
        "60/block-parameters",
        block(lambda w, h: 3 * linear(w, w) // h + linear(w, w), both, 4),
        "share the width",
    ),
    ("60/block-parameters", block(four, lambda w, n: linear(w, n), 4), "two layers: width to neurons"),
    ("60/block-parameters", block(four, lambda w, n: 2 * linear(w, n), 4), "not neurons"),
    ("60/block-parameters", lambda width, heads, neurons: 12 * width**2, "expected"),
    ("60/padding", attend(after=lambda w, p: w * ~p[:, None, None, :]), "after the softmax"),
    ("60/padding", attend(lambda s, p: s * ~p[:, None, None, :]), "set to 0"),
    ("60/padding", attend(lambda s, p: s.masked_fill(p[:, None, :, None], -torch.inf)), "Rows were masked in"),
    ("60/padding", attend(lambda s, p: s - 1e9 * p[:, None, :, None].float()), "Rows were masked in"),
    (
        "60/padding",
        attend(lambda s, p: s.masked_fill(p[:, None, :, None] | p[:, None, None], -torch.inf)),
        "Rows were masked beside",
    ),
    ("60/padding", attend(lambda s, p: s.masked_fill(~p[:, None, None], -torch.inf)), "turned over"),
    ("60/padding", attend(), "not used"),
    ("60/padding", attend(keys, scale=0), "root of the last dimension"),
    ("60/padding", attend(keys, scale=1), "is enough"),
    ("60/padding", attend(keys, scale=-0.5), "multiplied"),
    ("60/padding", attend(keys, dim=-2), "over the queries"),
    (
        "60/padding",
        lambda q, k, v, padding: attend()(q, k, v * ~padding[:, None, :, None], padding),
        "after the softmax",
    ),
    ("60/padding", attend(lambda s, p: s + 1e9 * p[:, None, None]), "+inf"),
    ("60/padding", attend(lambda s, p: s.masked_fill(p[:, None, None], torch.inf)), "+inf"),
    ("60/padding", lambda q, k, v, padding: torch.zeros_like(q), "expected"),
    ("60/padding", attention_in_place, "in place"),
    (
        "60/one-head-less",
        head(lambda small, old, h, s: small.update(o=(rest(old["o"][0], h, s), old["o"][1]))),
        "Rows of o",
    ),
    (
        "60/one-head-less",
        lambda layers, head, size: {n: tuple(rest(t, head, size) for t in pair) for n, pair in layers.items()},
        "Rows of o",
    ),
    (
        "60/one-head-less",
        head(lambda small, old, h, s: small.update({n: (small[n][0], old[n][1]) for n in "qkv"})),
        "biases of q, k and v",
    ),
    ("60/one-head-less", head(with_shorter_bias), "bias of o"),
    ("60/one-head-less", head(lambda small, old, h, s: small.update(o=old["o"])), "as wide as before"),
    ("60/one-head-less", head(lambda small, old, h, s: small.update(v=old["v"])), "v still has"),
    ("60/one-head-less", head_columns_everywhere, "Columns of q, k and v"),
    ("60/one-head-less", head_of_another, "another head|next head"),
    ("60/one-head-less", lambda layers, head, size: head_by_cat(layers, 0, size), "expected"),
    ("60/one-head-less", lambda layers, head, size: copy.deepcopy(layers), "expected"),
    ("60/one-head-less", head_in_place, "in place"),
    ("60/one-head-less", head_in_the_given_dict, "in place"),
]  # fmt: skip
