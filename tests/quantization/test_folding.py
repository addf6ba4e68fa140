"""Batch-norm folding: same outputs, the library's own weights, and no pair that is not one."""

import copy

import pytest
import torch
import torch.nn.functional as F
from quantization.networks import noise, stirred
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from compresslab import models
from compresslab.measure import predict
from compresslab.quantization.fake import freeze_
from compresslab.quantization.folding import NORMS, fold_batch_norm
from compresslab.quantization.post_training import static_


def norms_of(model):
    return [name for name, module in model.named_modules() if isinstance(module, NORMS)]


CASES = {
    "resnet20": (models.resnet20(width=8, seed=0), (4, 1, 12, 12)),
    "depthwise": (models.depthwise(seed=0), (4, 1, 12, 12)),
    "conv without bias": (nn.Sequential(nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5)), (4, 3, 6, 6)),
    "conv with bias, grouped": (nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6)), (4, 4, 6, 6)),
    "conv1d": (nn.Sequential(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.ReLU()), (4, 2, 9)),
    "conv3d": (nn.Sequential(nn.Conv3d(2, 4, 2), nn.BatchNorm3d(4)), (4, 2, 4, 4, 4)),
    "linear": (nn.Sequential(nn.Linear(4, 7), nn.BatchNorm1d(7), nn.ReLU(inplace=True), nn.Linear(7, 2)), (9, 4)),
    "linear without bias": (nn.Sequential(nn.Linear(4, 7, bias=False), nn.BatchNorm1d(7, affine=False)), (9, 4)),
}


@pytest.mark.parametrize("case", CASES)
def test_the_outputs_are_those_of_the_model_and_the_model_is_untouched(case):
    model, shape = CASES[case]
    model = stirred(copy.deepcopy(model))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    folded = fold_batch_norm(model, noise(*shape))
    assert norms_of(model) and not norms_of(folded)
    x = noise(*shape, seed=1)
    with torch.no_grad():
        wanted, got = model.double()(x.double()), folded(x)
    # Twenty-one layers round one after the other, each to 2^-24 of what it sums up: 1e-5 is some hundred roundings.
    torch.testing.assert_close(got.double(), wanted, rtol=1e-5, atol=1e-5 * wanted.abs().max().item())
    model.float()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_weights_are_those_of_torchs_own_fusion():
    conv, norm = nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5)
    model = stirred(nn.Sequential(conv, norm))
    fused = fuse_conv_bn_eval(conv, norm)
    folded = fold_batch_norm(model, noise(2, 3, 6, 6))[0]
    torch.testing.assert_close((folded.weight, folded.bias), (fused.weight, fused.bias), rtol=1e-6, atol=1e-6)
    model = stirred(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)))
    fused, folded = fuse_linear_bn_eval(*model), fold_batch_norm(model, noise(2, 4))[0]
    torch.testing.assert_close((folded.weight, folded.bias), (fused.weight, fused.bias), rtol=1e-6, atol=1e-6)


class Odd(nn.Module):
    """One layer and one batch norm, used in a way that makes them no pair."""

    def __init__(self, way, size=4):
        super().__init__()
        self.way, self.conv, self.norm = way, nn.Conv2d(size, size, 1), nn.BatchNorm2d(size)

    def forward(self, x):
        if self.way == "before":
            return self.conv(self.norm(x))
        if self.way == "relu between":
            return self.norm(torch.relu(self.conv(x)))
        if self.way == "changed in place":
            return self.norm(self.conv(x).mul_(2))
        if self.way == "read twice":
            y = self.conv(x)
            return self.norm(y) + y
        if self.way == "a part changed":
            y = self.conv(x)
            y[:, 0] = 0
            return self.norm(y)
        if self.way == "runs twice":
            return self.norm(self.conv(self.conv(x)))
        if self.way == "norm runs twice":
            return self.norm(self.norm(self.conv(x)))
        raise AssertionError


