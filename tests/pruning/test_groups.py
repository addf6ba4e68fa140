"""Groups against membership written down by hand; the criteria against sums and finite differences."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compresslab import models
from compresslab.pruning import criteria
from compresslab.pruning.dependencies import groups
from compresslab.pruning.masks import mask_, masks_of
from compresslab.pruning.structures import CRITERIA, importance, structure_masks


def image(size=8):
    return torch.zeros(1, 1, size, size)


def found(model, example_inputs, **settings):
    """{group: (kind, size, {parameter/dimension: positions a structure})}."""
    return {
        group.name: (group.kind, group.size, {f"{m.name}/{m.dim}": m.index.shape[1] for m in group.members})
        for group in groups(model, example_inputs, **settings)
    }


def owned(text, positions=1):
    return dict.fromkeys(text.split(), positions)


def conv_bn(conv, norm):
    return f"{conv}.weight/0 {norm}.weight/0 {norm}.bias/0 "


def resnet20_by_hand():
    """Blocks 3 to 11; a stage's channels are those of all its shortcuts, so they go together."""
    inner = {
        f"{i}.body.0": ("channel", size, owned(conv_bn(f"{i}.body.0", f"{i}.body.1") + f"{i}.body.3.weight/1"))
        for i, size in zip(range(3, 12), [16] * 3 + [32] * 3 + [64] * 3)
    }
    ends = {i: conv_bn(f"{i}.body.3", f"{i}.body.4") for i in range(3, 12)}
    entry = {i: f"{i}.body.0.weight/1 {i}.shortcut.0.weight/1 " for i in (6, 9)}
    turn = {i: conv_bn(f"{i}.shortcut.0", f"{i}.shortcut.1") for i in (6, 9)}
    reads = {i: f"{i}.body.0.weight/1 " for i in range(3, 12)}
    first = conv_bn("0", "1") + "".join(reads[i] + ends[i] for i in (3, 4, 5)) + entry[6]
    second = turn[6] + ends[6] + "".join(reads[i] + ends[i] for i in (7, 8)) + entry[9]
    third = turn[9] + ends[9] + "".join(reads[i] + ends[i] for i in (10, 11)) + "14.weight/1"
    stages = {"0": (16, first), "6.body.3": (32, second), "9.body.3": (64, third)}
    return inner | {name: ("channel", size, owned(text)) for name, (size, text) in stages.items()}


def transformer_by_hand():
    known = {}
    for block in ("blocks.0", "blocks.1"):
        rows = [f"{block}.attention.{part}.{end}/0" for part in ("query", "key", "value") for end in ("weight", "bias")]
        known[f"{block}.attention.query"] = ("head", 4, dict.fromkeys([*rows, f"{block}.attention.out.weight/1"], 8))
        text = f"{block}.mlp.0.weight/0 {block}.mlp.0.bias/0 {block}.mlp.2.weight/1"
        known[f"{block}.mlp.0"] = ("neuron", 64, owned(text))
    return known


BY_HAND = {
    "mlp": (
        models.mlp((64, 32, 16, 10)),
        image(),
        {
            "1": ("neuron", 32, owned("1.weight/0 1.bias/0 3.weight/1")),
            "3": ("neuron", 16, owned("3.weight/0 3.bias/0 5.weight/1")),
        },
    ),
    "lenet5": (
        models.lenet5(),
        image(28),
        {
            "0": ("channel", 20, owned("0.weight/0 0.bias/0 3.weight/1")),
            "3": ("channel", 50, owned("3.weight/0 3.bias/0") | {"7.weight/1": 16}),  # 4 x 4 pixels a channel
            "7": ("neuron", 500, owned("7.weight/0 7.bias/0 9.weight/1")),
        },
    ),
    "resnet20": (models.resnet20(), image(), resnet20_by_hand()),
    "depthwise": (
        models.depthwise(),
        image(),
        {
            **{
                str(i): (
                    "channel",
                    size,
                    owned(conv_bn(i, i + 1) + conv_bn(i + 3, i + 4) + f"{i + 6}.weight/1"),
                )
                for i, size in [(0, 16), (6, 32), (12, 32), (18, 64)]
            },
            "24": ("channel", 64, owned(conv_bn(24, 25) + "29.weight/1")),
        },
    ),
    "tiny_rnn": (
        models.tiny_rnn(),
        image(),
        {
            "input": (
                "neuron",
                32,
                owned("input.weight/0 input.bias/0 recurrent.weight/0 recurrent.weight/1 output.weight/1"),
            )
        },
    ),
    "tiny_transformer": (models.tiny_transformer(), image(), transformer_by_hand()),
}


