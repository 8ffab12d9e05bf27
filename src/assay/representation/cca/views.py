"""Views of an estimator: `(X1, X2, ...)`, or `X` and `y` as in scikit-learn's cross decomposition."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.validation import FLOAT_DTYPES, validate_data
from torch import Tensor


def is_views(X: Any) -> bool:
    """Tell whether X is a tuple or list of matrices, rather than one matrix."""
    return isinstance(X, (tuple, list)) and len(X) > 0 and all(np.ndim(view) == 2 for view in X)


def read_views(estimator: Any, X: Any, y: Any, *, reset: bool, at_least: int = 1) -> list[np.ndarray]:
    """Return checked matrices, without copies where they are floating point: a memory map stays on disk.

    Args:
        estimator: Told the number of features of the first view by `reset`, and compared with it otherwise.
        X: All views, or the first one alone.
        y: The second view, or None.
        reset: Whether this is a fit.
        at_least: Fewest samples.

    Raises:
        ValueError: The views are no finite matrices of as many samples, or differ from those of the fit.
    """
    options: dict[str, Any] = {"dtype": FLOAT_DTYPES, "ensure_min_samples": at_least}
    target: Any = y
    if is_views(X):
        if y is not None:
            raise ValueError("X holds several views and y another one; put all views into X, or one in each.")
        first, others = X[0], list(X[1:])
    else:
        first, others = X, [] if y is None else [y]
        if reset and y is None:
            # Raises what scikit-learn says of estimators that need a target.
            validate_data(estimator, X, target, **options)
    if reset and not others:
        raise ValueError("X holds one view; give two or more: fit((X1, X2)), or fit(X, y).")
    views: list[Any] = [validate_data(estimator, first, reset=reset, **options)]
    for i, other in enumerate(others, 2):
        checked: Any = check_array(other, ensure_2d=False, input_name=f"view {i}", **options)
        views.append(checked[:, None] if checked.ndim == 1 else checked)
    check_consistent_length(*views)
    if not reset:
        known = [len(weights) for weights in estimator.weights_]
        for i, view in enumerate(views[1:], 2):
            if i > len(known) or view.shape[1] != known[i - 1]:
                raise ValueError(f"View {i} has {view.shape[1]} features; the views of the fit had {known}.")
    return views


def moments(view: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the standard deviation of each column in float64, reading some rows at a time."""
    shift = view[0].astype(np.float64)
    total, squares = np.zeros_like(shift), np.zeros_like(shift)
    for start in range(0, len(view), rows):
        part = view[start : start + rows] - shift  # the variance of nearly constant columns would cancel
        total += part.sum(0)
        squares += np.einsum("ij,ij->j", part, part)
    mean = total / len(view)
    return shift + mean, np.sqrt(np.maximum(squares / len(view) - mean**2, 0))


def batches(views: Sequence[np.ndarray], sizes: Sequence[int], source: torch.Generator) -> Iterator[list[Tensor]]:
    """Yield the views of random disjoint sets of samples of these sizes."""
    order, start = torch.randperm(len(views[0]), generator=source).numpy(), 0
    for size in sizes:
        index = order[start : start + size]
        yield [torch.from_numpy(np.ascontiguousarray(view[index])) for view in views]
        start += size


def joint_covariance(scores: Iterator[np.ndarray], width: int) -> np.ndarray:
    """Return the covariance of scores that come some rows at a time, in float64; they are centred up to rounding."""
    n, total, products = 0, np.zeros(width), np.zeros((width, width))
    for part in scores:
        wide = part.astype(np.float64)
        n, total, products = n + len(wide), total + wide.sum(0), products + wide.T @ wide
    return (products - np.outer(total, total) / n) / (n - 1)
