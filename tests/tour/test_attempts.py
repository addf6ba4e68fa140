"""What the panel of lesson 00 shows is measured on a file that really decodes."""

import torch

from compresslab import data, models, training
from compresslab.tour.attempts import attempt, smallest, summary
from compresslab.tour.packing import pack, prune, unpack


def test_the_attempt_is_measured_on_the_file_and_leaves_the_model_alone():
    digits = data.load("digits")
    model = models.mlp((64, 16, 10), seed=0)
    training.fit(model, digits, epochs=3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    row = attempt(model, digits.test, 0.5, 3)
    file = pack(prune(before, 0.5), 3)
    reader = models.mlp((64, 16, 10))
    reader.load_state_dict(unpack(file))
    assert row["size_bytes"] == len(file)
    assert row["accuracy"] == training.evaluate(reader, digits.test).accuracy
    assert row["accuracy_low"] < row["accuracy"] < row["accuracy_high"]
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


ORIGINAL = dict(size_bytes=10_000, accuracy=0.95, accuracy_low=0.925, accuracy_high=0.968)
SMALL = dict(size_bytes=800, accuracy=0.9, accuracy_low=0.865, accuracy_high=0.927)


def test_the_smallest_is_good_enough():
    assert smallest([ORIGINAL, SMALL], accuracy=0.9) is SMALL
    assert smallest([ORIGINAL, SMALL], accuracy=0.901) is ORIGINAL


def test_the_summary_compares_with_its_first_row():
    table = summary({"original": ORIGINAL, "small": SMALL})
    assert table.loc["original"].tolist() == [10_000, 1.0, 95.0, "92.5 to 96.8"]
    assert table.loc["small"].tolist() == [800, 12.5, 90.0, "86.5 to 92.7"]
