"""Networks, labels, losses and autograd states as users have them."""

import pytest
import torch
from torch import nn

from assay.core import InvalidInputError, cross_entropy, seeded, squared_error
from assay.nets import mlp, small_conv
from assay.reconstruction import (
    SimulatedDynamicsReconstructor,
    invert_embedding,
    predicted_multipliers,
    retrieval_audit,
    simulate_training,
    train_in_span,
    train_to_stationarity,
)
from helpers.reconstruction_networks import displaced, relu_network
from helpers.rows import subjects

STATES = (torch.no_grad, torch.inference_mode)
DECAY = 0.1


def data():
    return torch.rand(9, 4, generator=seeded(0)).double(), torch.arange(9) % 3


def smooth_network():
    return subjects.smooth_network().double()


@pytest.mark.parametrize("state", STATES)
def test_the_callers_autograd_state_does_not_matter(state):
    def everything(x, y, models):
        span, smooth, start, trained = models
        span_result = train_in_span(span, x, y, loss=cross_entropy, weight_decay=DECAY, n_iter=5).loss
        report = train_to_stationarity(smooth, x, y, loss=cross_entropy, weight_decay=DECAY, n_iter=5)
        multipliers = predicted_multipliers(start, x, y, loss=cross_entropy, weight_decay=DECAY)
        targets = nn.functional.one_hot(y, 3).double()
        simulated = simulate_training(start, x, targets, loss=squared_error, lr=0.1, epochs=2)
        options = {"n_samples": 2, "lr": 0.1, "epochs": 2, "n_iter": 2}
        found = SimulatedDynamicsReconstructor(start.state_dict(), **options).fit(trained).reconstructions_
        inverted = invert_embedding(start, x[0, :3], image_shape=(1, 1, 4), n_iter=2).image
        return [multipliers, *simulated.values(), found, inverted], span_result, report

    x, y = data()
    first, second = (
        (relu_network(), smooth_network(), Flat(relu_network()), Flat(displaced(relu_network()))) for _ in range(2)
    )
    tensors, *numbers = everything(x, y, first)
    assert not any(value.requires_grad for value in tensors)
    with state():
        inside, *others = everything(x.clone(), y.clone(), second)
    assert all(torch.equal(one, other) for one, other in zip(inside, tensors, strict=True))
    assert others == numbers


class Flat(nn.Sequential):
    """Layers after flattening, which takes samples and images alike."""

    def __init__(self, layers):
        super().__init__(*layers)

    def forward(self, x):
        return super().forward(x.flatten(1))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
def test_labels_of_any_type_and_in_columns_are_the_same(dtype):
    x, y = data()
    column = y.to(dtype)[:, None]
    options = {"loss": nn.CrossEntropyLoss(), "weight_decay": DECAY}
    one, other = (predicted_multipliers(relu_network(), x, labels, **options) for labels in (y, column))
    assert torch.equal(one, other)
    reports = [train_to_stationarity(smooth_network(), x, labels, **options, n_iter=3) for labels in (y, column)]
    assert reports[0] == reports[1]
    losses = [train_in_span(relu_network(), x, labels, **options, n_iter=3).loss for labels in (y, column)]
    assert losses[0] == losses[1]


def test_a_column_of_outputs_and_a_vector_of_targets_do_not_broadcast():
    x, _ = data()
    y = x.sum(1)
    model = mlp((4, 1), generator=seeded(0)).double()
    expected = 2 * (y - model(x)[:, 0]) / (DECAY * len(x))
    for loss in (nn.MSELoss(), squared_error):
        found = predicted_multipliers(model, x, y, loss=loss, weight_decay=DECAY)
        torch.testing.assert_close(found, expected.detach())


def test_class_weights_are_those_of_the_whole_set():
    x, y = data()
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 5.0]).double())
    model = relu_network()
    logits = model(x).detach().requires_grad_()
    (slope,) = torch.autograd.grad(loss(logits, y), logits)
    found = predicted_multipliers(model, x, y, loss=loss, weight_decay=DECAY)
    torch.testing.assert_close(found, -slope / DECAY)
    with pytest.raises(InvalidInputError, match="mean"):
        predicted_multipliers(model, x, y, loss=nn.CrossEntropyLoss(reduction="sum"), weight_decay=DECAY)


def test_frozen_parameters_stay_in_every_training():
    x, y = data()
    options = {"loss": cross_entropy, "weight_decay": DECAY, "n_iter": 5}
    for train, make in ((train_in_span, relu_network), (train_to_stationarity, smooth_network)):
        for place in (0, 2):
            model = make()
            model[place].requires_grad_(False)
            before = model[place].weight.clone()
            train(model, x, y, **options)
            torch.testing.assert_close(model[place].weight, before, rtol=0, atol=1e-15)
    model = relu_network()
    model[0].requires_grad_(False)
    targets = nn.functional.one_hot(y, 3).double()
    after = simulate_training(model, x, targets, loss=squared_error, lr=0.1, epochs=2)
    assert torch.equal(after["0.weight"], model[0].weight)
    assert not torch.equal(after["2.weight"], model[2].weight)
    assert list(after) == [name for name, _ in model.named_parameters()]


@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm])
@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_weight_norm_is_trained_where_the_span_allows(norm):
    x, y = data()
    options = {"loss": cross_entropy, "weight_decay": DECAY, "n_iter": 5}
    first, last, smooth = relu_network(), relu_network(), smooth_network()
    norm(first[0]), norm(last[2]), norm(smooth[0])
    with pytest.raises(InvalidInputError, match="remove_weight_norm"):
        train_in_span(first, x, y, **options)
    before = last(x)
    train_in_span(last, x, y, **options)
    assert not torch.equal(last(x), before)
    assert train_to_stationarity(smooth, x, y, **options).n_iter == 5


def test_wrappers_are_seen_through():
    x, y = data()
    options = {"loss": cross_entropy, "weight_decay": DECAY, "n_iter": 5}
    plain, inner = relu_network(), relu_network()
    train_in_span(plain, x, y, **options)
    train_in_span(nn.DataParallel(inner), x, y, **options)
    assert torch.equal(plain(x), inner(x))
    plain, inner = smooth_network(), smooth_network()
    train_to_stationarity(plain, x, y, **options)
    train_to_stationarity(nn.DataParallel(inner), x, y, **options)
    assert torch.equal(plain(x), inner(x))


def test_members_as_numbers_are_flags():
    pool = torch.eye(4)
    members = torch.tensor([True, False, False, True])
    expected = retrieval_audit(pool[:2] + 0.1, pool, members, k=2)
    found = retrieval_audit(pool[:2] + 0.1, pool, members.long(), k=2)
    assert (found.precision, found.recall, found.chance) == (expected.precision, expected.recall, expected.chance)
    with pytest.raises(InvalidInputError, match="booleans, or of 0 and 1"):
        retrieval_audit(pool[:2], pool, torch.arange(4), k=2)


def test_an_encoder_that_draws_is_refused():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = small_conv((1, 8, 8), 6, channels=(4,), hidden=8, generator=seeded(0))

        def forward(self, x):
            return nn.functional.dropout(self.body(x))

    with pytest.raises(InvalidInputError, match="dropout"):
        invert_embedding(Noisy(), torch.ones(6), image_shape=(1, 8, 8), n_iter=1)
