"""Generalised Gauss-Newton decomposition of the Hessian (Sagun et al., 2017)."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.core import (
    HessianOperator,
    InvalidInputError,
    LossFunction,
    check_finite,
    check_outputs,
    check_pairs,
    gradient,
    mean_over_samples,
    output_jacobian,
    predict,
    symmetric_eigenpairs,
    symmetric_eigenvalues,
)


@dataclass(frozen=True, eq=False)
class HessianDecomposition:
    r"""The Hessian as $H = G + R$.

    Attributes:
        hessian: $H = \nabla^2_\theta L$.
        gauss_newton: $G = \frac1n\sum_i J_i^\top (\nabla^2_f \ell_i) J_i$, positive semi-definite.
        residual: $R = \frac1n\sum_i\sum_c (\partial_{f_c}\ell_i)\,\nabla^2_\theta f_c(x_i)$.
    """

    hessian: Float[Tensor, "p p"]
    gauss_newton: Float[Tensor, "p p"]
    residual: Float[Tensor, "p p"]

    def __str__(self) -> str:
        share = self.residual.norm() / self.hessian.norm().clamp(min=torch.finfo(self.hessian.dtype).tiny)
        return (
            f"The Hessian of {len(self.hessian)} parameters has Frobenius norm {self.hessian.norm():.4g}; its "
            f"Gauss-Newton part has {self.gauss_newton.norm():.4g} and the residual {self.residual.norm():.4g} "
            f"({share:.2%} of the Hessian's)."
        )


@torch.inference_mode(False)
def gauss_newton_decomposition(
    model: nn.Module,
    x: Shaped[Tensor, "n *d"],
    y: Tensor,
    *,
    loss: LossFunction,
    params: Literal["trainable", "all"] = "trainable",
    batch_size: int = 64,
) -> HessianDecomposition:
    r"""Split the Hessian of the mean loss into its Gauss-Newton part and the rest, $H = G + R$.

    $R$ vanishes where the network is linear in its parameters or fits every sample. The matrices are dense: for
    networks of a few thousand parameters.

    Args:
        model: Network; evaluated in evaluation mode, it comes back as it was.
        x: Inputs; integers for a network that reads tokens.
        y: Targets.
        loss: Mean loss over samples, convex in the network's outputs.
        params: "trainable" leaves out parameters with `requires_grad=False`, unless all have it; "all" takes all.
        batch_size: Samples differentiated at once.

    Returns:
        The three matrices.

    Raises:
        InvalidInputError: The model or the data are unusable, or the loss is not convex in the outputs.
        NumericalError: The curvature is NaN or infinite.

    Cost: time O(n c p²), memory O(p² + n c p).

    Source: Sagun, Evci, Güney, Dauphin and Bottou (2017), "Empirical Analysis of the Hessian of Over-Parametrized
    Neural Networks", arXiv 1706.04454, main text: the decomposition of the Hessian; Schraudolph (2002), "Fast curvature
    matrix-vector products for second-order gradient descent", main text: the matrix $G$.

    >>> from assay.core import squared_error
    >>> layer = nn.Linear(2, 1)
    >>> parts = gauss_newton_decomposition(layer, torch.eye(2), torch.zeros(2), loss=squared_error)
    >>> parts.residual.abs().max().item() < 1e-6
    True
    """
    factor = gauss_newton_factor(model, x, y, loss=loss, params=params, batch_size=batch_size)
    gauss_newton = factor.T @ factor
    hessian = HessianOperator(model, x, y, loss, params=params, batch_size=batch_size).to_dense()
    hessian = (hessian + hessian.T) / 2
    check_finite(hessian, "the Hessian")
    return HessianDecomposition(hessian, gauss_newton, hessian - gauss_newton)


@torch.inference_mode(False)
def gauss_newton_factor(
    model: nn.Module,
    x: Shaped[Tensor, "n *d"],
    y: Tensor,
    *,
    loss: LossFunction,
    params: Literal["trainable", "all"] = "trainable",
    batch_size: int = 64,
) -> Float[Tensor, "r p"]:
    r"""Compute a factor $A$ with $G = A^\top A$: for every sample $\frac{1}{\sqrt n} (\nabla^2_f \ell_i)^{1/2} J_i$.

    For cross-entropy $A_i$ is $\frac{1}{\sqrt n}\mathrm{diag}(\sqrt{p_i})(I - 1 p_i^\top) J_i$ up to a rotation of the
    outputs. Its Gram matrix $A A^\top$, of size r = nc, has the non-zero eigenvalues of $G$.

    Arguments and errors are those of `gauss_newton_decomposition`.

    Returns:
        The factor, with the c rows of a sample next to each other.

    Cost: time O(n c² p), memory O(n c p).

    Source: Sagun, Evci, Güney, Dauphin and Bottou (2017), "Empirical Analysis of the Hessian of Over-Parametrized
    Neural Networks", arXiv 1706.04454, main text: $G$ as a product of Jacobians.

    >>> from assay.core import cross_entropy
    >>> gauss_newton_factor(nn.Linear(2, 3), torch.eye(2), torch.tensor([0, 1]), loss=cross_entropy).shape
    torch.Size([6, 9])
    """
    x, y = check_pairs(x, y, tokens=True)
    check_outputs(model, x)
    mean = mean_over_samples(loss, model, x, y)
    jacobian = output_jacobian(model, x, params=params, batch_size=batch_size)
    root = _root(_output_curvature(predict(model, x, batch_size=batch_size), y, mean))
    factor = torch.bmm(root, jacobian.to(root.dtype)).flatten(0, 1) / len(x) ** 0.5
    check_finite(factor, "the Gauss-Newton factor")
    return factor


@torch.inference_mode(False)
def factor_eigenvalues(factor: Float[Tensor, "r p"]) -> Float[Tensor, " k"]:
    r"""Compute the eigenvalues of $A^\top A$ that can differ from zero, descending, from the smaller Gram matrix.

    Args:
        factor: A matrix A of r rows.

    Returns:
        The min(r, p) eigenvalues.

    Raises:
        InvalidInputError: The factor is not one matrix.

    Cost: time O(min(r, p)² max(r, p)), memory O(min(r, p)²).

    >>> factor_eigenvalues(torch.tensor([[3.0, 0.0, 4.0]])).tolist()
    [25.0]
    """
    if factor.ndim != 2 or factor.numel() == 0:
        raise InvalidInputError(
            f"factor must be a matrix of shape (r, p), got shape {tuple(factor.shape)}; pass one such as that of "
            "gauss_newton_factor"
        )
    factor = factor.to(torch.promote_types(factor.dtype, torch.float32))  # eigensolvers take no half precision
    gram = factor @ factor.T if len(factor) < factor.shape[1] else factor.T @ factor
    return symmetric_eigenvalues(gram).flip(0)


def _output_curvature(logits: Tensor, y: Tensor, loss: LossFunction) -> Float[Tensor, "n c c"]:
    """Return every sample's Hessian of the loss in its outputs, all samples at once.

    The mean loss has no terms between samples, so its Hessian times "output c of every sample" is column c of all.
    """
    scores = logits.to(torch.promote_types(logits.dtype, torch.float32)).reshape(len(logits), -1)

    def slopes(values: Float[Tensor, "n c"]) -> Float[Tensor, " c"]:
        return gradient(lambda f: loss(f.reshape(logits.shape), y))(values).sum(0)

    columns = [gradient(lambda f, c=c: slopes(f)[c])(scores) for c in range(scores.shape[1])]
    return len(logits) * torch.stack(columns, dim=2).detach()


def _root(curvature: Float[Tensor, "n c c"]) -> Float[Tensor, "n c c"]:
    values, vectors = symmetric_eigenpairs(curvature)
    if values.min() < -1e-5 * values.abs().max():
        raise InvalidInputError(
            f"the loss is not convex in the outputs (curvature {values.min().item():.3g}); "
            "the Gauss-Newton matrix needs a convex one, such as cross_entropy or squared_error"
        )
    return values.clamp(min=0).sqrt()[:, :, None] * vectors.mT
