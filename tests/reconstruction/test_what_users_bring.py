"""Networks, labels, losses and autograd states as users have them."""

import copy

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

STATES = (torch.no_grad, torch.inference_mode)
DECAY = 0.1


def data():
    return torch.rand(9, 4, generator=seeded(0)).double(), torch.arange(9) % 3


def relu_network():
    return mlp((4, 6, 3), generator=seeded(1)).double()


def smooth_network():
    first, _, last = relu_network()
    return nn.Sequential(first, nn.Tanh(), last)


def displaced(model):
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=seeded(7)).double()
    return other


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


def test_simulation_leaves_out_what_training_did_not_move():
    start = relu_network()
    trained = displaced(start)
    trained[0].load_state_dict(start[0].state_dict())
    trained[0].requires_grad_(False)
    options = {"n_samples": 2, "lr": 0.1, "epochs": 1, "n_iter": 1, "relu_alpha": None, "total_variation": 0.0}
    found = SimulatedDynamicsReconstructor(start.state_dict(), **options).fit(trained)
    # Of the first simulated step only the head counts.
    source = seeded(0)
    x = 0.5 * torch.randn(2, 4, generator=source).double()
    targets = torch.randn(2, 3, generator=source).double().softmax(1)
    slopes = torch.autograd.grad(cross_entropy_of(start(x), targets), list(start[2].parameters()))
    step = torch.cat([-part.flatten() for part in slopes])
    moved = torch.cat([(b - a).flatten() for a, b in zip(start[2].parameters(), trained[2].parameters(), strict=True)])
    assert found.history_[0] == pytest.approx(torch.cosine_similarity(step, moved, dim=0).item())


def cross_entropy_of(logits, targets):
    return -(targets * logits.log_softmax(1)).sum(1).mean()


def test_what_is_not_explained_is_not_called_recovered():
    start = relu_network()
    options = {"n_samples": 2, "epochs": 1, "n_iter": 1}
    found = SimulatedDynamicsReconstructor(start.state_dict(), **options).fit(displaced(start))
    assert found.similarity_ < 0.7
    assert "nothing was recovered" in found.verdict_
    assert "unknowns" not in found.verdict_
    many = SimulatedDynamicsReconstructor(start.state_dict(), **options | {"n_samples": 9}).fit(displaced(start))
    assert "63 unknowns for 51 weights" in many.verdict_


def test_the_shape_of_an_input_is_not_guessed_from_a_filter():
    # A network that pools over places runs on images of the filter's size too.
    conv = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    attack = SimulatedDynamicsReconstructor(conv.state_dict(), n_samples=2, n_iter=1)
    with pytest.raises(InvalidInputError, match=r"give the shape of one input, input_shape=\(\.\.\.\)"):
        attack.fit(displaced(conv.double()))


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


def test_recurrent_networks_and_attention_are_simulated():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.out = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 2)

        def forward(self, x):
            return self.out(self.cell(x)[0][:, -1])

    class Attentive(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.out = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True), nn.Linear(4, 2)
            self.unused = nn.Linear(2, 2)

        def forward(self, x):
            return self.out(self.body(x).mean(1))

    for kind in (Recurrent, Attentive):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            start = kind().double().eval()
        x = torch.randn(2, 3, 4, generator=seeded(1)).double().requires_grad_()
        y = torch.randn(2, 2, generator=seeded(2)).double()
        call = lambda x: tuple(  # noqa: E731
            simulate_training(start, x, y, loss=squared_error, lr=0.1, epochs=2).values()  # noqa: B023
        )
        assert torch.autograd.gradcheck(call, (x,), fast_mode=True)
        options = {"n_samples": 2, "epochs": 2, "n_iter": 2, "relu_alpha": None, "input_shape": (3, 4)}
        trained = displaced(start)
        found = SimulatedDynamicsReconstructor(start.state_dict(), objective="regression", **options).fit(trained)
        assert found.reconstructions_.shape == (2, 3, 4)


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
