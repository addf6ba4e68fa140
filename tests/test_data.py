import gzip
import hashlib
import re
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import filelock
import pytest
import torch

from compresslab import data

# ------------------------------------------------------------------------------------- a small publisher


@dataclass
class Publisher:
    """A web server on this machine: what it serves, how badly, what it was asked and what it sent."""

    files: dict[str, bytes]
    knows_range: bool = True
    cut_after: int | None = None  # bytes of a body, after which the connection breaks
    cuts: int = 0  # how many answers are cut
    corrupt: bool = False
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    sent: int = 0
    url: str = ""


@pytest.fixture
def publisher(monkeypatch):
    state = Publisher({})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            wanted = self.headers["Range"]
            state.asked.append((self.path.lstrip("/"), wanted))
            body = state.files[self.path.lstrip("/")]
            if state.corrupt:
                body = bytes(len(body))
            start = 0
            if wanted and state.knows_range:
                start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
                if start >= len(body):
                    return self.send_error(416)
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            piece = body[start:]
            if state.cuts > 0:
                state.cuts -= 1
                piece = piece[: state.cut_after]
            state.sent += len(piece)
            self.wfile.write(piece)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_port}/"
    monkeypatch.setenv("no_proxy", "*")
    yield state
    server.shutdown()
    server.server_close()


def idx(tensor):
    dims = b"".join(n.to_bytes(4, "big") for n in tensor.shape)
    return gzip.compress(bytes([0, 0, 8, tensor.ndim]) + dims + bytes(tensor.flatten().tolist()))


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def small(publisher, monkeypatch):
    """A data set of 120 + 20 random images, published on this machine under the name mnist."""
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (140, 28, 28), generator=draw, dtype=torch.uint8)
    labels = torch.arange(140, dtype=torch.uint8) % 10
    publisher.files = {
        "train-images": idx(images[:120]), "train-labels": idx(labels[:120]),
        "test-images": idx(images[120:]), "test-labels": idx(labels[120:]),
    }  # fmt: skip
    source = data.Source(
        "mnist", (publisher.url,), data.DIGITS, {name: sha256(b) for name, b in publisher.files.items()}
    )
    monkeypatch.setitem(data.SOURCES, "mnist", source)
    monkeypatch.delenv("COMPRESSLAB_DATA", raising=False)
    return images, labels


