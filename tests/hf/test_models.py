"""transformers models as plain modules: one tensor in, scores out, and every tool of the course takes them."""

import copy
import sys
from functools import partial

import pytest
import torch
from torch import nn

from compresslab import measure, storage, training
from compresslab.data import Data, Split
from compresslab.hf import models
from compresslab.packages import package
from compresslab.pruning.dependencies import groups
from compresslab.pruning.groups import zero_masks
from compresslab.pruning.heads import head_importance
from compresslab.pruning.masks import bake_, mask_
from compresslab.pruning.shrink import shrink
from compresslab.pruning.structures import structure_masks


@pytest.fixture(params=["vit", "bert"])
def model_and_x(request):
    """(model, inputs) of both families."""
    x = request.getfixturevalue("tokens") if request.param == "bert" else request.getfixturevalue("digits").test.x[:20]
    return request.getfixturevalue(request.param), x


def test_scores_are_those_of_transformers_own_call(vit, bert, digits, tokens):
    x = digits.test.x[:5]
    with torch.no_grad():
        assert torch.equal(vit(x), vit.model(pixel_values=x).logits) and vit(x).shape == (5, 10)
        own = bert.model(input_ids=tokens, attention_mask=(tokens > 0).long()).logits
        assert torch.equal(bert(tokens), own) and own.shape == (4, 7)


def test_padding_changes_no_answer(bert, tokens):
    """A sentence alone, cut to its own length, scores as it does padded beside longer ones."""
    with torch.no_grad():
        scores = bert(tokens)
        for row, length in enumerate([12, 9, 5, 2]):
            alone = bert(tokens[row : row + 1, :length])
            # the same sums in another order: some roundings of the largest of a few hundred terms
            torch.testing.assert_close(scores[row : row + 1], alone, rtol=1e-5, atol=1e-5)


def test_padding_is_the_models_own(bert, tokens):
    other = copy.deepcopy(bert)
    other.model.config.pad_token_id = 7
    assert models.Logits(other.model, "input_ids").padding == 7
    assert models.Logits(other.model, "input_ids", padding=0).padding == 0
    assert bert.padding == 0
    with torch.no_grad():
        assert not torch.allclose(models.Logits(bert.model, "input_ids", padding=49)(tokens), bert(tokens))


def test_sizes_and_seeds():
    """Counted by hand: patches and positions, blocks of 4 d² + 4 d + 4 d² + 3 d + 4 d, a norm, a classifier."""
    model = models.digits_vit(width=8, depth=3, heads=2, seed=1)
    d = 8
    embeddings = (4 * d + d) + d + 17 * d  # a patch of 4 pixels; the class token; 16 patches and the class token
    assert measure.count_parameters(model) == embeddings + 3 * (8 * d * d + 11 * d) + 2 * d + (10 * d + 10)
    again, other = (models.digits_vit(width=8, depth=3, heads=2, seed=seed) for seed in (1, 2))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters()))
    assert not torch.equal(model.model.classifier.weight, other.model.classifier.weight)
    before = torch.get_rng_state()
    models.intent_bert(20, 3, width=8, depth=1, heads=2, seed=0)
    assert torch.equal(torch.get_rng_state(), before) and not model.training


def test_it_trains_like_any_other_model(vit, digits):
    """The fixture's three epochs on the digits, far above the chance of 10 %."""
    assert measure.accuracy(vit, digits.test).accuracy > 0.6


def test_intents_are_learnt_from_word_order_too():
    """Positions are read: two classes with the same words in another order."""
    x = torch.randint(3, 9, (400, 6), generator=torch.Generator().manual_seed(0))
    y = (x[:, 1] > x[:, 4]).long()
    model = models.intent_bert(9, 2, width=32, depth=1, length=6, seed=0)
    data = Data("order", ("0", "1"), Split(x[:300], y[:300]), Split(x[300:], y[300:]), Split(x[300:], y[300:]))
    training.fit(model, data, partial(torch.optim.AdamW, lr=3e-3), epochs=15)
    assert measure.accuracy(model, data.test).accuracy > 0.8


# ------------------------------------------------------------------------------------------ pruning


