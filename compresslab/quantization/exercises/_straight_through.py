"""Lesson 42: the straight-through gradient."""

import torch

from ...lesson import Exercise, Mistake


def ste_gradient(x, grad_output, scale, zero_point, bits):
    codes = torch.round(x / scale) + zero_point
    inside = (codes >= -(2 ** (bits - 1))) & (codes <= 2 ** (bits - 1) - 1)
    return grad_output * inside


# Scale, zero point, bits, number of values.
_SETTINGS = ((0.1, 0, 4, 60), (0.02, -40, 8, 80), (2.0, 1, 3, 40), (0.6, 3, 4, 50), (5.0, 0, 2, 30))


def _data(scale, zero_point, bits, n):
    """Codes inside and outside, many at the ends; none nearer than 0.1 to a half. Gradients of all sizes."""
    generator = torch.Generator().manual_seed(n)
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    codes = torch.randint(2 * low, 2 * high + 3, (n,), generator=generator)
    ends = torch.tensor([low - 1, low, high, high + 1]).repeat_interleave(3)
    fractions = 0.8 * torch.rand(n, generator=generator) - 0.4
    steps = torch.cat([codes + fractions, ends + torch.tensor([-0.3, 0.1, 0.3]).repeat(4)]) - zero_point
    return scale * steps, 20 * torch.randn(len(steps), generator=generator), scale, zero_point, bits


def _trial(fn):
    return [fn(*_data(*setting)) for setting in _SETTINGS]


def _by_torch(x, grad_output, scale, zero_point, bits):
    x = x.clone().requires_grad_()
    y = torch.fake_quantize_per_tensor_affine(x, scale, zero_point, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return torch.autograd.grad(y, x, grad_output)[0]


def _passing(passes, to_codes=torch.round):
    """passes(codes, lowest, highest): where the gradient goes through."""

    def ste_gradient(x, grad_output, scale, zero_point, bits):
        codes = to_codes(x / scale) + zero_point
        return grad_output * passes(codes, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)

    return ste_gradient


def _inside(codes, low, high):
    return (codes >= low) & (codes <= high)


def _clamped(x, grad_output, scale, zero_point, bits):
    return grad_output.clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _clamped_values(x, grad_output, scale, zero_point, bits):
    return grad_output.clamp((-(2 ** (bits - 1)) - zero_point) * scale, (2 ** (bits - 1) - 1 - zero_point) * scale)


def _times(factor):
    def fn(x, grad_output, scale, zero_point, bits):
        return factor(ste_gradient(x, grad_output, scale, zero_point, bits), scale)

    return fn


def _mask(x, grad_output, scale, zero_point, bits):
    return ste_gradient(x, torch.ones_like(x), scale, zero_point, bits)


def _without_zero_point(x, grad_output, scale, zero_point, bits):
    return ste_gradient(x, grad_output, scale, 0, bits)


def _zero_subtracted(x, grad_output, scale, zero_point, bits):
    return ste_gradient(x, grad_output, scale, -zero_point, bits)


def _of_x(x, grad_output, scale, zero_point, bits):
    """The numbers themselves compared with the codes, without a scale."""
    return grad_output * _inside(x, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _forward(x, grad_output, scale, zero_point, bits):
    codes = torch.round(x / scale) + zero_point
    return scale * (codes.clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) - zero_point)


_CLAMPED = (
    "The gradient is clamped. It is x that is clamped: pass the gradient whole where x has a code, else return 0."
)
_SCALE = "The gradient is scaled. x / scale and the scale after it cancel, so the factor is 1 inside the range."
_EARLY = (
    "x is compared before it is rounded. Up to half a step outside the last code it still rounds to that: round first."
)

straight_through = Exercise(
    key="42/ste",
    title="Straight through",
    solution=ste_gradient,
    trial=_trial,
    expected=lambda: _trial(_by_torch),
    mistakes=(
        Mistake(
            "The gradient also passes outside the range. There the clamped value does not move with x: return 0.",
            _passing(lambda codes, low, high: 1.0),
        ),
        Mistake(
            "This is the true derivative, 0 almost everywhere, from which nothing is learned. Inside the range pass "
            "grad_output on, as if there were no rounding.",
            _passing(lambda codes, low, high: 0.0),
        ),
        Mistake(_SCALE, _times(torch.div)),
        Mistake(_SCALE, _times(torch.mul)),
        Mistake(_CLAMPED, _clamped),
        Mistake(_CLAMPED, _clamped_values),
        Mistake(
            "This passes outside and stops inside: turn the condition around.",
            _passing(lambda codes, low, high: ~_inside(codes, low, high)),
        ),
        Mistake("Only the upper end stops the gradient: the lower does too.", _passing(lambda c, low, high: c <= high)),
        Mistake("Only the lower end stops the gradient: the upper does too.", _passing(lambda c, low, high: c >= low)),
        Mistake(
            "The gradient stops at the last codes themselves; they are inside: use >= and <=.",
            _passing(lambda codes, low, high: (codes > low) & (codes < high)),
        ),
        Mistake(
            "The lowest code, −2^(b−1), is left out. This scheme has a zero point and uses all codes.",
            _passing(lambda codes, low, high: (codes > low) & (codes <= high)),
        ),
        Mistake(
            "These are the ends of unsigned codes; signed ones go from −2^(b−1) to 2^(b−1) − 1.",
            _passing(lambda codes, low, high: (codes >= 0) & (codes <= high - low)),
        ),
        Mistake(
            "2^(b−1) is no code any more: the highest is 2^(b−1) − 1.",
            _passing(lambda codes, low, high: _inside(codes, low, high + 1)),
        ),
        Mistake(_EARLY, _passing(_inside, to_codes=lambda steps: steps)),
        Mistake("The zero point is forgotten: it shifts which x have a code.", _without_zero_point),
        Mistake("The zero point has the wrong sign: code = round(x / scale) + zero_point.", _zero_subtracted),
        Mistake("x is compared with codes: divide by scale, round and add zero_point first.", _of_x),
        Mistake("This tells where the gradient passes: multiply it by grad_output.", _mask),
        Mistake("This is the fake-quantised x itself, the forward pass: return the gradient.", _forward),
    ),
    hints=(
        "Pretend that rounding is the identity, and keep the clamp as it is: what are their derivatives?",
        "Inside the range the factor is 1, outside 0. Inside means: the rounded code is from −2^(b−1) to 2^(b−1) − 1.",
        "codes = torch.round(x / scale) + zero_point; return grad_output * ((codes >= lowest) & (codes <= highest)).",
    ),
    rtol=1e-6,
    atol=0,  # the gradient itself, or 0
)
