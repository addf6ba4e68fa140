"""Post-training quantization against forwards written by hand with torch's own fake quantization."""

import copy

import pytest
import torch
import torch.nn.functional as F
from quantization.networks import noise, stirred
from torch import nn
from torch.ao.quantization import MinMaxObserver, MovingAverageMinMaxObserver
from torch.nn.utils import prune

from compresslab import data, measure, models, training
from compresslab.quantization.folding import fold_batch_norm
from compresslab.quantization.post_training import dynamic_, ranges_of, static_, weight_only_
from compresslab.quantization.ranges import affine, entropy, mse, percentile
from compresslab.quantization.scheme import Scheme

X = noise(16, 1, 8, 8)
CHANNEL = Scheme(granularity="channel")


def fake_channels(weight, qmax=127):
    scale = (weight.detach().flatten(1).abs().amax(1) / qmax).clamp(min=torch.finfo(torch.float32).eps)
    zero = torch.zeros(len(weight), dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight.detach(), scale, zero, 0, -qmax, qmax)


def calibrated(x):
    """The quantizer that torch's observer makes of x, unsigned and asymmetric."""
    observer = MinMaxObserver(dtype=torch.quint8, qscheme=torch.per_tensor_affine)
    observer(x)
    scale, zero = observer.calculate_qparams()
    return lambda y: torch.fake_quantize_per_tensor_affine(y, scale, zero.int(), 0, 255)


MODELS = {
    "mlp": models.mlp(seed=0),
    "resnet20": models.resnet20(width=4, seed=0),
    "depthwise": models.depthwise(width=4, seed=0),
    "rnn": models.tiny_rnn(seed=0),
    "transformer": models.tiny_transformer(seed=0),
}


@pytest.mark.parametrize("name", MODELS)
def test_weight_only_is_torchs_per_channel_on_each_weight_and_float_elsewhere(name):
    model = stirred(copy.deepcopy(MODELS[name]))
    by_hand = copy.deepcopy(model)
    with torch.no_grad():
        for module in by_hand.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                module.weight.copy_(fake_channels(module.weight))
    weight_only_(model, CHANNEL)
    for name, module in by_hand.named_modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            assert torch.equal(model.get_submodule(name).weight, module.weight)
    assert torch.equal(measure.predict(model, X), measure.predict(by_hand, X))


def test_static_on_a_chain_is_the_forward_written_by_hand():
    model = models.mlp((64, 32, 16, 10), seed=0)
    w = [model[i].weight for i in (1, 3, 5)]
    with torch.no_grad():
        x0 = X.flatten(1)
        x1 = F.linear(x0, w[0], model[1].bias).relu()
        x2 = F.linear(x1, w[1], model[3].bias).relu()
        q0, q1, q2 = calibrated(x0), calibrated(x1), calibrated(x2)
        test = 1.5 * noise(16, 1, 8, 8, seed=1)  # leaves the calibrated range at times: clamped
        y = q0(test.flatten(1))
        y = q1(F.linear(y, fake_channels(w[0]), model[1].bias).relu())
        y = q2(F.linear(y, fake_channels(w[1]), model[3].bias).relu())
        y = F.linear(y, fake_channels(w[2]), model[5].bias)
    assert torch.equal(measure.predict(static_(model, X), test), y)


def test_static_on_a_residual_network_is_the_forward_written_by_hand():
    """Quantised: what convolutions, additions, the pool and the last layer read, each tensor once."""
    model = fold_batch_norm(stirred(models.resnet20(width=4, seed=0)), X)
    params = {name: p.detach() for name, p in model.named_parameters()}

    def forward(x, weight, q):
        def layer(x, name, **options):
            return F.conv2d(x, weight(params[f"{name}.weight"]), params[f"{name}.bias"], **options)

        x = q("image", x)
        x = q("stem", layer(x, "0", padding=1).relu())
        for i in range(3, 12):
            stride = 2 if i in (6, 9) else 1
            y = q(f"{i}a", layer(x, f"{i}.body.0", stride=stride, padding=1).relu())
            y = q(f"{i}b", layer(y, f"{i}.body.3", padding=1))
            shortcut = q(f"{i}s", layer(x, f"{i}.shortcut.0", stride=stride)) if i in (6, 9) else x
            x = q(f"{i}c", (y + shortcut).relu())
        x = q("pool", x.mean((2, 3), keepdim=True)).flatten(1)
        return F.linear(x, weight(params["14.weight"]), params["14.bias"])

    quantizers = {}

    def watch(name, x):
        quantizers[name] = calibrated(x)
        return x

    test = noise(16, 1, 8, 8, seed=1)
    floats = forward(X, lambda w: w, watch)
    torch.testing.assert_close(floats, measure.predict(model, X))
    wanted = forward(test, fake_channels, lambda name, x: quantizers[name](x))
    static_(model, X)
    assert len(ranges_of(model)) == len(quantizers) == 2 + 9 * 3 + 2 + 1
    # The pool's mean may round its last bit otherwise here, so the number next door may be chosen in one code of 255.
    torch.testing.assert_close(measure.predict(model, test), wanted, rtol=0, atol=2e-2 * wanted.abs().max().item())
    assert (measure.predict(model, test) - wanted).abs().median() < 1e-5 * wanted.abs().max()


