"""Local linear surrogates of a model's probability (LIME, Ribeiro et al., 2016), for many samples at once."""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from assay.attribution.disparities.neighbours import (
    Columns,
    draw_neighbours,
    explained_columns,
    fit_columns,
    weighted_ridge,
)
from assay.attribution.disparities.probabilities import probability_function
from assay.core import InvalidInputError, NumericalError, check_choice, check_count, check_positive, track

Decode = Callable[[np.ndarray, np.ndarray], Any]
"""Map places of explained rows and the values around each, (b, s, d), to b s inputs of the model."""


@dataclass(frozen=True)
class SurrogateResult:
    r"""A linear surrogate around each explained row.

    Attributes:
        coef: Slopes in standardised columns, divided by no scale; of a categorical column, of the indicator that the
            value is that of the row.
        intercept: Value of the surrogate at the origin of the standardised columns.
        model_prediction: The model's probability at the row.
        local_prediction: The surrogate's value at the row; it may leave [0, 1].
        score: Weighted R^2 of the surrogate on its neighbours; 1 where the model is constant there.
        effective_samples: $(\sum w)^2 / \sum w^2$: how many neighbours the weights leave.
    """

    coef: Float[np.ndarray, "n d"]
    intercept: Float[np.ndarray, " n"]
    model_prediction: Float[np.ndarray, " n"]
    local_prediction: Float[np.ndarray, " n"]
    score: Float[np.ndarray, " n"]
    effective_samples: Float[np.ndarray, " n"]

    def __str__(self) -> str:
        error = np.abs(self.model_prediction - self.local_prediction)
        few = int((self.effective_samples < self.coef.shape[1] + 1).sum())
        text = (
            f"Surrogates of {len(self.coef)} rows: mean |p_f - p_e| at the row {error.mean():.3g}, mean R^2 around it "
            f"{self.score.mean():.3g}"
        )
        warning = f"; {few} have fewer effective samples than coefficients: take a wider kernel" if few else ""
        return f"{text}{warning}."


