"""The checkers of lessons 30 and 31: right answers pass; wrong ones, as a learner might write them, are named."""

import math
import statistics

import numpy as np
import torch
from torch.nn import functional as F

from compresslab.pruning import exercises

# --- right answers that do not look like the solutions


def mask_by_topk(weight, sparsity):
    n = weight.numel()
    mask = torch.zeros(n, dtype=torch.bool)
    mask[torch.topk(weight.reshape(-1) ** 2, n - round(sparsity * n)).indices] = True
    return mask.view_as(weight)


def mask_by_python(weight, sparsity):
    order = sorted(range(weight.numel()), key=lambda i: -abs(weight.reshape(-1)[i].item()))
    dead = order[len(order) - round(sparsity * len(order)) :]
    return torch.tensor([i not in dead for i in range(len(order))]).reshape(weight.shape)


def mask_by_threshold(weight, sparsity):
    sizes, k = weight.abs().flatten(), round(sparsity * weight.numel())
    if k == 0:
        return torch.ones_like(weight, dtype=torch.bool)
    threshold = sizes.kthvalue(k).values
    mask = sizes > threshold
    equal = (sizes == threshold).nonzero().flatten()
    mask[equal[: int(mask.numel() - mask.sum()) - k]] = True
    return mask.reshape(weight.shape)


def mask_by_numpy(weight, sparsity):
    ranks = np.argsort(np.argsort(np.abs(weight.numpy()), axis=None, kind="stable"))
    return torch.from_numpy(ranks >= round(sparsity * ranks.size)).reshape(weight.shape)


def further_among_the_kept(weight, mask, sparsity):
    k = round(sparsity * weight.numel()) - int((~mask).sum())
    new = mask.clone()
    if k > 0:
        threshold = weight[mask].abs().kthvalue(k).values
        new[mask & (weight.abs() <= threshold)] = False
    return new


def further_by_python(weight, mask, sparsity):
    flat, alive = weight.flatten().tolist(), mask.flatten().tolist()
    while alive.count(False) < round(sparsity * len(flat)):
        alive[min((i for i in range(len(flat)) if alive[i]), key=lambda i: abs(flat[i]))] = False
    return torch.tensor(alive).reshape(mask.shape)


def further_on_zeros(weight, mask, sparsity):
    return mask & mask_by_topk(weight * mask, max(sparsity, 1 - mask.float().mean().item()))


def step_with_both_masked(weight, grad, velocity, mask, lr, momentum):
    velocity = momentum * (velocity * mask) + grad * mask
    return weight.sub(velocity, alpha=lr), velocity


def step_with_where(weight, grad, velocity, mask, lr, momentum):
    new = grad.add(velocity, alpha=momentum)
    return torch.where(mask, weight - lr * new, 0.0), torch.where(mask, new, 0.0)


def step_in_python(weight, grad, velocity, mask, lr, momentum):
    new, speed = torch.zeros_like(weight), torch.zeros_like(weight)
    for place in mask.nonzero().tolist():
        at = tuple(place)
        speed[at] = momentum * velocity[at] + grad[at]
        new[at] = weight[at] - lr * speed[at]
    return new, speed


def cubic_by_cases(progress, start, final):
    if progress <= 0:
        return start
    left = 1 - progress if progress < 1 else 0
    return start * left**3 + final * (1 - left**3)


def cubic_in_float32(progress, start, final):
    left = 1 - torch.tensor(progress).clamp(0, 1)
    return torch.lerp(torch.tensor(final), torch.tensor(start), left.pow(3))


