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


RIGHT = {
    "10/momentum": momentum_in_other_words,
    "10/rmsprop": rmsprop_in_other_words,
    "10/adam": adam_in_other_words,
    "10/adamw": adamw_in_other_words,
    "10/stability": limit_in_other_words,
    "11/schedule": schedule_in_other_words,
    "11/valley": valley_in_other_words,
    "11/interval": interval_in_other_words,
    "11/mended-loop": line_in_other_words,
    "00/sparsity": lambda weight: 1 - torch.count_nonzero(weight) / weight.numel(),
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


WRONG = [
    ("10/momentum", averaging_momentum, "weighted with (1 − momentum)"),
    ("10/momentum", lagging_momentum, "uses the old velocity"),
    ("10/momentum", momentum_without_memory, "plain gradient descent"),
    ("10/momentum", momentum_uphill, "goes uphill"),
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
    ("10/adam", adam_uncorrected, "bias correction is missing"),
    ("10/adam", adam_eps_in_root, "eps stands inside the square root"),
    ("10/adam", adam_half_corrected, "correct the square too"),
    ("10/adam", adam_returns_corrected, "corrected again at the next step"),
    ("10/adam", adam_off_by_one, "one step too many"),
    ("10/adamw", adamw_as_l2, "This is L2"),
    ("10/adamw", adamw_without_rate, "lacks the learning rate"),
    ("10/adamw", adamw_without_decay, "no weight decay"),
    ("10/adamw", adamw_last, "comes after the Adam step"),
    ("10/stability", lambda curvatures, momentum: 2 * (1 + momentum) / min(curvatures), "flattest direction"),
    ("10/stability", lambda curvatures, momentum: 2 / max(curvatures), "raises the limit"),
    ("10/stability", lambda curvatures, momentum: 2 * (1 - momentum) / max(curvatures), "does not lower it"),
    ("11/schedule", cosine_from_zero, "count from the end of the warm-up"),
    ("11/schedule", cosine_too_long, "only total − warmup steps are left"),
    ("11/schedule", lambda step, total, warmup: 0.5 * (1 + math.cos(math.pi * step / total)), "no warm-up"),
    ("11/valley", valley_in_nats, "natural logarithm"),
    ("11/valley", valley_linear, "linear scale"),
    ("11/interval", interval_of_one_run, "spread of single runs"),
    ("11/interval", interval_normal, "1.96 is for many runs"),
    ("11/interval", interval_biased, "use ddof=1"),
    ("11/mended-loop", line_fresh, "drawn afresh"),
    ("00/sparsity", lambda weight: weight.count_nonzero() / weight.numel(), "share of weights that are left"),
    ("00/sparsity", lambda weight: (weight == 0).sum(), "counts the zeros"),
    ("00/sparsity", lambda weight: (weight == 0).float().mean() * 100, "percentage"),
]

EXERCISES = {exercise.key: exercise for exercise in (*tour.ALL, *exercises.ALL)}


@pytest.mark.parametrize("key", EXERCISES)
def test_solution_and_another_right_answer_pass(key):
    for answer in (EXERCISES[key].solution, RIGHT[key]):
        report = EXERCISES[key].check(answer)
        assert report, report.sentence


@pytest.mark.parametrize("kind", [float, np.float32, torch.tensor])
def test_a_number_may_come_from_python_numpy_or_torch(kind):
    assert EXERCISES["00/sparsity"].check(lambda weight: kind((weight == 0).float().mean().item()))
    assert EXERCISES["10/stability"].check(lambda curvatures, momentum: kind(2 * (1 + momentum) / max(curvatures)))


@pytest.mark.parametrize("key, answer, words", WRONG)
def test_wrong_answer_is_named(key, answer, words):
    report = EXERCISES[key].check(answer)
    assert not report and report.status == "wrong"
    assert words in report.sentence


def test_every_exercise_is_tried_with_wrong_answers():
    assert set(RIGHT) == set(EXERCISES)
    assert all(sum(key == k for k, *_ in WRONG) >= 1 for key in EXERCISES)
    assert all(len(exercise.mistakes) >= 4 and len(exercise.hints) >= 3 for exercise in EXERCISES.values())


@pytest.mark.parametrize("key", EXERCISES)
def test_every_listed_mistake_gets_its_own_sentence(key):
    for mistake in EXERCISES[key].mistakes:
        assert EXERCISES[key].check(mistake.function).sentence == mistake.sentence


@pytest.mark.parametrize("key", EXERCISES)
def test_a_stub_is_not_attempted_yet(key):
    exercise = EXERCISES[key]
    names = ", ".join(exercise.solution.__code__.co_varnames[: exercise.solution.__code__.co_argcount])
    space = {}
    exec(f"def stub({names}):\n    raise NotImplementedError('write your own')", space)
    assert exercise.check(space["stub"]).status == "todo"


def test_the_learners_own_line_is_shown():
    report = EXERCISES["10/momentum"].check(momentum_with_a_typo)
    assert "velocity = momentum * velocty + grad" in report.code and "line" in report.code
