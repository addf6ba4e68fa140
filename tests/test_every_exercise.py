"""What holds for every exercise of every lesson."""

import math

import numpy as np
import pytest
import torch
from answers import listed
from torch.utils import _pytree as pytree

from compresslab.capstone import exercises as capstone
from compresslab.compression import exercises as compression
from compresslab.hf import exercises as hf
from compresslab.optimizers import exercises as optimizers
from compresslab.pruning import exercises as pruning
from compresslab.quantization import exercises as quantization
from compresslab.runtimes import exercises as runtimes
from compresslab.search import exercises as search
from compresslab.tour import exercises as tour

FAMILIES = (tour, optimizers, search, pruning, quantization, compression, hf, runtimes, capstone)
EXERCISES = {exercise.key: exercise for family in FAMILIES for exercise in family.ALL}

# solutions that need torch, math and np only
PLAIN = [exercise.key for family in FAMILIES[3:] for exercise in family.ALL]
RIGHT, WRONG = listed()


@pytest.mark.parametrize("key", EXERCISES)
def test_every_listed_mistake_gets_its_own_sentence(key):
    for mistake in EXERCISES[key].mistakes:
        assert EXERCISES[key].check(mistake.function).sentence == mistake.sentence


@pytest.mark.parametrize("key, answer", RIGHT)
def test_other_right_answers_pass(key, answer):
    report = EXERCISES[key].check(answer)
    assert report, report.sentence


@pytest.mark.parametrize("key, answer, words", WRONG)
def test_wrong_answer_is_named_and_harms_nothing(key, answer, words):
    report = EXERCISES[key].check(answer)
    assert not report and report.status == "wrong"
    assert any(part in report.sentence for part in words.split("|")), report.sentence
    assert EXERCISES[key].check(EXERCISES[key].solution)


def test_every_exercise_is_tried_and_helps():
    assert {key for key, _ in RIGHT} == set(EXERCISES)
    assert all(sum(key == other for other, *_ in WRONG) >= 4 for key in EXERCISES)
    assert all(len({m.sentence for m in e.mistakes}) >= 4 and len(e.hints) == 3 for e in EXERCISES.values())


@pytest.mark.parametrize("key", EXERCISES)
def test_a_stub_is_not_attempted_yet(key):
    exercise = EXERCISES[key]
    names = ", ".join(exercise.solution.__code__.co_varnames[: exercise.solution.__code__.co_argcount])
    space = {}
    exec(f"def stub({names}):\n    raise NotImplementedError('write your own')", space)
    assert exercise.check(space["stub"]).status == "todo"


@pytest.mark.parametrize("key", PLAIN)
def test_solutions_stand_alone_in_a_notebook(key):
    space = {"torch": torch, "math": math, "np": np}
    exec(EXERCISES[key].source(), space)
    assert EXERCISES[key].check(space[EXERCISES[key].solution.__name__])


@pytest.mark.parametrize("key", PLAIN)
def test_an_unknown_wrong_answer_is_told_by_its_numbers(key):
    """Right shapes, wrong values: every listed mistake is tried, also those that break on some of the settings."""
    solution = EXERCISES[key].solution

    def other(*args):
        # whole numbers and masks are turned over, other numbers bent
        def bend(x):
            return x.flip(0) if isinstance(x, torch.Tensor) and not x.is_floating_point() else x * 1.37 + 0.11

        return pytree.tree_map(bend, solution(*args))

    report = EXERCISES[key].check(other)
    assert report.status == "wrong" and ", expected " in report.sentence


@pytest.mark.parametrize("key", PLAIN)
def test_the_answers_of_the_first_setting_do_not_pass_for_all(key):
    """Nothing can be written in as a constant."""
    first = []

    def constant(*args):
        first.append(EXERCISES[key].solution(*args))
        return first[0]

    assert not EXERCISES[key].check(constant)
