"""Sentences as numbers: a vocabulary of words, and the SNIPS sentences with the intent of each."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..data import Data, Split, stratified
from ..packages import package

SPECIAL = ["[PAD]", "[UNK]", "[CLS]"]  # tokens 0, 1, 2: padding, a word outside the vocabulary, the start
SOURCE = "https://github.com/sonos/nlu-benchmark, folder 2017-06-custom-intent-engines"
INTENTS = ("AddToPlaylist", "BookRestaurant", "GetWeather", "PlayMusic", "RateBook", "SearchCreativeWork",
           "SearchScreeningEvent")  # fmt: skip


def tokenizer(sentences: Sequence[str], length: int = 24, min_frequency: int = 2):
    """A `tokenizers.Tokenizer` whose vocabulary is the words of `sentences`, lower case, seen `min_frequency` times.

    A sentence becomes [CLS], its words and punctuation marks, then [PAD] up to `length` tokens; longer ones are cut.
    """
    if not sentences or isinstance(sentences, str):
        raise ValueError(f"sentences must be a list of at least one sentence, got {sentences!r}")
    if length < 2:
        raise ValueError(f"length must be at least 2, [CLS] and a word, got {length}")
    tk = package("tokenizers")
    words = tk.Tokenizer(tk.models.WordLevel(unk_token="[UNK]"))
    words.normalizer = tk.normalizers.Lowercase()
    words.pre_tokenizer = tk.pre_tokenizers.Whitespace()
    trainer = tk.trainers.WordLevelTrainer(min_frequency=min_frequency, special_tokens=SPECIAL, show_progress=False)
    words.train_from_iterator(sentences, trainer)
    words.post_processor = tk.processors.TemplateProcessing(single="[CLS] $0", special_tokens=[("[CLS]", 2)])
    words.enable_truncation(length)
    words.enable_padding(length=length)
    return words


def encode(tokenizer, sentences: Sequence[str]) -> Tensor:
    """Tokens of `sentences`, int64 (n, length)."""
    return torch.tensor([line.ids for line in tokenizer.encode_batch(list(sentences))])


def snips(length: int = 24, min_frequency: int = 2, seed: int = 0):
    """(data, tokenizer) of SNIPS: 13,784 spoken commands to learn from and 700 to test on, in seven intents.

    A. Coucke et al., "Snips Voice Platform" (2018), arXiv:1805.10190. `data` is as from `data.load`, with tokens, int64
    (n, length), in the place of images: 5 % of the training sentences are `val`; their words are in the vocabulary. The
    files are read from the folder snips/ in the one that the environment variable COMPRESSLAB_DATA names.

    FileNotFoundError if a file is missing, ValueError if one is damaged.
    """
    (train, y), (test, test_y) = _sentences("train_{}_full.json"), _sentences("validate_{}.json")
    words = tokenizer(train, length, min_frequency)
    x = encode(words, train)
    fit, val = stratified(torch.arange(len(y)), y, len(y) // 20, seed)
    parts = Split(x[fit], y[fit]), Split(x[val], y[val]), Split(encode(words, test), test_y)
    return Data("snips", INTENTS, *parts), words


def _sentences(file: str) -> tuple[list[str], Tensor]:
    sentences, classes = [], []
    for number, intent in enumerate(INTENTS):
        found = _read(intent, file.format(intent))
        sentences += found
        classes += [number] * len(found)
    return sentences, torch.tensor(classes)


def _read(intent: str, file: str) -> list[str]:
    folder = os.environ.get("COMPRESSLAB_DATA")
    path = Path(folder or ".", "snips", file)
    if not folder or not path.is_file():
        raise FileNotFoundError(
            f"{file} of SNIPS is not here: put the files of {SOURCE} in a folder snips, and let the environment "
            f"variable COMPRESSLAB_DATA name the folder around it"
        )
    raw = path.read_bytes()
    try:
        try:
            text = raw.decode()
        except UnicodeDecodeError:  # one of the files
            text = raw.decode("latin-1")
        return ["".join(part["text"] for part in sentence["data"]) for sentence in json.loads(text)[intent]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: replace it with the publisher's file ({SOURCE})") from error