@pytest.mark.parametrize("model, x, expected", BY_HAND.values(), ids=BY_HAND)
def test_what_falls_together(model, x, expected):
    got = found(model, x)
    assert got == expected
    order = [name for name, _ in model.named_modules()]
    assert list(got) == sorted(got, key=order.index)  # in the order of the layers, whatever the graph's


def test_positions_by_hand():
    lenet = {group.name: group.members for group in groups(models.lenet5(), image(28))}
    for structure in (0, 7, 49):
        linear = lenet["3"][-1]
        assert linear.layer == "7" and linear.index[structure].tolist() == list(
            range(16 * structure, 16 * structure + 16)
        )
    for group in groups(models.tiny_transformer(), image()):
        width = 8 if group.kind == "head" else 1
        for member in group.members:
            assert member.index.flatten().tolist() == list(range(width * group.size))
    roles = {member.name: member.role for member in groups(models.depthwise(), image())[0].members}
    producers = [name for name, role in roles.items() if role == "producer"]
    assert producers == ["0.weight", "3.weight"] and roles["6.weight"] == "consumer" and roles["4.bias"] == "norm"


def test_table_says_what_falls_together():
    table = groups(models.lenet5(), image(28))[1].table()
    assert table.to_dict("list") == dict(
        layer=["3", "3", "7"], parameter=["weight", "bias", "weight"], role=["producer", "producer", "consumer"],
        dim=[0, 0, 1], positions=[1, 1, 16],
    )  # fmt: skip


def test_entries_are_the_numbers_of_one_structure():
    model = models.lenet5(seed=0)
    conv, _, linear = groups(model, image(28))[1].members
    assert torch.equal(conv.entries(conv.of(model))[3], model[3].weight[3].flatten())
    columns = model[7].weight[:, 48:64]
    assert torch.equal(linear.entries(linear.of(model))[3].sort().values, columns.flatten().sort().values)


class Net(nn.Module):
    """A forward pass in one line, on layers of any name."""

    def __init__(self, forward, **layers):
        super().__init__()
        self.call = forward
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, *x):
        return self.call(self, *x)


def conv(inputs, outputs, **settings):
    return nn.Conv2d(inputs, outputs, 3, padding=1, **settings)


def mean(x):
    return x.mean((2, 3))


def attention(x, net, heads):
    def split(y):
        return y.unflatten(-1, (heads, -1)).transpose(1, 2)

    mixed = F.scaled_dot_product_attention(split(net.q(x)), split(net.k(x)), split(net.v(x)))
    return net.out(mixed.transpose(1, 2).flatten(2))


def tied(forward):
    net = Net(forward, a=nn.Linear(6, 6), b=nn.Linear(6, 6), o=nn.Linear(6, 3))
    net.b.weight = net.a.weight
    return net


X, TOKENS = torch.zeros(1, 4, 8, 8), torch.zeros(1, 5, 16)
PROJECTIONS = {name: nn.Linear(16, 16) for name in ("q", "k", "v", "out")}
END = nn.Linear(8, 3)
weight_norm = nn.utils.parametrizations.weight_norm