def test_heads_and_neurons_are_found_in_every_block(model_and_x):
    model, x = model_and_x
    heads = models.heads_attribute(model)
    assert heads == "num_attention_heads"
    found = groups(model, x[:2], heads=heads)
    neurons = [layer.out_features for name, layer in model.named_modules() if name.endswith(("fc1", "mediate.dense"))]
    assert [group.size for group in found if group.kind == "head"] == [4, 4]
    assert [group.size for group in found if group.kind == "neuron"][:2] == neurons == [64, 64]


def test_a_shrunk_model_gives_the_masked_ones_scores_and_loads_again(model_and_x, tmp_path):
    model, x = copy.deepcopy(model_and_x)
    fresh = copy.deepcopy(model)
    mask_(model, structure_masks(model, x, 0.5, "l2", heads="num_attention_heads"))
    small = shrink(model, x, heads="num_attention_heads")
    with torch.no_grad():
        masked, scores = model(x), small(x)
    # sums with fewer zeros in them, through two blocks: a hundred roundings of the largest score
    rounding = 100 * torch.finfo(torch.float32).eps * masked.abs().max()
    assert (scores - masked).abs().max() <= rounding
    with torch.no_grad():
        assert (masked - fresh(x)).abs().max() > 100 * rounding  # the masks do something
    assert measure.count_macs(small, x[:1]) < 0.7 * measure.count_macs(fresh, x[:1])
    halved = ("query", "key", "value", "q_proj", "k_proj", "v_proj", "fc1", "intermediate.dense")
    for name, layer in small.named_modules():
        if name.endswith(halved):
            assert 2 * layer.out_features == fresh.get_submodule(name).out_features, name
    assert measure.count_parameters(small) < measure.count_parameters(fresh) - 2 * 4 * 32 * 16
    storage.save(small, tmp_path / "small.safetensors")
    loaded = storage.load(fresh, tmp_path / "small.safetensors")
    with torch.no_grad():
        assert torch.equal(loaded(x), scores)


def test_head_importance_knows_a_head_that_does_nothing(vit, digits):
    model = copy.deepcopy(vit)
    found = [group for group in groups(model, digits.test.x[:2], heads="num_attention_heads") if group.kind == "head"]
    idle = {group.name: torch.arange(4) != 2 for group in found}
    mask_(model, zero_masks(model, found, idle))
    bake_(model)
    scores = head_importance(model, found, (digits.val.x[:50], digits.val.y[:50]))
    for score in scores.values():
        assert score[2] == 0 and (score[[0, 1, 3]] > 0).all()


def test_a_family_that_the_pruning_does_not_know_gets_a_sentence():
    transformers = package("transformers")
    config = transformers.GPT2Config(vocab_size=20, n_embd=8, n_layer=1, n_head=2, num_labels=3, pad_token_id=0)
    model = models.Logits(transformers.GPT2ForSequenceClassification(config), "input_ids")
    with pytest.raises(ValueError, match="of a family that the pruning knows .*, got GPT2ForSequenceClassification: "):
        models.heads_attribute(model)
    with pytest.raises(ValueError, match="got Linear"):
        models.heads_attribute(nn.Linear(2, 2))


def test_distilbert_calls_its_heads_otherwise():
    transformers = package("transformers")
    config = transformers.DistilBertConfig(vocab_size=20, dim=8, n_layers=1, n_heads=2, hidden_dim=16, num_labels=3)
    model = models.Logits(transformers.DistilBertForSequenceClassification(config), "input_ids").eval()
    assert models.heads_attribute(model) == "n_heads"
    found = groups(model, torch.ones(2, 5, dtype=torch.long), heads="n_heads")
    assert [(group.kind, group.size) for group in found if group.kind == "head"] == [("head", 2)]


# ------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: models.digits_vit(width=30), r"width must be a multiple of heads \(4\), got 30"),
        (lambda: models.digits_vit(patch_size=3), "patch_size must divide the 8 pixels of a side, got 3"),
        (lambda: models.digits_vit(patch_size=0), "patch_size must be a whole number of at least 1, got 0"),
        (lambda: models.digits_vit(depth=0), "depth must be a whole number of at least 1, got 0"),
        (lambda: models.intent_bert(0, 7), "vocabulary must be a whole number of at least 1, got 0"),
        (lambda: models.Logits(nn.Linear(2, 2), "pixels"), "input_name must be one of pixel_values, input_ids, got 'p"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_without_transformers_a_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModuleNotFoundError, match="transformers is not installed: python -m pip install transformers"):
        models.digits_vit()
