"""Who made which tensor: also where ids are used again, and where a module returns more than a tensor."""

import numpy as np
import torch
from quantization.networks import noise
from torch import nn

from compresslab.measure import predict
from compresslab.quantization.post_training import ranges_of, static_
from compresslab.quantization.tracing import trace


def test_a_chain():
    calls, returned = trace(nn.Sequential(nn.Linear(4, 3), nn.Identity(), nn.ReLU(inplace=True)), noise(1, 4))
    linear, relu = ([call.function for call in calls].index(name) for name in ("linear", "relu"))
    assert calls[relu].reads == (linear,) and calls[linear].reads[1:] == (None, None) and calls[relu].shape == (1, 3)
    assert (calls[linear].module, calls[relu].module) == ("0", "2")
    assert {linear, relu} == set(returned)


class Forgetful(nn.Module):
    """Reads tensors that no torch function has made."""

    def forward(self, x):
        for _ in range(20):
            torch.tanh(x)  # forgotten at once: the next tensor may get its id
            x = torch.from_numpy(np.ones((1, 4), np.float32)).sigmoid()
        return x


def test_no_tensor_is_taken_for_one_that_is_gone():
    calls, _ = trace(Forgetful(), noise(1, 4))
    assert [call.reads for call in calls if call.function == "sigmoid"] == [(None,)] * 20


class Pair(nn.Module):
    def forward(self, x):
        return torch.relu(x), x


class First(nn.Module):
    def __init__(self):
        super().__init__()
        self.pair = Pair()

    def forward(self, x):
        return self.pair(x)[0]


def test_no_quantizer_at_a_module_that_returns_a_pair():
    model, x = nn.Sequential(nn.Linear(4, 4), First(), nn.Linear(4, 2)), noise(9, 4)
    static_(model, x)
    assert ranges_of(model)[["module", "side"]].values.tolist() == [["0", "input"], ["2", "input"]]
    assert predict(model, x).shape == (9, 2)
