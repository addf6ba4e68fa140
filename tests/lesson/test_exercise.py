"""The checker: passes what is right, names what is wrong, shows the learner's own line."""

import dataclasses
import linecache
import math
from functools import partial

import numpy as np
import pytest
import torch

from compresslab.lesson import Exercise, Mistake, progress


def momentum_step(param, grad, velocity, lr=0.1, beta=0.9):
    velocity = beta * velocity + grad
    return param - lr * velocity, velocity


def trial(fn):
    param, path = torch.randn(3, dtype=torch.float64), []
    velocity = torch.zeros_like(param)
    for _ in range(100):
        param, velocity = fn(param, 2 * param, velocity, lr=0.05)
        path.append(param)
    return torch.stack(path)


def by_torch():
    param, path = torch.randn(3, dtype=torch.float64, requires_grad=True), []
    optimizer = torch.optim.SGD([param], lr=0.05, momentum=0.9)
    for _ in range(100):
        param.grad = 2 * param.detach()
        optimizer.step()
        path.append(param.detach().clone())
    return torch.stack(path)


def averaged(param, grad, velocity, lr=0.1, beta=0.9):
    velocity = beta * velocity + (1 - beta) * grad
    return param - lr * velocity, velocity


def uphill(param, grad, velocity, lr=0.1, beta=0.9):
    velocity = beta * velocity + grad
    return param + 1e9 * lr * velocity, velocity


MOMENTUM = Exercise(
    "10/momentum",
    "Momentum <1>",
    momentum_step,
    trial,
    by_torch,
    mistakes=(
        Mistake("You scaled the gradient by 1 - beta.", averaged),
        Mistake("You walk uphill.", uphill),
    ),
    hints=("What does the velocity remember?", "velocity = beta * velocity + grad, & then a step."),
    # 100 contracting float64 steps of a few operations each: rounding stays below 1e-13
    rtol=1e-10,
    atol=1e-10,
)


def half(x):
    return x / 2


def halves(fn):
    return torch.tensor([fn(x) for x in (3.0, -0.2)], dtype=torch.float64)


HALF = Exercise(
    "k",
    "Half",
    half,
    halves,
    lambda: torch.tensor([1.5, -0.1], dtype=torch.float64),
    mistakes=(Mistake("A whole NaN.", lambda x: math.nan),),
    rtol=1e-12,
    atol=0,
)


def wrong(fn, exercise=MOMENTUM):
    report = exercise.check(fn)
    assert report.status == "wrong" and not report
    assert progress.load()[0]["solved"] == {}
    return report


def test_the_solution_and_another_right_answer_are_solved():
    def mine(param, grad, velocity, lr, beta=0.9, extra=None):
        new = velocity * beta
        new += grad
        return param - new * lr, new

    for fn in (momentum_step, mine):
        report = MOMENTUM.check(fn)
        assert report and report.status == "solved"
    assert progress.load()[0]["solved"] == {"10/momentum": True}


def test_an_unfilled_stub_is_not_an_error():
    def momentum(param, grad, velocity, lr=0.1, beta=0.9):
        raise NotImplementedError

    report = MOMENTUM.check(momentum)
    assert report.status == "todo" and not report
    assert repr(report).startswith(
        "Momentum <1>: not attempted yet. Write the function in place of the line `raise NotImplementedError(...)`, "
        "then run this cell again."
    )
    assert progress.load()[0]["solved"] == {}


def test_a_not_implemented_error_of_torch_is_not_taken_for_a_stub():
    def momentum(param, grad, velocity, lr=0.1, beta=0.9):
        return torch.nn.Module()(param)

    report = wrong(momentum)
    assert report.sentence.startswith("NotImplementedError: ")
    assert report.code.endswith("return torch.nn.Module()(param)")


def test_a_missing_power_is_named_where_torch_raises_not_implemented_error():
    def momentum(param, grad, velocity, lr=0.1, beta=0.9):
        return param - lr * grad ^ 2, velocity

    report = wrong(momentum)
    assert report.sentence == "^ is not a power in Python: use **."
    assert report.code.endswith("return param - lr * grad ^ 2, velocity")
    assert wrong(lambda x: x ^ 2, HALF).sentence == "^ is not a power in Python: use **."  # float ^ int: a TypeError


