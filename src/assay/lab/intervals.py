"""Confidence intervals of what seeds measure: of a mean, of a median by ranks or signs, of a pooled proportion."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from assay.core import Interval, mean_interval


def student(values: Sequence[float], level: float = 0.95) -> Interval | None:
    r"""Return Student's interval of the mean, $\bar v \pm t\, s/\sqrt n$; a point where all values are equal.

    Args:
        values: One value a seed.
        level: Confidence, in (0, 1).

    Returns:
        The interval; None for fewer than two values.
    """
    if len(values) < 2:
        return None
    if len(set(values)) == 1:  # a mean may be off by one bit, which must not decide a verdict at the bar
        return Interval(values[0], values[0], values[0])
    return mean_interval(values, level)


def wilcoxon(values: Sequence[float], level: float = 0.95) -> Interval | None:
    r"""Return the interval of the pseudomedian that inverts Wilcoxon's exact signed-rank test.

    The values' pairwise means $(v_i + v_j)/2$, $i \le j$, in order, without as many from either end as the test leaves
    out: the interval holds the shifts that the test does not reject. It is exact for paired differences that are
    symmetric at the bar, as they are where the two of a pair can be exchanged, and conservative with ties.

    Args:
        values: One difference a pair.
        level: Confidence, in (0, 1).

    Returns:
        The interval around the Hodges-Lehmann estimate; None for too few pairs to reach the level, at 95% fewer than 6.

    Source: Hollander, Wolfe and Chicken, "Nonparametric Statistical Methods", third edition, section 3.3.

    >>> print(wilcoxon([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
    3.5 [1, 6]
    """
    figures = np.asarray(values, dtype=float)
    chance = np.ones(1)
    for rank in range(1, len(figures) + 1):  # the rank sum under the null: each rank counts or not, at even odds
        chance = (np.pad(chance, (0, rank)) + np.pad(chance, (rank, 0))) / 2
    rows, columns = np.triu_indices(len(figures))
    return _between(np.sort((figures[rows] + figures[columns]) / 2), np.cumsum(chance), level)


def sign(values: Sequence[float], level: float = 0.95) -> Interval | None:
    """Return the interval of the median that inverts the sign test: two order statistics of the values.

    It assumes nothing of the values' distribution, and is conservative with ties.

    Args:
        values: One difference a pair.
        level: Confidence, in (0, 1).

    Returns:
        The interval around the median; None for too few pairs to reach the level, at 95% fewer than 6.

    Source: Hollander, Wolfe and Chicken, "Nonparametric Statistical Methods", third edition, section 3.6.

    >>> print(sign([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
    3.5 [1, 6]
    """
    chance = stats.binom.cdf(np.arange(len(values)), len(values), 0.5)
    return _between(np.sort(np.asarray(values, dtype=float)), chance, level)


def proportion(shares: Sequence[float], trials: Sequence[int], level: float = 0.95) -> Interval:
    r"""Return the Clopper-Pearson interval of the proportion over the trials of all seeds.

    It is exact where trials of one seed are as independent as those of two. Where seeds differ by more than chance, it
    takes as many times fewer trials as the `design_effect` says.

    Args:
        shares: One share a seed: successes over trials.
        trials: Each seed's number of trials.
        level: Confidence, in (0, 1).

    Returns:
        The interval.

    After Clopper and Pearson, "The use of confidence or fiducial limits" (1934); Rao and Scott, "A simple method for
    the analysis of clustered binary data" (1992), for the effective number of trials.

    >>> print(proportion([0.0, 0.0], [150, 150]))
    0 [0, 0.01222]
    """
    effect, error = design_effect(shares, trials), (1 - level) / 2
    n, k = sum(trials) / effect, _successes(shares, trials) / effect
    low = float(stats.beta.ppf(error, k, n - k + 1)) if k > 0 else 0.0
    high = float(stats.beta.isf(error, k + 1, n - k)) if k < n else 1.0
    return Interval(k / n, low, high)


def design_effect(shares: Sequence[float], trials: Sequence[int]) -> float:
    r"""Return how many times more the shares vary between seeds than trials of one proportion would; 1 at least.

    $\max\big(1, \sum_i n_i (p_i - p)^2 / (p (1 - p)(m - 1))\big)$ over m seeds, with the pooled proportion p:
    Pearson's chi-squared over its degrees of freedom.

    Args:
        shares: One share a seed.
        trials: Each seed's number of trials.

    Returns:
        The factor; 1 for a single seed, and where all trials came out alike.

    >>> round(design_effect([0.0, 0.2], [100, 100]), 1), design_effect([0.1, 0.12], [100, 100])
    (22.2, 1.0)
    """
    n, p = np.asarray(trials), _successes(shares, trials) / sum(trials)
    if len(n) < 2 or not 0 < p < 1:
        return 1.0
    spread = float((n * (np.asarray(shares) - p) ** 2).sum() / (p * (1 - p)))
    return max(1.0, spread / (len(n) - 1))


def _successes(shares: Sequence[float], trials: Sequence[int]) -> int:
    return sum(round(share * n) for share, n in zip(shares, trials, strict=True))


def _between(ordered: np.ndarray, chance: np.ndarray, level: float) -> Interval | None:
    """Cut as many values off either end as have at most half of the error under the null's distribution function."""
    cut = int(np.count_nonzero(chance <= (1 - level) / 2 * (1 + 1e-12)))
    if cut == 0:
        return None
    return Interval(float(np.median(ordered)), float(ordered[cut - 1]), float(ordered[-cut]))
