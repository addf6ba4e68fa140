"""What the prose of a notebook says it measured is what its outputs say; and the check can fail."""

import copy
import doctest

import nbformat
import pytest
from notebooks.editions import NOTEBOOKS, read
from notebooks.prose import Quoted, complaints, is_found, measured, moves, numbers, quoted

from notebooks import prose, refresh

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
v4 = nbformat.v4


@each_notebook
def test_the_outputs_bear_out_the_prose(path):
    assert complaints(read(path), path.name) == []


@each_notebook
def test_panels_were_moved_as_the_text_asks(path):
    for cell in read(path).cells:
        asked = moves(cell.source) if cell.cell_type == "markdown" else []
        assert len(asked) == len(cell.metadata.get("compresslab", {}).get("moved", [])), cell.source[:80]


def test_excuses_are_rare_and_have_a_reason():
    reasons = [
        reason for path in NOTEBOOKS for cell in read(path).cells for reason in prose.EXCUSE.findall(cell.source)
    ]
    assert len(reasons) <= len(NOTEBOOKS) // 2 and all(len(reason.split()) >= 4 for reason in reasons)


# --- negative controls


def lesson(text, *outputs, code="x = 1", **metadata):
    """A notebook of one section: a cell of code with these outputs (HTML or text), and a text under it."""
    cells = [v4.new_code_cell(code), v4.new_markdown_cell(f"## A section\n\n{text}", metadata=metadata)]
    cells[0].outputs = [v4.new_output("display_data", data={"text/html": output}) for output in outputs]
    return v4.new_notebook(cells=cells)


def altered(quote: Quoted, factor: float) -> Quoted:
    """The same number, as if the prose had it `factor` times as large."""
    by = (factor - 1) * quote.value
    return quote._replace(value=quote.value * factor, low=quote.low + by, high=quote.high + by)


def test_most_altered_numbers_are_found():
    """Every measured number of every lesson, 30 % smaller and larger. (82 % when written; the others fit by chance.)"""
    caught = [
        not is_found(altered(quote, factor), numbers(text.outputs), numbers(text.code))
        for path in NOTEBOOKS
        for text, _, quote, excused in measured(read(path))
        for factor in (0.7, 1.3)
        if not excused
    ]
    assert len(caught) > 500 and sum(caught) >= 0.78 * len(caught), f"{sum(caught)} of {len(caught)}"


@each_notebook
def test_a_number_that_no_output_has_is_found_and_named(path):
    """Each number with a decimal point or a thousands comma becomes 987,654,321, as an author might err."""
    notebook = read(path)
    for text, sentence, quote, excused in measured(notebook):
        digits = quote.text.split(" ")[0]
        if excused or {".", ","}.isdisjoint(digits) or notebook.cells[text.cell].source.count(sentence) != 1:
            continue
        wrong = copy.deepcopy(notebook)
        cell = wrong.cells[text.cell]
        cell.source = cell.source.replace(sentence, sentence.replace(digits, "987,654,321"))
        found = complaints(wrong, path.name)
        assert any(line.startswith(f"{path.name}, cell {text.cell}: “987,654,321") for line in found), sentence


RIGHT = [
    ("In our run 97.2 % were right.", "<td>97.17</td>"),
    ("In our run 97.2 % were right.", "0.972 (0.95 to 0.98)"),
    ("In our run about half of the time was spent there.", "<td>0.47</td>"),
    ("It was 1,234 bytes in our run.", "1,234 bytes"),
    ("It won. In our run in eight of ten seeds.", "8 of 10 seeds"),
    ("In our run the interval reaches from 0.7 points worse to 2 points better.", "-0.71 to +2.2"),
    ("On our machine it was less than twice as fast.", "1.9"),
    ("In our run 61 % were right (30 to 80).", "61% right (30% to 80%)"),
    ("In our run it stayed below 10⁻³.", "2.1e-04"),
    ("In our run the gain was a point and a half.", "1.46"),
    ("It cost 2,900 bytes in our run.", "2,884"),
    ("With 0.93 it failed. In our run nothing changed.", "nothing"),  # before the words
    ("In our run nothing changed. The paper has 12.5 %.", "nothing"),  # a source
    ("There 73 % were right.", "nothing"),  # no words
    ("In our run `x[12.5]` and $y = 13.7$ were as they should be in layer 3.", "nothing"),  # no prose; a name
    ("In our run nothing changed.\n\n- Elsewhere 73 % were right.", "nothing"),  # no colon
    ("In our run it was so:\n\n- One had 61 %.\n\nElsewhere 73 % were right.", "61"),  # after the list
    ("It went so:\n\n- In our run it had 61 %.\n- Elsewhere 73 %.", "61"),  # only one item tells
]
WRONG = [
    ("In our run 97.2 % were right.", "<td>97.31</td>", "97.2 %"),
    ("In our run it was about 7 times as fast.", "8.2", "7 times"),
    ("In our run nothing was lost. It had 73 %.", "<td>61</td>", "73 %"),
    ("On our machine it was less than twice as fast.", "2.1", "twice"),
    ("In our run more than twenty points were lost.", "19", "twenty points"),
    ("In our run two thirds were right, or about two thirds.", "0.5", "two thirds"),
    ("In our run between 33 and 56 % were right.", "33.1 and 61", "56 %"),
    ("In our run 12 images changed.", "12.4", "12"),
    ("In our run it lost a point and a half.", "1.5 dB", "a point and a half"),
    ("<details><summary>What we saw</summary>\n\nIt had 73 %.\n\n</details>", "61", "73 %"),
    ("In our run 30 % were right.", "30 dB, and 61% right", "30 %"),  # another unit
    ("In our run 30 % were right.", "61% right (30% to 80%)", "30 %"),  # the end of an interval
    ("In our run it was so:\n\n- One had 61 %.\n- The other had 73 %.", "61", "73 %"),
    ("In our run it was so:\n1. One had 73 %.\n2. The other had 61 %.", "61", "73 %"),
    ("In our run it was so:\n\n| one | other |\n|---|---|\n| 61 % | 73 % |", "61", "73 %"),
    ("At 61 % they cost these networks 73 %.", "61", "73 %"),
    ("Nothing that six seeds could show at 61 %, and 12 times at 55 %.", "61 and 55", "12 times"),
    ("It cost 73 points here, and 61 elsewhere.", "61", "73 points"),
    ("The weights stayed below 73 %.", "80", "73 %"),
    ("In our run 0.97 points.", "○ My exercise: not attempted yet. 0.97", "0.97 points"),
]


