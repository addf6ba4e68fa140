"""The checkers of lessons 40, 41 and 42: right answers pass; wrong ones, as a learner might write them, are named."""

import math
import warnings

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from compresslab.quantization import affine, exercises, integer, packing
from compresslab.quantization.exercises import _integer
from compresslab.quantization.scheme import Scheme

# --- right answers that do not look like the solutions


def affine_in_numpy(low, high, bits):
    low, high = np.minimum(low, 0), np.maximum(high, 0)
    scale = np.float64(high - low) / ((1 << bits) - 1)
    return scale, np.rint(0 - low / scale)


def affine_in_torch(low, high, bits):
    ends = torch.tensor([low, high, 0.0])
    scale = (ends.max() - ends.min()) / (2**bits - 1)
    return scale, torch.clamp(torch.round(-ends.min() / scale), 0, 2**bits - 1).int()


def affine_by_clamping(low, high, bits):
    """The zero point of the old range, clamped, is that of the stretched range."""
    scale = (max(high, 0) - min(low, 0)) / (2**bits - 1)
    return scale, max(0, min(2**bits - 1, int(math.floor(-low / scale + 0.5))))


def codes_by_reciprocal(x, scale, zero_point, bits):
    return torch.clamp((x * (1 / scale)).round() + zero_point, min=0, max=2**bits - 1).byte()


def codes_rounded_last(x, scale, zero_point, bits):
    return (x / scale + zero_point).round().clamp(0, 2**bits - 1).to(torch.uint8)


def codes_in_python(x, scale, zero_point, bits):
    codes = [min(max(round(v / scale) + zero_point, 0), 2**bits - 1) for v in x.flatten().tolist()]
    return torch.tensor(codes, dtype=torch.uint8).reshape(x.shape)


def codes_in_numpy(x, scale, zero_point, bits):
    return torch.from_numpy(np.clip(np.rint(x.numpy() / scale) + zero_point, 0, 2**bits - 1).astype(np.uint8))


def symmetric_by_ends(x, bits):
    return max(x.max().item(), -x.min().item()) / (2 ** (bits - 1) - 1)


def symmetric_by_levels(x, bits):
    return 2 * torch.linalg.vector_norm(x.flatten(), ord=math.inf) / (2**bits - 2)


def symmetric_in_numpy(x, bits):
    return np.abs(x.numpy()).max(keepdims=True) / (2 ** (bits - 1) - 1)


def channels_in_a_loop(weight, bits):
    return torch.stack([channel.abs().max() for channel in weight]) / (2 ** (bits - 1) - 1)


def channels_by_dimensions(weight, bits):
    dims = list(range(1, weight.ndim))
    return torch.maximum(weight.amax(dims), -weight.amin(dims)) / (2 ** (bits - 1) - 1)


def channels_by_rows(weight, bits):
    return weight.reshape(len(weight), -1).abs().max(1).values.div(2 ** (bits - 1) - 1)


def integers_with_corrections(x_codes, x_scale, x_zero, w_codes, w_scale, out_scale, out_zero):
    w = w_codes.long()
    total = x_codes.long() @ w.T - x_zero * w.sum(1)
    return (torch.round(total * x_scale / out_scale * w_scale) + out_zero).clamp(0, 255).byte()


def integers_in_numpy(x_codes, x_scale, x_zero, w_codes, w_scale, out_scale, out_zero):
    total = np.einsum("ni,oi->no", x_codes.numpy().astype(np.int32) - x_zero, w_codes.numpy().astype(np.int32))
    codes = np.rint(total * (x_scale * w_scale.numpy() / out_scale)) + out_zero
    return torch.from_numpy(codes.clip(0, 255).astype("uint8"))


def integers_through_floats(x_codes, x_scale, x_zero, w_codes, w_scale, out_scale, out_zero):
    y = F.linear((x_codes.float() - x_zero) * x_scale, w_codes * w_scale[:, None])
    return codes_by_reciprocal(y, out_scale, out_zero, 8)


def calibrated_by_concatenation(batches, x, bits):
    scale = torch.cat(batches).max().item() / (2**bits - 1)
    return torch.clamp(torch.round(x / scale), max=2**bits - 1) * scale


def calibrated_in_a_loop(batches, x, bits):
    high = 0.0
    for batch in batches:
        high = max(high, float(batch.max()))
    return (x.clamp(0, high) * (2**bits - 1) / high).round() * high / (2**bits - 1)


