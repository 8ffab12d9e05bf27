"""Generalised Gauss-Newton decomposition of the Hessian (Sagun et al., 2017)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import grad

from assay.core import (
    HessianOperator,
    InvalidInputError,
    LossFunction,
    check_finite,
    check_logits,
    check_model,
    check_pairs,
    output_jacobian,
    predict,
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


def gauss_newton_decomposition(
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    y: Tensor,
    *,
    loss: LossFunction,
    batch_size: int = 64,
) -> HessianDecomposition:
    r"""Split the Hessian of the mean loss into its Gauss-Newton part and the rest, $H = G + R$.

    $R$ vanishes where the network is linear in its parameters or fits every sample. The matrices are dense: for
    networks of a few thousand parameters.

    Args:
        model: Network; evaluated in evaluation mode, it comes back as it was.
        x: Inputs.
        y: Targets.
        loss: Mean loss over a batch, convex in the network's outputs.
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
    factor = gauss_newton_factor(model, x, y, loss=loss, batch_size=batch_size)
    gauss_newton = factor.T @ factor
    hessian = HessianOperator(model, x, y, loss, batch_size=batch_size).to_dense()
    hessian = (hessian + hessian.T) / 2
    check_finite(hessian, "the Hessian")
    return HessianDecomposition(hessian, gauss_newton, hessian - gauss_newton)


def gauss_newton_factor(
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    y: Tensor,
    *,
    loss: LossFunction,
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
    check_model(model)
    check_pairs(x, y)
    check_logits(model, x)
    root = _root(_output_curvature(predict(model, x, batch_size=batch_size), y, loss))
    jacobian = output_jacobian(model, x, batch_size=batch_size)
    factor = torch.bmm(root, jacobian).flatten(0, 1) / len(x) ** 0.5
    check_finite(factor, "the Gauss-Newton factor")
    return factor


def factor_eigenvalues(factor: Float[Tensor, "r p"]) -> Float[Tensor, " k"]:
    r"""Compute the eigenvalues of $A^\top A$ that can differ from zero, descending, from the smaller Gram matrix.

    Args:
        factor: A matrix A of r rows.

    Returns:
        The min(r, p) eigenvalues.

    Cost: time O(min(r, p)² max(r, p)), memory O(min(r, p)²).

    >>> factor_eigenvalues(torch.tensor([[3.0, 0.0, 4.0]])).tolist()
    [25.0]
    """
    gram = factor @ factor.T if len(factor) < factor.shape[1] else factor.T @ factor
    return torch.linalg.eigvalsh(gram).flip(0)


def _output_curvature(logits: Tensor, y: Tensor, loss: LossFunction) -> Float[Tensor, "n c c"]:
    """Return every sample's Hessian of the loss in its outputs, all samples at once.

    The mean loss has no terms between samples, so its Hessian times "output c of every sample" is column c of all.
    """
    scores = logits.reshape(len(logits), -1)

    def slopes(values: Float[Tensor, "n c"]) -> Float[Tensor, " c"]:
        return grad(lambda f: loss(f.reshape(logits.shape), y))(values).sum(0)

    columns = [grad(lambda f, c=c: slopes(f)[c])(scores) for c in range(scores.shape[1])]
    return len(logits) * torch.stack(columns, dim=2)


def _root(curvature: Float[Tensor, "n c c"]) -> Float[Tensor, "n c c"]:
    values, vectors = torch.linalg.eigh((curvature + curvature.mT) / 2)
    if values.min() < -1e-5 * values.abs().max():
        raise InvalidInputError(
            f"the loss is not convex in the outputs (curvature {values.min().item():.3g}); "
            "the Gauss-Newton matrix needs a convex one, such as cross_entropy or squared_error"
        )
    return values.clamp(min=0).sqrt()[:, :, None] * vectors.mT
