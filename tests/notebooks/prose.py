"""The numbers that a lesson's prose says were measured must stand in the saved outputs before it.

`python tests/notebooks/prose.py` prints every sentence that no longer fits. What is looked at, and how:

- A sentence tells a measurement if it has one of the phrases of TELLS ("in our run", "on our machine"). The rest of its
  paragraph does too, with the list or table that follows if it ends with a colon, and so does all that stands in a
  block with the summary "What we saw".
- Each of its numbers must stand in one of the last two outputs before the text, rounded as in the prose and with the
  same unit if both have one. "About 7" may be 15 % off, "more than 7" is 7 to 9.1. A setting (27 epochs, 95 % zeros)
  may stand in the code instead. A sentence that names a source (a year, a paper, another lesson) is not looked at.
- A panel's numbers stand in no output until somebody moves it. So the text under a panel says how it was moved,
  `<!-- moves {"method": "random", "seed": [0, 1, 2]} -->` (a list: each of these in turn; a pair: a list of lists), and
  refresh.py writes what the panel then says into the metadata of that cell. These count, and the panel's own output.
- `<!-- not in the outputs: the reason -->` excuses the paragraph in which it stands.
"""

import functools
import html
import itertools
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import nbformat

TELLS = r"our( \w+)? run|our machine|we saw|we measured|when we tried|when this lesson was written|these networks"
TELLS += r"|(pairs|seeds) (could|did|do)|(both|is|are) settled|stayed (at|between|below|above|within)"
TELLS += r"|(as \w+|less|more|points?|paid off) here"
TELLS = re.compile(rf"\b({TELLS})\b", re.I)
SAW = re.compile(r"<details><summary>What we saw</summary>(.*?)</details>", re.DOTALL)
SOURCE = re.compile(r"\b(1[89]|20)\d\d\b|\band others\b|\b[Pp]aper\b|\b[Pp]ublished\b|\blesson \d\d\b|https?:")
EXCUSE = re.compile(r"<!-- not in the outputs: (.*?) -->", re.DOTALL)
MOVES = re.compile(r"<!-- moves (.*?) -->", re.DOTALL)
NOT_PROSE = re.compile(r"```.*?```|\$\$.*?\$\$|\$[^$\n]+\$|`[^`]*`|<!--.*?-->|</?\w[^>]*>", re.DOTALL)
LOOK_BACK = 2  # so many cells with outputs before a text are compared with it
NEAR = 0.15  # further than that no number of the prose may be from the output that it rounds
LABEL = re.compile(r"([Ll]ayers?|[Ll]essons?|[Pp]icture|[Ss]tep|[Bb]lock|[Ss]eed|\b\w =) $")

SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
WORDS = "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen".split()
WORDS = {word: n for n, word in enumerate(WORDS, 2)} | {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50}
PARTS = "half third quarter fifth sixth seventh eighth ninth tenth".split()
PARTS = {part: n for n, part in enumerate(PARTS, 2)} | {"hundredth": 100}
MEASURE = r"(?: more| further)? (?P<{}>points?|times|dB|decibels?|kB|ms)\b"
POINT = r"(?P<point>(?P<half>half )?an? (?P<whole>point|percent|decibel)(?P<more> and a half)?)\b"
AFTER_PART = r"(?=[,.;:)]| (?:of|off|a|the|as|more|less)\b)"
PART = rf"(?P<many>{'|'.join(WORDS)}|an?)? ?\b(?P<part>{'|'.join(PARTS)})s?\b{AFTER_PART}"
WORD = rf"(?P<word>{'|'.join(WORDS)})\b(?:{MEASURE.format('measure')}|(?P<ten> (?:of|in) ten\b))"
RANGE = rf"(?P<first>{'|'.join(WORDS)})(?= (?:to|and) (?:{'|'.join(WORDS)}|\d+){MEASURE.format('later')})"
PLAIN = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
UNIT = rf"(?: ?(?P<percent>%)|{MEASURE.format('unit')})"
DIGITS = rf"(?P<digits>{PLAIN})(?![\w⁰¹²³⁴-⁹⁻-]|[.,]\d){UNIT}?"
POWER = r"10(?P<power>⁻?[⁰¹²³⁴-⁹]+)"
NUMBER = re.compile(rf"(?<![\w.,⁰¹²³⁴-⁹⁻-])(?:{POWER}|{POINT}|{PART}|(?P<twice>twice)\b|{RANGE}|{WORD}|{DIGITS})", re.I)
LATER = re.compile(rf"(?:(?:,| and| to| or) {PLAIN})+{UNIT}")  # as in "2 to 3 %"
ABOUT = re.compile(r"\b(about|nearly|some|almost|roughly|close to)( as)? $", re.I)
ABOVE = re.compile(r"\b(more than|over|above|at least|to more than) $", re.I)
BELOW = re.compile(r"\b(less than|fewer than|below|under|at most|within|up to) $", re.I)
FOUND = re.compile(rf"(?<![\w.])[+-]?({PLAIN}(?:e[+-]?\d+)?)(?!\w)(?:[ \xa0]?(%|[a-zA-Z]+))?")
RATIO = re.compile(r"(\d[\d,]*) (?:of|instead of) (?:all )?(\d[\d,]*)")
INTERVAL = re.compile(r"(\([^()]* to [^()]*\))")
ENDS = re.compile(r"\bintervals?\b|\bfrom\b|\bbetween\b|\([^()]* to [^()]*\)")
UNITS = {"%": "%", "percent": "%", "times": "times", "twice": "times", "point": "points", "points": "points"}
UNITS |= {"db": "dB", "decibel": "dB", "decibels": "dB", "kb": "kB", "ms": "ms"}


class Number(NamedTuple):
    """A number of an output without its sign, and the unit behind it ("" in most tables). end: of "(low to high)"."""

    value: float
    unit: str = ""
    end: bool = False


class Quoted(NamedTuple):
    """A number of the prose, and the ends between which an output must lie to bear it out."""

    text: str
    value: float
    low: float
    high: float
    unit: str  # "%" also for a part of a whole: an output may count that from 0 to 1
    setting: bool  # may stand in the code instead
    end: bool  # may be the end of an interval

    def fits(self, number: Number) -> bool:
        if (self.unit and number.unit and self.unit != number.unit) or (number.end and not self.end):
            return False
        share = self.unit == "%" and not number.unit and self.low <= 100 * number.value <= self.high
        return share or self.low <= number.value <= self.high


class Text(NamedTuple):
    """A stretch of Markdown under one heading, and what stands beside it in its section."""

    cell: int
    source: str
    outputs: str
    code: str


def quoted(sentence: str) -> list[Quoted]:
    """The numbers of a sentence; 0 and 1 without a unit, and numbers that are names ("layer 3"), are left out.

    >>> for q in quoted("In our run 97.2 % were right, about three times as many as in layer 3, or about two thirds."):
    ...     print(q.text, round(q.low, 2), round(q.high, 2))
    97.2 % 97.15 97.25
    three times 2.55 3.45
    two thirds 56.67 76.67
    """
    found = []
    for match in NUMBER.finditer(sentence):
        got, before = match.groupdict(), sentence[: match.start()]
        if later := got["digits"] and not got["percent"] and LATER.match(sentence, match.end()):
            got |= later.groupdict()
        value, step = _value({name: (text or "").lower() for name, text in got.items()})
        about, above, below = (phrase.search(before) for phrase in (ABOUT, ABOVE, BELOW))
        unit = (
            got["percent"] or got["part"] or got["ten"] or got["unit"] or got["measure"] or got["whole"] or got["twice"]
        )
        unit = "%" if got["part"] or got["ten"] else UNITS.get((unit or "").lower(), "")
        name = LABEL.search(before) or value in (0, 1)
        if not value or (name and not unit) or (got["part"] and not (about or above or below)):
            continue
        if about:
            low, high = value * (1 - NEAR), value * (1 + NEAR)
        elif above or below:
            far = 10 if got["power"] else 1.3
            low, high = (value, value * far) if above else (value / far, value)
        else:
            count = got["digits"] and not unit and value < 100 and value % 1 == 0
            step = 0 if count else min(step, NEAR * value)
            low, high = value - step, value + step
        low, high, end = low - 1e-9 * value, high + 1e-9 * value, bool(ENDS.search(sentence))
        found.append(Quoted(match.group().strip(), value, low, high, unit, unit in ("", "%"), end))
    return found


