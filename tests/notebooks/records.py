"""Exercises for a student: what the check needs to know as numbers, and of the source only what runs a trial."""

from compresslab.lesson.checking import close, mismatch, plain
from compresslab.lesson.reference import copy, pack


def record(exercise):
    """What solution, oracle and mistakes of an exercise give, as data for JSON; `reference.Recorded` reads it."""
    live, answers, mistaken = exercise.reference, [], []
    sentences = list(dict.fromkeys(mistake.sentence for mistake in exercise.mistakes))

    def fn(*args, **kwargs):
        call, before, after = len(answers) + 1, copy((args, kwargs)), copy((args, kwargs))
        answer = live.answer(call, *after)
        if not close(before, after, 0, 0):
            raise ValueError(f"{exercise.key}: the solution must leave its arguments alone to be recorded")
        answers.append(pack(answer))
        wrong = [
            (sentences.index(sentence), pack(theirs))
            for sentence, theirs in live.mistaken(call, *before)
            if mismatch(theirs, answer) or not close(theirs, answer, exercise.rtol, exercise.atol)
        ]
        mistaken.append(wrong)
        return plain(answer, answer)

    expected = exercise._run(live.expected)
    exercise.results(fn, expected)
    known = live.known(lambda function: exercise.results(function, expected))
    return {
        "name": live.name,
        "parameters": live.parameters,
        "sentences": sentences,
        "expected": pack(expected),
        "answers": answers,
        "known": [(sentences.index(sentence), pack(result)) for sentence, result in known],
        "mistaken": mistaken,
    }
