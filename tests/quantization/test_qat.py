"""Quantization-aware training: what it adds to `static_` and `fit`."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from compresslab import data, models, training
from compresslab.compression.distillation import soft_loss
from compresslab.measure import predict
from compresslab.quantization.fake import activation_quantizers, freeze_, integer_codes, weight_quantizers
from compresslab.quantization.post_training import static_
from compresslab.quantization.qat import quantize_and_train_
from compresslab.quantization.ranges import min_max, mse
from compresslab.quantization.scheme import Scheme

DIGITS = data.load("digits")
X = DIGITS.train.x[:128]
TWO = Scheme(bits=2, granularity="channel"), Scheme(bits=2, symmetric=False, signed=False)


@pytest.fixture(scope="module")
def trained():
    model = models.mlp(seed=0)
    training.fit(model, DIGITS, partial(torch.optim.Adam, lr=3e-3), epochs=12)
    return model


def test_with_ranges_found_once_it_is_static_then_fit(trained):
    by_hand, model = copy.deepcopy(trained), copy.deepcopy(trained)
    static_(by_hand, X, *TWO, mse, weight_rule=mse)
    wanted = training.fit(by_hand, DIGITS, epochs=2, seed=3)
    history = quantize_and_train_(model, DIGITS, X, *TWO, every=1, epochs=2, seed=3)
    assert history.drop(columns="seconds").equals(wanted.drop(columns="seconds"))
    assert torch.equal(predict(model, X), predict(by_hand, X))


def test_ranges_follow_the_weights_and_the_parameters_stay_the_same_tensors(trained):
    model, asked = copy.deepcopy(trained), []
    parameters = list(model.parameters())

    def rule(blocks, scheme):
        asked.append(blocks.clone())
        return min_max(blocks, scheme)

    quantize_and_train_(model, DIGITS, X, *TWO, weight_rule=rule, every=0.25, epochs=2)
    assert len(asked) == 4 * 2  # two layers, at the start and after 1/4, 2/4 and 3/4 of the training
    assert {id(p) for p in model.parameters()} == {id(p) for p in parameters}
    scales = [q.scale for q in weight_quantizers(model).values()]
    assert all(torch.equal(scale, blocks.abs().amax(1)) for scale, blocks in zip(scales, asked[-2:]))
    assert not torch.equal(asked[0], asked[-2])


def test_two_bits_are_learned(trained):
    """Measured: 280 of 359 after training, 329 with 4 epochs more at 2 bits, 340 in float. 18 are 5 points."""
    quantised, model = static_(copy.deepcopy(trained), X, *TWO, mse, weight_rule=mse), copy.deepcopy(trained)
    quantize_and_train_(model, DIGITS, X, *TWO, epochs=4)
    assert training.evaluate(model, DIGITS.val).correct >= training.evaluate(quantised, DIGITS.val).correct + 18
    assert all(len(q.codes.unique()) <= 3 for q in integer_codes(model).values())
    answers = predict(model, X)
    assert torch.equal(predict(freeze_(model), X), answers)


def test_a_distilled_model_agrees_more_with_its_teacher(trained):
    def disagreement(loss):
        model = copy.deepcopy(trained)
        quantize_and_train_(model, DIGITS, X, *TWO, epochs=4, loss=loss)
        teacher = F.log_softmax(predict(trained, DIGITS.val.x), 1)
        return F.kl_div(F.log_softmax(predict(model, DIGITS.val.x), 1), teacher, log_target=True, reduction="batchmean")

    assert disagreement(soft_loss(trained, temperature=1, share=1)) < disagreement(None)


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda m: quantize_and_train_(m, DIGITS, X, every=0), r"every must be in \(0, 1\], got 0"),
        (
            lambda m: quantize_and_train_(m, DIGITS, X[:0]),
            r"calibration must be a tensor \(n, \.\.\.\) of at least one",
        ),
    ],
)
def test_refuses_bad_numbers_and_leaves_the_model_alone(call, sentence):
    model = models.mlp(seed=0)
    answers = predict(model, X)
    with pytest.raises(ValueError, match=sentence):
        call(model)
    assert torch.equal(predict(model, X), answers) and not weight_quantizers(model)


def snapshot(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}, [m.training for m in model.modules()]


@pytest.mark.parametrize("settings", [dict(tempo=3), dict(on_step=print), dict(batch_size=0), dict(optimizer=None)])
def test_settings_that_fit_refuses_leave_the_model_alone(settings):
    model = models.mlp(seed=0).eval()
    before, modes = snapshot(model)
    with pytest.raises((TypeError, ValueError)):
        quantize_and_train_(model, DIGITS, X, **settings)
    after, modes_after = snapshot(model)
    assert after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)
    assert modes_after == modes and not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_an_interrupt_while_ranges_are_found_anew_leaves_a_quantised_model(capsys):
    calls = []

    def rule(blocks, scheme):
        calls.append(blocks)
        if len(calls) == 7:  # four tensors the first time
            raise KeyboardInterrupt
        return min_max(blocks, scheme)

    model = models.mlp(seed=0)
    history = quantize_and_train_(model, DIGITS, X, rule=rule, weight_rule=rule, epochs=1)
    assert len(calls) == 7 and history.empty and "Interrupted" in capsys.readouterr().out
    assert weight_quantizers(model).keys() == {"1", "3"} and len(activation_quantizers(model)) == 2
    assert predict(model, X).isfinite().all()


def test_layers_may_be_named_by_a_generator():
    model = models.mlp(seed=0)
    quantize_and_train_(model, DIGITS, X, layers=(name for name in ["3"]), epochs=1)
    assert weight_quantizers(model).keys() == {"3"}
