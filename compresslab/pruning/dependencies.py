"""Which structures a model has, and what falls together with each (lesson 31): traced with torch-pruning."""

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..layers import KINDS
from .groups import Group, Member, cut, dense_copy, parent, zero_masks

PASSIVE = ("ELEMENTWISE", "RESHAPE", "CONCAT", "SPLIT", "UNBIND", "EXPAND", "SLICE")  # operations without weights


def groups(model: nn.Module, example_inputs: Tensor | tuple, heads: str | None = "heads") -> list[Group]:
    """All groups whose structures can be taken out exactly, in the order of the layers.

    `example_inputs` (a tensor or a tuple of them) is traced by torch-pruning's dependency graph: G. Fang et al.,
    "DepGraph: towards any structural pruning" (2023). An attention module is recognised by its whole-number attribute
    `heads`: the rows of its own layers fall head by head, and `cut` lowers the attribute. With None, or another name,
    these rows are left out.

    Left out is what cannot go without changing more than itself: the model's outputs and inputs; channels that a layer
    norm, a group norm or a bare parameter touches; grouped convolutions that are not depthwise, transposed ones,
    recurrent modules, `nn.MultiheadAttention`; tied weights; groups of one structure. Each group is tried before
    it is listed: two thirds of it are cut, and the outputs must be those of the same structures set to zero. So
    channels that a softmax mixes, or whose number stands in the code of the forward pass, are left out too.

    ValueError for inputs that are no tensors, for a model that cannot be traced, and if the number of heads does not
    divide the rows of the layers beside it.

    >>> from compresslab.models import lenet5
    >>> for group in groups(lenet5(), torch.zeros(1, 1, 28, 28)):
    ...     print(group.name, group.kind, group.size)
    0 channel 20
    3 channel 50
    7 neuron 500
    """
    import torch_pruning as tp

    dense = dense_copy(model).eval().requires_grad_(True)
    inputs = example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)
    if not all(isinstance(x, Tensor) for x in inputs):
        raise ValueError(f"example_inputs must be a tensor or a tuple of tensors, got {type(example_inputs).__name__}")
    # Inputs that look like bare parameters, so that the graph shows what is added to them or stands beside them.
    traced = tuple(nn.Parameter(x.detach().clone()) if x.is_floating_point() else x for x in inputs)
    ends = [(x, min(1, x.ndim - 1)) for x in traced if isinstance(x, nn.Parameter)]
    probe = copy.deepcopy(dense)  # before the trace, which may leave what it computed in the model
    with torch.no_grad():
        probe(*inputs)  # inputs that do not fit fail here, in torch's own words
    try:
        with torch.enable_grad():
            graph = tp.DependencyGraph().build_dependency(
                dense, traced, unwrapped_parameters=ends, verbose=False, forward_fn=lambda model, x: model(*x),
                output_transform=lambda out: [y for y in _tensors(out) if y.requires_grad],
            )  # fmt: skip
        parts = list(graph.get_all_groups())
    except Exception as error:
        raise ValueError(f"model cannot be traced by torch-pruning: {type(error).__name__}: {error}") from error
    names = {module: name for name, module in dense.named_modules()}
    found = [_group(graph, part, names, dense, heads) for part in parts]
    order = {name: i for i, name in enumerate(names.values())}
    candidates = sorted((group for group in found if group), key=lambda group: order[group.name])
    dense, inputs = _probe(probe, inputs)
    if _exact(dense, inputs, candidates, heads):
        return candidates
    return [group for group in candidates if _exact(dense, inputs, [group], heads)]