@pytest.fixture
def big(publisher):
    """One file of 300 kB of noise: (url, content, checksum)."""
    content = torch.randint(0, 256, (300_000,), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    content = content.numpy().tobytes()
    publisher.files = {"big": content}
    return publisher.url + "big", content, sha256(content)


# ---------------------------------------------------------------------------------------------- digits


def rows(split):
    return {(*x.flatten().tolist(), y) for x, y in zip(split.x, split.y.tolist(), strict=True)}


def test_digits_splits_are_disjoint_complete_and_stratified():
    from sklearn.datasets import load_digits

    d = data.load("digits", seed=3)
    parts = [d.train, d.val, d.test]
    images, labels = load_digits(return_X_y=True)
    everything = {(*(x / 16).tolist(), y) for x, y in zip(images, labels.tolist(), strict=True)}
    assert len(everything) == 1797  # no image occurs twice, so sets tell disjoint parts from overlapping ones
    assert [len(part.y) for part in parts] == [1079, 359, 359]
    assert set.union(*map(rows, parts)) == everything
    share = torch.tensor(labels).bincount() / 1797
    for part in parts:
        # A stratified part holds each class to within one image of its fair share.
        assert (part.y.bincount() - share * len(part.y)).abs().max() < 1
        assert part.x.dtype == torch.float32 and part.y.dtype == torch.int64 and part.x.shape[1:] == (1, 8, 8)
        assert part.x.min() == 0 and part.x.max() == 1


def test_the_seed_fixes_the_split():
    a, b, c = data.load("digits", seed=1), data.load("digits", seed=1), data.load("digits", seed=2)
    assert torch.equal(a.train.x, b.train.x) and torch.equal(a.test.y, b.test.y)
    assert rows(a.test) != rows(c.test)


def test_digits_need_no_folder_and_no_network(monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("opened a connection"))
    monkeypatch.setenv("COMPRESSLAB_DATA", "/nonexistent")
    assert len(data.load("digits").classes) == 10


# ------------------------------------------------------------------------------------ the real data sets

# Images of each digit in the training and test set, as counted on the page that first published MNIST.
MNIST_TRAIN = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
MNIST_TEST = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.mark.needs("real data")
@pytest.mark.parametrize(
    ("name", "train_counts", "test_counts", "first_test_labels"),
    [
        ("mnist", MNIST_TRAIN, MNIST_TEST, [7, 2, 1, 0, 4]),
        ("fashion_mnist", [6000] * 10, [1000] * 10, [9, 2, 1, 1, 6]),
    ],
)
def test_real_data(name, train_counts, test_counts, first_test_labels):
    d = data.load(name)
    assert (d.train.y.bincount() + d.val.y.bincount()).tolist() == train_counts
    assert d.test.y.bincount().tolist() == test_counts
    assert d.test.y[:5].tolist() == first_test_labels
    assert [len(part.y) for part in (d.train, d.val, d.test)] == [55_000, 5_000, 10_000]
    for x, y in (d.train, d.val, d.test):
        assert x.shape == (len(y), 1, 28, 28) and x.dtype == torch.float32 and y.dtype == torch.int64
        assert x.min() == 0 and x.max() == 1
    assert (d.val.y.bincount() - torch.tensor(train_counts) / 12).abs().max() < 1
    assert name in data.at_hand()


@pytest.mark.needs("real data")
def test_real_data_in_the_publishers_order():
    source = data.SOURCES["mnist"]
    images = data.read_idx(data._fetch(source, "train-images-idx3-ubyte.gz"))
    labels = data.read_idx(data._fetch(source, "train-labels-idx1-ubyte.gz"))
    assert labels[:5].tolist() == [5, 0, 4, 1, 9]
    # Mean and spread of MNIST's pixels, the usual constants of the literature: 0.1307 and 0.3081.
    share = images.flatten().bincount(minlength=256).double() / images.numel()
    value = torch.arange(256) / 255
    mean = (share * value).sum()
    assert mean == pytest.approx(0.1307, abs=5e-5)
    assert (share * (value - mean) ** 2).sum().sqrt() == pytest.approx(0.3081, abs=5e-5)


# ----------------------------------------------------------------------------------------- downloading


def test_downloaded_once_then_read_from_the_cache(small, publisher, tmp_path):
    images, labels = small
    assert data.at_hand() == ("digits",)
    first = data.load("mnist")
    assert len(publisher.asked) == 4
    second = data.load("mnist")
    assert len(publisher.asked) == 4
    assert data.at_hand() == ("digits", "mnist")
    assert torch.equal(first.train.x, second.train.x)
    assert torch.equal(first.test.x, images[120:, None] / 255) and torch.equal(first.test.y, labels[120:].long())
    assert len(first.train.y) == 110 and first.val.y.bincount().tolist() == [1] * 10
    assert not list((tmp_path / "home").rglob("*.part"))


def test_the_users_folder_comes_first(small, publisher, tmp_path, monkeypatch):
    folder = tmp_path / "own" / "mnist"
    folder.mkdir(parents=True)
    for name, content in publisher.files.items():
        (folder / name).write_bytes(content)
    monkeypatch.setenv("COMPRESSLAB_DATA", str(folder.parent))
    data.load("mnist")
    assert publisher.asked == []

    (folder / "test-labels").unlink()  # what is missing there is downloaded to the cache
    data.load("mnist")
    assert publisher.asked == [("test-labels", None)]
    assert (tmp_path / "home" / "data" / "mnist" / "test-labels").exists()


def test_a_cut_download_goes_on_where_it_stopped(big, publisher, tmp_path):
    url, content, checksum = big
    publisher.cut_after, publisher.cuts = 100_000, 1
    with pytest.raises(ConnectionError, match="cut after 100000 of 300000 bytes"):
        data.download(url, tmp_path / "big", checksum)
    assert not (tmp_path / "big").exists()
    data.download(url, tmp_path / "big", checksum)
    assert publisher.asked == [("big", None), ("big", "bytes=100000-")]
    assert publisher.sent == len(content)  # nothing was sent twice
    assert (tmp_path / "big").read_bytes() == content and not (tmp_path / "big.part").exists()


def test_load_survives_several_cuts_in_one_call(small, publisher):
    publisher.cut_after, publisher.cuts = 20_000, 3
    data.load("mnist")
    assert [r for name, r in publisher.asked if name == "train-images"][:3] == [
        None,
        "bytes=20000-",
        "bytes=40000-",
    ]
    assert publisher.sent == sum(map(len, publisher.files.values()))


def test_a_server_without_range_sends_it_all_again(big, publisher, tmp_path):
    url, content, checksum = big
    publisher.knows_range = False
    (tmp_path / "big.part").write_bytes(content[:1000])
    data.download(url, tmp_path / "big", checksum)
    assert (tmp_path / "big").read_bytes() == content


@pytest.mark.parametrize("length", [300_000, 300_001])
def test_a_part_as_long_as_the_file_or_longer_is_started_again(big, publisher, tmp_path, length):
    url, content, checksum = big
    (tmp_path / "big.part").write_bytes(bytes(length))
    data.download(url, tmp_path / "big", checksum)
    assert (tmp_path / "big").read_bytes() == content
    assert publisher.asked == [("big", f"bytes={length}-"), ("big", None)]


def test_a_corrupt_download_is_refused_removed_and_said(small, publisher, tmp_path):
    publisher.corrupt = True
    expected = data.SOURCES["mnist"].sha256["train-images"]
    got = sha256(bytes(len(publisher.files["train-images"])))
    with pytest.raises(ValueError, match=f"train-images.*must be {expected}, got {got}; it was removed") as error:
        data.load("mnist")
    assert "\n" not in str(error.value)
    assert {p.suffix for p in (tmp_path / "home").rglob("*") if p.is_file()} == {".lock"}
    publisher.corrupt = False
    assert len(data.load("mnist").test.y) == 20


def test_a_wrong_beginning_is_found_out_and_not_kept(big, publisher, tmp_path):
    url, content, checksum = big
    (tmp_path / "big.part").write_bytes(b"<html>please log in</html>")
    with pytest.raises(ValueError, match="damaged"):
        data.download(url, tmp_path / "big", checksum)
    assert list(tmp_path.glob("big*")) == []


def test_a_damaged_file_in_the_cache_is_removed_and_downloaded_at_the_next_call(small, publisher, tmp_path):
    data.load("mnist")
    cached = tmp_path / "home" / "data" / "mnist" / "test-images"
    cached.write_bytes(cached.read_bytes()[:-1])
    with pytest.raises(ValueError, match="test-images is damaged.*it was removed"):
        data.load("mnist")
    data.load("mnist")
    assert len(publisher.asked) == 5


def test_a_damaged_file_of_the_users_own_is_refused_and_left_alone(small, publisher, tmp_path, monkeypatch):
    own = tmp_path / "own" / "mnist" / "train-images"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"not this")
    monkeypatch.setenv("COMPRESSLAB_DATA", str(tmp_path / "own"))
    with pytest.raises(ValueError, match="train-images is damaged.*replace it with the publisher's file"):
        data.load("mnist")
    assert own.read_bytes() == b"not this" and publisher.asked == []