@pytest.mark.parametrize(
    "way",
    ["before", "relu between", "changed in place", "a part changed", "read twice", "runs twice", "norm runs twice"],
)
def test_what_is_no_pair_stays(way):
    model, x = stirred(Odd(way)), noise(2, 4, 3, 3)
    folded = fold_batch_norm(model, x)
    assert norms_of(folded) == ["norm"]
    assert torch.equal(folded(x), model(x))


def test_norms_that_cannot_be_folded_stay():
    batch = stirred(nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)))
    assert norms_of(fold_batch_norm(batch, noise(2, 1, 3, 3))) == ["1"]
    positions = stirred(nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6)))  # (n, 6, 3): normalises rows, not features
    assert norms_of(fold_batch_norm(positions, noise(2, 6, 3))) == ["1"]
    layer = nn.Sequential(nn.Linear(3, 6), nn.LayerNorm(6))
    assert torch.equal(fold_batch_norm(layer, noise(2, 3))(noise(2, 3)), layer(noise(2, 3)))


def test_modes_hooks_and_parametrizations():
    model = stirred(nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4))).train()
    folded = fold_batch_norm(model, noise(2, 1, 3, 3))
    assert folded.training and model[1].training and not model[0]._forward_hooks and not folded[0]._forward_hooks
    assert model[1].num_batches_tracked == 0
    parametrize.register_parametrization(model[0], "weight", nn.Identity())
    with pytest.raises(ValueError, match="model must hold plain weights, got a parametrized one in layer 0"):
        fold_batch_norm(model, noise(2, 1, 3, 3))


class Around(nn.Module):
    """A convolution and its batch norm, and something around them that knows one of the two."""

    def __init__(self, way):
        super().__init__()
        self.way, self.conv, self.norm = way, nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.again = nn.Conv2d(3, 3, 3, padding=1)
        self.again.weight = self.conv.weight
        self.chain = nn.Sequential(self.conv, self.norm)

    def forward(self, x):
        if self.way == "weight shared":
            return self.again(self.norm(self.conv(x)))
        if self.way == "weight read":
            return self.norm(self.conv(x)) * self.conv.weight.sum()
        if self.way == "norm read":
            return self.norm(self.conv(x)) * self.norm.weight.sum()
        if self.way == "function":
            return F.batch_norm(self.conv(x), self.norm.running_mean, self.norm.running_var)
        return self.chain(x)


def test_layers_that_share_a_weight_part():
    model, x = stirred(Around("weight shared")), noise(4, 3, 5, 5)
    folded = fold_batch_norm(model, x)
    assert isinstance(folded.norm, nn.Identity)
    torch.testing.assert_close(predict(folded, x), predict(model, x), rtol=1e-4, atol=1e-5)  # float32 in another order


def test_a_batch_norm_of_functions_stays():
    model, x = stirred(Around("function")), noise(4, 3, 5, 5)
    assert torch.equal(predict(fold_batch_norm(model, x), x), predict(model, x))


@pytest.mark.parametrize("way", ["weight read", "norm read", "two names"])
def test_what_cannot_be_folded_without_harm_is_refused(way):
    with pytest.raises(ValueError, match="^model must "):
        fold_batch_norm(stirred(Around(way)), noise(4, 3, 5, 5))


def test_bad_input_gets_a_sentence():
    model, x = stirred(nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))), noise(2, 1, 3, 3)
    with pytest.raises(ValueError, match="example_inputs must hold finite values only, got nan"):
        fold_batch_norm(model, x * torch.nan)
    with pytest.raises(ValueError, match="model must make a tensor of examples .* got: .*expected input.* 1 channel"):
        fold_batch_norm(model, noise(2, 3, 3, 3))
    # The quantizer hangs at the batch norm, in whose place nothing would be left.
    with pytest.raises(ValueError, match="model must not be quantised yet"):
        fold_batch_norm(freeze_(static_(model, x)), x)
