"""One table of one folder: the honest files measured, each hostile one a row that did no harm."""

import errno
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import torch
from capstone import files
from capstone.files import DIGITS, by_torch, changed, int8, network, weights

import compresslab
from compresslab import grade as command
from compresslab.capstone import _grade_job as job
from compresslab.capstone import grading, safety, sandbox
from compresslab.capstone.certificate import Certificate
from compresslab.capstone.submission import KEY, submit
from compresslab.capstone.task import BUDGET, Budget
from compresslab.runtimes.onnx_int8 import dynamic_int8

ROOT = Path(compresslab.__file__).parents[1]
CLAIMS = dict(kb=70, speedup=1000, accuracy=0.5)
LIMITS = "--memory-mb", "1000", "--seconds", "200"  # time for a machine that is busy with other tests
FORMULA, ESCAPES = "=cmd|' /C calc'!A0", "\x1b[2J\x1b]0;owned\x07Eve\r\nNext, row"


class Bomb:
    """Opened as a pickle it makes the file "marker"."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def fill(folder: Path, marker: Path) -> None:
    """Submissions as a course platform exports them: a folder each, among them everything that is not one."""

    def put(path: str, data: bytes) -> Path:
        place = folder / path
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(data)
        return place

    for name in ("ada", "zoe"):
        (folder / name).mkdir()
    submit(folder / "ada" / "final.onnx", network(200), "Ada Lovelace", CLAIMS)
    submit(folder / "zoe" / "final.onnx", network(200), FORMULA, {})  # the same network under another name
    put("raw/without words.ONNX", network(100))
    put("raw/copy.onnx", network(100))
    words = json.dumps(dict(name=ESCAPES, claims=dict(kb=1)))
    put("=1+1\n\x1b[31m.onnx", changed(network(50), lambda proto: proto.metadata_props.add(key=KEY, value=words)))
    put("broken/cut.onnx", network(200)[:-500])
    put("broken/empty.onnx", b"")
    put("broken/nan.onnx", files.not_a_number())
    put("broken/memory.onnx", files.memory_bomb())
    put("broken/batch.onnx", files.one_by_one_only())
    put("hostile/passwd.onnx", files.external())
    put("hostile/order.onnx", files.knows_the_order(DIGITS.test.y))
    put("hostile/huge.onnx", b"x" * (safety.FILE_BYTES + 1))
    bomb = pickle.dumps(Bomb(marker))
    for name in ("pickle.onnx", "net.pt", "net.pkl", "weights.npz"):
        put(f"hostile/{name}", bomb)
    touch = f"open({str(marker)!r}, 'w').close()\n"
    for name in ("argparse.py", "json.py", "numpy.py", "torch.py", "onnx.py", "sitecustomize.py"):
        put(name, touch.encode())
    put("other/report.pdf", b"%PDF")
    put("other/all.zip", b"PK")
    put(".hidden.onnx", network(50))
    put(".git/config.onnx", network(50))
    put("__MACOSX/._final.onnx", b"\0")
    (folder / "folder.onnx").mkdir()
    (folder / "link.onnx").symlink_to("/etc/passwd")
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.onnx")


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """(table, what the command printed, bytes of the table, did any code of a submission run) of one such folder."""
    folder, out = tmp_path_factory.mktemp("hand in"), tmp_path_factory.mktemp("out")
    fill(folder, out / "marker")
    done = subprocess.run(  # from inside the folder, the worst place: `python -m` looks for modules there
        [sys.executable, "-m", "compresslab.grade", ".", "--out", str(out / "grades.csv"), *LIMITS],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr.decode()
    data = (out / "grades.csv").read_bytes()
    assert sorted(path.name for path in out.iterdir()) in (["grades.csv"], ["grades.csv", "marker"])
    table = pd.read_csv(out / "grades.csv", keep_default_na=False).set_index("file")
    return table, done.stdout + done.stderr, data, (out / "marker").exists()


pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("grading"),
    pytest.mark.needs("linux"),  # it makes pipes and links, and limits memory
]


# ------------------------------------------------------------------------------------------ the table


def test_no_code_of_a_submission_ran(graded):
    assert not graded[3]


def test_honest_files_are_measured(graded):
    table = graded[0]
    row, (x, y) = table.loc["ada/final.onnx"], DIGITS.test
    assert (row["name"], row.status, row.reason) == ("Ada Lovelace", "graded", "")
    right = (by_torch(x, *weights(200)).argmax(1) == y).double().mean().item()
    assert float(row.accuracy) == pytest.approx(right, abs=1e-4)
    assert float(row.points) == pytest.approx(100 * (right - float(row.original_accuracy)), abs=0.02)
    assert float(row.n) == 359 and float(row.int8_share) == 0
    assert float(row.kb) == pytest.approx(len(network(200)) / 1000, abs=0.3) and float(row.original_kb) > 600
    assert float(row.speedup_low) <= float(row.speedup) <= float(row.speedup_high)
    numbers = {name: float(row[name]) for name in grading.NUMBERS if name != "int8_share"}
    found = Certificate(budget=BUDGET, int8=0, products=2, **numbers)  # the verdicts follow from the numbers shown
    assert {name: row[name] for name in found.verdicts} == found.verdicts
    assert row.passed == "False"


def test_claims_are_judged_beside_what_was_measured(graded):
    row = graded[0].loc["ada/final.onnx"]
    assert [float(row[f"claimed_{name}"]) for name in CLAIMS] == list(CLAIMS.values())
    assert [row[f"holds_{name}"] for name in CLAIMS] == ["yes", "no", "yes"]
    row = graded[0].loc["zoe/final.onnx"]
    assert [row[f"{part}_{name}"] for name in CLAIMS for part in ("claimed", "holds")] == [""] * 6


def test_copies_name_one_another(graded):
    same = graded[0].same_as
    assert same["ada/final.onnx"] == "zoe/final.onnx" and same["zoe/final.onnx"] == "ada/final.onnx"
    assert same["raw/copy.onnx"] == "raw/without words.ONNX"
    others = same.drop(["ada/final.onnx", "zoe/final.onnx", "raw/copy.onnx", "raw/without words.ONNX"])
    assert set(others) == {""}


@pytest.mark.parametrize(
    "file, status, reason",
    [
        ("raw/without words.ONNX", "graded", "file must hold the learner's name and claims once"),
        ("broken/cut.onnx", "broken", "file is not an ONNX file, or was cut short"),
        ("broken/empty.onnx", "broken", "file is not an ONNX file"),
        ("broken/nan.onnx", "broken", "file must give finite scores, got NaN or infinity for 359 of 359 images"),
        ("broken/memory.onnx", "broken", "file needs more memory than it is allowed"),
        ("broken/batch.onnx", "broken", "inputs cannot be taken by the file"),
        ("hostile/passwd.onnx", "refused", "file must hold its weights itself"),
        ("hostile/order.onnx", "refused", "file must give the same answers in another order"),
        ("hostile/huge.onnx", "refused", "larger than the 5,000,000 bytes that a submission may have"),
        ("hostile/pickle.onnx", "broken", "file is not an ONNX file"),
        ("hostile/net.pt", "refused", "may be a pickle, which runs code when it is opened"),
        ("hostile/net.pkl", "refused", "may be a pickle"),
        ("hostile/weights.npz", "refused", "not a submission"),
        ("json.py", "refused", "not a submission"),
        ("other/report.pdf", "refused", "not a submission: one is an .onnx file that submit() writes"),
        ("other/all.zip", "refused", "an archive: unpack it first"),
        ("folder.onnx", "refused", "a folder with the name of a file"),
        ("link.onnx", "refused", "a link: it is not followed"),
        ("loop", "refused", "a link: it is not followed"),
        ("pipe.onnx", "refused", "not a plain file"),
    ],
)
def test_every_other_file_is_a_row_with_a_reason(graded, file, status, reason):
    row = graded[0].loc[file]
    assert (row.status, row.reason[: len(reason)]) == (status, reason)
    assert status == "graded" or (row.passed, row.accuracy) == ("", "")


def test_each_file_has_one_row_and_hidden_ones_none(graded):
    table = graded[0]
    assert table.index.is_unique and len(table) == 29
    assert not table.index.str.contains("hidden|git|MACOSX").any()
    assert list(table.reset_index().columns) == grading.COLUMNS


def test_text_of_submissions_is_harmless_in_the_table_and_on_the_terminal(graded):
    table, printed, data, _ = graded
    text = data.decode("utf-8-sig")
    row = table.loc["'=1+1 [31m.onnx"]
    assert (row["name"], row.status) == ("[2J ]0,owned Eve Next, row", "graded")
    assert table.loc["zoe/final.onnx", "name"] == f"'{FORMULA}"
    for cell in [*table.index, *table["name"], *table.reason]:
        assert not cell.startswith(("=", "+", "-", "@")) and cell.isprintable()
    assert set(map(ord, text)) - set(range(32, 0x110000)) <= {10}
    assert b"\x1b[31m" not in printed and b"\x1b[2J" not in printed and b"\x07" not in printed
    assert "29 files: " in printed.decode() and "0 passed" in printed.decode()


# ------------------------------------------------------------------------------------------ the process


@pytest.fixture(scope="module")
def original():
    return network(400)


def test_a_slow_file_is_stopped(original):
    begun = time.monotonic()
    found = sandbox.judge(files.slow(), original, DIGITS.test, BUDGET, seconds=6)
    assert found == dict(status="broken", reason="it was stopped after 6 seconds")
    assert time.monotonic() - begun < 60  # unstopped it would take minutes


@pytest.mark.parametrize(
    "code, reason",
    [
        ("os.abort()", r"its process crashed (SIGABRT)"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "its process crashed (SIGSEGV)"),
        ("sys.exit(3)", "its process crashed (exit status 3)"),
        ("pass", "its process gave no result"),
        ("write(b'\\xff garbage')", "its process gave no result"),
        ("write(b'{}')", "its process gave no result"),
        ("write(b'[' * 90_000)", "its process gave no result"),
        ('write(b\' \' * 200_000 + b\'{"status": "broken", "reason": ""}\')', "its process gave no result"),
        ("write(json.dumps(dict(status='graded', name='x', claims={}, certificate={})).encode())", "gave no result"),
        ("write(json.dumps(good | dict(certificate=numbers | dict(kb=float('nan')))).encode())", "gave no result"),
        ("write(json.dumps(good | dict(certificate=numbers | dict(kb='1'))).encode())", "gave no result"),
        ("write(json.dumps(good | dict(claims=dict(kb='inf'))).encode())", "gave no result"),
        ("os.symlink('/etc/hostname', folder + '/result.json')", "its process gave no result"),
        ("os.mkfifo(folder + '/result.json')", "its process gave no result"),
        ("time.sleep(60)", "it was stopped after 2 seconds"),
        ("[sys.stderr.write('x' * 1000) for _ in range(10_000)]; os.abort()", "SIGABRT"),
    ],
)
def test_whatever_the_process_does_is_one_result(tmp_path, monkeypatch, original, code, reason):
    numbers = dict.fromkeys(Certificate.__dataclass_fields__, 1) | dict(budget={})
    good = dict(status="graded", name="x", claims={}, reason="", network="", certificate=numbers)
    job = tmp_path / "job.py"
    job.write_text(
        "import json, os, signal, sys, time\nfolder = sys.argv[1]\n"
        "write = lambda data: open(folder + '/result.json', 'wb').write(data)\n"
        f"good = {good!r}\nnumbers = good['certificate']\n{code}\n"
    )
    monkeypatch.setattr(sandbox, "JOB", job)
    found = sandbox.judge(b"", original, DIGITS.test, BUDGET, seconds=2 if "sleep" in code else 60)
    assert found["status"] == "broken" and reason in found["reason"]


def test_a_good_result_of_the_process_is_taken(tmp_path, monkeypatch, original):
    """So that the refusals above are not for another reason."""
    numbers = dict.fromkeys(Certificate.__dataclass_fields__, 1) | dict(budget={})
    good = dict(status="graded", name="x", claims=dict(kb=2), reason="", network="", certificate=numbers)
    (tmp_path / "job.py").write_text(f"import sys\nopen(sys.argv[1] + '/result.json', 'w').write({json.dumps(good)!r})")
    monkeypatch.setattr(sandbox, "JOB", tmp_path / "job.py")
    found = sandbox.judge(b"", original, DIGITS.test, BUDGET)
    assert found["certificate"] == Certificate(**numbers | dict(budget=BUDGET)) and found["claims"] == dict(kb=2.0)


def test_nothing_of_a_stopped_process_is_left(tmp_path, monkeypatch, original):
    """A job that started another process, and waits: both are gone, and so is their folder."""
    note = tmp_path / "note"
    (tmp_path / "job.py").write_text(
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(100)'])\n"
        f"open({str(note)!r}, 'w').write(f'{{child.pid}} {{sys.argv[1]}}')\ntime.sleep(100)"
    )
    monkeypatch.setattr(sandbox, "JOB", tmp_path / "job.py")
    assert "stopped" in sandbox.judge(b"", original, DIGITS.test, BUDGET, seconds=10)["reason"]
    pid, folder = note.read_text().split(" ", 1)
    assert not Path(folder).exists()
    deadline = time.monotonic() + 10
    while _alive(int(pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(int(pid))


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_images_come_in_an_order_that_a_seed_decides(tmp_path):
    x, y = torch.arange(100.0).view(-1, 1), torch.arange(100)
    np.savez(tmp_path / "split.npz", x=x.numpy(), y=y.numpy())
    (x1, y1), (x2, y2) = (job.shuffled(tmp_path / "split.npz", seed) for seed in (1, 2))
    for shown, labels in ((x1, y1), (x2, y2)):
        assert torch.equal(shown[:, 0], labels.float()) and torch.equal(labels.sort().values, y)
    assert not torch.equal(y1, y2) and not torch.equal(y1, y)


def test_answers_must_not_depend_on_the_other_images():
    x, y = DIGITS.test
    for file in (network(100), int8(network(100)), dynamic_int8(network(100))):
        job.check_steady(file, x, 64)
    with pytest.raises(safety.Refused, match="same answers in another order, got .*% of them the same"):
        job.check_steady(files.knows_the_order(y), x, 64)
    # it compares each image with the mean of its batch: right by its order, wrong one by one
    nodes = [("ReduceMean", ["x", "front"], ["mean"]), ("Sub", ["x", "mean"], ["rest"]), ("Flatten", ["rest"], ["r"])]
    batchwise = files.model([*nodes, ("MatMul", ["r", "w"], ["y"])], front=np.array([0]), w=torch.randn(64, 10))
    with pytest.raises(safety.Refused, match="same answers"):
        job.check_steady(batchwise, x, 64)
    with pytest.raises(ValueError, match="inputs cannot be taken by the file"):
        job.check_steady(files.one_by_one_only(), x, 64)


@pytest.mark.parametrize(
    "node, shape",
    [
        (("ReduceMean", ["s", "one"], ["y"], {"keepdims": 0}), r"\(64,\) for 64 images"),
        (("Unsqueeze", ["s", "front"], ["y"]), r"\(1, 64, 10\) for 64 images"),
        (("Concat", ["s", "s"], ["y"], {"axis": 0}), r"\(128, 10\) for 64 images"),
        (("Slice", ["s", "front", "one"], ["y"]), r"\(1, 10\) for 64 images"),
        (("Slice", ["s", "front", "front"], ["y"]), r"\(0, 10\) for 64 images"),
    ],
)
def test_scores_of_another_shape_are_one_sentence(node, shape):
    first, second = weights(50)
    nodes = [("Flatten", ["x"], ["r"]), ("MatMul", ["r", "a"], ["h"]), ("MatMul", ["h", "b"], ["s"]), node]
    file = files.model(nodes, y=("n",) + (None,) * (shape.count(",") - 1), a=first, b=second, one=np.array([1]),
                       front=np.array([0]))  # fmt: skip
    with pytest.raises(ValueError, match=rf"file must give scores of shape \(n, classes\), got {shape}"):
        job.check_steady(file, DIGITS.test.x, 64)


def test_the_process_has_limits_and_no_python_settings_of_others(tmp_path, monkeypatch, original):
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit(9)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("SECRET", "x")
    (tmp_path / "job.py").write_text(
        "import json, os, resource, sys\n"
        f"sys.path.insert(0, {str(sandbox.JOB.parents[2])!r})\n"
        "from compresslab.capstone import _grade_job as job\njob.limit(7, 100)\n"
        "held = [resource.getrlimit(getattr(resource, 'RLIMIT_' + k)) for k in ('CPU', 'FSIZE', 'NOFILE', 'CORE')]\n"
        "try:\n    bytearray(10**9)\n    memory = 'free'\nexcept MemoryError:\n    memory = 'limited'\n"
        "said = [held, memory, 'SECRET' in os.environ, os.getcwd() == os.path.realpath(sys.argv[1])]\n"
        "open('result.json', 'w').write(json.dumps(dict(status='broken', reason=json.dumps(said))))"
    )
    monkeypatch.setattr(sandbox, "JOB", tmp_path / "job.py")
    found = json.loads(sandbox.judge(b"", original, DIGITS.test, BUDGET)["reason"])
    assert found[0] == [[7, 7], [50_000_000, 50_000_000], [256, 256], [0, 0]]
    assert found[2:] == [False, True]
    if sys.platform == "linux":
        assert found[1] == "limited"


# ------------------------------------------------------------------------------------------ in between


@pytest.fixture
def quick(monkeypatch):
    """No process: each file passes, unless it says otherwise."""

    def judge(data, original, split, budget, **limits):
        if data == b"interrupt":
            raise KeyboardInterrupt
        return dict(status="broken", reason=data.decode())

    monkeypatch.setattr(sandbox, "judge", judge)
    monkeypatch.setattr("compresslab.capstone.task.reference", lambda digits: None)
    monkeypatch.setattr("compresslab.runtimes.onnx_export.export_onnx", lambda *_: b"")


def test_an_interrupt_keeps_the_rows_that_are_done(tmp_path, quick, capsys):
    for name, data in (("a", "one"), ("b", "interrupt"), ("c", "three")):
        (tmp_path / f"{name}.onnx").write_text(data)
    out = tmp_path / "grades.csv"
    assert command.main([str(tmp_path), "--out", str(out)]) == 130
    table = pd.read_csv(out)
    assert table.status.tolist() == ["broken", "not reached", "not reached"] and table.reason[0] == "one"
    assert "1 broken" in capsys.readouterr().out


def test_the_table_is_no_submission_and_is_not_overwritten_unasked(tmp_path, quick, capsys):
    (tmp_path / "a.onnx").write_text("one")
    arguments = [str(tmp_path), "--out", str(tmp_path / "grades.csv")]
    assert command.main(arguments) == 0
    (tmp_path / "a.onnx").write_text("two")
    assert command.main(arguments) == 2
    assert "grades.csv exists: give another --out, or --overwrite" in capsys.readouterr().err
    assert pd.read_csv(tmp_path / "grades.csv").reason.tolist() == ["one"]
    assert command.main([*arguments, "--overwrite"]) == 0
    assert pd.read_csv(tmp_path / "grades.csv").reason.tolist() == ["two"]  # one row: not of itself


def test_a_table_that_cannot_be_written_is_kept_elsewhere(tmp_path, monkeypatch, quick, capsys):
    """As on Windows, where the old table is open in a spreadsheet."""
    (tmp_path / "a.onnx").write_text("one")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(os, "replace", Mock(side_effect=PermissionError(errno.EACCES, "Permission denied")))
    assert command.main([str(tmp_path), "--out", str(tmp_path / "grades.csv")]) == 2
    (kept,) = tmp_path.glob("grades-*.csv")
    said = f"error: {tmp_path / 'grades.csv'} cannot be written (Permission denied); the table is in {kept}\n"
    assert capsys.readouterr().err.endswith(said)
    assert pd.read_csv(kept).reason.tolist() == ["one"]
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "a.onnx", kept])


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["nowhere"], "folder must be a folder that exists, got nowhere"),
        (["empty"], "no files found in empty"),
        (["full", "--out", "none/grades.csv"], "--out must lie in a folder that exists, got none/grades.csv"),
        (["full", "--out", "empty", "--overwrite"], "--out must be a file, got the folder empty"),
        (["full", "--seconds", "1"], "--seconds must be at least 5, got 1"),
        (["full", "--memory-mb", "-1"], "--memory-mb must be at least 100, got -1"),
        (["full", "--kb", "0"], "kb must be above 0, got 0.0"),
        (["full", "--test", "none.npz"], "test must be an .npz file with the arrays x and y, got none.npz: No "),
        (["full", "--test", "full/a.onnx"], "test must be an .npz file with the arrays x and y, got full/a.onnx\n"),
    ],
)
def test_bad_arguments_are_one_sentence(tmp_path, monkeypatch, quick, capsys, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "full"):
        (tmp_path / name).mkdir()
    (tmp_path / "full" / "a.onnx").touch()
    assert command.main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith(f"error: {sentence}") and printed.err.count("\n") == 1
    assert not list(tmp_path.rglob("*.csv"))


def test_the_options_reach_the_grading(tmp_path, monkeypatch, quick):
    seen = []
    monkeypatch.setattr(sandbox, "judge", lambda *a, **k: seen.append((a, k)) or dict(status="broken", reason=""))
    (tmp_path / "a.onnx").write_text("one")
    x, y = torch.rand(5, 1, 8, 8), torch.arange(5)
    np.savez(tmp_path / "mine.npz", x=x.numpy(), y=y.numpy())
    given = ["--kb", "50", "--speedup", "2", "--drop", "3", "--batch", "8", "--seconds", "9", "--memory-mb", "300"]
    test = ["--test", str(tmp_path / "mine.npz"), "--out", str(tmp_path / "g.csv")]
    assert command.main([str(tmp_path), *given, *test]) == 0
    (data, _, split, budget), limits = seen[0]
    assert data == b"one" and budget == Budget(50, 2, 3, 8)
    assert torch.equal(split.x, x) and torch.equal(split.y, y)
    assert (limits["seconds"], limits["memory_mb"]) == (9, 300)


def test_too_few_images_for_any_yes_are_told(tmp_path, quick, capsys):
    """The lower end for equal answers is -1.96 sqrt(2) / (n + 2): -1.5 points at n = 182.8."""
    (tmp_path / "a.onnx").write_text("one")
    for n, told in ((182, True), (183, False)):
        x, y = torch.rand(n, 1, 8, 8), torch.zeros(n, dtype=torch.int64)
        np.savez(tmp_path / "mine.npz", x=x.numpy(), y=y.numpy())
        given = "--test", str(tmp_path / "mine.npz"), "--out", str(tmp_path / f"{n}.csv")
        assert command.main([str(tmp_path), *given]) == 0
        assert (f"note: {n} images are few" in capsys.readouterr().err) == told


@pytest.mark.parametrize(
    "arrays, sentence",
    [
        (dict(x=np.zeros((3, 1, 8, 8)), y=np.zeros(3, int)), "x must be float32 .n, 1, 8, 8. from 0 to 1, got float64"),
        (dict(x=np.zeros((3, 64), np.float32), y=np.zeros(3, int)), r"got float32 \(3, 64\)"),
        (dict(x=np.full((3, 1, 8, 8), 16, np.float32), y=np.zeros(3, int)), "from 0 to 1, got 16 to 16"),
        (dict(x=np.full((3, 1, 8, 8), np.nan, np.float32), y=np.zeros(3, int)), "from 0 to 1"),
        (dict(x=np.zeros((0, 1, 8, 8), np.float32), y=np.zeros(0, int)), "from 0 to 1"),
        (
            dict(x=np.zeros((3, 1, 8, 8), np.float32), y=np.zeros(2, int)),
            "y must be int64 .n,. from 0 to 9 for 3 images",
        ),
        (dict(x=np.zeros((3, 1, 8, 8), np.float32), y=np.full(3, 10)), "from 0 to 9"),
        (dict(x=np.zeros((3, 1, 8, 8), np.float32)), "arrays x and y"),
        (dict(x=np.array([Bomb(Path("marker"))]), y=np.zeros(1, int)), "arrays x and y"),
    ],
)
def test_images_of_the_teacher_are_checked(tmp_path, monkeypatch, arrays, sentence):
    monkeypatch.chdir(tmp_path)
    np.savez("test.npz", **arrays)
    with pytest.raises(ValueError, match=sentence):
        grading.read_test("test.npz")
    assert not Path("marker").exists()


def test_a_file_that_turns_into_a_pipe_or_a_link_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/etc/passwd")
    for name in ("pipe", "link", "missing"):
        with pytest.raises(OSError):
            sandbox.plain_bytes(tmp_path / name, 10)
    (tmp_path / "file").write_bytes(b"x" * 20)
    assert sandbox.plain_bytes(tmp_path / "file", 10) == b"x" * 10


def test_a_name_that_is_no_text_gets_a_row(tmp_path, quick):
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.onnx")).write_text("one")
    assert grading.grade(tmp_path, b"", DIGITS.test, progress=False).file.tolist() == [".onnx"]


def test_a_folder_that_cannot_be_opened_is_a_row(tmp_path, quick, monkeypatch):
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refusing(path):  # a mode of 0 would not stop root
        if Path(path).name == "closed":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    table = grading.grade(tmp_path, b"", DIGITS.test, progress=False)
    assert table.file.tolist() == ["closed"]
    assert table.reason.tolist() == ["a folder that cannot be opened: Permission denied"]


def test_importing_the_command_changes_nothing():
    code = "import sys; before = list(sys.path); import compresslab.grade; assert sys.path == before"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