def closed_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_without_a_network_one_sentence_says_what_to_do(small, monkeypatch, tmp_path):
    source = data.SOURCES["mnist"]
    nobody = data.Source(source.folder, (f"http://127.0.0.1:{closed_port()}/",), source.classes, source.sha256)
    monkeypatch.setitem(data.SOURCES, "mnist", nobody)
    with pytest.raises(ConnectionError, match="train-images.*COMPRESSLAB_DATA.*digits") as error:
        data.load("mnist")
    assert "\n" not in str(error.value)


@pytest.mark.needs("linux")
def test_a_full_disk_is_told_in_one_sentence(small, publisher, tmp_path):
    folder = tmp_path / "home" / "data" / "mnist"
    folder.mkdir(parents=True)
    (folder / "train-images.part").symlink_to("/dev/full")  # takes nothing: no space left on device
    with pytest.raises(OSError, match="train-images cannot be written .No space left.*COMPRESSLAB_HOME") as error:
        data.load("mnist")
    assert "\n" not in str(error.value) and len(publisher.asked) == 1


def test_a_folder_that_takes_nothing_is_told_in_one_sentence(small, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("COMPRESSLAB_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(OSError, match="train-images cannot be written .*COMPRESSLAB_HOME.*digits") as error:
        data.load("mnist")
    assert "\n" not in str(error.value) and not isinstance(error.value, ConnectionError)


def test_the_second_mirror_finishes_what_the_first_began(small, publisher, monkeypatch, tmp_path):
    source = data.SOURCES["mnist"]
    mirrors = (f"http://127.0.0.1:{closed_port()}/", publisher.url)
    monkeypatch.setitem(data.SOURCES, "mnist", data.Source("mnist", mirrors, source.classes, source.sha256))
    part = tmp_path / "home" / "data" / "mnist" / "train-images.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(publisher.files["train-images"][:5000])
    data.load("mnist")
    assert publisher.asked[0] == ("train-images", "bytes=5000-")


def test_a_server_that_says_nothing_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection, never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/big"
        with pytest.raises(TimeoutError):
            data.download(url, tmp_path / "big", "0", timeout=0.1)


FETCH = """
import sys
from compresslab import data
url, checksum = sys.argv[1:]
path = data._fetch(data.Source("mnist", (url,), (), {"big": checksum}), "big")
print(len(path.read_bytes()))
"""


def test_two_processes_download_once(big, publisher, monkeypatch):
    monkeypatch.delenv("COMPRESSLAB_DATA", raising=False)
    _, content, checksum = big
    command = [sys.executable, "-c", FETCH, publisher.url, checksum]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0].strip() for process in both] == ["300000", "300000"]
    assert publisher.sent == len(content)


