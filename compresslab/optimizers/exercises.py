"""The exercises of lessons 10 and 11: solutions, checks against torch and SciPy, and the mistakes worth naming."""

import math
from functools import partial

import numpy as np
import torch
from scipy import stats

from ..lesson import Exercise, Mistake
from .parity import torch_path

STEPS = 120
# Solution and torch do the same float64 operations in another order, on a problem that contracts: about 10 roundings of
# 2**-53 a step, so 120 steps stay below 2e-13. A mistake moves the path by 1e-6 or more.
CLOSE = dict(rtol=1e-10, atol=1e-10)
# Weights from -2 to 2, so that weight decay shows. Gradients down to 1e-7 at the end, so that the place of eps shows.
START = torch.tensor([2.0, -1.5, 1.0, -0.5], dtype=torch.float64)
CURVATURE = torch.tensor([10.0, 3.0, 0.3, 1e-7], dtype=torch.float64)


def _gradient(param):
    return CURVATURE * param


def _torch_path(make_optimizer):
    """The path (STEPS, 4) of a torch optimizer on the problem above."""
    return torch_path(make_optimizer, _gradient, START, STEPS)[1:]


# --- momentum


def momentum_step(param, grad, velocity, lr, momentum):
    velocity = momentum * velocity + grad
    return param - lr * velocity, velocity


def _halved(step, lr=0.02):
    """The learning rate of the momentum trial: halved midway, which tells two kinds of velocity apart."""
    return lr if step < STEPS // 2 else lr / 2


def _momentum_trial(fn):
    param, velocity, path = START.clone(), torch.zeros_like(START), []
    for step in range(STEPS):
        param, velocity = fn(param, _gradient(param), velocity, _halved(step), 0.9)
        path.append(param)
    return torch.stack(path)


def _momentum_expected():
    param, path = START.clone().requires_grad_(), []
    optimizer = torch.optim.SGD([param], lr=0.02, momentum=0.9)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = _halved(step)
        param.grad = _gradient(param.detach())
        optimizer.step()
        path.append(param.detach().clone())
    return torch.stack(path)


def _averaged(param, grad, velocity, lr, momentum):
    velocity = momentum * velocity + (1 - momentum) * grad
    return param - lr * velocity, velocity


def _old_velocity(param, grad, velocity, lr, momentum):
    return param - lr * velocity, momentum * velocity + grad


def _no_momentum(param, grad, velocity, lr, momentum):
    return param - lr * grad, velocity


def _nesterov(param, grad, velocity, lr, momentum):
    velocity = momentum * velocity + grad
    return param - lr * (grad + momentum * velocity), velocity


def _uphill(param, grad, velocity, lr, momentum):
    velocity = momentum * velocity + grad
    return param + lr * velocity, velocity


def _rate_inside(param, grad, velocity, lr, momentum):
    velocity = momentum * velocity + lr * grad
    return param - velocity, velocity


momentum = Exercise(
    key="10/momentum",
    title="Momentum",
    solution=momentum_step,
    trial=_momentum_trial,
    expected=_momentum_expected,
    mistakes=(
        Mistake("The gradient is weighted with (1 − momentum): that averages gradients and makes every step ten times "
                "shorter. torch adds the whole gradient: v ← μ·v + g.", _averaged),
        Mistake("The step uses the old velocity: update the velocity first, then move with the new one.", _old_velocity),
        Mistake("This is plain gradient descent: either the velocity is not used, or the new velocity is not handed back.",
                _no_momentum),
        Mistake("This is Nesterov's momentum, which looks one step ahead. Plain momentum moves by lr·v.", _nesterov),
        Mistake("The step goes uphill: subtract lr·v, do not add it.", _uphill),
        Mistake("The learning rate sits inside the velocity. That is the same as long as the rate stays; when it changes, the "
                "old velocity still moves at the old rate. Here lr multiplies the velocity in the step.", _rate_inside),
    ),
    hints=(
        "Two lines: first a new velocity from the old one and the gradient, then a new param from the new velocity.",
        "The velocity keeps the share `momentum` of its old value and adds the gradient.",
        "velocity = momentum * velocity + grad. Now move param by lr times that, downhill, and return both.",
    ),
    **CLOSE,
)  # fmt: skip


# --- RMSprop


def rmsprop_step(param, grad, square, lr, alpha, eps):
    square = alpha * square + (1 - alpha) * grad * grad
    return param - lr * grad / (square.sqrt() + eps), square


