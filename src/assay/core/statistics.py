"""Figures over seeds and over samples, with their uncertainty."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve

from assay.core.checks import check_fraction
from assay.core.errors import InvalidInputError


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.4g} [{self.low:.4g}, {self.high:.4g}]"


@dataclass(frozen=True)
class ROC:
    """A receiver operating characteristic: true against false positive rate, and the area under it."""

    fpr: np.ndarray
    tpr: np.ndarray
    auc: float

    def tpr_at(self, fpr: float) -> float:
        """Return the true positive rate of the best threshold whose false positive rate is at most `fpr`."""
        check_fraction(fpr, "fpr")
        return float(self.tpr[self.fpr <= fpr].max())


def mean_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    r"""Return the mean over seeds with Student's interval $\bar v \pm t_{k-1}\, s/\sqrt k$.

    Args:
        values: One figure per seed, at least two.
        level: Confidence, in (0, 1).

    Raises:
        InvalidInputError: Fewer than two values, or some are not finite.

    >>> print(mean_interval([1.0, 2.0, 3.0]))
    2 [-0.4841, 4.484]
    """
    check_fraction(level, "level")
    figures = _finite(values, "values")
    if len(figures) < 2:
        raise InvalidInputError(f"an interval needs at least two values, got {len(figures)}; run more seeds")
    mean = float(figures.mean())
    error = float(figures.std(ddof=1)) / math.sqrt(len(figures))
    half = float(stats.t.ppf((1 + level) / 2, len(figures) - 1)) * error
    return Interval(mean, mean - half, mean + half)


def proportion_interval(successes: int, n: int, level: float = 0.95) -> Interval:
    """Return a proportion with its exact (Clopper-Pearson) interval.

    Raises:
        InvalidInputError: `successes` is not within `0..n` or `n` is zero.

    >>> print(proportion_interval(0, 10))
    0 [0, 0.3085]
    """
    check_fraction(level, "level")
    if n < 1 or not 0 <= successes <= n:
        raise InvalidInputError(f"a proportion needs 0 <= successes <= n and n >= 1, got {successes} of {n}")
    interval = stats.binomtest(successes, n).proportion_ci(level, method="exact")
    return Interval(successes / n, float(interval.low), float(interval.high))


def roc(members: Sequence[float], nonmembers: Sequence[float]) -> ROC:
    """Return the ROC of a score that should be higher for members than for non-members.

    Raises:
        InvalidInputError: Either group is empty or holds scores that are not finite.

    >>> roc([2.0, 3.0], [0.0, 1.0]).auc
    1.0
    """
    positive, negative = _finite(members, "members"), _finite(nonmembers, "nonmembers")
    truth = np.concatenate([np.ones(len(positive)), np.zeros(len(negative))])
    scores = np.concatenate([positive, negative])
    # drop_intermediate removes thresholds that a step-wise reading of the curve needs.
    fpr, tpr, _ = roc_curve(truth, scores, drop_intermediate=False)
    return ROC(fpr, tpr, float(roc_auc_score(truth, scores)))


def tpr_at_fpr(members: Sequence[float], nonmembers: Sequence[float], fpr: float) -> float:
    """Return the share of members found by the best threshold that accuses at most `fpr` of the non-members.

    >>> tpr_at_fpr([2.0, 0.5], [0.0, 1.0], 0.1)
    0.5
    """
    return roc(members, nonmembers).tpr_at(fpr)


def _finite(values: Sequence[float], name: str) -> np.ndarray:
    figures = np.asarray(values, dtype=float).reshape(-1)
    if len(figures) == 0 or not np.isfinite(figures).all():
        raise InvalidInputError(
            f"{name} must be a non-empty list of finite numbers, got {len(figures)} of which "
            f"{int((~np.isfinite(figures)).sum())} are NaN or infinite"
        )
    return figures
