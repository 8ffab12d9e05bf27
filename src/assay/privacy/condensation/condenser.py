"""A few synthetic samples whose gradients are those of a whole training set."""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float, Int
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    check_finite,
    check_labels,
    check_logits,
    check_pairs,
    check_positive,
    cross_entropy,
    fit,
    isolated_rng,
    seeded,
    track,
)
from assay.data import balanced_subset
from assay.privacy.condensation.gradient_matching import ClassWiseGradientMatching, ContrastiveGradientMatching
from assay.privacy.condensation.siamese_augmentation import Augmentation, augmented

Matching = Literal["contrastive", "class-wise"]

_SCHEDULE = {1: (10, 5), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}
"""The paper's inner steps and epochs of the network by samples a class."""

_BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class DatasetCondenser(BaseEstimator):
    """Condense a training set to a few synthetic samples of each class, on which a network trains as on the whole.

    The synthetic samples start as random real ones. Each outer step takes a fresh network; each of its inner steps
    moves the synthetic samples so that their gradient nears that of a batch of real ones, then trains the network on
    them. With "contrastive" matching (DCC) gradients are summed over classes, `ContrastiveGradientMatching`, once the
    warm-up is over: from outer step `outer_warmup` on, and within every network from inner step `inner_warmup` on.
    Before, and always with "class-wise" matching (DC), they are compared class by class.

    The image learning rate is for standardised data. Normalisation layers that mix samples get the statistics of 16
    real samples of each class, and keep them while gradients are compared; the paper's network has none
    (`assay.nets.normalized_conv`). Condensed samples carry no privacy guarantee.

    Time is O(outer x inner) passes over a real batch of every class, beside training; memory that of one batch.

    `check_estimator` does not apply: `fit` takes tensors of any shape, and needs `model_fn`.

    Args:
        n_per_class: Synthetic samples of each class.
        model_fn: Builds one untrained network from a generator.
        matching: "contrastive" (DCC) or "class-wise" (DC).
        outer_steps: Networks. Paper: 1000. With none, random real samples are what is returned: the baseline.
        inner_steps: Steps a network; the paper's for that many samples a class when None.
        net_epochs: Passes over the synthetic samples between inner steps; the paper's when None.
        outer_warmup: See above. Paper: 250.
        inner_warmup: See above. Paper: 10.
        image_lr: Learning rate of the samples, by SGD with momentum 0.5. Paper: 0.1.
        batch_size: Real samples of each class in a step, all where it has fewer. Paper: 256.
        net_lr: Learning rate of the networks. Paper: 0.01.
        augment: Changes real and synthetic samples of a class alike before gradients are compared, and what networks
            train on: `SiameseAugmentation` makes the paper's DSAC of it.
        progress: Draw a bar on standard error.
        random_state: Seed of everything that is drawn.

    Attributes:
        data_: Synthetic samples, `(n_per_class * classes, *d)`.
        targets_: Their classes.
        history_: Matching loss at every inner step; its scale changes where the warm-up ends.

    Source: Lee et al., "Dataset Condensation with Contrastive Signals" (2022); Zhao, Mopuri and Bilen (2021) for
    "class-wise", Zhao and Bilen (2021) for augmentation.

    >>> from assay.nets import mlp
    >>> x, y = torch.randn(12, 4, generator=seeded(0)), torch.arange(12) % 3
    >>> build = lambda source: mlp((4, 5, 3), generator=source)
    >>> DatasetCondenser(2, model_fn=build, outer_steps=1, net_epochs=1).fit(x, y).data_.shape
    torch.Size([6, 4])
    """

    def __init__(
        self,
        n_per_class: int = 1,
        *,
        model_fn: Callable[[torch.Generator], nn.Module],
        matching: Matching = "contrastive",
        outer_steps: int = 1000,
        inner_steps: int | None = None,
        net_epochs: int | None = None,
        outer_warmup: int = 250,
        inner_warmup: int = 10,
        image_lr: float = 0.1,
        batch_size: int = 256,
        net_lr: float = 0.01,
        augment: Augmentation | None = None,
        progress: bool = False,
        random_state: int = 0,
    ) -> None:
        self.n_per_class = n_per_class
        self.model_fn = model_fn
        self.matching: Matching = matching
        self.outer_steps = outer_steps
        self.inner_steps = inner_steps
        self.net_epochs = net_epochs
        self.outer_warmup = outer_warmup
        self.inner_warmup = inner_warmup
        self.image_lr = image_lr
        self.batch_size = batch_size
        self.net_lr = net_lr
        self.augment = augment
        self.progress = progress
        self.random_state = random_state

    def fit(self, x: Float[Tensor, "n *d"], y: Int[Tensor, " n"]) -> "DatasetCondenser":
        """Condense real samples.

        Args:
            x: Real samples.
            y: Their classes; networks may have more classes than occur.

        Raises:
            InvalidInputError: An option is out of range, a class has too few samples, or they do not fit the networks.
            NumericalError: The synthetic samples diverged.
        """
        self._check_options()
        check_pairs(x, y)
        with isolated_rng(self.random_state):  # layers such as dropout draw from the global state
            check_labels(y, check_logits(self.model_fn(seeded(self.random_state)).to(x), x).shape[1])
            source = seeded(self.random_state)
            start, self.targets_ = balanced_subset(x, y, self.n_per_class, generator=source)
            self.data_, self.history_ = self._condense(start, x, y, source)
        return self

    def _condense(
        self, start: Tensor, x: Tensor, y: Tensor, source: torch.Generator
    ) -> tuple[Tensor, tuple[float, ...]]:
        data, history = start.clone().requires_grad_(), list[float]()
        members = [(y == label).nonzero().flatten() for label in y.unique()]
        inner_steps, _ = self.schedule()
        optimizer = torch.optim.SGD([data], lr=self.image_lr, momentum=0.5)
        for outer in track(range(self.outer_steps), "condensing", enabled=self.progress):
            model = self.model_fn(source).to(x)
            for inner in range(inner_steps):
                set_statistics(model, _batch(x, y, members, 16, source)[0])
                loss = self._loss(model, data, _batch(x, y, members, self.batch_size, source), outer, inner, source)
                (data.grad,) = torch.autograd.grad(loss, data)
                optimizer.step()
                check_finite(data, "a synthetic sample")
                history.append(loss.item())
                if inner + 1 < inner_steps:
                    self._train(model, data.detach(), source)
        return data.detach(), tuple(history)

    def _loss(
        self,
        model: nn.Module,
        data: Tensor,
        real: tuple[Tensor, Tensor],
        outer: int,
        inner: int,
        source: torch.Generator,
    ) -> Tensor:
        """Return what the matching says of the synthetic samples and a batch, both augmented alike class by class."""
        synthetic = data, self.targets_
        if self.augment is not None:
            seeds = torch.randint(2**31, (int(self.targets_.max()) + 1,), generator=source).tolist()
            synthetic, real = (
                _augmented_alike(self.augment, seeds, *synthetic),
                _augmented_alike(self.augment, seeds, *real),
            )
        warm = outer >= self.outer_warmup or inner >= self.inner_warmup
        matching = ContrastiveGradientMatching if self.matching == "contrastive" and warm else ClassWiseGradientMatching
        return matching()(model, *synthetic, *real)

    def _train(self, model: nn.Module, data: Tensor, source: torch.Generator) -> None:
        network = augmented(model, self.augment, source)
        sgd = partial(torch.optim.SGD, lr=self.net_lr)
        epochs = self.schedule()[1]
        fit(
            network,
            data,
            self.targets_,
            loss=cross_entropy,
            optimizer=sgd,
            epochs=epochs,
            batch_size=256,
            generator=source,
        )

    def schedule(self) -> tuple[int, int]:
        """Return inner steps and epochs: those given, or the paper's for the next lower number of samples a class."""
        inner, epochs = _SCHEDULE[max(size for size in _SCHEDULE if size <= self.n_per_class)]
        return (
            inner if self.inner_steps is None else self.inner_steps,
            epochs if self.net_epochs is None else self.net_epochs,
        )

    def _check_options(self) -> None:
        if self.matching not in ("contrastive", "class-wise"):
            raise InvalidInputError(f"matching must be 'contrastive' or 'class-wise', got {self.matching!r}")
        for name in ("n_per_class", "batch_size", "inner_steps", "net_epochs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidInputError(f"{name} must be at least 1, got {value}")
        for name in ("outer_steps", "outer_warmup", "inner_warmup"):
            if getattr(self, name) < 0:
                raise InvalidInputError(f"{name} must not be negative, got {getattr(self, name)}")
        check_positive(self.image_lr, "image_lr")
        check_positive(self.net_lr, "net_lr")


def set_statistics(model: nn.Module, x: Tensor) -> None:
    """Give batch-norm layers the mean and variance of a batch; no other layer changes."""
    norms = [layer for layer in model.modules() if isinstance(layer, _BATCH_NORM) and layer.track_running_stats]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    with torch.no_grad():
        model(x)
    model.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _batch(x: Tensor, y: Tensor, members: list[Tensor], size: int, source: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw as many samples of each class, all where it has fewer."""
    drawn = [place[torch.randperm(len(place), generator=source)[:size].to(place.device)] for place in members]
    chosen = torch.cat(drawn)
    return x[chosen], y[chosen]


def _augmented_alike(augment: Augmentation, seeds: list[int], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Change the samples of each class by its seed."""
    labels = y.unique().tolist()
    changed = [augment(x[y == label], seeded(seeds[label])) for label in labels]
    return torch.cat(changed), torch.cat([y[y == label] for label in labels])
