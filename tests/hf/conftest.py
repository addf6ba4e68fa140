"""Models that several tests of transformers look at, and no way to the hub."""

from functools import partial

import pytest
import torch

from compresslab import data, training
from compresslab.hf import models


@pytest.fixture(scope="session")
def digits():
    return data.load("digits")


@pytest.fixture(scope="session")
def vit(digits):
    """A vision transformer that has learnt the digits, not for long."""
    model = models.digits_vit(width=32, depth=2, seed=0)
    training.fit(model, digits, partial(torch.optim.AdamW, lr=3e-3), epochs=3)
    return model.eval()


@pytest.fixture(scope="session")
def bert():
    return models.intent_bert(50, 7, width=32, length=12, seed=0)


@pytest.fixture(scope="session")
def tokens():
    """Four sentences of twelve tokens, padded with 0 from lengths of 12, 9, 5 and 2 on."""
    x = torch.randint(3, 50, (4, 12), generator=torch.Generator().manual_seed(0))
    return x * (torch.arange(12) < torch.tensor([12, 9, 5, 2])[:, None])
