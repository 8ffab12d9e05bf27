"""Networks, losses and autograd states of users, stacked: each model is trained as if it were alone."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, weight_norm

from assay.core import InvalidInputError, StackedTrainer, binary_cross_entropy, cross_entropy, fit, seeded
from helpers.stacks import MOMENTUM, Features, halves, images


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
    train_both([Features(seed) for seed in range(3)], images()[1])


def test_frozen_weights_stay_and_may_be_shared():
    models = [Features(seed) for seed in range(3)]
    backbone = nn.Linear(5, 5).double().requires_grad_(False)
    for model in models:
        model.head[0].bias.requires_grad_(False)
    models = [nn.Sequential(backbone, model) for model in models]
    train_both(models, images()[1])
    for place in range(3):
        assert torch.equal(models[place][1].head[0].bias, Features(place).head[0].bias)


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
    train_both([Features(seed) for seed in range(3)], labels[:, None] if column and known else labels, loss)


def test_squared_errors_of_scores_in_a_column():
    train_both([Features(seed, lambda z: z[:, :1]) for seed in range(3)], images()[0].sum(1), nn.MSELoss())


@pytest.mark.parametrize("after", [torch.squeeze, lambda z: z[:, :1].squeeze()])
def test_a_batch_of_one_keeps_its_axis(after: Callable[[Tensor], Tensor]):
    x, y = images(3)
    loss = cross_entropy if after is torch.squeeze else binary_cross_entropy
    y = y if loss is cross_entropy else y % 2
    models = [Features(seed, after) for seed in range(3)]
    alone = [Features(seed, lambda z, after=after: after(z).reshape(len(z), -1)) for seed in range(3)]
    StackedTrainer(loss, MOMENTUM, epochs=4, batch_size=4)(models, x, y, torch.eye(3) > 0)
    for k, (one, other) in enumerate(zip(models, alone, strict=True)):
        fit(other, x[[k]], y[[k]], loss=loss, optimizer=MOMENTUM, schedule="cosine", n_iter=4)
        torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=1e-9, atol=1e-11)


def test_inside_no_grad_and_inference_mode_and_with_inputs_in_a_graph():
    x, y = images()
    expected = [Features(seed) for seed in range(3)]
    train = StackedTrainer(cross_entropy, MOMENTUM, epochs=2, batch_size=2)
    train(expected, x, y, halves(), generator=seeded(0))
    for context in (torch.no_grad, torch.inference_mode):
        models = [Features(seed) for seed in range(3)]
        with context():
            train(models, x.clone().requires_grad_(), y.clone(), halves(), generator=seeded(0))
        for one, other in zip(models, expected, strict=True):
            torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
@pytest.mark.parametrize("norm", [weight_norm, parametrizations.weight_norm])
def test_computed_weights_are_trained_and_leave_no_stacked_tensor(norm: Callable[[nn.Module], nn.Module]):
    models = [Features(seed) for seed in range(3)]
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