def test_static_sees_through_pooling_and_functions():
    lenet = static_(models.lenet5(seed=0), noise(4, 1, 28, 28))
    assert [tuple(row) for row in ranges_of(lenet)[["module", "side"]].itertuples(index=False)] == [
        ("0", "input"), ("1", "output"), ("4", "output"), ("8", "output"),
    ]  # fmt: skip
    rnn = static_(models.tiny_rnn(seed=0), X)
    assert [tuple(row) for row in ranges_of(rnn)[["module", "side"]].itertuples(index=False)] == [
        ("input", "input"), ("input", "output"), ("recurrent", "input"), ("recurrent", "output"), ("output", "input"),
    ]  # fmt: skip
    transformer = static_(models.tiny_transformer(depth=1, seed=0), X)
    assert list(ranges_of(transformer).module) == [
        "embed", "blocks.0.norm1", "blocks.0.norm2", "blocks.0.attention.out", "blocks.0.mlp.1", "output",
    ]  # fmt: skip


def test_some_layers_only():
    model = static_(models.mlp((64, 32, 16, 10), seed=0), X, layers=["3"])
    assert list(ranges_of(model).module) == ["2"] and not hasattr(model[1], "parametrizations")
    assert hasattr(model[3], "parametrizations")
    resnet = static_(models.resnet20(width=4, seed=0).eval(), X, layers=["3.body.3"])
    assert list(ranges_of(resnet).module) == ["3.body.2"]  # no addition, no pool


@pytest.mark.parametrize("average", [None, 0.1])
def test_ranges_over_batches_are_those_of_torchs_observers(average):
    model, x, options = models.mlp((4, 8, 2), seed=0), noise(50, 4) + 0.3, dict(dtype=torch.quint8)
    with torch.no_grad():
        tensors = x, model[:3](x)
    observers = [
        MinMaxObserver(**options) if average is None else MovingAverageMinMaxObserver(0.1, **options) for _ in "ab"
    ]
    static_(model, x, average=average, batch_size=8)
    for observer, tensor, row in zip(observers, tensors, ranges_of(model).itertuples()):
        for batch in tensor.split(8):
            observer(batch)
        scale, zero_point = observer.calculate_qparams()
        assert (row.scale, row.zero_point) == (pytest.approx(scale.item(), rel=1e-6), zero_point.item())


@pytest.mark.parametrize("rule", [percentile(99), mse, entropy])
def test_any_rule_gives_the_range_and_the_range_gives_the_scale(rule):
    scheme = Scheme(symmetric=False, signed=False)
    x = noise(1000, 4) ** 3
    row = ranges_of(static_(nn.Linear(4, 2), x, rule=rule)).iloc[0]
    scale, zero_point = affine(*rule(x.reshape(1, -1), scheme), scheme)
    assert (row.scale, row.zero_point) == (scale.item(), zero_point.item())
    again, zero_again = affine(torch.tensor([row.low]), torch.tensor([row.high]), scheme)
    torch.testing.assert_close(again, scale, rtol=2**-22, atol=0)  # two roundings of float32
    assert zero_again == zero_point


def test_dynamic_takes_the_range_of_the_batch():
    model = models.mlp(seed=0)
    by_hand = copy.deepcopy(model)
    dynamic_(model)
    for x in (X, 10 * X):
        with torch.no_grad():
            hidden = F.linear(calibrated(x)(x).flatten(1), fake_channels(by_hand[1].weight), by_hand[1].bias).relu()
            wanted = F.linear(calibrated(hidden)(hidden), fake_channels(by_hand[3].weight), by_hand[3].bias)
        assert torch.equal(measure.predict(model, x), wanted)
    assert ranges_of(model).empty
    each = dynamic_(copy.deepcopy(by_hand), CHANNEL, Scheme(symmetric=False, signed=False, granularity="channel"))
    torch.testing.assert_close(measure.predict(each, X), measure.predict(each, X, batch_size=1))


def test_eight_bits_keep_the_digits():
    digits = data.load("digits")
    model = models.mlp(seed=0)
    training.fit(model, digits, epochs=8)
    float_right = measure.accuracy(model, digits.val)
    for quantise_ in (weight_only_, dynamic_, lambda m: static_(m, digits.train.x[:200])):
        right = measure.accuracy(quantise_(copy.deepcopy(model)), digits.val)
        # 256 levels move scores by some hundredths; three of 359 images are more than such a change ever turned here
        assert abs(right.correct - float_right.correct) <= 3
    two = measure.accuracy(weight_only_(copy.deepcopy(model), Scheme(bits=2)), digits.val)
    assert two.correct < float_right.correct


