"""Trainers of many models on parts of one data set: one by one, or stacked into one batched computation."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

from assay.core.checks import check_count, check_pairs
from assay.core.errors import InvalidInputError
from assay.core.known_losses import read_loss
from assay.core.look import check_model
from assay.core.losses import LossFunction
from assay.core.objective import training_loss
from assay.core.progress import track
from assay.core.seeding import as_generator, seeded, spawn_seeds
from assay.core.stacking import Stack, check_entrywise


@runtime_checkable
class Trainer(Protocol):
    """Train each model in place on the samples that its row of `membership` keeps."""

    def __call__(
        self,
        models: Sequence[nn.Module],
        x: Shaped[Tensor, "n *d"],
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

    Each model gets its own generator, seeded from one draw of the trainer's. Batches are up to the function: in `fit`,
    a rest of one sample joins the batch before it.

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
        x: Shaped[Tensor, "n *d"],
        y: Tensor,
        membership: Bool[Tensor, "m n"],
        *,
        generator: torch.Generator | None = None,
        progress: bool = False,
    ) -> None:
        """Train in place; a generator in the same state gives the same weights.

        Raises:
            InvalidInputError: The models share trainable weights, or the data do not fit.
        """
        models, x, y = _check_parts(models, x, y, membership)
        source = as_generator(generator)
        seed = int(torch.randint(2**31, (1,), generator=source, device=source.device))
        cells = zip(models, membership, spawn_seeds(seed, len(models)), strict=True)
        with torch.inference_mode(False), torch.enable_grad():
            for model, kept, own_seed in track(cells, "training models", total=len(models), enabled=progress):
                self.train(model, x[kept], y[kept], seeded(own_seed))


@dataclass(frozen=True)
class StackedTrainer:
    r"""Train all models at once: their weights and buffers are stacked, and a step is one batched computation.

    The models are independent, so the gradient of the sum of their losses holds the gradient of each, and an optimiser
    that works entry by entry (SGD, Adam) moves each model as if it were alone. Frozen parameters and buffers stay each
    model's own. Each model draws batches from its own part of the data, reshuffled every epoch. All batches are of one
    size: `batch_size`, or the smallest part where that is smaller. What is left of an epoch is dropped, and all models
    take as many steps as the one with the fewest samples. Stacking saves the overhead of calls, not arithmetic: it pays
    for small models.

    Cost: time O(m) times a step of one model, memory O(m p) and the activations of m batches.

    Args:
        loss: Mean loss over a batch; class weights and ignored labels count within each model's batch.
        optimizer: Called with the stacked trainable weights, for example `partial(torch.optim.SGD, lr=0.1)`.
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
        x: Shaped[Tensor, "n *d"],
        y: Tensor,
        membership: Bool[Tensor, "m n"],
        *,
        generator: torch.Generator | None = None,
        progress: bool = False,
    ) -> None:
        """Train in place and leave the models in evaluation mode.

        Raises:
            InvalidInputError: The models differ in more than weights and buffers, or draw random numbers or change
                buffers in training; the optimiser moves the entries of a tensor together; or the data do not fit.
            NumericalError: Some weights became NaN or infinite.
        """
        networks, x, y = _check_parts(models, x, y, membership)
        stack = Stack(networks, x)
        check_entrywise(self.optimizer, len(stack.trainable))
        n_steps = max(1, int(membership.sum(1).min()) // self.batch_size) * self.epochs
        with torch.inference_mode(False), torch.enable_grad():
            optimizer = self.optimizer(list(stack.trainable.values()))
            schedule = CosineAnnealingLR(optimizer, n_steps)
            objective = _stacked_loss(self.loss, y)
            batches = _own_batches(membership, self.batch_size, n_steps, as_generator(generator))
            for index in track(batches, "training models", total=n_steps, enabled=progress):
                optimizer.zero_grad()
                objective(stack(x[index]), y[index]).backward()
                optimizer.step()
                schedule.step()
        stack.hand_back()


def _stacked_loss(loss: LossFunction, y: Tensor) -> LossFunction:
    """Return the sum of the models' losses, as a function of scores and targets of shape (m, b, ...)."""
    objective = training_loss(loss, y)

    def together(scores: Tensor, targets: Tensor) -> Tensor:
        # Batches are of one size, so that m times the mean over all is the sum of the models' own losses.
        return len(scores) * objective(scores.flatten(0, 1), targets.flatten(0, 1))

    def one_by_one(scores: Tensor, targets: Tensor) -> Tensor:
        return torch.stack([objective(own, labels) for own, labels in zip(scores, targets, strict=True)]).sum()

    return together if _is_plain_mean(loss, y) else one_by_one


def _is_plain_mean(loss: LossFunction, y: Tensor) -> bool:
    """Tell whether each sample counts the same in any batch: a known loss without class weights and ignored labels."""
    known = read_loss(loss)
    if known is None or known.kind is None or "weight" in known.options:
        return False
    averaged = known.options.get("reduction", "mean") == "mean"
    return averaged and not bool((y == known.options.get("ignore_index", -100)).any())


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


def _check_parts(
    models: Sequence[nn.Module], x: Tensor, y: Tensor, membership: Tensor
) -> tuple[list[nn.Module], Tensor, Tensor]:
    """Require models of their own and a part of the data for each; return them with the data."""
    models = list(models)
    x, y = check_pairs(x, y, tokens=True)
    for model in models:
        check_model(model)
    shape = (len(models), len(x))
    if not isinstance(membership, Tensor) or membership.dtype != torch.bool or tuple(membership.shape) != shape:
        got = f"{membership.dtype} of shape {tuple(membership.shape)}" if isinstance(membership, Tensor) else "none"
        raise InvalidInputError(
            f"membership must hold a truth value for each of {shape[0]} models and {shape[1]} samples, got {got}; "
            "pass a tensor of shape (m, n), made with .bool()"
        )
    if not models or not membership.any(1).all():
        raise InvalidInputError("each model needs samples to train on, got none for some; keep one or more in each row")
    owners: dict[int, int] = {}
    for place, model in enumerate(models):
        for name, value in model.named_parameters():
            first = owners.setdefault(id(value), place)
            if first != place and value.requires_grad:
                raise InvalidInputError(
                    f"models {first} and {place} share the parameter {name}, which both would train; "
                    "build each model with its own weights, or freeze what they share"
                )
    return models, x, y