def _value(got: dict[str, str]) -> tuple[float, float]:
    """The value of a match of NUMBER, and by how much it may have been rounded."""
    if got["power"]:
        return 10.0 ** int(got["power"].translate(SUPERSCRIPT)), 0
    if got["part"]:
        value = 100 * WORDS.get(got["many"], 1) / PARTS[got["part"]]
        return value, value
    if got["ten"]:
        return 10 * WORDS[got["word"]], 5
    if got["point"]:
        return 1 + 0.5 * bool(got["more"]) - 0.5 * bool(got["half"]), 0.5
    if not got["digits"]:
        return WORDS.get(got["word"] or got["first"], 2), 0.5
    digits = got["digits"].replace(",", "")
    zeros = len(re.search("0*$", digits)[0]) if float(digits) >= 100 else 0  # 2,900 is rounded to hundreds
    value = float(digits)
    return value, min(0.5 * 10 ** (zeros - len(digits.partition(".")[2])), 0.03 * value if zeros else value)


@functools.cache
def numbers(text: str) -> list[Number]:
    """The numbers in an output; "9 of 12" also counts as 75 %.

    >>> [tuple(number) for number in numbers("Agreement: 9 of 12, error -1.5e-02 dB (0.01 to 0.02)")]
    [(9.0, '', False), (12.0, '', False), (0.015, 'dB', False), (0.01, '', True), (0.02, '', True), (75.0, '%', False)]
    """
    plain = text.replace("−", "-").replace("_", "")
    found = [
        Number(float(number.replace(",", "")), UNITS.get(unit.lower(), ""), end=bool(i % 2))
        for i, part in enumerate(INTERVAL.split(plain))
        for number, unit in FOUND.findall(part)
    ]
    ratios = [[float(number.replace(",", "")) for number in pair] for pair in RATIO.findall(plain)]
    return found + [Number(100 * a / b, "%") for a, b in ratios if b]


def output_text(output) -> str:
    """What a reader sees of an output, alternative texts included; "" for what is no measurement."""
    data = output.get("data", {})
    shown = data.get("text/html", data.get("text/markdown", data.get("text/plain", ""))) + output.get("text", "")
    shown += "".join(f" {about.get('alt', '')}" for about in output.get("metadata", {}).values())
    shown = html.unescape(re.sub(r"<style.*?</style>|<[^>]+>", " ", shown, flags=re.DOTALL))
    idle = "not attempted yet", "Your progress", "exercises solved,"
    return "" if any(phrase in shown for phrase in idle) or shown.startswith("```") else shown


def texts(notebook) -> Iterator[Text]:
    """Every cell of Markdown with the last outputs before it, and the positions to which its panel was moved."""
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    shown = []
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            shown += filter(str.strip, ["\n".join(map(output_text, cell.outputs))])
        elif cell.cell_type == "markdown":
            asked = moves(cell.source)
            told = cell.metadata.get("compresslab", {}).get("moved", []) if asked else []
            beside = [*shown[-1:], *told] if told else shown[-LOOK_BACK:]
            yield Text(index, cell.source, "\n".join(beside), f"{code}\n{asked}")