def _rmsprop_trial(fn):
    param, square, path = START.clone(), torch.zeros_like(START), []
    for _ in range(STEPS):
        param, square = fn(param, _gradient(param), square, 0.01, 0.99, 1e-8)
        path.append(param)
    return torch.stack(path)


def _rms_eps_inside(param, grad, square, lr, alpha, eps):
    square = alpha * square + (1 - alpha) * grad * grad
    return param - lr * grad / (square + eps).sqrt(), square


def _rms_no_root(param, grad, square, lr, alpha, eps):
    square = alpha * square + (1 - alpha) * grad * grad
    return param - lr * grad / (square + eps), square


def _rms_sum(param, grad, square, lr, alpha, eps):
    square = square + grad * grad
    return param - lr * grad / (square.sqrt() + eps), square


def _rms_swapped(param, grad, square, lr, alpha, eps):
    square = (1 - alpha) * square + alpha * grad * grad
    return param - lr * grad / (square.sqrt() + eps), square


def _rms_not_squared(param, grad, square, lr, alpha, eps):
    square = alpha * square + (1 - alpha) * grad.abs()
    return param - lr * grad / (square.sqrt() + eps), square


def _rms_old_square(param, grad, square, lr, alpha, eps):
    return param - lr * grad / (square.sqrt() + eps), alpha * square + (1 - alpha) * grad * grad


rmsprop = Exercise(
    key="10/rmsprop",
    title="RMSprop",
    solution=rmsprop_step,
    trial=_rmsprop_trial,
    expected=lambda: _torch_path(partial(torch.optim.RMSprop, lr=0.01, alpha=0.99, eps=1e-8)),
    mistakes=(
        Mistake("eps stands inside the square root: that makes it √eps, ten thousand times larger. Take the root first, "
                "then add eps.", _rms_eps_inside),
        Mistake("The square root is missing: dividing by the mean square makes small gradients take huge steps.", _rms_no_root),
        Mistake("The squares are summed up, as AdaGrad does, so the steps shrink for ever. RMSprop forgets: "
                "square ← alpha·square + (1 − alpha)·g².", _rms_sum),
        Mistake("alpha and 1 − alpha are swapped: alpha = 0.99 is the share of the old average that is kept.", _rms_swapped),
        Mistake("The gradient is not squared before it is averaged.", _rms_not_squared),
        Mistake("The step divides by the old average: update square first.", _rms_old_square),
    ),
    hints=(
        "Keep a moving average of the squared gradient. Divide the gradient by its root.",
        "A moving average keeps the share alpha of the old value and takes 1 − alpha of the new one.",
        "square = alpha * square + (1 - alpha) * grad**2; the denominator is square.sqrt() + eps.",
    ),
    **CLOSE,
)  # fmt: skip


# --- Adam and AdamW


def adam_step(param, grad, mean, square, step, lr, beta1, beta2, eps):
    mean = beta1 * mean + (1 - beta1) * grad
    square = beta2 * square + (1 - beta2) * grad * grad
    mean_hat = mean / (1 - beta1**step)
    square_hat = square / (1 - beta2**step)
    return param - lr * mean_hat / (square_hat.sqrt() + eps), mean, square


def _adam_trial(fn):
    param, mean, square, path = START.clone(), torch.zeros_like(START), torch.zeros_like(START), []
    for step in range(1, STEPS + 1):
        param, mean, square = fn(param, _gradient(param), mean, square, step, 0.01, 0.9, 0.999, 1e-8)
        path.append(param)
    return torch.stack(path)


def _adam_variant(correct_mean=True, correct_square=True, eps_inside=False, own_beta=True, late=0, weighted=True):
    """Adam with one thing wrong."""

    def adam_step(param, grad, mean, square, step, lr, beta1, beta2, eps):
        mean = beta1 * mean + ((1 - beta1) if weighted else 1.0) * grad
        b = beta2 if own_beta else beta1
        square = b * square + (1 - b) * grad * grad
        mean_hat = mean / (1 - beta1 ** (step + late)) if correct_mean else mean
        square_hat = square / (1 - b ** (step + late)) if correct_square else square
        root = (square_hat + eps).sqrt() if eps_inside else square_hat.sqrt() + eps
        return param - lr * mean_hat / root, mean, square

    return adam_step


def _adam_corrected_state(param, grad, mean, square, step, lr, beta1, beta2, eps):
    mean = (beta1 * mean + (1 - beta1) * grad) / (1 - beta1**step)
    square = (beta2 * square + (1 - beta2) * grad * grad) / (1 - beta2**step)
    return param - lr * mean / (square.sqrt() + eps), mean, square


