import copy
import math
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, weight_norm

from assay.core import (
    InvalidInputError,
    NumericalError,
    SequentialTrainer,
    StackedTrainer,
    binary_cross_entropy,
    cross_entropy,
    fit,
    seeded,
    spawn_seeds,
)
from assay.core.trainers import _check_parts, _own_batches
from assay.nets import mlp, small_conv

MOMENTUM = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
ADAM = partial(torch.optim.Adam, lr=0.01)


def halves():
    return torch.tensor([[True] * 4 + [False] * 4, [False] * 4 + [True] * 4, [True, False] * 4])


@pytest.mark.parametrize("optimizer", [MOMENTUM, ADAM])
@pytest.mark.parametrize(("outputs", "loss"), [(3, cross_entropy), (1, binary_cross_entropy)])
def test_trains_each_model_as_if_it_were_alone(optimizer, outputs, loss):
    # Parts of one size and batches as large: every step is a full-batch step, whatever the order.
    x = torch.rand(8, 5, generator=seeded(0), dtype=torch.float64)
    y = torch.arange(8) % max(outputs, 2)
    models = [mlp((5, 6, outputs), generator=seeded(k)).double() for k in range(3)]
    alone = copy.deepcopy(models)
    StackedTrainer(loss, optimizer, epochs=12, batch_size=4)(models, x, y, halves(), generator=seeded(0))
    for one, other, kept in zip(models, alone, halves(), strict=True):
        fit(other, x[kept], y[kept], loss=loss, optimizer=optimizer, schedule="cosine", n_iter=12)
        torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=1e-9, atol=1e-11)
        assert not one.training


def test_convolutions_are_stacked_too():
    x, y = torch.rand(8, 1, 8, 8, generator=seeded(0)).double(), torch.arange(8) % 2
    models = [small_conv((1, 8, 8), 2, channels=(2,), hidden=4, generator=seeded(k)).double() for k in range(3)]
    alone = copy.deepcopy(models)
    StackedTrainer(cross_entropy, MOMENTUM, epochs=3, batch_size=4)(models, x, y, halves(), generator=seeded(0))
    for one, other, kept in zip(models, alone, halves(), strict=True):
        fit(other, x[kept], y[kept], loss=cross_entropy, optimizer=MOMENTUM, schedule="cosine", n_iter=3)
        torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=1e-9, atol=1e-11)


def test_one_by_one_trains_each_model_on_its_part_with_a_generator_of_its_own():
    calls = []
    trainer = SequentialTrainer(lambda model, x, y, source: calls.append((model, x, y, source.initial_seed())))
    models, x, y = [nn.Linear(5, 2) for _ in range(3)], torch.rand(8, 5), torch.arange(8) % 2
    trainer(models, x, y, halves(), generator=seeded(4))
    seed = int(torch.randint(2**31, (1,), generator=seeded(4)))
    for call, model, kept, own_seed in zip(calls, models, halves(), spawn_seeds(seed, 3), strict=True):
        assert call[0] is model
        assert torch.equal(call[1], x[kept])
        assert torch.equal(call[2], y[kept])
        assert call[3] == own_seed
    trainer(models, x, y, halves(), generator=seeded(5))
    assert {call[3] for call in calls[:3]}.isdisjoint(call[3] for call in calls[3:])


def test_the_generator_decides_the_batches():
    def weights(seed):
        model = mlp((5, 2), generator=seeded(0)).double()
        x, y = torch.rand(8, 5, generator=seeded(0)).double(), torch.arange(8) % 2
        trainer = StackedTrainer(cross_entropy, MOMENTUM, epochs=2, batch_size=2)
        trainer([model], x, y, torch.ones(1, 8) > 0, generator=seeded(seed))
        return model[0].weight.detach()

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_batches_hold_own_samples_only_and_none_twice_in_an_epoch():
    seen = torch.rand(5, 30, generator=seeded(0)) < 0.5
    fewest = int(seen.sum(1).min())
    per_epoch = fewest // 4
    batches = list(_own_batches(seen, 4, 3 * per_epoch, seeded(1)))
    assert len(batches) == 3 * per_epoch
    for epoch in range(3):
        drawn = torch.cat(batches[epoch * per_epoch : (epoch + 1) * per_epoch], 1)
        for model, indices in enumerate(drawn):
            assert seen[model, indices].all()
            assert len(indices.unique()) == len(indices) == 4 * per_epoch
    assert not torch.equal(batches[0], batches[per_epoch])


