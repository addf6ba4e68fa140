"""A compressed model as one file (lesson 51): positions as gaps, values as codes of a codebook, both entropy-coded.

S. Han, H. Mao, W. Dally, "Deep Compression" (2016), with a range coder in place of their Huffman code. `save` looks at
the tensors alone: any model can be saved, and `load` gives back the same bits. Whole numbers are varints (seven bits a
byte, the lowest first; the eighth bit says that more follow), values little-endian. The file:

    4 bytes     magic number "CLAB"
    1 byte      version, 1
    4 bytes     CRC-32 of all that follows
    varint      number of tensors; then for each tensor of the state dict, in its order:

    section     name, in UTF-8, not empty and no other tensor's
    1 byte      dtype, its place in `DTYPES`
    varints     number of dimensions, at most 64, and each of them
    1 byte      kind: 1 if zeros are left out, plus 2 if values are codes of a codebook

    if zeros are left out (a zero has no bit set, so -0.0 is none):
    varint      number of values
    section     table: how frequent each length of a gap, at most 62, is, 0 to 255; see gaps.py
    section     the lengths, under this table
    section     the gaps' other bits, eight a byte, the first one highest

    if there is a codebook:
    varint      its size k; then its k values
    k bytes     table: how frequent each value is, 0 to 255
    section     the codes, under this table

    otherwise:
    section     the values as they are

A section is a varint, the number of bytes, and these bytes. What stands under a table: see coder.py.
"""

from __future__ import annotations

import math
import os
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from .. import storage
from . import coder
from .gaps import from_gaps, join_bits, split_bits, to_gaps

MAGIC, VERSION = b"CLAB", 1
DTYPES = (
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool,
)  # fmt: skip
LEFT_OUT, CODES = 1, 2
CODEBOOK, LENGTHS, DIMENSIONS = 256, 63, 64  # at most


def save(model: nn.Module, path: str | os.PathLike) -> None:
    """Write the state dict of `model` to `path` in few bytes, for `load`.

    Small where many weights are zero, and where the others take few values in each tensor. An older file is replaced
    in one step, when the new one is complete. Raises ValueError for a model with parametrizations (a mask that was not
    baked) and for anything but strided tensors of DTYPES, FileNotFoundError for a folder that does not exist.
    """
    tensors = _tensors(model)
    body = varint(len(tensors)) + b"".join(_entry(name, tensor) for name, tensor in tensors.items())
    storage.write(path, MAGIC + bytes([VERSION]) + checksum(body) + body)


def load(model: nn.Module, path: str | os.PathLike) -> nn.Module:
    """Give `model`, built by your own code, the parameters and buffers of the file `path`, bit for bit; returns it.

    Raises ValueError, and leaves the model as it was, if the file was cut short or altered, is not of this format, or
    is of a model with other tensors, shapes or dtypes, or one in which a tensor of `model` with two names differs.
    Time and memory depend on the sizes of the model and of the file, whatever numbers are in it.

    >>> import tempfile
    >>> small = nn.Linear(4, 2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(small, Path(folder, "small.clab"))
    ...     other = load(nn.Linear(4, 2), Path(folder, "small.clab"))
    >>> torch.equal(other.weight, small.weight)
    True
    """
    own = _tensors(model)
    for name, tensor in own.items():
        if any(step == 0 and size > 1 for step, size in zip(tensor.stride(), tensor.shape)):
            raise ValueError(f"model must keep each number in a place of its own, got an expanded tensor in {name}")
    new, _ = _read(path, {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in own.items()})
    first = {}
    for name, tensor in own.items():
        twin = first.setdefault((tensor.data_ptr(), tensor.shape, tensor.stride()), name)
        if not torch.equal(_bytes(new[name]), _bytes(new[twin])):
            raise ValueError(f"{path} must hold the same in {twin} and {name}, which are one tensor in the model")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(new[name])
    return model


def ledger(path: str | os.PathLike):
    """Where the bytes of the file are: DataFrame(tensor, part, size_bytes), which adds up to the file's size.

    Parts: header (also every section's length), checksum, positions, values (their codes), codebook, code tables, raw
    (values that are kept as they are). The tensor of what stands before the first one is "". ValueError as `load`.
    """
    import pandas as pd

    rows = [(tensor, part, size) for tensor, parts in _read(path)[1].items() for part, size in parts.items()]
    return pd.DataFrame(rows, columns=["tensor", "part", "size_bytes"])


