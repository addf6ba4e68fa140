"""A model in one file that holds numbers and names only, whatever the shapes: made to load what was pruned.

`torch.load` of a whole model runs the code that its pickle names, and `load_state_dict` refuses tensors of other
shapes. Here the file (safetensors) holds the tensors, and a shape spec: the whole numbers that the modules keep beside
them, such as in_features, groups or an attention's heads. `load` puts both into a model that your own code has made.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils import parametrize

FORMAT, VERSION = "compresslab", "1"
WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32, torch.uint64)
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2)
DTYPES = (torch.bool, *WHOLE, *FLOATS, torch.complex64)  # what safetensors writes and reads
BLANK = "0" * 64  # stands in the file while its sha256 is computed, then the sum takes its place


def save(model: nn.Module, path: str | os.PathLike) -> None:
    """Write the parameters, the saved buffers and the shape spec of `model` to `path`.

    An older file is replaced in one step, when the new one is complete. Strided tensors of `DTYPES` are kept bit for
    bit; a tensor that two modules share is written once and shared again after `load`. Raises ValueError for a model
    with parametrizations (a mask that was not baked) and for other tensors, FileNotFoundError for a folder that does
    not exist.
    """
    import safetensors.torch

    _refuse_parametrizations(model)
    tensors, shared, first = {}, {}, {}
    for name, value in model.state_dict(keep_vars=True).items():
        if not isinstance(value, torch.Tensor) or value.layout is not torch.strided:
            what = value.layout if isinstance(value, torch.Tensor) else type(value).__name__
            raise ValueError(f"model must hold strided tensors only, got {what} in {name}")
        if value.dtype not in DTYPES:
            raise ValueError(f"model must hold tensors of dtypes that safetensors keeps, got {value.dtype} in {name}")
        if id(value) in first:
            shared[name] = first[id(value)]
        else:
            first[id(value)] = name
            tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
    spec = json.dumps({"modules": _spec(model), "shared": shared})
    metadata = {"format": FORMAT, "version": VERSION, "spec": spec, "sha256": BLANK}
    blank = safetensors.torch.save(tensors, metadata)
    write(path, blank.replace(BLANK.encode(), _sha256(blank).encode(), 1))


def write(path: str | os.PathLike, data: bytes) -> None:
    """Write `data` to `path`; an older file is replaced in one step, when the new one is complete.

    FileNotFoundError for a folder that does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path must lie in a folder that exists, got {path}")
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def load(model: nn.Module, path: str | os.PathLike) -> nn.Module:
    """Make `model`, freshly built by your own code, the one that `save` wrote to `path`; returns it.

    The file's tensors and whole numbers replace those of the model, whatever their shapes; everything else (the
    forward method, activation functions, train or eval mode) is the model's own. Raises ValueError, and leaves the
    model as it was, if the file was cut short or altered, is not of this format, or is of another architecture.

    >>> import tempfile
    >>> small = nn.Linear(4, 2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(small, Path(folder, "small.safetensors"))
    ...     load(nn.Linear(4, 3), Path(folder, "small.safetensors"))
    Linear(in_features=4, out_features=2, bias=True)
    """
    _refuse_parametrizations(model)
    modules, tensors = _read(Path(path))
    old = model.state_dict(keep_vars=True)
    difference = _difference(_spec(model), modules, old.keys(), tensors.keys())
    if difference:
        raise ValueError(f"{path} is of another architecture: {difference}")
    new = {}  # made for all before the first is set; by the file's tensor, so that what was shared is shared again
    for name, value in old.items():
        tensor = tensors[name]
        if id(tensor) not in new:
            copy = tensor.to(value.device, copy=True)
            learns = value.requires_grad and copy.is_floating_point()
            new[id(tensor)] = nn.Parameter(copy, learns) if isinstance(value, nn.Parameter) else copy
    numbers = []  # made before the first is set, too
    for name, (_, values) in modules.items():
        module = model.get_submodule(name)
        numbers += [(module, key, _like(getattr(module, key), value)) for key, value in values.items()]
    for module, key, value in numbers:
        setattr(module, key, value)
    for name in old:
        owner, _, key = name.rpartition(".")
        setattr(model.get_submodule(owner), key, new[id(tensors[name])])
    return model


def _spec(model: nn.Module) -> dict[str, tuple]:
    """{module: (its class name, {attribute: whole number, or a list of them})}."""
    return {name: (type(module).__name__, _numbers(module)) for name, module in model.named_modules()}


def _numbers(module: nn.Module) -> dict[str, int | list[int]]:
    public = {key: list(v) if isinstance(v, tuple) else v for key, v in vars(module).items() if key[0] != "_"}
    return {key: value for key, value in public.items() if _is_whole(value)}


def _like(old, number):
    """The file's number or list of numbers in the type of the model's own."""
    return old._make(number) if hasattr(old, "_make") else type(old)(number)  # a named tuple, or any other


def _is_whole(value) -> bool:
    return all(type(v) is int for v in (value if isinstance(value, list) else [value]))


def _difference(ours: dict, theirs: dict, our_tensors, their_tensors) -> str:
    """What tells the model from the file, "" if nothing but shapes and numbers."""
    for what, here, there in (("module", ours.keys(), theirs.keys()), ("tensor", our_tensors, their_tensors)):
        for name in sorted(here ^ there):
            return f"{what} {name!r} is in the {'model' if name in here else 'file'} only"
    for name, (kind, numbers) in theirs.items():
        our_kind, our_numbers = ours[name]
        what = f"module {name!r}" if name else "the whole"
        if kind != our_kind:
            return f"{what} is a {kind} in the file and a {our_kind} in the model"
        for key, value in numbers.items():
            if not _is_whole(value) or type(value) is not type(our_numbers.get(key)):
                return f"{what} has {key} = {value!r} in the file and {our_numbers.get(key)!r} in the model"
    return ""


def _refuse_parametrizations(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if parametrize.is_parametrized(module):
            what = ", ".join(f"{name}.{key}".lstrip(".") for key in module.parametrizations)
            raise ValueError(f"model must have no parametrizations left: bake it first, got one on {what}")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _read(path: Path) -> tuple[dict[str, tuple], dict[str, torch.Tensor]]:
    """(module spec, tensors) of a file whose every byte is the one that was written; a shared tensor has two names."""
    import safetensors.torch

    data = path.read_bytes()
    try:
        size = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + size])["__metadata__"]
        form, version, spec, sha256 = (metadata[key] for key in ("format", "version", "spec", "sha256"))
        blank = data.replace(sha256.encode(), BLANK.encode(), 1)
    except Exception as error:
        raise ValueError(f"{path} was not written by storage.save, or was cut short or altered") from error
    if (form, version) != (FORMAT, VERSION):
        raise ValueError(f"{path} must have format {FORMAT} {VERSION}, got {form} {version}")
    if _sha256(blank) != sha256:
        raise ValueError(f"{path} was cut short or altered: its sha256 is not the one it names")
    try:
        tensors = safetensors.torch.load(data)
        spec = json.loads(spec)
        shared = {name: tensors[first] for name, first in spec["shared"].items()}
        modules = {name: (kind, dict(numbers)) for name, (kind, numbers) in spec["modules"].items()}
    except Exception as error:
        raise ValueError(f"{path} does not hold what its header promises: {error}") from error
    return modules, tensors | shared
