"""The integer kernels compute what a fake-quantised torch model with the same scales computes.

How far may they differ? Before it is rounded to a code, an output is the exact sum of integer products in one, a
float32 sum in the other, and its bias is rounded to int32 in one. The first differs by some 1e-6 of the largest output,
the second by half a bias step, scale_x * scale_w / 2: both far below a code. So of one layer, fed with the same codes,
no code differs by more than 1, and only those close to a half differ at all.
"""

import copy

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from compresslab import measure, models
from compresslab.runtimes.onnx_export import export_onnx
from compresslab.runtimes.onnx_int8 import dynamic_int8, read_scales, static_int8
from compresslab.runtimes.onnx_run import OnnxSession

# 7-bit weights where two products could overflow the processor's 16-bit sum
LARGEST = 127 if measure.int8_instructions() != "none found" else 63


def images(n, size, seed=0, channels=1):
    return torch.randn(n, channels, size, size, generator=torch.Generator().manual_seed(seed))


def folded_resnet(x):
    """resnet20 with batch statistics of x, folded into its convolutions by torch's own function."""
    model = models.resnet20(seed=0)
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, 0, 0.2, generator=generator)
    with torch.no_grad():
        model(x)
    model.eval()
    for chain in [module for module in model.modules() if isinstance(module, nn.Sequential)]:
        for i in range(len(chain) - 1):
            if isinstance(chain[i + 1], nn.BatchNorm2d):
                chain[i], chain[i + 1] = fuse_conv_bn_eval(chain[i], chain[i + 1]), nn.Identity()
    return model


def our_scales(model, x, names):
    """Scale and zero point of every tensor in `names`, from torch alone: extremes, one a channel for weights."""
    values = {"x": x} | {name: p.detach() for name, p in model.named_parameters()}
    hooks = [
        module.register_forward_hook(lambda _, __, y, name=name: values.update({name: y}))
        for name, module in model.named_modules()
        if name in names
    ]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    scales = {}
    for name in names:
        if name.endswith(".weight"):
            scale = values[name].flatten(1).abs().amax(1) / LARGEST
            scales[name] = scale, torch.zeros(len(scale), dtype=torch.int32)
        else:
            low, high = values[name].min().clamp(max=0), values[name].max().clamp(min=0)
            scale = (high - low) / 255
            scales[name] = scale, torch.round(-low / scale).int()
    return scales


def fake_quantised(model, scales):
    """A copy of the model that rounds the same tensors to the same codes, in torch's own fake quantization."""
    model = copy.deepcopy(model)

    def rounded(y, name):
        scale, zero_point = scales[name]
        return torch.fake_quantize_per_tensor_affine(y, scale, zero_point, 0, 255)

    modules, parameters = dict(model.named_modules()), dict(model.named_parameters())
    for name, (scale, zero_point) in scales.items():
        if name == "x":
            model.register_forward_pre_hook(lambda _, x: (rounded(x[0], "x"),))
        elif name in modules:
            modules[name].register_forward_hook(lambda _, __, y, name=name: rounded(y, name))
        else:
            weight = parameters[name].data
            weight.copy_(torch.fake_quantize_per_channel_affine(weight, scale, zero_point, 0, -127, 127))
    return model


def both(model, x, output):
    """(integer, fake-quantised) scores in codes of the last layer, with our scales in both."""
    file = export_onnx(model, x[:2])
    scales = our_scales(model, x, read_scales(static_int8(file, x)))
    session = OnnxSession(static_int8(file, x, scales=scales))
    assert "int8" in set(session.operators(x[:2]).kind)
    with torch.no_grad():
        expected = fake_quantised(model, scales)(x)
    return session(x) / scales[output][0], expected / scales[output][0]


