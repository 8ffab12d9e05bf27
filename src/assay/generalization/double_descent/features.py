"""Random features of inputs, fixed while the layer above them is trained (Liu and Flanigan, 2023)."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import FLOAT_DTYPES, check_is_fitted, validate_data

from assay.core import check_choice, check_count

Activation = Literal["relu", "tanh", "identity"] | Callable[[np.ndarray], np.ndarray]
Normalization = Literal["center", "standardize"] | None

_ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda z: np.maximum(z, 0),
    "tanh": np.tanh,
    "identity": lambda z: z,
}

LEAST_DEVIATION = 1e-3
"""Least standard deviation that a feature is divided by, as a fraction of that of all entries."""


class RandomFeatures(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    r"""Map inputs to random features $\phi(x) = s(W^\top x) / \sqrt N$, $W_{ij} \sim \mathcal N(0, 1/d)$.

    With "center" the training mean of each feature is subtracted before the division by $\sqrt N$; with "standardize"
    each is also divided by its training standard deviation, or by a thousandth of that of all entries where this is
    larger. The factor $1/\sqrt N$ keeps the largest eigenvalue of $\Phi^\top\Phi / n$ stable as N grows, so that the
    width does not change the largest stable learning rate. It passes `check_estimator`.

    Cost: time O(n d N), memory O(n N).

    Args:
        n_features: Width N.
        activation: s: "relu", "tanh", "identity", or a function of an array, applied entry by entry.
        normalization: None, "center" or "standardize".
        random_state: Seed of W.

    Attributes:
        weights_: W, of shape (d, N).
        mean_: Subtracted from the features; zero without normalisation.
        scale_: The features are divided by it; one unless they are standardised.

    Source: Liu and Flanigan, Understanding the Role of Optimization in Double Descent (2023), abstract: random feature
    models; the scaling and the least deviation are chosen here.

    >>> RandomFeatures(3, random_state=0).fit_transform(np.eye(2)).shape
    (2, 3)
    """

    def __init__(
        self,
        n_features: Any = 100,
        *,
        activation: Any = "relu",
        normalization: Any = None,
        random_state: Any = 0,
    ) -> None:
        self.n_features = n_features
        self.activation = activation
        self.normalization = normalization
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> "RandomFeatures":
        """Draw the weights, and take the mean and the scale of the features of the training set.

        Args:
            X: Inputs, of shape (n, d).
            y: Not read.

        Returns:
            The estimator itself.

        Raises:
            ValueError: The inputs are no finite matrix, or an option is none of those above.
        """
        X = validate_data(self, X, dtype=FLOAT_DTYPES)
        check_count(self.n_features, "n_features")
        check_choice(self.normalization, (None, "center", "standardize"), "normalization")
        if not callable(self.activation):
            check_choice(self.activation, _ACTIVATIONS, "activation")
        source, d = check_random_state(self.random_state), X.shape[1]
        self.weights_ = (source.standard_normal((d, self.n_features)) / np.sqrt(d)).astype(X.dtype)
        features = self._activate(X)
        self.mean_ = np.zeros(self.n_features, X.dtype) if self.normalization is None else features.mean(0)
        self.scale_ = np.ones(self.n_features, X.dtype)
        if self.normalization == "standardize":
            floor = LEAST_DEVIATION * features.std()
            self.scale_ = np.maximum(features.std(0), floor if floor > 0 else 1).astype(X.dtype)
        self._n_features_out = self.n_features
        return self

    def transform(self, X: Any) -> Any:
        """Return the features of inputs, of shape (n, N).

        Raises:
            NotFittedError: `fit` was not called.
            ValueError: The inputs are no finite matrix of as many columns as in `fit`.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=FLOAT_DTYPES, reset=False)
        features = (self._activate(X) - self.mean_) / (self.scale_ * np.sqrt(self.n_features))
        return features.astype(X.dtype, copy=False)

    def _activate(self, X: np.ndarray) -> np.ndarray:
        activation = self.activation if callable(self.activation) else _ACTIVATIONS[self.activation]
        return np.asarray(activation(X @ self.weights_))

    def __sklearn_tags__(self) -> Any:
        """Declare that single precision stays single."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
