"""Noise floor of stochastic gradient descent, and the condition number that Adam meets (Liu and Flanigan, 2023)."""

from jaxtyping import Float
from torch import Tensor

from assay.core import InvalidInputError, check_count, check_pairs
from assay.generalization.double_descent.modes import FeatureModes


def sgd_noise_floor(
    phi: Float[Tensor, "n d"], y: Float[Tensor, "n c"], *, lr: float, batch_size: int, rtol: float = 1e-6
) -> float:
    r"""Estimate how far above its minimum constant steps of SGD keep the loss $\frac1{2n}\lVert\Phi A - Y\rVert^2$.

    Batches of b samples drawn with replacement have gradients of covariance C at the minimum, and the stationary
    covariance $\Sigma$ of the weights solves $H\Sigma + \Sigma H - \eta H\Sigma H = \eta C$ for each output. So the
    excess loss is $\frac12\mathrm{tr}(H\Sigma) = \frac\eta2\sum_i C_{ii}/(2 - \eta\lambda_i)$ along the modes, which
    is $\eta\,\mathrm{tr}(C)/4$ for small steps. The change of the noise away from the minimum, of higher order in
    $\eta$, is left out: where features interpolate, the floor is zero. Batches that are reshuffled every epoch have a
    lower one.

    Cost: time O(n d min(n, d)), memory O(n d).

    Args:
        phi: Features.
        y: Targets.
        lr: $\eta$.
        batch_size: b.
        rtol: Singular values below this fraction of the largest count as zero.

    Returns:
        The excess of $\frac1{2n}\lVert\Phi A - Y\rVert^2$ over its minimum.

    Raises:
        InvalidInputError: Shapes do not fit, or the learning rate diverges.

    Source: Liu and Flanigan, Understanding the Role of Optimization in Double Descent (2023), abstract: batch size and
    learning rate; the formula is derived here.

    >>> import torch
    >>> round(sgd_noise_floor(torch.ones(2, 1), torch.tensor([[0.0], [2.0]]), lr=0.1, batch_size=1), 4)
    0.0263
    """
    phi, y = check_pairs(phi, y)
    check_count(batch_size, "batch_size")
    modes = FeatureModes.of(phi.double(), rtol=rtol)
    modes.check_stable(lr)
    if y.ndim != 2:
        raise InvalidInputError(f"y must be of shape (n, c), got {tuple(y.shape)}; use y[:, None] for one output")
    residual = y.double() - modes.left @ (modes.left.T @ y.double())
    gradients = (modes.left * modes.singular_values).square()  # of each sample along each mode, squared
    variance = (gradients * residual.square().sum(1, keepdim=True)).mean(0) / batch_size
    return (lr / 2 * variance / (2 - lr * modes.eigenvalues)).sum().item()


def preconditioned_condition_number(phi: Float[Tensor, "n d"], diagonal: Float[Tensor, " d"]) -> float:
    r"""Compute the condition number of $D^{-1/2} H D^{-1/2}$ with $H = \Phi^\top\Phi/n$, over non-zero eigenvalues.

    It decides how fast an optimiser converges that divides the gradient by D, such as Adam by $\sqrt{\hat v} +
    \epsilon$ once this has settled.

    Cost: time O(n d min(n, d)), memory O(n d).

    Args:
        phi: Features.
        diagonal: D.

    Raises:
        InvalidInputError: The diagonal has another length, or an entry that is not positive.

    Source: Liu and Flanigan, Understanding the Role of Optimization in Double Descent (2023), abstract: the condition
    number of the optimizer; the definition is chosen here.

    >>> import torch
    >>> preconditioned_condition_number(torch.diag(torch.tensor([2.0, 1.0])), torch.tensor([4.0, 1.0]))
    1.0
    """
    if diagonal.ndim != 1 or phi.ndim != 2 or len(diagonal) != phi.shape[1]:
        raise InvalidInputError(
            f"diagonal must hold one entry a feature, got shape {tuple(diagonal.shape)} for features of shape "
            f"{tuple(phi.shape)}"
        )
    if not (diagonal > 0).all():
        raise InvalidInputError("diagonal must be positive; add the eps of the optimiser to it")
    return FeatureModes.of(phi / diagonal.sqrt()).condition_number
