import gzip
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrize

from compresslab import measure, models
from compresslab.intervals import wilson_interval


class Mask(nn.Module):
    """Zero where `keep` is False."""

    def __init__(self, keep):
        super().__init__()
        self.register_buffer("keep", keep)

    def forward(self, weight):
        return weight * self.keep


class Scaled(nn.Module):
    """A parametrization with a parameter of its own, as quantizers with a learned step have."""

    def __init__(self):
        super().__init__()
        self.step = nn.Parameter(torch.tensor(2.0))

    def forward(self, weight):
        return weight * self.step


def masked_layer():
    layer = nn.Linear(10, 6)
    keep = torch.ones(6, 10, dtype=torch.bool)
    keep[:, ::2] = False  # 30 of the 60 weights
    parametrize.register_parametrization(layer, "weight", Mask(keep))
    return layer


# ------------------------------------------------------------------------------------------------- size


@pytest.mark.parametrize("build", [models.mlp, models.lenet5, models.resnet20, models.tiny_transformer])
def test_parameters_of_a_plain_model(build):
    model = build(seed=0)
    assert measure.count_parameters(model) == sum(p.numel() for p in model.parameters())
    assert measure.count_nonzeros(model) == sum((p != 0).sum().item() for p in model.parameters())


def test_a_shared_weight_counts_once():
    a, b = nn.Linear(4, 4), nn.Linear(4, 4)
    b.weight = a.weight
    assert measure.count_parameters(nn.Sequential(a, b)) == 16 + 4 + 4


def test_masks_are_counted_as_the_forward_pass_sees_them():
    layer = masked_layer()
    model = nn.Sequential(layer, nn.Linear(6, 2))
    assert measure.count_parameters(model) == 66 + 14
    assert measure.count_nonzeros(model) == 30 + 6 + 14  # the original, still dense, has 60
    parametrize.remove_parametrizations(layer, "weight")
    assert measure.count_parameters(model) == 66 + 14 and measure.count_nonzeros(model) == 30 + 6 + 14


def test_parameters_inside_a_parametrization_are_not_weights():
    layer = nn.Linear(3, 2)
    parametrize.register_parametrization(layer, "weight", Scaled())
    assert measure.count_parameters(layer) == 8
    torch.nn.utils.parametrizations.weight_norm(layer, "bias", dim=None)  # one tensor computed from two
    assert measure.count_parameters(layer) == 8


def test_file_bytes_are_those_of_the_saved_file(tmp_path):
    model = models.lenet5(seed=0)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    content = (tmp_path / "model.pt").read_bytes()
    assert measure.file_bytes(model) == (tmp_path / "model.pt").stat().st_size == len(content)
    assert 4 * 431_080 < len(content) < 4 * 431_080 * 1.01
    assert measure.file_bytes(model, compressed=True) == len(gzip.compress(content))


