"""Shrunk networks against masked ones, against smaller ones built afresh, and against torch-pruning's own pruner."""

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
import torch_pruning as tp
from networks import NETS
from torch import nn

from compresslab import models
from compresslab.measure import count_macs, count_parameters
from compresslab.pruning.dependencies import groups
from compresslab.pruning.masks import mask_, masks_of
from compresslab.pruning.shrink import shrink
from compresslab.pruning.structures import structure_masks

each = pytest.mark.parametrize("build, size", NETS.values(), ids=NETS)


def images(n, size, dtype=torch.float32, seed=0):
    return torch.randn(n, 1, size, size, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def used(build, size, dtype=torch.float32):
    """A network whose batch norms have seen some batches and whose scales and shifts are away from 1 and 0."""
    model, draw = build(seed=0).to(dtype), torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 2, generator=draw)
            module.bias.data.uniform_(-1, 1, generator=draw)
    with torch.no_grad():
        for seed in range(3):
            model.train()(images(16, size, dtype, seed))
    return model.eval()


def masked(model, size, ratio=0.5, **settings):
    model = copy.deepcopy(model)
    mask_(model, structure_masks(model, images(1, size, model_dtype(model)), ratio, **settings))
    return model


def model_dtype(model):
    return next(model.parameters()).dtype


def shapes(model):
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("settings", [dict(ratio=0.25), dict(ratio=0.6, scope="global", criterion="l2")])
def test_shrunk_is_masked_up_to_rounding(build, size, dtype, settings):
    """Both take the same sums, one without its zeros, so in another order. A sum of n terms then moves by about √n
    roundings, 28 of them for the longest (n = 800), and 20 layers follow one another: below 1000 roundings of the
    largest output, 1e-4 of it in float32 and 2e-13 in float64. A forgotten channel moves the outputs by 1e-2 and more.
    """
    model, x = used(build, size, dtype), images(32, size, dtype, seed=9)
    zeros = masked(model, size, **settings)
    small = shrink(zeros, images(1, size, dtype))
    with torch.no_grad():
        expected, got, dense = zeros(x), small(x), model(x)
    largest = expected.abs().max().item()
    torch.testing.assert_close(got, expected, rtol=0, atol=1000 * torch.finfo(dtype).eps * largest)
    assert (dense - expected).abs().max() > 0.05 * largest  # it is another function than the dense one
    assert count_parameters(small) < count_parameters(model) and not masks_of(small)
    assert not small.training


@each
def test_shrunk_is_masked_in_training_mode(build, size):
    """Batch norm over the batch: a channel of zeros stays zero, whatever its mean and spread. Rounding as above."""
    zeros, x = masked(used(build, size, torch.float64), size).train(), images(32, size, torch.float64, seed=9)
    small = shrink(zeros, images(1, size, torch.float64))
    assert small.training
    expected = zeros(x)
    torch.testing.assert_close(small(x), expected, rtol=0, atol=2e-13 * expected.abs().max().item())


@pytest.mark.parametrize(
    "build, size, smaller",
    [
        (models.mlp, 8, models.mlp((64, 16, 10))),
        (models.resnet20, 8, models.resnet20(8)),
        (models.resnet20, 28, models.resnet20(8)),
        (models.depthwise, 8, models.depthwise(8)),
        (models.tiny_rnn, 8, models.tiny_rnn(hidden=16)),
    ],
    ids=["mlp", "resnet20", "resnet20 on 28 x 28", "depthwise", "tiny_rnn"],
)
def test_half_of_all_channels_is_the_network_of_half_the_width(build, size, smaller):
    small = shrink(masked(build(seed=0), size), images(1, size))
    assert shapes(small) == shapes(smaller) and str(small) == str(smaller)  # layers print their sizes
    assert count_macs(small, images(1, size)) == count_macs(smaller, images(1, size))


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.75])
def test_a_share_p_removed_keeps_about_the_square_of_one_minus_p(ratio):
    """Exact for every weight between two pruned groups; the first layer, the last, and the vectors go with 1 - p."""
    model = models.resnet20(seed=0)
    small = dict(shrink(masked(model, 8, ratio), images(1, 8)).named_parameters())
    ends = {"0.weight", "14.weight"}
    for name, p in model.named_parameters():
        power = 0 if name == "14.bias" else 1 if name in ends or p.ndim == 1 else 2
        assert small[name].numel() == p.numel() * (1 - ratio) ** power
    share = sum(p.numel() for p in small.values()) / count_parameters(model)
    assert share == pytest.approx((1 - ratio) ** 2, abs=0.003)