# what: (model, example inputs, the groups that are listed)
UNUSUAL = {
    "a shortcut from the input": (Net(lambda n, x: n.o(mean(x + n.a(x))), a=conv(4, 4), o=nn.Linear(4, 3)), X, []),
    "features that are an output too": (
        Net(lambda n, x: (n.o(mean(h := F.relu(n.a(x)))), h), a=conv(4, 8), o=END), X, [],
    ),
    "softmax over channels": (Net(lambda n, x: n.o(mean(n.a(x).softmax(1))), a=conv(4, 8), o=END), X, []),
    "mean over channels": (
        Net(lambda n, x: n.o(mean((h := n.a(x)) * h.mean(1, keepdim=True))), a=conv(4, 8), o=END), X, [],
    ),
    "a size in the code": (Net(lambda n, x: n.o(n.a(x).view(-1, 512)), a=conv(4, 8), o=nn.Linear(512, 3)), X, []),
    "the size from the tensor": (
        Net(lambda n, x: n.o(n.a(x).view(len(x), -1)), a=conv(4, 8), o=nn.Linear(512, 3)), X, ["a"],
    ),
    "layer norm as a function": (
        Net(lambda n, x: n.o(F.layer_norm(h := mean(n.a(x)), h.shape[1:])), a=conv(4, 8), o=END), X, [],
    ),
    "group norm": (Net(lambda n, x: n.o(mean(n.b(n.a(x)))), a=conv(4, 8), b=nn.GroupNorm(2, 8), o=END), X, []),
    "a slope for each channel": (Net(lambda n, x: n.o(mean(n.b(n.a(x)))), a=conv(4, 8), b=nn.PReLU(8), o=END), X, []),
    "batch norm without scale": (
        Net(lambda n, x: n.o(mean(n.b(n.a(x)))), a=conv(4, 8), b=nn.BatchNorm2d(8, affine=False), o=END), X, [],
    ),
    "grouped convolution": (
        Net(lambda n, x: n.o(mean(n.b(n.a(x)))), a=conv(4, 8), b=conv(8, 8, groups=2), o=END), X, [],
    ),
    "two filters a channel": (
        Net(lambda n, x: n.o(mean(n.b(n.a(x)))), a=conv(4, 4), b=conv(4, 8, groups=4), o=END), X, [],
    ),
    "two channels a filter": (
        Net(lambda n, x: n.o(mean(n.b(n.a(x)))), a=conv(4, 16), b=conv(16, 8, groups=8), o=END), X, [],
    ),
    "transposed convolution": (
        Net(lambda n, x: n.o(mean(n.b(n.a(x)))), a=nn.ConvTranspose2d(4, 6, 2), b=conv(6, 8), o=END), X, ["b"],
    ),
    "shuffled channels": (
        Net(
            lambda n, x: n.o(mean(n.b(n.a(x).unflatten(1, (2, 3)).transpose(1, 2).flatten(1, 2)))),
            a=conv(4, 6), b=conv(6, 8), o=END,
        ), X, ["b"],
    ),
    "channels side by side": (
        Net(
            lambda n, x: n.o(mean(n.b(torch.cat([h := n.a(x), n.c(h), x], 1)))),
            a=conv(4, 6), b=conv(15, 8), c=conv(6, 5), o=END,
        ), X, ["a", "b", "c"],
    ),
    "half of the channels from each of two": (
        Net(
            lambda n, x: n.o(mean(n.b(x) + torch.cat([n.a(x), n.c(x)], 1))),
            a=conv(4, 4), b=conv(4, 8), c=conv(4, 4), o=END,
        ), X, [],
    ),
    "half of the channels from each of two, seen first": (  # two groups would share b
        Net(
            lambda n, x: n.o(mean(F.relu(n.b(x)) + torch.cat([n.a(x), n.c(x)], 1))),
            b=conv(4, 8), a=conv(4, 4), c=conv(4, 4), o=END,
        ), X, [],
    ),
    "squeeze and excite": (
        Net(
            lambda n, x: n.o(mean((h := n.a(x)) * n.e(F.relu(n.s(mean(h)))).sigmoid()[:, :, None, None])),
            a=conv(4, 8), s=nn.Linear(8, 4), e=nn.Linear(4, 8), o=END,
        ), X, ["a", "s"],
    ),
    "another parametrization": (
        Net(lambda n, x: n.o(mean(n.b(n.a(x)))), a=weight_norm(conv(4, 6)), b=conv(6, 8), o=END), X, ["b"],
    ),
    "tied weights": (tied(lambda n, x: n.o(F.relu(n.b(F.relu(n.a(x)))))), torch.zeros(1, 6), []),
    "tied weights side by side": (tied(lambda n, x: n.o(F.relu(n.a(x)) + n.b(x))), torch.zeros(1, 6), []),
    "one layer for two inputs": (
        Net(lambda n, x, y: n.o(torch.cat([n.a(x), n.a(y)], 1)), a=nn.Linear(6, 4), o=END),
        (torch.zeros(1, 6),) * 2, ["a"],
    ),
    "token numbers": (
        Net(lambda n, x: n.o(F.relu(n.a(n.e(x))).mean(1)), e=nn.Embedding(9, 6), a=nn.Linear(6, 8), o=END),
        torch.zeros(1, 5, dtype=torch.long), ["a"],
    ),
    "a recurrent module": (
        Net(lambda n, x: n.o(n.a(x)[0][:, -1]), a=nn.LSTM(16, 8, batch_first=True), o=END), TOKENS, [],
    ),
    "torch's attention module": (
        Net(lambda n, x: n.o(n.b(h := n.a(x), h, h)[0][0]), a=nn.Linear(16, 8), b=nn.MultiheadAttention(8, 2), o=END),
        TOKENS, [],
    ),
    "attention without a name for its heads": (
        Net(lambda n, x: n.o(attention(n.a(x), n, 4).mean(1)), a=nn.Linear(16, 16), o=nn.Linear(16, 3), **PROJECTIONS),
        TOKENS, ["a", "out"],
    ),
    "one head without a name": (  # fewer rows change the factor 1/√d, though every shape fits
        Net(lambda n, x: n.o(attention(n.a(x), n, 1).mean(1)), a=nn.Linear(16, 16), o=nn.Linear(16, 3), **PROJECTIONS),
        TOKENS, ["a", "out"],
    ),
    "float32 in the code": (  # tried in float32 then
        Net(lambda n, x: n.o(n.a(x) + n.b(torch.ones(1, 6))), a=nn.Linear(16, 8), b=nn.Linear(6, 8), o=END),
        torch.zeros(1, 16), ["a"],
    ),
    "one channel": (Net(lambda n, x: n.o(mean(n.a(x))), a=conv(4, 1), o=nn.Linear(1, 3)), X, []),
    "a dict": (Net(lambda n, x: dict(y=n.o(mean(n.a(x))), n=3), a=conv(4, 8), o=END), X, ["a"]),
    "whole numbers": (Net(lambda n, x: n.o(mean(n.a(x))).argmax(1), a=conv(4, 8), o=END), X, []),
}  # fmt: skip


