"""Similarity of the spaces that representations span: CCA, SVCCA, PWCCA, Procrustes, linear regression."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from assay.core import InvalidInputError, symmetric_eigenpairs
from assay.representation.similarity.checks import check_representations


@dataclass(frozen=True, eq=False)
class Basis:
    """Centred representation in an orthonormal basis: `vectors * scales` up to a rotation of the features.

    Attributes:
        vectors: Orthonormal columns, of as many samples as rows.
        scales: Singular values, the largest first.
        features: Absolute coordinates of the features in this basis, summed; None where not asked for.
    """

    vectors: Float[Tensor, "n r"]
    scales: Float[Tensor, " r"]
    features: Float[Tensor, "r d"] | None = None

    def permuted(self, order: Tensor) -> "Basis":
        """Return the basis for samples in another order."""
        return Basis(self.vectors[order], self.scales, self.features)


def basis_of(x: Float[Tensor, "n d"], *, variance: float = 1.0, features: bool = False) -> Basis:
    """Compute an orthonormal basis of a centred representation, in float64.

    Args:
        x: One row a sample.
        variance: Share of the variance that is kept, by the leading directions; 1 for all that is above rounding.
        features: Keep the features' coordinates, as PWCCA needs.

    Raises:
        InvalidInputError: All samples are the same.

    Cost: time O(n d min(n, d)).
    """
    n, d = x.shape
    rounding = max(n, d) * torch.finfo(x.dtype).eps
    x = x.double()
    floor = rounding * x.norm()  # of the mean, which a constant representation is left with
    x = x - x.mean(0)
    if d > 2 * n:  # the Gram matrix is the smaller problem, of squares: rounding goes up to its root
        squares, vectors = symmetric_eigenpairs(x @ x.T)
        scales, vectors = squares.clamp(min=0).sqrt().flip(0), vectors.flip(1)
        rounding = max(rounding, (n * torch.finfo(torch.float64).eps) ** 0.5)
    else:
        vectors, scales, _ = torch.linalg.svd(x, full_matrices=False)
    if not scales[0] > floor:
        raise InvalidInputError(
            "a representation is the same for all samples, which are like nothing else; leave it out"
        )
    rank = int((scales > rounding * scales[0]).sum())
    if variance < 1:
        shares = scales.square().cumsum(0) / scales.square().sum()
        rank = min(rank, int((shares < variance).sum()) + 1)
    vectors, scales = vectors[:, :rank], scales[:rank]
    return Basis(vectors, scales, vectors.T @ x if features else None)


def correlations_of(a: Basis, b: Basis) -> tuple[Float[Tensor, "r k"], Float[Tensor, " k"]]:
    """Return canonical directions in the first basis and canonical correlations.

    Raises:
        InvalidInputError: Both spaces together have more dimensions than the samples leave, so that they meet.
    """
    n, r, q = len(a.vectors), len(a.scales), len(b.scales)
    if r + q > n - 1:
        raise InvalidInputError(
            f"representations of {r} and {q} dimensions meet in {n} samples whatever they are, with canonical "
            "correlations of 1; give more samples, take svcca with less variance, average over positions, or use CKA"
        )
    directions, correlations, _ = torch.linalg.svd(a.vectors.T @ b.vectors, full_matrices=False)
    return directions, correlations.clamp(max=1)


def mean_cca(a: Float[Tensor, "n d"], b: Float[Tensor, "_ e"]) -> float:
    r"""Compute the mean canonical correlation, $\bar\rho = \frac1k \sum_i \rho_i$.

    The correlations are the singular values of $Q_a^\top Q_b$ for orthonormal bases of the centred representations, as
    many as the lower rank, and do not change under invertible linear maps of either.

    Args:
        a: One row a sample; flatten what is no matrix.
        b: The same samples in the other representation.

    Raises:
        InvalidInputError: A matrix is unusable, they have different numbers of rows, one is constant, or the ranks add
            up to n or more.

    Cost: time O(n d² + n e²).

    Source: Raghu, Gilmer, Yosinski and Sohl-Dickstein, "SVCCA" (2017), section 2; Kornblith et al. (2019), section 3,
    table 1.

    >>> a = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    >>> round(mean_cca(a, a @ torch.randn(3, 3)), 4)
    1.0
    """
    a, b = check_representations(a, b)
    return mean_correlation(basis_of(a), basis_of(b))


def svcca(a: Float[Tensor, "n d"], b: Float[Tensor, "_ e"], *, variance: float = 0.99) -> float:
    """Compute the mean canonical correlation of the leading principal components of each representation.

    Args:
        a: One row a sample.
        b: The same samples in the other representation.
        variance: Share of the variance that the components hold. Paper: 0.99.

    Raises:
        InvalidInputError: As for `mean_cca`, or the share is not between 0 and 1.

    Source: Raghu, Gilmer, Yosinski and Sohl-Dickstein, "SVCCA: Singular Vector Canonical Correlation Analysis for Deep
    Learning Dynamics and Interpretability" (2017), section 2.

    >>> a = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    >>> round(svcca(a, a.flip(1)), 4)
    1.0
    """
    if not 0 < variance <= 1:
        raise InvalidInputError(f"variance is a share above 0 and at most 1, got {variance!r}")
    a, b = check_representations(a, b)
    return mean_correlation(basis_of(a, variance=variance), basis_of(b, variance=variance))


def pwcca(a: Float[Tensor, "n d"], b: Float[Tensor, "_ e"]) -> float:
    r"""Compute the mean canonical correlation weighted by how much of the first representation each direction holds.

    $\sum_i \alpha_i \rho_i / \sum_i \alpha_i$ with $\alpha_i = \sum_j |\langle h_i, a_j \rangle|$ for canonical
    variates $h_i$ of `a` and its features $a_j$. It is not symmetric.

    See `mean_cca` for arguments and errors.

    Source: Morcos, Raghu and Bengio, "Insights on representational similarity in neural networks with canonical
    correlation" (2018), section 3, projection weighted CCA.

    >>> a = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    >>> round(pwcca(a, a @ torch.randn(3, 3)), 4)
    1.0
    """
    a, b = check_representations(a, b)
    return weighted_correlation(basis_of(a, features=True), basis_of(b))


def procrustes_similarity(a: Float[Tensor, "n d"], b: Float[Tensor, "_ e"]) -> float:
    r"""Compute how near a rotation brings one representation to the other.

    $\|a^\top b\|_* / (\|a\|_F \|b\|_F)$ for centred representations: half of the squared orthogonal Procrustes distance
    of representations with unit norm is 1 less this. It is 1 where they differ by a rotation, a shift and a scale.

    See `mean_cca` for arguments; the ranks may add up to any number.

    Raises:
        InvalidInputError: A matrix is unusable, they have different numbers of rows, or one is constant.

    Source: Ding, Denain and Steinhardt, "Grounding Representation Similarity Through Statistical Testing" (2021),
    section 2, orthogonal Procrustes.

    >>> a = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    >>> round(procrustes_similarity(a, 2 * a.flip(1) + 1), 4)
    1.0
    """
    a, b = check_representations(a, b)
    return nuclear_cosine(basis_of(a), basis_of(b))


def linear_regression_r2(a: Float[Tensor, "n d"], b: Float[Tensor, "_ e"]) -> float:
    r"""Compute the share of the variance of `b` that a linear map of `a` predicts on these samples.

    $R^2 = \|Q_a^\top b\|_F^2 / \|b\|_F^2$ for centred representations. It is not symmetric.

    See `mean_cca` for arguments.

    Raises:
        InvalidInputError: A matrix is unusable, they have different numbers of rows, one is constant, or `a` has a
            dimension for each sample, so that it fits everything.

    Source: Kornblith, Norouzi, Lee and Hinton (2019), section 3, linear regression.

    >>> a = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    >>> round(linear_regression_r2(a, a[:, :2]), 4)
    1.0
    """
    a, b = check_representations(a, b)
    return explained_variance(basis_of(a), basis_of(b))


def mean_correlation(a: Basis, b: Basis) -> float:
    """Return the mean canonical correlation of two bases."""
    return float(correlations_of(a, b)[1].mean())


def weighted_correlation(a: Basis, b: Basis) -> float:
    """Return the canonical correlations of two bases weighted as in `pwcca`; the first holds its features."""
    directions, correlations = correlations_of(a, b)
    assert a.features is not None
    weights = (directions.T @ a.features).abs().sum(1)
    return float((weights * correlations).sum() / weights.sum())


def nuclear_cosine(a: Basis, b: Basis) -> float:
    """Return the Procrustes similarity of two bases."""
    product = a.scales[:, None] * (a.vectors.T @ b.vectors) * b.scales
    return float(torch.linalg.svdvals(product).sum() / (a.scales.norm() * b.scales.norm()))


def explained_variance(a: Basis, b: Basis) -> float:
    """Return the share of the variance of the second that the first predicts.

    Raises:
        InvalidInputError: The first has a dimension for each sample.
    """
    n, r = a.vectors.shape
    if r >= n - 1:
        raise InvalidInputError(
            f"a representation of {r} dimensions fits anything on {n} samples; give more samples, or average over "
            "positions"
        )
    return float((a.vectors.T @ b.vectors * b.scales).square().sum() / b.scales.square().sum())