# ------------------------------------------------------------------------------------------------ writing


def _entry(name: str, tensor: torch.Tensor) -> bytes:
    head = [section(name.encode()), bytes([DTYPES.index(tensor.dtype)]), *map(varint, [tensor.ndim, *tensor.shape])]
    bits = _bytes(tensor).numpy().view(f"<u{tensor.itemsize}")
    ways = [(kind, _contents(bits, kind)) for kind in (0, LEFT_OUT, CODES, LEFT_OUT | CODES)]
    kind, contents = min(((k, c) for k, c in ways if c is not None), key=lambda way: len(way[1]))
    return b"".join(head) + bytes([kind]) + contents


def _contents(bits: np.ndarray, kind: int) -> bytes | None:
    """The values of a tensor, as whole numbers (n,), written in this way; None where they are too many for it."""
    written = b""
    if kind & LEFT_OUT:
        lengths, others = split_bits(to_gaps(bits))
        bits = bits[bits != 0]
        table = coder.frequencies(np.bincount(lengths, minlength=1))
        others = np.packbits(others).tobytes()
        written = varint(len(bits)) + section(table.tobytes()) + section(coder.encode(lengths, table)) + section(others)
    if not kind & CODES:
        return written + section(bits.tobytes())
    book, counts = np.unique(bits, return_counts=True)
    if not 0 < len(book) <= CODEBOOK:
        return None
    codes, table = np.searchsorted(book, bits), coder.frequencies(counts)
    return written + varint(len(book)) + book.tobytes() + table.tobytes() + section(coder.encode(codes, table))


def varint(number: int) -> bytes:
    """A whole number of at least 0, seven bits a byte.

    >>> varint(5).hex(), varint(300).hex()
    ('05', 'ac02')
    """
    low, high = number % 128, number // 128
    return bytes([low | 128]) + varint(high) if high else bytes([low])


def section(data: bytes) -> bytes:
    """Bytes with their number before them."""
    return varint(len(data)) + data


def checksum(body: bytes) -> bytes:
    return zlib.crc32(body).to_bytes(4, "little")


# ------------------------------------------------------------------------------------------------ reading


class _Reader:
    """Takes bytes off the file and counts in `parts` what they were for: {part: bytes}."""

    def __init__(self, data: bytes):
        self.data, self.at, self.parts = data, 0, Counter()

    def take(self, size: int, part: str = "header") -> bytes:
        if size > len(self.data) - self.at:
            raise ValueError(f"{size} bytes are announced and {len(self.data) - self.at} are left")
        self.at += size
        self.parts[part] += size
        return self.data[self.at - size : self.at]

    def byte(self) -> int:
        return self.take(1)[0]

    def varint(self) -> int:
        number = shift = 0
        while shift < 63:
            byte = self.byte()
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return number
        raise ValueError("a number has more than 63 bits")

    def section(self, part: str = "header") -> bytes:
        return self.take(self.varint(), part)


def _read(path, wanted: dict | None = None) -> tuple[dict[str, torch.Tensor], dict[str, Counter]]:
    """({name: tensor}, {name: {part: bytes}}) of a file; "" is the name of what stands before the first tensor.

    `wanted`, {name: (dtype, shape)}, is what it must hold, and is known before a tensor is made; without, none is made.
    """
    reader, tensors = _Reader(Path(path).read_bytes()), {}
    parts = {"": reader.parts}
    try:
        if reader.take(4) != MAGIC:
            raise ValueError("it was not written by compression.files.save")
        version = reader.byte()
        if version != VERSION:
            raise ValueError(f"version must be {VERSION}, got {version}")
        if reader.take(4, "checksum") != checksum(reader.data[reader.at :]):
            raise ValueError("it was cut short or altered: its checksum is another")
        for _ in range(reader.varint()):
            reader.parts = Counter()
            name = reader.section().decode()
            if name in parts:
                raise ValueError(f"each tensor must have a name of its own, got {name!r} again")
            parts[name] = reader.parts
            dtype, shape = _read_kind(reader)
            if wanted is not None:
                _must_be(name, wanted.get(name), (dtype, shape))
            tensors[name] = _read_tensor(reader, dtype, shape, decode=wanted is not None)
        if reader.at < len(reader.data):
            raise ValueError(f"{len(reader.data) - reader.at} bytes are left over")
        for name in wanted or ():
            if name not in tensors:
                _must_be(name, wanted[name], None)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    return tensors, parts


