import copy

import pytest
import torch
import torch.nn.functional as F
from networks import NETS
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from compresslab import models

SMALL = NETS | {
    "resnet20 on 28 x 28": (models.resnet20, 28),
    "depthwise on 28 x 28": (models.depthwise, 28),
    "tiny_rnn on 28 x 28": (lambda seed=None: models.tiny_rnn(28, seed=seed), 28),
    "tiny_transformer on 28 x 28": (lambda seed=None: models.tiny_transformer(28, seed=seed), 28),
}
each = pytest.mark.parametrize(("build", "size"), SMALL.values(), ids=SMALL)


def count(model):
    return sum(p.numel() for p in model.parameters())


def images(n, size):
    return torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(0))


def dense(inputs, outputs):
    return inputs * outputs + outputs


def conv_bn(inputs, outputs, kernel, groups=1):  # no bias, then a scale and a shift a channel
    return inputs // groups * outputs * kernel**2 + 2 * outputs


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        (models.mlp(), dense(64, 32) + dense(32, 10)),
        (models.mlp((5, 3)), dense(5, 3)),
        (models.lenet300(), 266_610),  # the 267k and 431k of Han et al. (2015), table 1
        (models.lenet5(), 431_080),
        # He et al. (2016), table 6: 0.27M. Option A has 269,722; our 1 x 1 shortcuts add two convolutions.
        (models.resnet20(in_channels=3), 269_722 + conv_bn(16, 32, 1) + conv_bn(32, 64, 1)),
        (models.resnet20(), 272_474 - 2 * 9 * 16),
        (models.resnet20(width=4, num_classes=3), conv_bn(1, 4, 3) + 6 * conv_bn(4, 4, 3)
            + conv_bn(4, 8, 3) + conv_bn(4, 8, 1) + 5 * conv_bn(8, 8, 3)
            + conv_bn(8, 16, 3) + conv_bn(8, 16, 1) + 5 * conv_bn(16, 16, 3) + dense(16, 3)),
        (models.depthwise(8), conv_bn(1, 8, 3) + conv_bn(8, 8, 3, 8) + conv_bn(8, 16, 1)
            + conv_bn(16, 16, 3, 16) + conv_bn(16, 16, 1) + conv_bn(16, 16, 3, 16) + conv_bn(16, 32, 1)
            + conv_bn(32, 32, 3, 32) + conv_bn(32, 32, 1) + dense(32, 10)),
        (models.tiny_rnn(8, 32), dense(8, 32) + 32 * 32 + dense(32, 10)),
        (models.tiny_transformer(8, 32, depth=3), dense(8, 32) + 8 * 32 + dense(32, 10) + 2 * 32
            + 3 * (4 * dense(32, 32) + dense(32, 64) + dense(64, 32) + 4 * 32)),
    ],
)  # fmt: skip
def test_parameter_counts(model, parameters):
    assert count(model) == parameters


@each
def test_scores_for_one_and_for_five_images(build, size):
    model = build(seed=0).eval()
    five = model(images(5, size))
    assert five.shape == (5, 10) and five.isfinite().all()
    # One image alone gives its row of the batch, with sums in another order: some hundred roundings of 1e-7.
    torch.testing.assert_close(model(images(5, size)[:1]), five[:1], rtol=1e-4, atol=1e-5)
    assert five.std(0).min() > 0  # the scores depend on the image


@each
def test_a_gradient_reaches_every_parameter(build, size):
    model = build(seed=0)
    F.cross_entropy(model(images(8, size)), torch.arange(8)).backward()
    still = [name for name, p in model.named_parameters() if not (p.grad.isfinite().all() and p.grad.any())]
    # A bias of the keys adds one number to all scores of a query, which softmax ignores: only rounding.
    assert all("key.bias" in name for name in still)


@each
def test_the_seed_fixes_the_weights_and_nothing_else(build, size):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    a, b, c = build(seed=1), build(seed=1), build(seed=2)
    assert torch.equal(torch.get_rng_state(), state)
    weights = [nn.utils.parameters_to_vector(m.parameters()) for m in (a, b, c)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])

    free = nn.utils.parameters_to_vector(build().parameters())  # without a seed: torch's own numbers, as usual
    torch.manual_seed(5)
    again = nn.utils.parameters_to_vector(build().parameters())
    assert torch.equal(free, again) and not torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("build", [models.resnet20, models.depthwise])
