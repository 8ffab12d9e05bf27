"""Confidence intervals of means, proportions, AUCs and quantiles; ROC curves."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats
from scipy.optimize import brentq
from sklearn.metrics import roc_auc_score, roc_curve

from assay.core.checks import check_count, check_fraction
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


def auc_interval(auc: float, n_positive: int, n_negative: int, level: float = 0.95) -> Interval:
    r"""Return an AUC with its score interval: all $\theta$ whose distance to the AUC is at most $z\,\sigma(\theta)$.

    With $N = (n_1 + n_0)/2 - 1$, $\sigma^2(\theta) = \theta(1-\theta)\big(1 + N\frac{1-\theta}{2-\theta}
    + N\frac{\theta}{1+\theta}\big) / (n_1 n_0)$: the variance of Hanley and McNeil with both group sizes set to their
    mean. An interval from the variance at the estimate would have no width at an AUC of one; this one has.

    Args:
        auc: The estimate, in [0, 1].
        n_positive: Positive samples, $n_1$.
        n_negative: Negative samples, $n_0$.
        level: Confidence, in (0, 1).

    Raises:
        InvalidInputError: An argument is out of range.

    Source: Newcombe, "Confidence intervals for an effect size measure based on the Mann-Whitney statistic. Part 2:
    asymptotic methods and evaluation" (2006), method 5 (the equation above).

    >>> print(auc_interval(1.0, 30, 30))
    1 [0.933, 1]
    """
    check_fraction(level, "level")
    check_count(n_positive, "n_positive")
    check_count(n_negative, "n_negative")
    if not 0 <= auc <= 1:
        raise InvalidInputError(f"auc must lie within [0, 1], got {auc!r}")
    z, n = float(stats.norm.ppf((1 + level) / 2)), (n_positive + n_negative) / 2 - 1

    def excess(theta: float) -> float:
        spread = 1 + n * (1 - theta) / (2 - theta) + n * theta / (1 + theta)
        return (auc - theta) ** 2 - z**2 * theta * (1 - theta) * spread / (n_positive * n_negative)

    inner = min(max(auc, 1e-12), 1 - 1e-12)
    ends: list[Any] = [brentq(excess, 0.0, inner), brentq(excess, inner, 1.0)]
    return Interval(auc, *map(float, ends))


def order_statistic_index(n: int, p: float, confidence: float = 0.99) -> int:
    r"""Return the rank of the order statistic that is a lower confidence bound of the p-th quantile.

    The largest k with $\Pr[\mathrm{Bin}(n, p) \ge k] \ge c$, counted from one; zero where there is none. The bound
    assumes nothing about the distribution and holds with ties.

    Cost: time O(n), memory O(n).

    Args:
        n: Samples.
        p: Quantile, in [0, 1].
        confidence: c, in (0, 1).

    Raises:
        InvalidInputError: An argument is out of range.

    >>> order_statistic_index(1000, 0.5), order_statistic_index(1000, 0.001)
    (463, 0)
    """
    check_fraction(confidence, "confidence")
    check_count(n, "n")
    if not 0 <= p <= 1:
        raise InvalidInputError(f"a quantile must lie within [0, 1], got {p!r}")
    # The chance falls with k, so that the ranks which reach the confidence are the first ones.
    return int(np.count_nonzero(stats.binom.sf(np.arange(n), n, p) >= confidence))


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
