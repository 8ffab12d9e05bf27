"""Dependence of latent variables: total correlation, mean mutual information, effective rank (Bonheme, Grzes, 2021)."""

import torch
from jaxtyping import Float
from torch import Tensor

from assay.core import InvalidInputError, NumericalError, check_count, symmetric_eigenvalues
from assay.representation.latent_variables.polarization import check_codes

# Below this many rounding errors of its largest entry, the spread of a column is rounding.
ROUNDING = 16


def correlation_matrix(codes: Float[Tensor, "n k"]) -> Float[Tensor, "k k"]:
    """Return the Pearson correlations of the columns; those of a constant column are 0, its own is 1.

    Args:
        codes: One row a sample.

    Raises:
        InvalidInputError: The codes are no finite matrix of at least two rows.

    Cost: time O(n k²), memory O(n k).

    >>> correlation_matrix(torch.tensor([[0.0, 1.0], [1.0, 3.0], [2.0, 5.0]])).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    codes = check_codes(codes, "codes", n=2)
    return _correlations(codes).to(codes)


def _correlations(codes: Float[Tensor, "n k"]) -> Float[Tensor, "k k"]:
    values = codes.double()
    centred = values - values.mean(0)
    norms = centred.norm(dim=0)
    floor = ROUNDING * torch.finfo(codes.dtype).eps * len(codes) ** 0.5 * values.abs().amax(0)
    scaled = centred / torch.where(norms > floor, norms, torch.inf)
    correlation = scaled.mT @ scaled
    return correlation.fill_diagonal_(1.0)


def total_correlation(values: Float[Tensor, "n k"], *, covariance: bool = False) -> float:
    r"""Compute the total correlation of Gaussian variables, $-\frac12 \log \det R$ with R their correlations, in nats.

    It equals $\frac12 (\sum_i \log C_{ii} - \log\det C)$ for the covariance C, and is computed from R, whose
    determinant does not underflow where variances are tiny. It is 0 for independent variables, for one variable, and
    for none. A constant variable is independent of all others.

    Args:
        values: Codes, one row a sample, more rows than columns; or a covariance matrix.
        covariance: Whether `values` is a covariance matrix.

    Raises:
        InvalidInputError: The codes are no finite matrix, or too few for their columns; or the matrix is not symmetric
            or has a negative variance.
        NumericalError: Some variables determine another, so that the total correlation is infinite.

    Cost: time O(n k² + k³).

    Source: Bonheme and Grzes, "Be More Active!" (2021), abstract names the comparison of representations; formula from
    the authors' code, tc_study (`gaussian_total_correlation`), after Watanabe (1960).

    >>> round(total_correlation(torch.tensor([[4.0, 1.0], [1.0, 1.0]]), covariance=True), 4)  # -log(1 - 1/4) / 2
    0.1438
    """
    if covariance:
        correlation = _correlation_of(values)
    elif values.ndim == 2 and values.shape[1] == 0:
        return 0.0
    else:
        correlation = _correlations(check_codes(values, "values", n=2))
        if len(values) <= values.shape[1] > 1:
            raise InvalidInputError(
                f"{len(values)} samples of {values.shape[1]} variables have a singular covariance; give more samples"
            )
    if len(correlation) < 2:
        return 0.0
    eigenvalues = symmetric_eigenvalues(correlation)
    if eigenvalues.min() <= ROUNDING * len(correlation) * torch.finfo(correlation.dtype).eps:
        raise NumericalError("some variables determine another, so that their total correlation is infinite; drop one")
    return float(-eigenvalues.log().sum() / 2) + 0.0


def _correlation_of(covariance: Tensor) -> Tensor:
    wide = check_codes(covariance, "values").double()
    if wide.shape[0] != wide.shape[1] or not torch.allclose(wide, wide.mT, atol=1e-6 * wide.abs().max().item()):
        raise InvalidInputError(
            f"a covariance matrix is square and symmetric, got shape {tuple(covariance.shape)}; pass torch.cov(codes.T)"
        )
    variances = wide.diagonal()
    if variances.min() < 0:
        raise InvalidInputError(f"a variance is {variances.min().item():.3g}; pass a covariance matrix")
    deviations = torch.where(variances > 0, variances.sqrt(), torch.inf)
    return (wide / torch.outer(deviations, deviations)).fill_diagonal_(1.0)


def mutual_information_score(codes: Float[Tensor, "n k"], *, n_bins: int = 20) -> float:
    r"""Compute the mean mutual information of two variables, in nats, from histograms of equal bins.

    $\frac{1}{k (k - 1)} \sum_{i \ne j} \hat I(B_i; B_j)$, where $B_i$ is the bin of variable i among `n_bins` between
    its least and its largest value. 0 for fewer than two variables. The estimate is biased upwards, by about
    $(b - 1)^2 / 2n$ for b bins.

    Args:
        codes: One row a sample.
        n_bins: Bins of a variable. Reference code: 20.

    Raises:
        InvalidInputError: The codes are no finite matrix, or there are fewer than two bins.

    Cost: time O(n k² b²), memory O(n k b).

    Source: Bonheme and Grzes, "Be More Active!" (2021), abstract; formula from the authors' code, tc_study, after
    Locatello et al., "Challenging Common Assumptions in the Unsupervised Learning of Disentangled Representations"
    (2019), the mutual information score.

    >>> codes = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(4, 1)
    >>> round(mutual_information_score(codes), 4)  # log 2
    0.6931
    """
    check_count(n_bins, "n_bins", at_least=2)
    if codes.ndim == 2 and codes.shape[1] == 0:
        return 0.0
    values = check_codes(codes, "codes").double()
    n, k = values.shape
    if k < 2:
        return 0.0
    low, high = values.aminmax(dim=0)
    places = ((values - low) / torch.where(high > low, high - low, 1.0) * n_bins).long().clamp(max=n_bins - 1)
    chosen = torch.nn.functional.one_hot(places, n_bins).to(torch.float32).flatten(1)  # exact counts up to 2^24
    joint = (chosen.mT @ chosen).double().view(k, n_bins, k, n_bins) / n
    marginal = chosen.mean(0, dtype=torch.float64).view(k, n_bins)
    entropies = -torch.special.xlogy(marginal, marginal).sum(1)
    joint_entropies = -torch.special.xlogy(joint, joint).sum((1, 3))
    information = entropies[:, None] + entropies - joint_entropies
    return max(0.0, float((information.sum() - information.diagonal().sum()) / (k * (k - 1))))


def effective_rank(codes: Float[Tensor, "n k"]) -> float:
    r"""Compute $\exp(-\sum_i p_i \log p_i)$, with $p_i$ the eigenvalues of the codes' covariance over their sum.

    k for uncorrelated variables of one variance; 1 for one direction; 0 for codes that do not vary.

    Args:
        codes: One row a sample, at least two.

    Raises:
        InvalidInputError: The codes are no finite matrix of at least two rows.

    Cost: time O(n k² + k³).

    Source: Roy and Vetterli, "The Effective Rank: a Measure of Effective Dimensionality" (2007), section 2; of the
    covariance matrix, as in the authors' code of Bonheme and Grzes (2021), tc_study.

    >>> round(effective_rank(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])), 4)
    2.0
    """
    if codes.ndim == 2 and codes.shape[1] == 0:
        return 0.0
    values = check_codes(codes, "codes", n=2).double()
    eigenvalues = symmetric_eigenvalues(torch.cov(values.mT).reshape(values.shape[1], -1)).clamp(min=0)
    total = eigenvalues.sum()
    if total <= 0:
        return 0.0
    shares = eigenvalues / total
    return float((-torch.special.xlogy(shares, shares).sum()).exp())
