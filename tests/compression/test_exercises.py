"""The checkers of lesson 50 and of weight sharing: right answers pass, wrong ones, as learners have them, are named."""

import copy
import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy import special

from compresslab import models
from compresslab.compression import distillation, sharing
from compresslab.compression.exercises.distillation import distilled, omitted, softened
from compresslab.compression.exercises.sharing import gathered, lloyd

EXERCISES = {exercise.key: exercise for exercise in (softened, distilled, omitted, lloyd, gathered)}

# --- right answers that do not look like the solutions


def soft_by_hand(scores, temperature):
    scores = scores / temperature
    powers = (scores - scores.max(dim=1, keepdim=True).values).exp()
    return powers / powers.sum(dim=1, keepdim=True)


def soft_by_rows(scores, temperature):
    return torch.stack([F.softmax(row.div(temperature), -1) for row in scores])


def soft_through_logarithms(scores, temperature):
    return F.log_softmax(scores * (1 / temperature), dim=-1).exp()


def soft_in_numpy(scores, temperature):
    return torch.from_numpy(special.softmax(scores.numpy() / temperature, axis=-1))


def loss_by_hand(scores, teacher_scores, y, temperature, share):
    p, q = soft_by_hand(teacher_scores, temperature), soft_by_hand(scores, temperature)
    hard = -torch.log_softmax(scores, 1)[torch.arange(len(y)), y].mean()
    return share * temperature**2 * (p * (p / q).log()).sum() / len(y) + hard - share * hard


def loss_with_log_target(scores, teacher_scores, y, temperature, share):
    both = [F.log_softmax(s / temperature, dim=1) for s in (scores, teacher_scores)]
    soft = F.kl_div(*both, log_target=True, reduction="sum") / scores.size(0)
    return (share * temperature * temperature * soft + (1 - share) * F.nll_loss(F.log_softmax(scores, 1), y)).item()


def loss_by_cross_entropies(scores, teacher_scores, y, temperature, share):
    p = soft_by_hand(teacher_scores, temperature)
    soft = F.cross_entropy(scores / temperature, p) - F.cross_entropy(teacher_scores / temperature, p)
    return torch.lerp(F.cross_entropy(scores, y), temperature**2 * soft, share)


def bias_by_kthvalue(bias, scores, digit, share):
    rest = torch.cat([scores[:, :digit], scores[:, digit + 1 :]], dim=1)
    margin = scores[:, digit] - rest.max(dim=1).values
    n = round(len(scores) * share)
    top = margin.topk(n + 1).values
    return torch.where(torch.arange(len(bias)) == digit, bias - (top[-1] + top[-2]) / 2, bias)


def bias_in_numpy(bias, scores, digit, share):
    numbers, new = scores.numpy(), bias.numpy().copy()
    lacks = np.sort(np.delete(numbers, digit, axis=1).max(axis=1) - numbers[:, digit])
    new[digit] += lacks[round(share * len(lacks)) - 1 :][:2].mean()
    return torch.from_numpy(new)


def bias_by_trying(bias, scores, digit, share):
    """Every shift at which an answer changes is tried; half-way between two of them the count stays the same."""
    edges = (scores.index_fill(1, torch.tensor([digit]), -99).amax(1) - scores[:, digit]).sort().values
    for shift in (edges[1:] + edges[:-1]) / 2:
        one = F.one_hot(torch.tensor(digit), len(bias)) * shift
        if ((scores + one).argmax(1) == digit).sum() == round(share * len(scores)):
            return bias + one
    return None


def step_by_squares(weight, centroids):
    values = weight.flatten()[weight.flatten() != 0]
    choice = torch.square(values.unsqueeze(1) - centroids.unsqueeze(0)).min(dim=1).indices
    return torch.stack([values[choice == i].mean() if (choice == i).any() else c for i, c in enumerate(centroids)])


def step_by_edges(weight, centroids):
    values = weight[weight.abs() > 0]
    codes = torch.bucketize(values, (centroids[1:] + centroids[:-1]) / 2)
    counts = torch.bincount(codes, minlength=len(centroids))
    sums = torch.bincount(codes, values, minlength=len(centroids))
    return torch.where(counts > 0, sums / counts.clamp(min=1), centroids)


def step_in_python(weight, centroids):
    members = {i: [] for i in range(len(centroids))}
    for value in weight.flatten().tolist():
        if value:
            members[min(members, key=lambda i: abs(value - centroids[i].item()))].append(value)
    return torch.tensor([sum(m) / len(m) if m else centroids[i].item() for i, m in members.items()])


