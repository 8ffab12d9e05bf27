"""Interval and permutation test of a fidelity gap between groups."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from assay.attribution.disparities.fidelity import agreement, check_explanations
from assay.core import InvalidInputError, as_generator, check_choice, check_count, check_fraction

_ENTRIES = 2**22  # of the shuffled values that are held at once


@dataclass(frozen=True)
class GapTest:
    """A gap between groups, its interval, and what it would be if groups meant nothing.

    Attributes:
        gap: The gap.
        low: Lower end of its bootstrap interval.
        high: Upper end.
        null_mean: Mean gap of shuffled groups: what noise alone makes.
        p_value: Probability of a gap at least as large with shuffled groups.
        by_group: The metric of each group.
        groups: The groups.
    """

    gap: float
    low: float
    high: float
    null_mean: float
    p_value: float
    by_group: tuple[float, ...]
    groups: tuple[Any, ...]

    @property
    def excess(self) -> float:
        """The gap less that of shuffled groups."""
        return self.gap - self.null_mean

    def __str__(self) -> str:
        return (
            f"Gap {self.gap:.3g} [{self.low:.3g}, {self.high:.3g}] between {len(self.groups)} groups; shuffled groups "
            f"have {self.null_mean:.3g} on average, and as much with probability {self.p_value:.2g}."
        )


def bootstrap_gap(
    p_model: Float[Tensor, " n"] | Any,
    p_explanation: Float[Tensor, " n"] | Any,
    groups: Shaped[Tensor, " n"] | Any,
    *,
    metric: Literal["residual", "accuracy"] = "residual",
    gap: Literal["mean", "max"] = "mean",
    n_bootstrap: int = 1000,
    n_permutations: int = 1000,
    level: float = 0.95,
    generator: torch.Generator | None = None,
) -> GapTest:
    r"""Test a fidelity gap against shuffled groups, and give its bootstrap interval.

    A gap is an absolute difference, or a maximum, and so above zero by noise alone; shuffling the groups keeps the
    noise and removes what depends on the group. $p = (1 + \#\{\text{shuffled gap} \ge \text{gap}\}) / (1 + k)$. The
    percentile interval resamples within each group; it keeps the upward bias of the gap, which `null_mean` shows.

    Cost: time O((n_bootstrap + n_permutations) (n + g log g)), memory O(n) and a block of resamples.

    Args:
        p_model: Probability of the explained class, by the model.
        p_explanation: The surrogate's value.
        groups: Group of each sample.
        metric: The residual $|p_f - p_e|$, or the accuracy: a mean over samples.
        gap: The mean over pairs of groups, or that of the worst group to all samples.
        n_bootstrap: Resamples.
        n_permutations: Shuffles.
        level: Confidence of the interval.
        generator: Source of the resamples; a fixed seed by default.

    Raises:
        InvalidInputError: The data do not fit (see `explanation_disparity`), there is one group, or an option is out of
            range.

    Source: Mhasawade et al., Understanding Disparities in Post Hoc Machine Learning Explanation (2024), abstract and
    the released script, the mean and maximum fidelity gap; the test is ours.

    >>> p = torch.rand(200, generator=torch.Generator().manual_seed(0))
    >>> found = bootstrap_gap(p, p + 0.1 * torch.arange(200).ge(100), torch.arange(200).ge(100), n_permutations=99)
    >>> round(found.gap, 3), found.p_value
    (0.1, 0.01)
    """
    p_model, p_explanation, which, names = check_explanations(p_model, p_explanation, groups)
    check_choice(metric, ("residual", "accuracy"), "metric")
    check_choice(gap, ("mean", "max"), "gap")
    check_count(n_bootstrap, "n_bootstrap")
    check_count(n_permutations, "n_permutations")
    check_fraction(level, "level")
    if len(names) < 2:
        raise InvalidInputError("a gap needs two groups, and all samples are of one; pass the groups of the samples")
    # Samples in the order of their groups: a shuffled row then holds the groups one after the other.
    values = agreement(metric, p_model, p_explanation)[np.argsort(which, kind="stable")]
    counts = np.bincount(which)
    sign = -1 if metric == "residual" else 1

    def gaps(resampled: np.ndarray) -> np.ndarray:
        return _gaps(_group_means(resampled, counts), counts, sign, gap)

    source = as_generator(generator)
    observed = float(gaps(values[None])[0])
    shuffled = np.concatenate([gaps(part) for part in _shuffles(values, n_permutations, source)])
    resampled = np.concatenate([gaps(part) for part in _resamples(values, counts, n_bootstrap, source)])
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    # Equal gaps may differ by rounding.
    as_large = int((shuffled >= observed - 1e-12).sum())
    return GapTest(
        gap=observed,
        low=float(low),
        high=float(high),
        null_mean=float(shuffled.mean()),
        p_value=(1 + as_large) / (1 + n_permutations),
        by_group=tuple(_group_means(values[None], counts)[0].tolist()),
        groups=names,
    )


def _group_means(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the mean of each group, which lie one after the other in each row."""
    starts = np.concatenate([[0], counts.cumsum()[:-1]])
    return np.add.reduceat(values, starts, axis=1) / counts


def _gaps(means: np.ndarray, counts: np.ndarray, sign: int, gap: str) -> np.ndarray:
    if gap == "max":
        overall = (means * counts).sum(1, keepdims=True) / counts.sum()
        return (sign * (overall - means)).max(1)
    # Sorted, the i-th smallest of g means is subtracted g - 1 - i times and added i times.
    n = means.shape[1]
    factors = 2 * np.arange(n) - (n - 1)
    return np.sort(means, axis=1) @ factors / (n * (n - 1) / 2)


def _blocks(total: int, n: int) -> list[int]:
    size = max(1, _ENTRIES // n)
    return [min(size, total - start) for start in range(0, total, size)]


def _shuffles(values: np.ndarray, total: int, source: torch.Generator) -> Any:
    for size in _blocks(total, len(values)):
        order = torch.rand(size, len(values), generator=source, device=source.device).argsort(1)
        yield values[order.cpu().numpy()]


def _resamples(values: np.ndarray, counts: np.ndarray, total: int, source: torch.Generator) -> Any:
    starts = np.repeat(counts.cumsum() - counts, counts)
    for size in _blocks(total, len(values)):
        drawn = torch.rand(size, len(values), generator=source, device=source.device, dtype=torch.float64)
        yield values[starts + (drawn.cpu().numpy() * np.repeat(counts, counts)).astype(np.int64)]
