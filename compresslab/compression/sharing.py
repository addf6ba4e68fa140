"""Weight sharing: the weights of a layer take few values, found by k-means and then trained (lesson 51).

A layer keeps its k values (centroids) as parameters, and for each weight which of them it takes. Pruned weights, which
are exactly 0, take none and stay 0. S. Han, H. Mao, W. J. Dally, "Deep Compression: Compressing Deep Neural Networks
with Pruning, Trained Quantization and Huffman Coding" (2016), section 3.
"""

import math
from numbers import Integral

import torch
from torch import Tensor, nn

from ..layers import layers_of
from ..parametrizations import register_, unregister_

INITS = ("linear", "density", "random")
STEPS = 300  # of k-means, at most

# ----------------------------------------------------------------------------------------- k-means


def kmeans(values: Tensor, k: int, init: str = "linear", seed: int = 0) -> tuple[Tensor, Tensor]:
    """Cut `values` (n,) into at most k clusters: (centroids ascending, code of each value, int64 (n,)).

    Lloyd's algorithm until nothing moves, at most 300 steps: a minimum of the squared error, not always the lowest. It
    starts from centroids spaced evenly between the ends ("linear", the paper's choice: it serves the large weights),
    with as many values at each ("density"), or from values drawn by `seed` ("random"). Values of at most k different
    numbers are kept as they are. ValueError for a k outside 1..256, an unknown init, values that are none, integers
    or not finite.

    >>> kmeans(torch.tensor([1.0, 2.0, 9.0, 11.0]), 2)
    (tensor([ 1.5000, 10.0000]), tensor([0, 0, 1, 1]))
    """
    _check(k, init)
    if values.ndim != 1 or not len(values) or not values.is_floating_point() or not values.isfinite().all():
        got = f"{values.dtype} {tuple(values.shape)}"
        raise ValueError(f"values must be finite floats of shape (n,), n at least 1, got {got}")
    numbers = values.detach().cpu().double()
    centroids = numbers.unique()
    if len(centroids) > k:
        centroids = start(numbers, k, init, seed)
        for _ in range(STEPS):
            before, centroids = centroids, means(numbers, nearest(numbers, centroids), centroids)
            if torch.equal(before, centroids):
                break
    return centroids.to(values), nearest(numbers, centroids).to(values.device)


def start(values: Tensor, k: int, init: str, seed: int = 0) -> Tensor:
    """k centroids, ascending, from which `kmeans` begins; section 3.2."""
    if init == "linear":
        return torch.linspace(values.min(), values.max(), k, dtype=values.dtype)
    if init == "density":
        return values.quantile((torch.arange(k, dtype=values.dtype) + 0.5) / k)
    order = torch.randperm(len(values), generator=torch.Generator().manual_seed(seed))
    return values[order[:k]].sort().values


def nearest(values: Tensor, centroids: Tensor) -> Tensor:
    """Index of the nearest of the ascending `centroids` for each value, int64; half-way between two, the lower."""
    return torch.bucketize(values, (centroids[1:] + centroids[:-1]) / 2)


def means(values: Tensor, codes: Tensor, centroids: Tensor) -> Tensor:
    """The mean of each cluster; an empty one keeps its centroid."""
    sums = torch.zeros_like(centroids).index_add(0, codes, values)
    counts = codes.bincount(minlength=len(centroids))
    return torch.where(counts > 0, sums / counts, centroids)


# ------------------------------------------------------------------------------- values -> layers