def _read_kind(reader: _Reader) -> tuple[torch.dtype, tuple[int, ...]]:
    number = reader.byte()
    if number >= len(DTYPES):
        raise ValueError(f"dtype must be below {len(DTYPES)}, got {number}")
    dimensions = reader.varint()
    if dimensions > DIMENSIONS:
        raise ValueError(f"a tensor must have at most {DIMENSIONS} dimensions, got {dimensions}")
    return DTYPES[number], tuple(reader.varint() for _ in range(dimensions))


def _read_tensor(reader: _Reader, dtype: torch.dtype, shape: tuple[int, ...], decode: bool) -> torch.Tensor | None:
    kind, count, size = reader.byte(), math.prod(shape), dtype.itemsize
    if kind > LEFT_OUT | CODES:
        raise ValueError(f"kind must be 0 to 3, got {kind}")
    if kind & LEFT_OUT:
        count = reader.varint()
        if count > math.prod(shape):
            raise ValueError(f"{count} values are announced for a tensor of {math.prod(shape)}")
        gap_table = np.frombuffer(reader.section("code tables"), np.uint8)
        if len(gap_table) > LENGTHS:
            raise ValueError(f"a table must hold at most {LENGTHS} lengths of gaps, got {len(gap_table)}")
        lengths, others = reader.section("positions"), reader.section("positions")
    if kind & CODES:
        k = reader.varint()
        if not 1 <= k <= CODEBOOK:
            raise ValueError(f"a codebook must hold 1 to {CODEBOOK} values, got {k}")
        book = np.frombuffer(reader.take(k * size, "codebook"), f"<u{size}")
        table = np.frombuffer(reader.take(k, "code tables"), np.uint8)
    values = reader.section("values" if kind & CODES else "raw")
    if not decode:
        return None
    if kind & CODES:
        values = book[coder.decode(values, count, table)]
    elif len(values) == count * size:
        values = np.frombuffer(values, f"<u{size}")
    else:
        raise ValueError(f"{count} values must have {size} bytes each, got {len(values)} in all")
    bits = values
    if kind & LEFT_OUT:
        bits = np.zeros(math.prod(shape), f"<u{size}")
        lengths = coder.decode(lengths, count, gap_table)
        outside = np.ldexp(1.0, lengths).sum() > len(bits)  # gap + 1 is at least so much, and less than twice as much
        if not outside:
            others = np.frombuffer(others, np.uint8)[: lengths.sum() // 8 + 1]
            positions = from_gaps(join_bits(lengths, np.unpackbits(others)))
            outside = count > 0 and positions[-1] >= len(bits)
        if outside:
            raise ValueError(f"positions must be below {len(bits)}, and the last one is not")
        bits[positions] = values
    if dtype == torch.bool and (bits > 1).any():
        raise ValueError("a bool must be 0 or 1")
    return torch.from_numpy(np.array(bits).view(np.uint8)).view(dtype).reshape(shape)


def _must_be(name: str, wanted, got) -> None:
    def words(kind):
        return f"{str(kind[0]).removeprefix('torch.')} of shape {kind[1]}" if kind else "no such tensor"

    if wanted is None:
        raise ValueError(f"the model has no tensor {name!r}")
    if wanted != got:
        raise ValueError(f"{name} must be {words(wanted)} to fit the model, got {words(got)}")


# ------------------------------------------------------------------------------------------------ both


def _tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """The state dict; ValueError for what cannot stand in a file."""
    for name, module in model.named_modules():
        if parametrize.is_parametrized(module):
            what = ", ".join(f"{name}.{key}".lstrip(".") for key in module.parametrizations)
            raise ValueError(f"model must have no parametrizations left: bake it first, got one on {what}")
    tensors = model.state_dict()
    for name, tensor in tensors.items():
        what = type(tensor).__name__
        if isinstance(tensor, torch.Tensor) and not is_lazy(tensor):
            if tensor.layout is torch.strided and tensor.dtype in DTYPES and not tensor.is_meta:
                continue
            what = f"{tensor.device.type} {tensor.layout} {tensor.dtype}"
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
        raise ValueError(f"model must hold strided tensors of {names} only, got {what} in {name}")
    return tensors


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    """The bytes of the tensor's values in order, uint8 (n,)."""
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8)
