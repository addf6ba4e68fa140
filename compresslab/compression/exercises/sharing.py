"""Lesson 51: one step of k-means, and the gradient of a shared value."""

import torch

from ...lesson import Exercise, Mistake
from ..sharing import means, nearest

# ------------------------------------------------------------------------------ a step of k-means


def kmeans_step(weight, centroids):
    values = weight[weight != 0]
    codes = (values[:, None] - centroids).abs().argmin(dim=1)
    moved = centroids.clone()
    for code in codes.unique():
        moved[code] = values[codes == code].mean()
    return moved


def _pruned(shape, seed):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(shape, generator=generator)
    return weight * (torch.rand(shape, generator=generator) < 0.4)


# Pruned weights and centroids: some without members, and values exactly half-way between two centroids
_STEPS = (
    (_pruned((8, 12), 0), torch.tensor([-1.5, -0.4, 0.5, 1.6])),
    (_pruned((4, 3, 3, 3), 1), torch.tensor([-9.0, -1.0, -0.1, 0.2, 0.9, 7.0])),
    (torch.tensor([[0.0, 1.5, 2.0, 0.0], [3.25, 1.0, 0.0, -0.75]]), torch.tensor([-1.0, 1.0, 2.0, 4.5])),
    (_pruned((20,), 2), torch.tensor([0.3])),
)


def _step_trial(fn):
    return [fn(weight, centroids) for weight, centroids in _STEPS]


def _step_by_the_library(weight, centroids):
    values = weight[weight != 0]
    return means(values, nearest(values, centroids), centroids)


def _step_variant(
    values=lambda weight: weight[weight != 0],
    codes=lambda values, centroids: (values[:, None] - centroids).abs().argmin(1),
    centre=torch.mean,
    empty=lambda centroid: centroid,
    steps=1,
):
    """The right function with one thing exchanged."""

    def kmeans_step(weight, centroids):
        kept = values(weight)
        for _ in range(steps):
            members = [kept[codes(kept, centroids) == code] for code in range(len(centroids))]
            centroids = torch.stack([centre(m) if len(m) else empty(c) for m, c in zip(members, centroids)])
        return centroids

    return kmeans_step


def _without_empty(weight, centroids):
    values = weight[weight != 0]
    codes = (values[:, None] - centroids).abs().argmin(1)
    return torch.stack([values[codes == code].mean() for code in codes.unique()])


def _codes(weight, centroids):
    return (weight[weight != 0][:, None] - centroids).abs().argmin(1)


def _quantised(weight, centroids):
    return torch.where(weight == 0, weight, centroids[(weight[..., None] - centroids).abs().argmin(-1)])


def _nearest_values(weight, centroids):
    values = weight[weight != 0]
    return values[(values[:, None] - centroids).abs().argmin(0)]


def _equal_parts(weight, centroids):
    return torch.stack([part.mean() for part in weight[weight != 0].sort().values.tensor_split(len(centroids))])


_EMPTY = "A centroid without members has no mean: it keeps its place."

lloyd = Exercise(
    key="51/k-means-step",
    title="One step of k-means",
    solution=kmeans_step,
    trial=_step_trial,
    expected=lambda: _step_trial(_step_by_the_library),
    mistakes=(
        Mistake(
            "The pruned weights take part and draw a centroid to 0: leave out what is exactly 0.",
            _step_variant(lambda weight: weight.flatten()),
        ),
        Mistake(
            "Only positive weights take part: keep all that is not 0.", _step_variant(lambda weight: weight[weight > 0])
        ),
        Mistake(_EMPTY, _step_variant(empty=lambda centroid: centroid * torch.nan)),
        Mistake(_EMPTY, _step_variant(empty=lambda centroid: centroid * 0)),
        Mistake(_EMPTY, _without_empty),
        Mistake(
            "Each centroid becomes the sum of its members: divide by how many there are.",
            _step_variant(centre=torch.sum),
        ),
        Mistake(
            "This is the median of the members, which serves absolute errors: k-means takes the mean.",
            _step_variant(centre=lambda members: members.quantile(0.5)),
        ),
        Mistake(
            "This is the middle between the ends of each cluster: k-means takes the mean of its members.",
            _step_variant(centre=lambda members: (members.min() + members.max()) / 2),
        ),
        Mistake(
            "The difference has a sign, so the largest centroid seems nearest to all: take its absolute value.",
            _step_variant(codes=lambda values, centroids: (values[:, None] - centroids).argmin(1)),
        ),
        Mistake(
            "These clusters belong to the farthest centroid: argmin, not argmax.",
            _step_variant(codes=lambda values, centroids: (values[:, None] - centroids).abs().argmax(1)),
        ),
        Mistake(
            "Half-way between two centroids a value goes to the lower one, as argmin does it.",
            _step_variant(
                codes=lambda v, centroids: torch.bucketize(v, centroids[:-1].lerp(centroids[1:], 0.5), right=True)
            ),
        ),
        Mistake(
            "Each value goes to the next centroid below it: it belongs to the nearest, below or above.",
            _step_variant(codes=lambda v, centroids: (torch.bucketize(v, centroids, right=True) - 1).clamp(min=0)),
        ),
        Mistake("These are two steps: one is enough.", _step_variant(steps=2)),
        Mistake("These are many steps, to the end: return the centroids after the first.", _step_variant(steps=50)),
        Mistake("These are the codes, which centroid each value takes: return the moved centroids.", _codes),
        Mistake("This is the weight with shared values: return the moved centroids.", _quantised),
        Mistake(
            "Each centroid moves to the value nearest to it: it is the values that choose, argmin(dim=1), and the "
            "centroid moves to the mean of those that chose it.",
            _nearest_values,
        ),
        Mistake("The clusters are equal in number: let each value choose the nearest centroid.", _equal_parts),
    ),
    hints=(
        "Two halves: each value that is not 0 chooses its nearest centroid, then each centroid moves to their mean.",
        "(values[:, None] - centroids).abs() is a table, one row a value; argmin(dim=1) is the choice.",
        "Begin with moved = centroids.clone(); for each code in codes.unique() set moved[code] to its members' mean.",
    ),
)


