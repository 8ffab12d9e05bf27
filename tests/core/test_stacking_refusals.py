"""What cannot be trained as one stack is refused, and left as it was."""

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

from assay.core import InvalidInputError, NumericalError, SequentialTrainer, StackedTrainer, cross_entropy, seeded
from assay.core.trainers import _check_parts
from helpers.stacks import MOMENTUM, Features, halves, images


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


class Moving(Features):
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
        (lambda k: Features(k, F.relu if k else torch.tanh), "differ in more than weights and buffers"),
        (lambda k: Features(k, scale=2 + 1e-4 * k), "differ in more than weights and buffers"),
        (lambda k: Features(k, lambda z: F.dropout(z, 0.5, training=True)), "second call|random numbers"),
        (lambda k: Features(k, lambda z: F.dropout(z, 0.5, training=torch.is_grad_enabled())), "one stack"),
        (lambda k: Features(k, lambda z: z * (1 + random.random())), "second call"),
        (Moving, r"change their buffers in training \(mean\)"),
        (lambda k: Features(k).float() if k else Features(k), "the type of head.0.weight is torch.float64 in one"),
        (lambda k: Features(k).requires_grad_(k > 0), "requires_grad of head.0.weight is False in one and True"),
        (lambda k: Features(k).requires_grad_(False), "every parameter of the models is frozen"),
        (lambda k: SHARED, "models 0 and 1 share the parameter head.0.weight"),
        (lambda k: Features(k, lambda z: z * math.nan), "NaN"),
        (lambda k: Features(k, lambda z: {"logits": z}), r"self\.model\(x\)\['logits'\]"),
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


SHARED = Features(0)


@pytest.mark.parametrize("optimizer", [partial(torch.optim.Adafactor, lr=0.1), torch.optim.LBFGS])
def test_optimisers_that_mix_the_stacked_models_are_refused(optimizer: Any):
    trainer = StackedTrainer(cross_entropy, optimizer, epochs=1)
    with pytest.raises(
        InvalidInputError, match=r"(moves the entries of a tensor together|plain step).*SequentialTrainer"
    ):
        trainer([Features(k) for k in range(3)], *images(), halves())


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
        _check_parts([Features(k) for k in range(3)], *images(), membership)
    models: list[nn.Module] = [Features(k) for k in range(3)]
    with pytest.raises(InvalidInputError, match="samples to train on"):
        SequentialTrainer(lambda *_: None)(models, *images(), torch.zeros(3, 8) > 0)


def test_labels_are_checked_before_training():
    models, (x, y) = [Features(k) for k in range(3)], images()
    trainer = StackedTrainer(cross_entropy, MOMENTUM, epochs=1, batch_size=4)
    with pytest.raises(InvalidInputError, match=r"0\.\.2"):
        trainer(models, x, y + 1, halves())
    with pytest.raises(InvalidInputError, match="one target for each"):
        trainer(models, x, y[:5], halves())
