"""CSR layers: the same function as the dense ones, counted, timed and stored as what they are."""

import copy
import io

import pytest
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from compresslab import measure, models, storage
from compresslab.pruning import masks
from compresslab.pruning.sparse import CSRLinear, to_csr


def pruned(model, sparsity=0.9):
    """The same model with its smallest weights final zeros."""
    masks.mask_(model, masks.weight_masks(model, sparsity, scope="local"))
    masks.bake_(model)
    return model


def sparse_linear(inputs, outputs, share, bias, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    layer = nn.Linear(inputs, outputs, bias, dtype=dtype)
    for p in layer.parameters():
        p.data.normal_(generator=generator)
    layer.weight.data[torch.rand(outputs, inputs, generator=generator) < share] = 0
    return layer, generator


@given(
    inputs=st.integers(1, 30), outputs=st.integers(1, 30), leading=st.lists(st.integers(0, 3), max_size=3),
    share=st.sampled_from([0.0, 0.5, 0.9, 1.0]), bias=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]), seed=st.integers(0, 99),
)  # fmt: skip
def test_the_same_function_and_gradients_as_the_dense_layer(inputs, outputs, leading, share, bias, dtype, seed):
    dense, generator = sparse_linear(inputs, outputs, share, bias, dtype, seed)
    csr = CSRLinear(dense)
    x = torch.randn(*leading, inputs, dtype=dtype, generator=generator)
    xs = [x.clone().requires_grad_() for _ in range(2)]
    ys = [layer(x) for layer, x in zip((dense, csr), xs)]
    assert ys[0].shape == ys[1].shape and ys[1].dtype == dtype
    # A sum of n products, in whatever order, is off by at most n eps times the sum of their magnitudes; both are.
    eps = torch.finfo(dtype).eps
    size = nn.functional.linear(x.abs(), dense.weight.abs(), None if dense.bias is None else dense.bias.abs())
    assert ((ys[0] - ys[1]).abs() <= 2 * (inputs + 1) * eps * size).all()
    if ys[0].numel():
        out = torch.randn(ys[0].shape, dtype=dtype, generator=generator)
        for y in ys:
            y.backward(out)
        close = dict(rtol=0, atol=100 * eps * (inputs + outputs) * max(1, x.numel()))
        torch.testing.assert_close(xs[1].grad, xs[0].grad, **close)
        torch.testing.assert_close(csr.values.grad, dense.weight.grad[dense.weight != 0], **close)
        if bias:
            torch.testing.assert_close(csr.bias.grad, dense.bias.grad, **close)


def test_the_three_arrays_are_those_of_scipy():
    dense, _ = sparse_linear(13, 9, 0.7, True, torch.float32, seed=3)
    csr, theirs = CSRLinear(dense), scipy.sparse.csr_matrix(dense.weight.detach().numpy())
    assert csr.values.tolist() == theirs.data.tolist()
    assert csr.columns.tolist() == theirs.indices.tolist() and csr.row_starts.tolist() == theirs.indptr.tolist()
    assert csr.columns.dtype == csr.row_starts.dtype == torch.int32
    assert repr(csr) == f"CSRLinear(13, 9, nonzeros={theirs.nnz}, bias=True)"


@pytest.mark.parametrize(
    ("build", "side"), [(models.mlp, 8), (models.lenet5, 28), (models.tiny_transformer, 8), (models.tiny_rnn, 8)]
)
def test_whole_models_answer_as_before_and_stay_as_they_were(build, side):
    model = pruned(build(seed=0)).eval()
    before, mode = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    sparse = to_csr(model)
    kinds = {type(m) for m in sparse.modules()}
    assert CSRLinear in kinds and nn.Linear not in kinds
    assert not any(m.training for m in sparse.modules())
    assert (nn.Conv2d in kinds) == (build is models.lenet5)  # convolutions stay dense
    for n in (1, 5):
        x = torch.rand(n, 1, side, side, generator=torch.Generator().manual_seed(n))
        # A few layers of float32 sums of up to 800 terms around 1: errors of 1e-7 a term that add up at random.
        torch.testing.assert_close(sparse(x), model(x), rtol=1e-4, atol=1e-5)
    for p in sparse.parameters():
        p.data.zero_()  # shares no memory with the model
    assert [m.training for m in model.modules()] == mode
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_mask_is_taken_as_it_stands():
    model = models.lenet5(seed=0)
    masks.mask_(model, masks.weight_masks(model, 0.8))
    sparse, x = to_csr(model), torch.rand(3, 1, 28, 28)
    torch.testing.assert_close(sparse(x), model(x), rtol=1e-4, atol=1e-5)
    assert measure.count_nonzeros(sparse) == measure.count_nonzeros(model)
    masks.bake_(sparse)  # the convolutions' masks went along ...
    assert list(masks.masks_of(model)) == ["0.weight", "3.weight", "7.weight", "9.weight"]  # ... as copies
    torch.testing.assert_close(sparse(x), model(x), rtol=1e-4, atol=1e-5)