def test_only_whole_heads_go():
    model = used(models.tiny_transformer, 8)
    masks = structure_masks(model, images(1, 8), {"blocks.1.attention.query": 0.5})
    zeros = copy.deepcopy(model)
    mask_(zeros, masks)
    small = shrink(zeros, images(1, 8))
    assert [block.attention.heads for block in small.blocks] == [4, 2]
    assert model.blocks[1].attention.heads == zeros.blocks[1].attention.heads == 4
    norms = sum(getattr(model.blocks[1].attention, part).weight.abs().sum(1) for part in ("query", "key", "value"))
    best = norms.detach().view(4, 8).sum(1).topk(2).indices.sort().values
    rows = (8 * best[:, None] + torch.arange(8)).flatten()
    for part in ("query", "key", "value"):
        before, after = getattr(model.blocks[1].attention, part), getattr(small.blocks[1].attention, part)
        assert torch.equal(after.weight, before.weight[rows]) and torch.equal(after.bias, before.bias[rows])
    assert torch.equal(small.blocks[1].attention.out.weight, model.blocks[1].attention.out.weight[:, rows])
    assert shapes(small.blocks[0]) == shapes(model.blocks[0])


# --------------------------------------------------------------------------------- against torch-pruning


class Producers(tp.importance.GroupMagnitudeImportance):
    """torch-pruning's magnitudes, for the rows of the producing layers only."""

    def __init__(self, p, normalizer=None):
        super().__init__(p, group_reduction="sum", normalizer=normalizer)

    def __call__(self, group):
        rows = (tp.prune_conv_out_channels, tp.prune_linear_out_channels)
        return super().__call__([item for item in group if item.dep.handler in rows])


def pruned_by_them(model, size, ratio, **settings):
    model = copy.deepcopy(model)
    last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    tp.pruner.BasePruner(
        model, images(1, size), pruning_ratio=ratio, ignored_layers=[last], out_channel_groups={}, **settings
    ).step()  # a dict of its own: the default one is shared by all pruners
    return model


def same_tensors(ours, theirs):
    assert shapes(ours) == shapes(theirs)
    return all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())


@pytest.mark.parametrize("criterion, p", [("l1", 1), ("l2", 2)])
@pytest.mark.parametrize("scope", ["local", "global"])
@pytest.mark.parametrize("name", ["mlp", "lenet5", "resnet20", "tiny_rnn"])
def test_the_same_channels_as_torch_prunings_pruner(name, criterion, p, scope):
    """By the same rule the same numbers are left, bit for bit, in every parameter and running mean."""
    build, size = NETS[name]
    ratio = 0.2 if name == "lenet5" else 0.25  # whole numbers of channels: they round up, we to the nearest
    model = used(build, size)
    theirs = pruned_by_them(model, size, ratio, importance=Producers(p, "mean"), global_pruning=scope == "global")
    assert same_tensors(shrink(masked(model, size, ratio, criterion=criterion, scope=scope), images(1, size)), theirs)


def test_as_many_channels_as_torch_pruning_in_a_depthwise_network():
    """Which ones differs: their magnitudes pass over the depthwise filters."""
    model = used(models.depthwise, 8)
    theirs = pruned_by_them(model, 8, 0.25, importance=tp.importance.GroupMagnitudeImportance(1))
    assert shapes(shrink(masked(model, 8, 0.25), images(1, 8))) == shapes(theirs)


def test_the_same_channels_by_batch_norm_scale_and_round_to():
    model = used(models.resnet20, 8)
    importance = tp.importance.BNScaleImportance(group_reduction="sum")
    theirs = pruned_by_them(model, 8, 0.5, importance=importance, round_to=8)
    assert same_tensors(shrink(masked(model, 8, 0.5, criterion="bn_scale", round_to=8), images(1, 8)), theirs)