def _group(graph, part, names: dict[nn.Module, str], model: nn.Module, heads: str | None) -> Group | None:
    """One group of the dependency graph in our words; None if it is to be left out."""
    size, members = len(part[0].idxs), []
    parameters = [id(p) for _, p in model.named_parameters(remove_duplicate=False)]
    for item in part:
        layer = item.dep.target.module
        if item.dep.target.type.name in PASSIVE:
            continue
        role = _role(layer, inputs=not graph.is_out_channel_pruning_fn(item.dep.handler))
        index = _index(item.idxs, item.root_idxs, size)
        if role is None or index is None:
            return None
        for name in ("weight", "bias"):
            parameter, dim = getattr(layer, name), int(role == "consumer")
            if parameter is None or (name == "bias" and dim):
                continue
            width, tied = parameter.shape[dim], parameters.count(id(parameter)) > 1
            if tied or index.max() >= width or (dim == 0 and index.numel() < width):
                return None
            members.append(Member(names[layer], name, role, dim, index))
    order = list(names.values()).index
    members.sort(key=lambda member: (order(member.layer), member.dim, member.parameter == "bias"))
    producers = [member.layer for member in members if member.role == "producer"]
    kind = "neuron" if isinstance(model.get_submodule(producers[0]), nn.Linear) else "channel"
    parents = {parent(model, layer) for layer in producers}
    n = getattr(parents.pop(), heads, None) if heads and len(parents) == 1 else None
    if type(n) is int:
        if n < 1 or size % n:
            raise ValueError(f"heads: {heads!r} beside {producers[0]!r} must divide its {size} rows, got {n}")
        kind, size = "head", n
        members = [Member(m.layer, m.parameter, m.role, m.dim, m.index.reshape(n, -1)) for m in members]
    read = any(member.role == "consumer" for member in members)  # else they are the model's outputs
    return Group(producers[0], kind, size, tuple(members)) if size > 1 and read else None


def _role(layer, inputs: bool) -> str | None:
    """What `layer` does for the structures that are its inputs or outputs; None for what cannot be cut."""
    if not isinstance(layer, nn.Module) or parametrize.is_parametrized(layer):
        return None
    if isinstance(layer, nn.modules.batchnorm._BatchNorm):
        return "norm"
    if isinstance(layer, KINDS):
        return "consumer" if inputs else "producer"
    return None


def _index(positions: list, roots: list, size: int) -> Tensor | None:
    """(size, k): the positions of each structure; None unless all own equally many, and no two the same."""
    owned = [[] for _ in range(size)]
    for position, root in zip(positions, roots):
        if root is None:
            return None
        owned[root].append(position)
    fair = len({len(own) for own in owned}) == 1 and len(set(positions)) == len(positions)
    return torch.tensor(owned) if fair else None


def _probe(model: nn.Module, inputs: tuple) -> tuple[nn.Module, tuple]:
    """The model with random inputs, in float64 where its forward pass allows it: a small fault stands out there."""
    generator = torch.Generator().manual_seed(0)
    inputs = tuple(torch.rand(x.shape, generator=generator).to(x) if x.is_floating_point() else x for x in inputs)
    try:
        double = copy.deepcopy(model).double(), tuple(x.double() if x.is_floating_point() else x for x in inputs)
        with torch.no_grad():
            double[0](*double[1])
        return double
    except RuntimeError:  # it makes float32 tensors of its own
        return model, inputs


def _exact(model: nn.Module, inputs: tuple, groups: list[Group], heads: str | None) -> bool:
    """Does cutting two thirds of each group give the outputs of zeroing them?

    Sums with fewer zeros in them differ by a few roundings of the largest output, well under a hundred; a channel that
    counts where it should not makes itself felt far above that.
    """
    kept = {group.name: torch.arange(group.size) >= group.size - max(1, group.size // 3) for group in groups}
    zeroed = copy.deepcopy(model)
    with torch.no_grad():
        for name, mask in zero_masks(model, groups, kept).items():
            zeroed.get_parameter(name).masked_fill_(~mask, 0)
        expected = _tensors(zeroed(*inputs))
        try:
            got = _tensors(cut(model, groups, kept, heads)(*inputs))
        except Exception:  # whatever the forward pass says about sizes it does not expect
            return False
    return all(map(_equal, expected, got))


def _equal(a: Tensor, b: Tensor) -> bool:
    rounding = 100 * torch.finfo(a.dtype).eps * a.nan_to_num().abs().max().item()
    return a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=rounding, equal_nan=True)


def _tensors(outputs) -> list[Tensor]:
    """The floating-point tensors in the outputs of a model (a tensor, or tuples and dicts of them)."""
    if isinstance(outputs, Tensor):
        return [outputs] if outputs.is_floating_point() else []
    parts = outputs.values() if isinstance(outputs, dict) else outputs if isinstance(outputs, (list, tuple)) else ()
    return [tensor for part in parts for tensor in _tensors(part)]
