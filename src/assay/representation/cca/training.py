"""Training of linear maps of several views by mini-batches, shared by the estimators of CCA and PLS."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from assay.core import NumericalError, batch_sizes, check_choice, check_count, check_positive, seeded, track
from assay.representation.cca.closed_form import solve_blocks
from assay.representation.cca.directions import descent_direction
from assay.representation.cca.eckart_young import ridges
from assay.representation.cca.starts import between_scale, first_weights
from assay.representation.cca.views import batches, is_views, joint_covariance, moments, read_views


class ViewsEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, ABC):
    """Base of the estimators; its options are set by their constructors."""

    n_components: Any
    batch_size: Any
    epochs: Any
    lr: Any
    optimizer: Any
    rule: Any
    unbiased: Any
    scale: Any
    random_state: Any
    progress: Any

    def fit(self, X: Any, y: Any = None) -> "ViewsEstimator":
        """Train from new weights.

        Args:
            X: The views, a tuple or list of matrices (n, d); or the first one.
            y: The second view, if X is the first.

        Returns:
            The estimator itself.

        Raises:
            ValueError: The views are no finite matrices of as many samples, two or more, or an option is out of range.
            NumericalError: Training diverged.
        """
        views = read_views(self, X, y, reset=True, at_least=2)
        self._start(views)
        self._train(views, self.epochs)
        return self

    def partial_fit(self, X: Any, y: Any = None) -> "ViewsEstimator":
        """Train on one chunk of the data, once, from the weights so far.

        Args:
            X: The views of these samples, or the first one.
            y: The second view, if X is the first.

        Returns:
            The estimator itself; rotation and `eigenvalues_` are those of this chunk, `means_` of all chunks.

        Raises:
            ValueError: As for `fit`, or the views differ from those of the first chunk.
            NumericalError: Training diverged.
        """
        if not hasattr(self, "weights_"):
            views = read_views(self, X, y, reset=True, at_least=2)
            self._start(views)
        else:
            views = read_views(self, X, y, reset=False, at_least=2)
            if len(views) < len(self.weights_):
                raise ValueError(f"X holds one view of {len(self.weights_)}; give all: partial_fit((X1, X2)).")
            share = len(views[0]) / (len(views[0]) + self._n_seen)
            for mean, view in zip(self.means_, views, strict=True):
                mean += share * (moments(view, self.batch_size)[0] - mean)
            self._n_seen += len(views[0])
        self._train(views, 1)
        return self

    def transform(self, X: Any, y: Any = None) -> Any:
        """Return the scores of the first view, or of each view that is given.

        Args:
            X: The views, or the first one.
            y: The second view, or None.

        Returns:
            One matrix (n, K) for one view; else a tuple of them.

        Raises:
            NotFittedError: Neither `fit` nor `partial_fit` was called.
            ValueError: The views differ from those of the fit.
        """
        check_is_fitted(self)
        views = read_views(self, X, y, reset=False)
        maps = zip(views, self.weights_, self.means_, strict=False)
        scores = tuple(view @ weight - (mean @ weight).astype(weight.dtype) for view, weight, mean in maps)
        return scores if is_views(X) or y is not None else scores[0]

    @abstractmethod
    def score(self, X: Any, y: Any = None) -> float:
        """Return what the scores of these views share."""

    def _all_scores(self, X: Any, y: Any) -> tuple[np.ndarray, ...]:
        scores = self.transform(X, y)
        if not isinstance(scores, tuple) or len(scores) < len(self.weights_):
            raise ValueError(f"A score needs all {len(self.weights_)} views: score((X1, X2)), or score(X, y).")
        return scores

    def _start(self, views: list[np.ndarray]) -> None:
        """Check the options, take means and scales, and draw the first weights."""
        check_count(self.n_components, "n_components")
        check_count(self.batch_size, "batch_size", at_least=4 if self.unbiased else 2)
        check_count(self.epochs, "epochs")
        check_positive(self.lr, "lr")
        check_choice(self.rule, ("eckart-young", "hebbian"), "rule")
        self._ridges = ridges(self._ridge(), len(views))
        self._source = seeded(int(check_random_state(self.random_state).randint(2**31 - 1)))
        found = [moments(view, self.batch_size) for view in views]
        self.means_ = [mean for mean, _ in found]
        self._dtype = torch.float64 if views[0].dtype == np.float64 else torch.float32
        spread = [np.where(std > 1e-12 * np.abs(mean), std, np.inf) for mean, std in found]
        self._inverse = [
            torch.from_numpy(1 / std if self.scale else np.where(std < np.inf, 1.0, 0.0)).to(self._dtype)[:, None]
            for std in spread
        ]
        self._n_seen, self.n_iter_, self._n_features_out = len(views[0]), 0, self.n_components
        size = min(len(views[0]), self.batch_size)
        batch = self._scaled(next(batches(views, [size], self._source)))
        self._between = between_scale(batch, self._ridges, self._source)
        self._raw = first_weights(batch, self.n_components, self._ridges, self._source)
        self._optimizer = self._build_optimizer()

    @abstractmethod
    def _ridge(self) -> Any:
        """Return the ridge, one number or one for each view."""

    def _build_optimizer(self) -> torch.optim.Optimizer:
        if self.optimizer is not None:
            return self.optimizer(self._raw)
        return torch.optim.Adam([{"params": [one], "lr": self.lr / len(one) ** 0.5} for one in self._raw])

    def _scaled(self, batch: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return a batch less the means of the first data, over the scales; the batch is a copy, written in place."""
        rows = zip(batch, self.means_, self._inverse, strict=True)
        return [
            view.to(self._dtype).sub_(torch.from_numpy(mean).to(self._dtype)).mul_(inverse[:, 0])
            for view, mean, inverse in rows
        ]

    def _train(self, views: list[np.ndarray], epochs: int) -> None:
        sizes = batch_sizes(len(views[0]), self.batch_size)
        if self.unbiased and sizes[-1] < 4:
            sizes = sizes[:-1] or sizes
        for _ in track(range(epochs), "training", enabled=self.progress):
            for batch in batches(views, sizes, self._source):
                slopes = descent_direction(
                    self._scaled(batch),
                    self._raw,
                    self._ridges,
                    rule=self.rule,
                    unbiased=self.unbiased,
                    between_scale=self._between,
                )
                for weight, slope in zip(self._raw, slopes, strict=True):
                    weight.grad = slope
                self._optimizer.step()
                self.n_iter_ += 1
            if not all(bool(weight.isfinite().all()) for weight in self._raw):
                raise NumericalError(
                    "training diverged to infinite weights; lower lr, take larger batches, or a ridge of 0.1 to 0.3"
                )
        self._rotate(views)

    def _rotate(self, views: list[np.ndarray]) -> None:
        """Solve the K-dimensional problem of the scores on these data."""
        raw = [(weight * inverse).numpy() for weight, inverse in zip(self._raw, self._inverse, strict=True)]
        n, rows, k = len(views[0]), max(self.batch_size, 1), self.n_components
        scores = (
            np.hstack([(v[i : i + rows] - m) @ w for v, m, w in zip(views, self.means_, raw, strict=True)])
            for i in range(0, n, rows)
        )
        covariance = torch.from_numpy(joint_covariance(scores, k * len(views)))
        constraints = [
            (1 - alpha) * covariance[i * k : (i + 1) * k, i * k : (i + 1) * k]
            + alpha * weight.double().mT @ weight.double()
            for i, (alpha, weight) in enumerate(zip(self._ridges, self._raw, strict=True))
        ]
        values, rotations = solve_blocks(covariance, len(views) * [k], constraints, k)
        missing = k - len(values)
        self.eigenvalues_ = np.pad(values.numpy(), (0, missing))
        self.weights_ = [
            np.pad(weight.astype(np.float64) @ rotation.numpy(), ((0, 0), (0, missing))).astype(weight.dtype)
            for weight, rotation in zip(raw, rotations, strict=True)
        ]

    def __sklearn_tags__(self) -> Any:
        """Declare that a second view is needed, and that single precision stays single."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
