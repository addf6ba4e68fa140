"""Lesson 42: two codes in a byte."""

import torch

from ...lesson import Exercise, Mistake


def pack_pairs(codes):
    if len(codes) % 2:
        codes = torch.cat([codes, codes.new_zeros(1)])
    return codes[0::2] | codes[1::2] << 4


def _random(n):
    return torch.randint(0, 16, (n,), generator=torch.Generator().manual_seed(n)).to(torch.uint8)


def _every_pair():
    return torch.cartesian_prod(torch.arange(16), torch.arange(16)).flatten().to(torch.uint8)


def _trial(fn):
    return [fn(codes) for codes in (_every_pair(), _random(10), _random(11), _random(1), _random(2))]


def _by_hexadecimals(codes):
    """A hexadecimal digit is four bits, and the first of two is the higher half of the byte."""
    digits = [f"{code:x}" for code in codes.tolist()] + ["0"] * (len(codes) % 2)
    bytes_ = bytes.fromhex("".join(high + low for low, high in zip(digits[::2], digits[1::2])))
    return torch.tensor(list(bytes_), dtype=torch.uint8)


def _padded(codes):
    return torch.cat([codes, codes.new_zeros(len(codes) % 2)])


def _joined(join):
    """join(first, second): how two codes become a byte."""
    return lambda codes: join(_padded(codes)[0::2], _padded(codes)[1::2])


def _halves(codes):
    first, second = _padded(codes).chunk(2)
    return first | second << 4


_SHIFT = "The codes overlap or leave a gap: the lower four bits belong to the first, so shift the second by 4."
_SECOND = "The second code is lost: the byte must hold both, first | second << 4."
_ODD = "The last code of an odd number is lost: give it a byte of its own, with 0 in the upper half."
_SUM = "The two codes are mixed in the same four bits: shift the second by 4 first."

pairs = Exercise(
    key="42/pack",
    title="Two codes in a byte",
    solution=pack_pairs,
    trial=_trial,
    expected=lambda: _trial(_by_hexadecimals),
    mistakes=(
        Mistake(
            "Each byte is stored in a larger type, so nothing is saved: return torch.uint8.",
            lambda codes: pack_pairs(codes).int(),
        ),
        Mistake(_SHIFT, _joined(lambda first, second: first | second << 3)),
        Mistake(_SHIFT, _joined(lambda first, second: first | second << 5)),
        Mistake(_SHIFT, _joined(lambda first, second: first + (second << 3))),
        Mistake(_SHIFT, _joined(lambda first, second: first + (second << 5))),
        Mistake(_SHIFT, _joined(lambda first, second: first | second << 2)),
        Mistake(
            "The halves are swapped: the first code belongs in the lower four bits, first | second << 4.",
            _joined(lambda first, second: first << 4 | second),
        ),
        Mistake(_SECOND, _joined(lambda first, second: first)),
        Mistake(_SECOND, _joined(lambda first, second: first | second << 8)),
        Mistake(
            "The first code is lost: the byte must hold both, first | second << 4.",
            _joined(lambda first, second: second << 4),
        ),
        Mistake(
            "The first code is overwritten: the byte must hold both, first | second << 4.", _joined(lambda a, b: b)
        ),
        Mistake(_SUM, _joined(lambda first, second: first + second)),
        Mistake(_SUM, _joined(lambda first, second: first | second)),
        Mistake(
            "& keeps the bits that are set in both, here none: join the halves with |.",
            _joined(lambda first, second: first & (second << 4)),
        ),
        Mistake(_ODD, lambda codes: pack_pairs(codes[: len(codes) // 2 * 2])),
        Mistake(
            "The first half of the codes is joined with the second half: pair neighbours, codes[0::2] and codes[1::2].",
            _halves,
        ),
        Mistake("Nothing is packed: two codes go into each byte.", lambda codes: codes.clone()),
    ),
    hints=(
        "A code of 4 bits fills half a byte. The first of two goes into the lower half, the second into the upper.",
        "codes[0::2] are the first of each pair, codes[1::2] the second. << 4 moves into the upper half, | joins.",
        "An odd number needs one more code first, a 0: torch.cat([codes, codes.new_zeros(1)]).",
    ),
    rtol=0,
    atol=0,  # bytes
)
