"""Test accuracy of networks trained on a condensed set (Zhao, Mopuri and Bilen, 2021, section 3.1)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.optim.lr_scheduler import MultiStepLR

from assay.core import (
    accuracy,
    as_generator,
    batch_sizes,
    check_count,
    check_labels,
    check_pairs,
    check_scores,
    cross_entropy,
    fit,
    isolated_rng,
    predict,
    seeded,
    spawn_seeds,
    track,
)
from assay.privacy.condensation.networks import like_samples
from assay.privacy.condensation.siamese_augmentation import Augmentation, augmented


@dataclass(frozen=True)
class CondensedAccuracy:
    """Hold the test accuracies of networks trained on a condensed set.

    Attributes:
        accuracies: Test accuracy of each network.
        n_train: Samples of the condensed set.
        epochs: Passes over the condensed set; accuracies after different numbers of epochs cannot be compared.
        train_accuracies: Accuracy of each network on the condensed set itself. Where it is low the networks have not
            learnt, and their test accuracy says nothing about the set.
    """

    accuracies: tuple[float, ...]
    n_train: int
    epochs: int
    train_accuracies: tuple[float, ...]

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
            f"test accuracy {self.mean:.1%}, standard deviation {self.std:.1%}; "
            f"accuracy on these samples themselves {float(np.mean(self.train_accuracies)):.1%}."
        )


def evaluate_condensed(
    x: Shaped[Tensor, "m *d"],
    y: Shaped[Tensor, "m *one"],
    x_test: Shaped[Tensor, "n *_"],
    y_test: Shaped[Tensor, "n *_"],
    *,
    model_fn: Callable[[torch.Generator], nn.Module],
    n_models: int = 20,
    epochs: int = 300,
    lr: float = 0.01,
    batch_size: int = 256,
    augment: Augmentation | None = None,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> CondensedAccuracy:
    """Train new networks on a condensed set and return their accuracies on real test samples.

    The optimiser is SGD with momentum 0.9 and weight decay 5e-4, at a tenth of the learning rate in the second half.

    Cost: time of training `n_models` networks for `epochs` epochs, memory of one.

    Args:
        x: Condensed samples.
        y: Classes of the condensed samples.
        x_test: Real test samples.
        y_test: Classes of the test samples.
        model_fn: Builds one untrained network from a generator.
        n_models: Networks to train. Paper: 20.
        epochs: Passes over the condensed set. Paper: 300, with augmentation 1000.
        lr: Learning rate. Paper: 0.01.
        batch_size: Samples a step.
        augment: Augmentation of each training batch, by `SiameseAugmentation` of each of its samples apart.
        generator: Source of the initial weights and the order of the samples; a fixed seed by default.
        progress: Draw a bar on standard error.

    Raises:
        InvalidInputError: The samples do not fit each other or the networks, these return probabilities, or a count is
            below one.
        NumericalError: Training diverged.

    Source: Zhao, Mopuri and Bilen, "Dataset Condensation with Gradient Matching" (2021), section 3.1, with the settings
    of the released code of Lee et al., "Dataset Condensation with Contrastive Signals" (2022).

    >>> from assay.nets import mlp
    >>> x, y = torch.eye(3), torch.arange(3)
    >>> evaluate_condensed(x, y, x, y, model_fn=lambda source: mlp((3, 3), generator=source), n_models=2).mean
    1.0
    """
    x, y = check_pairs(x, y, tokens=True)
    x_test, y_test = check_pairs(x_test, y_test, tokens=True)
    for value, name in ((n_models, "n_models"), (epochs, "epochs"), (batch_size, "batch_size")):
        check_count(value, name)
    source = as_generator(generator)
    seed = int(torch.randint(2**31, (1,), generator=source, device=source.device))
    sgd = partial(torch.optim.SGD, lr=lr, momentum=0.9, weight_decay=5e-4)
    half = epochs * len(batch_sizes(len(x), batch_size)) // 2
    accuracies: list[float] = []
    on_itself: list[float] = []
    for own_seed in track(spawn_seeds(seed, n_models), "training on the condensed set", enabled=progress):
        own = seeded(own_seed)
        # Layers such as dropout draw from the global state; networks are trained whatever the caller is in.
        with isolated_rng(own_seed), torch.inference_mode(False), torch.enable_grad():
            model = like_samples(model_fn(own), x)
            if not accuracies:
                y = check_labels(y, check_scores(model, x).shape[1])
                y_test = check_labels(y_test, check_scores(model, x_test).shape[1], "y_test")
            fit(
                augmented(model, augment, own),
                x,
                y,
                loss=cross_entropy,
                optimizer=sgd,
                schedule=partial(MultiStepLR, milestones=[max(1, half)]),
                epochs=epochs,
                batch_size=batch_size,
                generator=own,
            )
        accuracies.append(accuracy(predict(model, x_test), y_test))
        on_itself.append(accuracy(predict(model, x), y))
    return CondensedAccuracy(tuple(accuracies), len(x), epochs, tuple(on_itself))