def test_another_function_that_is_not_written_yet_is_named():
    def new_velocity(velocity, grad):
        raise NotImplementedError("write your own")

    def momentum(param, grad, velocity, lr=0.1, beta=0.9):
        return param, new_velocity(velocity, grad)

    report = wrong(momentum)
    assert report.sentence == "new_velocity, which you call here, is not written yet."
    assert report.code.endswith("return param, new_velocity(velocity, grad)")


@pytest.mark.parametrize("mistake", MOMENTUM.mistakes)
def test_known_mistakes_get_their_sentence(mistake):
    assert wrong(mistake.function).sentence == mistake.sentence


def test_other_wrong_numbers_name_the_first_call_that_parts():
    def late(param, grad, velocity, lr=0.1, beta=0.9):
        late.calls += 1
        param, velocity = momentum_step(param, grad, velocity, lr, beta)
        return (param + torch.tensor([0, 0.5, 0]) * (late.calls == 7)), velocity

    late.calls = 0
    seen = []

    def spy(param, grad, velocity, lr=0.1, beta=0.9):
        seen.append(momentum_step(param, grad, velocity, lr, beta)[0])
        return seen[-1], velocity * beta + grad

    MOMENTUM.check(spy)
    expected = seen[6][1].item()
    sentence = wrong(late).sentence if not progress.record("solved", "10/momentum", None) else ""
    assert sentence == f"Call 7: result[0][1] is {expected + 0.5:.6g}, expected {expected:.6g}."


TAKES = "<lambda> must take the parameters (param, grad, velocity, lr, beta); "


def not_returned(param, grad, velocity, lr=0.1, beta=0.9):
    momentum_step(param, grad, velocity, lr, beta)


def in_place(param, grad, velocity, lr=0.1, beta=0.9):
    velocity.mul_(beta).add_(grad)
    return param - lr * velocity, velocity


def only_one(param, grad, velocity, lr=0.1, beta=0.9):
    return momentum_step(param, grad, velocity, lr, beta)[0]


def three(param, grad, velocity, lr=0.1, beta=0.9):
    return (*momentum_step(param, grad, velocity, lr, beta), lr)


def as_number(param, grad, velocity, lr=0.1, beta=0.9):
    return param - lr * velocity, velocity.sum().item()


def too_short(param, grad, velocity, lr=0.1, beta=0.9):
    return (param - lr * velocity)[:2], velocity


def float32(param, grad, velocity, lr=0.1, beta=0.9):
    return (param - lr * velocity).float(), velocity


def nan(param, grad, velocity, lr=0.1, beta=0.9):
    return param / 0 * 0, velocity


@pytest.mark.parametrize(
    ("fn", "sentence"),
    [
        (not_returned, "Your function returned None: is a return statement missing?"),
        (in_place, "Your function changed its argument velocity in place: return new tensors instead."),
        (only_one, "Call 1: result is one Tensor, expected 2 values."),
        (three, "Call 1: result has 3 values, expected 2."),
        (as_number, "Call 1: result[1] is a float, expected a tensor of shape (3,)."),
        (too_short, "Call 1: result[0] has shape (2,), expected (3,)."),
        (float32, "Call 1: result[0] has dtype torch.float32, expected torch.float64."),
        (3.5, "check needs the function itself, got float: pass its name without brackets or quotes."),
        (None, "check needs the function itself, got NoneType: pass its name without brackets or quotes."),
        (
            lambda param, gradient, velocity, lr, beta: None,
            TAKES + "yours lacks grad and also asks for gradient.",
        ),
        (
            lambda param, grad, velocity, lr: None,
            TAKES + "yours lacks beta.",
        ),
        (
            lambda grad, param, velocity, lr, beta: None,
            "<lambda> is called with its values in order: (param, grad, velocity, lr, beta). Take them in this order.",
        ),
    ],
)
def test_what_cannot_be_right_is_named(fn, sentence):
    assert wrong(fn).sentence == sentence