# --------------------------------------------------------------------- the gradient of a shared value


def centroid_gradient(gradient, codes, mask, k):
    return torch.stack([gradient[mask & (codes == code)].sum() for code in range(k)])


_LAYERS = (((6, 9), 4), ((3, 2, 3, 3), 8), ((5, 5), 2), ((4, 3), 6))  # shape, k


def _layer(shape, k):
    """Pruned weights have the code 0, which means nothing there; the last centroid has no members."""
    generator = torch.Generator().manual_seed(k)
    mask = torch.rand(shape, generator=generator) < 0.6
    codes = torch.randint(max(1, k - 1), shape, generator=generator) * mask
    return torch.randn(shape, generator=generator), codes, mask, k


def _gradient_trial(fn):
    return [fn(*_layer(*setting)) for setting in _LAYERS]


def _by_autograd(gradient, codes, mask, k):
    centroids = torch.zeros(k, requires_grad=True)
    weight = torch.where(mask, centroids[codes], 0.0)
    return torch.autograd.grad(weight, centroids, gradient)[0]


def _gradient_variant(gather=torch.sum, members=lambda codes, mask, code: mask & (codes == code), empty=0.0):
    """The right function with one thing exchanged."""

    def centroid_gradient(gradient, codes, mask, k):
        chosen = [gradient[members(codes, mask, code)] for code in range(k)]
        return torch.stack([gather(g) if len(g) else torch.tensor(empty) for g in chosen])

    return centroid_gradient


def _spread(gradient, codes, mask, k):
    return torch.where(mask, centroid_gradient(gradient, codes, mask, k)[codes], 0.0)


_MEAN = "This is the mean over the members: a centroid moves them all, so their gradients add up."

gathered = Exercise(
    key="51/centroid-gradient",
    title="The gradient of a shared value",
    solution=centroid_gradient,
    trial=_gradient_trial,
    expected=lambda: _gradient_trial(_by_autograd),
    mistakes=(
        Mistake(_MEAN, _gradient_variant(torch.mean)),
        Mistake(_MEAN, _gradient_variant(torch.mean, empty=torch.nan)),
        Mistake(
            "The pruned weights are counted: they stay 0 whatever the centroids do. Use the mask.",
            _gradient_variant(members=lambda codes, mask, code: codes == code),
        ),
        Mistake(
            "These are the pruned weights: the mask is True where a weight is kept.",
            _gradient_variant(members=lambda codes, mask, code: ~mask & (codes == code)),
        ),
        Mistake(
            "Code 0 is left out: it is a centroid like the others, and the mask tells the pruned weights.",
            _gradient_variant(members=lambda codes, mask, code: mask & (codes == code) & (codes != 0)),
        ),
        Mistake(
            "Only one member counts for each centroid: result[codes] += ... writes one value where an index repeats. "
            "Use a sum for each code, or index_add.",
            _gradient_variant(lambda gradients: gradients[-1]),
        ),
        Mistake(
            "These are numbers of members: add up their gradients.",
            _gradient_variant(lambda gradients: torch.tensor(float(len(gradients)))),
        ),
        Mistake(
            "The signs are lost: gradients that point to opposite sides cancel. Add them as they are.",
            _gradient_variant(lambda gradients: gradients.abs().sum()),
        ),
        Mistake(
            "The sign is turned: this is already the step down, not the gradient.",
            _gradient_variant(lambda gradients: -gradients.sum()),
        ),
        Mistake(
            "A centroid without members is left out: its gradient is 0, and the result has k numbers.",
            lambda gradient, codes, mask, k: centroid_gradient(gradient, codes, mask, int(codes.max()) + 1),
        ),
        Mistake("This is one number for each weight: return one for each of the k centroids.", _spread),
        Mistake(
            "The sum is divided by the number of all weights: it is the plain sum over the members.",
            lambda gradient, codes, mask, k: centroid_gradient(gradient, codes, mask, k) / gradient.numel(),
        ),
    ),
    hints=(
        "A centroid that moves by a little moves all its members by as much. What does that do to the loss?",
        "For each code from 0 to k - 1: pick the gradients where mask & (codes == code), and add them up.",
        "torch.stack([gradient[mask & (codes == code)].sum() for code in range(k)])",
    ),
    atol=1e-5,  # float32 sums in another order
)