@pytest.mark.needs("linux")
def test_file_bytes_are_there_on_a_disk_that_takes_nothing():
    """A process that may write files of 1,000 bytes at most: as on a full disk, torch's own writer fails."""
    code = """
import resource
from compresslab import measure, models
model = models.lenet5()
plain = measure.file_bytes(model)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
print(plain, measure.file_bytes(model), measure.file_bytes(model, compressed=True))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    plain, in_memory, compressed = map(int, run.stdout.split())
    assert plain < in_memory < 1.01 * plain and compressed < plain


def test_zeros_shrink_the_compressed_file_only():
    dense, zeros = nn.Linear(500, 500), nn.Linear(500, 500)
    with torch.no_grad():
        zeros.weight[torch.rand(500, 500, generator=torch.Generator().manual_seed(0)) < 0.9] = 0
    assert measure.file_bytes(zeros) == measure.file_bytes(dense)
    assert measure.file_bytes(zeros, compressed=True) < measure.file_bytes(dense, compressed=True) / 3


# ------------------------------------------------------------------------------------------------- MACs


@given(n=st.integers(1, 4), inputs=st.integers(1, 20), outputs=st.integers(1, 20))
def test_macs_of_a_linear_layer(n, inputs, outputs):
    assert measure.count_macs(nn.Linear(inputs, outputs), torch.zeros(n, inputs)) == n * inputs * outputs


@given(
    n=st.integers(1, 3), groups=st.sampled_from([1, 2, 4]),
    inputs=st.integers(1, 3), outputs=st.integers(1, 3),
    kernel=st.integers(1, 3), stride=st.integers(1, 3), padding=st.integers(0, 2), side=st.integers(4, 9),
)  # fmt: skip
def test_macs_of_a_convolution(n, groups, inputs, outputs, kernel, stride, padding, side):
    conv = nn.Conv2d(groups * inputs, groups * outputs, kernel, stride, padding, groups=groups)
    out_side = (side + 2 * padding - kernel) // stride + 1
    expected = n * out_side**2 * groups * outputs * inputs * kernel**2
    assert measure.count_macs(conv, torch.zeros(n, groups * inputs, side, side)) == expected


def test_macs_of_whole_networks():
    assert measure.count_macs(models.lenet300(), torch.zeros(1, 1, 28, 28)) == 784 * 300 + 300 * 100 + 100 * 10
    lenet5 = 24**2 * 20 * 25 + 8**2 * 50 * 20 * 25 + 800 * 500 + 500 * 10
    assert measure.count_macs(models.lenet5(), torch.zeros(1, 1, 28, 28)) == lenet5
    # Per token: four projections and the perceptron; per pair of tokens: one product for scores, one to mix.
    width, tokens = 32, 8
    block = tokens * (4 * width**2 + 2 * width * 2 * width) + 2 * tokens**2 * width
    transformer = tokens * 8 * width + 2 * block + width * 10
    assert measure.count_macs(models.tiny_transformer(), torch.zeros(1, 1, 8, 8)) == transformer


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@given(
    n=st.integers(1, 5), inputs=st.integers(1, 9), outputs=st.integers(1, 9), share=st.floats(0, 1), bias=st.booleans()
)
def test_macs_of_a_sparse_product_are_its_stored_values(n, inputs, outputs, share, bias):
    keep = torch.rand(outputs, inputs, generator=torch.Generator().manual_seed(0)) < share
    stored, column = int(keep.sum()), torch.ones(outputs, 1)

    class Sparse(nn.Module):
        def forward(self, x):
            csr = keep.float().to_sparse_csr()
            one = torch.addmv(column[:, 0], csr, x[0]) if bias else torch.mv(csr, x[0])
            return one, torch.addmm(column, csr, x.t()) if bias else csr @ x.t()

    assert measure.count_macs(Sparse(), torch.ones(n, inputs)) == stored + n * stored


def test_macs_of_a_vector_are_those_of_one_row():
    for bias in (False, True):
        assert measure.count_macs(nn.Linear(8, 3, bias=bias), torch.zeros(8)) == 24


def test_macs_inside_fused_kernels_are_seen():
    steps, width, heads = 8, 32, 4
    lstm = nn.LSTM(6, width, num_layers=2, bidirectional=True, batch_first=True)
    gates = steps * 4 * width  # of one direction; each multiplies its input and the state before
    expected = gates * 2 * (6 + width) + gates * 2 * (2 * width + width)
    assert measure.count_macs(lstm, torch.zeros(1, steps, 6)) == expected
    block = nn.TransformerEncoderLayer(width, heads, dim_feedforward=64, batch_first=True).eval()
    expected = steps * (4 * width**2 + 2 * width * 64) + 2 * steps**2 * width  # projections, perceptron, attention
    fused = torch.backends.mha.get_fastpath_enabled()
    assert measure.count_macs(block, torch.zeros(1, steps, width)) == expected
    assert torch.backends.mha.get_fastpath_enabled() == fused and torch.backends.mkldnn.enabled


def test_a_mask_saves_no_multiplications():
    assert measure.count_macs(masked_layer(), torch.zeros(1, 10)) == 60


# ------------------------------------------------------------------------------------ a machine we control


class Machine:
    """A computer whose clock we hold: a call of cost c takes c x `slow` seconds, and `slow` may grow."""

    def __init__(self, growth=1.0, noise=0.0):
        self.now, self.slow, self.growth = 0.0, 1.0, growth
        self.random, self.noise = random.Random(0), noise

    def clock(self):
        return self.now

    def model(self, seconds):
        def call(x):
            self.now += seconds * self.slow * (1 + self.noise * self.random.random())
            self.slow *= self.growth
            return x

        return call


X = torch.zeros(1, 1)


def test_latency_is_the_median_with_its_percentiles():
    durations = [i * 1e-3 for i in range(1, 102)]
    machine, seen = (
        Machine(),
        iter([0.9, 0.9, 2e-3, *durations]),
    )  # two to warm up, one to find the block length

    def call(x):
        machine.now += next(seen)

    got = measure.latency(call, X, warmup=2, repeats=101, clock=machine.clock)
    # Timings of 1, 2, ... 101 ms: 5 % of the 100 steps from the ends are 6 and 96.
    assert (got.median_ms, got.low_ms, got.high_ms) == pytest.approx((51, 6, 96))
    assert (got.repeats, got.threads) == (101, 1)


@pytest.mark.parametrize("seconds", [3e-7, 4e-5, 2e-3])
def test_fast_calls_are_repeated_until_a_coarse_clock_resolves_them(seconds):
    machine = Machine()
    tick = 1e-6
    got = measure.latency(machine.model(seconds), X, repeats=20, clock=lambda: machine.now // tick * tick)
    # A block lasts at least a millisecond and is read to one tick at each end: 0.2 % at most.
    assert got.median_ms == pytest.approx(1e3 * seconds, rel=2 * tick / measure.BLOCK_SECONDS)


def test_a_slow_drift_of_the_machine_leaves_the_paired_ratio_right():
    rounds, truth = 30, 2.0
    growth = 5 ** (1 / (2 * rounds))  # two calls a round: five times slower at the end

    # One after the other: while the first was timed the machine was faster than while the second was.
    machine = Machine(growth)
    cheap, dear = machine.model(0.01), machine.model(0.02)
    alone = [measure.latency(m, X, warmup=0, repeats=rounds, clock=machine.clock).median_ms for m in (dear, cheap)]
    assert alone[0] / alone[1] < 0.5 * truth  # the cheaper model even looks the slower one

    # Interleaved: within a round the two calls are one step of the drift apart, one way or the other.
    machine = Machine(growth)
    pair = {"dear": machine.model(0.02), "cheap": machine.model(0.01)}
    table = measure.compare(pair, X, rounds=rounds, clock=machine.clock)
    assert machine.slow > 5  # the drift did happen
    cheap = table.loc["cheap"]
    assert cheap.latency_high_ms > 3 * cheap.latency_low_ms  # ... and shows in the latencies
    assert truth / growth <= cheap.speedup_low * (1 + 1e-9)
    assert cheap.speedup_high <= truth * growth * (1 + 1e-9)
    assert cheap.speedup_low <= cheap.speedup <= cheap.speedup_high
    assert (table.loc["dear", ["speedup", "speedup_low", "speedup_high"]] == 1).all()


def test_the_order_within_a_round_is_shuffled_by_the_seed():
    def order(seed):
        called = []
        machine = Machine()

        def model(name):
            timed = machine.model(0.01)
            return lambda x: (called.append(name), timed(x))

        measure.paired_times([model(0), model(1), model(2)], X, rounds=20, warmup=0, seed=seed, clock=machine.clock)
        return [tuple(called[i : i + 3]) for i in range(3, len(called), 3)]  # three calls find the block length

    first = order(0)
    assert len(first) == 20 and all(sorted(o) == [0, 1, 2] for o in first)
    assert (
        len(set(first)) == 6
    )  # chance that 20 shuffles miss one of the six orders: 6 (5/6)^20 = 16 %; this seed does not
    assert order(0) == first != order(1)


def test_the_speedup_is_the_median_of_ratios_not_the_ratio_of_medians():
    machine = Machine(noise=3.0)
    models_ = [machine.model(0.02), machine.model(0.01)]
    seconds = measure.paired_times(models_, X, rounds=25, clock=machine.clock)
    machine = Machine(noise=3.0)
    table = measure.compare({"a": machine.model(0.02), "b": machine.model(0.01)}, X, rounds=25, clock=machine.clock)
    assert table.loc["b", "speedup"] == pytest.approx(np.median(seconds[:, 0] / seconds[:, 1]))
    assert table.loc["b", "speedup"] != pytest.approx(np.median(seconds[:, 0]) / np.median(seconds[:, 1]))


# ------------------------------------------------------------------------------------------- accuracy


class Known(nn.Module):
    """Answers class x[i, 0]; remembers how it was called."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, x):
        self.calls.append((len(x), self.training, torch.is_inference_mode_enabled()))
        return nn.functional.one_hot(x[:, 0].long(), 10).float()