class LocalSurrogate(BaseEstimator):
    r"""Fit a weighted linear model to a model's probability around each sample: LIME on tables, vectorised.

    Around a row x, neighbours are drawn: $z = x + N(0, \mathrm{diag}(s^2))$ in continuous columns with the training
    standard deviations s (1 for a constant column, as in LIME), and values drawn from the training frequencies in
    categorical ones, encoded as $1[z_c = x_c]$. The first neighbour is x itself. With $\tilde z$ the standardised
    neighbours and weights $w = \sqrt{\exp(-\|\tilde z - \tilde x\|^2 / k^2)}$,
    $\min_{a, b} \sum w (p_f(z) - a^\top \tilde z - b)^2 + \alpha \|a\|^2$, and $p_e(x) = a^\top \tilde x + b$.

    Each row has a generator of its own, seeded by the row's values and `random_state`: an explanation depends neither
    on the order of the rows nor on the rows explained before.

    Cost: n_samples evaluations of the model a row, and time O(n_samples d^2 + d^3) a row; memory O(batch_size d).

    Args:
        n_samples: Neighbours of a row, the row among them.
        kernel_width: k; $0.75 \sqrt d$ when None, as in LIME.
        alpha: Ridge penalty; 1 as in LIME.
        center: Draw neighbours around the row, or around the training mean, which is LIME's own default: rows far from
            the mean are then explained by few neighbours.
        categorical: Places of the categorical columns, or their names where `fit` is given a frame.
        batch_size: Neighbours that are drawn and evaluated together, up to one row's.
        random_state: Seed of the neighbours.

    Attributes:
        columns_: Means, scales, categories and frequencies of the training columns.
        seed_: The seed that every row's own is derived from.

    Source: Mhasawade et al., Understanding Disparities in Post Hoc Machine Learning Explanation (2024), the
    configuration of LIME; the formula is that of Ribeiro et al., Why Should I Trust You (2016), equations 1 and 2, with
    the kernel and the ridge penalty of the `lime` package.

    >>> x = np.random.default_rng(0).normal(size=(50, 2))
    >>> linear = lambda z: np.clip(0.5 + 0.01 * z[:, 0], 0, 1)
    >>> found = LocalSurrogate(alpha=0.0).fit(x).explain(linear, x[:3])
    >>> bool(np.allclose(found.local_prediction, linear(x[:3])))
    True
    """

    def __init__(
        self,
        n_samples: int = 1000,
        *,
        kernel_width: float | None = None,
        alpha: float = 1.0,
        center: Literal["sample", "mean"] = "sample",
        categorical: Sequence[int | str] = (),
        batch_size: int = 65_536,
        random_state: Any = 0,
    ) -> None:
        self.n_samples = n_samples
        self.kernel_width = kernel_width
        self.alpha = alpha
        self.center = center
        self.categorical = categorical
        self.batch_size = batch_size
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> "LocalSurrogate":
        """Learn the scales and frequencies of the columns.

        Args:
            X: Training rows, of shape (n, d); a frame's column names are kept.
            y: Not used.

        Returns:
            The estimator itself.

        Raises:
            ValueError: X is no finite matrix.
            InvalidInputError: A categorical column is not there, or an option is out of range.
        """
        X = np.asarray(validate_data(self, X, dtype=np.float64))
        check_count(self.n_samples, "n_samples", at_least=2)
        check_count(self.batch_size, "batch_size")
        check_choice(self.center, ("sample", "mean"), "center")
        if self.kernel_width is not None:
            check_positive(self.kernel_width, "kernel_width")
        if not (math.isfinite(self.alpha) and self.alpha >= 0):
            raise InvalidInputError(f"alpha must be a finite number of at least 0, got {self.alpha!r}")
        names = list(getattr(self, "feature_names_in_", ()))
        self.columns_: Columns = fit_columns(X, self.categorical, names)
        self.seed_ = int(check_random_state(self.random_state).randint(2**31 - 1))
        return self

    def explain(
        self, model: Any, X: Any, *, label: Any = None, decode: Decode | None = None, progress: bool = False
    ) -> SurrogateResult:
        """Fit a surrogate of the model around each row.

        Args:
            model: A `torch.nn.Module` (one logit or probability, or a row of them), a fitted classifier, or a function
                of a batch of inputs that returns probabilities of shape (n,) or (n, c).
            X: Rows to explain, of shape (n, d).
            label: The class whose probability is explained, or one for each row; 1 by default, of one output 1 alone.
            decode: Where rows are not the model's inputs: called with the places (b,) of some rows in X and neighbours
                of each, (b, s, d), it returns the b s inputs in this order.
            progress: Show a progress bar.

        Returns:
            The surrogates, in the order of the rows.

        Raises:
            NotFittedError: `fit` was not called.
            ValueError: X is no finite matrix of as many columns as in `fit`.
            InvalidInputError: The model returns no probabilities, or has no such class.
            NumericalError: Without a ridge penalty, neighbours determine no surrogate.
        """
        X = self._rows(X)
        labels = np.broadcast_to(np.asarray(1 if label is None else label), (len(X),))
        width = 0.75 * math.sqrt(X.shape[1]) if self.kernel_width is None else self.kernel_width
        rows = max(1, self.batch_size // self.n_samples)
        first = _inputs(X, np.arange(min(3, len(X))), X[:3, None], decode)
        p_model = probability_function(model, first, batch_size=self.batch_size)
        starts = range(0, len(X), rows)
        parts = [
            self._explain_rows(p_model, X, np.arange(start, min(start + rows, len(X))), labels, width, decode)
            for start in track(starts, "explaining", enabled=progress)
        ]
        return SurrogateResult(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    def _rows(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return np.asarray(validate_data(self, X, dtype=np.float64, reset=False))

    def _explain_rows(
        self,
        p_model: Callable[[Any], np.ndarray],
        X: np.ndarray,
        places: np.ndarray,
        labels: np.ndarray,
        width: float,
        decode: Decode | None,
    ) -> tuple[np.ndarray, ...]:
        around, columns = X[places], self.columns_
        sources = [np.random.default_rng(row_seed(self.seed_, row)) for row in around]
        values = draw_neighbours(columns, around, self.n_samples, sources, from_mean=self.center == "mean")
        found = p_model(_inputs(X, places, values, decode))
        if found.ndim == 2:
            found = _of_class(found, np.repeat(labels[places], self.n_samples))
        elif not (labels[places] == 1).all():
            raise InvalidInputError("the model returns the probability of class 1 alone; leave label out")
        target = found.reshape(len(places), self.n_samples)
        z = explained_columns(columns, values, around)
        distance = np.square(z - z[:, :1]).sum(2)
        weights = np.sqrt(np.exp(-distance / width**2))
        coef, intercept, score = weighted_ridge(z, target, weights, self.alpha)
        local = (coef * z[:, 0]).sum(1) + intercept
        if not (np.isfinite(coef).all() and np.isfinite(local).all()):
            raise NumericalError("surrogates came out NaN or infinite; give alpha above 0 or more samples")
        effective = weights.sum(1) ** 2 / np.square(weights).sum(1)
        return coef, intercept, target[:, 0], local, score, effective

    def __sklearn_tags__(self) -> Any:
        """Declare that no target is needed."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        return tags


def _inputs(X: np.ndarray, places: np.ndarray, values: np.ndarray, decode: Decode | None) -> Any:
    if decode is None:
        return values.reshape(-1, X.shape[1])
    inputs = decode(places, values)
    expected = values.shape[0] * values.shape[1]
    if not hasattr(inputs, "__len__") or len(inputs) != expected:
        raise InvalidInputError(f"decode must return {expected} inputs, one a neighbour, as an array or a tensor")
    return inputs


def _of_class(found: np.ndarray, labels: np.ndarray) -> np.ndarray:
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= found.shape[1]:
        raise InvalidInputError(f"label must be a class from 0 to {found.shape[1] - 1}, or one for each row")
    return found[np.arange(len(found)), labels]


def row_seed(seed: int, row: np.ndarray) -> list[int]:
    """Return a seed from another and the values of a row; adding 0 makes minus zero zero."""
    digest = hashlib.sha256((row + 0.0).tobytes()).digest()[:16]
    return [seed, *np.frombuffer(digest, dtype=np.uint32).tolist()]
