"""Neighbours of rows in tables, and the weighted ridge regression on them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64
from scipy.linalg import LinAlgError

from assay.core import InvalidInputError, NumericalError


@dataclass(frozen=True)
class Columns:
    """Scales of continuous columns, and values and frequencies of categorical ones.

    Attributes:
        mean: Training means; 0 for categorical columns.
        scale: Training standard deviations; 1 for constant and for categorical columns.
        categorical: Places of the categorical columns.
        categories: Their values in training.
        frequencies: How frequent each is.
    """

    mean: Float[np.ndarray, " d"]
    scale: Float[np.ndarray, " d"]
    categorical: Int64[np.ndarray, " k"]
    categories: tuple[Float[np.ndarray, " v"], ...]
    frequencies: tuple[Float[np.ndarray, " v"], ...]


def fit_columns(x: np.ndarray, categorical: Sequence[int | str], names: Sequence[str]) -> Columns:
    """Read scales and frequencies from training rows.

    Raises:
        InvalidInputError: A categorical column is not there, or is named twice.
    """
    places = [_place(column, x.shape[1], names) for column in categorical]
    if len(set(places)) < len(places):
        raise InvalidInputError(f"categorical names a column twice: {list(categorical)}")
    mean, scale = x.mean(0), x.std(0)
    # The spread of equal numbers may be a rounding error above 0.
    scale[(scale <= 1e-12 * np.abs(mean)) | (x.min(0) == x.max(0))] = 1.0
    mean[places], scale[places] = 0.0, 1.0
    counted = [np.unique(x[:, place], return_counts=True) for place in places]
    categories, frequencies = tuple(found[0] for found in counted), tuple(found[1] / len(x) for found in counted)
    return Columns(mean, scale, np.asarray(places, dtype=np.int64), categories, frequencies)


def _place(column: int | str, width: int, names: Sequence[str]) -> int:
    if isinstance(column, str):
        if column not in names:
            raise InvalidInputError(
                f"there is no column {column!r}; give places of columns, or fit a frame with "
                f"this column, got {list(names) or 'an array'}"
            )
        return list(names).index(column)
    if isinstance(column, bool) or not 0 <= int(column) < width:
        raise InvalidInputError(f"categorical must hold columns from 0 to {width - 1}, got {column!r}")
    return int(column)


def draw_neighbours(
    columns: Columns, x: np.ndarray, n_samples: int, sources: Sequence[np.random.Generator], *, from_mean: bool
) -> Float[np.ndarray, "b s d"]:
    """Draw neighbours of each row, by a generator of its own; the first is the row itself."""
    shape = (n_samples - 1, x.shape[1])
    values = np.empty((len(x), n_samples, x.shape[1]))
    values[:, 0] = x
    for row, source in enumerate(sources):
        values[row, 1:] = source.standard_normal(shape)
    values[:, 1:] *= columns.scale
    values[:, 1:] += columns.mean if from_mean else x[:, None]
    for place, known, frequency in zip(columns.categorical, columns.categories, columns.frequencies, strict=True):
        ends = frequency.cumsum()[:-1]
        for row, source in enumerate(sources):
            values[row, 1:, place] = known[np.searchsorted(ends, source.random(n_samples - 1), side="right")]
    return values


def explained_columns(columns: Columns, values: np.ndarray, x: np.ndarray) -> Float[np.ndarray, "b s d"]:
    """Standardise continuous columns, and encode categorical ones as equal to the row's value."""
    z = (values - columns.mean) / columns.scale
    places = columns.categorical
    z[..., places] = values[..., places] == x[:, None, places]
    return z


def weighted_ridge(
    z: Float[np.ndarray, "b s d"], target: Float[np.ndarray, "b s"], weights: Float[np.ndarray, "b s"], alpha: float
) -> tuple[Float[np.ndarray, "b d"], Float[np.ndarray, " b"], Float[np.ndarray, " b"]]:
    """Solve a ridge regression with sample weights and a free intercept for each row; also return its R^2.

    Raises:
        NumericalError: The normal equations are singular.
    """
    share = weights / weights.sum(1, keepdims=True)
    z_mean = np.einsum("bs,bsd->bd", share, z)
    y_mean = (share * target).sum(1)
    z, y = z - z_mean[:, None], target - y_mean[:, None]
    weighted = z * weights[..., None]
    gram = np.matmul(weighted.transpose(0, 2, 1), z)
    if alpha == 0:
        # A column that no neighbour changes has no slope: zero, the solution of least norm.
        flat = np.einsum("bdd->bd", gram) == 0
        gram += np.eye(z.shape[2]) * flat[:, None, :]
    gram += alpha * np.eye(z.shape[2])
    try:
        coef = np.linalg.solve(gram, np.matmul(weighted.transpose(0, 2, 1), y[..., None]))[..., 0]
    except LinAlgError as error:
        raise NumericalError("neighbours determine no surrogate; give alpha above 0 or more samples") from error
    total = (weights * y**2).sum(1)
    rest = (weights * (y - np.einsum("bsd,bd->bs", z, coef)) ** 2).sum(1)
    # A probability that is constant up to rounding is explained in full.
    constant = total <= 1e-24 * weights.sum(1)
    score = np.where(constant, 1.0, 1 - rest / np.where(constant, 1.0, total))
    return coef, y_mean - (coef * z_mean).sum(1), score