def test_accuracy_counts_right_answers_in_batches():
    model = Known()
    x = torch.arange(25.0).remainder(10)[:, None]
    y = x[:, 0].long()
    y[:5] = (y[:5] + 1) % 10
    got = measure.accuracy(model, (x, y), batch_size=10)
    assert (got.correct, got.n, got.accuracy) == (20, 25, 0.8)
    assert (got.low, got.high) == wilson_interval(20, 25)
    assert model.calls == [(10, False, True), (10, False, True), (5, False, True)]


def test_predictions_may_stand_in_a_loss():
    model = models.mlp(seed=0)
    scores = measure.predict(model, torch.rand(7, 1, 8, 8), batch_size=3)
    assert scores.shape == (7, 10) and not scores.is_inference()


# -------------------------------------------------------------------------------------- nothing is changed


def test_a_model_is_left_as_it_was_found():
    model = models.resnet20(width=4, seed=0)
    model.train()
    model[1].eval()  # one frozen batch norm among training ones
    modes = [m.training for m in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    grads = [torch.ones_like(p) for p in model.parameters()]
    for p, g in zip(model.parameters(), grads, strict=True):
        p.grad = g.clone()
    x, y = torch.rand(4, 1, 8, 8), torch.arange(4)
    python, numbers, threads = random.getstate(), torch.get_rng_state(), torch.get_num_threads()

    seen = []
    model.register_forward_pre_hook(lambda m, _: seen.append((m.training, torch.get_num_threads())))
    measure.compare({"a": model, "b": models.mlp(seed=0)}, x, (x, y), rounds=6, threads=threads + 1)
    measure.latency(model, x, repeats=2, warmup=0, threads=threads + 1)

    assert {training for training, _ in seen} == {False}
    assert {count for _, count in seen} == {threads, threads + 1}  # timed on the threads that were asked for
    assert [m.training for m in model.modules()] == modes and torch.get_num_threads() == threads
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name])
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), grads, strict=True))
    assert all(p.requires_grad and not p.is_inference() for p in model.parameters())
    assert all(len(m._forward_hooks) + len(m._forward_pre_hooks) == (m is model) for m in model.modules())
    assert random.getstate() == python and torch.equal(torch.get_rng_state(), numbers)
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("measurement", [measure.latency, measure.count_macs])
def test_a_model_that_raises_is_put_back_too(measurement):
    model = models.mlp().train()
    threads = torch.get_num_threads()
    kwargs = {"threads": threads + 1} if measurement is measure.latency else {}
    with pytest.raises(RuntimeError):
        measurement(model, torch.zeros(1, 3), **kwargs)
    assert all(m.training for m in model.modules()) and torch.get_num_threads() == threads


