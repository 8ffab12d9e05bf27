"""The `lime` package behind the interface of `LocalSurrogate`, for comparison."""

import math
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.linear_model import Ridge

from assay.attribution.disparities.probabilities import as_array, probability_function
from assay.attribution.disparities.surrogate import Decode, LocalSurrogate, SurrogateResult, row_seed
from assay.core import InvalidInputError, require_extra, track


class LimeBackend(LocalSurrogate):
    """Explain rows by `lime.lime_tabular`, with the options of `LocalSurrogate` and a seed for each row.

    All columns are used, none is discretised. The package advances one random state over all rows that it explains;
    here it gets a new one before each, so that explanations do not depend on the order. Neighbours differ from those
    of `LocalSurrogate`, since the package draws them in another way.

    `check_estimator`: as `LocalSurrogate`.

    Cost: that of the package: n_samples evaluations of the model a row, one row at a time.

    Args:
        n_samples: Neighbours of a row, the row among them.
        kernel_width: Width of the kernel; 0.75 sqrt(d) when None.
        alpha: Ridge penalty.
        center: Draw neighbours around the row ("sample") or around the training mean.
        categorical: Places of the categorical columns, which must hold whole numbers, or their names.
        batch_size: Samples a forward pass of a network.
        random_state: Seed of the neighbours.

    Attributes:
        columns_: As in `LocalSurrogate`.
        seed_: The seed that every row's own is derived from.
        train_: The training rows.

    Source: Ribeiro et al., Why Should I Trust You (2016), equation 1, and the `lime` package; the options are those of
    Mhasawade et al., Understanding Disparities in Post Hoc Machine Learning Explanation (2024).

    >>> sorted(LimeBackend().get_params()) == sorted(LocalSurrogate().get_params())
    True
    """

    def fit(self, X: Any, y: Any = None) -> "LimeBackend":
        """Keep the training rows.

        Args:
            X: Training rows, of shape (n, d).
            y: Not used.

        Raises:
            ValueError: X is no finite matrix.
            InvalidInputError: As for `LocalSurrogate`.
        """
        super().fit(X, y)
        self.train_ = as_array(X).copy()
        return self

    def explain(
        self, model: Any, X: Any, *, label: Any = None, decode: Decode | None = None, progress: bool = False
    ) -> SurrogateResult:
        """Explain each row by the package.

        Args:
            model: As for `LocalSurrogate`.
            X: Rows to explain, of shape (n, d).
            label: The class whose probability is explained, the same for all rows; 1 by default.
            decode: Must be None: the package evaluates the model on the rows themselves.
            progress: Show a progress bar.

        Raises:
            MissingExtraError: The package is not installed.
            ValueError: X is no finite matrix of as many columns as in `fit`.
            InvalidInputError: The model returns no probabilities, or something is asked for that the package cannot.
        """
        tabular = require_extra("lime.lime_tabular", "lime")
        X = self._rows(X)
        label = 1 if label is None else label
        if decode is not None or not isinstance(label, Integral):
            raise InvalidInputError("the lime package takes one label, and no decode; use LocalSurrogate")
        inner = probability_function(model, X[:3], batch_size=self.batch_size)
        kept: list[np.ndarray] = []

        def kernel(distance: np.ndarray, kernel_width: float) -> np.ndarray:
            kept.append(np.sqrt(np.exp(-(distance**2) / kernel_width**2)))
            return kept[-1]

        explainer = tabular.LimeTabularExplainer(
            self.train_,
            discretize_continuous=False,
            sample_around_instance=self.center == "sample",
            categorical_features=self.columns_.categorical.tolist(),
            kernel_width=0.75 * math.sqrt(X.shape[1]) if self.kernel_width is None else self.kernel_width,
            kernel=kernel,
            feature_selection="none",
        )
        found = []
        for row in track(X, "explaining", enabled=progress):
            explainer.random_state = np.random.RandomState(row_seed(self.seed_, row)[-1])
            explanation = explainer.explain_instance(
                row,
                lambda values: _two_columns(inner(values)),
                labels=(int(label),),
                num_features=X.shape[1],
                num_samples=self.n_samples,
                model_regressor=Ridge(alpha=self.alpha),
            )
            coef = np.zeros(X.shape[1])
            for place, slope in explanation.local_exp[label]:
                coef[place] = slope
            weights = kept.pop()
            found.append(
                (
                    coef,
                    float(explanation.intercept[label]),
                    float(explanation.predict_proba[label]),
                    float(np.ravel(explanation.local_pred)[0]),
                    float(explanation.score),
                    float(weights.sum() ** 2 / np.square(weights).sum()),
                )
            )
        return SurrogateResult(*(np.asarray(part) for part in zip(*found, strict=True)))


def _two_columns(p: np.ndarray) -> np.ndarray:
    return np.stack([1 - p, p], 1) if p.ndim == 1 else p