@pytest.mark.parametrize("model, x, expected", UNUSUAL.values(), ids=UNUSUAL)
def test_only_what_can_go_alone_is_listed(model, x, expected):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for module in model.modules():
            getattr(module, "reset_parameters", lambda: None)()
    assert sorted(found(model, x)) == expected


def test_a_model_that_keeps_what_it_computed():
    def forward(n, x):
        n.seen = F.relu(n.a(x))
        return n.o(mean(n.seen))

    model = Net(forward, a=conv(4, 8), o=END)
    assert list(found(model, X)) == ["a"] and not hasattr(model, "seen")


def test_what_torch_pruning_cannot_trace_is_said_in_one_sentence():
    model = Net(lambda n, x: n.o(n.g(n.a(x))[1][0]), a=nn.Linear(16, 8), g=nn.GRU(8, 8, batch_first=True), o=END)
    with pytest.raises(ValueError, match="^model cannot be traced by torch-pruning: IndexError"):
        groups(model, TOKENS)


def test_a_small_fault_is_seen():
    """The factor 1/√d moves the outputs by less than float32 rounds, where the scores before the softmax are small."""
    model, x, expected = UNUSUAL["one head without a name"]
    model = copy.deepcopy(model)
    with torch.no_grad():
        model.q.weight *= 1e-3
        model.k.weight *= 1e-3
    assert sorted(found(model, x)) == expected


def test_a_frozen_model_without_gradients_has_the_same_groups():
    model, x, expected = UNUSUAL["token numbers"]
    model = copy.deepcopy(model).requires_grad_(False)
    with torch.no_grad():
        assert list(found(model, x)) == expected
    assert not any(p.requires_grad for p in model.parameters())


class SelfAttention(nn.Module):
    """As in some libraries: the output projection lies outside, and the attribute has another name."""

    def __init__(self):
        super().__init__()
        self.num_attention_heads, self.q, self.k, self.v, self.out = 4, *PROJECTIONS.values()
        del self.out

    def forward(self, x, out):
        def split(y):
            return y.unflatten(-1, (self.num_attention_heads, -1)).transpose(1, 2)

        mixed = F.scaled_dot_product_attention(split(self.q(x)), split(self.k(x)), split(self.v(x)))
        return out(mixed.transpose(1, 2).flatten(2))


