"""Recipe of a small image classifier: its architecture and its training."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from assay.core import (
    FitResult,
    InvalidInputError,
    LossFunction,
    StackedTrainer,
    Step,
    as_generator,
    check_choice,
    check_count,
    check_positive,
    cross_entropy,
    fit,
)
from assay.nets.conv import small_conv
from assay.nets.perceptron import mlp


@dataclass(frozen=True)
class Recipe:
    """Build and train a perceptron or a small convolution network.

    All fields are plain values, so that a recipe can stand in the settings of an experiment and be stored with them.

    Args:
        hidden: Units of each hidden dense layer; none make a linear classifier. A convolution network has one.
        channels: Output channels of each convolution of `small_conv`; None for a perceptron.
        epochs: Passes over the training samples.
        lr: Learning rate.
        batch_size: Samples a step, reshuffled every epoch; None takes all samples at once.
        optimizer: "adam" or "sgd", the latter with momentum 0.9.
        weight_decay: Weight decay of the optimiser.
        schedule: "cosine" lets the learning rate fall to zero at the last step; None keeps it.

    Raises:
        InvalidInputError: A size or rate is out of range, or a convolution network has other than one hidden layer.

    >>> recipe = Recipe(hidden=(8,), epochs=30, lr=0.1)
    >>> x, y = torch.eye(4), torch.arange(4) % 2
    >>> model = recipe.build((4,), n_classes=2)
    >>> _ = recipe.train(model, x, y)
    >>> model(x).argmax(1).tolist()
    [0, 1, 0, 1]
    """

    hidden: int | tuple[int, ...] = 64
    channels: tuple[int, ...] | None = None
    epochs: int = 10
    lr: float = 1e-3
    batch_size: int | None = None
    optimizer: Literal["adam", "sgd"] = "adam"
    weight_decay: float = 0.0
    schedule: Literal["cosine"] | None = "cosine"

    def __post_init__(self) -> None:
        for size in (*self.hidden_layers, *(self.channels or ())):
            check_count(size, "each size in hidden and channels")
        check_count(self.epochs, "epochs")
        check_positive(self.lr, "lr")
        if self.batch_size is not None:
            check_count(self.batch_size, "batch_size")
        check_choice(self.optimizer, ("adam", "sgd"), "optimizer")
        check_choice(self.schedule, ("cosine", None), "schedule")
        if self.weight_decay < 0:
            raise InvalidInputError(f"weight_decay must not be negative, got {self.weight_decay!r}")
        if self.channels and len(self.hidden_layers) != 1:
            raise InvalidInputError(
                f"a convolution network has one hidden dense layer, got hidden={self.hidden!r}; give one size"
            )

    @property
    def hidden_layers(self) -> tuple[int, ...]:
        """Units of each hidden dense layer."""
        return (self.hidden,) if isinstance(self.hidden, int) else self.hidden

    def build(self, shape: Sequence[int], n_classes: int, generator: torch.Generator | None = None) -> nn.Sequential:
        """Build an untrained network for inputs of one shape.

        Args:
            shape: Of one sample: `(features,)`, or channels, height and width. A perceptron for samples with several
                axes begins with an `nn.Flatten`.
            n_classes: Outputs.
            generator: Source of the initial weights; a fixed seed by default.

        Returns:
            The network that `small_conv` or `mlp` builds from the same generator.

        Raises:
            InvalidInputError: The samples are no images, or too small, for a convolution network.
        """
        if self.channels:
            if len(shape) != 3:
                raise InvalidInputError(f"convolutions take images of (channels, height, width), got {tuple(shape)}")
            channels, height, width = shape
            return small_conv(
                (channels, height, width),
                n_classes,
                channels=self.channels,
                hidden=self.hidden_layers[0],
                generator=generator,
            )
        dense = mlp((prod(shape), *self.hidden_layers, n_classes), generator=generator)
        return dense if len(shape) == 1 else nn.Sequential(nn.Flatten(), *dense)

    def builder(self, shape: Sequence[int], n_classes: int) -> Callable[[torch.Generator], nn.Sequential]:
        """Return the function `model_fn(generator)` that methods which build networks of their own ask for."""
        return partial(self.build, tuple(shape), n_classes)

    def train(
        self,
        model: nn.Module,
        x: Float[Tensor, "n *d"],
        y: Tensor,
        generator: torch.Generator | None = None,
        *,
        loss: LossFunction = cross_entropy,
        callbacks: Sequence[Callable[[Step], None]] = (),
        progress: bool = False,
    ) -> FitResult:
        """Train a network in place by `assay.core.fit`, and leave it in evaluation mode.

        Args:
            model: Network to train, of this recipe or any other.
            x: Inputs.
            y: Targets.
            generator: Source of the shuffling; a fixed seed by default.
            loss: Mean loss over a batch.
            callbacks: Called after every step.
            progress: Draw a bar on standard error.

        Raises:
            InvalidInputError: The samples do not fit each other.
            NumericalError: The loss became NaN or infinite.
        """
        return fit(
            model,
            x,
            y,
            loss=loss,
            optimizer=self.new_optimizer,
            schedule=self.schedule,
            epochs=self.epochs,
            batch_size=self.batch_size,
            callbacks=callbacks,
            generator=as_generator(generator),
            progress=progress,
        )

    def stacked_trainer(self, loss: LossFunction = cross_entropy) -> StackedTrainer:
        """Return the trainer that trains many networks of this recipe at once, as shadow models are.

        Raises:
            InvalidInputError: There is no batch size or no cosine schedule, both of which `StackedTrainer` has.
        """
        if self.batch_size is None or self.schedule is None:
            raise InvalidInputError(
                "networks are stacked with mini-batches and the cosine schedule; give batch_size and schedule='cosine'"
            )
        return StackedTrainer(loss, self.new_optimizer, epochs=self.epochs, batch_size=self.batch_size)

    def new_optimizer(self, parameters: Iterable[Tensor]) -> Optimizer:
        """Return the recipe's optimiser of some parameters."""
        if self.optimizer == "adam":
            return torch.optim.Adam(parameters, lr=self.lr, weight_decay=self.weight_decay)
        return torch.optim.SGD(parameters, lr=self.lr, momentum=0.9, weight_decay=self.weight_decay)
