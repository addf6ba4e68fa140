"""What holds for every exercise of every lesson."""

import pytest

from compresslab.optimizers import exercises as optimizers
from compresslab.pruning import exercises as pruning
from compresslab.quantization import exercises as quantization
from compresslab.search import exercises as search
from compresslab.tour import exercises as tour

EXERCISES = {
    exercise.key: exercise for exercise in (*tour.ALL, *optimizers.ALL, *search.ALL, *pruning.ALL, *quantization.ALL)
}


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