def test_a_known_mistake_of_another_shape_gets_its_sentence():
    halves = Exercise(
        key="99/halves",
        title="Halves",
        solution=lambda items: items[: len(items) // 2],
        trial=lambda fn: fn([1, 2, 3, 4, 5, 6]),
        expected=lambda: [1, 2, 3],
        mistakes=(
            Mistake("This breaks.", lambda items: items.nonsense),
            Mistake("All of them.", lambda items: items),
        ),
    )
    assert halves.check(lambda items: list(items)).sentence == "All of them."
    assert halves.check(lambda items: items[:4]).sentence.endswith("has 4 values, expected 3.")
    assert halves.check(lambda items: [1, 2, 3])


def test_numbers_that_are_not_finite_are_named():
    assert wrong(nan).sentence.startswith("Call 1: result[0][0] is nan, expected ")


def only_by_name(param, grad, *, velocity, lr=0.1, beta=0.9):
    return momentum_step(param, grad, velocity, lr, beta)


def some_by_name(param, grad, **others):
    return momentum_step(param, grad, **others)


def one_between(param, grad, dampening=0, velocity=0, lr=0.1, beta=0.9):
    return momentum_step(param, grad, velocity, lr, beta)


@pytest.mark.parametrize("fn", [only_by_name, some_by_name, one_between, partial(momentum_step, lr=0.05)])
def test_what_cannot_take_its_values_in_order_is_told_so(fn):
    assert "is called with its values in order: (param, grad, velocity, lr, beta)." in wrong(fn).sentence


def test_a_call_with_plain_numbers_is_shown():
    assert wrong(lambda x: x, HALF).sentence == "half(3.0) is 3, expected 1.5."
    assert wrong(lambda x: x / 0, HALF).sentence == "ZeroDivisionError in half(3.0): float division by zero"
    assert wrong(lambda x: None, HALF).sentence == "half(3.0) returned None: is a return statement missing?"
    assert wrong(lambda x: [x], HALF).sentence == "half(3.0) is a list, expected one number."
    assert wrong(lambda x: torch.ones(2), HALF).sentence == "half(3.0) has shape (2,), expected one number."
    assert wrong(lambda x: 10**400, HALF).sentence == "half(3.0) is inf, expected 1.5."


def test_an_exception_without_words_ends_with_a_full_stop():
    def momentum(param, grad, velocity, lr=0.1, beta=0.9):
        raise ValueError

    assert wrong(momentum).sentence == "ValueError."


def test_as_many_digits_as_it_takes_are_shown():
    sentence = wrong(lambda x: np.float32(x / 2), HALF).sentence
    assert sentence == "half(-0.2) is -0.100000001, expected -0.1 (was it computed in float32?)."
    assert wrong(lambda x: x / 2 + 1e-11, HALF).sentence == "half(3.0) is 1.50000000001, expected 1.5."


def test_nan_everywhere_is_no_known_mistake():
    assert wrong(lambda x: float("nan"), HALF).sentence == "half(3.0) is nan, expected 1.5."


@pytest.mark.parametrize("form", [np.array, lambda x: np.array([[x]]), lambda x: torch.tensor([x]).double()])
def test_one_number_may_come_in_any_shape(form):
    assert HALF.check(lambda x: form(x / 2) if x > 0 else -0.1)


def test_values_in_another_order_are_told_so():
    sentence = wrong(lambda *args, **named: momentum_step(*args, **named)[::-1]).sentence
    assert sentence == "The values are right, but in another order: return them in the order of the text."


def test_results_that_carry_a_graph_are_fed_back_without_it():
    def with_graph(param, grad, velocity, lr=0.1, beta=0.9):
        assert not param.requires_grad and not velocity.requires_grad
        return momentum_step(param.clone().requires_grad_(), grad, velocity, lr, beta)

    assert MOMENTUM.check(with_graph)


def test_a_list_changed_in_place_is_named():
    def top(values):
        values.sort()
        return values[-1]

    def trial(fn):
        return torch.tensor(fn([1.0, 3.0, 2.0]))

    exercise = Exercise("k", "Top", lambda values: max(values), trial, lambda: torch.tensor(3.0))
    sentence = wrong(top, exercise).sentence
    assert sentence.endswith("values in place: work on a copy, list(values).")


def test_settings_are_left_as_they_were_and_do_not_matter():
    def meddling(param, grad, velocity, lr=0.1, beta=0.9):
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        np.random.seed(5)
        return momentum_step(param, grad, velocity, lr, beta)

    def by_autograd(x):
        x = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        return torch.autograd.grad(x**2 / 4, x)[0]

    np.random.seed(11)
    assert MOMENTUM.check(meddling)
    assert torch.get_default_dtype() == torch.float32 and torch.is_grad_enabled()
    assert np.random.rand() == np.random.RandomState(11).rand()
    with torch.no_grad():
        assert HALF.check(by_autograd)


def test_any_signature_that_takes_everything_is_tried():
    assert wrong(torch.sin).sentence.startswith("TypeError: ")  # built in: it has no signature to compare
    assert MOMENTUM.check(lambda *args, **kwargs: momentum_step(*args, **kwargs))


def test_an_exception_is_shown_with_the_learners_own_line(page):
    head = "def momentum(param, grad, velocity, lr, beta=0.9):"
    cell = f"{head}\n    x = 1\n    return param @ torch.ones(7), x < 2\n"
    linecache.cache["<cell 5>"] = (len(cell), None, cell.splitlines(True), "<cell 5>")
    space = {"torch": torch}
    exec(compile(cell, "<cell 5>", "exec"), space)
    report = wrong(space["momentum"])
    assert report.sentence.startswith("RuntimeError: ")
    assert report.code == "line 3: return param @ torch.ones(7), x < 2"
    assert "checking.py" not in repr(report) and "Traceback" not in repr(report)
    assert "line 3: return param @ torch.ones(7), x < 2" in page(report._repr_html_()).text


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_the_learner_can_interrupt(stop):
    def momentum(param, grad, velocity, lr=0.1, beta=0.9):
        raise stop

    with pytest.raises(stop):
        MOMENTUM.check(momentum)


def test_the_random_state_is_untouched_and_checks_repeat():
    before = torch.get_rng_state()
    reports = [repr(MOMENTUM.check(averaged)) + repr(MOMENTUM.check(nan)) for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert reports[0] == reports[1]


def test_functions_that_draw_random_numbers_draw_the_same_as_the_solution():
    def solution(x):
        return x + torch.randn(3)

    def trial(fn):
        return torch.stack([fn(torch.zeros(3)) for _ in range(3)])

    exercise = Exercise("k", "Noise", solution, trial, lambda: torch.stack([torch.randn(3) for _ in range(3)]))
    assert exercise.check(lambda x: torch.randn(3) + x)
    assert not exercise.check(lambda x: torch.randn(3) * 1.01 + x)


def test_state_in_a_dict_that_the_solution_changes_may_be_changed():
    def count(x, state):
        state["steps"] = state.get("steps", 0) + 1
        return x * state["steps"]

    def trial(fn):
        state = {}
        return {"x": torch.stack([fn(torch.ones(2), state) for _ in range(3)])}

    exercise = Exercise("k", "Count", count, trial, lambda: {"x": torch.tensor([[1.0, 1], [2, 2], [3, 3]])})
    assert exercise.check(count)
    assert exercise.check(lambda x, state: x).sentence == "Call 1: state has the keys [], expected ['steps']."

    def twice(x, state):
        state["steps"] = state.get("steps", 0) + 2
        return x * state["steps"] / 2

    assert exercise.check(twice)  # what counts is the result; the state's numbers are its own affair
    sentence = exercise.check(lambda x, state: state.update(steps=5) or x).sentence
    assert sentence == "Call 1: state['steps'] is 5, expected 1."


def test_results_may_be_dicts():
    def both(x):
        return {"min": x.min(), "max": x.max()}

    def expected():
        return dict(min=torch.tensor(0.0), max=torch.tensor(2.0))

    exercise = Exercise("k", "Both", both, lambda fn: fn(torch.arange(3.0)), expected)
    assert exercise.check(both)
    assert "keys ['min']" in exercise.check(lambda x: {"min": x.min()}).sentence
    assert "result is a Tensor, expected a dict" in exercise.check(lambda x: x).sentence
    assert "result['max'] is 0, expected 2" in exercise.check(lambda x: {"min": x.min(), "max": x.min()}).sentence


def test_arguments_that_need_gradients_are_copied():
    def slope(x):
        return torch.autograd.grad((x**2).sum(), x)[0]

    exercise = Exercise(
        "k", "Slope", slope, lambda fn: fn(torch.ones(2, requires_grad=True)), lambda: torch.full((2,), 2.0)
    )
    assert exercise.check(slope)


def test_a_fault_of_the_trial_itself_is_not_blamed_on_the_learner():
    exercise = Exercise("k", "Broken", lambda x: x, lambda fn: fn(torch.ones(1)) / [], lambda: torch.ones(1))
    with pytest.raises(TypeError):
        exercise.check(lambda x: x)
    assert "Call 1: result[0] is 2, expected 1" in exercise.check(lambda x: 2 * x).sentence


def test_the_library_has_the_last_word():
    """A solution that is itself wrong does not pass: the numbers are compared with the library's."""
    exercise = Exercise("k", "Wrong", averaged, trial, by_torch, rtol=1e-10, atol=1e-10)
    assert exercise.check(averaged).sentence.startswith("The trial's result[0, 0] is ")


def test_hints_open_one_by_one_and_the_solution_is_the_last(page):
    html = page(wrong(averaged)._repr_html_())
    [(section, _)] = html.all("section")
    assert section["aria-label"] == "Check of the exercise Momentum <1>"
    depths = [depth for _, depth in html.all("details")]
    assert depths == [1, 2, 3]
    for part in ("✗", "Momentum <1>: not yet right.", "You scaled the gradient by 1 - beta.", "Hint 1 of 2",
                 "Hint 2 of 2 velocity = beta * velocity + grad, & then a step.", "Show the solution",
                 "velocity = beta * velocity + grad return param - lr * velocity, velocity"):  # fmt: skip
        assert part in html.text
    assert html.all("span") == [({"aria-hidden": "true"}, 2)]
    solved = page(MOMENTUM.check(momentum_step)._repr_html_())
    assert len(solved.all("details")) == 1 and "Hint" not in solved.text and "✓" in solved.text


def test_what_stands_in_backticks_is_code_on_the_page():
    exercise = dataclasses.replace(MOMENTUM, hints=("Is `lr < beta`?",))
    html = exercise.check(averaged)._repr_html_()
    assert "<p>Is <code>lr &lt; beta</code>?</p>" in html


def test_the_text_twin_says_the_same():
    assert repr(wrong(averaged)) == (
        "Momentum <1>: not yet right. You scaled the gradient by 1 - beta.\n"
        "Help: hint(1) to hint(2) and source() of this exercise."
    )
    assert repr(MOMENTUM.check(momentum_step)) == "Momentum <1>: solved. Same numbers as the library."
    assert MOMENTUM.hint(2) == MOMENTUM.hints[1]
    with pytest.raises(ValueError, match=r"n must be in 1\.\.2, got 3"):
        MOMENTUM.hint(3)
    assert MOMENTUM.source().startswith("def momentum_step(")


def test_a_disk_that_takes_nothing_is_told_in_the_report(page):
    progress.home().write_text("not a folder")
    report = MOMENTUM.check(momentum_step)
    assert report and "kept only until this notebook closes" in page(report._repr_html_()).text
    assert "kept only until this notebook closes" in repr(report)


def test_a_mistake_that_happens_to_be_right_in_this_call_is_not_named():
    """Doubled or squared: 2 for both. Only the type is wrong here, and a float of the right value is told so."""
    squared = Mistake("This squares.", lambda x: x**2)
    one = Exercise(
        key="test/doubled", title="Doubled", solution=lambda x: 2 * x, trial=lambda fn: fn(torch.tensor([2])),
        expected=lambda: torch.tensor([4]), mistakes=(squared, Mistake("a", lambda x: x), Mistake("b", lambda x: -x)),
        hints=("a", "b", "c"),
    )  # fmt: skip
    assert "dtype" in one.check(lambda x: 2.0 * x).sentence