def test_the_image_is_halved_twice_and_the_channels_doubled(build):
    features = build(width=8)[:-3]  # without the mean over the image and the last layer
    assert features(images(1, 32)).shape == (1, 32, 8, 8)


def test_mlp_is_a_plain_chain():
    kinds = [type(layer) for layer in models.mlp((64, 32, 16, 10))]
    assert kinds == [nn.Flatten, nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]


def test_tiny_rnn_is_torchs_rnn():
    ours = models.tiny_rnn(8, 16, seed=0)
    theirs = nn.RNN(8, 16, batch_first=True)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(ours.input.weight)
        theirs.bias_ih_l0.copy_(ours.input.bias)
        theirs.weight_hh_l0.copy_(ours.recurrent.weight)
        theirs.bias_hh_l0.zero_()
    x = images(5, 8)
    _, last = theirs(x[:, 0])
    # Same sums in another order; tanh shrinks the error of earlier steps, so a few roundings of 1e-7 remain.
    torch.testing.assert_close(ours(x), ours.output(last[0]), rtol=1e-5, atol=1e-6)


def test_transformer_block_is_torchs_encoder_layer():
    ours = models.tiny_transformer(8, width=24, heads=3, depth=1, seed=0).blocks[0]
    theirs = nn.TransformerEncoderLayer(24, 3, 48, dropout=0, activation="gelu", batch_first=True, norm_first=True)
    attention, draw = ours.attention, torch.Generator().manual_seed(1)
    with torch.no_grad():
        for norm in (ours.norm1, ours.norm2):  # away from 1 and 0, so that a swapped or forgotten norm shows
            norm.weight.uniform_(0.5, 2, generator=draw)
            norm.bias.uniform_(-1, 1, generator=draw)
    parts = [attention.query, attention.key, attention.value]
    state = {
        "self_attn.in_proj_weight": torch.cat([p.weight for p in parts]),
        "self_attn.in_proj_bias": torch.cat([p.bias for p in parts]),
    }
    same = {"self_attn.out_proj": attention.out, "linear1": ours.mlp[0], "linear2": ours.mlp[2]}
    for name, module in (same | {"norm1": ours.norm1, "norm2": ours.norm2}).items():
        state |= {f"{name}.{end}": value for end, value in module.state_dict().items()}
    theirs.load_state_dict(state)
    x = torch.randn(5, 8, 24, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)  # values near 1, sums of 48 terms


@pytest.mark.parametrize("build", [models.mlp, models.tiny_rnn, models.tiny_transformer])
def test_stacked_weights_run_under_vmap(build):
    nets = [build(seed=s) for s in range(3)]
    params, buffers = stack_module_state(nets)
    skeleton = copy.deepcopy(nets[0]).to("meta")
    x = torch.stack([images(4, 8), images(4, 8).flip(0), 1 - images(4, 8)])
    got = vmap(lambda p, b, x: functional_call(skeleton, (p, b), (x,)))(params, buffers, x)
    for i, net in enumerate(nets):
        torch.testing.assert_close(got[i], net(x[i]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: models.mlp((64,)), r"sizes must hold at least two numbers \(inputs, classes\), got \(64,\)"),
        (lambda: models.mlp((64, 0, 10)), r"sizes\[1\] must be a whole number of at least 1, got 0"),
        (lambda: models.mlp((64, 2.5, 10)), r"sizes\[1\] must be a whole number of at least 1, got 2.5"),
        (lambda: models.resnet20(width=0), "width must be a whole number of at least 1, got 0"),
        (
            lambda: models.depthwise(num_classes=-1),
            "num_classes must be a whole number of at least 1, got -1",
        ),
        (lambda: models.tiny_rnn(hidden=0), "hidden must be a whole number of at least 1, got 0"),
        (lambda: models.tiny_transformer(width=30), r"width must be a multiple of heads \(4\), got 30"),
    ],
)
def test_bad_sizes_are_said_in_one_sentence(build, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        build()