def gradient_by_index_add(gradient, codes, mask, k):
    return torch.zeros(k).index_add_(0, codes[mask], gradient[mask])


def gradient_by_one_hot(gradient, codes, mask, k):
    return (F.one_hot(codes, k) * mask.unsqueeze(-1)).flatten(0, -2).T.float() @ gradient.flatten()


def gradient_in_numpy(gradient, codes, mask, k):
    sums = np.bincount(codes.numpy().ravel(), (gradient * mask).numpy().ravel(), minlength=k)
    return torch.from_numpy(sums.astype(np.float32))


RIGHT = {
    "50/soft-targets": [soft_by_hand, soft_by_rows, soft_through_logarithms, soft_in_numpy],
    "50/distillation-loss": [loss_by_hand, loss_with_log_target, loss_by_cross_entropies],
    "50/omitted-digit": [bias_by_kthvalue, bias_in_numpy, bias_by_trying],
    "51/k-means-step": [step_by_squares, step_by_edges, step_in_python],
    "51/centroid-gradient": [gradient_by_index_add, gradient_by_one_hot, gradient_in_numpy],
}

# --- wrong answers


def soft_overflowing(scores, temperature):
    powers = torch.exp(scores / temperature)
    return powers / powers.sum(dim=1, keepdim=True)


def soft_in_place(scores, temperature):
    return scores.div_(temperature).softmax(1)


def loss(soft, hard=F.cross_entropy):
    """soft(scores, teacher_scores, temperature), weighed by share."""

    def distillation_loss(scores, teacher_scores, y, temperature, share):
        return share * soft(scores, teacher_scores, temperature) + (1 - share) * hard(scores, y)

    return distillation_loss


def kl(own, wanted, **settings):
    return F.kl_div(own, wanted, **({"reduction": "batchmean"} | settings))


def soft_kl(z, v, t, **settings):
    return kl(F.log_softmax(z / t, 1), F.softmax(v / t, 1), **settings)


def shifted(shift, put=None):
    """shift(lacks, count), with the lacks of all inputs, unsorted."""

    def corrected_bias(bias, scores, digit, share):
        other = torch.arange(len(bias)) != digit
        lacks = scores[:, other].amax(1) - scores[:, digit]
        return (put or (lambda b, d, s: b + s * ~other))(bias, digit, shift(lacks, round(share * len(scores))))

    return corrected_bias


def halfway(lacks, count):
    return lacks.sort().values[count - 1 : count + 1].mean()


def bias_with_own_rival(bias, scores, digit, share):
    lacks = (scores.max(1).values - scores[:, digit]).sort().values
    return bias + F.one_hot(torch.tensor(digit), len(bias)) * halfway(lacks, round(share * len(scores)))


def bias_with_share(shift):
    """shift(lacks, share), with the lacks of all inputs, unsorted."""

    def corrected_bias(bias, scores, digit, share):
        lacks = scores[:, torch.arange(len(bias)) != digit].amax(1) - scores[:, digit]
        return bias + F.one_hot(torch.tensor(digit), len(bias)) * shift(lacks, share)

    return corrected_bias


def bias_with_zero_for_its_own(bias, scores, digit, share):
    others = scores * (torch.arange(len(bias)) != digit)
    lacks = others.amax(1) - scores[:, digit]
    return bias + F.one_hot(torch.tensor(digit), len(bias)) * halfway(lacks, round(share * len(scores)))


def bias_in_place(bias, scores, digit, share):
    return bias.copy_(bias_by_kthvalue(bias, scores, digit, share))


def step(centre, choose=None, keep=lambda values: values != 0):
    def kmeans_step(weight, centroids):
        values = weight[keep(weight)]
        codes = (choose or (lambda v, c: (v[:, None] - c).abs().min(1).indices))(values, centroids)
        return torch.stack([centre(values[codes == i], c) for i, c in enumerate(centroids)])

    return kmeans_step


def mean_or_stay(members, centroid):
    return members.mean() if len(members) else centroid


def step_in_place(weight, centroids):
    return centroids.copy_(step_by_squares(weight, centroids))


def steps_to_the_end(weight, centroids):
    for _ in range(100):
        centroids = step_by_edges(weight, centroids)
    return centroids