LAYERS = {
    "linear": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 50)), "1"),
    "linear relu": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 50), nn.ReLU()), "2"),
    "convolution": (lambda: nn.Sequential(nn.Conv2d(3, 24, 3, 2, 1), nn.ReLU()), "1"),
    "depthwise": (lambda: nn.Sequential(nn.Conv2d(3, 24, 3, groups=3, bias=False)), "0"),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_one_layer_is_within_one_code_and_mostly_equal(layer):
    build, output = LAYERS[layer]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = build()
    # Codes as input: whether a float is divided by the scale, or multiplied by its inverse, rounds some of it apart.
    x = torch.randint(0, 256, (64, 3, 8, 8), generator=torch.Generator().manual_seed(0)).float() - 100
    x[0, 0, 0, 0], x[0, 0, 0, 1] = -100, 155  # scale 1, zero point 100
    integer, simulated = both(model, x, output)
    difference = (integer - simulated).abs().round()
    assert difference.max() <= 1
    # A code flips if half of it lies between the two sums: chance 2 * (bias step / 2 + 1e-5) / code step; here < 2 %.
    assert (difference > 0).float().mean() < 0.02


MEAN_CODES = 0.27  # largest mean difference that passes, in codes of the scores
NETWORKS = {
    "lenet300": (lambda x: models.lenet300(seed=0), 28, "5"),
    "lenet5": (lambda x: models.lenet5(seed=0), 28, "9"),
    "resnet20": (folded_resnet, 8, "14"),
}


@pytest.mark.parametrize("network", NETWORKS)
def test_a_whole_network_is_within_two_codes(network):
    """A code that flipped by 1 goes on as a noise far below that of rounding itself, which moves scores by whole codes.

    So the two are nearer to each other than either is to float: no bound of the worst case (the row sums of all later
    layers multiplied) says so little, hence a bound on the mean too, which the next test shows to be sharp.
    """
    build, size, output = NETWORKS[network]
    x = images(200, size)
    model = build(x)
    integer, simulated = both(model, x, output)
    difference = (integer - simulated).abs()
    with torch.no_grad():
        scores = model(x)
    from_float = (255 * scores / (scores.max() - scores.min()) - simulated).abs()
    assert difference.max() < 2.5 and difference.mean() < MEAN_CODES
    assert difference.mean() < 0.5 * from_float.mean()


def test_a_scale_that_is_two_percent_off_shows():
    x, model = images(100, 28), models.lenet5(seed=0)
    file = export_onnx(model, x[:2])
    scales = our_scales(model, x, read_scales(static_int8(file, x)))
    with torch.no_grad():
        expected = fake_quantised(model, scales)(x)
    for name in ("x", "1", "4"):
        scale, zero_point = scales[name]
        session = OnnxSession(static_int8(file, x, scales=scales | {name: (1.02 * scale, zero_point)}))
        assert ((session(x) - expected) / scales["9"][0]).abs().mean() > MEAN_CODES, name


COUNTS = {
    "lenet300": (models.lenet300, 28, {"QGemm": 3}),
    "lenet5": (models.lenet5, 28, {"QLinearConv": 2, "QGemm": 2}),
    "resnet20": (models.resnet20, 8, {"QLinearConv": 21, "QLinearAdd": 9, "QGemm": 1}),
    "depthwise": (models.depthwise, 8, {"QLinearConv": 9, "QGemm": 1}),
}


@pytest.mark.parametrize("network", COUNTS)
def test_every_layer_ran_as_integers_and_the_file_shrank(network, capfd):
    build, size, counts = COUNTS[network]
    x = images(16, size)
    file = export_onnx(build(seed=0), x)
    int8 = static_int8(file, x)
    assert capfd.readouterr() == ("", "")
    table = OnnxSession(int8).operators(x[:2])
    ran = table.operator.value_counts()
    assert {name: ran.get(name) for name in counts} == counts
    assert not set(table.operator) & {"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul"}
    assert set(table.kind[table.operator.isin(counts)]) == {"int8"}
    if network in ("lenet300", "lenet5"):  # the others are small: their graph weighs as much as their weights
        assert len(int8) <= 0.3 * len(file)


def test_dynamic_leaves_convolutions_alone():
    x = images(8, 28)
    model = models.lenet5(seed=0)
    file = export_onnx(model, x)
    session = OnnxSession(dynamic_int8(file))
    table = session.operators(x)
    ran = table.operator.value_counts()
    assert ran["DynamicQuantizeMatMul"] == 2 and ran["Conv"] == 2 and "ConvInteger" not in ran
    assert set(table.kind[table.operator == "DynamicQuantizeMatMul"]) == {"int8"}
    with torch.no_grad():
        scores = model(x)
    assert (session(x) - scores).abs().max() < 0.05 * scores.abs().max()
    session = OnnxSession(dynamic_int8(file, convolutions=True))
    ran = session.operators(x).operator.value_counts()
    assert ran["ConvInteger"] == 2 and "Conv" not in ran
    assert (session(x) - scores).abs().max() < 0.05 * scores.abs().max()


