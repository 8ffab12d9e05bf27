"""Active, passive and mixed variables of an autoencoder: the polarised regime (Bonheme and Grzes, 2021)."""

from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor

from assay.core import InvalidInputError, check_positive, check_samples

VARIANCE_THRESHOLD = 0.1
MEAN_TOLERANCE = 0.1


@dataclass(frozen=True, eq=False)
class VariableTypes:
    """A partition of latent variables by how sure the encoder is of each over a data set.

    Attributes:
        active: Indices of variables that encode every sample: their posterior variance is always near 0.
        passive: Indices of variables that have collapsed to the prior: their posterior variance is always near 1.
        mixed: Indices of the others, active for some samples and passive for others, or in between.
        means: Mean of each variable's posterior variance over the samples.
        variances: Variance of each variable's posterior variance over the samples.
    """

    active: Int64[Tensor, " a"]
    passive: Int64[Tensor, " b"]
    mixed: Int64[Tensor, " m"]
    means: Float[Tensor, " k"]
    variances: Float[Tensor, " k"]

    def __str__(self) -> str:
        named = {"active": self.active, "passive": self.passive, "mixed": self.mixed}
        listed = ", ".join(
            f"{len(index)} {name} ({', '.join(map(str, index.tolist()))})" if len(index) else f"0 {name}"
            for name, index in named.items()
        )
        return f"Of {len(self.means)} latent variables: {listed}."


def variable_types(
    variances: Float[Tensor, "n k"],
    *,
    variance_threshold: float = VARIANCE_THRESHOLD,
    mean_tolerance: float = MEAN_TOLERANCE,
) -> VariableTypes:
    r"""Sort latent variables into active, passive and mixed by their posterior variances over a data set.

    With $m_i$ and $v_i$ the mean and the variance of $\sigma_i^2(x)$ over the samples, variable i is active where
    $v_i < t$ and $m_i \le \tau$, passive where $v_i < t$ and $|m_i - 1| \le \tau$, and mixed otherwise. A test by
    $\mathrm{Var}[\mu_i(x)]$ (Burda et al., 2016) cannot see mixed variables.

    Args:
        variances: Posterior variances $\sigma^2(x)$, one row a sample; not standard deviations and not logarithms.
            Paper: at least 10,000 samples.
        variance_threshold: t. Reference code: 0.1.
        mean_tolerance: $\tau$, at most 0.5, so that no variable is both. Reference code: 0.1.

    Returns:
        The three sets, and $m_i$ and $v_i$.

    Raises:
        InvalidInputError: The variances are no finite matrix or below 0, or a threshold is out of range.

    Cost: time and memory O(n k).

    Source: Bonheme and Grzes, "Be More Active! Understanding the Differences between Mean and Sampled Representations
    of Variational Autoencoders" (2021), abstract, the extension of the polarised regime; thresholds from the authors'
    code, tc_study.

    >>> import torch
    >>> print(variable_types(torch.tensor([[0.02, 1.0, 0.02], [0.03, 0.99, 1.0]])))
    Of 3 latent variables: 1 active (0), 1 passive (1), 1 mixed (2).
    """
    check_positive(variance_threshold, "variance_threshold")
    if not 0 < mean_tolerance < 0.5:
        raise InvalidInputError(f"mean_tolerance must lie between 0 and 0.5, got {mean_tolerance!r}")
    values = check_codes(variances, "variances").double()
    if values.min() < 0:
        raise InvalidInputError(
            f"variances must not be negative, got {values.min().item():.3g}; pass sigma squared, "
            "such as log_variance.exp()"
        )
    means, spread = values.mean(0), values.var(0, correction=0)
    steady = spread < variance_threshold
    active = steady & (means <= mean_tolerance)
    passive = steady & ((means - 1).abs() <= mean_tolerance)
    sets = (mask.nonzero().flatten() for mask in (active, passive, ~(active | passive)))
    return VariableTypes(*sets, means=means.to(variances.dtype), variances=spread.to(variances.dtype))


def check_codes(codes: Tensor, name: str, *, n: int = 1) -> Float[Tensor, "n k"]:
    """Require a finite matrix of at least n rows, one a sample, and return it without a graph.

    Raises:
        InvalidInputError: It is not.
    """
    codes = check_samples(codes, name)
    if codes.ndim != 2 or len(codes) < n:
        raise InvalidInputError(
            f"{name} must be of shape (n, k), with {n} samples or more, got shape {tuple(codes.shape)}; "
            "pass one row a sample and one column a latent variable"
        )
    return codes
