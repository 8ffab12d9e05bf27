"""Selection of latent variables that are not passive (Bonheme and Grzes, 2021)."""

from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectorMixin
from sklearn.utils.validation import check_is_fitted, check_non_negative, validate_data

from assay.representation.latent_variables.polarization import MEAN_TOLERANCE, VARIANCE_THRESHOLD, variable_types


class ActiveVariableSelector(SelectorMixin, BaseEstimator):
    """Drop the passive variables of mean codes: they add correlated features and next to no information.

    Fit it on posterior variances, and transform posterior means. It passes `check_estimator`.

    Cost: time and memory O(n k).

    Args:
        variance_threshold: See `variable_types`.
        mean_tolerance: See `variable_types`.
        keep_mixed: Keep mixed variables as well as active ones.

    Attributes:
        types_: The `VariableTypes` of the fit.
        n_features_in_: Latent variables k.

    Source: Bonheme and Grzes, "Be More Active! Understanding the Differences between Mean and Sampled Representations
    of Variational Autoencoders" (2021), abstract, the advice for downstream tasks.

    >>> selector = ActiveVariableSelector().fit([[0.02, 1.0], [0.03, 0.99]])
    >>> selector.transform([[-1.5, 0.001]]).tolist()
    [[-1.5]]
    """

    def __init__(
        self,
        *,
        variance_threshold: float = VARIANCE_THRESHOLD,
        mean_tolerance: float = MEAN_TOLERANCE,
        keep_mixed: bool = True,
    ) -> None:
        self.variance_threshold = variance_threshold
        self.mean_tolerance = mean_tolerance
        self.keep_mixed = keep_mixed

    def fit(self, X: Any, y: Any = None) -> "ActiveVariableSelector":
        """Sort the variables.

        Args:
            X: Posterior variances, of shape (n, k).
            y: Not used.

        Returns:
            The selector itself.

        Raises:
            ValueError: The variances are no finite matrix, or below 0.
        """
        X = validate_data(self, X, dtype=np.float64)
        check_non_negative(X, "ActiveVariableSelector.fit, which takes variances")
        self.types_ = variable_types(
            torch.tensor(X), variance_threshold=self.variance_threshold, mean_tolerance=self.mean_tolerance
        )
        return self

    def _get_support_mask(self) -> np.ndarray:  # type: ignore[override]
        check_is_fitted(self)
        kept = np.zeros(self.n_features_in_, dtype=bool)  # type: ignore[attr-defined]
        kept[self.types_.active.numpy()] = True
        if self.keep_mixed:
            kept[self.types_.mixed.numpy()] = True
        return kept

    def __sklearn_tags__(self) -> Any:
        """Declare that `fit` takes no negative numbers."""
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags
