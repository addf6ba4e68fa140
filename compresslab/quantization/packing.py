"""Codes of few bits in as many bits: a tensor has no type of less than 8 bits, a byte holds two codes of 4 (lesson 42).

Codes are stored as code - qmin, from 0 up, so that no sign must be kept (with the codes -1 and +1 of 1 bit: as 0, 1).

>>> packed = pack(torch.tensor([-7, 7, 0], dtype=torch.int8), Scheme(bits=4))
>>> packed, unpack(packed, Scheme(bits=4), 3)
(tensor([224,   7], dtype=torch.uint8), tensor([-7,  7,  0], dtype=torch.int8))
"""

import numpy as np
import torch

from .scheme import Scheme


def pack(codes: torch.Tensor, scheme: Scheme) -> torch.Tensor:
    """Codes (..., n) as bytes (..., ceil(n * bits / 8)), uint8: the first code in the lowest bits of the first byte.

    Each row starts with a byte of its own. ValueError where a code is outside the scheme.
    """
    stored = _checked(codes, scheme) - scheme.qmin
    stored = stored // 2 if scheme.binary else stored
    bits = (stored[..., None] >> torch.arange(scheme.bits)) & 1
    return torch.from_numpy(np.packbits(bits.flatten(-2).numpy().astype(bool), axis=-1, bitorder="little"))


def unpack(packed: torch.Tensor, scheme: Scheme, n: int) -> torch.Tensor:
    """The inverse of `pack`: codes (..., n) in `scheme.dtype`."""
    _check_bytes(packed)
    if n < 0 or packed.shape[-1] != -(-n * scheme.bits // 8):
        raise ValueError(f"n must fit {packed.shape[-1]} bytes of {scheme.bits} bits a code, got {n}")
    bits = np.unpackbits(packed.numpy(), axis=-1, count=n * scheme.bits, bitorder="little")
    bits = torch.from_numpy(bits).unflatten(-1, (n, scheme.bits)).int()
    stored = (bits << torch.arange(scheme.bits)).sum(dim=-1)
    return ((stored * 2 if scheme.binary else stored) + scheme.qmin).to(scheme.dtype)


def pack_pairs(codes: torch.Tensor, scheme: Scheme) -> torch.Tensor:
    """What `pack` does to 4 bits, in one line: two codes in a byte, (..., n) to (..., n / 2); n must be even."""
    codes = _checked(codes, scheme)
    if scheme.bits != 4 or codes.shape[-1] % 2:
        raise ValueError(f"pairs need bits=4 and an even last dimension, got {scheme.bits} and {codes.shape[-1]}")
    stored = (codes - scheme.qmin).to(torch.uint8)
    return stored[..., 0::2] | stored[..., 1::2] << 4


def unpack_pairs(packed: torch.Tensor, scheme: Scheme) -> torch.Tensor:
    """The inverse of `pack_pairs`: (..., n / 2) to codes (..., n) in `scheme.dtype`."""
    _check_bytes(packed)
    return (torch.stack([packed & 15, packed >> 4], dim=-1).flatten(-2).short() + scheme.qmin).to(scheme.dtype)


def _check_bytes(packed: torch.Tensor) -> None:
    if packed.dtype != torch.uint8 or not packed.ndim:
        raise ValueError(f"packed must be uint8 (..., bytes), got {packed.dtype} {tuple(packed.shape)}")


def _checked(codes: torch.Tensor, scheme: Scheme) -> torch.Tensor:
    """The codes as int32, in which they can be compared and subtracted, whatever type they have."""
    if codes.is_floating_point() or not codes.ndim:
        raise ValueError(f"codes must be whole numbers (..., n), got {codes.dtype} {tuple(codes.shape)}")
    codes = codes.int()
    wrong = (codes == 0) if scheme.binary else torch.zeros_like(codes, dtype=torch.bool)
    wrong = codes[wrong | (codes < scheme.qmin) | (codes > scheme.qmax)]
    if len(wrong):
        allowed = "-1 or 1" if scheme.binary else f"in [{scheme.qmin}, {scheme.qmax}]"
        raise ValueError(f"codes must be {allowed}, got {wrong[0].item()}")
    return codes