def gradient(gather, chosen=lambda codes, mask: mask):
    def centroid_gradient(gradient, codes, mask, k):
        at = chosen(codes, mask)
        return torch.stack([gather(gradient[at & (codes == i)]) for i in range(k)]).float()

    return centroid_gradient


def gradient_overwritten(gradient, codes, mask, k):
    """`result[codes] += gradient` in NumPy, which defines that the last one stays."""
    result = np.zeros(k, np.float32)
    result[codes[mask].numpy()] += gradient[mask].numpy()
    return torch.from_numpy(result)


def gradient_without_the_empty(gradient, codes, mask, k):
    return torch.bincount(codes.flatten(), (gradient * mask).flatten())


WRONG = [
    ("50/soft-targets", lambda scores, temperature: F.softmax(temperature * scores, 1), "multiplied"),
    ("50/soft-targets", lambda scores, temperature: F.softmax(scores, 1) / temperature, "after the softmax"),
    ("50/soft-targets", lambda scores, temperature: scores.softmax(1).div(temperature).softmax(1), "after the softmax"),
    ("50/soft-targets", lambda scores, temperature: F.softmax(scores / temperature, 0), "dim=1"),
    ("50/soft-targets", lambda scores, temperature: F.softmax(scores, dim=1), "not used"),
    ("50/soft-targets", lambda scores, temperature: F.softmax(scores - temperature, dim=1), "subtract"),
    ("50/soft-targets", lambda scores, temperature: F.softmin(scores / temperature, dim=1), "sign is turned"),
    ("50/soft-targets", lambda scores, temperature: F.log_softmax(scores / temperature, 1), "logarithms"),
    ("50/soft-targets", soft_overflowing, "subtract the largest"),
    ("50/soft-targets", lambda scores, temperature: F.softmax(scores, 1).pow(1 / temperature), "sum to 1"),
    ("50/soft-targets", lambda scores, temperature: F.softmax(scores / temperature / temperature, 1), "T² belongs"),
    ("50/soft-targets", lambda scores, temperature: (scores == scores.amax(1, True)).float(), "hard answer"),
    ("50/soft-targets", lambda scores, temperature: 1 / (1 + torch.exp(-scores / temperature)), "sigmoid"),
    ("50/soft-targets", lambda scores, temperature: torch.full_like(scores, 1 / scores.shape[1]), "expected"),
    ("50/soft-targets", soft_in_place, "in place"),
    ("50/soft-targets", lambda scores, temperature: soft_by_hand(scores, temperature).tolist(), "expected a tensor"),
    ("50/distillation-loss", loss(soft_kl), "T² is missing"),
    ("50/distillation-loss", loss(lambda z, v, t: t * soft_kl(z, v, t)), "not T."),
    ("50/distillation-loss", loss(lambda z, v, t: soft_kl(z, v, t) / t**2), "not 1 / T²"),
    ("50/distillation-loss", loss(lambda z, v, t: t**2 * soft_kl(z, v, t, reduction="sum")), "sum over the batch"),
    (
        "50/distillation-loss",
        loss(lambda z, v, t: t**2 * soft_kl(z, v, t, reduction="none").mean()),
        "divides by the classes",
    ),
    ("50/distillation-loss", loss(lambda z, v, t: t**2 * soft_kl(v, z, t)), "wrong way round"),
    (
        "50/distillation-loss",
        loss(lambda z, v, t: t**2 * kl(F.softmax(z / t, 1), F.softmax(v / t, 1))),
        "must be a log_softmax",
    ),
    ("50/distillation-loss", loss(lambda z, v, t: t**2 * F.cross_entropy(z / t, F.softmax(v / t, 1))), "entropy"),
    ("50/distillation-loss", loss(lambda z, v, t: t**2 * soft_kl(t * z, v, t)), "one side only"),
    ("50/distillation-loss", loss(lambda z, v, t: t**2 * soft_kl(z, t * v, t)), "one side only"),
    ("50/distillation-loss", loss(lambda z, v, t: t**2 * soft_kl(z, v, 1)), "no temperature"),
    ("50/distillation-loss", loss(lambda z, v, t: F.mse_loss(z, v)), "squared distance"),
    ("50/distillation-loss", loss(lambda z, v, t: soft_kl(z, v, t, reduction="none").mean()), "Two mistakes"),
    (
        "50/distillation-loss",
        loss(lambda z, v, t: t**2 * soft_kl(z, v, t), lambda z, y: F.cross_entropy(F.softmax(z, 1), y)),
        "not probabilities",
    ),
    (
        "50/distillation-loss",
        lambda scores, teacher_scores, y, temperature, share: (
            share * temperature**2 * soft_kl(scores, teacher_scores, temperature) + F.cross_entropy(scores, y)
        ),
        "labels' term is not weighed",
    ),
    (
        "50/distillation-loss",
        lambda scores, teacher_scores, y, temperature, share: (
            temperature**2 * soft_kl(scores, teacher_scores, temperature) + (1 - share) * F.cross_entropy(scores, y)
        ),
        "soft term is not weighed",
    ),
    (
        "50/distillation-loss",
        lambda scores, teacher_scores, y, temperature, share: loss_by_hand(
            scores, teacher_scores, y, temperature, 1 - share
        ),
        "shares are swapped",
    ),
    (
        "50/distillation-loss",
        lambda scores, teacher_scores, y, temperature, share: (
            temperature**2 * soft_kl(scores, teacher_scores, temperature) + F.cross_entropy(scores, y)
        ),
        "not weighed",
    ),
    (
        "50/distillation-loss",
        lambda scores, teacher_scores, y, temperature, share: (
            share * temperature**2 * soft_kl(scores, teacher_scores, temperature)
            + (1 - share) * F.cross_entropy(scores / temperature, y)
        ),
        "softened too",
    ),
    ("50/distillation-loss", lambda scores, teacher_scores, y, temperature, share: scores.sum(), "expected"),
    ("50/distillation-loss", lambda scores, teacher_scores, y, temperature, share: scores.sum(1), "one number"),
    ("50/omitted-digit", shifted(lambda lacks, count: -halfway(lacks, count)), "wrong sign"),
    ("50/omitted-digit", shifted(halfway, lambda bias, digit, shift: bias + shift), "All biases"),
    (
        "50/omitted-digit",
        shifted(halfway, lambda bias, digit, shift: torch.where(torch.arange(len(bias)) == digit, shift, bias)),
        "replaces the bias",
    ),
    ("50/omitted-digit", bias_with_own_rival, "among its rivals"),
    ("50/omitted-digit", shifted(lambda lacks, count: -halfway(-lacks, count)), "lack most"),
    ("50/omitted-digit", shifted(lambda lacks, count: lacks.sum() / len(lacks)), "the mean of what"),
    ("50/omitted-digit", shifted(lambda lacks, count: lacks.sort().values[count]), "half-way to the next"),
    ("50/omitted-digit", shifted(lambda lacks, count: lacks.kthvalue(count).values), "half-way to the next"),
    ("50/omitted-digit", shifted(lambda lacks, count: halfway(lacks, count + 1)), "One input too many"),
    ("50/omitted-digit", shifted(lambda lacks, count: halfway(lacks, count - 1)), "One input too few"),
    ("50/omitted-digit", shifted(lambda lacks, count: lacks.kthvalue(count).values + 0.01), "safe place"),
    ("50/omitted-digit", shifted(lambda lacks, count: halfway(-lacks, count)), "What is lacking has the wrong sign"),
    ("50/omitted-digit", bias_with_share(lambda lacks, share: lacks.quantile(share)), "quantile"),
    ("50/omitted-digit", bias_with_share(lambda lacks, share: halfway(lacks, int(share * len(lacks)))), "neither cut"),
    (
        "50/omitted-digit",
        bias_with_share(lambda lacks, share: halfway(lacks, math.ceil(share * len(lacks) - 1e-6))),
        "nor rounded up",
    ),
    ("50/omitted-digit", bias_with_zero_for_its_own, "not the lowest score"),
    (
        "50/omitted-digit",
        lambda bias, scores, digit, share: bias_by_kthvalue(bias, scores + bias, digit, share),
        "hold the bias already",
    ),
    ("50/omitted-digit", shifted(lambda lacks, count: halfway(lacks, count) + 0.1), "expected"),
    ("50/omitted-digit", shifted(halfway, lambda bias, digit, shift: shift), "has shape"),
    ("50/omitted-digit", bias_in_place, "in place"),
    ("51/k-means-step", step(mean_or_stay, keep=lambda w: w == w), "pruned weights take part"),
    ("51/k-means-step", step(lambda m, c: m.mean()), "keeps its place"),
    ("51/k-means-step", step(lambda m, c: m.sum() / max(len(m), 1)), "keeps its place"),
    ("51/k-means-step", step(lambda m, c: m.sum() if len(m) else c), "sum of its members"),
    ("51/k-means-step", step(lambda m, c: (m.amin() + m.amax()) / 2 if len(m) else c), "middle between the ends"),
    ("51/k-means-step", step(mean_or_stay, lambda v, c: (v[:, None] - c).argmin(1)), "has a sign"),
    ("51/k-means-step", step(mean_or_stay, lambda v, c: (v[:, None] - c).square().argmax(1)), "farthest"),
    (
        "51/k-means-step",
        step(mean_or_stay, lambda v, c: len(c) - 1 - (v[:, None] - c.flip(0)).abs().argmin(1)),
        "Half-way",
    ),
    ("51/k-means-step", steps_to_the_end, "many steps"),
    ("51/k-means-step", lambda w, c: step_by_squares(w, step_by_squares(w, c)), "must take the parameters"),
    ("51/k-means-step", lambda weight, centroids: step_by_edges(weight, step_by_edges(weight, centroids)), "two steps"),
    ("51/k-means-step", lambda weight, centroids: centroids.clone(), "expected"),
    ("51/k-means-step", step_in_place, "in place"),
    ("51/centroid-gradient", gradient(torch.mean), "mean over the members"),
    ("51/centroid-gradient", gradient(lambda g: g.sum() / max(len(g), 1)), "mean over the members"),
    ("51/centroid-gradient", gradient(torch.sum, lambda codes, mask: codes >= 0), "pruned weights are counted"),
    ("51/centroid-gradient", gradient(torch.sum, lambda codes, mask: ~mask), "the mask is True"),
    ("51/centroid-gradient", gradient(torch.sum, lambda codes, mask: codes > 0), "Code 0 is left out"),
    ("51/centroid-gradient", gradient(torch.count_nonzero), "numbers of members"),
    ("51/centroid-gradient", gradient(lambda g: -g.sum()), "sign is turned"),
    ("51/centroid-gradient", gradient(lambda g: torch.linalg.vector_norm(g, 1)), "cancel"),
    ("51/centroid-gradient", gradient_overwritten, "Only one member"),
    ("51/centroid-gradient", gradient_without_the_empty, "without members is left out"),
    (
        "51/centroid-gradient",
        lambda gradient, codes, mask, k: gradient_by_index_add(gradient, codes, mask, k)[codes] * mask,
        "one number for each weight",
    ),
    ("51/centroid-gradient", gradient(lambda g: g.square().sum()), "expected"),
]