def calibrated_with_a_zero_point(batches, x, bits):
    low, high = min(b.min().item() for b in batches), max(b.max().item() for b in batches)
    scale, zero = affine_in_numpy(low, high, bits)
    scale, zero = float(scale), float(zero)
    return ((x / scale).round() + zero).clamp(0, 2**bits - 1).sub(zero) * scale


def fold_by_einsum(conv_weight, conv_bias, gamma, beta, mean, var, eps):
    factor = gamma * (var + eps).rsqrt()
    return torch.einsum("oihw,o->oihw", conv_weight, factor), conv_bias * factor + beta - mean * factor


def fold_in_a_loop(conv_weight, conv_bias, gamma, beta, mean, var, eps):
    weight, bias = torch.empty_like(conv_weight), torch.empty_like(conv_bias)
    for i in range(len(gamma)):
        std = math.sqrt(var[i] + eps)
        weight[i] = conv_weight[i] / std * gamma[i]
        bias[i] = gamma[i] * (conv_bias[i] - mean[i]) / std + beta[i]
    return [weight, bias]


def fold_by_probing(conv_weight, conv_bias, gamma, beta, mean, var, eps):
    """What batch norm does to 0 and to the weights themselves, laid out as channels."""
    bias = F.batch_norm(conv_bias[None], mean, var, gamma, beta, eps=eps)[0]
    at_zero = F.batch_norm(torch.zeros(1, len(mean)), mean, var, gamma, beta, eps=eps)[0]
    rows = F.batch_norm(conv_weight.flatten(1).T, mean, var, gamma, beta, eps=eps) - at_zero
    return rows.T.reshape(conv_weight.shape), bias


def ste_by_clamping(x, grad_output, scale, zero_point, bits):
    codes = (x / scale).round() + zero_point
    return torch.where(codes == codes.clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1), grad_output, 0.0)


def ste_by_autograd(x, grad_output, scale, zero_point, bits):
    x = x.clone().requires_grad_()
    steps = x / scale + zero_point
    codes = steps + (steps.round() - steps).detach()
    (codes.clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) * scale).backward(grad_output)
    return x.grad


def ste_in_python(x, grad_output, scale, zero_point, bits):
    half = 2 ** (bits - 1)
    return torch.tensor(
        [g if -half <= round(v / scale) + zero_point < half else 0.0 for v, g in zip(x.tolist(), grad_output.tolist())]
    )


def lsq_by_masks(w, step, bits):
    half = 2 ** (bits - 1)
    v = w / step
    below, above = v <= -half, v >= half - 1
    return below * -half + above * (half - 1) + ~(below | above) * (v.round() - v)


def lsq_by_clamping(w, step, bits):
    v = w / step
    clipped = v.clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return clipped.round() - torch.where(clipped == v, v, 0)


def lsq_in_python(w, step, bits):
    def one(v):
        if v <= -(2 ** (bits - 1)):
            return -(2.0 ** (bits - 1))
        return 2.0 ** (bits - 1) - 1 if v >= 2 ** (bits - 1) - 1 else round(v) - v

    return torch.tensor([one(v) for v in (w / step).tolist()])


def pack_in_python(codes):
    numbers = codes.tolist()
    bytes_ = [numbers[i] + 16 * (numbers[i + 1] if i + 1 < len(numbers) else 0) for i in range(0, len(numbers), 2)]
    return torch.tensor(bytes_, dtype=torch.uint8)


def pack_by_padding(codes):
    low, high = F.pad(codes, (0, len(codes) % 2)).reshape(-1, 2).unbind(1)
    return high * 16 + low


def pack_by_bits(codes):
    bits = np.unpackbits(codes.numpy()[:, None], axis=1, bitorder="little")[:, :4]
    return torch.from_numpy(np.packbits(bits.flatten(), bitorder="little"))