def test_the_same_heads_as_torch_prunings_pruner():
    model = used(models.tiny_transformer, 8)
    theirs = copy.deepcopy(model)
    attentions = [block.attention for block in theirs.blocks]
    rows = [getattr(attention, part) for attention in attentions for part in ("query", "key", "value")]
    streams = [module for name, module in theirs.named_modules() if name.endswith((".out", "mlp.0", "mlp.2"))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the positions are a bare parameter
        tp.pruner.BasePruner(
            theirs, images(1, 8), importance=Producers(1), pruning_ratio=0.5, head_pruning_ratio=0.5,
            num_heads=dict.fromkeys(rows, 4), prune_num_heads=True, prune_head_dims=False, out_channel_groups={},
            ignored_layers=[*streams, theirs.embed, theirs.output],
        ).step()  # fmt: skip
    for attention in attentions:
        attention.heads = 2
    names = [group.name for group in groups(model, images(1, 8)) if group.kind == "head"]
    assert same_tensors(shrink(masked(model, 8, dict.fromkeys(names, 0.5)), images(1, 8)), theirs)


def attention_macs(model, tokens):
    """Two matrix products that torch-pruning does not see: q kᵀ and weights v, a head of 8 channels each."""
    return sum(2 * m.heads * tokens**2 * 8 for m in model.modules() if isinstance(m, models.Attention))


@each
@pytest.mark.parametrize("ratio", [0.0, 0.25, 0.5])
def test_parameters_and_macs_are_torch_prunings(build, size, ratio):
    """Their count holds more than products: additions of a bias (once a call), and one or two operations for every
    number that a batch norm, layer norm, activation or pooling sees. Layer by layer, without the bias, it is ours."""
    small = shrink(masked(build(seed=0), size, ratio), images(1, size))
    _, parameters, operations, _ = tp.utils.count_ops_and_params(small, images(1, size), layer_wise=True)
    assert count_parameters(small) == parameters
    products, outputs = 0, {}
    hooks = [
        m.register_forward_hook(lambda m, _, y: outputs.setdefault(m, []).append(y.shape)) for m in small.modules()
    ]
    small.eval()(images(1, size))
    for hook in hooks:
        hook.remove()
    for layer, calls in outputs.items():
        if isinstance(layer, nn.Conv2d):
            _, channels, height, width = calls[0]
            bias = 0 if layer.bias is None else channels * height * width
            closed_form = layer.weight.numel() * height * width
        elif isinstance(layer, nn.Linear):
            bias = 0 if layer.bias is None else layer.out_features * len(calls)
            closed_form = layer.weight.numel() * sum(shape.numel() // shape[-1] for shape in calls)
        else:
            continue
        assert operations[layer] - bias == closed_form
        products += closed_form
    assert count_macs(small, images(1, size)) == products + attention_macs(small, size)


# ------------------------------------------------------------------------------------------ what is left


@each
def test_the_model_is_left_alone(build, size):
    """Also its masks: a copy of a masked layer shares its class, and baking the copy must not take it away."""
    model = masked(used(build, size).train(), size)
    state, modes = copy.deepcopy(model.state_dict()), [module.training for module in model.modules()]
    masks, kinds = masks_of(model), [type(module) for module in model.modules()]
    small = shrink(model, images(1, size))
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert modes == [module.training for module in model.modules()]
    assert kinds == [type(module) for module in model.modules()] and masks.keys() == masks_of(model).keys()
    assert model(images(2, size)).isfinite().all()
    ours = {p.data_ptr() for p in small.parameters()}
    assert not ours & {p.data_ptr() for p in model.parameters()}


@each
def test_a_shrunk_model_trains_copies_and_loads(build, size):
    small = shrink(masked(build(seed=0), size), images(1, size))
    twin = copy.deepcopy(small)
    optimizer = torch.optim.SGD(small.parameters(), lr=0.1)
    for _ in range(3):
        loss = F.cross_entropy(small.train()(images(8, size)), torch.arange(8))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    moved = [name for name, p in small.named_parameters() if not torch.equal(p, twin.get_parameter(name))]
    assert len(moved) >= 0.9 * len(list(small.parameters()))  # a bias of the keys has no gradient
    twin.load_state_dict(small.state_dict())
    x = images(4, size)
    assert torch.equal(twin.eval()(x), small.eval()(x))
    again = shrink(masked(small, size, 0.25), images(1, size))  # and can be pruned again
    assert count_parameters(again) < count_parameters(small)


def test_a_frozen_parameter_stays_frozen():
    model = masked(models.mlp(seed=0).requires_grad_(False), 8)
    assert not any(p.requires_grad for p in shrink(model, images(1, 8)).parameters())


def test_only_what_is_zero_everywhere_goes():
    model = models.mlp((64, 8, 10), seed=0)
    with torch.no_grad():
        model[1].weight[[0, 1]] = 0
        model[1].bias[[0, 1, 2]] = 0
        model[3].weight[:, [1, 2]] = 0  # neuron 1 is zero in all three; 0 and 2 in two of them
    small = shrink(model, images(1, 8))
    rest = [0, 2, 3, 4, 5, 6, 7]
    assert torch.equal(small[1].weight, model[1].weight[rest]) and torch.equal(
        small[3].weight, model[3].weight[:, rest]
    )
    torch.testing.assert_close(small(images(5, 8)), model(images(5, 8)), rtol=0, atol=1e-6)  # outputs near 1


def test_bad_input_gets_a_sentence():
    empty = models.mlp((64, 8, 6, 10), seed=0)
    with torch.no_grad():
        for parameter in (empty[3].weight, empty[3].bias, empty[5].weight):
            parameter.zero_()
    state = copy.deepcopy(empty.state_dict())
    with pytest.raises(ValueError, match="model must keep a neuron of '3', but all 6 are zero"):
        shrink(empty, images(1, 8))
    assert all(torch.equal(state[name], value) for name, value in empty.state_dict().items())
    with pytest.raises(ValueError, match="model must have structures that can be removed, got Linear without any"):
        shrink(nn.Linear(4, 3), torch.zeros(1, 4))
    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):  # torch's own words
        shrink(empty, images(1, 9))
