"""Simulated data with groups: sample size, covariate and concept shift, omitted variable (Mhasawade et al., 2024)."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from assay.core import InvalidInputError, as_generator, check_count

HIGH = 0.9
"""Probability of the label 1 where the score is at least 0; else it is 1 - HIGH."""


@dataclass(frozen=True)
class SimulatedData:
    """Samples of a known process, with the group of each.

    Attributes:
        x: Features that the model is given.
        y: Labels, drawn from the score: 1 with probability 0.9 where it is at least 0, else with 0.1.
        group: The sensitive attribute M, 0 or 1.
        score: The score v that decides the probability of the label.
        columns: Names of the features.
    """

    x: Float[Tensor, "n d"]
    y: Int64[Tensor, " n"]
    group: Int64[Tensor, " n"]
    score: Float[Tensor, " n"]
    columns: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.y)

    @property
    def probability(self) -> Float[Tensor, " n"]:
        """True probability of the label 1."""
        return torch.where(self.score >= 0, HIGH, 1 - HIGH)

    def keep(self, kept: Bool[Tensor, " n"] | Int64[Tensor, " k"]) -> "SimulatedData":
        """Return some of the samples.

        Args:
            kept: A truth value for each sample, or places.
        """
        return SimulatedData(self.x[kept], self.y[kept], self.group[kept], self.score[kept], self.columns)


def simulate_sample_size(
    n: int, ratio: float = 0.5, *, generator: torch.Generator | None = None, dtype: torch.dtype = torch.float32
) -> SimulatedData:
    r"""Draw data in which group 0 has a share `ratio` of the samples.

    $C \sim N(0, 1)$, $L = 0.7 M + 0.3 C + N(0, 0.5^2)$, $v = 0.5 C - 1.5 L + 0.5$; features $(C, L)$. The number of
    samples of group 0 is `ratio` n, rounded. A balanced test set is a second draw with the default.

    Cost: time and memory O(n).

    Args:
        n: Samples.
        ratio: Share of group 0, in [0, 1].
        generator: Source of the draws; a fixed seed by default.
        dtype: Type of features and score.

    Returns:
        The samples, in random order of the groups.

    Raises:
        InvalidInputError: `n` is below 1 or `ratio` no share.

    Source: Mhasawade et al., Understanding Disparities in Post Hoc Machine Learning Explanation (2024), abstract,
    limited sample size; the formula is that of the released script, objective 1.

    >>> int((simulate_sample_size(200, 0.05).group == 0).sum())
    10
    """
    check_count(n, "n")
    if not 0 <= ratio <= 1:
        raise InvalidInputError(f"ratio must be a share from 0 to 1, got {ratio!r}")
    source = as_generator(generator)
    ranks = torch.randperm(n, generator=source)
    group = (ranks >= round(ratio * n)).long()
    c, noise = _normals(n, source)
    late = 0.7 * group + 0.3 * c + 0.5 * noise
    return _labelled({"C": c, "L": late}, group, 0.5 * c - 1.5 * late + 0.5, source, dtype)


def simulate_covariate_shift(
    n: int,
    threshold: float | None = None,
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
) -> SimulatedData:
    r"""Draw data from which samples of group 0 with a small L are missing.

    $M \sim \mathrm{Bern}(0.5)$, C, L and v as in `simulate_sample_size`; features $(C, L, M)$. Samples with $M = 0$ and
    $L < t$ are dropped, so that a larger threshold is more shift; the law of labels given features stays the same.

    Cost: time and memory O(n).

    Args:
        n: Samples drawn; those dropped are not replaced.
        threshold: t; None for data without shift, as for a test set.
        generator: Source of the draws; a fixed seed by default.
        dtype: Type of features and score.

    Returns:
        The samples that are kept.

    Raises:
        InvalidInputError: `n` is below 1, or the threshold is not finite.

    Source: Mhasawade et al., Understanding Disparities in Post Hoc Machine Learning Explanation (2024), abstract,
    covariate shift; the formula is that of the released script, objective 2.

    >>> shifted = simulate_covariate_shift(500, 0.5)
    >>> bool((shifted.x[shifted.group == 0, 1] >= 0.5).all())
    True
    """
    check_count(n, "n")
    if threshold is not None:
        _check_number(threshold, "threshold")
    source = as_generator(generator)
    group = torch.randint(2, (n,), generator=source)
    c, noise = _normals(n, source)
    late = 0.7 * group + 0.3 * c + 0.5 * noise
    data = _labelled({"C": c, "L": late, "M": group}, group, 0.5 * c - 1.5 * late + 0.5, source, dtype)
    # The threshold is compared with L as the features hold it.
    return data if threshold is None else data.keep((group == 1) | (data.x[:, 1] >= threshold))


def simulate_concept_shift(
    n: int,
    beta: float = 1.5,
    *,
    include_group: bool = True,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
) -> SimulatedData:
    r"""Draw data whose labels depend on L in another way in each group.

    $M \sim \mathrm{Bern}(0.5)$, $L = 0.7 M + 0.3 C + N(0, 0.1^2)$ and
    $v = 0.5 C + 1.5 M L + \beta (1 - M) L - L - 0.2$; features $(C, L, M, L M)$, or $(C, L)$ without the sensitive
    attribute. At $\beta = 1.5$ both groups have the same law of labels.

    Cost: time and memory O(n).

    Args:
        n: Samples.
        beta: Coefficient of L in group 0; 1.5 is no shift.
        include_group: Whether the features hold M and L M.
        generator: Source of the draws; a fixed seed by default.
        dtype: Type of features and score.

    Returns:
        The samples.

    Raises:
        InvalidInputError: `n` is below 1, or beta is not finite.

    Source: Mhasawade et al., Understanding Disparities in Post Hoc Machine Learning Explanation (2024), abstract,
    concept shift; the formula is that of the released script, objective 3.

    >>> simulate_concept_shift(4, include_group=False).columns
    ('C', 'L')
    """
    check_count(n, "n")
    _check_number(beta, "beta")
    source = as_generator(generator)
    group = torch.randint(2, (n,), generator=source)
    c, noise = _normals(n, source)
    late = 0.7 * group + 0.3 * c + 0.1 * noise
    score = 0.5 * c + torch.where(group == 1, 1.5, beta) * late - late - 0.2
    features = {"C": c, "L": late} | ({"M": group, "LM": late * group} if include_group else {})
    return _labelled(features, group, score, source, dtype)


def simulate_omitted_variable(
    n: int,
    alpha: float = 1.0,
    *,
    omit: bool = True,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
) -> SimulatedData:
    r"""Draw data whose labels depend on a variable C that the model is not given.

    $M \sim \mathrm{Bern}(0.5)$, $L = 0.3 M + 0.3 C + N(0, 0.5^2)$, $v = \alpha C + L - 0.2$; features $(M, L)$, or
    $(M, L, C)$ where C is not omitted.

    Cost: time and memory O(n).

    Args:
        n: Samples.
        alpha: How strongly the score depends on C.
        omit: Whether C is left out of the features.
        generator: Source of the draws; a fixed seed by default.
        dtype: Type of features and score.

    Returns:
        The samples.

    Raises:
        InvalidInputError: `n` is below 1, or alpha is not finite.

    Source: Mhasawade et al., Understanding Disparities in Post Hoc Machine Learning Explanation (2024), abstract,
    omitted variable; the formula is that of the released script, objective 4.

    >>> simulate_omitted_variable(4, 2.0).columns, simulate_omitted_variable(4, 2.0, omit=False).columns
    (('M', 'L'), ('M', 'L', 'C'))
    """
    check_count(n, "n")
    _check_number(alpha, "alpha")
    source = as_generator(generator)
    group = torch.randint(2, (n,), generator=source)
    c, noise = _normals(n, source)
    late = 0.3 * group + 0.3 * c + 0.5 * noise
    features = {"M": group, "L": late} | ({} if omit else {"C": c})
    return _labelled(features, group, alpha * c + late - 0.2, source, dtype)


def _normals(n: int, source: torch.Generator) -> Tensor:
    return torch.randn(2, n, generator=source, dtype=torch.float64)


def _labelled(
    features: dict[str, Tensor], group: Tensor, score: Tensor, source: torch.Generator, dtype: torch.dtype
) -> SimulatedData:
    probability = torch.where(score >= 0, HIGH, 1 - HIGH)
    y = (torch.rand(len(score), generator=source, dtype=torch.float64) < probability).long()
    x = torch.stack([column.double() for column in features.values()], 1).to(dtype)
    return SimulatedData(x, y, group, score.to(dtype), tuple(features))


def _check_number(value: float, name: str) -> None:
    if not math.isfinite(value):
        raise InvalidInputError(f"{name} must be a finite number, got {value!r}")