@pytest.mark.parametrize("text, output", RIGHT)
def test_true_sentences_pass(text, output):
    assert complaints(lesson(text, output), "x") == []


@pytest.mark.parametrize("text, output, number", WRONG)
def test_false_sentences_do_not(text, output, number):
    (complaint,) = complaints(lesson(text, output), "x.ipynb")
    assert complaint.startswith(f"x.ipynb, cell 1: “{number}” is in no output")
    assert complaint.split("): ")[1] in text


def test_settings_may_stand_in_the_code_and_measures_may_not():
    code = "epochs, share = 27, 0.95"
    assert complaints(lesson("In our run 27 epochs at 95 % were enough.", "done", code=code), "x") == []
    assert len(complaints(lesson("In our run it was 27 times as fast.", "done", code=code), "x")) == 1


def test_only_the_last_outputs_before_the_text_count():
    notebook = lesson("In our run 73 % were right.", "73")
    notebook.cells[1:1] = [lesson("", str(number)).cells[0] for number in (1, 2)]
    assert len(complaints(notebook, "x")) == 1


def test_an_excuse_excuses_its_paragraph_and_must_be_needed():
    excuse = "<!-- not in the outputs: counted by hand on another day -->"
    assert complaints(lesson(f"In our run 73 % were right. {excuse}", "61"), "x") == []
    (needless,) = complaints(lesson(f"In our run 61 % were right. {excuse}", "61"), "x")
    assert "excuses nothing" in needless
    assert len(complaints(lesson(f"In our run 73 %. {excuse}\n\nIn our run 74 %.", "61"), "x")) == 1


def test_a_moved_panel_bears_out_what_we_saw():
    saw = '<details><summary>What we saw</summary>\n\n<!-- moves {"rate": 0.5} -->\n\nIt had 73 % at 0.5.\n\n</details>'
    assert complaints(lesson(saw, "61", compresslab={"moved": ["At rate one half 73 % right."]}), "x") == []
    assert "73 %" in complaints(lesson(saw, "61"), "x")[0]


def test_examples_in_the_docstrings():
    assert doctest.testmod(prose).failed == 0


def test_words_and_digits_are_read_alike():
    for words, digits in [("seven points", "7 points"), ("three times", "3 times"), ("twice", "2 times")]:
        (one,), (other,) = quoted(f"It was {words} more."), quoted(f"It was {digits} more.")
        assert one[1:] == other[1:]


PANEL = """
import ipywidgets as widgets
from compresslab.lesson import theme
from compresslab.lesson.panel import Panel

def draw(rate, size):
    return theme.figure(title="A rate", alt=f"The rate is {rate:.2f} and the size {size}.")

sizes = widgets.SelectionSlider(options=[("small", (1, 2)), ("large", (3, 4))], value=(1, 2), description="Size")
Panel(draw, dict(rate=widgets.FloatSlider(0.25, min=0, max=1, description="Rate"), size=sizes), label="Rates")
"""


def test_refresh_moves_the_panel_and_keeps_what_it_says(tmp_path):
    asked = '<!-- moves {"rate": [0.5, 0.75]} -->\n<!-- moves {"size": [[3, 4]]} -->'
    notebook = lesson(f"<details><summary>What we saw</summary>\n\n{asked}\n\nIt was 0.75.\n\n</details>", code=PANEL)
    refresh.execute(notebook, tmp_path, COMPRESSLAB_STATIC="1")
    assert len(notebook.cells) == 2
    assert notebook.cells[1].metadata.compresslab.moved == [
        "The rate is 0.50 and the size (1, 2).",
        "The rate is 0.75 and the size (1, 2).",
        "The rate is 0.25 and the size (3, 4).",
    ]
    assert complaints(notebook, "x") == []
