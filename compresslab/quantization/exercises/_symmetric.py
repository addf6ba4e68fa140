"""Lesson 40: the scale of a symmetric range."""

import torch
from torch.ao.quantization.observer import MinMaxObserver

from ...lesson import Exercise, Mistake


def symmetric_scale(x, bits):
    return x.abs().max() / (2 ** (bits - 1) - 1)


def _random(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


# The largest magnitude is below zero, above it, an outlier; all are of one sign; a matrix and the weight of a layer.
_SETTINGS = (
    (torch.tensor([-2.5, 0.3, 1.1, 0.0]), 8),
    (torch.tensor([-1.5, 0.2, 3.25]), 4),
    (torch.tensor([-0.7, -0.2, -5.0, -1.3]), 8),
    (torch.tensor([0.5, 0.25, 4.0]), 3),
    (torch.cat([0.01 * _random(50), torch.tensor([-9.0])]), 6),
    (_random(6, 7), 2),
    (_random(4, 3, 3, 3), 5),
)


def _trial(fn):
    return torch.tensor([float(fn(x.clone(), bits)) for x, bits in _SETTINGS], dtype=torch.float64)


def _by_observer(x, bits):
    reach = 2 ** (bits - 1) - 1
    observer = MinMaxObserver(dtype=torch.qint8, qscheme=torch.per_tensor_symmetric, quant_min=-reach, quant_max=reach)
    observer(x)
    return observer.calculate_qparams()[0]


def _variant(size=lambda x: x.abs().max(), codes=lambda bits: 2 ** (bits - 1) - 1):
    return lambda x, bits: size(x) / codes(bits)


_LEVELS = (
    "This has 2^b levels, which cannot lie evenly around 0. From −(2^(b−1) − 1) to 2^(b−1) − 1 divide by "
    "2**(bits - 1) - 1."
)
_ABS = "Only one side of 0 is looked at: take the largest magnitude, x.abs().max()."

symmetric = Exercise(
    key="40/symmetric",
    title="A symmetric scale",
    solution=symmetric_scale,
    trial=_trial,
    expected=lambda: _trial(_by_observer),
    mistakes=(
        Mistake(_LEVELS, _variant(codes=lambda bits: 2 ** (bits - 1))),
        Mistake(_LEVELS, _variant(codes=lambda bits: (2**bits - 1) / 2)),
        Mistake(_ABS, _variant(torch.max)),
        Mistake(_ABS, _variant(lambda x: -x.min())),
        Mistake(_ABS, _variant(lambda x: x.max().abs())),
        Mistake(
            "This is the scale of an asymmetric range, from min to max. A symmetric one is as long on both sides of 0: "
            "use x.abs().max().",
            lambda x, bits: (x.max() - x.min()) / (2**bits - 1),
        ),
        Mistake(
            "The range is measured from min to max; a symmetric one reaches from −max|x| to max|x|.",
            lambda x, bits: (x.max() - x.min()) / (2**bits - 2),
        ),
        Mistake(
            "The range is measured from min to max; a symmetric one reaches from −max|x| to max|x|.",
            _variant(lambda x: x.max() - x.min()),
        ),
        Mistake(
            "The codes are counted on both sides, the numbers on one only: from 0 to max|x| there are "
            "2**(bits - 1) - 1 steps.",
            _variant(codes=lambda bits: 2**bits - 1),
        ),
        Mistake(
            "The numbers are counted on both sides, the codes on one only: drop the factor 2.",
            _variant(lambda x: 2 * x.abs().max()),
        ),
        Mistake(
            "This uses the mean magnitude, so the larger half would be clipped: use the largest.",
            _variant(lambda x: x.abs().mean()),
        ),
        Mistake(
            "This is upside down: the scale is the size of one step, max|x| divided by the number of steps.",
            lambda x, bits: (2 ** (bits - 1) - 1) / x.abs().max(),
        ),
        Mistake(
            "This is the largest magnitude itself: divide it by the number of steps.", lambda x, bits: x.abs().max()
        ),
        Mistake(
            "bits is not used: the codes end at 2**(bits - 1) - 1, not always at 127.", _variant(codes=lambda _: 127)
        ),
    ),
    hints=(
        "The zero point is 0, and the range reaches as far below 0 as above it. How far must it reach?",
        "The codes are −(2^(b−1) − 1) to 2^(b−1) − 1: 127 on each side for 8 bits. The lowest, −128, is not used.",
        "The largest magnitude gets the highest code: scale = x.abs().max() / (2**(bits - 1) - 1).",
    ),
    # float32; 2^(b-1) instead of 2^(b-1) - 1 changes the scale by 1/128 at least
    rtol=1e-5,
    atol=0,
)
