"""Where the parameters, the multiplications and the time are: counted by hand."""

import copy

import pytest
import torch
from torch import nn

from compresslab import measure, models
from compresslab.hf.anatomy import anatomy
from compresslab.hf.models import Logits
from compresslab.packages import package


def test_a_vision_transformer_counted_by_hand(vit, digits):
    table = anatomy(vit, digits.test.x[:1], rounds=2)
    d, tokens, blocks, neurons = 32, 17, 2, 64
    assert table.parameters.to_dict() == {
        "embeddings": 4 * d + d + d + tokens * d,
        "attention": blocks * 4 * (d * d + d),
        "feed-forward": blocks * (2 * d * neurons + neurons + d),
        "norms": (2 * blocks + 1) * 2 * d,
        "head": 10 * d + 10,
        "rest": 0,
    }
    assert table.macs.to_dict() == {
        "embeddings": 16 * 4 * d,
        "attention": blocks * (4 * tokens * d * d + 2 * tokens * tokens * d),
        "feed-forward": blocks * 2 * tokens * d * neurons,
        "norms": 0,
        "head": 10 * d,
        "rest": 0,
    }


def test_parts_add_up_to_the_whole(vit, bert, digits, tokens):
    for model, x in ((vit, digits.test.x[:3]), (bert, tokens)):
        table = anatomy(model.train(), x, rounds=3)
        assert model.training
        assert table.parameters.sum() == measure.count_parameters(model.eval())
        assert table.size_bytes.sum() == 4 * table.parameters.sum()
        assert table.macs.sum() == measure.count_macs(model, x)
        assert table.time_share.sum() == pytest.approx(1) and (table.time_share > 0).all()
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert table.parameters["embeddings"] == (50 + 12 + 1) * 32  # BERT's words, positions and kinds of sentence


def test_other_families_have_the_same_parts():
    """The course's own transformer, and GPT-2, whose layers have other names."""
    table = anatomy(models.tiny_transformer(width=8, heads=2, depth=3), torch.zeros(1, 1, 8, 8), rounds=1)
    wanted = {"embeddings": 8 * 8 + 8, "attention": 3 * 4 * 72, "feed-forward": 3 * (8 * 16 * 2 + 16 + 8)}
    assert table.parameters.to_dict() == wanted | {"norms": 7 * 16, "head": 90, "rest": 64}  # rest: its bare positions
    transformers = package("transformers")
    config = transformers.GPT2Config(vocab_size=20, n_positions=9, n_embd=8, n_layer=2, n_head=2, num_labels=3,
                                     pad_token_id=0, attn_implementation="eager")  # fmt: skip
    table = anatomy(Logits(transformers.GPT2ForSequenceClassification(config), "input_ids"), torch.ones(1, 5).long())
    wanted = {"embeddings": 29 * 8, "attention": 2 * 4 * 72, "feed-forward": 2 * (8 * 32 * 2 + 32 + 8)}
    assert table.parameters.to_dict() == wanted | {"norms": 5 * 16, "head": 3 * 8, "rest": 0}


def test_time_goes_where_the_work_is(vit, digits, monkeypatch):
    """A clock that goes on only inside the feed-forward layers."""
    ticks = [0.0]
    monkeypatch.setattr("compresslab.hf.anatomy.time.perf_counter", lambda: ticks[0])

    def slow(layer, seconds):
        def forward(x):
            ticks[0] += seconds
            return nn.functional.linear(x, layer.weight, layer.bias)

        monkeypatch.setattr(layer, "forward", forward)

    for name, layer in vit.named_modules():
        if name.endswith(("fc1", "q_proj")):
            slow(layer, 3.0 if name.endswith("fc1") else 1.0)
    table = anatomy(vit, digits.test.x[:1], rounds=3)
    assert table.time_share.to_dict() == {
        "embeddings": 0, "attention": 0.25, "feed-forward": 0.75, "norms": 0, "head": 0, "rest": 0,
    }  # fmt: skip


def test_time_after_a_part_within_a_part_goes_to_the_outer_one(bert, tokens, monkeypatch):
    """BERT's embeddings go through a norm, then through dropout, where alone this clock goes on."""
    ticks, model = [0.0], copy.deepcopy(bert)
    monkeypatch.setattr("compresslab.hf.anatomy.time.perf_counter", lambda: ticks[0])

    def dropout(x):
        ticks[0] += 1
        return x

    model.model.bert.embeddings.dropout.forward = dropout
    assert anatomy(model, tokens, rounds=3).time_share["embeddings"] == 1


def test_what_has_no_attention_is_refused():
    with pytest.raises(ValueError, match="model must be a transformer, got Sequential without an attention module"):
        anatomy(models.mlp(), torch.zeros(1, 64))
    with pytest.raises(ValueError, match="rounds must be at least 1, got 0"):
        anatomy(nn.Linear(1, 1), torch.zeros(1, 1), rounds=0)
