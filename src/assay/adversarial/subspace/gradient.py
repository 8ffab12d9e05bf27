"""Input gradients orthogonal to the subspace of the data (Melamed, Yehudai and Vardi, 2023)."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor, nn

from assay.adversarial.attacks import attackable
from assay.core import (
    InvalidInputError,
    NumericalError,
    check_count,
    check_finite,
    check_positive,
    check_samples,
    input_gradient,
    margins,
)


@dataclass(frozen=True, eq=False)
class SubspaceBasis:
    """Linear subspace of the inputs, as flat vectors, given by an orthonormal basis.

    Args:
        on: Orthonormal columns that span the subspace, fewer than rows.

    Raises:
        InvalidInputError: The columns are not orthonormal, or they span the whole space.

    >>> plane = SubspaceBasis(torch.eye(3, 2))
    >>> plane.project_off(torch.tensor([[1.0, 2.0, 3.0]])).tolist()
    [[0.0, 0.0, 3.0]]
    """

    on: Float[Tensor, "d r"]

    def __post_init__(self) -> None:
        on = check_samples(self.on, "on")
        if on.ndim != 2:
            raise InvalidInputError(f"`on` must be a matrix of one column for each axis, got shape {tuple(on.shape)}")
        object.__setattr__(self, "on", on.to(torch.promote_types(on.dtype, torch.float32)))
        n_features, rank = self.on.shape
        if not 1 <= rank < n_features:
            raise InvalidInputError(f"a subspace of {n_features} features needs 1 to {n_features - 1} axes, got {rank}")
        identity = torch.eye(rank, dtype=self.on.dtype, device=self.on.device)
        if (self.on.T @ self.on - identity).abs().max() > 1e-4:
            raise InvalidInputError("the columns of `on` are not orthonormal; build the basis by orthogonal_complement")

    @cached_property
    def off(self) -> Float[Tensor, "d codim"]:
        """Orthonormal columns that span the orthogonal complement; computed on first use."""
        return torch.linalg.qr(self.on, mode="complete").Q[:, self.on.shape[1] :]

    @property
    def complement(self) -> "SubspaceBasis":
        """The orthogonal complement as a subspace."""
        return SubspaceBasis(self.off)

    def project_off(self, x: Float[Tensor, "n *d"]) -> Float[Tensor, "n *d"]:
        r"""Return the part of each vector that is orthogonal to the subspace, $v - Q Q^\top v$."""
        flat, on = self._in_common_type(x)
        return (flat - (flat @ on) @ on.T).view(x.shape).to(x.dtype)

    def project_on(self, x: Float[Tensor, "n *d"]) -> Float[Tensor, "n r"]:
        """Return the coordinates of each vector along the axes of the subspace."""
        flat, on = self._in_common_type(x)
        return flat @ on

    def _in_common_type(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.ndim < 2 or math.prod(x.shape[1:]) != len(self.on):
            raise InvalidInputError(
                f"the basis is for vectors of {len(self.on)} entries, got shape {tuple(x.shape)}; pass them as (n, ...)"
            )
        common = torch.promote_types(x.dtype, self.on.dtype)
        return x.flatten(1).to(common), self.on.to(common)

    def check_fits(self, x: Float[Tensor, "n *d"]) -> None:
        """Require inputs with as many entries as the basis has rows, on its device and of its type or a narrower one.

        Raises:
            InvalidInputError: The inputs do not fit.
        """
        n_features, needed = math.prod(x.shape[1:]), torch.promote_types(x.dtype, torch.float32)
        if x.ndim < 2 or n_features != len(self.on) or needed != self.on.dtype or x.device != self.on.device:
            raise InvalidInputError(
                f"the basis is for {len(self.on)} features of {self.on.dtype} on {self.on.device}, the inputs have "
                f"{n_features} of {x.dtype} on {x.device}; build it from inputs like these"
            )


def orthogonal_complement(x: Float[Tensor, "n *d"], *, rank: int | None = None) -> SubspaceBasis:
    r"""Compute the linear subspace that samples span, and its orthogonal complement.

    The basis holds the first right singular vectors of the data matrix. The subspace is linear, not affine: an affine
    plane that misses the origin spans one dimension more.

    Args:
        x: Samples, one at least, taken as flat vectors of `d` entries.
        rank: Dimension of the subspace; the numerical rank of the data when None.

    Raises:
        InvalidInputError: The samples are all zero or span the whole space, or `rank` is out of range.

    Cost: time O(n d min(n, d)) for a singular value decomposition in float64, memory O(n d); O(d²) if `off` is used.

    Source: Melamed, Yehudai, Vardi, "Adversarial Examples Exist in Two-Layer ReLU Networks for Low Dimensional Linear
    Subspaces" (2023), main text: the subspace P of the data.

    >>> basis = orthogonal_complement(torch.tensor([[2.0, 0.0, 0.0], [1.0, 1.0, 0.0]]))
    >>> basis.on.shape, basis.off.abs().tolist()
    (torch.Size([3, 2]), [[0.0], [0.0], [1.0]])
    """
    x = check_samples(x)
    flat = x.flatten(1)
    values, vectors = torch.linalg.svd(flat.double(), full_matrices=False)[1:]
    span = int((values > values[0] * max(flat.shape) * torch.finfo(x.dtype).eps).sum())
    chosen = span if rank is None else rank
    if not 1 <= chosen <= min(span, flat.shape[1] - 1):
        raise InvalidInputError(
            f"{len(flat)} samples of {flat.shape[1]} features span {span} dimensions; the subspace must have at least "
            f"one and leave one outside, got rank={rank}: pass a smaller rank to keep the strongest directions only"
        )
    return SubspaceBasis(vectors[:chosen].T.to(torch.promote_types(x.dtype, torch.float32)))


@dataclass(frozen=True, eq=False)
class OffSubspaceGradient:
    """Lengths of the decision gradient along a subspace and orthogonal to it.

    Attributes:
        on_norm: Length of the part along the subspace.
        off_norm: Length of the orthogonal part.
    """

    on_norm: Float[Tensor, " n"]
    off_norm: Float[Tensor, " n"]

    @property
    def ratio(self) -> Float[Tensor, " n"]:
        """Orthogonal length divided by the length along the subspace.

        Raises:
            NumericalError: The gradient along the subspace vanishes at some sample.
        """
        if not (self.on_norm > 0).all():
            n_flat = int((self.on_norm == 0).sum())
            raise NumericalError(f"the gradient along the subspace vanishes at {n_flat} samples; leave them out")
        return self.off_norm / self.on_norm

    def __str__(self) -> str:
        said = (
            f"The gradient of the decision is {self.off_norm.median():.3g} long off the subspace and "
            f"{self.on_norm.median():.3g} along it (medians of {len(self.on_norm)} samples)."
        )
        n_flat = int(((self.on_norm == 0) & (self.off_norm == 0)).sum())
        return f"{said} It vanishes at {n_flat} of them, where it tells nothing of the decision." if n_flat else said


def off_subspace_gradient(
    model: nn.Module, x: Float[Tensor, "n *d"], *, basis: SubspaceBasis, batch_size: int = 256
) -> OffSubspaceGradient:
    r"""Split the gradient of the decision in the input into its parts on and off a subspace.

    $\lVert Q^\top\nabla_x g(x)\rVert$ and $\lVert(I - QQ^\top)\nabla_x g(x)\rVert$, where $g$ is the score of a network
    with one output, or the gap between the two highest scores of a classifier.

    Plain (stochastic) gradient descent on data in the subspace does not change the orthogonal part of first-layer
    weights, so that the second length keeps its size at initialisation unless weight decay reduces it.

    Args:
        model: Differentiable network with outputs `(n,)`, `(n, 1)` or `(n, c)`; it comes back as it was.
        x: Inputs.
        basis: Subspace of the data, from `orthogonal_complement` for example.
        batch_size: Samples differentiated at once.

    Returns:
        Both lengths, one entry a sample.

    Raises:
        InvalidInputError: The arguments do not fit each other.
        NumericalError: The gradient is not finite.

    Cost: time two forward passes and one backward pass a sample, and O(d r) for the projection; memory that of one
    batch.

    Source: Melamed, Yehudai, Vardi, "Adversarial Examples Exist in Two-Layer ReLU Networks for Low Dimensional Linear
    Subspaces" (2023), main text: the theorem on the gradient orthogonal to the data. Deviation: the paper has networks
    with one output only.

    >>> layer = nn.Linear(3, 1)
    >>> _ = layer.weight.data.copy_(torch.tensor([[3.0, 4.0, 5.0]]))
    >>> parts = off_subspace_gradient(layer, torch.zeros(1, 3), basis=SubspaceBasis(torch.eye(3, 2)))
    >>> parts.on_norm.item(), parts.off_norm.item()
    (5.0, 5.0)
    """
    check_count(batch_size, "batch_size")
    lengths = []
    with attackable(model, x, allow_single=True) as given:
        basis.check_fits(given.given)
        for batch, decided in zip(given.x.split(batch_size), given.y.split(batch_size), strict=True):
            gradient = margin_gradient(given.model, batch, decided)[1]
            off = basis.project_off(gradient).flatten(1).norm(dim=1)
            lengths.append(torch.stack([basis.project_on(gradient).norm(dim=1), off]))
        on_norm, off_norm = torch.cat(lengths, 1)
        check_finite(on_norm + off_norm, "the gradient of the decision in the input")
        return OffSubspaceGradient(on_norm, off_norm)


@dataclass(frozen=True)
class GradientLaw:
    """Distribution of the gradient's length orthogonal to the subspace, according to theory.

    Attributes:
        mean_square: Expected squared length; squared length times codimension over it is chi-squared.
        lower: Lower bound of the length.
        upper: Upper bound of the length.
        confidence: Probability of each bound, at least.
    """

    mean_square: float
    lower: float
    upper: float
    confidence: float


def expected_off_gradient(
    *, width: int, active: int, dim: int, codim: int, init_scale: float | None = None
) -> GradientLaw:
    r"""Compute the distribution of the gradient orthogonal to the data of a trained `TwoLayerReLU`.

    Training does not change $w_i^\perp$, so that at a point of the subspace with $k$ active units
    $$\lVert\Pi_{P^\perp}\nabla N\rVert^2 = \frac{\beta^2 k}{m}\,\chi^2_\ell, \qquad
      \beta\sqrt{\tfrac{k\ell}{2m}} \le \lVert\Pi_{P^\perp}\nabla N\rVert \le \beta\sqrt{\tfrac{2k\ell}{m}},$$
    each bound with probability at least $1 - e^{-\ell/16}$. Weight decay $\lambda$ with steps $\eta$ multiplies all
    lengths by $(1-\eta\lambda)^T$ after $T$ steps.

    Args:
        width: Hidden units $m$.
        active: Units $k$ active at the point after training (`TwoLayerReLU.active_units`).
        dim: Input dimension $d$.
        codim: Dimension $\ell$ of the orthogonal complement of the data.
        init_scale: Standard deviation $\beta$ of a weight at initialisation; $1/\sqrt d$ when None.

    Returns:
        The mean square and both bounds.

    Raises:
        InvalidInputError: A number is out of range.

    Source: Melamed, Yehudai, Vardi, "Adversarial Examples Exist in Two-Layer ReLU Networks for Low Dimensional Linear
    Subspaces" (2023), main text: the theorems on the lower bound and on small initialisation. The exact law and the
    constants of both bounds are derived here; they are not the paper's.

    >>> law = expected_off_gradient(width=400, active=200, dim=60, codim=40)
    >>> round(law.mean_square, 4), round(law.lower, 4), round(law.confidence, 3)
    (0.3333, 0.4082, 0.918)
    """
    scale = dim**-0.5 if init_scale is None else init_scale
    check_positive(scale, "init_scale")
    if not 0 <= active <= width or not 1 <= codim < dim:
        raise InvalidInputError(
            f"active and codim must satisfy 0 <= active <= width and 1 <= codim < dim, got active={active}, "
            f"width={width}, codim={codim}, dim={dim}"
        )
    mean_square = scale**2 * active * codim / width
    lower, upper = math.sqrt(mean_square / 2), math.sqrt(2 * mean_square)
    return GradientLaw(mean_square, lower, upper, 1 - math.exp(-codim / 16))


def margin_gradient(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the margin of each sample and its gradient in the sample."""
    return input_gradient(model, x, lambda outputs: margins(outputs, y))