adam = Exercise(
    key="10/adam",
    title="Adam",
    solution=adam_step,
    trial=_adam_trial,
    expected=lambda: _torch_path(partial(torch.optim.Adam, lr=0.01)),
    mistakes=(
        Mistake("The bias correction is missing: mean and square start at zero, so divide the first by 1 − beta1**step and "
                "the second by 1 − beta2**step.", _adam_variant(correct_mean=False, correct_square=False)),
        Mistake("Only the square is corrected for its start at zero; correct the mean too.", _adam_variant(correct_mean=False)),
        Mistake("Only the mean is corrected for its start at zero; correct the square too.", _adam_variant(correct_square=False)),
        Mistake("eps stands inside the square root: that makes it √eps, ten thousand times larger. Take the root first, "
                "then add eps.", _adam_variant(eps_inside=True)),
        Mistake("The square is averaged with beta1; it has its own, slower beta2.", _adam_variant(own_beta=False)),
        Mistake("The correction counts one step too many: step is already 1 at the first call.", _adam_variant(late=1)),
        Mistake("The mean adds the whole gradient. In Adam it is an average: weight the gradient with 1 − beta1.",
                _adam_variant(weighted=False)),
        Mistake("The corrected values are handed back as the new mean and square, so they are corrected again at the next "
                "step. Keep the raw averages; use the corrected ones only in the step.", _adam_corrected_state),
    ),
    hints=(
        "Two moving averages: of the gradient (beta1) and of its square (beta2). They start at zero, so early on both are too small.",
        "Divide each by 1 − beta**step. Use these corrected values in the step, but return the averages themselves.",
        "param - lr * mean_hat / (square_hat.sqrt() + eps), with mean_hat = mean / (1 - beta1**step).",
    ),
    **CLOSE,
)  # fmt: skip


def adamw_step(param, grad, mean, square, step, lr, beta1, beta2, eps, weight_decay):
    param = param * (1 - lr * weight_decay)
    return adam_step(param, grad, mean, square, step, lr, beta1, beta2, eps)


def _adamw_trial(fn):
    return _adam_trial(lambda *args: fn(*args, 0.5))


def _l2(param, grad, mean, square, step, lr, beta1, beta2, eps, weight_decay):
    return adam_step(param, grad + weight_decay * param, mean, square, step, lr, beta1, beta2, eps)


def _decay_without_lr(param, grad, mean, square, step, lr, beta1, beta2, eps, weight_decay):
    return adam_step(param * (1 - weight_decay), grad, mean, square, step, lr, beta1, beta2, eps)


def _decay_forgotten(param, grad, mean, square, step, lr, beta1, beta2, eps, weight_decay):
    return adam_step(param, grad, mean, square, step, lr, beta1, beta2, eps)


def _decay_grows(param, grad, mean, square, step, lr, beta1, beta2, eps, weight_decay):
    return adam_step(param * (1 + lr * weight_decay), grad, mean, square, step, lr, beta1, beta2, eps)


def _decay_afterwards(param, grad, mean, square, step, lr, beta1, beta2, eps, weight_decay):
    param, mean, square = adam_step(param, grad, mean, square, step, lr, beta1, beta2, eps)
    return param * (1 - lr * weight_decay), mean, square


adamw = Exercise(
    key="10/adamw",
    title="AdamW",
    solution=adamw_step,
    trial=_adamw_trial,
    expected=lambda: _torch_path(partial(torch.optim.AdamW, lr=0.01, weight_decay=0.5)),
    mistakes=(
        Mistake("This is L2: the decay goes through the gradient, so Adam divides it by the gradient's scale. Decoupled decay "
                "shrinks param itself, by lr·weight_decay.", _l2),
        Mistake("The decay lacks the learning rate: AdamW shrinks param by lr·weight_decay.", _decay_without_lr),
        Mistake("There is no weight decay in this step: it is plain Adam.", _decay_forgotten),
        Mistake("The weights grow: multiply by 1 − lr·weight_decay.", _decay_grows),
        Mistake("The decay comes after the Adam step, so it shrinks the step too; torch shrinks param first.", _decay_afterwards),
    ),
    hints=(
        "Shrink param a little, then take one ordinary Adam step from there. The gradient stays as it was given.",
        "A little means: multiply by 1 − lr * weight_decay.",
        "You may call your own adam_step for the second half.",
    ),
    **CLOSE,
)  # fmt: skip


# --- the stability limit


