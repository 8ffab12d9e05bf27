"""Mean against sampled representation of a variational autoencoder (Bonheme and Grzes, 2021)."""

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from assay.core import InvalidInputError, as_generator, check_finite
from assay.representation.latent_variables.dependence import (
    correlation_matrix,
    effective_rank,
    mutual_information_score,
    total_correlation,
)
from assay.representation.latent_variables.polarization import (
    MEAN_TOLERANCE,
    VARIANCE_THRESHOLD,
    VariableTypes,
    check_codes,
    variable_types,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class DependenceScores:
    """Dependence within a set of variables of one representation.

    Attributes:
        total_correlation: That of Gaussian variables with the same correlations, in nats.
        mutual_information: Mean over pairs of variables, in nats.
        effective_rank: Of the covariance.
        max_correlation: Largest absolute correlation of two variables; 0 for fewer than two.
    """

    total_correlation: float
    mutual_information: float
    effective_rank: float
    max_correlation: float


@dataclass(frozen=True, eq=False)
class RepresentationComparison:
    r"""Scores of the mean and the sampled representation of one data set, by sets of variables.

    Attributes:
        types: Which variables are active, passive and mixed.
        sets: Indices of each set: "full", "active", "passive", "mixed", and each union of two, as "active + mixed".
        mean: Scores of the means by the name of the set.
        sampled: Scores of the samples by the name of the set.
        mean_correlation: Correlations of the means.
        sampled_correlation: Correlations of the samples.
        expected_correlation: Correlations of the samples by the exact relation, `sampled_correlation`.
    """

    types: VariableTypes
    sets: dict[str, Int64[Tensor, " a"]]
    mean: dict[str, DependenceScores]
    sampled: dict[str, DependenceScores]
    mean_correlation: Float[Tensor, "k k"]
    sampled_correlation: Float[Tensor, "k k"]
    expected_correlation: Float[Tensor, "k k"]

    def largest_passive_correlation(self, correlation: Float[Tensor, "k k"]) -> float:
        """Return the largest absolute correlation of a passive variable with any other; 0 where there is none."""
        off = correlation - torch.eye(len(correlation), dtype=correlation.dtype, device=correlation.device)
        return float(off[self.types.passive].abs().max()) if len(self.types.passive) else 0.0

    def __str__(self) -> str:
        full, active = (self.mean["full"], self.sampled["full"]), (self.mean["active"], self.sampled["active"])
        return (
            f"{self.types} The total correlation of all variables is {full[0].total_correlation:.3g} nats in the means "
            f"and {full[1].total_correlation:.3g} in the samples; of the active ones {active[0].total_correlation:.3g} "
            f"and {active[1].total_correlation:.3g}. The largest correlation of a passive variable is "
            f"{self.largest_passive_correlation(self.mean_correlation):.2f} in the means and "
            f"{self.largest_passive_correlation(self.sampled_correlation):.2f} in the samples."
        )

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw absolute correlations, means above and samples below the diagonal, sorted by type; return the axes."""
        import matplotlib.pyplot as plt

        ax = plt.subplots()[1] if ax is None else ax
        order = torch.cat([self.types.active, self.types.mixed, self.types.passive])
        means = self.mean_correlation.abs()[order][:, order].triu(1)
        both = means + self.sampled_correlation.abs()[order][:, order].tril(-1)
        picture = ax.imshow(both.cpu().numpy(), vmin=0, vmax=1, cmap="Blues")
        sizes = [len(self.types.active), len(self.types.mixed), len(self.types.passive)]
        names = list(map(str, order.tolist()))
        ax.set_xticks(range(len(names)), names)
        ax.set_yticks(range(len(names)), names)
        for place in (sizes[0], sizes[0] + sizes[1]):
            if 0 < place < len(names):
                ax.axhline(place - 0.5, color="0.3", linewidth=0.8)
                ax.axvline(place - 0.5, color="0.3", linewidth=0.8)
        ax.set(
            xlabel="variable: active, mixed, passive",
            ylabel="variable",
            title="means above, samples below",
        )
        ax.figure.colorbar(picture, ax=ax, label="|correlation|")
        return ax


def sampled_correlation(mean: Float[Tensor, "n k"], log_variance: Float[Tensor, "n k"]) -> Float[Tensor, "k k"]:
    r"""Compute the correlations of sampled codes exactly, without drawing any.

    The noise is independent across variables and of the sample, so that
    $\mathrm{Corr}(S)_{ij} = \mathrm{Cov}(M)_{ij} / \sqrt{(\mathrm{Var} M_i + m_i)(\mathrm{Var} M_j + m_j)}$, with
    $m_i$ the mean of $\sigma_i^2(x)$. An active variable has $m_i \approx 0$ and keeps its correlations; a passive one
    has $m_i \approx 1 \gg \mathrm{Var} M_i$ and loses them.

    Args:
        mean: Posterior means of at least two samples.
        log_variance: Logarithms of the posterior variances.

    Raises:
        InvalidInputError: The two are no finite matrices of one shape.
        NumericalError: A variance overflows.

    Cost: time O(n k²).

    Source: Bonheme and Grzes, "Be More Active!" (2021), abstract, why means are more correlated than samples; the
    relation is derived here.

    >>> mean = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    >>> sampled_correlation(mean, torch.tensor([[-40.0, 0.0], [-40.0, 0.0]]))[0, 1] < 0.5
    tensor(True)
    """
    mean, log_variance = check_posterior(mean, log_variance)
    values = mean.double()
    centred = values - values.mean(0)
    covariance = centred.mT @ centred / len(mean)
    noise = log_variance.double().exp().mean(0)
    check_finite(noise, "the posterior variance")
    total = covariance.diagonal() + noise
    deviations = torch.where(total > 0, total.sqrt(), torch.inf)
    return (covariance / torch.outer(deviations, deviations)).fill_diagonal_(1.0).to(mean)


def check_posterior(mean: Tensor, log_variance: Tensor) -> tuple[Float[Tensor, "n k"], Float[Tensor, "n k"]]:
    """Require means and log-variances of at least two samples in one shape.

    Raises:
        InvalidInputError: They are not.
    """
    mean, log_variance = check_codes(mean, "mean", n=2), check_codes(log_variance, "log_variance", n=2)
    if mean.shape != log_variance.shape:
        raise InvalidInputError(
            f"mean has shape {tuple(mean.shape)} and log_variance {tuple(log_variance.shape)}; pass what the encoder "
            "gives for the same samples"
        )
    return mean, log_variance


def compare_representations(
    mean: Float[Tensor, "n k"],
    log_variance: Float[Tensor, "n k"],
    *,
    generator: torch.Generator | None = None,
    variance_threshold: float = VARIANCE_THRESHOLD,
    mean_tolerance: float = MEAN_TOLERANCE,
    n_bins: int = 20,
) -> RepresentationComparison:
    r"""Compare the dependence of variables in the mean representation and in one sample of each code.

    Rows $\mu(x)$ against rows $\mu(x) + \sigma(x) \odot \epsilon$, one draw a sample, on all variables, on the active,
    passive and mixed ones (`variable_types`), and on the unions of two of these sets.

    Args:
        mean: Posterior means, one row a sample; more rows than variables.
        log_variance: Logarithms of the posterior variances.
        generator: Source of the noise; a fixed seed by default.
        variance_threshold: See `variable_types`.
        mean_tolerance: See `variable_types`.
        n_bins: Bins of a variable in the mutual information. Reference code: 20.

    Returns:
        The types, the scores of each set, and the three correlation matrices.

    Raises:
        InvalidInputError: The two are no finite matrices of one shape with more rows than columns, or a threshold is
            out of range.
        NumericalError: A variance overflows, or some means determine another.

    Cost: time O(n k² b²) for b bins, memory O(n k b).

    Source: Bonheme and Grzes, "Be More Active! Understanding the Differences between Mean and Sampled Representations
    of Variational Autoencoders" (2021), abstract; scores from the authors' code, tc_study.

    >>> source = torch.Generator().manual_seed(0)
    >>> mean = torch.randn(500, 1, generator=source) * torch.tensor([[1.0, 0.01]])  # the second follows the first
    >>> mean = mean + 0.001 * torch.randn(500, 2, generator=source)
    >>> found = compare_representations(mean, torch.tensor([[-4.0, 0.0]]).expand(500, 2))
    >>> found.mean["full"].max_correlation > 0.9, found.sampled["full"].max_correlation < 0.2
    (True, True)
    """
    mean, log_variance = check_posterior(mean, log_variance)
    variances = log_variance.exp()
    check_finite(variances, "the posterior variance")
    types = variable_types(variances, variance_threshold=variance_threshold, mean_tolerance=mean_tolerance)
    source = as_generator(generator)
    noise = torch.randn(mean.shape, generator=source, device=source.device, dtype=torch.float64).to(mean)
    codes = mean + variances.sqrt() * noise
    parts = {"active": types.active, "passive": types.passive, "mixed": types.mixed}
    sets = {"full": torch.arange(mean.shape[1], device=mean.device), **parts}
    for one, two in combinations(parts, 2):
        sets[f"{one} + {two}"] = torch.cat([parts[one], parts[two]]).sort().values
    return RepresentationComparison(
        types=types,
        sets=sets,
        mean={name: _scores(mean[:, index], n_bins) for name, index in sets.items()},
        sampled={name: _scores(codes[:, index], n_bins) for name, index in sets.items()},
        mean_correlation=correlation_matrix(mean),
        sampled_correlation=correlation_matrix(codes),
        expected_correlation=sampled_correlation(mean, log_variance),
    )


def _scores(codes: Float[Tensor, "n a"], n_bins: int) -> DependenceScores:
    largest = 0.0
    if codes.shape[1] > 1:
        largest = float(correlation_matrix(codes).fill_diagonal_(0.0).abs().max())
    return DependenceScores(
        total_correlation=total_correlation(codes),
        mutual_information=mutual_information_score(codes, n_bins=n_bins),
        effective_rank=effective_rank(codes),
        max_correlation=largest,
    )