def test_a_layer_alone_and_a_layer_used_twice():
    assert isinstance(to_csr(nn.Linear(3, 2)), CSRLinear)
    layer = nn.Linear(4, 4)
    twice = to_csr(nn.Sequential(layer, nn.ReLU(), layer))
    assert isinstance(twice[0], CSRLinear) and twice[0] is twice[2]
    with pytest.raises(ValueError, match="^model must hold at least one nn.Linear, got none$"):
        to_csr(nn.Sequential(nn.Conv2d(1, 1, 1)))
    with pytest.raises(ValueError, match="^layer must be of float32 or float64, got torch.float16$"):
        to_csr(nn.Linear(3, 2).half())


def test_hooks_are_not_lost_and_what_is_frozen_stays_frozen():
    model = nn.Sequential(nn.Linear(6, 4))
    model[0].weight.requires_grad_(False)
    sparse = to_csr(model)
    assert not sparse[0].values.requires_grad and sparse[0].bias.requires_grad
    model[0].register_forward_pre_hook(lambda module, args: (args[0].round(),))
    with pytest.raises(ValueError, match="^layer must have no hooks"):
        to_csr(model)


def test_training_moves_the_values_and_wakes_no_zero():
    model = pruned(models.mlp(seed=0), 0.5)
    sparse, x = to_csr(model), torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    before = measure.count_parameters(sparse)
    optimizer = torch.optim.SGD(sparse.parameters(), lr=0.1)
    losses = []
    for _ in range(20):
        loss = nn.functional.cross_entropy(sparse(x), torch.arange(20) % 10)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] and measure.count_parameters(sparse) == before


def test_it_is_saved_by_torch_and_by_storage(tmp_path):
    model = pruned(models.mlp(seed=0))
    sparse, x = to_csr(model), torch.rand(4, 1, 8, 8)
    file = io.BytesIO()
    torch.save(sparse.state_dict(), file)
    file.seek(0)
    again = to_csr(model)
    for p in again.parameters():
        p.data.zero_()
    again.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(again(x), sparse(x))
    storage.save(sparse, tmp_path / "model")
    assert torch.equal(
        storage.load(to_csr(models.mlp()), tmp_path / "model")(x), sparse(x)
    )  # from any number of values


# ----------------------------------------------------------------------------------------- the honest cost


def test_one_table_for_dense_masked_baked_csr_and_shrunk():
    dense, masked = models.lenet300(seed=0), models.lenet300(seed=0)
    masks.mask_(masked, masks.weight_masks(masked, 0.9))
    baked = copy.deepcopy(masked)
    masks.bake_(baked)
    csr = to_csr(baked)
    small = models.mlp((784, 30, 10, 10))
    nets = dict(dense=dense, masked=masked, baked=baked, csr=csr, shrunk=small)
    n = 3
    x = torch.rand(n, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    table = measure.compare(nets, x, (x, torch.arange(n)), rounds=6)
    weights, biases = 784 * 300 + 300 * 100 + 100 * 10, 410
    stored, shrunk = weights - round(0.9 * weights), 784 * 30 + 30 * 10 + 10 * 10
    assert table.parameters.tolist() == [weights + biases] * 3 + [stored + biases, shrunk + 50]
    assert table.nonzeros.tolist()[1:] == [stored + biases] * 3 + [shrunk + 50]
    assert table.macs.tolist() == [n * weights] * 3 + [n * stored, n * shrunk]
    # 4 bytes a number; a mask is a byte a weight; beside each stored value stands a column of 4 bytes, beside each
    # row a start of 4 bytes. The container takes less than 500 bytes a tensor.
    file = table.file_bytes
    payload = dict(dense=4 * (weights + biases), csr=8 * stored + 4 * (410 + 3) + 4 * biases)
    payload |= dict(masked=payload["dense"] + weights, baked=payload["dense"], shrunk=4 * (shrunk + 50))
    for name, size in payload.items():
        assert size < file[name] < size + 500 * len(nets[name].state_dict()) + 2000, name
    assert table.gzip_bytes["baked"] < 0.25 * table.gzip_bytes["dense"]  # zeros are what gzip is good at
    assert table.gzip_bytes.tolist() == [measure.file_bytes(net, compressed=True) for net in nets.values()]
    assert table.accuracy["csr"] == table.accuracy["baked"]


def test_macs_of_mixed_models_count_convolutions_densely():
    model = pruned(models.lenet5(seed=0))
    kept = sum(int(model[i].weight.count_nonzero()) for i in (7, 9))
    for n in (1, 4):
        conv = n * (24**2 * 20 * 25 + 8**2 * 50 * 20 * 25)
        assert measure.count_macs(to_csr(model), torch.zeros(n, 1, 28, 28)) == conv + n * kept
