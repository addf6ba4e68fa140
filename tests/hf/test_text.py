"""Sentences as tokens, and an intent classifier on SNIPS."""

import json
import math
import re
from collections import Counter
from functools import partial

import pytest
import torch

from compresslab import measure, training
from compresslab.hf import models, text

SENTENCES = ["Play some jazz, please", "play it again", "Book a table for two", "play  jazz"]


def test_tokens_by_hand():
    words = text.tokenizer(SENTENCES, length=6, min_frequency=2)
    assert words.get_vocab() == {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "play": 3, "jazz": 4}
    wanted = [[2, 3, 1, 4, 1, 1], [2, 3, 1, 1, 0, 0], [2, 1, 1, 1, 1, 1], [2, 3, 4, 0, 0, 0]]
    tokens = text.encode(words, SENTENCES)
    assert tokens.dtype == torch.int64 and tokens.tolist() == wanted


def test_the_vocabulary_is_the_words_that_come_often_enough():
    """Beside a count by hand, with a regular expression for words and marks."""
    words = text.tokenizer(SENTENCES, min_frequency=1)
    counts = Counter(re.findall(r"\w+|[^\w\s]+", " ".join(SENTENCES).lower()))
    assert set(words.get_vocab()) == set(text.SPECIAL) | set(counts)
    assert words.get_vocab() == text.tokenizer(SENTENCES, min_frequency=1).get_vocab()


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: text.tokenizer([]), r"sentences must be a list of at least one sentence, got \[\]"),
        (lambda: text.tokenizer("play it"), "sentences must be a list of at least one sentence, got 'play it'"),
        (lambda: text.tokenizer(SENTENCES, length=1), "length must be at least 2, .* got 1"),
    ],
)
def test_bad_input_gets_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


# ------------------------------------------------------------------------------------------ SNIPS


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Forty sentences to learn and two to test for each intent, one file in latin-1, in pieces as in SNIPS."""
    (tmp_path / "snips").mkdir()
    for intent in text.INTENTS:
        for name, n in ((f"train_{intent}_full.json", 40), (f"validate_{intent}.json", 2)):
            found = [{"data": [{"text": f"{intent} "}, {"text": f"café {i}", "entity": "place"}]} for i in range(n)]
            content = json.dumps({intent: found}, ensure_ascii=False)
            (tmp_path / "snips" / name).write_bytes(content.encode("latin-1" if intent == "PlayMusic" else "utf-8"))
    monkeypatch.setenv("COMPRESSLAB_DATA", str(tmp_path))
    return tmp_path / "snips"


def test_files_become_tokens_and_intents(folder):
    data, words = text.snips(length=5, min_frequency=1)
    assert [len(part.y) for part in (data.train, data.val, data.test)] == [266, 14, 14]
    assert "café" in words.get_vocab() and data.classes == text.INTENTS
    assert data.test.y.tolist() == [number for number in range(7) for _ in range(2)]
    first = data.test.x[6 + 1]
    assert [words.id_to_token(token) for token in first] == ["[CLS]", "playmusic", "café", "1", "[PAD]"]


def test_a_missing_or_damaged_file_gets_a_sentence(folder, monkeypatch):
    (folder / "validate_RateBook.json").write_text('{"RateBook": [{"dat')
    with pytest.raises(ValueError, match="validate_RateBook.json is damaged: replace it with the publisher's file"):
        text.snips()
    (folder / "validate_RateBook.json").unlink()
    sentence = "validate_RateBook.json of SNIPS is not here: put the files of https://.* in a folder snips, and let "
    with pytest.raises(FileNotFoundError, match=sentence):
        text.snips()
    monkeypatch.delenv("COMPRESSLAB_DATA")
    with pytest.raises(FileNotFoundError, match="train_AddToPlaylist_full.json of SNIPS is not here"):
        text.snips()


@pytest.mark.needs("SNIPS")
@pytest.mark.timeout(300)
def test_a_small_bert_learns_the_intents():
    data, words = text.snips(length=16)
    assert [len(part.y) for part in (data.train, data.val, data.test)] == [13095, 689, 700]
    assert data.test.y.bincount().tolist() == [100] * 7
    model = models.intent_bert(words.get_vocab_size(), 7, length=16, seed=0)
    optimizer, down = partial(torch.optim.AdamW, lr=3e-3), lambda progress: math.cos(math.pi / 2 * progress)
    training.fit(model, data, optimizer, epochs=2, batch_size=64, schedule=down)
    assert measure.accuracy(model, data.test).accuracy > 0.95