def largest_lr(curvatures, momentum):
    return 2 * (1 + momentum) / max(curvatures)


_BOWLS = [([1.0, 10.0], 0.0), ([4.0], 0.5), ([0.1, 3.0, 50.0], 0.9), ([7.0, 2.0], 0.99)]


def _limit_trial(fn):
    return torch.stack([torch.as_tensor(fn(curvatures, mu), dtype=torch.float64) for curvatures, mu in _BOWLS])


def _limit_measured():
    """Where the spectral radius of momentum's update matrix passes 1, found by bisection for each curvature."""

    def radius(lr, lam, mu):
        return np.abs(np.linalg.eigvals([[1 + mu - lr * lam, -mu], [1.0, 0.0]])).max()

    limits = []
    for curvatures, mu in _BOWLS:
        low, high = 0.0, 10 / min(curvatures)
        for _ in range(100):
            middle = (low + high) / 2
            stable = all(radius(middle, lam, mu) <= 1 + 1e-12 for lam in curvatures)
            low, high = (middle, high) if stable else (low, middle)
        limits.append(low)
    return torch.tensor(limits, dtype=torch.float64)


stability = Exercise(
    key="10/stability",
    title="The largest learning rate",
    solution=largest_lr,
    trial=_limit_trial,
    expected=_limit_measured,
    mistakes=(
        Mistake("The flattest direction does not set the limit: the steepest one, max(curvatures), explodes first.",
                lambda curvatures, momentum: 2 * (1 + momentum) / min(curvatures)),
        Mistake("Momentum raises the limit: multiply by 1 + momentum.", lambda curvatures, momentum: 2 / max(curvatures)),
        Mistake("Momentum raises the limit here, it does not lower it: 1 + momentum, not 1 − momentum.",
                lambda curvatures, momentum: 2 * (1 - momentum) / max(curvatures)),
        Mistake("1 + momentum multiplies, it does not divide: momentum allows larger rates.",
                lambda curvatures, momentum: 2 / (max(curvatures) * (1 + momentum))),
        Mistake("A factor 2 is missing: 1/λ lands exactly in the minimum; up to 2/λ it still comes closer.",
                lambda curvatures, momentum: (1 + momentum) / max(curvatures)),
    ),
    hints=(
        "Which of the directions explodes first: the flattest or the steepest?",
        "Without momentum, a step multiplies x by 1 − lr·λ. It shrinks as long as that stays above −1.",
        "With momentum the limit grows by the factor 1 + momentum.",
    ),
    rtol=1e-6, atol=0.0,  # the eigenvalue test allows 1e-12 in the radius; near a double root that is 1e-6 in lr
)  # fmt: skip


# --- lesson 11


def warmup_cosine(step, total, warmup):
    if step < warmup:
        return step / warmup
    return (1 + math.cos(math.pi * (step - warmup) / (total - warmup))) / 2


def _schedule_trial(fn):
    return torch.tensor([[fn(step, 60, warmup) for step in range(60)] for warmup in (10, 1, 25)], dtype=torch.float64)


def _torch_schedules():
    """The same from torch: LinearLR then CosineAnnealingLR. LinearLR cannot start at 0, so its start is 1e-12."""
    rows = []
    for warmup in (10, 1, 25):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        parts = [
            torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1e-12, total_iters=warmup),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=60 - warmup),
        ]
        scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, parts, milestones=[warmup])
        row = []
        for _ in range(60):
            row.append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
        rows.append(row)
    return torch.tensor(rows, dtype=torch.float64)


