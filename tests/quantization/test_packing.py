"""Packing: every code of every width comes back, from as many bytes as there must be."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compresslab.quantization.packing import pack, pack_pairs, unpack, unpack_pairs
from compresslab.quantization.scheme import Scheme


def _every_code(scheme):
    step = 2 if scheme.binary else 1
    return torch.arange(scheme.qmin, scheme.qmax + 1, step).to(scheme.dtype)


@pytest.mark.parametrize("bits", range(1, 17))
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("signed", [True, False])
def test_every_code_comes_back(bits, symmetric, signed):
    scheme = Scheme(bits, symmetric=symmetric, signed=signed)
    codes = _every_code(scheme)
    packed, again = pack(codes, scheme), unpack(pack(codes, scheme), scheme, len(codes))
    assert torch.equal(again, codes) and again.dtype == codes.dtype
    assert packed.dtype == torch.uint8 and len(packed) == -(-len(codes) * bits // 8)


@given(st.integers(1, 8), st.integers(1, 40), st.integers(1, 3), st.integers(0, 10**6), st.booleans())
def test_rows_of_any_length_come_back(bits, n, rows, seed, symmetric):
    scheme = Scheme(bits, symmetric=symmetric)
    every = _every_code(scheme)
    codes = every[torch.randint(len(every), (rows, 2, n), generator=torch.Generator().manual_seed(seed))]
    packed = pack(codes, scheme)
    assert packed.shape == (rows, 2, -(-n * bits // 8))
    assert torch.equal(unpack(packed, scheme, n), codes)
    # against arithmetic: a row is one number, its codes the digits in base 2^bits, its bytes the digits in base 256
    digits = [(code - scheme.qmin) // (2 if scheme.binary else 1) for code in codes[-1, -1].tolist()]
    number = sum(digit << (bits * i) for i, digit in enumerate(digits))
    assert number == int.from_bytes(bytes(packed[-1, -1].tolist()), "little")


@given(st.integers(1, 20), st.integers(0, 10**6), st.booleans(), st.booleans())
def test_pairs_are_the_general_packing(half, seed, symmetric, signed):
    scheme = Scheme(4, symmetric=symmetric, signed=signed)
    every = _every_code(scheme)
    codes = every[torch.randint(len(every), (3, 2 * half), generator=torch.Generator().manual_seed(seed))]
    assert torch.equal(pack_pairs(codes, scheme), pack(codes, scheme))
    again = unpack_pairs(pack_pairs(codes, scheme), scheme)
    assert torch.equal(again, codes) and again.dtype == codes.dtype


def test_all_256_pairs():
    scheme = Scheme(4, symmetric=False)
    codes = torch.cartesian_prod(_every_code(scheme), _every_code(scheme))
    packed = pack_pairs(codes, scheme)
    assert len(packed.unique()) == 256 and torch.equal(unpack_pairs(packed, scheme), codes)


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: pack(torch.tensor([-8]), Scheme(4)), r"codes must be in \[-7, 7\], got -8"),
        (lambda: pack(torch.tensor([1, 0]), Scheme(1)), "codes must be -1 or 1, got 0"),
        (lambda: pack_pairs(torch.tensor([1, 9]), Scheme(4)), r"codes must be in \[-7, 7\], got 9"),
        (
            lambda: pack_pairs(torch.tensor([1, 2]), Scheme(3)),
            "pairs need bits=4 and an even last dimension, got 3 and 2",
        ),
        (
            lambda: pack_pairs(torch.tensor([1]), Scheme(4)),
            "pairs need bits=4 and an even last dimension, got 4 and 1",
        ),
        (
            lambda: unpack(torch.zeros(3, dtype=torch.uint8), Scheme(3), 9),
            "n must fit 3 bytes of 3 bits a code, got 9",
        ),
        (
            lambda: unpack(torch.zeros(0, dtype=torch.uint8), Scheme(4), -1),
            "n must fit 0 bytes of 4 bits a code, got -1",
        ),
        (lambda: pack(torch.tensor([0.5]), Scheme(4)), r"codes must be whole numbers .*, got torch.float32 \(1,\)"),
        (lambda: pack_pairs(torch.tensor(1), Scheme(4)), r"codes must be whole numbers .*, got torch.int64 \(\)"),
        (lambda: unpack(torch.tensor([1, 2]), Scheme(4), 4), r"packed must be uint8 .*, got torch.int64 \(2,\)"),
        (lambda: unpack_pairs(torch.tensor([300]), Scheme(4)), r"packed must be uint8 .*, got torch.int64 \(1,\)"),
    ],
)
def test_bad_input_gets_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        call()


def test_codes_in_an_unsigned_type():
    codes = torch.tensor([3, 7], dtype=torch.uint8)
    assert unpack(pack(codes, Scheme(4)), Scheme(4), 2).tolist() == [3, 7]
    assert torch.equal(pack_pairs(codes, Scheme(4)), pack(codes, Scheme(4)))