def test_a_file_that_came_while_waiting_is_not_downloaded_again(big, publisher, tmp_path, monkeypatch):
    _, content, checksum = big
    monkeypatch.delenv("COMPRESSLAB_DATA", raising=False)

    class OtherWasFirst(filelock.FileLock):
        def __enter__(self):  # by the time we hold the lock, another process has finished its download
            Path(self.lock_file).with_name("big").write_bytes(content)
            return super().__enter__()

    monkeypatch.setattr(filelock, "FileLock", OtherWasFirst)
    path = data._fetch(data.Source("mnist", (publisher.url,), (), {"big": checksum}), "big")
    assert path.read_bytes() == content and publisher.asked == []


# ------------------------------------------------------------------------------------- idx and bad input


@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 3, 5)])
def test_idx_round_trip(tmp_path, shape):
    values = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    (tmp_path / "x.gz").write_bytes(idx(values))
    assert torch.equal(data.read_idx(tmp_path / "x.gz"), values)


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"", "x.gz must be an idx file of bytes"),
        (b"\0\0\x0d\1\0\0\0\0", "must be an idx file of bytes"),  # 13: 32-bit floats
        (b"\0\0\x08\1\0\0\0\5abcd", r"must hold \[5\] bytes by its header, got 4"),
        (b"\0\0\x08\1\0\0\0\3abcd", r"must hold \[3\] bytes by its header, got 4"),
        (b"\0\0\x08\2\0\0", "must hold"),
    ],
)
def test_a_file_that_is_no_idx_file(tmp_path, raw, sentence):
    (tmp_path / "x.gz").write_bytes(gzip.compress(raw))
    with pytest.raises(ValueError, match=sentence):
        data.read_idx(tmp_path / "x.gz")


def test_a_file_that_was_not_zipped_or_was_cut(tmp_path):
    whole = gzip.compress(b"\0\0\x08\1\0\0\0\4abcd")
    for raw in (b"plain", *(whole[:n] for n in range(1, len(whole)))):
        (tmp_path / "x.gz").write_bytes(raw)
        with pytest.raises(ValueError, match="^x.gz must be a whole gzip file, got: "):
            data.read_idx(tmp_path / "x.gz")


@pytest.mark.parametrize("name", ["cifar", "Digits", None, ["mnist"]])
def test_an_unknown_name_lists_the_valid_ones(name):
    with pytest.raises(ValueError, match="name must be one of digits, mnist, fashion_mnist, got"):
        data.load(name)


def test_a_folder_that_is_not_there_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("COMPRESSLAB_DATA", str(tmp_path / "typo"))
    with pytest.raises(ValueError, match="COMPRESSLAB_DATA must name a folder, got .*typo"):
        data.load("mnist")
