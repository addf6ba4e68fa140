"""Against libraries that quantise whole models: torchao's weight-only int8, and torch's old eager int8 kernels."""

import copy
import warnings

import pytest
import torch
from quantization.networks import noise
from torch import nn

from compresslab import models
from compresslab.measure import predict
from compresslab.quantization.post_training import ranges_of, static_, weight_only_
from compresslab.quantization.scheme import Scheme

CHANNEL = Scheme(granularity="channel")


def test_torchao_weight_only_is_within_a_step():
    """torchao's scale is max / 127.5, with 256 codes, ours max / 127, with 255: each is right to half a step."""
    import torchao.quantization as torchao

    model = models.mlp((64, 32, 10), seed=0)
    theirs = copy.deepcopy(model)
    torchao.quantize_(theirs, torchao.Int8WeightOnlyConfig(version=2))
    ours = weight_only_(copy.deepcopy(model), CHANNEL)
    for i in (1, 3):
        weight, other = model[i].weight.detach(), theirs[i].weight
        peak = weight.abs().amax(1, keepdim=True)
        torch.testing.assert_close(other.scale, peak / 127.5)
        copies = other.dequantize()
        # the step grows by 0.4 %, and torchao's highest code, 127, stands half a step below the peak
        assert ((ours[i].weight - copies).abs() <= (peak / 127 + peak / 127.5) / 2 * (1 + 1e-5)).all()
        assert ((ours[i].weight - weight).abs() <= peak / 254 * (1 + 1e-5)).all()
        # on torchao's own scale and codes from -128 the codes agree; where it divides, torch's kernels multiply by
        # 1 / scale, which may turn a code that lies within some 2^-17 of a half
        codes = torch.fake_quantize_per_channel_affine(
            weight, other.scale[:, 0], torch.zeros(len(weight), dtype=torch.int32), 0, -128, 127
        )
        assert ((codes - copies).abs() <= 1e-6 * peak).float().mean() > 0.99


def eager_int8(layers, calibration):
    """The chain as integer kernels, by `torch.ao.quantization`; 7-bit activations, so that no kernel overflows."""
    from torch.ao import quantization as old

    qconfig = old.QConfig(
        activation=old.MinMaxObserver.with_args(dtype=torch.quint8, reduce_range=True),
        weight=old.PerChannelMinMaxObserver.with_args(
            dtype=torch.qint8, qscheme=torch.per_channel_symmetric, quant_min=-127, quant_max=127
        ),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and said so at every step
        model = nn.Sequential(old.QuantStub(), *copy.deepcopy(layers), old.DeQuantStub()).eval()
        pairs = [[str(i), str(i + 1)] for i, layer in enumerate(model[:-1]) if isinstance(model[i + 1], nn.ReLU)]
        old.fuse_modules(model, pairs, inplace=True)
        model.qconfig = qconfig
        old.prepare(model, inplace=True)
        predict(model, calibration)
        return old.convert(model)


@pytest.mark.needs("torch's int8")
def test_static_agrees_with_torchs_eager_int8_kernels():
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10)
    )  # fmt: skip
    x, test = noise(64, 1, 14, 14), noise(64, 1, 14, 14, seed=1)
    int8 = eager_int8(layers, x)
    ours = static_(copy.deepcopy(layers), x, CHANNEL, Scheme(bits=7, symmetric=False, signed=False))
    scales = [int8[0].scale.item(), int8[1].scale, int8[4].scale]
    assert ranges_of(ours).scale.tolist() == pytest.approx(scales, rel=1e-6)
    assert ranges_of(ours).zero_point.tolist() == [int8[0].zero_point.item(), int8[1].zero_point, int8[4].zero_point]
    # The old kernels quantise the last output too: half a step of it. Their int32 biases and sums in another order
    # turn some codes on the way: a step at most.
    step = int8[7].scale
    got, wanted = predict(int8, test), predict(ours, test)
    low, high = wanted.min().item(), wanted.max().item()
    assert (got - wanted.clamp(-int8[7].zero_point * step, (127 - int8[7].zero_point) * step)).abs().max() <= 1.5 * step
    assert high - low > 60 * step