def test_heads_by_another_name():
    net = Net(lambda n, x: n.o(n.a(x, n.out).mean(1)), a=SelfAttention(), out=nn.Linear(16, 8), o=END)
    assert found(net, TOKENS, heads="num_attention_heads")["a.q"][:2] == ("head", 4)
    for heads in ("heads", None):
        assert list(found(net, TOKENS, heads=heads)) == ["out"]
    assert list(found(models.tiny_transformer(), image(), heads=None)) == ["blocks.0.mlp.0", "blocks.1.mlp.0"]


def test_heads_that_do_not_divide():
    model = models.tiny_transformer()
    model.blocks[1].attention.channels = 5
    with pytest.raises(ValueError, match="'channels' beside 'blocks.1.attention.query' must divide its 32 rows, got 5"):
        groups(model, image(), heads="channels")


# ------------------------------------------------------------------------------------------ importance

SMALL = {
    "mlp": lambda: models.mlp((64, 6, 5, 10), seed=0),
    "resnet20": lambda: models.resnet20(2, seed=0),
    "depthwise": lambda: models.depthwise(2, seed=0),
    "tiny_rnn": lambda: models.tiny_rnn(hidden=5, seed=0),
    "tiny_transformer": lambda: models.tiny_transformer(width=8, heads=2, depth=1, seed=0),
}


def shaken(model, seed=0):
    """With batch norms away from 1 and 0."""
    draw = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 2, generator=draw)
            for tensor in (module.bias.data, module.running_mean):
                tensor.uniform_(-1, 1, generator=draw)
    return model


def examples(n=20, dtype=torch.float32):
    draw = torch.Generator().manual_seed(1)
    return torch.rand(n, 1, 8, 8, generator=draw, dtype=dtype), torch.randint(10, (n,), generator=draw)


@pytest.mark.parametrize("build", SMALL.values(), ids=SMALL)
def test_taylor_and_snip_are_the_change_of_the_loss(build):
    """A structure's producers are scaled by 1 ± ε. The central difference errs by ε²/6 times the third derivative,
    about 1e-8, and by rounding, 1e-16 / ε = 1e-12."""
    model, split, step = shaken(build()).double().eval(), examples(dtype=torch.float64), 1e-4
    gradients = criteria.gradients(model, split)

    def loss(group, structure, factor):
        scaled = copy.deepcopy(model)
        with torch.no_grad():
            for member in group.members:
                if member.role == "producer":
                    member.of(scaled)[member.index[structure]] *= factor  # rows: dimension 0
            return F.cross_entropy(scaled(split[0]), split[1]).item()

    for group in groups(model, image().double()):
        slopes = [(loss(group, s, 1 + step) - loss(group, s, 1 - step)) / (2 * step) for s in range(group.size)]
        snip = importance(model, group, "snip", gradients=gradients)
        np.testing.assert_allclose(snip, np.abs(slopes), rtol=1e-6, atol=1e-8)
        taylor = importance(model, group, "taylor", gradients=gradients)
        np.testing.assert_allclose(taylor, np.square(slopes), rtol=1e-6, atol=1e-8)


def test_magnitudes_are_sums_over_the_filters():
    model = shaken(models.resnet20(4, seed=0))
    group = groups(model, image())[0]
    layers = dict(model.named_modules())
    convs = [layers[name].weight.detach() for name in ("0", "3.body.3", "4.body.3", "5.body.3")]
    scales = [layers[name].weight.detach() for name in ("1", "3.body.4", "4.body.4", "5.body.4")]
    for s in range(4):
        assert importance(model, group, "l1")[s].item() == pytest.approx(sum(w[s].abs().sum().item() for w in convs))
        assert importance(model, group, "l2")[s].item() == pytest.approx(sum((w[s] ** 2).sum().item() for w in convs))
        assert importance(model, group, "bn_scale")[s].item() == pytest.approx(sum(abs(g[s].item()) for g in scales))