# ------------------------------------------------------------------------------------------------ bad input


class Fragile(nn.Module):
    """Gives infinity for large inputs, in the middle."""

    def __init__(self):
        super().__init__()
        self.first, self.act, self.last = nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)

    def forward(self, x):
        return self.last(self.act(torch.exp(self.first(x))))


def nan_weight():
    model = models.mlp(seed=0)
    with torch.no_grad():
        model[1].weight[0, 0] = torch.nan
    return model


def masked_by_a_hook():
    model = models.mlp(seed=0)
    prune.random_unstructured(model[3], "weight", 0.5)
    return model


MLP = models.mlp(seed=0)
WRONG = {
    "nan": (MLP, lambda m: static_(m, X * torch.nan), "calibration must hold finite values only, got nan"),
    "inf": (MLP, lambda m: static_(m, X / 0), "calibration must hold finite values only, got -?inf"),
    "empty": (MLP, lambda m: static_(m, X[:0]), r"calibration must be a tensor .* at least one example, got \(0, 1, 8"),
    "no tensor": (MLP, lambda m: static_(m, [X]), "calibration must be a tensor .* got list"),
    "layer": (MLP, lambda m: weight_only_(m, layers=["7"]), "layers must be among 1, 3, got '7'"),
    "layer, dynamic": (MLP, lambda m: dynamic_(m, layers=["7"]), "layers must be among 1, 3, got '7'"),
    "layer, static": (MLP, lambda m: static_(m, X, layers=["2"]), "layers must be among 1, 3, got '2'"),
    "no layers": (nn.Sequential(nn.ReLU()), weight_only_, "model must have a Linear or Conv layer, got Seq"),
    "group": (MLP, lambda m: weight_only_(m, Scheme(granularity="group", group_size=5)),
              "weight of layer 1: group_size must divide the last dimension of x, which is 64, got 5"),
    "group of the second": (MLP, lambda m: dynamic_(m, Scheme(granularity="group", group_size=64)),
                            "weight of layer 3: group_size must divide .* which is 32, got 64"),
    "axis": (MLP, lambda m: static_(m, X, Scheme(granularity="channel", axis=2)), "weight of layer 1: axis must be"),
    "channels": (MLP, lambda m: static_(m, X, CHANNEL, CHANNEL), "activation_scheme must have granularity 'tensor'"),
    "batch size": (MLP, lambda m: static_(m, X, batch_size=0), "batch_size must be at least 1, got 0"),
    "type": (MLP, lambda m: static_(m, X.double()), "examples of .* type torch.float64, got: mat1 and mat2"),
    "other model": (nn.Linear(7, 2), lambda m: static_(m, X), r"examples of shape \(1, 8, 8\)"),
    "hooked weight": (masked_by_a_hook(), lambda m: static_(m, X), "weight of layer 3 must be a parameter"),
    "hooked weight, dynamic": (masked_by_a_hook(), dynamic_, "weight of layer 3 must be a parameter"),
    "average": (MLP, lambda m: static_(m, X, average=2), r"constant must be in \(0, 1\], got 2"),
    "weight": (nan_weight(), weight_only_, "weight of layer 1: x must hold finite values only, got nan"),
    "on the way": (Fragile(), lambda m: static_(m, 1e4 * torch.ones(2, 4)),
                   "of module (act|last): x must hold finite values only, got inf"),
    "twice": (weight_only_(models.mlp(seed=0)), weight_only_, "model must not be quantised yet, got quantizers in '1'"),
}  # fmt: skip


def count_hooks(model):
    return [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]


@pytest.mark.parametrize("case", WRONG)
def test_bad_input_gets_a_sentence_and_leaves_the_model_as_it_was(case):
    model, call, sentence = WRONG[case]
    if case == "on the way":
        nn.init.constant_(model.first.weight, 1.0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modules, hooks = [name for name, _ in model.named_modules()], count_hooks(model)
    with pytest.raises(ValueError, match=sentence):
        call(model)
    assert [name for name, _ in model.named_modules()] == modules
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0, equal_nan=True)
    assert count_hooks(model) == hooks


def test_a_calibration_set_of_the_wrong_shape_leaves_no_hooks():
    model = models.mlp(seed=0)
    with pytest.raises(ValueError, match=r"examples of shape \(7,\) and type torch.float32, got: mat1 and mat2 shapes"):
        static_(model, noise(2, 7))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert not any(hasattr(m, "parametrizations") for m in model.modules())


@pytest.mark.parametrize("bits", [0, 17, 2.5, -1])
def test_bits(bits):
    with pytest.raises(ValueError, match="bits must be a whole number from 1 to 16"):
        Scheme(bits=bits)
