"""Sparse linear prediction of one network's units from another's (Li, Yosinski, Clune, Lipson and Hopcroft, 2016)."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import lasso_path
from torch import Tensor

from assay.core import InvalidInputError, NumericalError, check_finite, symmetric_eigenpairs
from assay.representation.matching.correlations import UnitStatistics

PENALTIES = (0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
NONZERO = 1e-6


@dataclass(frozen=True, eq=False)
class SparsePredictionPath:
    """Prediction of each unit of network b from the units of network a, for each penalty.

    Attributes:
        penalties: Weights of the L1 norm, as given.
        errors: Squared error of each unit of b at each penalty, as a fraction of the unit's variance.
        n_sources: Units of a with a weight above 1e-6 in absolute value, for each unit of b at each penalty.
        weights: Weights between standardised units.
    """

    penalties: tuple[float, ...]
    errors: Float[Tensor, "k b"]
    n_sources: Float[Tensor, "k b"]
    weights: Float[Tensor, "k a b"]

    def __str__(self) -> str:
        rows = zip(self.penalties, self.errors.mean(1).tolist(), self.n_sources.mean(1).tolist(), strict=True)
        found = "; ".join(f"{error:.3f} from {sources:.1f} units at {penalty:g}" for penalty, error, sources in rows)
        return f"Mean error of the prediction as a fraction of variance, by penalty: {found}."


def sparse_prediction(statistics: UnitStatistics, *, penalties: Sequence[float] = PENALTIES) -> SparsePredictionPath:
    r"""Predict the units of network b linearly from those of network a, with an L1 penalty.

    $\min_W \frac1{2s} \|Z^b - Z^a W\|_F^2 + \lambda \|W\|_1$ for standardised activations $Z$, a 1 x 1 convolution from
    net a to net b. The correlations are sufficient: the objective is $\frac12 \mathrm{tr}(W^\top C^{aa} W) -
    \mathrm{tr}(W^\top C^{ab}) + \lambda \|W\|_1$ up to a constant, minimised by coordinate descent. At $\lambda = 0$
    it is least squares, of minimal norm where units are dependent. Errors are those on the rows of the statistics:
    with few rows for each unit of a they are too small.

    Args:
        statistics: Correlations of live units; see `UnitStatistics.live`.
        penalties: Values of $\lambda$, 0 or above; the paper's powers of ten by default.

    Returns:
        Errors, numbers of sources and weights, in the order of the penalties.

    Raises:
        InvalidInputError: There are dead units, or a penalty is negative.
        NumericalError: Coordinate descent does not converge at a penalty.

    Cost: time O(k a b t) plus O((a + b)³) for k penalties and t sweeps of coordinate descent.

    Source: Li, Yosinski, Clune, Lipson and Hopcroft, "Convergent Learning" (2016), section 4, sparse prediction.
    Deviation: coordinate descent to convergence, where the paper takes SGD. The factor 1/2 is that of Caffe's Euclidean
    loss, which the paper's code trains with.

    >>> from assay.representation.matching import activation_statistics
    >>> a = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    >>> path = sparse_prediction(activation_statistics(a, a @ torch.randn(3, 2)), penalties=[0.0])
    >>> bool((path.errors < 1e-5).all())
    True
    """
    penalties = tuple(float(penalty) for penalty in penalties)
    if not penalties or min(penalties) < 0 or not np.isfinite(penalties).all():
        raise InvalidInputError(f"penalties must be one or more finite numbers, 0 or above, got {penalties}")
    if sum(statistics.n_dead):
        raise InvalidInputError(f"{sum(statistics.n_dead)} units are dead and have no scale; pass statistics.live()")
    gram, target = statistics.within_a.double().cpu(), statistics.between.double().cpu()
    joint = torch.cat([torch.cat([gram, target], 1), torch.cat([target.T, statistics.within_b.double().cpu()], 1)], 0)
    values, vectors = symmetric_eigenpairs(joint)
    # Rows with the same correlations as the data: as many as there are units, however many samples were seen.
    rows = (values.clamp(min=0).sqrt() * vectors).T * len(values) ** 0.5
    weights = torch.zeros(len(penalties), *target.shape, dtype=torch.float64)
    descending = sorted({penalty for penalty in penalties if penalty > 0}, reverse=True)
    solved = dict(zip(descending, _lasso(rows[:, : len(gram)], rows[:, len(gram) :], descending), strict=True))
    for place, penalty in enumerate(penalties):
        weights[place] = solved[penalty] if penalty else torch.linalg.lstsq(gram, target, driver="gelsd").solution
    errors = 1 - 2 * (weights * target).sum(1) + (weights * (gram @ weights)).sum(1)
    check_finite(errors, "the prediction's error")
    n_sources = (weights.abs() > NONZERO).sum(1)
    like = statistics.between
    return SparsePredictionPath(penalties, errors.clamp(min=0).to(like), n_sources.to(like), weights.to(like))


def _lasso(sources: Tensor, targets: Tensor, penalties: list[float]) -> list[Tensor]:
    """Return the weights of all targets for each penalty, the largest first."""
    if not penalties:
        return []
    design, found = np.asfortranarray(sources.numpy()), []
    options: Any = {"alphas": penalties, "precompute": design.T @ design, "tol": 1e-5, "max_iter": 100_000}
    for target in targets.T.numpy():
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            try:
                _, coefficients, _ = lasso_path(design, target, random_state=0, **options)
            except ConvergenceWarning as warning:
                raise NumericalError(
                    f"coordinate descent did not converge at the penalties {penalties}; leave out the smallest"
                ) from warning
        found.append(torch.from_numpy(coefficients))
    return list(torch.stack(found, 1).permute(2, 0, 1))