def test_random_importance_comes_from_the_generator():
    group = groups(models.mlp(), image())[0]
    draws = [importance(None, group, "random", generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert draws[0].shape == (32,) and draws[0].min() > 0


# --------------------------------------------------------------------------------------- structure_masks


def kept_by(masks, group):
    """{structures that stay} by the first producer's mask."""
    rows = masks[group.members[0].name].flatten(1).any(1)[group.members[0].index]
    assert torch.equal(rows.all(1), rows.any(1))
    return set(rows.all(1).nonzero().flatten().tolist())


@pytest.mark.parametrize("criterion", CRITERIA)
def test_local_masks_take_the_lowest_of_each_group_everywhere(criterion):
    model, split = shaken(models.resnet20(4, seed=0)), examples()
    masks = structure_masks(model, image(), 0.5, criterion, split=split, generator=torch.Generator().manual_seed(3))
    gradients, draw = criteria.gradients(model, split), torch.Generator().manual_seed(3)
    expected = {name: torch.ones_like(p, dtype=torch.bool) for name, p in model.named_parameters()}
    for group in groups(model, image()):
        score = importance(model, group, criterion, gradients=gradients, generator=draw)
        for s in np.argsort(score.numpy())[: group.size // 2]:
            for member in group.members:
                for position in member.index[s]:
                    expected[member.name].select(member.dim, position).fill_(False)
    for name, mask in expected.items():
        assert torch.equal(masks.get(name, torch.ones_like(mask)), mask), name


def test_global_masks_take_the_lowest_shares_and_leave_one():
    model = models.mlp((64, 6, 5, 10), seed=0)
    with torch.no_grad():
        model[3].weight *= 0.01  # by its sums alone, this whole layer would go first
    a, b = groups(model, image())
    shares = [(s / s.mean()).tolist() for s in (importance(model, a), importance(model, b))]
    pairs = [(share, layer, s) for layer in (0, 1) for s, share in enumerate(shares[layer])]
    for ratio in (0.2, 0.5, 0.8):  # by brute force
        masks, gone = structure_masks(model, image(), ratio, scope="global"), set()
        for _, layer, s in sorted(pairs):
            left = len(shares[layer]) - sum(g == layer for g, _ in gone)
            if len(gone) < round(ratio * 11) and left > 1:
                gone.add((layer, s))
        for layer, group in enumerate((a, b)):
            assert kept_by(masks, group) == {s for s in range(group.size) if (layer, s) not in gone}


def test_one_ratio_a_group_and_round_to():
    model = models.resnet20(seed=0)
    masks = structure_masks(model, image(), {"0": 0.25, "9.body.3": 0.6}, round_to=8)
    sizes = {
        group.name: len(kept_by(masks, group)) for group in groups(model, image()) if group.name in ("0", "9.body.3")
    }
    assert sizes == {"0": 16, "9.body.3": 32}  # 12 -> 16, and 64 - round(38.4) = 26 -> 32
    assert masks["10.body.0.weight"].flatten(2).all(2).any(1).all() and masks["10.body.1.weight"].all()
    heads = structure_masks(models.tiny_transformer(), image(), 0.5, round_to=8)
    assert heads["blocks.0.attention.query.weight"].any(1).sum() == 16  # two of four heads: not rounded


@pytest.mark.parametrize("criterion", ["l1", "random"])
@pytest.mark.parametrize("scope", ["local", "global"])
def test_structures_that_are_gone_count_and_stay_gone(criterion, scope):
    model, draw = models.lenet5(seed=0), torch.Generator().manual_seed(0)
    first = structure_masks(model, image(28), 0.25, criterion, scope, generator=draw)
    mask_(model, first)
    more = structure_masks(model, image(28), 0.5, criterion, scope, generator=draw)
    less = structure_masks(model, image(28), 0.1, criterion, scope, generator=draw)
    left = 0
    for group in groups(model, image(28)):
        before = kept_by(first, group)
        assert kept_by(more, group) <= before and kept_by(less, group) == before
        left += len(kept_by(more, group))
    assert left == 285  # half of 20 + 50 + 500
    assert masks_of(model).keys() == first.keys()


def test_the_model_is_left_alone():
    model = models.depthwise(4, seed=0).train()
    before = copy.deepcopy(model.state_dict())
    structure_masks(model, image(), 0.5, "snip", split=examples())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules()) and not masks_of(model)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


NET = models.mlp((64, 8, 6, 10), seed=0)


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: structure_masks(NET, image(), 1.0), r"pruning_ratio must be in \[0, 1\), got 1.0"),
        (lambda: structure_masks(NET, image(), -0.1, scope="global"), r"pruning_ratio must be in \[0, 1\), got -0.1"),
        (lambda: structure_masks(NET, image(), {"1": 1.5}), r"pruning_ratio must be in \[0, 1\), got 1.5"),
        (lambda: structure_masks(NET, image(), {"5": 0.5}), "pruning_ratio must name groups, 1, 3, got '5'"),
        (
            lambda: structure_masks(NET, image(), {"1": 0.5}, scope="global"),
            "pruning_ratio must be one number for scope",
        ),
        (lambda: structure_masks(NET, image(), 0.92), "pruning_ratio must leave a neuron of '3', got 0.92 of 6"),
        (
            lambda: structure_masks(NET, image(), 0.9, scope="global"),
            "pruning_ratio must leave a structure of each of 2 groups, got 0.9 of 14",
        ),
        (lambda: structure_masks(NET, image(), 0.5, "l3"), "criterion must be one of random, l1, .*, got 'l3'"),
        (lambda: structure_masks(NET, image(), 0.5, scope="all"), "scope must be one of local, global, got 'all'"),
        (lambda: structure_masks(NET, image(), 0.5, round_to=0), "round_to must be at least 1, got 0"),
        (
            lambda: structure_masks(NET, image(), 0.5, "snip"),
            r"split must be a pair \(x, y\) for criterion 'snip', got",
        ),
        (
            lambda: structure_masks(NET, image(), 0.5, "taylor", split=(image()[:0], torch.zeros(0).long())),
            "split must be a pair .* at least one, got 0 and 0",
        ),
        (lambda: structure_masks(NET, [image()], 0.5), "example_inputs must be a tensor or .* tensors, got list"),
        (lambda: groups(NET, (image(), 3)), "example_inputs must be a tensor or a tuple of tensors, got tuple"),
        (lambda: structure_masks(NET, image(), 0.5, "bn_scale"), "needs a batch norm in every group, got none in '1'"),
        (
            lambda: structure_masks(nn.Linear(4, 3), torch.zeros(1, 4), 0.5),
            "model must have structures that can be removed, got Linear without any",
        ),
        (
            lambda: importance(NET, groups(NET, image())[0], "taylor", gradients={}),
            "gradients must hold '1.weight' for criterion 'taylor'",
        ),
    ],
)
def test_bad_input_gets_a_sentence(call, sentence):
    before = copy.deepcopy(NET.state_dict())
    with pytest.raises(ValueError, match=sentence):
        call()
    assert all(torch.equal(before[name], value) for name, value in NET.state_dict().items())


