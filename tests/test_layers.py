import pytest
from torch import nn

from compresslab import models
from compresslab.layers import layers_of


def test_the_named_layers_in_the_models_order():
    assert list(layers_of(models.mlp())) == ["1", "3"]
    assert list(layers_of(models.lenet5(), ["9", "0"])) == ["0", "9"] and list(layers_of(models.lenet5(), "7")) == ["7"]
    assert list(layers_of(models.mlp(), [])) == []


def test_bad_input_is_said_in_one_sentence():
    with pytest.raises(ValueError, match="^layers must be among 1, 3, got '2'$"):
        layers_of(models.mlp(), ["3", "2"])
    with pytest.raises(ValueError, match="^model must have a Linear or Conv layer, got ReLU without one$"):
        layers_of(nn.ReLU())