def bytes_of_real_tensors(rows, columns, nonzeros, index_bits, value_bits):
    ints, floats = (
        {16: torch.int16, 32: torch.int32, 64: torch.int64},
        {16: torch.half, 32: torch.float, 64: torch.double},
    )
    per_row = [nonzeros // rows + (r < nonzeros % rows) for r in range(rows)]
    pointers = torch.tensor([0, *np.cumsum(per_row)], dtype=ints[index_bits])
    indices = torch.tensor([c for n in per_row for c in range(n)], dtype=ints[index_bits])
    values = torch.ones(len(indices), dtype=floats[value_bits])
    return sum(t.numel() * t.element_size() for t in (pointers, indices, values))


def bytes_in_integers(rows, columns, nonzeros, index_bits, value_bits=32):
    return nonzeros * (value_bits // 8) + (nonzeros + rows + 1) * (index_bits // 8)


def neurons_by_index(w1, b1, w2, keep):
    at = torch.where(keep)[0]
    return w1.index_select(0, at), b1.index_select(0, at), w2.index_select(1, at)


def neurons_reordered(w1, b1, w2, keep):
    at = keep.nonzero().flatten().flip(0)
    return [w1[at], b1[at], w2.T[at].T]


def neurons_in_python(w1, b1, w2, keep):
    at = [i for i, stays in enumerate(keep) if stays]
    return torch.stack([w1[i] for i in at]), torch.stack([b1[i] for i in at]), torch.stack([w2[:, i] for i in at], 1)


def channels_by_index(conv_weight, gamma, beta, mean, var, next_weight, keep):
    at = keep.nonzero().squeeze(1)
    return *(t[at] for t in (conv_weight, gamma, beta, mean, var)), next_weight.index_select(1, at)


def channels_one_by_one(conv_weight, gamma, beta, mean, var, next_weight, keep):
    at = [i for i in range(len(keep)) if keep[i]][::-1]
    small = [torch.stack([t[i] for i in at]) for t in (conv_weight, gamma, beta, mean, var)]
    return [*small, torch.stack([next_weight[:, i] for i in at], dim=1)]


def inputs_from_a_mask(keep, height, width):
    return keep[:, None, None].expand(-1, height, width).flatten().nonzero().flatten()


def inputs_by_loops(keep, height, width):
    n = len(keep)
    return torch.tensor(
        [c * height * width + y * width + x for c in range(n) if keep[c] for y in range(height) for x in range(width)]
    )


def inputs_by_division(keep, height, width):
    places = torch.arange(len(keep) * height * width)
    return places[keep[places // (height * width)]]


def pattern_by_sorting(weight):
    mask = torch.zeros_like(weight, dtype=torch.bool)
    for row in range(weight.shape[0]):
        for start in range(0, weight.shape[1], 4):
            order = sorted(range(start, start + 4), key=lambda c: abs(weight[row, c].item()))
            mask[row, order[2:]] = True
    return mask


def pattern_by_ranks(weight):
    runs = (weight**2).unflatten(1, (-1, 4))
    return (runs.argsort(-1).argsort(-1) >= 2).flatten(1)


def pattern_by_removal(weight):
    mask = torch.ones(weight.shape).view(len(weight), -1, 4)
    smallest = weight.view(len(weight), -1, 4).abs().topk(2, dim=-1, largest=False).indices
    return mask.scatter(-1, smallest, 0).view(weight.shape).bool()


def speed_up_in_python(dense_seconds, pruned_seconds, dense_macs, pruned_macs):
    ratios = sorted(d / p for d, p in zip(dense_seconds, pruned_seconds))
    middle = len(ratios) // 2
    return ratios[middle] if len(ratios) % 2 else (ratios[middle - 1] + ratios[middle]) / 2


def speed_up_in_float32(dense_seconds, pruned_seconds, dense_macs, pruned_macs):
    return (torch.tensor(dense_seconds) / torch.tensor(pruned_seconds)).quantile(0.5)


RIGHT = {
    "30/magnitude-mask": [mask_by_topk, mask_by_python, mask_by_threshold, mask_by_numpy],
    "30/prune-again": [further_among_the_kept, further_by_python, further_on_zeros],
    "30/masked-step": [step_with_both_masked, step_with_where, step_in_python],
    "30/cubic": [cubic_by_cases, cubic_in_float32],
    "30/csr-bytes": [bytes_of_real_tensors, bytes_in_integers],
    "31/shrink-layers": [neurons_by_index, neurons_reordered, neurons_in_python],
    "31/shrink-batch-norm": [channels_by_index, channels_one_by_one],
    "31/flattened": [inputs_from_a_mask, inputs_by_loops, inputs_by_division],
    "31/two-of-four": [pattern_by_sorting, pattern_by_ranks, pattern_by_removal],
    "31/speed-up": [speed_up_in_python, speed_up_in_float32],
}

# --- wrong answers


def threshold_strict(weight, sparsity):
    sizes = weight.abs().flatten()
    return weight.abs() > sizes.kthvalue(max(1, round(sparsity * sizes.numel()))).values


def threshold_loose(weight, sparsity):
    sizes = weight.abs().flatten()
    return weight.abs() >= sizes.kthvalue(max(1, round(sparsity * sizes.numel()))).values


def threshold_next(weight, sparsity):
    ordered = weight.abs().flatten().sort().values
    return weight.abs() > ordered[round(sparsity * len(ordered))]


def threshold_next_loose(weight, sparsity):
    ordered = weight.abs().flatten().sort().values
    return weight.abs() >= ordered[round(sparsity * len(ordered))]


def threshold_quantile(weight, sparsity):
    return weight.abs() >= torch.quantile(weight.abs(), sparsity)


def mask_one_short(weight, sparsity):
    mask = torch.ones_like(weight, dtype=torch.bool)
    order = np.argsort(weight.abs().numpy(), axis=None)
    mask.view(-1)[order[: max(round(sparsity * weight.numel()) - 1, 0)].copy()] = False
    return mask


def mask_signed(weight, sparsity):
    return mask_by_topk(torch.exp(weight), sparsity)


def mask_of_the_largest(weight, sparsity):
    n = weight.numel()
    mask = torch.ones(n, dtype=torch.bool)
    mask[weight.abs().flatten().topk(round(sparsity * n)).indices] = False
    return mask.reshape(weight.shape)


def mask_cut_off(weight, sparsity):
    n = weight.numel()
    return mask_by_topk(weight, int(sparsity * n) / n)


def mask_rounded_up(weight, sparsity):
    n = weight.numel()
    return mask_by_topk(weight, math.ceil(sparsity * n) / n)


def mask_per_row(weight, sparsity):
    return torch.stack([mask_by_topk(row, sparsity) for row in weight])


def mask_of_the_kept_share(weight, sparsity):
    return mask_by_topk(weight, 1 - sparsity)


def mask_backwards(weight, sparsity):
    mask = torch.ones(weight.numel(), dtype=torch.bool)
    mask[weight.abs().flatten().sort(descending=True).indices[-round(sparsity * weight.numel()) :]] = False
    return mask.reshape(weight.shape)


def mask_in_floats(weight, sparsity):
    return mask_by_topk(weight, sparsity).float()


def mask_in_place(weight, sparsity):
    weight.abs_()
    return mask_by_topk(weight, sparsity)


def kept_order(weight, mask):
    places = mask.flatten().nonzero().flatten()
    return places[weight.flatten()[places].abs().argsort()]


def without(mask, places):
    new = mask.clone()
    new.view(-1)[places] = False
    return new


def further_of_the_rest(weight, mask, sparsity):
    order = kept_order(weight, mask)
    return without(mask, order[: round(sparsity * len(order))])


def further_added(weight, mask, sparsity):
    return without(mask, kept_order(weight, mask)[: round(sparsity * mask.numel())])


def further_zeros_again(weight, mask, sparsity):
    k = round(sparsity * mask.numel()) - int((mask == 0).sum())
    return without(mask, (weight * mask).abs().flatten().sort(stable=True).indices[: max(k, 0)])


def further_from_scratch(weight, mask, sparsity):
    return mask_by_topk(weight, sparsity)


def further_crossed(weight, mask, sparsity):
    return mask_by_topk(weight, sparsity) * mask


def further_dense_ranks(weight, mask, sparsity):
    k = round(sparsity * mask.numel()) - int((~mask).sum())
    return mask & mask_by_topk(weight, max(k, 0) / mask.numel())


def further_not_at_all(weight, mask, sparsity):
    return mask


def further_largest(weight, mask, sparsity):
    k = max(0, round(sparsity * mask.numel()) - int((~mask).sum()))
    return without(mask, kept_order(weight, mask).flip(0)[:k])


def further_signed(weight, mask, sparsity):
    return further_by_python(weight.exp(), mask, sparsity)


def further_beyond(weight, mask, sparsity):
    return without(mask, kept_order(weight, mask)[: round(sparsity * mask.numel()) - int((~mask).sum())])


def further_above_a_threshold(weight, mask, sparsity):
    sizes = torch.where(mask, weight.abs(), -1.0)
    k = round(sparsity * weight.numel())
    return mask & (sizes > sizes.flatten().sort().values[k - 1])


def zeroed_then_compared(choose):
    def fn(weight, *settings):
        return (weight * choose(weight, *settings)) != 0

    return fn


def further_in_place(weight, mask, sparsity):
    mask &= further_by_python(weight, mask, sparsity)
    return mask


def step_unmasked(weight, grad, velocity, mask, lr, momentum):
    velocity = velocity * momentum + grad
    return weight - velocity * lr, velocity


def step_gradient_masked(weight, grad, velocity, mask, lr, momentum):
    velocity = velocity * momentum + torch.where(mask, grad, 0)
    return weight - velocity * lr, velocity


def step_masked_before(weight, grad, velocity, mask, lr, momentum):
    velocity = velocity * momentum + grad
    return torch.where(mask, weight, 0) - velocity * lr, velocity


def step_inverted(weight, grad, velocity, mask, lr, momentum):
    velocity = velocity * momentum + grad
    return (weight - velocity * lr).masked_fill(mask, 0), velocity


def step_frozen(weight, grad, velocity, mask, lr, momentum):
    velocity = velocity * momentum + grad
    return torch.where(mask, weight, 0), velocity


def step_velocity_late(weight, grad, velocity, mask, lr, momentum):
    velocity = velocity * momentum + grad
    weight = weight - velocity * lr
    velocity = velocity * mask
    return weight, velocity


def step_old_velocity_masked(weight, grad, velocity, mask, lr, momentum):
    velocity = velocity.masked_fill(~mask, 0) * momentum + grad
    return weight - velocity * lr, velocity


def step_of_the_pruned(weight, grad, velocity, mask, lr, momentum):
    velocity = (velocity * momentum + grad).masked_fill(mask, 0)
    return weight - velocity * lr, velocity


def step_without_memory(weight, grad, velocity, mask, lr, momentum):
    new = velocity * momentum + grad
    return (weight - new * lr) * mask, velocity


def step_plain(weight, grad, velocity, mask, lr, momentum):
    return (weight - grad * lr) * mask, velocity


def step_in_place(weight, grad, velocity, mask, lr, momentum):
    velocity.mul_(momentum).add_(grad)
    weight.sub_(lr * velocity).mul_(mask)
    return weight, velocity


def clipped(curve):
    return lambda progress, start, final: float(curve(np.clip(progress, 0, 1), start, final))


def sized(bits):
    return lambda rows, columns, nonzeros, index_bits, value_bits=32: bits(
        rows, columns, nonzeros, index_bits, value_bits
    )


def layers(hidden, bias, following):
    return lambda w1, b1, w2, keep: (hidden(w1, keep), bias(b1, keep), following(w2, keep))


def rows(t, keep):
    return t[keep.nonzero().flatten()]


def columns(t, keep):
    return t.index_select(1, keep.nonzero().flatten())


def whole(t, keep):
    return t


def zeroed(t, keep):
    t = t.clone()
    t[~keep] = 0
    return t


def other_rows(t, keep):
    return t[keep.logical_not()]


def other_columns(t, keep):
    return t[:, keep.logical_not()]


def first_rows(t, keep):
    return t[: keep.sum()]


def first_columns(t, keep):
    return t[:, : keep.sum()]


def convs(conv=rows, scale=rows, running=rows, following=columns):
    def remove_channels(conv_weight, gamma, beta, mean, var, next_weight, keep):
        tensors, ways = (conv_weight, gamma, beta, mean, var), (conv, scale, scale, running, running)
        return *(way(t, keep) for way, t in zip(ways, tensors)), following(next_weight, keep)

    return remove_channels


def inputs_channel_last(keep, height, width):
    return keep.expand(height * width, -1).flatten().nonzero().flatten()


def inputs_channel_last_by_channel(keep, height, width):
    image = torch.arange(height * width * len(keep)).reshape(height, width, -1)
    return torch.cat([image[:, :, c].flatten() for c in range(len(keep)) if keep[c]])


def inputs_one_each(keep, height, width):
    return torch.tensor([c for c, stays in enumerate(keep) if stays])


def inputs_first_each(keep, height, width):
    return torch.tensor([c * height * width for c, stays in enumerate(keep) if stays])


def inputs_from_one(keep, height, width):
    return inputs_by_division(keep, height, width) + 1


def inputs_one_row(keep, height, width):
    return inputs_from_a_mask(keep, 1, width)


def inputs_overlapping(keep, height, width):
    return torch.cat([c + torch.arange(height * width) for c in range(len(keep)) if keep[c]])


def inputs_removed(keep, height, width):
    return inputs_by_loops(keep.logical_not(), height, width)


def inputs_interleaved(keep, height, width):
    return inputs_by_division(keep, height, width).reshape(-1, height * width).T.flatten()


def inputs_mask(keep, height, width):
    return keep[:, None].repeat(1, height * width).flatten()


def inputs_column_by_column(keep, height, width):
    places = [
        c * height * width + y * width + x
        for c in range(len(keep))
        if keep[c]
        for x in range(width)
        for y in range(height)
    ]
    return torch.tensor(places)


def inputs_as_a_list(keep, height, width):
    return inputs_by_division(keep, height, width).tolist()


def kept_of_four(score=abs, number=2):
    def fn(weight):
        mask = torch.zeros_like(weight, dtype=torch.bool)
        for start in range(0, weight.shape[1], 4):
            block = score(weight[:, start : start + 4])
            mask[:, start : start + 4] = block.argsort(1).argsort(1) >= 4 - number
        return mask

    return fn


def pattern_down(weight):
    mask = torch.zeros(weight.shape, dtype=torch.bool)
    for start in range(0, len(weight), 4):
        block = weight[start : start + 4].abs()
        mask[start : start + 4] = block.argsort(0).argsort(0) >= 2
    return mask


def pattern_per_row(weight):
    return torch.stack([mask_by_topk(row, 0.5) for row in weight])


def pattern_sliding(weight):
    mask = torch.zeros(weight.shape, dtype=torch.bool)
    for row in range(len(weight)):
        for start in range(weight.shape[1] - 3):
            two = sorted(range(start, start + 4), key=lambda c: -abs(weight[row, c].item()))[:2]
            mask[row, two] = True
    return mask


def pattern_far_apart(weight):
    sizes = weight.abs().unflatten(1, (4, -1))
    return (sizes.argsort(1).argsort(1) >= 2).flatten(1)


def pattern_above_the_second(weight):
    runs = weight.abs().reshape(len(weight), -1, 4)
    return (runs >= runs.sort(-1).values[..., 2:3]).reshape(weight.shape)


def timed(reduce):
    def speed_up(dense_seconds, pruned_seconds, dense_macs, pruned_macs):
        return reduce(np.array(dense_seconds), np.array(pruned_seconds))

    return speed_up


def speed_up_by_macs(dense_seconds, pruned_seconds, dense_macs, pruned_macs):
    return np.float64(dense_macs) / pruned_macs


def speed_up_by_macs_upside_down(dense_seconds, pruned_seconds, dense_macs, pruned_macs):
    return pruned_macs / dense_macs


def speed_up_sorted(dense_seconds, pruned_seconds, dense_macs, pruned_macs):
    dense_seconds.sort()
    pruned_seconds.sort()
    return statistics.median(d / p for d, p in zip(dense_seconds, pruned_seconds))


def further_cut_off(weight, mask, sparsity):
    return further_by_python(weight, mask, int(sparsity * weight.numel()) / weight.numel())


def further_of_a_number(weight, mask, sparsity):
    ranks = (weight.abs() * mask).flatten().argsort(stable=True).argsort()
    return (ranks >= round(sparsity * weight.numel())).reshape(mask.shape)


def step_by_what_is_zero(weight, grad, velocity, mask, lr, momentum):
    new = momentum * velocity + grad
    return torch.where(weight == 0, 0.0, weight - lr * new), new


WRONG = [
    ("30/magnitude-mask", threshold_strict, "all are removed"),
    ("30/magnitude-mask", threshold_loose, "One weight too few"),
    ("30/magnitude-mask", threshold_next, "One weight too many"),
    ("30/magnitude-mask", threshold_next_loose, "all are kept"),
    ("30/magnitude-mask", threshold_quantile, "quantile"),
    ("30/magnitude-mask", mask_one_short, "One weight too few"),
    ("30/magnitude-mask", mask_signed, "compare their abs()"),
    ("30/magnitude-mask", mask_of_the_largest, "largest weights are removed"),
    ("30/magnitude-mask", lambda weight, sparsity: mask_by_topk(weight, sparsity).logical_not(), "inverted"),
    ("30/magnitude-mask", mask_cut_off, "int() cuts"),
    ("30/magnitude-mask", mask_rounded_up, "rounded up"),
    ("30/magnitude-mask", mask_per_row, "Each row"),
    ("30/magnitude-mask", mask_of_the_kept_share, "share that is removed"),
    ("30/magnitude-mask", mask_backwards, "[-0:]"),
    ("30/magnitude-mask", lambda weight, sparsity: weight.abs() >= sparsity, "not a threshold"),
    ("30/magnitude-mask", mask_in_floats, "dtype=torch.bool"),
    ("30/magnitude-mask", mask_in_place, "in place"),
    ("30/magnitude-mask", zeroed_then_compared(mask_by_topk), "expected"),
    ("30/magnitude-mask", lambda weight, sparsity: mask_by_topk(weight, 0.5), "expected"),
    ("30/prune-again", further_above_a_threshold, "expected"),
    ("30/prune-again", further_of_the_rest, "share of all weights"),
    ("30/prune-again", further_added, "add up"),
    ("30/prune-again", further_zeros_again, "second time"),
    ("30/prune-again", further_from_scratch, "come back"),
    ("30/prune-again", further_crossed, "overlap only in part"),
    ("30/prune-again", further_dense_ranks, "old sizes"),
    ("30/prune-again", further_not_at_all, "stays as it was"),
    ("30/prune-again", further_largest, "prune the smallest"),
    ("30/prune-again", further_signed, "compare their abs()"),
    ("30/prune-again", further_beyond, "max(0, ...)"),
    ("30/prune-again", further_cut_off, "int() cuts"),
    ("30/prune-again", further_of_a_number, "weights come back"),
    ("30/prune-again", further_in_place, "in place"),
    ("30/prune-again", lambda weight, mask, sparsity: ~further_by_python(weight, mask, sparsity), "inverted"),
    (
        "30/prune-again",
        lambda weight, mask, sparsity: 1 - (~further_by_python(weight, mask, sparsity)).int(),
        "dtype=torch.bool",
    ),
    ("30/masked-step", step_unmasked, "Nothing is masked"),
    ("30/masked-step", step_gradient_masked, "Only the gradient is masked"),
    ("30/masked-step", step_masked_before, "masked before the step"),
    ("30/masked-step", step_inverted, "not by ~mask"),
    ("30/masked-step", step_frozen, "stand still"),
    ("30/masked-step", step_velocity_late, "handed back is masked"),
    ("30/masked-step", step_old_velocity_masked, "Only the old velocity"),
    ("30/masked-step", step_of_the_pruned, "pruned ones move"),
    ("30/masked-step", step_without_memory, "not handed back"),
    ("30/masked-step", step_plain, "momentum is lost"),
    ("30/masked-step", step_by_what_is_zero, "not by weight != 0"),
    ("30/masked-step", step_in_place, "in place"),
    ("30/cubic", clipped(lambda t, s, f: s + t * (f - s)), "straight line"),
    ("30/cubic", clipped(lambda t, s, f: f - (f - s) * (1 - t) ** 2), "power is 2"),
    ("30/cubic", clipped(lambda t, s, f: f - f * (1 - t) ** 3), "start is missing"),
    ("30/cubic", clipped(lambda t, s, f: f - (f - s) * t**3), "backwards"),
    ("30/cubic", clipped(lambda t, s, f: s + (f - s) * t**3), "slowly first"),
    ("30/cubic", clipped(lambda t, s, f: s - (s - f) * (1 - t) ** 3), "swapped"),
    ("30/cubic", lambda progress, start, final: final - (final - start) * (1 - progress) ** 3, "runs on"),
    (
        "30/cubic",
        lambda progress, start, final: cubic_by_cases(progress, start, final) if progress < 1 else 0,
        "expected",
    ),
    ("30/cubic", lambda progress, start, final: cubic_by_cases(progress, 0.0, 0.9), "expected"),
    ("30/csr-bytes", sized(lambda r, c, n, i, v: r * c * v / 8 * (n / (r * c))), "dense bytes times the density"),
    ("30/csr-bytes", sized(lambda r, c, n, i, v: n * i + n * v + r * i + i), "a byte has 8"),
    ("30/csr-bytes", sized(lambda r, c, n, i, v: n * v // 8 + (r + 1) * i // 8), "column indices are missing"),
    ("30/csr-bytes", sized(lambda r, c, n, i, v: n * v // 8 + n * i // 8), "row pointers are missing"),
    ("30/csr-bytes", sized(lambda r, c, n, i, v: n * v // 8 + (n + r) * i // 8), "One row pointer"),
    ("30/csr-bytes", sized(lambda r, c, n, i, v: n * v // 8 + (n + c + 1) * i // 8), "not columns + 1"),
    ("30/csr-bytes", sized(lambda r, c, n, i, v: n * v // 8 + 2 * n * i // 8), "COO"),
    ("30/csr-bytes", sized(lambda r, c, n, i, v: n * v // 8 + (n + r + 1) * 4), "expected"),
    ("31/shrink-layers", layers(rows, rows, whole), "next layer's inputs are forgotten"),
    ("31/shrink-layers", layers(rows, whole, columns), "bias is forgotten"),
    ("31/shrink-layers", layers(columns, rows, columns), "columns of w1"),
    ("31/shrink-layers", layers(rows, rows, rows), "rows of w2"),
    ("31/shrink-layers", layers(columns, rows, rows), "are swapped"),
    ("31/shrink-layers", layers(other_rows, other_rows, other_columns), "the ones removed"),
    ("31/shrink-layers", layers(zeroed, zeroed, whole), "still there"),
    ("31/shrink-layers", layers(first_rows, first_rows, first_columns), "first neurons"),
    ("31/shrink-batch-norm", convs(scale=whole, running=whole), "Batch norm is forgotten"),
    ("31/shrink-batch-norm", convs(running=whole), "running statistics are forgotten"),
    ("31/shrink-batch-norm", convs(scale=whole), "Only the running statistics"),
    ("31/shrink-batch-norm", convs(following=rows), "second dimension"),
    ("31/shrink-batch-norm", convs(following=whole), "next convolution is forgotten"),
    ("31/shrink-batch-norm", convs(conv=columns), "first dimension"),
    ("31/shrink-batch-norm", convs(conv=columns, following=rows), "are swapped"),
    ("31/shrink-batch-norm", convs(other_rows, other_rows, other_rows, other_columns), "the ones removed"),
    ("31/shrink-batch-norm", convs(zeroed, zeroed, zeroed, whole), "still there"),
    ("31/shrink-batch-norm", convs(first_rows, first_rows, first_rows, first_columns), "first channels"),
    ("31/shrink-batch-norm", convs(running=first_rows), "expected"),
    ("31/flattened", inputs_channel_last, "channel came last"),
    ("31/flattened", inputs_channel_last_by_channel, "channel came last"),
    ("31/flattened", inputs_one_each, "one input for each channel"),
    ("31/flattened", inputs_first_each, "only the first input"),
    ("31/flattened", inputs_from_one, "One too far"),
    ("31/flattened", inputs_one_row, "one row of it"),
    ("31/flattened", inputs_overlapping, "overlap"),
    ("31/flattened", inputs_removed, "those that go"),
    ("31/flattened", inputs_interleaved, "another order"),
    ("31/flattened", inputs_column_by_column, "column by column"),
    ("31/flattened", inputs_mask, "This is a mask"),
    ("31/flattened", inputs_as_a_list, "expected a tensor"),
    ("31/two-of-four", zeroed_then_compared(pattern_by_sorting), "expected"),
    ("31/two-of-four", pattern_down, "go down the rows"),
    ("31/two-of-four", kept_of_four(score=torch.exp), "compare their abs()"),
    ("31/two-of-four", lambda weight: mask_by_topk(weight, 0.5), "whole matrix"),
    ("31/two-of-four", pattern_per_row, "Half of each row"),
    ("31/two-of-four", kept_of_four(number=1), "One of four"),
    ("31/two-of-four", kept_of_four(number=3), "Three of four"),
    ("31/two-of-four", kept_of_four(score=lambda w: -w.abs()), "two smallest"),
    ("31/two-of-four", pattern_sliding, "runs overlap"),
    ("31/two-of-four", pattern_far_apart, "0 to 3"),
    ("31/two-of-four", pattern_above_the_second, "more than two stay"),
    ("31/two-of-four", lambda weight: pattern_by_ranks(weight).float(), "dtype=torch.bool"),
    ("31/speed-up", speed_up_by_macs, "counts MACs as time"),
    ("31/speed-up", speed_up_by_macs_upside_down, "counts MACs as time, and upside down"),
    ("31/speed-up", timed(lambda dense, pruned: np.median(pruned / dense)), "upside down"),
    ("31/speed-up", timed(lambda dense, pruned: dense.sum() / pruned.sum()), "ratio of means"),
    ("31/speed-up", timed(lambda dense, pruned: (dense / pruned).mean()), "mean of the ratios"),
    ("31/speed-up", timed(lambda dense, pruned: np.median(dense) / np.median(pruned)), "different rounds"),
    ("31/speed-up", timed(lambda dense, pruned: dense.min() / pruned.min()), "best times"),
    ("31/speed-up", timed(lambda dense, pruned: torch.tensor(dense / pruned).median()), "torch.median"),
    ("31/speed-up", timed(lambda dense, pruned: np.median(1 - pruned / dense)), "time that is saved"),
    ("31/speed-up", timed(lambda dense, pruned: np.median((dense - pruned) / pruned)), "do not subtract 1"),
    ("31/speed-up", speed_up_sorted, "in place"),
]

EXERCISES = {exercise.key: exercise for exercise in exercises.ALL}


def test_which_of_several_equal_weights_goes_is_free():
    def with_ties_the_other_way(weight, sparsity):
        return mask_by_python(weight.flip(0), sparsity).flip(0)

    def pattern_with_ties_the_other_way(weight):
        return pattern_by_ranks(weight.flip(1)).flip(1)

    weight = torch.ones(4, 4)
    assert not torch.equal(with_ties_the_other_way(weight, 0.5), mask_by_python(weight, 0.5))
    assert not torch.equal(pattern_with_ties_the_other_way(weight), pattern_by_ranks(weight))
    assert EXERCISES["30/magnitude-mask"].check(with_ties_the_other_way)
    assert EXERCISES["31/two-of-four"].check(pattern_with_ties_the_other_way)


def test_a_solved_answer_prunes_a_network_of_torch():
    """Conv, batch norm, ReLU, conv: the solution's small network answers as the whole one with zeroed channels."""
    torch.manual_seed(0)
    conv, norm, behind = (
        torch.nn.Conv2d(2, 5, 3, bias=False),
        torch.nn.BatchNorm2d(5),
        torch.nn.Conv2d(5, 3, 1, bias=False),
    )
    norm(conv(torch.randn(8, 2, 6, 6)))  # moves the running statistics
    keep, x = torch.tensor([True, False, True, True, False]), torch.randn(4, 2, 6, 6)
    parts = (conv.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var, behind.weight)
    small = EXERCISES["31/shrink-batch-norm"].solution(*parts, keep)
    hidden = F.batch_norm(F.conv2d(x, small[0]), small[3], small[4], small[1], small[2])
    dense = norm.eval()(conv(x)).relu() * keep[None, :, None, None]
    torch.testing.assert_close(F.conv2d(hidden.relu(), small[5]), behind(dense))