def pack_by_writing(codes):
    packed = torch.zeros((len(codes) + 1) // 2, dtype=torch.uint8)
    packed += codes[::2]
    packed[: len(codes) // 2] |= codes[1::2] << 4
    return packed


RIGHT = {
    "40/affine": [affine_in_numpy, affine_in_torch, affine_by_clamping],
    "40/quantize": [codes_by_reciprocal, codes_rounded_last, codes_in_python, codes_in_numpy],
    "40/symmetric": [symmetric_by_ends, symmetric_by_levels, symmetric_in_numpy],
    "40/per-channel": [channels_in_a_loop, channels_by_dimensions, channels_by_rows],
    "40/integer-matmul": [integers_with_corrections, integers_in_numpy, integers_through_floats],
    "41/calibrate": [calibrated_by_concatenation, calibrated_in_a_loop, calibrated_with_a_zero_point],
    "41/fold": [fold_by_einsum, fold_in_a_loop, fold_by_probing],
    "42/ste": [ste_by_clamping, ste_by_autograd, ste_in_python],
    "42/lsq": [lsq_by_masks, lsq_by_clamping, lsq_in_python],
    "42/pack": [pack_in_python, pack_by_padding, pack_by_bits, pack_by_writing],
}

# --- wrong answers


def affine_unstretched(low, high, bits):
    scale = (high - low) / (2**bits - 1)
    return scale, max(0, min(2**bits - 1, round(-low / scale)))


def affine_unstretched_unclamped(low, high, bits):
    scale = (high - low) / (2**bits - 1)
    return scale, round(-low / scale)


def affine_unclamped(low, high, bits):
    scale = (max(0, high) - min(0, low)) / (2**bits - 1)
    return scale, round(-low / scale)


def stretched(numbers):
    return lambda low, high, bits: numbers(min(low, 0), max(high, 0), 2**bits - 1)


def coded(code):
    """code(steps, zero_point, highest code), with steps a tensor."""

    def quantize(x, scale, zero_point, bits):
        return code(x / scale, zero_point, (1 << bits) - 1)

    return quantize


def codes_multiplied(x, scale, zero_point, bits):
    return torch.clip(torch.round(scale * x) + zero_point, 0, (1 << bits) - 1).byte()


def codes_decoded(x, scale, zero_point, bits):
    return (codes_in_numpy(x, scale, zero_point, bits) - float(zero_point)) * scale


def codes_of_torch(x, scale, zero_point, bits):
    with warnings.catch_warnings(action="ignore"):  # deprecated
        return torch.quantize_per_tensor(x, scale, zero_point, torch.quint8)


def codes_in_place(x, scale, zero_point, bits):
    return x.div_(scale).round_().add_(zero_point).clamp_(0, 2**bits - 1).byte()


def magnitude(reach, steps):
    return lambda x, bits: reach(x).item() / steps(bits)


def each_channel(scale):
    return lambda weight, bits: torch.stack([scale(channel, 2 ** (bits - 1) - 1) for channel in weight])


def channels_of_inputs(weight, bits):
    return torch.stack([weight[:, i].abs().max() for i in range(weight.shape[1])]) / (2 ** (bits - 1) - 1)


def channels_all_alike(weight, bits):
    return torch.full((len(weight),), symmetric_by_ends(weight, bits))


def channels_keepdim(weight, bits):
    return weight.abs().amax(dim=tuple(range(1, weight.ndim)), keepdim=True) / (2 ** (bits - 1) - 1)


def int_layer(total, finish):
    """finish(total, multiplier, out_zero)."""

    def int_linear(x_codes, x_scale, x_zero, w_codes, w_scale, out_scale, out_zero):
        scales = {"x": x_scale, "w": w_scale, "out": out_scale}
        return finish(total(x_codes, x_zero, w_codes), scales, out_zero)

    return int_linear


def exact(x_codes, x_zero, w_codes):
    return F.linear(x_codes.double() - x_zero, w_codes.double())


def to_codes(values, zero):
    return (values.round() + zero).clamp(0, 255).byte()


def requantised(total, s, zero):
    return to_codes(total * s["x"] * s["w"] / s["out"], zero)


def added_in_int8(x_codes, x_zero, w_codes):
    """As a loop whose accumulator is as narrow as the codes."""
    total = torch.zeros(len(x_codes), len(w_codes), dtype=torch.int8)
    for i in range(x_codes.shape[1]):
        total += ((x_codes[:, i, None].int() - x_zero) * w_codes[None, :, i].int()).to(torch.int8)
    return total


def subtracted_in_uint8(x_codes, x_zero, w_codes):
    return F.linear((x_codes - x_zero).double(), w_codes.double())


def calibrated(high, finish=None):
    def fn(batches, x, bits):
        top = float(high(batches, x))
        levels = 2**bits - 1
        return (finish or (lambda steps, n, scale: steps.round().clip(0, n) * scale))(
            x / top * levels, levels, top / levels
        )

    return fn


def all_values(batches, x):
    return torch.cat(batches).max()


def folded(factor=lambda g, v, e: g / (v + e).sqrt(), bias=lambda b, m, f, beta: f * (b - m) + beta, axis=0):
    def fold(conv_weight, conv_bias, gamma, beta, mean, var, eps):
        f = factor(gamma, var, eps)
        return torch.movedim(torch.movedim(conv_weight, axis, -1) * f, -1, axis), bias(conv_bias, mean, f, beta)

    return fold


def fold_broadcast(conv_weight, conv_bias, gamma, beta, mean, var, eps):
    f = gamma / (var + eps).sqrt()
    return conv_weight * f, f * (conv_bias - mean) + beta


def fold_in_place(conv_weight, conv_bias, gamma, beta, mean, var, eps):
    f = gamma / (var + eps).sqrt()
    return conv_weight.mul_(f[:, None, None, None]), (conv_bias - mean) * f + beta


def fold_swapped(*args):
    return fold_by_einsum(*args)[::-1]


def passing(where):
    """where(code, half): the gradient passes there; code as a float tensor, half = 2^(b-1)."""

    def ste_gradient(x, grad_output, scale, zero_point, bits):
        out = torch.zeros_like(grad_output)
        at = where((x / scale).round() + zero_point, 2 ** (bits - 1))
        out[at] = grad_output[at]
        return out

    return ste_gradient


def ste_unrounded(x, grad_output, scale, zero_point, bits):
    low, high = (-(2 ** (bits - 1)) - zero_point) * scale, (2 ** (bits - 1) - 1 - zero_point) * scale
    return torch.where((x >= low) & (x <= high), grad_output, torch.zeros(()))


def ste_of_true_rounding(x, grad_output, scale, zero_point, bits):
    x = x.clone().requires_grad_()
    y = (torch.round(x / scale) + zero_point).clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return torch.autograd.grad(y, x, grad_output)[0]


def lsq(inside, below=lambda half: -half, above=lambda half: half - 1):
    def lsq_gradient(w, step, bits):
        half, v = 2 ** (bits - 1), w / step
        out = inside(v, step)
        out[v <= -half] = below(half)
        out[v >= half - 1] = above(half)
        return out

    return lsq_gradient


def lsq_of_torch(w, step, bits):
    """torch's own kernel decides after rounding, where the paper decides before."""
    each = []
    for value in w:
        scale = torch.tensor([step], requires_grad=True)
        ends = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        torch._fake_quantize_learnable_per_tensor_affine(value[None], scale, torch.zeros(1), *ends, 1.0).backward()
        each.append(scale.grad[0])
    return torch.stack(each)


def packed(join):
    def pack_pairs(codes):
        even = F.pad(codes.int(), (0, len(codes) % 2)).view(-1, 2)
        return (join(even[:, 0], even[:, 1]) % 256).byte()

    return pack_pairs


def pack_dropping_the_last(codes):
    n = len(codes) // 2
    return codes[0 : 2 * n : 2] + 16 * codes[1 : 2 * n : 2]


def pack_halves(codes):
    n = (len(codes) + 1) // 2
    return codes[:n] + 16 * F.pad(codes[n:], (0, 2 * n - len(codes)))


WRONG = [
    ("40/affine", stretched(lambda low, high, n: ((high - low) / n, -low * n / (high - low))), "not rounded"),
    ("40/affine", stretched(lambda low, high, n: ((high - low) / n, -low * n // (high - low))), "cut off"),
    ("40/affine", affine_unclamped, "not clamped"),
    ("40/affine", affine_unstretched, "not stretched"),
    ("40/affine", affine_unstretched_unclamped, "not stretched"),
    (
        "40/affine",
        stretched(lambda low, high, n: ((high - low) / (n + 1), round(-low * (n + 1) / (high - low)))),
        "2^b −",
    ),
    ("40/affine", stretched(lambda low, high, n: ((high - low) / n, round(low * n / (high - low)))), "wrong sign"),
    (
        "40/affine",
        stretched(lambda low, high, n: ((high - low) / n, round(-low * n / (high - low) - n / 2 - 0.5))),
        "signed",
    ),
    ("40/affine", stretched(lambda low, high, n: ((high - low) / n, round(high * n / (high - low)))), "upper end"),
    ("40/affine", stretched(lambda low, high, n: (round(-low * n / (high - low)), (high - low) / n)), "another order"),
    ("40/affine", lambda low, high, bits: affine_in_numpy(low, high, 8), "bits is not used"),
    ("40/affine", lambda low, high, bits: (4.1 / 255, 62), "expected"),
    ("40/quantize", coded(lambda v, z, n: (v.int() + z).clip(0, n).byte()), "cut off"),
    ("40/quantize", coded(lambda v, z, n: (v + z).clip(0, n).byte()), "cut off"),
    ("40/quantize", coded(lambda v, z, n: (v.floor() + z).clip(0, n).byte()), "cut off"),
    ("40/quantize", coded(lambda v, z, n: ((v + 0.5).floor() + z).clip(0, n).byte()), "even neighbour"),
    ("40/quantize", coded(lambda v, z, n: ((v + z + 0.5).int().clip(0, n)).byte()), "even neighbour"),
    ("40/quantize", coded(lambda v, z, n: (v.round() + z).byte()), "no clamp"),
    ("40/quantize", coded(lambda v, z, n: v.round() + z), "no clamp"),
    ("40/quantize", coded(lambda v, z, n: v.round().clip(0, n).add(z).byte()), "before the zero point"),
    ("40/quantize", coded(lambda v, z, n: (v.round() + z).clip(0, n + 1).byte()), "highest code is 2^b"),
    ("40/quantize", coded(lambda v, z, n: (v.round() + z).clip(0, 255).byte()), "highest code is 2^b"),
    ("40/quantize", codes_multiplied, "Divide"),
    ("40/quantize", lambda x, scale, *rest: codes_by_reciprocal(x / scale, scale, *rest), "twice"),
    ("40/quantize", coded(lambda v, z, n: (v.round() - z).clip(0, n).byte()), "subtracted"),
    ("40/quantize", coded(lambda v, z, n: v.round().clip(0, n).byte()), "missing"),
    ("40/quantize", codes_decoded, "numbers again"),
    ("40/quantize", coded(lambda v, z, n: (v.round() + z).clip(0, n)), ".to(torch.uint8)"),
    ("40/quantize", codes_in_place, "in place"),
    ("40/quantize", codes_of_torch, "result is quantized (torch.quint8), expected a plain tensor of torch.uint8"),
    ("40/quantize", lambda *args: codes_in_numpy(*args).to_sparse(), "result is sparse (torch.sparse_coo)"),
    ("40/quantize", lambda *args: codes_in_numpy(*args).to("meta"), "on the device meta"),
    ("40/symmetric", magnitude(lambda x: x.abs().max(), lambda bits: 1 << (bits - 1)), "2^b levels"),
    ("40/symmetric", magnitude(lambda x: 2 * x.abs().max(), lambda bits: 2**bits - 1), "2^b levels"),
    ("40/symmetric", magnitude(lambda x: x.max(), lambda bits: 2 ** (bits - 1) - 1), "one side"),
    ("40/symmetric", magnitude(lambda x: x.max() - x.min(), lambda bits: 2**bits - 1), "asymmetric"),
    ("40/symmetric", magnitude(lambda x: x.max() - x.min(), lambda bits: 2**bits - 2), "from min to max"),
    ("40/symmetric", magnitude(lambda x: x.abs().max(), lambda bits: 2**bits - 1), "counted on both sides"),
    ("40/symmetric", magnitude(lambda x: x.abs().mean(), lambda bits: 2 ** (bits - 1) - 1), "mean magnitude"),
    ("40/symmetric", magnitude(lambda x: 1 / x.abs().max(), lambda bits: 1 / (2 ** (bits - 1) - 1)), "upside down"),
    ("40/symmetric", magnitude(lambda x: x.abs().max(), lambda bits: 127), "bits is not used"),
    ("40/symmetric", lambda x, bits: x.zero_().sum(), "in place"),
    ("40/symmetric", lambda x, bits: 2.5 / 127, "expected"),
    ("40/per-channel", channels_of_inputs, "input channel"),
    ("40/per-channel", lambda weight, bits: symmetric_by_ends(weight, bits), "whole tensor"),
    ("40/per-channel", channels_all_alike, "whole tensor"),
    ("40/per-channel", each_channel(lambda c, n: c.abs().mean() / n), "mean magnitude"),
    ("40/per-channel", each_channel(lambda c, n: c.max() / n), "one side"),
    ("40/per-channel", each_channel(lambda c, n: c.std() / n), "standard deviation"),
    ("40/per-channel", each_channel(lambda c, n: c.abs().max() / (n + 1)), "ends one earlier"),
    ("40/per-channel", each_channel(lambda c, n: (c.max() - c.min()) / (2 * n + 1)), "from min to max"),
    ("40/per-channel", channels_keepdim, "keepdim"),
    ("40/per-channel", lambda weight, bits: weight.abs().max(-1).values / (2 ** (bits - 1) - 1), "last dimension"),
    ("40/per-channel", lambda weight, bits: weight.abs().max(1).values / (2 ** (bits - 1) - 1), "weight[i]"),
    ("40/integer-matmul", int_layer(exact, lambda t, s, z: (t * s["x"] * s["w"]).float()), "Requantise"),
    ("40/integer-matmul", int_layer(exact, lambda t, s, z: t.int()), "sums themselves"),
    ("40/integer-matmul", int_layer(exact, lambda t, s, z: to_codes(t, z)), "sums themselves"),
    (
        "40/integer-matmul",
        int_layer(exact, lambda t, s, z: to_codes(t * s["x"] * s["w"], z)),
        "requantization is forgotten",
    ),
    ("40/integer-matmul", int_layer(exact, lambda t, s, z: to_codes(t * s["w"] / s["out"], z)), "scales is missing"),
    ("40/integer-matmul", int_layer(exact, lambda t, s, z: to_codes(t * s["x"] / s["out"], z)), "scales is missing"),
    (
        "40/integer-matmul",
        int_layer(exact, lambda t, s, z: to_codes(t * s["x"] * s["w"] * s["out"], z)),
        "divide by it",
    ),
    ("40/integer-matmul", int_layer(exact, lambda t, s, z: requantised(t, s, 0)), "out_zero is forgotten"),
    ("40/integer-matmul", int_layer(lambda x, z, w: exact(x, 0, w), requantised), "x_zero is forgotten"),
    ("40/integer-matmul", int_layer(lambda x, z, w: exact(x, 0, w) - z, requantised), "from the sum"),
    ("40/integer-matmul", int_layer(added_in_int8, requantised), "overflows"),
    ("40/integer-matmul", int_layer(lambda x, z, w: exact(x, z, w).int().short(), requantised), "overflows"),
    ("40/integer-matmul", int_layer(subtracted_in_uint8, requantised), "wraps around"),
    ("40/integer-matmul", int_layer(lambda x, z, w: exact(x.to(torch.int8), z, w), requantised), "wraps around"),
    ("40/integer-matmul", int_layer(lambda x, z, w: exact(x, z, w.T), requantised), "transpose"),
    (
        "40/integer-matmul",
        int_layer(exact, lambda t, s, z: ((t * s["x"] * s["w"] / s["out"]).int() + z).clip(0, 255).byte()),
        "cut off",
    ),
    ("40/integer-matmul", int_layer(lambda x, z, w: exact(x, z, w.T), requantised), "transpose"),
    (
        "40/integer-matmul",
        int_layer(exact, lambda t, s, z: ((t * s["x"] * s["w"] / s["out"]).round() + z).byte()),
        "no clamp",
    ),
    ("41/calibrate", calibrated(lambda batches, x: x.max()), "dynamic quantization"),
    ("41/calibrate", calibrated(lambda batches, x: torch.cat([*batches, x[:, None].expand(-1, 6)]).max()), "widened"),
    ("41/calibrate", calibrated(lambda batches, x: batches[-1].max()), "last batch"),
    ("41/calibrate", calibrated(lambda batches, x: batches[0].max()), "first batch"),
    ("41/calibrate", calibrated(lambda batches, x: np.mean([b.max().item() for b in batches])), "mean of the batches"),
    ("41/calibrate", calibrated(all_values, lambda v, n, s: v.round() * s), "no clamp"),
    ("41/calibrate", calibrated(all_values, lambda v, n, s: v.round().clip(0, n)), "These are the codes"),
    ("41/calibrate", calibrated(all_values, lambda v, n, s: v.floor().clip(0, n) * s), "cut off"),
    ("41/calibrate", calibrated(all_values, lambda v, n, s: v.clip(0, n) * s), "unrounded"),
    ("41/calibrate", lambda batches, x, bits: torch.zeros_like(x), "expected"),
    ("41/fold", folded(bias=lambda b, m, f, beta: b * f + beta), "mean is forgotten"),
    ("41/fold", folded(lambda g, v, e: g * v.rsqrt()), "eps is forgotten"),
    ("41/fold", folded(lambda g, v, e: g / (v + e)), "by the variance"),
    ("41/fold", folded(lambda g, v, e: g / (v.sqrt() + e)), "outside the root"),
    ("41/fold", folded(lambda g, v, e: (v + e).rsqrt()), "gamma is forgotten"),
    ("41/fold", folded(bias=lambda b, m, f, beta: beta - f * m), "own bias is forgotten"),
    ("41/fold", folded(bias=lambda b, m, f, beta: b + beta - f * m), "own bias is not scaled"),
    ("41/fold", folded(bias=lambda b, m, f, beta: b * f - m + beta), "mean is not scaled"),
    ("41/fold", folded(bias=lambda b, m, f, beta: (b + m) * f + beta), "mean is added"),
    ("41/fold", folded(bias=lambda b, m, f, beta: (b - m) * f), "beta is forgotten"),
    ("41/fold", lambda w, b, *rest: (w.clone(), fold_by_einsum(w, b, *rest)[1]), "stay as they were"),
    ("41/fold", folded(axis=1), "another dimension"),
    ("41/fold", folded(axis=2), "another dimension"),
    ("41/fold", folded(axis=3), "another dimension"),
    ("41/fold", fold_broadcast, "another dimension"),
    ("41/fold", fold_swapped, "expected"),
    ("41/fold", fold_in_place, "in place"),
    ("42/ste", passing(lambda codes, half: codes == codes), "passes outside"),
    ("42/ste", ste_of_true_rounding, "true derivative"),
    (
        "42/ste",
        lambda x, grad_output, scale, zero_point, bits: ste_in_python(x, grad_output, scale, zero_point, bits) / scale,
        "is scaled",
    ),
    (
        "42/ste",
        lambda x, grad_output, scale, zero_point, bits: (
            ste_by_autograd(x, grad_output, scale, zero_point, bits) * scale
        ),
        "is scaled",
    ),
    (
        "42/ste",
        lambda x, grad_output, scale, zero_point, bits: grad_output.clip(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1),
        "gradient is clamped",
    ),
    ("42/ste", passing(lambda codes, half: (codes < -half) | (codes >= half)), "stops inside"),
    ("42/ste", passing(lambda codes, half: codes < half), "the lower does too"),
    ("42/ste", passing(lambda codes, half: codes >= -half), "the upper does too"),
    ("42/ste", passing(lambda codes, half: (codes > -half) & (codes < half - 1)), "last codes themselves"),
    ("42/ste", passing(lambda codes, half: (codes >= 0) & (codes < 2 * half)), "unsigned"),
    ("42/ste", passing(lambda codes, half: (codes >= -half) & (codes <= half)), "no code any more"),
    ("42/ste", ste_unrounded, "before it is rounded"),
    (
        "42/ste",
        lambda x, grad_output, scale, zero_point, bits: ste_in_python(x, grad_output, scale, 0, bits),
        "zero point is forgotten",
    ),
    (
        "42/ste",
        lambda x, grad_output, scale, zero_point, bits: ste_in_python(x, torch.ones(len(x)), scale, zero_point, bits),
        "multiply it by grad_output",
    ),
    (
        "42/ste",
        lambda x, grad_output, scale, zero_point, bits: ste_in_python(
            x, torch.ones(len(x)), scale, zero_point, bits
        ).bool(),
        "grad_output",
    ),
    ("42/lsq", lsq(lambda v, step: -v), "rounding term is missing"),
    ("42/lsq", lsq(lambda v, step: v.round()), "is missing"),
    ("42/lsq", lsq(lambda v, step: v - v.round()), "sign is wrong inside"),
    ("42/lsq", lambda w, step, bits: -lsq_in_python(w, step, bits), "signs are turned"),
    ("42/lsq", lsq(lambda v, step: v.round() - v, lambda half: 0, lambda half: 0), "Beyond the ends"),
    ("42/lsq", lambda w, step, bits: (w / step).round() - w / step, "Beyond the ends"),
    ("42/lsq", lsq(lambda v, step: v.round() - v, lambda half: half - 1, lambda half: -half), "swapped"),
    ("42/lsq", lsq(lambda v, step: v.round() - v, lambda half: half), "sign is lost"),
    ("42/lsq", lsq_of_torch, "after rounding"),
    ("42/lsq", lsq(lambda v, step: (v.round() - v) * step), "in units of w"),
    ("42/lsq", lsq(lambda v, step: torch.ones_like(v), lambda half: 0, lambda half: 0), "with respect to the weight"),
    ("42/pack", packed(lambda a, b: a + 8 * b), "shift the second by 4"),
    ("42/pack", packed(lambda a, b: a | b << 3), "shift the second by 4"),
    ("42/pack", packed(lambda a, b: a | b << 5), "shift the second by 4"),
    ("42/pack", packed(lambda a, b: 16 * a + b), "are swapped"),
    ("42/pack", packed(lambda a, b: a), "second code is lost"),
    ("42/pack", packed(lambda a, b: 16 * b), "first code is lost"),
    ("42/pack", packed(lambda a, b: b), "overwritten"),
    ("42/pack", packed(lambda a, b: a + b), "mixed in the same"),
    ("42/pack", pack_dropping_the_last, "odd number is lost"),
    ("42/pack", pack_halves, "pair neighbours"),
    ("42/pack", lambda codes: pack_in_python(codes).int(), "larger type"),
    ("42/pack", lambda codes: codes, "Nothing is packed"),
    ("42/pack", lambda codes: pack_in_python(codes).tolist(), "expected a tensor"),
]

EXERCISES = {exercise.key: exercise for exercise in exercises.ALL}


def test_the_sums_of_the_integer_layer_are_no_halves_when_they_are_rounded():
    """So that float32 and float64 agree: at a multiplier's relative error of 2^-22 a sum moves by less than 0.001."""
    for sizes in _integer._LAYERS:
        x_codes, x_scale, x_zero, w_codes, w_scale, out_scale, _ = _integer._layer(*sizes)
        steps = exact(x_codes, x_zero, w_codes) * x_scale * w_scale.double() / out_scale
        assert ((steps - steps.floor() - 0.5).abs() > 0.001).all()
        assert (steps.abs() * 2.0**-22 < 0.001).all()


def test_solved_answers_are_the_functions_of_the_library():
    solve = {key: exercise.solution for key, exercise in EXERCISES.items()}
    x = torch.randn(6, 50, generator=torch.Generator().manual_seed(0))
    unsigned, channels = Scheme(symmetric=False, signed=False), Scheme(granularity="channel")

    scale, zero = solve["40/affine"](x.min().item(), x.max().item(), 8)
    ours = affine.quantize_tensor(x, unsigned)
    torch.testing.assert_close(torch.tensor(scale), ours.scale[0])
    assert zero == ours.zero_point
    assert torch.equal(solve["40/quantize"](x, ours.scale.item(), zero, 8), ours.codes)
    w = affine.quantize_tensor(x, channels)
    torch.testing.assert_close(solve["40/per-channel"](x, 8), w.scale)
    assert solve["40/symmetric"](x, 8) == affine.quantize_tensor(x, Scheme()).scale

    total = integer.int_matmul(ours.codes, w.codes.T, zero)
    theirs = integer.requantize(total, ours.scale * w.scale / 0.3, 99, unsigned)
    assert torch.equal(solve["40/integer-matmul"](ours.codes, scale, zero, w.codes, w.scale, 0.3, 99), theirs)

    codes = ours.codes.flatten()[:51] % 16
    assert torch.equal(solve["42/pack"](codes), packing.pack(codes, Scheme(bits=4, symmetric=False, signed=False)))
    assert torch.equal(solve["42/pack"](codes[:50]), packing.pack_pairs(codes[:50], Scheme(4, False, signed=False)))


def test_solved_answers_fold_and_train_layers_of_torch():
    torch.manual_seed(0)
    conv, norm, x = nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5, eps=0.01), torch.randn(4, 2, 6, 6)
    norm(conv(torch.randn(8, 2, 6, 6)))  # moves the running statistics
    parts = (conv.weight, conv.bias, norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.eps)
    torch.testing.assert_close(F.conv2d(x, *EXERCISES["41/fold"].solution(*parts)), norm.eval()(conv(x)))

    # torch's kernel has the paper's gradient but for weights that are between the last code and half a step beyond it
    steps = torch.tensor([-9.7, -8.6, -7.2, -0.4, 0.0, 2.3, 6.4, 7.6, 30.0])
    torch.testing.assert_close(EXERCISES["42/lsq"].solution(0.1 * steps, 0.1, 4), lsq_of_torch(0.1 * steps, 0.1, 4))