def test_frozen_parameters_have_no_gradients():
    model = copy.deepcopy(NET)
    model[1].bias.requires_grad_(False)
    with pytest.raises(ValueError, match=r"gradients must hold '1.bias' .* \(a frozen parameter has none\)"):
        structure_masks(model, image(), 0.5, "taylor", split=examples())
    with pytest.raises(ValueError, match="gradients must hold '1.weight' for criterion 'taylor'"):
        structure_masks(model.requires_grad_(False), image(), 0.5, "taylor", split=examples())


def test_half_precision_scores_do_not_underflow():
    model = copy.deepcopy(NET).half()
    gradients = {name: torch.full_like(p, 1e-4) for name, p in model.named_parameters()}
    group = groups(NET, image())[0]
    switch = 1e-4 * (model[1].weight.float().sum(1) + model[1].bias.float())
    found = importance(model, group, "taylor", gradients=gradients)
    # 1e-4 is rounded to 11 bits in half, 2^-11 of it; its square in the score twice that.
    torch.testing.assert_close(found, switch**2, rtol=2**-9, atol=0)


def test_nan_is_refused():
    model = models.mlp()
    model[1].weight.data[3] = torch.nan
    with pytest.raises(ValueError, match="scores of 1 must be numbers, got nan"):
        structure_masks(model, image(), 0.5)
