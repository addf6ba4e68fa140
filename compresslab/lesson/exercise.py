"""Exercises: a function to write, a check beside the real library, hints one by one, and the solution."""

import html
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from . import progress
from .checking import Finding, Stub, Watch, check_signature, close, difference, finite_somewhere
from .reference import Live, Recorded

# status -> (icon, words), so that nothing is told by colour alone
STATUS = dict(solved=("✓", "solved"), wrong=("✗", "not yet right"), todo=("○", "not attempted yet"))
RECORDS = Path(__file__).with_name("records")  # in a student's edition only
TEACHER = "Your teacher has the solution."
TODO = "Write the function in place of the line `raise NotImplementedError(...)`, then run this cell again."


@dataclass(frozen=True)
class Mistake:
    """A plausible wrong answer and the sentence that names it."""

    sentence: str
    function: Callable


@dataclass(frozen=True)
class Exercise:
    """A function to write.

    key: "10/momentum". solution: the reference; its source is what is revealed at the end.
    trial(fn): runs a function, learner's or reference, and returns a tensor or a nest of tensors. A tuple of such
    functions is a trial in stages, run until one of them comes out wrong: so a mistake of the first stage is told by
    its name, whatever else the answer does in the later ones.
    expected(): the same from the real library; a list for stages. rtol, atol: the tolerance of one against the other.
    mistakes, hints: in the order in which they are tried and opened. seed: of torch, while a trial runs.
    """

    key: str
    title: str
    solution: Callable
    trial: Callable | tuple[Callable, ...]
    expected: Callable
    mistakes: tuple[Mistake, ...] = ()
    hints: tuple[str, ...] = ()
    rtol: float = 1e-5
    atol: float = 1e-6
    seed: int = 0

    def check(self, fn: Callable) -> "Report":
        """Run `fn` beside the real library. Deterministic; leaves torch's and NumPy's settings as they were."""
        try:
            self._judge(fn)
        except Stub:
            return Report(self, "todo", TODO)
        except Finding as finding:
            return Report(self, "wrong", finding.sentence, finding.code)
        return Report(self, "solved", "Same numbers as the library.", note=progress.record("solved", self.key))

    def hint(self, n: int) -> str:
        """Hint number n, counted from 1."""
        if not 1 <= n <= len(self.hints):
            raise ValueError(f"n must be in 1..{len(self.hints)}, got {n}")
        return self.hints[n - 1]

    def source(self) -> str:
        """The reference solution's source; "" where it is not there."""
        return inspect.getsource(self.solution)

    @property
    def reference(self) -> Live | Recorded:
        """What a learner's function is compared with."""
        return Live(self)

    def results(self, fn: Callable, expected):
        """What `fn` gives in the trial; of stages, all up to the first that differs from the one in `expected`."""
        if callable(self.trial):
            return self._run(self.trial, fn)
        results = []
        for stage, wanted in zip(self.trial, expected):
            results.append(self._run(stage, fn))
            if not close(results[-1], wanted, self.rtol, self.atol):
                break
        return results

    def _judge(self, fn) -> None:
        """Raise a Finding unless `fn` is right, Stub if it is not written yet."""
        reference = self.reference
        check_signature(fn, reference.parameters)
        expected = self._run(reference.expected)
        watch = Watch(fn, reference, self.rtol, self.atol)
        try:
            result = self.results(watch, expected)
        except (Finding, Stub):
            raise
        except Exception:
            if watch.first is None:
                raise
            raise watch.first from None  # the trial broke on numbers that were wrong before
        if close(result, expected, self.rtol, self.atol):
            return
        for sentence, known in reference.known(lambda function: self.results(function, expected)):
            if finite_somewhere(known) and close(result, known, self.rtol, self.atol):
                raise Finding(sentence)
        where = difference(result, expected, self.rtol, self.atol, "The trial's result")
        raise watch.first or Finding(f"{where}.")

    def _run(self, function, *args):
        dtype, numpy_state = torch.get_default_dtype(), np.random.get_state()
        try:
            with torch.random.fork_rng(devices=[]), torch.enable_grad():
                torch.manual_seed(self.seed)
                np.random.seed(self.seed)
                return function(*args)
        finally:
            torch.set_default_dtype(dtype)
            np.random.set_state(numpy_state)


@dataclass(frozen=True, kw_only=True)
class RecordedExercise(Exercise):
    """An exercise of a student's edition: the check is the same, but solution and mistakes are not there."""

    solution: None = None
    expected: None = None

    def source(self) -> str:
        return ""

    @property
    def reference(self) -> Recorded:
        return Recorded(RECORDS / f"{self.key.replace('/', '-')}.json")


@dataclass(frozen=True)
class Report:
    """What a check found. Truthy when solved. status: "solved", "wrong" or "todo"."""

    exercise: Exercise
    status: str
    sentence: str
    code: str = ""
    note: str = ""

    def __bool__(self):
        return self.status == "solved"

    def __repr__(self):
        n = len(self.exercise.hints)
        source = " and source()" * bool(self.exercise.source())
        help_ = f"Help: hint(1) to hint({n}){source} of this exercise." if n and not self else ""
        first = f"{self.exercise.title}: {STATUS[self.status][1]}. {self.sentence}"
        return "\n".join(line for line in (first, self.code, self.note, help_) if line)

    def _repr_html_(self):
        title, (icon, words) = html.escape(self.exercise.title), STATUS[self.status]
        code = f"<pre><code>{html.escape(self.code)}</code></pre>" if self.code else ""
        note = f"<p>{html.escape(self.note)}</p>" if self.note else ""
        return (
            f'<section class="cl-report cl-{self.status}" aria-label="Check of the exercise {title}">'
            f'<p><span aria-hidden="true">{icon}</span> <strong>{title}: {words}.</strong> '
            f"{_words(self.sentence)}</p>{code}{note}{self._help()}</section>"
        )

    def _help(self) -> str:
        """Each hint inside the one before, so that they open one by one; the solution is the innermost."""
        title = "Show the reference solution" if self else "Show the solution"
        source = html.escape(self.exercise.source())
        inner = _details(title, f"<pre><code>{source}</code></pre>") if source else f"<p>{TEACHER}</p>"
        hints = () if self else self.exercise.hints
        for i in range(len(hints), 0, -1):
            inner = _details(f"Hint {i} of {len(hints)}", f"<p>{_words(hints[i - 1])}</p>{inner}")
        return inner


def _words(text: str) -> str:
    """Text as HTML; what stands in backticks is code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", html.escape(text))


def _details(summary: str, body: str) -> str:
    return f"<details><summary>{summary}</summary>{body}</details>"
