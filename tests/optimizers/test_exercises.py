"""Checkers pass right answers and reject wrong ones, written here as a learner might, with the right sentence."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from compresslab.optimizers import exercises
from compresslab.tour import exercises as tour

# --- right answers that do not look like the solution


def momentum_in_other_words(param, grad, velocity, lr, momentum):
    new = grad + velocity.mul(momentum)
    return param.sub(new, alpha=lr), new


def rmsprop_in_other_words(param, grad, square, lr, alpha, eps):
    square = torch.lerp(grad**2, square, alpha)
    return param - grad * lr / (eps + torch.sqrt(square)), square


def adam_in_other_words(param, grad, mean, square, step, lr, beta1, beta2, eps):
    mean, square = mean.lerp(grad, 1 - beta1), square.lerp(grad**2, 1 - beta2)
    size = lr / (1 - beta1**step)
    return param - size * mean / (square.sqrt() / math.sqrt(1 - beta2**step) + eps), mean, square


def adamw_in_other_words(param, grad, mean, square, step, lr, beta1, beta2, eps, weight_decay):
    after, mean, square = adam_in_other_words(param, grad, mean, square, step, lr, beta1, beta2, eps)
    return after - lr * weight_decay * param, mean, square


def limit_in_other_words(curvatures, momentum):
    return (2 + 2 * momentum) / sorted(curvatures)[-1]


def schedule_in_other_words(step, total, warmup):
    if step >= warmup:
        return math.cos(math.pi / 2 * (step - warmup) / (total - warmup)) ** 2
    return step / warmup


def valley_in_other_words(lrs, losses, factor):
    logs = np.log10(np.array(lrs))[np.array(losses) <= factor * np.min(losses)]
    return np.ptp(logs)


def interval_in_other_words(values):
    return stats.sem(values) * stats.t.isf(0.025, len(values) - 1)


def line_in_other_words(x, y, lr, steps):
    weights = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.SGD([weights], lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        ((weights[0] * x + weights[1] - y) ** 2).mean().backward()
        optimizer.step()
    return weights[0].detach(), weights[1].detach()


def line_with_a_layer(x, y, lr, steps):
    layer = torch.nn.Linear(1, 1)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    optimizer = torch.optim.SGD(layer.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(layer(x[:, None])[:, 0], y).backward()
        optimizer.step()
    return layer.weight, layer.bias  # shapes (1, 1) and (1,), with a graph


def schedule_in_arrays(step, total, warmup):
    progress = (step - warmup) / (total - warmup)
    return np.where(step < warmup, step / warmup, (1 + np.cos(np.pi * progress)) / 2)


def schedule_in_float32(step, total, warmup):
    step = torch.tensor(float(step))
    falling = (1 + torch.cos(math.pi * (step - warmup) / (total - warmup))) / 2
    return torch.where(step < warmup, step / warmup, falling)


def valley_in_float32(lrs, losses, factor):
    lrs, losses = torch.tensor(lrs), torch.tensor(losses)
    good = lrs[losses <= factor * losses.min()]
    return torch.log10(good.max() / good.min())


def interval_in_float32(values):
    values = torch.tensor(values)
    return stats.t.ppf([0.975], len(values) - 1) * (values.std() / math.sqrt(len(values))).item()


def limit_in_an_array(curvatures, momentum):
    return 2 * (1 + np.array([momentum])) / np.max(curvatures)


RIGHT = {
    "10/momentum": [momentum_in_other_words],
    "10/rmsprop": [rmsprop_in_other_words],
    "10/adam": [adam_in_other_words],
    "10/adamw": [adamw_in_other_words],
    "10/stability": [limit_in_other_words, limit_in_an_array],
    "11/schedule": [schedule_in_other_words, schedule_in_arrays, schedule_in_float32],
    "11/valley": [valley_in_other_words, valley_in_float32],
    "11/interval": [interval_in_other_words, interval_in_float32],
    "11/mended-loop": [line_in_other_words, line_with_a_layer],
    "00/sparsity": [lambda weight: 1 - torch.count_nonzero(weight) / weight.numel()],
}


# --- wrong answers, and a few words of the sentence that must name each


def averaging_momentum(param, grad, velocity, lr, momentum):
    velocity = velocity * momentum + grad * (1 - momentum)
    return param - velocity * lr, velocity


def lagging_momentum(param, grad, velocity, lr, momentum):
    new_param = param - lr * velocity
    return new_param, momentum * velocity + grad


def momentum_without_memory(param, grad, velocity, lr, momentum):
    step = momentum * velocity + grad
    return param - lr * step, velocity


def momentum_uphill(param, grad, velocity, lr, momentum):
    velocity = momentum * velocity + grad
    return param + lr * velocity, velocity


def momentum_ahead(param, grad, velocity, lr, momentum):
    velocity = momentum * velocity + grad
    return param - lr * (momentum * velocity + grad), velocity


def momentum_one_value(param, grad, velocity, lr, momentum):
    return param - lr * (momentum * velocity + grad)


def momentum_in_place(param, grad, velocity, lr, momentum):
    velocity *= momentum
    velocity += grad
    return param - lr * velocity, velocity


def momentum_with_rate_inside(param, grad, velocity, lr, momentum):
    velocity = momentum * velocity - lr * grad  # Keras keeps the rate inside the velocity
    return param + velocity, velocity


def momentum_wrong_parameters(param, grad, lr):
    return param - lr * grad


def momentum_no_return(param, grad, velocity, lr, momentum):
    velocity = momentum * velocity + grad
    param = param - lr * velocity


def momentum_with_a_typo(param, grad, velocity, lr, momentum):
    velocity = momentum * velocty + grad  # noqa: F821
    return param - lr * velocity, velocity


def momentum_reshaped(param, grad, velocity, lr, momentum):
    velocity = momentum * velocity + grad
    return (param - lr * velocity).sum(), velocity


def rms_eps_in_root(param, grad, square, lr, alpha, eps):
    square = alpha * square + (1 - alpha) * grad**2
    return param - lr * grad / torch.sqrt(square + eps), square


def rms_rootless(param, grad, square, lr, alpha, eps):
    square = alpha * square + (1 - alpha) * grad**2
    return param - lr * grad / (square + eps), square


def rms_adagrad(param, grad, square, lr, alpha, eps):
    square = square + grad**2
    return param - lr * grad / (square**0.5 + eps), square


def rms_swapped(param, grad, square, lr, alpha, eps):
    square = (1 - alpha) * square + alpha * grad**2
    return param - lr * grad / (square**0.5 + eps), square


def adam_uncorrected(param, grad, mean, square, step, lr, beta1, beta2, eps):
    mean = beta1 * mean + (1 - beta1) * grad
    square = beta2 * square + (1 - beta2) * grad**2
    return param - lr * mean / (square**0.5 + eps), mean, square


def adam_eps_in_root(param, grad, mean, square, step, lr, beta1, beta2, eps):
    mean = beta1 * mean + (1 - beta1) * grad
    square = beta2 * square + (1 - beta2) * grad**2
    return param - lr * (mean / (1 - beta1**step)) / (square / (1 - beta2**step) + eps) ** 0.5, mean, square


def adam_half_corrected(param, grad, mean, square, step, lr, beta1, beta2, eps):
    mean = beta1 * mean + (1 - beta1) * grad
    square = beta2 * square + (1 - beta2) * grad**2
    return param - lr * mean / (1 - beta1**step) / (square**0.5 + eps), mean, square


def adam_returns_corrected(param, grad, mean, square, step, lr, beta1, beta2, eps):
    mean = (beta1 * mean + (1 - beta1) * grad) / (1 - beta1**step)
    square = (beta2 * square + (1 - beta2) * grad**2) / (1 - beta2**step)
    return param - lr * mean / (square**0.5 + eps), mean, square


def adam_off_by_one(param, grad, mean, square, step, lr, beta1, beta2, eps):
    return adam_in_other_words(param, grad, mean, square, step + 1, lr, beta1, beta2, eps)


def adamw_as_l2(param, grad, mean, square, step, lr, beta1, beta2, eps, weight_decay):
    return adam_in_other_words(param, grad + weight_decay * param, mean, square, step, lr, beta1, beta2, eps)


def adamw_without_rate(param, grad, mean, square, step, lr, beta1, beta2, eps, weight_decay):
    return adam_in_other_words(param - weight_decay * param, grad, mean, square, step, lr, beta1, beta2, eps)


def adamw_without_decay(param, grad, mean, square, step, lr, beta1, beta2, eps, weight_decay):
    return adam_in_other_words(param, grad, mean, square, step, lr, beta1, beta2, eps)


def adamw_last(param, grad, mean, square, step, lr, beta1, beta2, eps, weight_decay):
    after, mean, square = adam_in_other_words(param, grad, mean, square, step, lr, beta1, beta2, eps)
    return after - lr * weight_decay * after, mean, square


def cosine_from_zero(step, total, warmup):
    return step / warmup if step < warmup else 0.5 * (1 + math.cos(math.pi * step / total))


def cosine_too_long(step, total, warmup):
    return step / warmup if step < warmup else 0.5 * (1 + math.cos(math.pi * (step - warmup) / total))


def valley_in_nats(lrs, losses, factor):
    good = [r for r, loss in zip(lrs, losses) if loss / min(losses) <= factor]
    return math.log(max(good)) - math.log(min(good))


def valley_linear(lrs, losses, factor):
    good = [r for r, loss in zip(lrs, losses) if loss / min(losses) <= factor]
    return max(good) - min(good)


def interval_of_one_run(values):
    return stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1)


def interval_normal(values):
    return 1.96 * stats.sem(values)


def interval_biased(values):
    return stats.t.ppf(0.975, len(values) - 1) * np.std(values) / len(values) ** 0.5


def line_fresh(x, y, lr, steps):
    slope = offset = torch.tensor(0.0)
    for _ in range(steps):
        y = torch.randn_like(x)
        error = slope * x + offset - y
        slope, offset = slope - 2 * lr * (error * x).mean(), offset - 2 * lr * error.mean()
    return slope, offset


def momentum_the_other_way_round(param, grad, velocity, lr, momentum):
    velocity = momentum * velocity - grad
    return param - lr * velocity, velocity


def momentum_without_rate(param, grad, velocity, lr, momentum):
    velocity = momentum * velocity + grad
    return param - velocity, velocity


def momentum_on_the_gradient(param, grad, velocity, lr, momentum):
    velocity += momentum * grad
    return param - lr * velocity, velocity


def momentum_on_a_new_gradient(param, grad, velocity, lr, momentum):
    velocity = velocity + momentum * grad
    return param - lr * velocity, velocity


def momentum_of_09(param, grad, velocity, lr, momentum):
    velocity = 0.9 * velocity + grad
    return param - lr * velocity, velocity


def momentum_swapped(param, grad, velocity, lr, momentum):
    velocity = momentum * velocity + grad
    return velocity, param - lr * velocity


def momentum_with_a_velocity_outside():
    outside = torch.zeros(4, dtype=torch.float64)

    def momentum_step(param, grad, velocity, lr, momentum):
        nonlocal outside
        outside = momentum * outside + grad
        return param - lr * outside, outside

    return momentum_step


def momentum_with_a_caret(param, grad, velocity, lr, momentum):
    return param - lr * grad ^ 2, velocity


def rms_unsquared(param, grad, square, lr, alpha, eps):
    square = alpha * square + (1 - alpha) * grad
    return param - lr * grad / (torch.sqrt(square) + eps), square


def rms_unweighted(param, grad, square, lr, alpha, eps):
    square = alpha * square + grad**2
    return param - lr * grad / (torch.sqrt(square) + eps), square


def rms_without_brackets(param, grad, square, lr, alpha, eps):
    square = alpha * square + (1 - alpha) * grad**2
    return param - lr * grad / torch.sqrt(square) + eps, square


def rms_keeps_the_old(param, grad, square, lr, alpha, eps):
    new = alpha * square + (1 - alpha) * grad**2
    return param - lr * grad / (torch.sqrt(new) + eps), square


def rms_with_numbers(param, grad, square, lr, alpha, eps):
    square = 0.99 * square + 0.01 * grad**2
    return param - 0.01 * grad / (torch.sqrt(square) + 1e-8), square


def adam_keeps_the_old(param, grad, mean, square, step, lr, beta1, beta2, eps):
    return adam_in_other_words(param, grad, mean, square, step, lr, beta1, beta2, eps)[0], mean, square


def adam_without_brackets(param, grad, mean, square, step, lr, beta1, beta2, eps):
    mean = beta1 * mean + (1 - beta1) * grad
    square = beta2 * square + (1 - beta2) * grad**2
    return param - lr * (mean / (1 - beta1**step)) / (square / (1 - beta2**step)) ** 0.5 + eps, mean, square


def adam_rootless(param, grad, mean, square, step, lr, beta1, beta2, eps):
    mean = beta1 * mean + (1 - beta1) * grad
    square = beta2 * square + (1 - beta2) * grad**2
    return param - lr * (mean / (1 - beta1**step)) / (square / (1 - beta2**step) + eps), mean, square


def adam_along_grad(param, grad, mean, square, step, lr, beta1, beta2, eps):
    mean = beta1 * mean + (1 - beta1) * grad
    square = beta2 * square + (1 - beta2) * grad**2
    return param - lr * grad / ((square / (1 - beta2**step)) ** 0.5 + eps), mean, square


def adam_without_powers(param, grad, mean, square, step, lr, beta1, beta2, eps):
    mean = beta1 * mean + (1 - beta1) * grad
    square = beta2 * square + (1 - beta2) * grad**2
    return param - lr * mean / (1 - beta1) / ((square / (1 - beta2)) ** 0.5 + eps), mean, square


def adam_square_unweighted(param, grad, mean, square, step, lr, beta1, beta2, eps):
    mean = beta1 * mean + (1 - beta1) * grad
    square = beta2 * square + grad**2
    return param - lr * mean / (1 - beta1**step) / ((square / (1 - beta2**step)) ** 0.5 + eps), mean, square


def adam_with_numbers(param, grad, mean, square, step, lr, beta1, beta2, eps):
    return adam_in_other_words(param, grad, mean, square, step, 0.01, 0.9, 0.999, 1e-8)


def adam_swapped(param, grad, mean, square, step, lr, beta1, beta2, eps):
    param, mean, square = adam_in_other_words(param, grad, mean, square, step, lr, beta1, beta2, eps)
    return param, square, mean


def adamw_flat(param, grad, mean, square, step, lr, beta1, beta2, eps, weight_decay):
    return adam_in_other_words(param - lr * weight_decay, grad, mean, square, step, lr, beta1, beta2, eps)


def adamw_with_a_number(param, grad, mean, square, step, lr, beta1, beta2, eps, weight_decay):
    return adam_in_other_words(param * 0.995, grad, mean, square, step, lr, beta1, beta2, eps)


def adam_not_written(param, grad, mean, square, step, lr, beta1, beta2, eps):
    raise NotImplementedError("delete this line and write your own")


def adamw_too_early(param, grad, mean, square, step, lr, beta1, beta2, eps, weight_decay):
    return adam_not_written(param * (1 - lr * weight_decay), grad, mean, square, step, lr, beta1, beta2, eps)


def limit_sorted(curvatures, momentum):
    curvatures.sort()
    return 2 * (1 + momentum) / curvatures[-1]


def cosine_not_halved(step, total, warmup):
    return step / warmup if step < warmup else 1 + math.cos(math.pi * (step - warmup) / (total - warmup))


def cosine_without_rise(step, total, warmup):
    return 1 if step < warmup else schedule_in_other_words(step, total, warmup)


def cosine_to_the_last_step(step, total, warmup):
    return step / warmup if step < warmup else 0.5 + 0.5 * math.cos(math.pi * (step - warmup) / (total - 1 - warmup))


def cosine_of_60(step, total, warmup):
    return schedule_in_other_words(step, 60, warmup)


def cosine_never_done(step, total, warmup):
    return schedule_in_other_words(step, total, warmup) if step < total else 1.0


def good_rates(lrs, losses, factor):
    return [r for r, loss in zip(lrs, losses) if loss / min(losses) <= factor]


def valley_ratio(lrs, losses, factor):
    good = good_rates(lrs, losses, factor)
    return max(good) / min(good)


def valley_upside_down(lrs, losses, factor):
    good = good_rates(lrs, losses, factor)
    return math.log10(min(good)) - math.log10(max(good))


def valley_in_order(lrs, losses, factor):
    good = good_rates(lrs, losses, factor)
    return math.log10(good[-1] / good[0])


def valley_too_strict(lrs, losses, factor):
    good = [r for r, loss in zip(lrs, losses) if loss < factor * min(losses)]
    return math.log10(max(good) / min(good))


def valley_in_one_piece(lrs, losses, factor):
    low = high = losses.index(min(losses))
    while low > 0 and losses[low - 1] <= factor * min(losses):
        low -= 1
    while high + 1 < len(losses) and losses[high + 1] <= factor * min(losses):
        high += 1
    return abs(math.log10(lrs[high] / lrs[low]))


def interval_whole(values):
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    return high - low


def interval_by_n(values):
    return stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values)


def interval_of_variance(values):
    return stats.t.ppf(0.975, len(values) - 1) * np.var(values, ddof=1) / len(values) ** 0.5


def interval_of_the_normal(values):
    return stats.norm.ppf(0.975) * np.std(values, ddof=1) / len(values) ** 0.5


def line_by_least_squares(x, y, lr, steps):
    return tuple(np.polyfit(x.numpy(), y.numpy(), 1))


def line_with_numbers(x, y, lr, steps):
    return line_in_other_words(x, y, 0.1, 300)


def line_with_half_the_gradient(x, y, lr, steps):
    slope = offset = 0.0
    for _ in range(steps):
        error = slope * x + offset - y
        slope, offset = slope - lr * (error * x).mean(), offset - lr * error.mean()
    return slope, offset


def line_in_turn(x, y, lr, steps):
    slope = offset = 0.0
    for _ in range(steps):
        slope = slope - 2 * lr * ((slope * x + offset - y) * x).mean()
        offset = offset - 2 * lr * (slope * x + offset - y).mean()
    return slope, offset


def line_running_away(x, y, lr, steps):
    slope = offset = 0.0
    for _ in range(steps):
        error = y - (slope * x + offset)
        slope, offset = slope - 2 * lr * (error * x).mean(), offset - 2 * lr * error.mean()
    return slope, offset


def line_of_squares(x, y, lr, steps):
    """Ends in NaN, as does the sum over the points; it must not be taken for that."""
    slope = offset = torch.tensor(0.0)
    for _ in range(steps):
        error = (slope * x + offset - y) ** 2
        slope, offset = slope - 2 * lr * (error * x).mean(), offset - 2 * lr * error.mean()
    return slope, offset


WRONG = [
    ("10/momentum", averaging_momentum, "weighted with (1 − momentum)"),
    ("10/momentum", lagging_momentum, "uses the old velocity"),
    ("10/momentum", momentum_without_memory, "plain gradient descent"),
    ("10/momentum", momentum_uphill, "goes uphill"),
    ("10/momentum", momentum_the_other_way_round, "goes uphill"),
    ("10/momentum", momentum_without_rate, "learning rate is missing"),
    ("10/momentum", momentum_on_a_new_gradient, "momentum multiplies the gradient"),
    ("10/momentum", momentum_on_the_gradient, "changed its argument velocity in place"),
    ("10/momentum", momentum_of_09, "Call 122: result[0][0] is "),
    ("10/momentum", momentum_swapped, "in another order"),
    ("10/momentum", momentum_with_a_velocity_outside(), "Call 121: result[0][0] is "),
    ("10/momentum", momentum_with_a_caret, "^ is not a power"),
    ("10/momentum", momentum_ahead, "Nesterov"),
    ("10/momentum", momentum_one_value, "expected 2 values"),
    ("10/momentum", momentum_in_place, "changed its argument velocity in place"),
    ("10/momentum", momentum_with_rate_inside, "inside the velocity"),
    ("10/momentum", momentum_wrong_parameters, "lacks velocity, momentum"),
    ("10/momentum", momentum_no_return, "returned None"),
    ("10/momentum", momentum_with_a_typo, "NameError: name 'velocty' is not defined"),
    ("10/momentum", momentum_reshaped, "shape (), expected (4,)"),
    ("10/momentum", "momentum_step", "needs the function itself, got str"),
    ("10/rmsprop", rms_eps_in_root, "eps stands inside the square root"),
    ("10/rmsprop", rms_rootless, "square root is missing"),
    ("10/rmsprop", rms_adagrad, "as AdaGrad does"),
    ("10/rmsprop", rms_swapped, "swapped"),
    ("10/rmsprop", rms_unsquared, "not squared"),
    ("10/rmsprop", rms_unweighted, "adds the whole g²"),
    ("10/rmsprop", rms_without_brackets, "Brackets are missing"),
    ("10/rmsprop", rms_keeps_the_old, "not handed back"),
    ("10/rmsprop", rms_with_numbers, "Call 121: result[0][0] is "),
    ("10/adam", adam_uncorrected, "bias correction is missing"),
    ("10/adam", adam_eps_in_root, "eps stands inside the square root"),
    ("10/adam", adam_half_corrected, "correct the square too"),
    ("10/adam", adam_returns_corrected, "corrected again at the next step"),
    ("10/adam", adam_off_by_one, "one step too many"),
    ("10/adam", adam_keeps_the_old, "not handed back"),
    ("10/adam", adam_without_brackets, "Brackets are missing"),
    ("10/adam", adam_rootless, "square root is missing"),
    ("10/adam", adam_along_grad, "moves along grad"),
    ("10/adam", adam_without_powers, "same at every step"),
    ("10/adam", adam_square_unweighted, "adds the whole g²"),
    ("10/adam", adam_with_numbers, "Call 121: result[0][0] is "),
    ("10/adam", adam_swapped, "in another order"),
    ("10/adamw", adamw_as_l2, "This is L2"),
    ("10/adamw", adamw_without_rate, "lacks the learning rate"),
    ("10/adamw", adamw_without_decay, "no weight decay"),
    ("10/adamw", adamw_last, "comes after the Adam step"),
    ("10/adamw", adamw_flat, "taken from every weight"),
    ("10/adamw", adamw_with_a_number, "Call 121: result[0][0] is "),
    ("10/adamw", adamw_too_early, "adam_not_written, which you call here, is not written yet."),
    ("10/stability", lambda curvatures, momentum: 2 * (1 + momentum) / min(curvatures), "flattest direction"),
    ("10/stability", lambda curvatures, momentum: 2 / max(curvatures), "raises the limit"),
    ("10/stability", lambda curvatures, momentum: 2 * (1 - momentum) / max(curvatures), "does not lower it"),
    ("10/stability", lambda curvatures, momentum: 2 * 1 + momentum / max(curvatures), "Brackets are missing"),
    ("10/stability", limit_sorted, "curvatures in place: work on a copy, list(curvatures)"),
    ("11/schedule", cosine_from_zero, "count from its end"),
    ("11/schedule", cosine_too_long, "only total − warmup steps are left"),
    ("11/schedule", lambda step, total, warmup: 0.5 * (1 + math.cos(math.pi * step / total)), "no warm-up"),
    ("11/schedule", cosine_not_halved, "divide it by 2"),
    ("11/schedule", cosine_without_rise, "all through the warm-up"),
    ("11/schedule", cosine_to_the_last_step, "warmup_cosine(11, 60, 10) is 0.998973, expected 0.999013."),
    ("11/schedule", cosine_of_60, "warmup_cosine(11, 40, 10) is 0.999013, expected 0.997261."),
    ("11/schedule", cosine_never_done, "warmup_cosine(60, 60, 10) is 1, expected "),
    ("11/schedule", lambda step, total, warmup: step / (warmup - 1), "ZeroDivisionError in warmup_cosine(0, 60, 1): "),
    ("11/valley", valley_in_nats, "natural logarithm"),
    ("11/valley", valley_linear, "linear scale"),
    ("11/valley", valley_ratio, "ratio of highest and lowest"),
    ("11/valley", valley_upside_down, "width is negative"),
    ("11/valley", valley_in_order, "2.0) is -2, expected 2."),
    ("11/valley", valley_too_strict, "2.0) is 1, expected 1.52288."),
    ("11/valley", valley_in_one_piece, "2.0) is 1, expected 2."),
    ("11/interval", interval_of_one_run, "spread of single runs"),
    ("11/interval", interval_normal, "1.96 is for many runs"),
    ("11/interval", interval_biased, "use ddof=1"),
    ("11/interval", interval_whole, "whole width"),
    ("11/interval", interval_by_n, "by √n, not by n"),
    ("11/interval", interval_of_variance, "variance"),
    ("11/interval", interval_of_the_normal, "1.96 is for many runs"),
    ("11/mended-loop", line_fresh, "drawn afresh"),
    ("11/mended-loop", line_by_least_squares, "Call 2: result[0] is "),
    ("11/mended-loop", line_with_numbers, "Call 2: result[0] is "),
    ("11/mended-loop", line_with_half_the_gradient, "factor 2"),
    ("11/mended-loop", line_in_turn, "already sees the new slope"),
    ("11/mended-loop", line_running_away, "runs away"),
    ("11/mended-loop", line_of_squares, "result[0] is nan, expected 1.4952"),
    ("11/mended-loop", lambda x, y, lr, steps: line_in_other_words(x, y, lr, steps)[::-1], "in another order"),
    ("00/sparsity", lambda weight: weight.count_nonzero() / weight.numel(), "share of weights that are left"),
    ("00/sparsity", lambda weight: (weight == 0).sum(), "counts the zeros"),
    ("00/sparsity", lambda weight: (weight == 0).float().mean() * 100, "percentage"),
    ("00/sparsity", lambda weight: (weight.abs() < 1e-3).float().mean(), "Small is not zero"),
    ("00/sparsity", lambda weight: (weight == 0).sum() / len(weight), "number of rows"),
]

EXERCISES = {exercise.key: exercise for exercise in (*tour.ALL, *exercises.ALL)}


@pytest.mark.parametrize("kind", [float, np.float32, torch.tensor])
def test_a_number_may_come_from_python_numpy_or_torch(kind):
    assert EXERCISES["00/sparsity"].check(lambda weight: kind((weight == 0).float().mean().item()))
    assert EXERCISES["10/stability"].check(lambda curvatures, momentum: kind(2 * (1 + momentum) / max(curvatures)))


@pytest.mark.parametrize("key", ["10/stability", "11/valley", "11/interval"])
def test_an_answer_that_changes_the_lists_leaves_the_next_checks_as_they_were(key):
    seen = []

    def spoil(*lists):
        seen.append(repr(lists))
        for values in lists:
            if isinstance(values, list):
                values.append(values.pop(0))
        return 1.0

    exercise, known = EXERCISES[key], EXERCISES[key].mistakes[0]
    for _ in range(2):
        assert "in place: work on a copy" in exercise.check(spoil).sentence
    assert seen == seen[:1] * 2
    assert exercise.check(known.function).sentence == known.sentence
    assert exercise.check(RIGHT[key][0])


def test_the_learners_own_line_is_shown():
    report = EXERCISES["10/momentum"].check(momentum_with_a_typo)
    assert "velocity = momentum * velocty + grad" in report.code and "line" in report.code