def test_a_batch_larger_than_the_smallest_part_is_that_part():
    (batch,) = _own_batches(halves(), 50, 1, seeded(0))
    assert [sorted(row) for row in batch.tolist()] == [[0, 1, 2, 3], [4, 5, 6, 7], [0, 2, 4, 6]]


def test_what_cannot_be_stacked_is_refused():
    x, y = torch.rand(8, 5), torch.arange(8) % 2
    trainer = StackedTrainer(cross_entropy, MOMENTUM, epochs=1, batch_size=2)
    for layer in (lambda: nn.BatchNorm1d(5), lambda: nn.Dropout(0.5)):
        models = [nn.Sequential(layer(), nn.Linear(5, 2)) for _ in range(3)]
        with pytest.raises(InvalidInputError, match="SequentialTrainer"):
            trainer(models, x, y, halves(), generator=seeded(0))
    models = [nn.Linear(5, 2), nn.Linear(5, 2), nn.Sequential(nn.Linear(5, 2))]
    with pytest.raises(InvalidInputError, match="differ in architecture"):
        trainer(models, x, y, halves(), generator=seeded(0))
    with pytest.raises(InvalidInputError, match="epochs must be a whole number of at least 1"):
        StackedTrainer(cross_entropy, MOMENTUM, epochs=0)
    with pytest.raises(InvalidInputError, match="batch_size must be a whole number of at least 1"):
        StackedTrainer(cross_entropy, MOMENTUM, epochs=1, batch_size=0)


def test_divergence_is_an_error():
    models = [mlp((5, 6, 2), generator=seeded(k)) for k in range(3)]
    trainer = StackedTrainer(cross_entropy, partial(torch.optim.SGD, lr=1e30), epochs=20, batch_size=2)
    with pytest.raises(NumericalError, match="weight"):
        trainer(models, torch.rand(8, 5), torch.arange(8) % 2, halves(), generator=seeded(0))


class Network(nn.Module):
    """A layer of random features, fixed in a buffer and scaled by a number, then a trained one and a function."""

    def __init__(self, seed: int, after: Callable[[Tensor], Tensor] = lambda z: z, scale: float = 2.0) -> None:
        super().__init__()
        self.register_buffer("directions", torch.randn(5, 7, generator=seeded(seed)).double())
        self.head = mlp((7, 3), generator=seeded(seed)).double()
        self.after, self.scale = after, scale

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.head(torch.cos(self.scale * x @ self.directions)))


def images(n: int = 8) -> tuple[Tensor, Tensor]:
    return torch.rand(n, 5, generator=seeded(0)).double(), torch.arange(n) % 3


def train_both(
    models: list[Any], y: Tensor, loss: Any = cross_entropy, *, x: Tensor | None = None, optimizer: Any = MOMENTUM
) -> None:
    """Train a stack, and each model alone on its part by full-batch steps, and require the same weights."""
    x = images()[0] if x is None else x
    alone = [copy.deepcopy(model) for model in models]
    StackedTrainer(loss, optimizer, epochs=6, batch_size=4)(models, x, y, halves(), generator=seeded(0))
    for one, other, kept in zip(models, alone, halves(), strict=True):
        fit(other, x[kept], y[kept], loss=loss, optimizer=optimizer, schedule="cosine", n_iter=6)
        torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=1e-9, atol=1e-11)


def test_each_model_keeps_its_buffers():
    train_both([Network(seed) for seed in range(3)], images()[1])


def test_frozen_weights_stay_and_may_be_shared():
    models = [Network(seed) for seed in range(3)]
    backbone = nn.Linear(5, 5).double().requires_grad_(False)
    for model in models:
        model.head[0].bias.requires_grad_(False)
    models = [nn.Sequential(backbone, model) for model in models]
    train_both(models, images()[1])
    for place in range(3):
        assert torch.equal(models[place][1].head[0].bias, Network(place).head[0].bias)


