"""CCA, PLS and canonical ridge in closed form, and the correlation that two representations share (Hotelling, 1936)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from assay.core import InvalidInputError, check_count, check_samples, symmetric_eigenpairs
from assay.representation.cca.eckart_young import check_views, ridges
from assay.representation.cca.eigenproblem import block, whiten


@dataclass(frozen=True, eq=False)
class LinearCCA:
    r"""Linear maps of two or more views into a common space.

    Attributes:
        weights: One matrix (d, k) a view, with $W_i^\top B_i W_i = I$ for two views, on average over views for more.
        means: One vector a view, subtracted first.
        eigenvalues: Of the generalised eigenvalue problem, in descending order: for two views canonical correlations,
            or with a ridge of 1 singular values of the cross-covariance.
    """

    weights: tuple[Float[Tensor, "_ k"], ...]
    means: tuple[Float[Tensor, " _"], ...]
    eigenvalues: Float[Tensor, " k"]

    def transform(self, views: Sequence[Float[Tensor, "n _"]]) -> tuple[Float[Tensor, "n k"], ...]:
        """Map new samples, one matrix a view.

        Raises:
            InvalidInputError: Another number of views or of columns than those of the fit.
        """
        check_views(views)
        if [view.shape[1] for view in views] != [len(mean) for mean in self.means]:
            raise InvalidInputError(
                f"views have {[view.shape[1] for view in views]} columns; those of the fit had "
                f"{[len(mean) for mean in self.means]}"
            )
        maps = zip(views, self.means, self.weights, strict=True)
        return tuple((view - mean) @ weight for view, mean, weight in maps)

    def correlations(self, views: Sequence[Float[Tensor, "n _"]]) -> Float[Tensor, " k"]:
        """Return the correlation of each component over new samples; for more than two views the mean over pairs."""
        centred = [z - z.mean(0) for z in self.transform(views)]
        unit = [z / z.norm(dim=0).clamp_min(torch.finfo(z.dtype).tiny) for z in centred]
        pairs = [(unit[i] * unit[j]).sum(0) for i in range(len(unit)) for j in range(i)]
        return torch.stack(pairs).mean(0)


def closed_form_cca(
    views: Sequence[Float[Tensor, "n _"]], n_components: int, *, ridge: float | Sequence[float] = 0.0
) -> LinearCCA:
    r"""Solve linear CCA ($\alpha = 0$), PLS ($\alpha = 1$) or canonical ridge exactly.

    Each view is whitened with $B_i = (1 - \alpha_i) \operatorname{Var}(X_i) + \alpha_i I$; two views are then solved by
    a singular value decomposition, more of them by the eigenvectors of the whitened A of `cca_gep`.

    Cost: time O(n d² + d³), memory O(d²), d the columns of all views, in float64.

    Args:
        views: Two or more views of the same samples.
        n_components: Number of components; at most the rank of the smallest view.
        ridge: $\alpha$ in [0, 1], one for all views or one each.

    Returns:
        The maps, in the type of the views.

    Raises:
        InvalidInputError: The views do not fit each other, or have fewer directions than `n_components`.

    Source: Chapman, Wells and Lawry Aguila, Unconstrained Stochastic CCA (2024), section on background: CCA as a
    generalised eigenvalue problem.

    >>> x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> closed_form_cca([x, x[:, :1]], 1).eigenvalues
    tensor([1.])
    """
    check_views(views)
    check_count(n_components, "n_components")
    alphas = ridges(ridge, len(views))
    kept = [check_samples(view, "each view") for view in views]
    sizes = [view.shape[1] for view in kept]
    joint = torch.cat([view.double() - view.double().mean(0) for view in kept], 1)
    covariance = joint.mT @ joint / (len(joint) - 1)
    constraints = [
        (1 - alpha) * block(covariance, sizes, i, i) + alpha * torch.eye(d).to(joint)
        for i, (d, alpha) in enumerate(zip(sizes, alphas, strict=True))
    ]
    values, weights = solve_blocks(covariance, sizes, constraints, n_components)
    if len(values) < n_components:
        raise InvalidInputError(f"the views share {len(values)} directions, below n_components = {n_components}")
    dtype = kept[0].dtype
    means = tuple(view.mean(0) for view in kept)
    return LinearCCA(tuple(weight.to(dtype) for weight in weights), means, values.to(dtype))


def solve_blocks(
    covariance: Float[Tensor, "d d"], sizes: Sequence[int], constraints: Sequence[Tensor], k: int
) -> tuple[Float[Tensor, " r"], list[Tensor]]:
    """Return the top k eigenvalues, or as many as there are, and each view's weights.

    Args:
        covariance: Of all views' columns side by side.
        sizes: Columns of each view.
        constraints: B_i of each view.
        k: Number of eigenpairs.
    """
    maps = [whiten(one) for one in constraints]
    if len(maps) == 2:
        left, values, right = torch.linalg.svd(maps[0].mT @ block(covariance, sizes, 0, 1) @ maps[1])
        r = min(k, len(values))
        return values[:r], [maps[0] @ left[:, :r], maps[1] @ right[:r].mT]
    whitened = torch.block_diag(*maps)
    own = torch.block_diag(*(block(covariance, sizes, i, i) for i in range(len(sizes))))
    values, vectors = symmetric_eigenpairs(whitened.mT @ (covariance - own) @ whitened)
    r = min(k, *(one.shape[1] for one in maps))
    weights = (len(maps) ** 0.5 * whitened @ vectors.flip(1)[:, :r]).split(list(sizes))
    return values.flip(0)[:r], list(weights)


def canonical_correlations(z1: Float[Tensor, "n k"], z2: Float[Tensor, "n l"]) -> Float[Tensor, " m"]:
    """Compute the canonical correlations of two representations of the same samples.

    They are the cosines of the angles between the spaces that the centred columns span.

    Cost: time O(n k² + n l²), in float64.

    Args:
        z1: First representation.
        z2: Second representation.

    Returns:
        min(k, l) correlations in descending order; zeros where a representation has a lower rank.

    Raises:
        InvalidInputError: Other shapes, or no more samples than columns in all: some correlations would be 1 whatever
            the data.

    Source: Chapman, Wells and Lawry Aguila, Unconstrained Stochastic CCA (2024), section on background.

    >>> z = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [0.0, 0.0]])
    >>> canonical_correlations(z, z[:, :1] + 5)
    tensor([1.])
    """
    check_views((z1, z2))
    z1, z2 = check_samples(z1, "z1"), check_samples(z2, "z2")
    if len(z1) <= z1.shape[1] + z2.shape[1]:
        raise InvalidInputError(
            f"{len(z1)} samples of {z1.shape[1]} and {z2.shape[1]} columns have correlations of 1 whatever the data; "
            "give more samples than columns in all"
        )
    found = torch.linalg.svdvals(_orthonormal(z1).mT @ _orthonormal(z2)).clamp(max=1)
    full = found.new_zeros(min(z1.shape[1], z2.shape[1]))
    full[: len(found)] = found
    return full.to(z1.dtype)


def total_correlation_captured(z1: Float[Tensor, "n k"], z2: Float[Tensor, "n l"]) -> Float[Tensor, ""]:
    """Sum the canonical correlations of two representations of the same samples.

    Cost, Args and Raises: as `canonical_correlations`.

    Returns:
        The sum, at most the number of columns.

    Source: Chapman, Wells and Lawry Aguila, Unconstrained Stochastic CCA (2024), section on experiments: total
    correlation captured.

    >>> z = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [0.0, 0.0]])
    >>> round(float(total_correlation_captured(z, z.cumsum(1))), 4)
    2.0
    """
    return canonical_correlations(z1, z2).sum()


def _orthonormal(z: Tensor) -> Tensor:
    """Return an orthonormal basis of the centred columns, in float64."""
    left, values, _ = torch.linalg.svd(z.double() - z.double().mean(0), full_matrices=False)
    # Centring leaves rounding of the input's own type.
    floor = max(z.shape) * torch.finfo(z.dtype).eps * max(float(values[0]), float(z.abs().max()))
    return left[:, values > floor]
