"""Formats: every bit pattern of the small ones enumerated; rounding against numpy and Python's struct."""

import math
import struct

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compresslab.quantization.formats import FLOATS, INTEGERS, formats, through

TABLE = formats().set_index("format")


@pytest.mark.parametrize("name", [name for name, dtype in FLOATS.items() if dtype.itemsize <= 2])
def test_small_floats_counted_one_by_one(name):
    """The table says what all 2^8 or 2^16 bit patterns, decoded by torch, turn out to be."""
    dtype, row = FLOATS[name], TABLE.loc[name]
    pattern = {1: torch.uint8, 2: torch.int16}[dtype.itemsize]
    every = torch.arange(2**row.bits).to(pattern).view(dtype).double()
    finite = every[every.isfinite()].unique()
    assert len(finite) == row["values"]
    assert finite.max() == row.largest and finite[finite > 0].min() == row.smallest
    assert finite[finite > 1].min() - 1 == row.spacing_near_1
    assert row.sign_bits + row.exponent_bits + row.mantissa_bits == row.bits
    assert 2.0**-row.mantissa_bits == row.spacing_near_1


def test_large_floats_against_ieee_754():
    """binary32 and binary64: (2^E - 1) 2^M values of either sign, 0 and -0 being one; neighbours by numpy."""
    for name, exponent, mantissa, kind in (("fp32", 8, 23, np.float32), ("fp64", 11, 52, np.float64)):
        row = TABLE.loc[name]
        assert (row.exponent_bits, row.mantissa_bits) == (exponent, mantissa)
        assert row["values"] == 2 * (2**exponent - 1) * 2**mantissa - 1
        assert row.smallest == np.nextafter(kind(0), kind(1)) and row.largest == np.finfo(kind).max
        assert row.spacing_near_1 == np.nextafter(kind(1), kind(2)) - kind(1)


def test_integers_and_the_two_smallest():
    assert TABLE["values"][list(INTEGERS)].tolist() == [65536, 256, 256, 16, 3, 2]
    assert TABLE.bits[list(INTEGERS)].tolist() == [16, 8, 8, 4, 2, 1]
    for name in ("int16", "int8", "uint8"):
        info = torch.iinfo(getattr(torch, name))
        assert (info.min, info.max) == INTEGERS[name] and TABLE.largest[name] == info.max
    x = torch.linspace(-300, 300, 4801)
    for name in list(INTEGERS)[1:]:
        assert len(through(x, name).unique()) == TABLE["values"][name]


@given(st.floats(-65504, 65504, width=32))
def test_rounding_is_to_the_nearest(x):
    assert through(torch.tensor(x), "fp16").item() == struct.unpack("<e", struct.pack("<e", x))[0]
    assert through(torch.tensor(x), "fp32").item() == x
    expected = struct.unpack("<f", struct.pack("<I", _bf16_bits(x)))[0]
    assert through(torch.tensor(x), "bf16").item() == expected
    assert through(torch.tensor(x), "int8").item() == min(max(round(x), -128), 127)
    assert through(torch.tensor(x), "ternary").item() == min(max(round(x), -1), 1)


def _bf16_bits(x):
    """The upper half of the 32 bits, rounded to nearest even by adding just less than half, or half."""
    bits = struct.unpack("<I", struct.pack("<f", x))[0]
    return (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000


def test_what_is_too_large():
    x = torch.tensor([1e39, 70_000.0, 300.0])
    assert through(x, "fp16").tolist() == [math.inf, math.inf, 300]
    assert through(x, "int8").tolist() == [127, 127, 127]
    assert through(x, "fp8 e4m3").tolist() == [448, 448, 288] and through(x, "fp8 e5m2")[1] == math.inf
    assert through(torch.tensor([-0.2, 0.0, 0.2]), "binary").tolist() == [-1, 1, 1]


def test_an_unknown_name_lists_the_valid_ones():
    names = "fp64, fp32, bf16, fp16, fp8 e5m2, fp8 e4m3, int16, int8, uint8, int4, ternary, binary"
    with pytest.raises(ValueError, match=f"^name must be one of {names}, got 'fp4'$"):
        through(torch.ones(1), "fp4")
