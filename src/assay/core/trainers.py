"""Trainers of many models on parts of one data set: one by one, or stacked into one batched computation."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

from assay.core.checks import check_count, check_finite
from assay.core.errors import InvalidInputError
from assay.core.inspection import inspect_model
from assay.core.losses import LossFunction
from assay.core.progress import track
from assay.core.seeding import as_generator, seeded, spawn_seeds


@runtime_checkable
class Trainer(Protocol):
    """Train each model in place on the samples that its row of `membership` keeps."""

    def __call__(
        self,
        models: Sequence[nn.Module],
        x: Float[Tensor, "n *d"],
        y: Tensor,
        membership: Bool[Tensor, "m n"],
        *,
        generator: torch.Generator | None = None,
        progress: bool = False,
    ) -> None:
        """Train; a generator in the same state gives the same weights."""
        ...


@dataclass(frozen=True)
class SequentialTrainer:
    """Train one model after the other by a function of one model.

    Each model gets its own generator, seeded from one draw of the trainer's.

    Args:
        train: Function `train(model, x, y, generator)` that trains a model in place.

    >>> from functools import partial
    >>> from assay.core import cross_entropy, fit
    >>> sgd = partial(torch.optim.SGD, lr=0.1)
    >>> train = lambda model, x, y, source: fit(model, x, y, loss=cross_entropy, optimizer=sgd, n_iter=9)
    >>> trainer = SequentialTrainer(train)
    >>> trainer([nn.Linear(3, 2)], torch.eye(3), torch.tensor([0, 1, 0]), torch.ones(1, 3) > 0)
    """

    train: Callable[[nn.Module, Tensor, Tensor, torch.Generator], object]

    def __call__(
        self,
        models: Sequence[nn.Module],
        x: Float[Tensor, "n *d"],
        y: Tensor,
        membership: Bool[Tensor, "m n"],
        *,
        generator: torch.Generator | None = None,
        progress: bool = False,
    ) -> None:
        """Train in place; a generator in the same state gives the same weights."""
        source = as_generator(generator)
        seed = int(torch.randint(2**31, (1,), generator=source, device=source.device))
        cells = zip(models, membership, spawn_seeds(seed, len(models)), strict=True)
        for model, kept, own_seed in track(cells, "training models", total=len(models), enabled=progress):
            self.train(model, x[kept], y[kept], seeded(own_seed))


@dataclass(frozen=True)
class StackedTrainer:
    r"""Train all models at once: their weights are stacked, and a step is one batched computation.

    The models are independent, so the gradient of the sum of their losses holds the gradient of each, and an optimiser
    that works entry by entry (SGD, Adam) moves each model as if it were alone. Each model draws batches from its own
    part of the data, reshuffled every epoch; incomplete batches are dropped, and all models take as many steps as the
    one with the fewest samples. Stacking saves the overhead of calls, not arithmetic: it pays for small models.

    Cost: time O(m) times a step of one model, memory O(m p) and the activations of m batches.

    Args:
        loss: Mean loss over a batch.
        optimizer: Called with the stacked weights, for example `partial(torch.optim.SGD, lr=0.1)`.
        epochs: Passes over each model's samples. The learning rate falls to zero along a cosine.
        batch_size: Samples per model and step.

    Raises:
        InvalidInputError: `epochs` or `batch_size` is below one.

    >>> from functools import partial
    >>> from assay.core import cross_entropy
    >>> trainer = StackedTrainer(cross_entropy, partial(torch.optim.SGD, lr=0.1), epochs=2, batch_size=2)
    >>> trainer([nn.Linear(3, 2)], torch.eye(3), torch.tensor([0, 1, 0]), torch.ones(1, 3) > 0)
    """

    loss: LossFunction
    optimizer: Callable[[list[Tensor]], Optimizer]
    epochs: int
    batch_size: int = 50

    def __post_init__(self) -> None:
        check_count(self.epochs, "epochs")
        check_count(self.batch_size, "batch_size")

    def __call__(
        self,
        models: Sequence[nn.Module],
        x: Float[Tensor, "n *d"],
        y: Tensor,
        membership: Bool[Tensor, "m n"],
        *,
        generator: torch.Generator | None = None,
        progress: bool = False,
    ) -> None:
        """Train in place and leave the models in evaluation mode.

        Raises:
            InvalidInputError: The models differ in architecture, or mix samples or draw random numbers in training.
            NumericalError: Some weights became NaN or infinite.
        """
        for model in models:
            model.train()
        _check_stackable(models[0])
        try:
            weights = {name: value.detach().clone() for name, value in stack_module_state(list(models))[0].items()}
        except RuntimeError as error:
            raise InvalidInputError(
                "the models differ in architecture; build them alike, or use SequentialTrainer"
            ) from error
        parameters = [value.requires_grad_() for value in weights.values()]
        base = models[0]
        scores = vmap(lambda values, batch: functional_call(base, values, (batch,)))
        n_steps = max(1, int(membership.sum(1).min()) // self.batch_size) * self.epochs
        optimizer = self.optimizer(parameters)
        schedule = CosineAnnealingLR(optimizer, n_steps)
        batches = _own_batches(membership, self.batch_size, n_steps, as_generator(generator))
        for index in track(batches, "training models", total=n_steps, enabled=progress):
            optimizer.zero_grad()
            # Batches are of one size, so that m times the mean over all is the sum of the models' own losses.
            (len(models) * self.loss(scores(weights, x[index]).flatten(0, 1), y[index].flatten(0, 1))).backward()
            optimizer.step()
            schedule.step()
        for name, value in weights.items():
            check_finite(value, f"the trained {name}")
        with torch.no_grad():
            for place, model in enumerate(models):
                for name, parameter in model.named_parameters():
                    parameter.copy_(weights[name][place])
                model.eval()


def _own_batches(
    membership: Bool[Tensor, "m n"], size: int, n_steps: int, source: torch.Generator
) -> Iterator[Int[Tensor, "m b"]]:
    """Yield for each model the indices of a batch of its own samples."""
    fewest = int(membership.sum(1).min())
    size = min(size, fewest)
    drawn = 0
    while drawn < n_steps:
        # Random keys, largest for samples outside a model's part: the first columns are its own samples, shuffled.
        keys = torch.rand(membership.shape, generator=source, device=source.device).to(membership.device)
        order = keys.masked_fill(~membership, 2.0).argsort(1)[:, : fewest - fewest % size]
        for index in order.split(size, 1)[: n_steps - drawn]:
            yield index
            drawn += 1


def _check_stackable(model: nn.Module) -> None:
    problems = [problem for problem in inspect_model(model) if problem.kind in ("dropout", "batch-norm")]
    if problems:
        found = ", ".join(f"{problem.where} ({problem.kind})" for problem in problems)
        raise InvalidInputError(
            f"models with dropout or batch-norm cannot be trained as one stack: {found}; use SequentialTrainer"
        )