schedule = Exercise(
    key="11/schedule",
    title="Warm-up and cosine",
    solution=warmup_cosine,
    trial=_schedule_trial,
    expected=_torch_schedules,
    mistakes=(
        Mistake("The cosine starts at step 0, so it has already fallen when the warm-up ends: count from the end of the warm-up, "
                "step − warmup.", lambda step, total, warmup: step / warmup if step < warmup
                else (1 + math.cos(math.pi * step / total)) / 2),
        Mistake("The cosine must reach 0 at `total`: after the warm-up only total − warmup steps are left.",
                lambda step, total, warmup: step / warmup if step < warmup
                else (1 + math.cos(math.pi * (step - warmup) / total)) / 2),
        Mistake("There is no warm-up: before step `warmup` the factor rises in a straight line from 0 to 1.",
                lambda step, total, warmup: (1 + math.cos(math.pi * step / total)) / 2),
        Mistake("The cosine goes from 1 to −1: a learning rate cannot be negative. Halve 1 + cos.",
                lambda step, total, warmup: step / warmup if step < warmup
                else math.cos(math.pi * (step - warmup) / (total - warmup))),
        Mistake("After the warm-up the rate falls in a straight line; a half cosine wave was asked for.",
                lambda step, total, warmup: step / warmup if step < warmup else 1 - (step - warmup) / (total - warmup)),
        Mistake("The first step is counted as 1: at step 0 the factor is 0, and it is 1 at step `warmup`.",
                lambda step, total, warmup: (step + 1) / warmup if step < warmup
                else (1 + math.cos(math.pi * (step - warmup) / (total - warmup))) / 2),
    ),
    hints=(
        "Two cases: before step `warmup` a straight line, after it a half cosine wave.",
        "How far along the cosine are we? (step − warmup) / (total − warmup) goes from 0 to 1.",
        "(1 + math.cos(math.pi * progress)) / 2 goes from 1 down to 0.",
    ),
    rtol=0, atol=1e-9,  # 60 recursive multiplications in torch, and its start at 1e-12 instead of 0
)  # fmt: skip


def valley_width(lrs, losses, factor):
    good = [lr for lr, loss in zip(lrs, losses) if loss <= factor * min(losses)]
    return math.log10(max(good) / min(good))


_VALLEYS = [
    ([1e-3, 1e-2, 1e-1, 1.0], [0.9, 0.2, 0.3, math.inf], 2.0),
    ([1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0], [2.3, 0.5, 0.35, 0.3, 0.55, math.inf], 2.0),
    ([0.01, 0.02, 0.04, 0.08], [1.0, 0.9, 0.6, 2.0], 1.4),
]


def _valley_by_force():
    """Every pair of good rates, compared; the widest pair counts."""
    widths = []
    for lrs, losses, factor in _VALLEYS:
        lrs, losses = np.array(lrs), np.array(losses)
        good = np.log10(lrs[losses <= factor * losses.min()])
        widths.append(np.abs(good[:, None] - good[None]).max())
    return torch.tensor(widths, dtype=torch.float64)


valley = Exercise(
    key="11/valley",
    title="Width of the good valley",
    solution=valley_width,
    trial=lambda fn: torch.tensor([fn(*valley) for valley in _VALLEYS], dtype=torch.float64),
    expected=_valley_by_force,
    mistakes=(
        Mistake("This is the width on a linear scale; learning rates work by factors: take the logarithm of highest / lowest.",
                lambda lrs, losses, factor: max(g := [r for r, v in zip(lrs, losses) if v <= factor * min(losses)]) - min(g)),
        Mistake("This is the natural logarithm; a decade is a factor of ten: use log10.",
                lambda lrs, losses, factor: math.log(max(g := [r for r, v in zip(lrs, losses) if v <= factor * min(losses)]) / min(g))),
        Mistake("Good means at most `factor` times the best loss, not at most `factor`.",
                lambda lrs, losses, factor: math.log10(max(g := [r for r, v in zip(lrs, losses) if v <= factor]) / min(g))),
        Mistake("Good means at most `factor` times the best loss; here `factor` is added to it.",
                lambda lrs, losses, factor: math.log10(
                    max(g := [r for r, v in zip(lrs, losses) if v <= factor + min(losses)]) / min(g))),
        Mistake("This counts the good rates; the width is the distance from the lowest to the highest.",
                lambda lrs, losses, factor: float(sum(v <= factor * min(losses) for v in losses))),
    ),
    hints=(
        "First find the best loss. Which rates have a loss of at most `factor` times that?",
        "One decade is a factor of ten: the width is a logarithm to base ten.",
        "math.log10(max(good) / min(good)), where good is the list of good rates.",
    ),
    rtol=1e-12, atol=1e-12,  # one logarithm and one division in float64
)  # fmt: skip


def half_interval(values):
    n = len(values)
    return stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / math.sqrt(n)


_SAMPLES = [[96.1, 95.8, 96.9, 96.4, 95.5], [0.31, 0.29, 0.35], [10.0, 12.0, 11.0, 9.0, 14.0, 10.5, 11.5, 12.5]]


def _scipy_interval():
    return torch.tensor(
        [np.mean(v) - stats.ttest_1samp(v, 0).confidence_interval(0.95).low for v in _SAMPLES], dtype=torch.float64
    )