# ----------------------------------------------------------------------------------------- side by side


def test_compare_gives_the_single_measurements_side_by_side():
    small, large = models.mlp((64, 8, 10), seed=0), models.mlp((64, 32, 10), seed=1)
    x, y = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 10
    nets = {"large": large, "small": small, "function": lambda x: small(x)}
    table = measure.compare(nets, x[:1], (x, y), rounds=6, baseline="small")
    assert list(table.index) == ["large", "small", "function"]
    for name, model in [("large", large), ("small", small)]:
        row, right = table.loc[name], measure.accuracy(model, (x, y))
        assert row.parameters == measure.count_parameters(model)
        assert row.nonzeros == measure.count_nonzeros(model)
        assert row.macs == measure.count_macs(model, x[:1])
        assert row.file_bytes == measure.file_bytes(model)
        assert row.gzip_bytes == measure.file_bytes(model, compressed=True)
        assert (row.accuracy, row.accuracy_low, row.accuracy_high) == (right.accuracy, right.low, right.high)
        assert 0 < row.latency_low_ms <= row.latency_ms <= row.latency_high_ms
    assert table.loc["function", ["parameters", "nonzeros", "macs", "file_bytes", "gzip_bytes"]].isna().all()
    assert table.loc["function", "accuracy"] == table.loc["small", "accuracy"]
    assert (table.baseline == "small").all() and (table.threads == 1).all()
    assert table.loc["small", "speedup"] == 1
    assert "accuracy" not in measure.compare({"small": small}, x[:1], rounds=6)


LINEAR = nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: measure.latency(LINEAR, X, repeats=0), "repeats must be at least 1, got 0"),
        (lambda: measure.latency(LINEAR, X, threads=0), "threads must be at least 1, got 0"),
        (lambda: measure.latency(LINEAR, X, warmup=-1), "warmup must be at least 0, got -1"),
        (lambda: measure.compare({}, X), "models must hold at least one model, got none"),
        (lambda: measure.compare({"a": LINEAR}, X, baseline="b"), "baseline must be one of a, got 'b'"),
        (lambda: measure.compare({"a": LINEAR}, X, rounds=5), "rounds must be at least 6, got 5"),
        (
            lambda: measure.count_macs(LINEAR, [1.0, 2.0]),
            "example_inputs must be a tensor on the CPU or a tuple of them, got list",
        ),
        (
            lambda: measure.latency(LINEAR, torch.zeros(1, 2, device="meta")),
            "example_inputs must be a tensor on the CPU or a tuple of them, got meta",
        ),
        (lambda: measure.predict(LINEAR, X, batch_size=0), "batch_size must be at least 1, got 0"),
        (
            lambda: measure.accuracy(LINEAR, (torch.zeros(3, 2), torch.zeros(2))),
            "split must hold as many images as labels, at least one, got 3 and 2",
        ),
        (
            lambda: measure.accuracy(LINEAR, (torch.zeros(0, 2), torch.zeros(0))),
            "split must hold as many images as labels, at least one, got 0 and 0",
        ),
    ],
)
def test_bad_input_is_said_in_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        call()


def test_front_is_what_no_other_point_beats():
    points = np.random.default_rng(0).integers(0, 8, (40, 2))
    kept = measure.pareto(*points.T)
    for p, keep in zip(points.tolist(), kept):
        others = [q for q in points.tolist() if q[0] <= p[0] and q[1] <= p[1] and q != p]
        assert keep == (not others)