def test_solved_answers_are_the_functions_of_the_library():
    solve = {key: exercise.solution for key, exercise in EXERCISES.items()}
    z, v = (3 * torch.randn(40, 10, generator=torch.Generator().manual_seed(seed)) for seed in range(2))
    y = torch.arange(40) % 10
    torch.testing.assert_close(solve["50/soft-targets"](z, 3), distillation.soft_targets(z, 3))
    torch.testing.assert_close(
        solve["50/distillation-loss"](z, v, y, 5.0, 0.3), distillation.distillation_loss(z, v, y, 5.0, 0.3)
    )

    model = models.mlp((8, 10), seed=0)
    x, bias = torch.randn(40, 8, generator=torch.Generator().manual_seed(3)), copy.deepcopy(model[-1].bias.detach())
    solved = solve["50/omitted-digit"](bias, model(x).detach(), 7, 0.25)
    distillation.correct_bias_(model, x, 7, 0.25)
    torch.testing.assert_close(solved, model[-1].bias.detach())
    assert (model(x).argmax(1) == 7).sum() == 10


def test_solved_steps_end_where_kmeans_does_and_solved_gradients_train_shared_weights():
    weight = torch.randn(20, 30, generator=torch.Generator().manual_seed(0))
    weight = weight * (weight.abs() > 1)
    values = weight[weight != 0]
    centroids = sharing.start(values, 6, "density")
    for _ in range(100):
        centroids = lloyd.solution(weight, centroids)
    wanted, codes = sharing.kmeans(values, 6, "density")
    torch.testing.assert_close(centroids, wanted)

    step = sharing.SharedWeights(weight, 6, "density")
    parameter = step.right_inverse(weight).requires_grad_()
    gradient = torch.randn(20, 30, generator=torch.Generator().manual_seed(1))
    step(parameter).backward(gradient)
    full = torch.zeros(20, 30, dtype=torch.int64)
    full[weight != 0] = codes
    torch.testing.assert_close(gathered.solution(gradient, full, weight != 0, 6), parameter.grad)
