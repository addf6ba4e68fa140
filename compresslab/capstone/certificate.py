"""The certificate of a compressed file: smaller, faster, really int8, same answers, each measured and judged."""

import html
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from .. import measure
from ..intervals import median_interval, paired_answers
from ..runtimes.deployment import parity, speed
from ..runtimes.onnx_run import OnnxSession
from .task import BUDGET, Budget

QUESTIONS = dict(smaller="Smaller?", faster="Faster?", int8="Really int8?", answers="Same answers?")
ICONS = {"yes": "✓", "no": "✗", "not settled": "○"}  # beside the words, so that nothing is told by colour alone
PRODUCTS = "Conv|MatMul|Gemm|Einsum|Attention|LSTM|GRU|RNN"  # what multiplies, in the names of the runtime's kernels
FLOAT_INPUTS = "NBits|Bnb4"  # kernels that unpack their codes and multiply in float
RULE = (
    "Yes: even the unfavourable end of the 95 % interval keeps the promise. No: not even the favourable end does. "
    "In between the measurement settles nothing: more images or rounds would."
)


@dataclass(frozen=True)
class Certificate:
    """What was measured of a file beside its original; all intervals are 95 %.

    n: images. kb: size of the file (1,000 bytes). ms: median of one call with `budget.batch` images. speedup: original
    time / time, paired by round. int8 of products: how many of the convolutions and matrix products that ran did so on
    8-bit codes. accuracy: share of right answers. points: difference of the accuracies in hundredths, on the same
    images. agreement: share of the images with the same answer.
    """

    budget: Budget
    n: int
    kb: float
    original_kb: float
    ms: float
    original_ms: float
    speedup: float
    speedup_low: float
    speedup_high: float
    int8: int
    products: int
    accuracy: float
    original_accuracy: float
    points: float
    points_low: float
    points_high: float
    agreement: float
    agreement_low: float
    agreement_high: float

    @property
    def verdicts(self) -> dict[str, str]:
        """{question: "yes", "no" or "not settled"}, by RULE; what is counted (bytes, kernels) is always settled."""
        return dict(
            smaller=verdict(-self.kb, -self.kb, -self.budget.kb),
            faster=verdict(self.speedup_low, self.speedup_high, self.budget.speedup),
            int8="yes" if self.int8 == self.products > 0 else "no",
            answers=verdict(self.points_low, self.points_high, -self.budget.drop),
        )

    @property
    def passed(self) -> bool:
        """All four questions are answered with yes."""
        return set(self.verdicts.values()) == {"yes"}

    def table(self) -> pd.DataFrame:
        """The certificate in words: one row a question; columns measured, promised, verdict."""
        b, runs = self.budget, f"{self.budget.batch} images at a time"
        rows = dict(
            smaller=(f"{self.kb:,.1f} kB (original {self.original_kb:,.1f} kB)", f"at most {b.kb:g} kB"),
            faster=(
                f"{self.speedup:.2f} times as fast, {self.speedup_low:.2f} to {self.speedup_high:.2f} "
                f"({self.ms:.2f} ms, original {self.original_ms:.2f} ms, {runs})",
                f"at least {b.speedup:g} times",
            ),
            int8=(f"{self.int8} of {self.products} convolutions and matrix products ran on 8-bit codes", "all of them"),
            answers=(
                f"{self.points:+.1f} points of accuracy, {self.points_low:+.1f} to {self.points_high:+.1f} "
                f"({self.accuracy:.1%}, original {self.original_accuracy:.1%}; "
                f"{self.agreement:.1%} the same answers; {self.n} images)",
                f"at most {b.drop:g} points lost",
            ),
        )
        table = pd.DataFrame(rows, index=["measured", "promised"]).T
        return table.assign(verdict=self.verdicts).rename(index=QUESTIONS).rename_axis("question")

    def _heading(self) -> str:
        kept = sum(v == "yes" for v in self.verdicts.values())
        return (
            "Certificate: every promise is kept." if self.passed else f"No certificate: {kept} of 4 promises are kept."
        )

    def __repr__(self):
        lines = [
            f"{ICONS[row.verdict]} {name:14} {row.verdict:12} {row.measured}; promised: {row.promised}"
            for name, row in self.table().iterrows()
        ]
        return "\n".join([self._heading(), *lines, RULE])

    def _repr_html_(self):
        kind = "solved" if self.passed else "wrong" if "no" in self.verdicts.values() else "todo"
        rows = "".join(
            f'<tr><th scope="row">{name}</th><td>{row.measured}</td><td>{row.promised}</td>'
            f'<td><span aria-hidden="true">{ICONS[row.verdict]}</span> {row.verdict}</td></tr>'
            for name, row in self.table().map(html.escape).iterrows()
        )
        columns = "question", "measured, with its 95 % interval", "promised", "kept?"
        head = "".join(f'<th scope="col">{name}</th>' for name in columns)
        return (
            f'<section class="cl-report cl-{kind} cl-board" aria-label="Certificate"><table>'
            f"<caption>{self._heading()}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
            f"<p>{RULE}</p></section>"
        )


