"""What a number format can say: how far it reaches, how fine it is near 1, how many numbers it knows (lesson 40)."""

import math

import pandas as pd
import torch

FLOATS = {
    "fp64": torch.float64,
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp8 e5m2": torch.float8_e5m2,
    "fp8 e4m3": torch.float8_e4m3fn,
}
# The lowest and the highest code; the ternary and the binary one are those of low-bit networks.
INTEGERS = {
    "int16": (-(2**15), 2**15 - 1),
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int4": (-8, 7),
    "ternary": (-1, 1),
    "binary": (-1, 1),
}


def formats() -> pd.DataFrame:
    """One row a format: bits, sign_bits, exponent_bits, mantissa_bits, smallest, largest, spacing_near_1, values.

    mantissa_bits are those that are stored. smallest is the one next to 0, a subnormal number in floats. values: how
    many different finite numbers there are, 0 and -0 being one. A float's spacing grows with the number, that of an
    integer is 1 everywhere.

    >>> formats().set_index("format").loc["bf16", ["exponent_bits", "mantissa_bits"]].tolist()
    [8, 7]
    """
    return pd.DataFrame([_float(*row) for row in FLOATS.items()] + [_integer(*row) for row in INTEGERS.items()])


def through(x: torch.Tensor, name: str) -> torch.Tensor:
    """x rounded to the nearest numbers of a format of `formats`, as float32; halves go to the even one.

    A float that is too large becomes infinite; fp8 e4m3, which has no infinity, and the integers stop at the largest.
    The binary format knows no zero: it keeps the sign, + for 0. ValueError for a name that is not in the table.

    >>> through(torch.tensor([1.004, 70000.0]), "fp16"), through(torch.tensor([1.6, 300.0]), "int8")
    (tensor([1.0039,    inf]), tensor([  2., 127.]))
    """
    if name in FLOATS:
        return x.to(FLOATS[name]).float()
    if name == "binary":
        return torch.where(x >= 0, 1.0, -1.0)
    if name in INTEGERS:
        return torch.round(x.float()).clamp(*INTEGERS[name])
    raise ValueError(f"name must be one of {', '.join([*FLOATS, *INTEGERS])}, got {name!r}")


def _float(name: str, dtype: torch.dtype) -> dict:
    info = torch.finfo(dtype)
    mantissa = round(-math.log2(info.eps))
    pattern = {8: torch.int8, 16: torch.int16, 32: torch.int32, 64: torch.int64}[info.bits]
    # The bits of positive floats, read as a whole number, count them from 0 up.
    positive = torch.tensor(info.max, dtype=dtype).view(pattern).item()
    return dict(
        format=name, bits=info.bits, sign_bits=1, exponent_bits=info.bits - 1 - mantissa, mantissa_bits=mantissa,
        smallest=info.tiny * info.eps, largest=info.max, spacing_near_1=info.eps, values=2 * positive + 1,
    )  # fmt: skip


def _integer(name: str, codes: tuple[int, int]) -> dict:
    low, high = codes
    values = 2 if name == "binary" else high - low + 1
    bits, sign = math.ceil(math.log2(values)), int(low < 0)
    return dict(
        format=name, bits=bits, sign_bits=sign, exponent_bits=0, mantissa_bits=bits - sign,
        smallest=1.0, largest=float(high), spacing_near_1=2.0 if name == "binary" else 1.0, values=values,
    )  # fmt: skip
