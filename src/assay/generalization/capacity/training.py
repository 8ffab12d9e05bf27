"""Training procedures: one network, a stack of networks, a scikit-learn estimator (Shwartz-Ziv et al., 2024)."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Shaped
from sklearn.base import is_classifier, is_regressor
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor, nn
from torch.optim import Optimizer

from assay.core import (
    FitResult,
    InvalidInputError,
    LossFunction,
    StackedTrainer,
    Step,
    accuracy,
    check_count,
    check_positive,
    fit,
    predict,
)

_LOOK_EVERY = 25  # steps between two looks whether all samples are fitted


def share_classified(model: nn.Module, x: Shaped[Tensor, "n *d"], y: Shaped[Tensor, "n *one"]) -> float:
    """Return the share of samples that a network classifies correctly, in evaluation mode.

    >>> share_classified(nn.Identity(), torch.eye(2), torch.tensor([0, 0]))
    0.5
    """
    return accuracy(predict(model, x, look=False), y)


@dataclass(frozen=True)
class TrainingProcedure:
    """Train one network for a budget of steps or epochs, and stop as soon as it classifies every sample correctly.

    Args:
        loss: Mean loss over a batch.
        optimizer: Called with the trainable parameters, for example `partial(torch.optim.Adam, lr=3e-3)`.
        n_iter: Steps; give either these or epochs. A fixed number of steps means fewer epochs for more samples.
        epochs: Passes over the samples.
        batch_size: Samples a step; None for gradient descent on all of them.
        schedule: "cosine" lets the learning rate fall to zero at the end of the budget; None keeps it.

    Raises:
        InvalidInputError: Both or neither of `n_iter` and `epochs` are given, or a number is below one.

    Source: Shwartz-Ziv et al., "Just How Flexible are Neural Networks in Practice?" (2024), main text: stochastic and
    full-batch gradient descent, Adam and AdamW are compared. The budgets are the caller's.

    >>> from functools import partial
    >>> from assay.core import cross_entropy, seeded
    >>> train = TrainingProcedure(cross_entropy, partial(torch.optim.SGD, lr=0.1), n_iter=9)
    >>> train(nn.Linear(2, 2), torch.eye(2), torch.tensor([0, 1]), seeded(0)).n_iter <= 9
    True
    """

    loss: LossFunction
    optimizer: Callable[[Any], Optimizer]
    n_iter: int | None = None
    epochs: int | None = None
    batch_size: int | None = 64
    schedule: Literal["cosine"] | None = "cosine"

    def __post_init__(self) -> None:
        if (self.n_iter is None) == (self.epochs is None):
            raise InvalidInputError(f"give either n_iter or epochs, got n_iter={self.n_iter} and epochs={self.epochs}")
        for name in ("n_iter", "epochs", "batch_size"):
            if getattr(self, name) is not None:
                check_count(getattr(self, name), name)

    def __call__(self, model: nn.Module, x: Shaped[Tensor, "n *d"], y: Tensor, generator: torch.Generator) -> FitResult:
        """Train in place and return the losses; a generator in the same state gives the same weights."""
        if len(x) == 1:  # which batch-norm cannot train on; the mean loss of two copies is that of one
            x, y = torch.cat([x, x]), torch.cat([y, y])

        def fitted(step: Step) -> bool:
            return step.number % _LOOK_EVERY == 0 and share_classified(model, x, y) == 1

        return fit(
            model,
            x,
            y,
            loss=self.loss,
            optimizer=self.optimizer,
            schedule=self.schedule,
            n_iter=self.n_iter,
            epochs=self.epochs,
            batch_size=None if self.batch_size is None else min(self.batch_size, len(x)),
            stop=fitted,
            generator=generator,
        )


@dataclass(frozen=True)
class StackedProcedure:
    """Train many small networks at once, each on its own samples, for a fixed number of steps.

    `core.StackedTrainer` with as many epochs as give `n_iter` steps, or up to one epoch more. A cosine schedule ends
    the budget, no network stops early, and batches are of one size: `batch_size`, or the smallest training set. The
    networks must be of one architecture, without dropout and batch-norm.

    Args:
        loss: Mean loss over a batch.
        optimizer: Called with the stacked parameters; it must work entry by entry, as SGD and Adam do.
        n_iter: Steps.
        batch_size: Samples per network and step.

    Raises:
        InvalidInputError: A number is below one.

    Cost: time of `n_iter` steps of all networks; for networks of some thousand parameters a step of sixteen takes about
    as long as three single ones.

    Source: Shwartz-Ziv et al., "Just How Flexible are Neural Networks in Practice?" (2024), main text; the stacking is
    ours.

    >>> from functools import partial
    >>> from assay.core import cross_entropy, seeded
    >>> train = StackedProcedure(cross_entropy, partial(torch.optim.SGD, lr=0.1), n_iter=9)
    >>> train([nn.Linear(2, 2)], torch.eye(2), torch.tensor([0, 1]), torch.ones(1, 2) > 0, seeded(0))
    """

    loss: LossFunction
    optimizer: Callable[[Any], Optimizer]
    n_iter: int = 3000
    batch_size: int = 64

    def __post_init__(self) -> None:
        check_count(self.n_iter, "n_iter")
        check_count(self.batch_size, "batch_size")

    def __call__(
        self,
        models: Sequence[nn.Module],
        x: Shaped[Tensor, "n *d"],
        y: Tensor,
        membership: Bool[Tensor, "m n"],
        generator: torch.Generator,
    ) -> None:
        """Train in place; a generator in the same state gives the same weights."""
        batches = max(1, int(membership.sum(1).min()) // self.batch_size)
        trainer = StackedTrainer(self.loss, self.optimizer, -(-self.n_iter // batches), self.batch_size)
        trainer(models, x, y, membership, generator=generator)


@dataclass(frozen=True)
class EstimatorReport:
    """Outcome of fitting an estimator.

    Attributes:
        converged: Whether it did not warn that its iterations ran out.
    """

    converged: bool


@dataclass(frozen=True)
class EstimatorProcedure:
    """Fit a scikit-learn estimator, as the `train` of `effective_model_complexity`, whose `build` then returns one.

    Where the estimator warns that it has not converged, its `max_iter` is doubled once. Samples of one class are fitted
    by any classifier; since many refuse them, none is trained then.

    Args:
        tolerance: Error up to which a regressor has fitted a target.

    Raises:
        InvalidInputError: The tolerance is not positive.

    Source: Shwartz-Ziv et al., "Just How Flexible are Neural Networks in Practice?" (2024), main text: linear models
    are among those compared. The tolerance for regressors is ours.

    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from assay.core import seeded
    >>> x, y = torch.eye(3), torch.tensor([0, 1, 0])
    >>> procedure, nearest = EstimatorProcedure(), KNeighborsClassifier(1)
    >>> procedure(nearest, x, y, seeded(0)).converged, procedure.share_fitted(nearest, x, y)
    (True, 1.0)
    """

    tolerance: float = 1e-6

    def __post_init__(self) -> None:
        check_positive(self.tolerance, "tolerance")

    def __call__(self, model: Any, x: Shaped[Tensor, "n *d"], y: Tensor, generator: torch.Generator) -> EstimatorReport:
        """Fit in place and tell whether the estimator converged."""
        if _one_class(model, y):
            return EstimatorReport(converged=True)
        options = model.get_params()
        if "random_state" in options:
            model.set_params(random_state=int(torch.randint(2**31, (1,), generator=generator)))
        if _converges(model, x, y):
            return EstimatorReport(converged=True)
        if isinstance(options.get("max_iter"), int) and options["max_iter"] > 0:
            model.set_params(max_iter=2 * options["max_iter"])
            return EstimatorReport(converged=_converges(model, x, y))
        return EstimatorReport(converged=False)

    def share_fitted(self, model: Any, x: Shaped[Tensor, "n *d"], y: Tensor) -> float:
        """Return the share of labels that a fitted estimator returns, or of targets within the tolerance."""
        if _one_class(model, y):
            return 1.0
        predicted, wanted = model.predict(_rows(x)), y.reshape(len(y), -1).cpu().numpy()
        predicted = np.asarray(predicted).reshape(wanted.shape)
        right = abs(predicted - wanted) <= self.tolerance if is_regressor(model) else predicted == wanted
        return float(right.all(1).mean())


def _one_class(model: Any, y: Tensor) -> bool:
    return is_classifier(model) and len(y.unique(dim=0)) == 1


def _rows(x: Tensor) -> np.ndarray:
    return x.reshape(len(x), -1).cpu().numpy()


def _converges(model: Any, x: Tensor, y: Tensor) -> bool:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(_rows(x), y.reshape(len(y), -1).squeeze(1).cpu().numpy())
    return not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