interval = Exercise(
    key="11/interval",
    title="Plus or minus what?",
    solution=half_interval,
    trial=lambda fn: torch.tensor([float(fn(values)) for values in _SAMPLES], dtype=torch.float64),
    expected=_scipy_interval,
    mistakes=(
        Mistake("This is the spread of single runs; the mean of n runs is steadier by √n: divide by math.sqrt(len(values)).",
                lambda values: stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1)),
        Mistake("1.96 is for many runs. With a handful the factor is larger: stats.t.ppf(0.975, n − 1).",
                lambda values: 1.96 * np.std(values, ddof=1) / math.sqrt(len(values))),
        Mistake("np.std divides by n unless told otherwise, and so comes out too small for a few runs: use ddof=1.",
                lambda values: stats.t.ppf(0.975, len(values) - 1) * np.std(values) / math.sqrt(len(values))),
        Mistake("0.95 leaves 5 % on one side. A 95 % interval leaves 2.5 % on each side: use 0.975.",
                lambda values: stats.t.ppf(0.95, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))),
        Mistake("n values have n − 1 degrees of freedom.",
                lambda values: stats.t.ppf(0.975, len(values)) * np.std(values, ddof=1) / math.sqrt(len(values))),
        Mistake("This is the standard error; the interval reaches t times as far on each side.",
                lambda values: np.std(values, ddof=1) / math.sqrt(len(values))),
    ),
    hints=(
        "Three factors: how far the runs scatter, how much averaging steadies, and how sure we want to be.",
        "Scatter: np.std(values, ddof=1). Averaging: divide by √n. Sureness: stats.t.ppf(0.975, n - 1).",
        "stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / math.sqrt(n)",
    ),
    rtol=1e-9, atol=0.0,  # SciPy's quantile is solved to about 1e-12
)  # fmt: skip


def fit_line(x, y, lr, steps):
    slope, offset = torch.zeros(()), torch.zeros(())
    for _ in range(steps):
        error = slope * x + offset - y
        slope, offset = slope - lr * 2 * (error * x).mean(), offset - lr * 2 * error.mean()
    return slope, offset


def _line_data():
    generator = torch.Generator().manual_seed(7)
    x = torch.linspace(-2, 2, 64)
    return x, 1.5 * x - 0.5 + 0.3 * torch.randn(64, generator=generator)


def _line_trial(fn):
    return torch.stack([torch.as_tensor(number, dtype=torch.float32) for number in fn(*_line_data(), 0.1, 300)])


def _least_squares():
    x, y = (t.double().numpy() for t in _line_data())
    return torch.tensor(np.polyfit(x, y, 1), dtype=torch.float32)


def _fresh_targets(x, y, lr, steps):
    slope, offset = torch.zeros(()), torch.zeros(())
    for _ in range(steps):
        error = slope * x + offset - torch.randn(x.shape)
        slope, offset = slope - lr * 2 * (error * x).mean(), offset - lr * 2 * error.mean()
    return slope, offset


def _no_offset(x, y, lr, steps):
    slope = torch.zeros(())
    for _ in range(steps):
        slope = slope - lr * 2 * ((slope * x - y) * x).mean()
    return slope, torch.zeros(())


def _summed(x, y, lr, steps):
    slope, offset = torch.zeros(()), torch.zeros(())
    for _ in range(steps):
        error = slope * x + offset - y
        slope, offset = slope - lr * 2 * (error * x).sum(), offset - lr * 2 * error.sum()
    return slope, offset


def _one_step(x, y, lr, steps):
    return fit_line(x, y, lr, 1)


mended = Exercise(
    key="11/mended-loop",
    title="Mend the loop",
    solution=fit_line,
    trial=_line_trial,
    expected=_least_squares,
    mistakes=(
        Mistake("The targets are still drawn afresh at each step: compare with the y that you were given.", _fresh_targets),
        Mistake("The offset never moves: it needs its own gradient, 2·mean(error).", _no_offset),
        Mistake("The gradient is a sum over the points, 64 times too large for this learning rate: take the mean.", _summed),
        Mistake("Only one step was taken: repeat `steps` times.", _one_step),
    ),
    hints=(
        "Nothing may be drawn inside the loop: the data are x and y, and they stay as they are.",
        "error = slope * x + offset - y. The gradient of mean(error²) is 2·mean(error·x) for the slope and 2·mean(error) for the offset.",
        "Update both from the same error, then go on.",
    ),
    rtol=0, atol=1e-5,  # float32: values of size 1.5, rounding 2**-24 each of a few operations near the fixed point
)  # fmt: skip

ALL = (momentum, rmsprop, adam, adamw, stability, schedule, valley, interval, mended)