class SharedWeights(nn.Module):
    """Parametrization: centroids (k,) -> a weight of `weight`'s shape that takes no other values but 0.

    Made from a weight: its values that are not 0 are cut into at most k clusters by `kmeans`. Buffers: positions,
    int64, of these values in the flattened weight, and codes, uint8, which centroid each takes. A centroid's gradient
    is the sum over all weights that take it (Han et al., equation 3).
    """

    def __init__(self, weight: Tensor, k: int, init: str = "linear", seed: int = 0):
        super().__init__()
        flat = weight.detach().flatten()
        positions = flat.nonzero().squeeze(1)
        _, codes = kmeans(flat[positions], k, init, seed)
        self.shape = weight.shape
        self.register_buffer("positions", positions)
        self.register_buffer("codes", codes.unique(return_inverse=True)[1].to(torch.uint8))  # no code without members

    def forward(self, centroids: Tensor) -> Tensor:
        flat = centroids.new_zeros(math.prod(self.shape))
        return flat.scatter_(0, self.positions, centroids.index_select(0, self.codes.int())).view(self.shape)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """The centroids nearest to `weight`: the mean of each cluster's members."""
        values, codes = weight.detach().flatten()[self.positions].double(), self.codes.long()
        return means(values, codes, values.new_zeros(codes.max() + 1)).to(weight.dtype)


def share_(
    model: nn.Module,
    values: int | dict[str, int] = 8,
    init: str = "linear",
    *,
    biases: int | None = None,
    seed: int = 0,
) -> nn.Module:
    """Let each Linear and Conv weight of `model`, in place, take at most `values` different values beside 0.

    A dict {layer: number} leaves the layers that it does not name alone. `biases`, a number, lets the biases of the
    same layers share as many values each; None leaves them alone. `init`, `seed` as in `kmeans`. The parameters stay
    the same objects, now with the centroids in them: train them, then `unshare_`. (The sum over its members makes a
    centroid's gradient large: Adam does not mind, plain gradient descent needs a smaller learning rate.) What is all 0
    has nothing to share.
    ValueError, before anything is changed, for a number outside 1..256, an unknown init or layer, a model without such
    layers, a weight that is not a plain parameter (bake masks first), is not finite or belongs to two modules.
    """
    places = _places(model, values, biases, init)
    steps = [SharedWeights(getattr(module, name), k, init, seed) for module, name, k in places]
    for (module, name, _), step in zip(places, steps):
        getattr(module, name).grad = None  # of another shape
        register_(module, name, step)
    return model


def unshare_(model: nn.Module) -> nn.Module:
    """Make shared weights final: plain parameters again, the same objects, of few different values."""
    for module in list(model.modules()):
        for name, chain in list(getattr(module, "parametrizations", {}).items()):
            if isinstance(chain[0], SharedWeights):
                chain.original.grad = None
                unregister_(module, name, keep=True)
    return model


# ------------------------------------------------------------------------------------------- checks


def _places(model: nn.Module, values, biases, init: str) -> list[tuple[nn.Module, str, int]]:
    """(module, "weight" or "bias", how many values) of all that is to be shared; ValueError where `share_` refuses."""
    named = isinstance(values, dict)
    layers = layers_of(model, values if named else None)
    owners = [p for module in model.modules() for p in module.parameters(recurse=False)]
    places = []
    for layer, module in layers.items():
        for name, k in (("weight", values[layer] if named else values), ("bias", biases)):
            tensor, full = getattr(module, name), f"{layer}.{name}".lstrip(".")
            if tensor is None or (name == "bias" and biases is None):
                continue
            _check(k, init, "values" if name == "weight" else "biases")
            if name not in module._parameters:  # a parametrization or a hook computes it
                raise ValueError(f"model must have plain parameters to share: bake masks first, got {full}")
            if sum(p is tensor for p in owners) > 1:
                raise ValueError(f"model must not use one parameter in two modules, got {full}")
            if not tensor.isfinite().all():
                raise ValueError(f"model must have finite weights, got nan or inf in {full}")
            if tensor.any():
                places.append((module, name, k))
    return places


def _check(k, init: str, argument: str = "k") -> None:
    if not isinstance(k, Integral) or not 1 <= k <= 256:
        raise ValueError(f"{argument} must be a whole number in 1..256, got {k!r}")
    if init not in INITS:
        raise ValueError(f"init must be one of {', '.join(INITS)}, got {init!r}")
