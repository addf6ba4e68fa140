"""Tickets: the batched rounds are those of pruning, rewinding and training one network by hand."""

from functools import partial

import pytest
import torch

from compresslab import data, models, training
from compresslab.optimizers import rules
from compresslab.pruning import lottery, masks

SEEDS = (0, 5)
make = partial(models.mlp, (64, 16, 10))


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def result(digits):
    return lottery.ticket(
        make, digits, rules.adam, lr=0.01, rate=0.4, rounds=3, seeds=SEEDS, epochs=2, dtype=torch.float64
    )


def test_one_row_a_run_and_epoch(result):
    history, tickets = result
    assert list(history.columns) == [
        "start", "seed", "epoch", "train_loss", "val_loss", "val_accuracy", "round", "sparsity",
    ]  # fmt: skip
    assert len(history) == 4 * 2 * 2 * 2 and history.groupby(["round", "start", "seed"]).epoch.count().eq(2).all()
    assert history.groupby("round")["sparsity"].first().tolist() == pytest.approx([0, 0.4, 0.64, 0.784])
    assert list(tickets) == list(SEEDS)
    for name, size in {"1.weight": 1024, "3.weight": 160}.items():
        assert (~tickets[5][name]).sum() == round((1 - 0.6**3) * size)


def test_rounds_by_hand(digits, result):
    """Train, mask the smallest of what is left, start again from the same weights: one network with `fit`.

    In float64 the batched sums, taken in another order, move a weight by 1e-12 or so in 68 steps (see test_training):
    no two of 1184 magnitudes lie so near to each other at the threshold.
    """
    train, val = (data.Split(split.x.double(), split.y) for split in (digits.train, digits.val))
    digits = data.Data("digits", digits.classes, train, val, val)
    history, tickets = result
    kept = {}
    for k in range(4):
        model = make(seed=5).double()
        masks.mask_(model, kept)
        alone = training.fit(model, digits, partial(torch.optim.Adam, lr=0.01), epochs=2, seed=5)
        rows = history[(history["round"] == k) & (history.start == "rewound") & (history.seed == 5)]
        assert rows.val_loss.tolist() == pytest.approx(alone.val_loss.tolist(), rel=1e-9)
        if k < 3:
            kept = {}
            for i in (1, 3):
                size = model[i].weight.abs().flatten()
                smallest = size.argsort()[: round((1 - 0.6 ** (k + 1)) * len(size))]
                kept[f"{i}.weight"] = torch.ones_like(size, dtype=torch.bool).index_fill(0, smallest, False)
                kept[f"{i}.weight"] = kept[f"{i}.weight"].view_as(model[i].weight)
    for name, mask in tickets[5].items():
        assert torch.equal(mask, kept[name])


def test_the_control_has_the_same_mask_and_another_start(digits, monkeypatch):
    calls = []

    def watched(make_model, data, runs, rule, **settings):
        history, trained = training.fit_many(make_model, data, runs, rule, **settings)
        calls.append((runs, settings["masks"], [[p.detach().clone() for p in model.parameters()] for model in trained]))
        return history, trained

    monkeypatch.setattr(lottery, "fit_many", watched)
    lottery.ticket(make, digits, rules.adam, lr=0.01, rounds=2, seeds=SEEDS, epochs=1, scope="global")
    for runs, stacked, trained in calls:
        assert [run["seed"] for run in runs] == [0, 5, 1000, 1005]
        for name, mask in stacked.items():
            assert torch.equal(mask[:2], mask[2:]) and (len(calls) == 1 or mask.dtype == torch.bool)
            for i, parameters in enumerate(trained):
                weight = parameters[{"1.weight": 0, "3.weight": 2}[name]]
                assert (weight[~mask[i]] == 0).all() and (weight[mask[i]] != 0).all()
    for (_, before, _), (_, now, _) in zip(calls, calls[1:]):
        assert not any((now[name] & ~before[name]).any() for name in now)  # tickets nest
        share = sum((~mask[0]).sum().item() for mask in now.values()) / 1184
    assert share == pytest.approx(0.36, abs=1e-3) and not torch.equal(now["1.weight"][0], now["1.weight"][1])


def test_an_interrupt_keeps_the_rounds_that_are_done(digits, capsys):
    calls = []

    def impatient(progress):
        calls.append(progress)
        if len(calls) > 34 * 2 * 2 + 40:  # 34 steps an epoch: the third round is cut in its second epoch
            raise KeyboardInterrupt
        return 1.0

    settings = dict(lr=0.01, rate=0.5, rounds=5, seeds=SEEDS, epochs=2, schedule=impatient)
    history, tickets = lottery.ticket(make, digits, rules.adam, **settings)
    assert sorted(history["round"].unique()) == [0, 1]
    assert (~tickets[0]["1.weight"]).sum() == 512


@pytest.mark.parametrize(
    "settings, sentence",
    [
        (dict(rate=1.0), r"rate must be in \(0, 1\), got 1.0"),
        (dict(epochs=0), "epochs must be at least 1, got 0"),
        (dict(seeds=()), "seeds must hold at least one seed, got none"),
        (dict(scope="all"), "scope must be local or global, got 'all'"),
        (
            dict(rate=0.9, rounds=4),
            "sparsity must leave something of every weight, got 0.9999, which leaves 1.weight empty",
        ),
    ],
)
def test_bad_input(digits, settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        lottery.ticket(make, digits, rules.adam, lr=0.01, **settings)