def telling(source: str) -> Iterator[tuple[str, bool]]:
    """(sentence, excused) of every sentence in a piece of Markdown that tells a measurement."""
    saw = "\n\n".join(SAW.findall(source))
    for paragraphs, tells_all in ((SAW.sub("", source), False), (saw, True)):
        announced = False  # by a telling paragraph that ended with a colon: the list after it tells too
        for paragraph in re.split(r"\n\s*\n|\n(?=[-|*] |\d+\. )", paragraphs):
            announced = announced and bool(re.match(r"\s*([-|*]|\d+\.) ", paragraph))
            excused, tells = bool(EXCUSE.search(paragraph)), tells_all or announced
            plain = " ".join(re.sub(r"^\s*(\d+\.|[-*]) ", "", NOT_PROSE.sub(" ", paragraph)).split())
            for sentence in re.split(r"(?<=[.?!])\)? +|(?<=[.?!]\)) +", plain):
                tells = tells or bool(TELLS.search(sentence))
                if tells and not SOURCE.search(sentence):
                    yield sentence, excused
            announced = announced or (tells and plain.endswith(":"))


def measured(notebook) -> Iterator[tuple[Text, str, Quoted, bool]]:
    """(text, sentence, number, excused) of every number that the prose of a notebook measures."""
    for text in texts(notebook):
        for sentence, excused in telling(text.source):
            for quote in quoted(sentence):
                yield text, sentence, quote, excused


def is_found(quote: Quoted, shown: list[Number], code: list[Number]) -> bool:
    settings = {quote.value, quote.value / 100} if quote.unit == "%" else {quote.value}
    return any(map(quote.fits, shown)) or (quote.setting and any(number.value in settings for number in code))


def complaints(notebook, name: str) -> list[str]:
    """One line for every number that the outputs do not bear out, and for every excuse that excuses nothing."""
    found, needed = [], set()
    for text, sentence, quote, excused in measured(notebook):
        shown = numbers(text.outputs)
        if is_found(quote, shown, numbers(text.code)):
            continue
        if excused:
            needed.add(text)
            continue
        near = {n.value if n.unit or n.value > 1 or quote.unit != "%" else 100 * n.value for n in shown}
        near = sorted(near, key=lambda n: abs(n - quote.value))[:3]
        where = f"{name}, cell {text.cell}: “{quote.text}” is in no output before it"
        found.append(f"{where} (nearest: {', '.join(f'{n:.6g}' for n in near) or 'none'}): {sentence}")
    for text in texts(notebook):
        if EXCUSE.search(text.source) and text not in needed:
            found.append(f"{name}, cell {text.cell}: “not in the outputs” excuses nothing here, so leave it out")
    return found


def moves(source: str) -> list[dict]:
    """All positions that the text under a panel asks for.

    >>> moves('<!-- moves {"bits": [4, 2], "rule": "MSE"} -->')
    [{'bits': 4, 'rule': 'MSE'}, {'bits': 2, 'rule': 'MSE'}]
    """
    found = []
    for asked in MOVES.findall(source):
        lists = {name: each if isinstance(each, list) else [each] for name, each in json.loads(asked).items()}
        found += [dict(zip(lists, values)) for values in itertools.product(*lists.values())]
    return found


def said(panel, moves):
    """What a panel says, in its alternative text, at each of these positions of its controls."""
    from compresslab.lesson import theme

    start = {name: control.value for name, control in panel.controls.items()}
    for move in moves:
        panel.set(**start)
        panel.set(**{name: tuple(value) if isinstance(value, list) else value for name, value in move.items()})
        if panel.alert.value:
            raise ValueError(f"{move}: {panel.alert.value}")
        yield theme.alt(panel.figure)


def main():
    every = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
    found = [line for path in map(Path, sys.argv[1:] or every)
             for line in complaints(nbformat.read(path, as_version=4), path.name)]  # fmt: skip
    sys.exit("\n".join(found) or 0)


if __name__ == "__main__":
    main()
