"""Weights along gradient descent on squared loss, in closed form (Liu and Flanigan, 2023)."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from assay.core import InvalidInputError, check_finite, check_pairs
from assay.generalization.double_descent.modes import FeatureModes


def gradient_descent_path(
    phi: Float[Tensor, "n d"],
    y: Float[Tensor, "n c"],
    *,
    n_iter: Sequence[float],
    lr: float | None = None,
    momentum: float = 0.0,
    init: Float[Tensor, "d c"] | None = None,
    rtol: float = 1e-6,
) -> Float[Tensor, "t d c"]:
    r"""Compute the weights after each of many numbers of steps of gradient descent, without taking the steps.

    Full-batch descent on $\frac1{2n}\lVert\Phi A - Y\rVert^2$ with $\Phi = U S V^\top$ and $\lambda_i = S_i^2/n$:
    $A_T = V\,\mathrm{diag}\big((1 - (1 - \eta\lambda_i)^T)/S_i\big)\,U^\top Y
    + \big(V\,\mathrm{diag}((1 - \eta\lambda_i)^T)\,V^\top + I - V V^\top\big) A_0$. With momentum
    $(1 - \eta\lambda_i)^T$ becomes the residual of the heavy ball; see `FeatureModes.fitted_share`. In the limit,
    `math.inf`, it is the least-squares solution nearest to $A_0$.

    Cost: time O(n d min(n, d) + t d min(n, d) c), memory O(t d c), in float64; no number of steps costs more than
    another.

    Args:
        phi: Features.
        y: Targets.
        n_iter: Numbers of steps, whole or `math.inf`.
        lr: Learning rate $\eta$; $1/\lambda_1$ by default.
        momentum: $\mu$ of `torch.optim.SGD`.
        init: $A_0$; zero by default.
        rtol: Singular values below this fraction of the largest count as zero in the limit.

    Returns:
        The weights after each number of steps, in their order and in the type of `phi`.

    Raises:
        InvalidInputError: Shapes do not fit, descent diverges at `lr`, or a number of steps is not whole.
        NumericalError: The weights are not finite.

    Source: Liu and Flanigan, Understanding the Role of Optimization in Double Descent (2023), abstract; the closed form
    is derived here.

    >>> import torch
    >>> phi, y = torch.diag(torch.tensor([2.0, 1.0])), torch.ones(2, 1)
    >>> gradient_descent_path(phi, y, n_iter=(1, float("inf")))[..., 0].tolist()
    [[0.5, 0.25], [0.5, 1.0]]
    """
    phi, y = check_pairs(phi, y)
    if y.ndim != 2 or (init is not None and init.shape != (phi.shape[-1], y.shape[1])):
        start = "" if init is None else f" and init of shape {tuple(init.shape)}"
        raise InvalidInputError(
            f"y must be of shape (n, c) and init of shape (d, c), got y of shape {tuple(y.shape)}{start}"
        )
    modes = FeatureModes.of(phi.double(), rtol=rtol)
    rate = 1 / modes.eigenvalues[0].item() if lr is None else lr
    share = modes.fitted_share(lr=rate, n_iter=n_iter, momentum=momentum)
    weights = modes.weights(y.double(), share, None if init is None else init.detach().double())
    check_finite(weights, "the weights")
    return weights.to(phi.dtype)
