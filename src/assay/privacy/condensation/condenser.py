"""Dataset condensation by gradient matching with contrastive signals, DCC (Lee et al., 2022)."""

from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

import torch
from jaxtyping import Float, Shaped
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from assay.core import (
    check_choice,
    check_count,
    check_finite,
    check_labels,
    check_pairs,
    check_positive,
    check_scores,
    cross_entropy,
    fit,
    isolated_rng,
    seeded,
    track,
)
from assay.data import balanced_subset
from assay.privacy.condensation.gradient_matching import (
    ClassWiseGradientMatching,
    ContrastiveGradientMatching,
    Metric,
)
from assay.privacy.condensation.networks import like_samples
from assay.privacy.condensation.siamese_augmentation import Augmentation, augmented

Matching = Literal["contrastive", "class-wise"]

_SCHEDULE = {1: (10, 5), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}
"""Inner iterations and network epochs of the paper, by samples a class."""

_BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class DatasetCondenser(BaseEstimator):
    """Condense a training set to a few synthetic samples of each class.

    The synthetic samples start as random real ones. Each outer iteration takes a new network. Each inner iteration
    moves the synthetic samples so that their gradient approaches that of a real batch, then trains the network on
    them. "class-wise" matching (DC) compares gradients class by class. "contrastive" matching (DCC) does so during the
    warm-up, and compares gradients summed over classes (`ContrastiveGradientMatching`) from outer iteration
    `outer_warmup` on, and in every network from inner iteration `inner_warmup` on.

    The image learning rate is for standardised data. Batch-norm layers get the statistics of 16 real samples of each
    class, which stay fixed while gradients are compared; the paper's network (`assay.nets.normalized_conv`) has none.
    Condensed samples carry no privacy guarantee.

    Cost: time of O(outer x inner) passes over a real batch of every class, beside training; memory of one such batch.

    Every check of `check_estimator` that calls `fit` fails, since `fit` takes tensors of any shape, not arrays.

    Args:
        n_per_class: Synthetic samples of each class.
        model_fn: Builds one untrained network from a generator.
        matching: "contrastive" (DCC) or "class-wise" (DC).
        n_outer_iter: Outer iterations, a new network each. Paper: 1000. With 0 the result is the baseline, random real
            samples.
        n_inner_iter: Inner iterations a network; None takes the paper's number for `n_per_class`.
        net_epochs: Passes over the synthetic samples between inner iterations; None takes the paper's number.
        outer_warmup: Outer iterations of warm-up. Paper: 250.
        inner_warmup: Inner iterations of warm-up. Paper: 10.
        image_lr: Learning rate of the samples, by SGD with momentum 0.5. Paper: 0.1.
        batch_size: Real samples of each class an iteration, all of smaller classes. Paper: 256.
        net_lr: Learning rate of the networks. Paper: 0.01.
        augment: Augmentation, the same for real and synthetic samples of a class, before gradients are compared and in
            the networks' training. `SiameseAugmentation` gives the paper's DSAC: in training it changes each sample
            apart. Any other function is called with whole batches.
        metric: Distance of gradients, see `gradient_distance`.
        progress: Draw a bar on standard error.
        random_state: Seed of all draws.

    Attributes:
        data_: Synthetic samples, `(n_per_class * classes, *d)`.
        targets_: Classes of the synthetic samples.
        history_: Matching loss at every inner iteration; its scale changes at the end of the warm-up.

    Source: Lee et al., "Dataset Condensation with Contrastive Signals" (2022), main text on the bi-level warm-up, with
    the settings of its released code; Zhao, Mopuri and Bilen, "Dataset Condensation with Gradient Matching" (2021),
    section 2.3 and algorithm 1, for "class-wise"; Zhao and Bilen, "Dataset Condensation with Differentiable Siamese
    Augmentation" (2021), section on the method, for augmentation.

    >>> from assay.nets import mlp
    >>> x, y = torch.randn(12, 4, generator=seeded(0)), torch.arange(12) % 3
    >>> build = lambda source: mlp((4, 5, 3), generator=source)
    >>> DatasetCondenser(2, model_fn=build, n_outer_iter=1, net_epochs=1).fit(x, y).data_.shape
    torch.Size([6, 4])
    """

    def __init__(
        self,
        n_per_class: int = 1,
        *,
        model_fn: Callable[[torch.Generator], nn.Module],
        matching: Matching = "contrastive",
        n_outer_iter: int = 1000,
        n_inner_iter: int | None = None,
        net_epochs: int | None = None,
        outer_warmup: int = 250,
        inner_warmup: int = 10,
        image_lr: float = 0.1,
        batch_size: int = 256,
        net_lr: float = 0.01,
        augment: Augmentation | None = None,
        metric: Metric = "rowwise_cosine",
        progress: bool = False,
        random_state: int = 0,
    ) -> None:
        self.n_per_class = n_per_class
        self.model_fn = model_fn
        self.matching: Matching = matching
        self.n_outer_iter = n_outer_iter
        self.n_inner_iter = n_inner_iter
        self.net_epochs = net_epochs
        self.outer_warmup = outer_warmup
        self.inner_warmup = inner_warmup
        self.image_lr = image_lr
        self.batch_size = batch_size
        self.net_lr = net_lr
        self.augment = augment
        self.metric: Metric = metric
        self.progress = progress
        self.random_state = random_state

    def fit(self, x: Float[Tensor, "n *d"], y: Shaped[Tensor, "n *one"]) -> "DatasetCondenser":
        """Condense real samples.

        Args:
            x: Real samples.
            y: Classes of the samples; networks may have more outputs than classes that occur.

        Raises:
            InvalidInputError: An option is out of range, a class has too few samples, the samples do not fit the
                networks, or these return probabilities or mix samples.
            NumericalError: The synthetic samples diverged.
        """
        self._check_options()
        x, y = check_pairs(x, y)
        # Layers such as dropout draw from the global state; networks are trained whatever the caller is in.
        with isolated_rng(self.random_state), torch.inference_mode(False), torch.enable_grad():
            y = check_labels(y, check_scores(like_samples(self.model_fn(seeded(self.random_state)), x), x).shape[1])
            source = seeded(self.random_state)
            start, self.targets_ = balanced_subset(x, y, self.n_per_class, generator=source)
            self.data_, self.history_ = self._condense(start, x, y, source)
        return self

    def _condense(
        self, start: Tensor, x: Tensor, y: Tensor, source: torch.Generator
    ) -> tuple[Tensor, tuple[float, ...]]:
        data, history = start.clone().requires_grad_(), list[float]()
        members = [(y == label).nonzero().flatten() for label in y.unique()]
        n_inner_iter, _ = self.schedule()
        optimizer = torch.optim.SGD([data], lr=self.image_lr, momentum=0.5)
        for outer in track(range(self.n_outer_iter), "condensing", enabled=self.progress):
            model = like_samples(self.model_fn(source), x)
            for inner in range(n_inner_iter):
                set_batch_norm_statistics(model, _batch(x, y, members, 16, source)[0])
                loss = self._loss(model, data, _batch(x, y, members, self.batch_size, source), outer, inner, source)
                (data.grad,) = torch.autograd.grad(loss, data)
                optimizer.step()
                check_finite(data, "a synthetic sample")
                history.append(loss.item())
                if inner + 1 < n_inner_iter:
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
        """Return the matching loss of synthetic and real samples, with the same augmentation for each class of both."""
        synthetic = data, self.targets_
        if self.augment is not None:
            seeds = torch.randint(2**31, (int(self.targets_.max()) + 1,), generator=source).tolist()
            synthetic, real = (
                _augmented_alike(self.augment, seeds, *synthetic),
                _augmented_alike(self.augment, seeds, *real),
            )
        warm = outer >= self.outer_warmup or inner >= self.inner_warmup
        matching = ContrastiveGradientMatching if self.matching == "contrastive" and warm else ClassWiseGradientMatching
        return matching(self.metric).matched(model, *synthetic, *real)

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
        """Return inner iterations and epochs: the given ones, or the paper's for the next lower `n_per_class`."""
        inner, epochs = _SCHEDULE[max(size for size in _SCHEDULE if size <= self.n_per_class)]
        return (
            inner if self.n_inner_iter is None else self.n_inner_iter,
            epochs if self.net_epochs is None else self.net_epochs,
        )

    def _check_options(self) -> None:
        check_choice(self.matching, ("contrastive", "class-wise"), "matching")
        check_choice(self.metric, get_args(Metric), "metric")
        for name in ("n_per_class", "batch_size", "n_inner_iter", "net_epochs"):
            value = getattr(self, name)
            if value is not None:
                check_count(value, name)
        for name in ("n_outer_iter", "outer_warmup", "inner_warmup"):
            check_count(getattr(self, name), name, at_least=0)
        check_positive(self.image_lr, "image_lr")
        check_positive(self.net_lr, "net_lr")


def set_batch_norm_statistics(model: nn.Module, x: Tensor) -> None:
    """Set the mean and variance of batch-norm layers to those of a batch; no other layer changes."""
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
    """Draw `size` samples of each class, all of smaller classes."""
    drawn = [place[torch.randperm(len(place), generator=source)[:size].to(place.device)] for place in members]
    chosen = torch.cat(drawn)
    return x[chosen], y[chosen]


def _augmented_alike(augment: Augmentation, seeds: list[int], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Augment the samples of each class by the seed of the class."""
    labels = y.unique().tolist()
    changed = [augment(x[y == label], seeded(seeds[label])) for label in labels]
    return torch.cat(changed), torch.cat([y[y == label] for label in labels])
