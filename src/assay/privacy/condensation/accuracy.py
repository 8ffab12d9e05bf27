"""How well networks that are trained on a condensed set do."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.optim.lr_scheduler import MultiStepLR

from assay.core import (
    InvalidInputError,
    accuracy,
    check_pairs,
    cross_entropy,
    fit,
    isolated_rng,
    predict,
    seeded,
    spawn_seeds,
    track,
)
from assay.privacy.condensation.siamese_augmentation import Augmentation, augmented


@dataclass(frozen=True)
class CondensedAccuracy:
    """Hold the test accuracy of each network that was trained on a condensed set.

    Attributes:
        accuracies: One a network.
        n_train: Samples of the condensed set.
        epochs: Passes over it; figures after different numbers of epochs are not to be compared.
    """

    accuracies: tuple[float, ...]
    n_train: int
    epochs: int

    @property
    def mean(self) -> float:
        """Mean over the networks."""
        return float(np.mean(self.accuracies))

    @property
    def std(self) -> float:
        """Standard deviation over the networks; zero for a single one."""
        return float(np.std(self.accuracies, ddof=1)) if len(self.accuracies) > 1 else 0.0

    def __str__(self) -> str:
        return (
            f"{len(self.accuracies)} networks trained for {self.epochs} epochs on {self.n_train} samples: "
            f"test accuracy {self.mean:.1%}, standard deviation {self.std:.1%}."
        )


def evaluate_condensed(
    x: Float[Tensor, "m *d"],
    y: Int[Tensor, " m"],
    x_test: Float[Tensor, "n *d"],
    y_test: Int[Tensor, " n"],
    *,
    model_fn: Callable[[torch.Generator], nn.Module],
    n_models: int = 20,
    epochs: int = 300,
    lr: float = 0.01,
    batch_size: int = 256,
    augment: Augmentation | None = None,
    seed: int = 0,
    progress: bool = False,
) -> CondensedAccuracy:
    """Train fresh networks on a condensed set and measure them on real test samples.

    SGD with momentum 0.9 and weight decay 5e-4, the learning rate a tenth in the second half: the paper's.

    Args:
        x: Condensed samples.
        y: Their classes.
        x_test: Real samples.
        y_test: Their classes.
        model_fn: Builds one untrained network from a generator.
        n_models: Networks to train. Paper: 20.
        epochs: Passes over the condensed set. Paper: 300, with augmentation 1000.
        lr: Learning rate. Paper: 0.01.
        batch_size: Samples a step.
        augment: Changes each batch before it is trained on.
        seed: Seed of the initial weights and the order of the samples.
        progress: Draw a bar on standard error.

    Raises:
        InvalidInputError: The samples do not fit each other, or a number is below one.
        NumericalError: Training diverged.

    Source: Lee et al., "Dataset Condensation with Contrastive Signals" (2022), after Zhao, Mopuri and Bilen (2021).

    >>> from assay.nets import mlp
    >>> x, y = torch.eye(3), torch.arange(3)
    >>> evaluate_condensed(x, y, x, y, model_fn=lambda source: mlp((3, 3), generator=source), n_models=2).mean
    1.0
    """
    check_pairs(x, y)
    check_pairs(x_test, y_test)
    if n_models < 1 or epochs < 1:
        raise InvalidInputError(f"n_models and epochs must be at least 1, got {n_models} and {epochs}")
    sgd = partial(torch.optim.SGD, lr=lr, momentum=0.9, weight_decay=5e-4)
    half = epochs * -(-len(x) // batch_size) // 2
    accuracies: list[float] = []
    for own_seed in track(spawn_seeds(seed, n_models), "training on the condensed set", enabled=progress):
        source = seeded(own_seed)
        with isolated_rng(own_seed):  # layers such as dropout draw from the global state
            model = model_fn(source).to(x)
            fit(
                augmented(model, augment, source),
                x,
                y,
                loss=cross_entropy,
                optimizer=sgd,
                schedule=partial(MultiStepLR, milestones=[max(1, half)]),
                epochs=epochs,
                batch_size=batch_size,
                generator=source,
            )
        accuracies.append(accuracy(predict(model, x_test), y_test))
    return CondensedAccuracy(tuple(accuracies), len(x), epochs)
