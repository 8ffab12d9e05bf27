"""Alignment of the gradient covariance with the Gauss-Newton matrix (Sagun et al., 2017)."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Shaped
from scipy.linalg import subspace_angles
from torch import Tensor, nn

from assay.core import InvalidInputError, LossFunction, check_outputs, check_pairs, per_sample_gradients
from assay.landscape.decomposition import gauss_newton_factor


@dataclass(frozen=True, eq=False)
class AlignmentReport:
    r"""Principal angles between the top eigenspaces, of dimension k, of two matrices.

    Attributes:
        angles: Principal angles in degrees, ascending.
        overlap: Mean squared cosine, one for equal spaces and about k/p for unrelated ones.
        covariance_eigenvalues: Top k of $\frac1n\sum_i g_i g_i^\top$, descending.
        gauss_newton_eigenvalues: Top k of $G$, descending.
    """

    angles: Float[Tensor, " k"]
    overlap: float
    covariance_eigenvalues: Float[Tensor, " k"]
    gauss_newton_eigenvalues: Float[Tensor, " k"]

    def __str__(self) -> str:
        return (
            f"The top {len(self.angles)} eigenvectors of the gradient covariance and of the Gauss-Newton matrix span "
            f"spaces that overlap by {self.overlap:.1%}, with principal angles from {self.angles[0]:.1f} to "
            f"{self.angles[-1]:.1f} degrees."
        )


@torch.inference_mode(False)
def gradient_covariance_alignment(
    model: nn.Module,
    x: Shaped[Tensor, "n *d"],
    y: Tensor,
    *,
    loss: LossFunction,
    params: Literal["trainable", "all"] = "trainable",
    k: int | None = None,
    batch_size: int = 64,
) -> AlignmentReport:
    r"""Compare the top eigenspaces of $\frac1n\sum_i g_i g_i^\top$, $g_i = J_i^\top \nabla_f \ell_i$, and of $G$.

    Both come from singular vectors of factors, so no p x p matrix is formed.

    Args:
        model: Network; evaluated in evaluation mode, it comes back as it was.
        x: Inputs; integers for a network that reads tokens.
        y: Targets.
        loss: Mean loss over samples, convex in the network's outputs.
        params: "trainable" leaves out parameters with `requires_grad=False`, unless all have it; "all" takes all.
        k: Dimension of the spaces; the number of outputs by default.
        batch_size: Samples differentiated at once.

    Returns:
        The angles, the overlap and both sets of eigenvalues.

    Raises:
        InvalidInputError: The model or the data are unusable, or a matrix has rank below `k`.

    Cost: time O(n² c² p) for nc < p, memory O(n c p).

    Source: Sagun, Evci, Güney, Dauphin and Bottou (2017), "Empirical Analysis of the Hessian of Over-Parametrized
    Neural Networks", arXiv 1706.04454, main text: the link between the large eigenvalues and the covariance of
    gradients.

    >>> from assay.core import squared_error
    >>> report = gradient_covariance_alignment(nn.Linear(2, 1), torch.eye(2), torch.ones(2), loss=squared_error)
    >>> report.angles.shape
    torch.Size([1])
    """
    x, y = check_pairs(x, y, tokens=True)
    outputs = check_outputs(model, x)
    chosen = outputs[0].numel() if k is None else k
    gradients = per_sample_gradients(model, x, y, loss, params=params, batch_size=batch_size) / len(x) ** 0.5
    covariance, left = _top(gradients, chosen, "gradient covariance")
    factor = gauss_newton_factor(model, x, y, loss=loss, params=params, batch_size=batch_size)
    curvature, right = _top(factor, chosen, "Gauss-Newton matrix")
    radians = torch.as_tensor(subspace_angles(left.cpu().numpy(), right.cpu().numpy()).copy()).to(left)
    overlap = radians.cos().square().mean().item()
    return AlignmentReport(radians.rad2deg().flip(0), overlap, covariance, curvature)


def _top(factor: Float[Tensor, "r p"], k: int, name: str) -> tuple[Float[Tensor, " k"], Float[Tensor, "p k"]]:
    """Return the k largest eigenvalues of A^T A and their eigenvectors."""
    factor = factor.to(torch.promote_types(factor.dtype, torch.float32))  # solvers take no half precision
    singular, rows = torch.linalg.svd(factor, full_matrices=False)[1:]
    floor = torch.finfo(factor.dtype).eps * max(factor.shape) * singular[0]
    rank = int((singular > floor).sum())
    if not 1 <= k <= rank:
        raise InvalidInputError(f"k must lie between 1 and the rank {rank} of the {name}, got {k}")
    return singular[:k].square(), rows[:k].T