class TwoParts(nn.Module):
    """A table, and two parts of two linear layers each; the second ends in a product of two activations."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(40, 16)
        self.first = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16))
        self.second = nn.Sequential(nn.Linear(16, 32, bias=False), nn.ReLU(), nn.Linear(32, 16))
        self.firstly = nn.Linear(16, 5)  # not a part of `first`, though its name begins so

    def forward(self, x):
        words = self.table(x)
        words = self.second(self.first(words)) @ words.transpose(1, 2) @ words
        return self.firstly(words[:, 0])


def ran_as(x, file, **settings):
    """{module: kind} of what ran in the dynamic int8 file, for the modules whose weights the float file names."""
    table = OnnxSession(dynamic_int8(file, **settings)).operators(x)
    nodes = [name.split("/")[0].removesuffix("_quant").removesuffix("_MatMul") for name in table.node]
    kinds = dict(zip(nodes, table.kind))
    return {
        name.removesuffix(".weight"): kinds[node.name]
        for node in onnx.load_from_string(file).graph.node
        for name in node.input
        if name.endswith(".weight")
    }


def test_kept_modules_ran_as_float_and_only_they():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = TwoParts().eval()
    x = torch.randint(0, 40, (6, 7), generator=torch.Generator().manual_seed(0))
    file = export_onnx(model, x)
    layers = ["first.0", "first.2", "second.0", "second.2", "firstly"]
    plain = {"table": "float"} | dict.fromkeys(layers, "int8")
    assert ran_as(x, file) == plain
    first, some = dict.fromkeys(["first.0", "first.2"], "float"), dict.fromkeys(["second.2", "firstly"], "float")
    assert ran_as(x, file, keep="first") == plain | first
    assert ran_as(x, file, keep=["second.2", "firstly"]) == plain | some
    assert ran_as(x, file, keep=(name for name in ["table", "firstly"]), embeddings=True) == plain | {
        "firstly": "float"
    }
    assert ran_as(x, file, embeddings=True) == plain | {"table": "int8"}
    # every weight kept: the float file again, but for how sums are fused
    whole = OnnxSession(dynamic_int8(file, keep=["first", "second", "firstly"]))
    torch.testing.assert_close(whole(x), OnnxSession(file)(x), rtol=1e-5, atol=1e-5)


def test_tables_shrink_to_a_quarter():
    model, x = nn.Sequential(nn.Embedding(500, 64), nn.Linear(64, 2)), torch.arange(12).view(3, 4)
    file = export_onnx(model, x)
    plain, small = dynamic_int8(file), dynamic_int8(file, embeddings=True)
    assert len(plain) - len(small) == pytest.approx(500 * 64 * 3, abs=2000)  # three of four bytes, less some nodes
    table = {value.name: value for value in onnx.load_from_string(small).graph.initializer}
    codes, scale, zero = (
        onnx.numpy_helper.to_array(table[f"0.weight_{part}"]).astype(np.float32)
        for part in ("quantized", "scale", "zero_point")
    )
    # the range is cut into 255 steps, 254 about 0 where the codes are signed: off by half a step at most
    assert np.abs((codes - zero) * scale - model[0].weight.detach().numpy()).max() <= 0.51 * scale
    assert scale <= 2 * model[0].weight.abs().max().item() / 254


class Shared(nn.Module):
    """A table whose weight a layer shares, as in language models, and a layer that is called twice."""

    def __init__(self):
        super().__init__()
        self.table, self.twice, self.words = nn.Embedding(40, 16), nn.Linear(16, 16), nn.Linear(16, 40)
        self.words.weight = self.table.weight

    def forward(self, x):
        return self.words(self.twice(self.twice(self.table(x))))


@pytest.mark.parametrize("embeddings", [False, True])
def test_a_shared_weight_gives_what_its_layers_give_one_after_the_other(embeddings):
    def answers(module, x):
        return OnnxSession(dynamic_int8(export_onnx(module, x), embeddings=embeddings))(x)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Shared().eval()
    x = torch.arange(40)
    alone = x
    for layer in (model.table, model.twice, model.twice, model.words):
        alone = answers(layer, alone)
    assert torch.equal(answers(model, x), alone)


def test_a_classifier_tied_to_its_table_runs_in_static_int8():
    torch.manual_seed(0)
    model, tokens = Tied(), torch.randint(0, 11, (64, 5))
    scores = OnnxSession(static_int8(export_onnx(model, tokens[:2]), tokens))(tokens)
    with torch.no_grad():
        expected = model(tokens)
    # 8 bits for table, mean, weight and scores: each half a step of a 255th of its range, and 16 products are added
    assert (scores - expected).abs().max() < 0.05 * expected.abs().max()


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(11, 16), nn.Linear(16, 11)
        self.head.weight = self.table.weight

    def forward(self, x):
        return self.head(self.table(x).mean(1))


def test_what_onnx_runtime_cannot_prepare_is_said_in_one_sentence():
    torch.manual_seed(0)
    model = nn.Sequential(nn.EmbeddingBag(11, 8), nn.Linear(8, 3))
    file = export_onnx(model, torch.randint(0, 11, (2, 5)))
    with pytest.raises(ValueError, match="^file cannot be prepared by ONNX Runtime: "):
        dynamic_int8(file)


def test_an_unknown_module_to_keep_is_refused():
    file = export_onnx(models.mlp(seed=0), images(2, 8))
    for keep in ("2", ["1", "fc"], "1.weight", ""):
        with pytest.raises(ValueError, match="keep must name modules among or around 1, 3, got '(2|fc|1.weight|)'"):
            dynamic_int8(file, keep=keep)


# ------------------------------------------------------------------------------------------ scales


@pytest.fixture(scope="module")
def lenet5():
    x = images(64, 28)
    model = models.lenet5(seed=0)
    return model, export_onnx(model, x[:2]), x


def test_minmax_scales_are_the_extremes(lenet5):
    """Of the calibration set, whatever its batches; for weights of each channel."""
    model, file, x = lenet5
    used = read_scales(static_int8(file, x, batch_size=7))
    low, high = x.min().item(), x.max().item()
    scale, zero_point = used["x"]
    assert scale.item() == pytest.approx((high - low) / 255, rel=1e-6)
    assert zero_point.item() == round(-low / ((high - low) / 255))
    extremes = model[3].weight.detach().flatten(1).abs().amax(1)
    torch.testing.assert_close(used["3.weight"][0], extremes / 127, rtol=1e-6, atol=0)
    assert used["3.weight"][0].shape == (50,) and not used["3.weight"][1].any()
    assert used["1"][1] == 0  # a ReLU's output starts at the lowest code
    assert set(used) == {"x", "1", "4", "8", "9", *(f"{i}.weight" for i in (0, 3, 7, 9))}


def test_reading_scales_and_giving_them_back_changes_nothing(lenet5):
    _, file, x = lenet5
    first = static_int8(file, x)
    assert static_int8(file, x[:3], scales=read_scales(first)) == first


def test_given_scales_are_the_ones_in_the_file_to_the_bit(lenet5):
    _, file, x = lenet5
    ours = {"4": (0.0123, 0), "9.weight": (torch.linspace(0.001, 0.002, 10), 0), "x": (0.03, 77)}
    used = read_scales(static_int8(file, x, scales=ours))
    for name, (scale, zero_point) in ours.items():
        assert np.array_equal(used[name][0].numpy(), np.float32(scale))
        assert (used[name][1] == zero_point).all()
    weights = {
        value.name: value for value in onnx.load_from_string(static_int8(file, x, scales=ours)).graph.initializer
    }
    codes = onnx.numpy_helper.to_array(weights["9.weight_quantized"])
    expected = torch.round(lenet5[0][9].weight.detach() / ours["9.weight"][0][:, None]).clamp(-128, 127)
    assert codes.dtype == np.int8 and np.array_equal(codes, expected.numpy())


def test_what_the_other_methods_cut_off(lenet5):
    _, file, x = lenet5
    x = x.clone()
    x[0, 0, 0, 0] = 1000
    whole = read_scales(static_int8(file, x))["x"][0]
    assert read_scales(static_int8(file, x, method="percentile"))["x"][0] < 0.02 * whole
    # entropy may keep 128 of the 512 bins, a quarter of the range, and prices what it cuts off
    assert 0.25 * whole < read_scales(static_int8(file, x, method="entropy"))["x"][0] < 0.6 * whole


def test_options_reach_the_file(lenet5):
    _, file, x = lenet5
    assert read_scales(static_int8(file, x, per_channel=False))["3.weight"][0].ndim == 0
    narrow = read_scales(static_int8(file, x, reduce_range=True))["3.weight"][0]
    torch.testing.assert_close(narrow, read_scales(static_int8(file, x))["3.weight"][0] * 127 / 64, rtol=0.02, atol=0)
    assert read_scales(static_int8(file, x, signed_activations=True))["1"][1] == -128


# ------------------------------------------------------------------------------------------ bad input


def test_bad_calibration_and_methods_are_refused(lenet5):
    _, file, x = lenet5
    with pytest.raises(ValueError, match="calibration must hold at least one example, got none: give a few hundred"):
        static_int8(file, x[:0])
    for bad in (float("nan"), float("inf")):
        spoilt = x.clone()
        spoilt[[3, 5], 0, 1, 1] = bad
        with pytest.raises(ValueError, match="finite numbers, got NaN or infinity in 2 of 64 examples"):
            static_int8(file, spoilt)
    with pytest.raises(ValueError, match="method must be one of minmax, entropy, percentile, got 'mse'"):
        static_int8(file, x, method="mse")
    with pytest.raises(ValueError, match=r"percentile must be in \(0, 100\], got 0.0"):
        static_int8(file, x, percentile=0.0)


@pytest.mark.parametrize(
    "scales, sentence",
    [
        ({"conv1": (0.1, 0)}, "scales must name tensors of the file .*, got 'conv1'"),
        ({"2": (0.1, 0)}, "scales must name tensors with codes of their own .*, got '2'"),  # pooling passes codes on
        ({"0": (0.1, 0)}, "scales must name tensors with codes of their own .*, got '0'"),  # before the fused ReLU
        ({"x": (0.0, 0)}, "scales must be finite and above 0, got 0.0 for 'x'"),
        ({"x": (float("nan"), 0)}, "scales must be finite and above 0, got nan for 'x'"),
        ({"1": (0.1, 10)}, "scales of a ReLU's output must have zero_point 0, .* got 10 for '1'"),
    ],
)
def test_bad_scales_are_refused(lenet5, scales, sentence):
    _, file, x = lenet5
    with pytest.raises(ValueError, match=sentence):
        static_int8(file, x, scales=scales)


class Scaled(nn.Module):
    """Its own parameter has a name like those that ONNX Runtime gives to scales."""

    def __init__(self):
        super().__init__()
        self.fc, self.my_scale = nn.Linear(3, 2), nn.Parameter(torch.rand(2))

    def forward(self, x):
        return self.fc(x) * self.my_scale


def test_a_parameter_called_scale_is_none():
    assert read_scales(export_onnx(Scaled(), torch.rand(2, 3))) == {}


class Sum(nn.Module):
    def forward(self, a, b):
        return a + b


def test_files_and_calibration_sets_that_do_not_fit_get_a_sentence(lenet5):
    _, file, x = lenet5
    for call in (lambda b: static_int8(b, x), dynamic_int8, read_scales):
        for bad in (b"abc", b"", None):
            with pytest.raises(ValueError, match="file must be the bytes of an ONNX file, got (bytes|NoneType)"):
                call(bad)
    with pytest.raises(ValueError, match="file must have one input, got x0, x1"):
        static_int8(export_onnx(Sum(), (torch.rand(2, 3), torch.rand(2, 3))), x)
    with pytest.raises(ValueError, match="calibration cannot be taken by the file: Invalid rank for input: x"):
        static_int8(file, torch.rand(4, 3))
    with pytest.raises(ValueError, match="calibration cannot be taken by the file: Unexpected input data type"):
        static_int8(file, x.double())
    with pytest.raises(ValueError, match="calibration must be a tensor .*, got list"):
        static_int8(file, [x])
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        static_int8(file, x, batch_size=0)
