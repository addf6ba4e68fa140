"""Data sets: scikit-learn's digits (embedded), MNIST and Fashion-MNIST (downloaded once, checked, cached)."""

from __future__ import annotations

import errno
import gzip
import hashlib
import http.client
import math
import os
import urllib.error
import urllib.request
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}  # a full disk, a read-only one


class Split(NamedTuple):
    """Images `x`, float32 (n, 1, height, width) in [0, 1], and their classes `y`, int64 (n,)."""

    x: torch.Tensor
    y: torch.Tensor


@dataclass(frozen=True, eq=False)
class Data:
    """A data set: learn on `train`, choose on `val`, and look at `test` once."""

    name: str
    classes: tuple[str, ...]
    train: Split
    val: Split
    test: Split


@dataclass(frozen=True)
class Source:
    """Where a published data set comes from: folder name, mirrors, SHA-256 of each file."""

    folder: str
    mirrors: tuple[str, ...]
    classes: tuple[str, ...]
    sha256: dict[str, str]


DIGITS = tuple("0123456789")

SOURCES = {
    # LeCun, Cortes, Burges, "The MNIST database of handwritten digits" (1998); mirrors of the first site.
    "mnist": Source(
        folder="mnist",
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        classes=DIGITS,
        sha256={
            "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        },
    ),
    # Xiao, Rasul, Vollgraf, "Fashion-MNIST: a novel image dataset" (2017), arXiv:1708.07747.
    "fashion_mnist": Source(
        folder="fashion-mnist",
        mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
        classes=("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                 "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        sha256={
            "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
    ),
}  # fmt: skip

NAMES = ("digits", *SOURCES)


def load(name: str, seed: int = 0) -> Data:
    """Load "digits", "mnist" or "fashion_mnist", split by `seed`.

    digits: 1,797 images of 8 x 8, cut 60/20/20 with the same mix of classes in each part. The others: the
    publisher's test set is `test`, 5,000 of the training images are `val`. Those files are taken from the
    folder that COMPRESSLAB_DATA names if they are there, else from COMPRESSLAB_HOME/data
    (~/.compresslab/data), else downloaded.

    Raises ValueError for an unknown name or a damaged file, ConnectionError if a download fails, OSError if it cannot
    be written.

    >>> digits = load("digits")
    >>> digits.train.x.shape, digits.val.x.shape, digits.test.x.shape
    (torch.Size([1079, 1, 8, 8]), torch.Size([359, 1, 8, 8]), torch.Size([359, 1, 8, 8]))
    """
    if name not in NAMES:
        raise ValueError(f"name must be one of {', '.join(NAMES)}, got {name!r}")
    return _digits(seed) if name == "digits" else _published(name, seed)


def at_hand() -> tuple[str, ...]:
    """Names of the data sets whose files are here, so that they load without a network."""

    def here(source: Source) -> bool:
        return all(_own(source, file) or _cached(source, file).exists() for file in source.sha256)

    return tuple(name for name in NAMES if name == "digits" or here(SOURCES[name]))


def _digits(seed: int) -> Data:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    y = torch.tensor(labels, dtype=torch.int64)
    rest, test = stratified(torch.arange(len(y)), y, len(y) // 5, seed)
    train, val = stratified(rest, y, len(y) // 5, seed)
    return Data("digits", DIGITS, *(Split(x[part], y[part]) for part in (train, val, test)))


def _published(name: str, seed: int) -> Data:
    source = SOURCES[name]
    x, y, test_x, test_y = (read_idx(_fetch(source, file)) for file in source.sha256)
    train, val = stratified(torch.arange(len(y)), y, len(y) // 12, seed)  # 5,000 of 60,000

    def split(x, y):
        return Split(x[:, None].float().div_(255), y.long())

    return Data(name, source.classes, split(x[train], y[train]), split(x[val], y[val]), split(test_x, test_y))


def stratified(index: torch.Tensor, y: torch.Tensor, size: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut `size` of `index` off, keeping the mix of classes: (the rest, the part cut off), in order."""
    from sklearn.model_selection import train_test_split

    rest, cut = train_test_split(index.numpy(), test_size=size, stratify=y[index], random_state=seed)
    return torch.from_numpy(rest).sort().values, torch.from_numpy(cut).sort().values


def read_idx(path: str | Path) -> torch.Tensor:
    """Read a gzipped idx file of bytes: uint8 tensor of the shape that its header states.

    The header is two zero bytes, 8 for "unsigned bytes", the number of dimensions, then each dimension as
    four bytes, most significant first (LeCun, Cortes, Burges, 1998). Raises ValueError if the file says
    otherwise or was cut short.
    """
    try:
        raw = gzip.decompress(Path(path).read_bytes())
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{Path(path).name} must be a whole gzip file, got: {error}") from error
    if len(raw) < 4 or raw[:3] != b"\0\0\x08":
        raise ValueError(f"{Path(path).name} must be an idx file of bytes (0 0 8 ...), it starts {raw[:4]!r}")
    start = 4 + 4 * raw[3]
    shape = [int.from_bytes(raw[i : i + 4], "big") for i in range(4, start, 4)]
    if len(raw) - start != math.prod(shape):
        raise ValueError(f"{Path(path).name} must hold {shape} bytes by its header, got {len(raw) - start}")
    return torch.frombuffer(bytearray(raw[start:]), dtype=torch.uint8).reshape(shape)


def _own(source: Source, file: str) -> Path | None:
    """The file in the user's own folder, if COMPRESSLAB_DATA names one and the file is there."""
    folder = os.environ.get("COMPRESSLAB_DATA")
    if not folder:
        return None
    if not Path(folder).is_dir():
        raise ValueError(f"COMPRESSLAB_DATA must name a folder, got {folder!r}")
    path = Path(folder, source.folder, file)
    return path if path.exists() else None


def home() -> Path:
    """The folder of the course's own files: COMPRESSLAB_HOME, default ~/.compresslab."""
    return Path(os.environ.get("COMPRESSLAB_HOME") or Path.home() / ".compresslab").expanduser()


def _cached(source: Source, file: str) -> Path:
    return home() / "data" / source.folder / file


def _fetch(source: Source, file: str) -> Path:
    """Path of a file that has been checked: the user's own, else the cached one, else downloaded now."""
    from filelock import FileLock

    sha256 = source.sha256[file]
    if path := _own(source, file):
        return check(path, sha256)
    path = _cached(source, file)
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{path}.lock"):  # a second process waits here, then finds the file
                if not path.exists():
                    _from_mirrors([mirror + file for mirror in source.mirrors], path, sha256)
        except ConnectionError:
            raise
        except OSError as error:  # the disk's
            raise OSError(
                f"{path} cannot be written ({error.strerror or error}): make room, or name another folder by the "
                "environment variable COMPRESSLAB_HOME, or use load('digits')"
            ) from error
    return check(path, sha256, remove=True)


def _from_mirrors(urls: list[str], path: Path, sha256: str) -> Path:
    """Try the mirrors in turn; stay with one as long as each attempt adds to what is there."""
    part = _part(path)
    for url in urls:
        before = -1
        while (size := part.stat().st_size if part.exists() else 0) > before:
            before = size
            try:
                return download(url, path, sha256)
            except (OSError, http.client.HTTPException) as error:
                if getattr(error, "errno", None) in UNWRITABLE:
                    raise
                reason = error
    raise ConnectionError(
        f"could not download {path.name} ({reason}): call again with a network (what has arrived is kept), "
        "put the publisher's files in a folder named by the environment variable COMPRESSLAB_DATA, "
        "or use load('digits')"
    )


def download(url: str, path: Path, sha256: str, timeout: float = 20.0) -> Path:
    """Download `url` to `path`, going on from `path`.part if an earlier download was cut; return `path`.

    `timeout` is in seconds, for connecting and for each read. Raises OSError if the connection fails or is
    cut (what has arrived stays in the .part file) and ValueError if the bytes are not those that `sha256`
    promises.
    """
    from tqdm import tqdm

    part = _part(path)
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise
        part.unlink()  # 416: nothing lies beyond what we have, so .part is not the beginning of this file
        return download(url, path, sha256, timeout)

    with answer:
        if answer.status != 206:  # the server does not know Range: it sends the file from the start
            have = 0
        total = have + int(answer.headers.get("Content-Length", 0))  # without it, the checksum alone tells
        bar = tqdm(desc=path.name, total=total, initial=have, unit="B", unit_scale=True)
        with bar, open(part, "ab" if have else "wb") as out:
            while block := answer.read(1 << 16):
                out.write(block)
                bar.update(len(block))
    if part.stat().st_size < total:
        raise ConnectionError(f"cut after {part.stat().st_size} of {total} bytes")
    check(part, sha256, remove=True)
    return part.replace(path)


def check(path: Path, sha256: str, remove: bool = False) -> Path:
    """Return `path` if its content has this SHA-256; else raise ValueError, having removed it if asked."""
    got = hashlib.sha256(path.read_bytes()).hexdigest()
    if got == sha256:
        return path
    if remove:
        path.unlink(missing_ok=True)
    end = "it was removed, call again to download it" if remove else "replace it with the publisher's file"
    raise ValueError(f"{path} is damaged: SHA-256 must be {sha256}, got {got}; {end}")


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")