@pytest.mark.parametrize(
    "loss",
    [
        nn.CrossEntropyLoss(),
        F.cross_entropy,
        nn.CrossEntropyLoss(weight=torch.tensor([1.0, 4.0, 9.0]).double()),
        partial(F.cross_entropy, weight=torch.tensor([1.0, 4.0, 9.0]).double()),
        nn.CrossEntropyLoss(ignore_index=1),
        nn.CrossEntropyLoss(label_smoothing=0.2),
        nn.CrossEntropyLoss(reduction="none"),
        nn.MultiMarginLoss(),
        lambda outputs, y: F.cross_entropy(outputs - outputs.mean(0), y),
    ],
)
@pytest.mark.parametrize("column", [False, True])
def test_any_loss_is_that_of_each_model_on_its_own_batch(loss: Any, column: bool):
    labels = images()[1].to(torch.uint8)
    known = not (isinstance(loss, nn.MultiMarginLoss) or getattr(loss, "__name__", "") == "<lambda>")
    train_both([Network(seed) for seed in range(3)], labels[:, None] if column and known else labels, loss)


def test_squared_errors_of_scores_in_a_column():
    train_both([Network(seed, lambda z: z[:, :1]) for seed in range(3)], images()[0].sum(1), nn.MSELoss())


@pytest.mark.parametrize("after", [torch.squeeze, lambda z: z[:, :1].squeeze()])
def test_a_batch_of_one_keeps_its_axis(after: Callable[[Tensor], Tensor]):
    x, y = images(3)
    loss = cross_entropy if after is torch.squeeze else binary_cross_entropy
    y = y if loss is cross_entropy else y % 2
    models = [Network(seed, after) for seed in range(3)]
    alone = [Network(seed, lambda z, after=after: after(z).reshape(len(z), -1)) for seed in range(3)]
    StackedTrainer(loss, MOMENTUM, epochs=4, batch_size=4)(models, x, y, torch.eye(3) > 0)
    for k, (one, other) in enumerate(zip(models, alone, strict=True)):
        fit(other, x[[k]], y[[k]], loss=loss, optimizer=MOMENTUM, schedule="cosine", n_iter=4)
        torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=1e-9, atol=1e-11)


def test_inside_no_grad_and_inference_mode_and_with_inputs_in_a_graph():
    x, y = images()
    expected = [Network(seed) for seed in range(3)]
    train = StackedTrainer(cross_entropy, MOMENTUM, epochs=2, batch_size=2)
    train(expected, x, y, halves(), generator=seeded(0))
    for context in (torch.no_grad, torch.inference_mode):
        models = [Network(seed) for seed in range(3)]
        with context():
            train(models, x.clone().requires_grad_(), y.clone(), halves(), generator=seeded(0))
        for one, other in zip(models, expected, strict=True):
            torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
@pytest.mark.parametrize("norm", [weight_norm, parametrizations.weight_norm])
def test_computed_weights_are_trained_and_leave_no_stacked_tensor(norm: Callable[[nn.Module], nn.Module]):
    models = [Network(seed) for seed in range(3)]
    for model in models:
        norm(model.head[0])
    x = images()[0]
    StackedTrainer(cross_entropy, MOMENTUM, epochs=1, batch_size=4)(models, x, images()[1], halves())
    assert copy.deepcopy(models[0].state_dict()).keys() == models[0].state_dict().keys()
    assert models[0](x).shape == (8, 3)


class Recurrent(nn.Module):
    def __init__(self, seed: int) -> None:
        super().__init__()
        self.embedding, self.body, self.head = nn.Embedding(9, 4), nn.LSTM(4, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.embedding(x))[0][:, -1])


def test_token_networks_are_trained_or_sent_to_the_other_trainer():
    tokens = torch.randint(9, (8, 6), generator=seeded(0))
    train_both(
        [nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(24, 3)).double() for _ in range(3)],
        images()[1],
        x=tokens,
    )
    trainer = StackedTrainer(cross_entropy, MOMENTUM, epochs=1, batch_size=4)
    with pytest.raises(InvalidInputError, match="SequentialTrainer"):
        trainer([Recurrent(seed) for seed in range(3)], tokens, images()[1], halves())