def certificate(
    original: bytes, file: bytes, split: tuple[Tensor, Tensor], budget: Budget = BUDGET, rounds: int = 100, **timing
) -> Certificate:
    """Measure an ONNX file beside its original, in ONNX Runtime on one thread, on the images of split = (x, y).

    Answers are computed and times are taken with `budget.batch` images at a time; the two files take turns, `rounds`
    times (`measure.paired_times`, to which `timing` goes). The verdicts follow RULE. For answers that is the usual test
    of "not worse by more than a margin" (non-inferiority), with the interval of `intervals.paired_shares`. With the 359
    images of the digits' test set and 1.5 points (5.4 images) a file that loses one answer, or loses two and wins one,
    gets its yes; one that loses four and wins none has a mean inside the promise, and an interval that is not: not
    settled. A file that is truly too bad by the margin gets a yes in at most 1 of 40 tests.

    ValueError, in one sentence, if a file cannot be run, or gives scores that are not finite or not (n, classes).
    """
    x, y = split
    if len(x) != len(y) or len(y) == 0:
        raise ValueError(f"split must hold as many images as labels, at least one, got {len(x)} and {len(y)}")
    before, after = OnnxSession(original), OnnxSession(file)
    batch = x[torch.arange(budget.batch) % len(x)]
    scores = [scores_of(name, session, x, budget.batch) for name, session in (("original", before), ("file", after))]
    if scores[1].shape != scores[0].shape:
        raise ValueError(f"file must score {scores[0].shape[1]} classes as the original does, got {scores[1].shape[1]}")
    same = parity(*scores)
    right = [s.argmax(1) == y for s in scores]
    change = paired_answers(*right)
    seconds = measure.paired_times([before, after], batch, rounds=rounds, **timing)
    faster = speed(*seconds.T)
    ran = products(after.operators(batch))
    return Certificate(
        budget=budget,
        n=len(y),
        kb=len(file) / 1000,
        original_kb=len(original) / 1000,
        ms=1e3 * median_interval(seconds[:, 1])[0],
        original_ms=1e3 * median_interval(seconds[:, 0])[0],
        **{key: faster[key] for key in ("speedup", "speedup_low", "speedup_high")},
        int8=int(ran.sum()),
        products=len(ran),
        accuracy=right[1].float().mean().item(),
        original_accuracy=right[0].float().mean().item(),
        points=100 * change["difference"],
        points_low=100 * change["low"],
        points_high=100 * change["high"],
        **{key: same[key] for key in ("agreement", "agreement_low", "agreement_high")},
    )


def products(operators: pd.DataFrame) -> pd.Series:
    """Of the kernels that ran (`OnnxSession.operators`) those that multiply: True where on 8-bit codes; bool.

    They are told by their names: a matrix product that somebody wrote out as Mul and ReduceSum is not among them.
    """
    multiply = operators[operators.operator.str.contains(PRODUCTS)]
    return (multiply.kind == "int8") & ~multiply.operator.str.contains(FLOAT_INPUTS)


def verdict(low: float, high: float, least: float) -> str:
    """Does a number in the interval [low, high] reach `least`: "yes", "no" or "not settled".

    >>> verdict(2.4, 2.8, 2.5), verdict(2.5, 2.8, 2.5), verdict(2.2, 2.4, 2.5)
    ('not settled', 'yes', 'no')
    """
    return "yes" if low >= least else "no" if high < least else "not settled"


def scores_of(name: str, session: OnnxSession, x: Tensor, batch: int) -> Tensor:
    """Scores (n, classes), `batch` images at a time; ValueError unless each batch gives its own, all of them finite."""

    def checked(images: Tensor) -> Tensor:
        scores = session(images)
        if scores.ndim != 2 or len(scores) != len(images):
            got = f"{tuple(scores.shape)} for {len(images)} images"
            raise ValueError(f"{name} must give scores of shape (n, classes), got {got}")
        return scores

    scores = measure.predict(checked, x, batch_size=batch)
    bad = int((~scores.isfinite()).any(1).sum())
    if bad:
        raise ValueError(f"{name} must give finite scores, got NaN or infinity for {bad} of {len(x)} images")
    return scores
