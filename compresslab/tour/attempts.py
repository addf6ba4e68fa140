"""One attempt of lesson 00, measured on the file that it makes; the smallest of many, and a table of some."""

import copy

import pandas as pd

from ..measure import accuracy
from .packing import pack, prune, unpack


def attempt(model, split, sparsity: float, bits: int) -> dict:
    """Prune, quantise, write, read back and test: one row with sparsity, bits, size_bytes and the accuracy's interval.

    The accuracy is that of the network read back from the file's bytes. `model` stays as it is.
    """
    file = pack(prune(model.state_dict(), sparsity), bits)
    reader = copy.deepcopy(model)
    reader.load_state_dict(unpack(file))
    score = accuracy(reader, split)
    return dict(
        sparsity=sparsity, bits=bits, size_bytes=len(file),
        accuracy=score.accuracy, accuracy_low=score.low, accuracy_high=score.high,
    )  # fmt: skip


def smallest(tried, accuracy: float) -> dict:
    """The attempt with the fewest bytes among those with at least this accuracy."""
    return min((row for row in tried if row["accuracy"] >= accuracy), key=lambda row: row["size_bytes"])


def summary(attempts: dict[str, dict]) -> pd.DataFrame:
    """{name: attempt} as a table: bytes, how many times smaller than the first, accuracy with its interval."""
    table = pd.DataFrame(attempts).T
    percent = {key: (100 * table[key].astype(float)).round(1) for key in ("accuracy", "accuracy_low", "accuracy_high")}
    return pd.DataFrame(
        {
            "size_bytes": table.size_bytes.astype(int),
            "times_smaller": (table.size_bytes.iloc[0] / table.size_bytes).astype(float).round(1),
            "accuracy_%": percent["accuracy"],
            "95 % interval": [f"{a} to {b}" for a, b in zip(percent["accuracy_low"], percent["accuracy_high"])],
        }
    )