class Moving(Network):
    """Keeps a running mean of its inputs."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.register_buffer("mean", torch.zeros(5).double())

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
        return super().forward(x - self.mean)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda k: Network(k, F.relu if k else torch.tanh), "differ in more than weights and buffers"),
        (lambda k: Network(k, scale=2 + 1e-4 * k), "differ in more than weights and buffers"),
        (lambda k: Network(k, lambda z: F.dropout(z, 0.5, training=True)), "second call|random numbers"),
        (lambda k: Network(k, lambda z: F.dropout(z, 0.5, training=torch.is_grad_enabled())), "one stack"),
        (lambda k: Network(k, lambda z: z * (1 + random.random())), "second call"),
        (Moving, r"change their buffers in training \(mean\)"),
        (lambda k: Network(k).float() if k else Network(k), "the type of head.0.weight is torch.float64 in one"),
        (lambda k: Network(k).requires_grad_(k > 0), "requires_grad of head.0.weight is False in one and True"),
        (lambda k: Network(k).requires_grad_(False), "every parameter of the models is frozen"),
        (lambda k: SHARED, "models 0 and 1 share the parameter head.0.weight"),
        (lambda k: Network(k, lambda z: z * math.nan), "NaN"),
        (lambda k: Network(k, lambda z: {"logits": z}), r"self\.model\(x\)\['logits'\]"),
    ],
)
def test_models_that_are_no_stack_are_refused(build: Callable[[int], nn.Module], message: str):
    models = [build(k) for k in range(3)]
    before = [copy.deepcopy(model.state_dict()) for model in models]
    modes = [[module.training for module in model.modules()] for model in models]
    trainer = StackedTrainer(cross_entropy, MOMENTUM, epochs=1, batch_size=4)
    with pytest.raises((InvalidInputError, NumericalError), match=message):
        trainer(models, *images(), halves())
    for model, state, mode in zip(models, before, modes, strict=True):
        torch.testing.assert_close(dict(model.state_dict()), dict(state), rtol=0, atol=0)
        assert [module.training for module in model.modules()] == mode


SHARED = Network(0)


@pytest.mark.parametrize("optimizer", [partial(torch.optim.Adafactor, lr=0.1), torch.optim.LBFGS])
def test_optimisers_that_mix_the_stacked_models_are_refused(optimizer: Any):
    trainer = StackedTrainer(cross_entropy, optimizer, epochs=1)
    with pytest.raises(
        InvalidInputError, match=r"(moves the entries of a tensor together|plain step).*SequentialTrainer"
    ):
        trainer([Network(k) for k in range(3)], *images(), halves())


@pytest.mark.parametrize(
    ("membership", "message"),
    [
        (torch.ones(3, 8), r"got torch.float32 of shape .*bool"),
        (torch.ones(3, 7) > 0, r"3 models and 8 samples, got torch.bool of shape \(3, 7\)"),
        (torch.ones(2, 8) > 0, "3 models"),
        (torch.arange(3)[:, None] * torch.ones(3, 8) > 0, "samples to train on, got none for some"),
    ],
)
def test_parts_that_do_not_fit_are_refused(membership: Tensor, message: str):
    with pytest.raises(InvalidInputError, match=message):
        _check_parts([Network(k) for k in range(3)], *images(), membership)
    models: list[nn.Module] = [Network(k) for k in range(3)]
    with pytest.raises(InvalidInputError, match="samples to train on"):
        SequentialTrainer(lambda *_: None)(models, *images(), torch.zeros(3, 8) > 0)


def test_labels_are_checked_before_training():
    models, (x, y) = [Network(k) for k in range(3)], images()
    trainer = StackedTrainer(cross_entropy, MOMENTUM, epochs=1, batch_size=4)
    with pytest.raises(InvalidInputError, match=r"0\.\.2"):
        trainer(models, x, y + 1, halves())
    with pytest.raises(InvalidInputError, match="one target for each"):
        trainer(models, x, y[:5], halves())
