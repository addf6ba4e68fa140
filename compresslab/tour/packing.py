"""A small network squeezed into a few bytes and back: the short version of lessons 30, 40 and 51.

The file: a line of JSON (names, shapes, bits, scales), then the numbers, bit by bit, through zlib.
"""

import json
import math
import zlib

import numpy as np
import torch

BITS = (2, 3, 4, 5, 6, 7, 8, 32)


def prune(state: dict, sparsity: float) -> dict:
    """Copy of a state dict in which the share `sparsity` of all weights, the smallest in magnitude, is zero.

    Weights are the tensors with two or more dimensions; biases stay. Raises ValueError unless 0 <= sparsity < 1.
    """
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity must be in [0, 1), got {sparsity}")
    magnitudes = torch.cat([w.abs().flatten() for w in state.values() if w.ndim > 1])
    cut = int(sparsity * len(magnitudes))
    threshold = magnitudes.kthvalue(cut).values if cut else -1.0
    return {name: torch.where(w.abs() > threshold, w, 0.0) if w.ndim > 1 else w for name, w in state.items()}


def quantize(weight: torch.Tensor, bits: int) -> tuple[np.ndarray, float]:
    """(codes, scale): whole numbers from -(2**(bits-1) - 1) to 2**(bits-1) - 1, and what one is worth."""
    top = 2 ** (bits - 1) - 1
    scale = weight.abs().max().item() / top or 1.0
    return torch.round(weight / scale).clamp(-top, top).to(torch.int16).numpy(), scale


def pack(state: dict, bits: int) -> bytes:
    """The file's bytes. `bits` a weight, one of BITS; with 32, and for biases, float32 is kept.

    Raises ValueError for another number of bits.
    """
    if bits not in BITS:
        raise ValueError(f"bits must be one of {', '.join(map(str, BITS))}, got {bits}")
    heads, body = [], b""
    for name, tensor in state.items():
        head = dict(name=name, shape=list(tensor.shape))
        if bits == 32 or tensor.ndim == 1:
            body += tensor.contiguous().numpy().astype("<f4").tobytes()
        else:
            codes, head["scale"] = quantize(tensor, bits)
            shifted = (codes.ravel() + 2 ** (bits - 1)).astype(np.uint8)  # 0 is the smallest code
            body += np.packbits(np.unpackbits(shifted[:, None], axis=1)[:, -bits:]).tobytes()
        heads.append(head)
    return json.dumps(dict(bits=bits, tensors=heads)).encode() + b"\n" + zlib.compress(body, 9)


def unpack(file: bytes) -> dict:
    """The state dict that `pack` wrote: what a user of the file gets."""
    header, packed = file.split(b"\n", 1)
    header, body, state = json.loads(header), zlib.decompress(packed), {}
    bits = header["bits"]
    for head in header["tensors"]:
        n = math.prod(head["shape"])
        if "scale" not in head:
            size, values = 4 * n, np.frombuffer(body, "<f4", n)
        else:
            size = math.ceil(n * bits / 8)
            flat = np.unpackbits(np.frombuffer(body, np.uint8, size))[: n * bits].reshape(n, bits)
            codes = flat @ (1 << np.arange(bits)[::-1]) - 2 ** (bits - 1)
            values = codes * np.float32(head["scale"])
        state[head["name"]] = torch.tensor(values, dtype=torch.float32).reshape(head["shape"])
        body = body[size:]
    return state
