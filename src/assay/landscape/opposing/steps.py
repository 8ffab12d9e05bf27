"""One step on a copy of a network: down the gradient, or along the direction of largest curvature."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.core import (
    HessianOperator,
    InvalidInputError,
    MeanLoss,
    affordable_batch,
    check_finite,
    check_follows_parameters,
    copy_network,
    flatten,
    seeded,
    select_parameters,
    unflatten,
)
from assay.landscape.eigenpairs import top_eigenpairs

# A step along the eigenvector raises the loss by this part of it, to second order: above rounding, and so short that
# the first order decides how a sample moves, even where one sample in a hundred carries all curvature.
RISE = 1e-3


@dataclass(frozen=True, eq=False)
class Curve:
    """Direction of largest curvature of the loss.

    Attributes:
        sharpness: Largest eigenvalue of the Hessian.
        eigenvector: Its unit eigenvector.
    """

    sharpness: float
    eigenvector: Float[Tensor, " p"]


def largest_curvature(
    model: nn.Module,
    x: Shaped[Tensor, "n *d"],
    y: Tensor,
    loss: MeanLoss,
    *,
    params: Literal["trainable", "all"],
    batch_size: int | None,
    generator: torch.Generator | None,
) -> Curve:
    """Compute the largest eigenvalue of the Hessian of the mean loss, with its eigenvector.

    Args:
        model: Network; it comes back as it was.
        x: Inputs.
        y: Targets.
        loss: Mean over samples.
        params: Parameters that the Hessian is taken in.
        batch_size: Samples differentiated at once; by default as many as memory allows.
        generator: Source of the starting vector.
    """
    size = affordable_batch(model, x, columns=1) if batch_size is None else batch_size
    operator = HessianOperator(model, x, y, loss, params=params, batch_size=size)
    trial = torch.randn(operator.shape[0], generator=seeded(0), dtype=torch.float64).to(x.device, operator.dtype)
    if not (operator @ trial).any():  # the loss is flat, and Lanczos steps would not begin
        return Curve(0.0, torch.nn.functional.one_hot(torch.tensor(0), len(trial)).to(trial))
    values, vectors = top_eigenpairs(operator, 1, generator=generator)
    check_finite(vectors, "the top eigenvector of the Hessian")
    return Curve(values[0].item(), vectors[:, 0])


def step_length(direction: str, lr: float | None, sharpness: float, loss: float) -> float:
    r"""Return the learning rate of a gradient step, or the length of a step along the eigenvector.

    By default the learning rate is that at the edge of stability, $2/\lambda$, and the length $\sqrt{2 r L/\lambda}$
    raises the loss $L$ by its part r = 0.001 to second order.

    Raises:
        InvalidInputError: It needs a positive curvature, and there is none.

    >>> step_length("gradient", None, 4.0, 1.0), round(step_length("eigenvector", None, 5.0, 1.0), 2)
    (0.5, 0.02)
    """
    if lr is not None:
        return lr
    if not sharpness > 0:
        raise InvalidInputError(
            f"the largest eigenvalue of the Hessian is {sharpness:.3g}, and a step at the edge of stability needs a "
            "positive one; pass lr, the learning rate of a gradient step or the length of a step along the eigenvector"
        )
    return 2 / sharpness if direction == "gradient" else math.sqrt(2 * RISE * max(loss, 0.0) / sharpness)


def stepped(
    model: nn.Module,
    x: Shaped[Tensor, "n *d"],
    slope: Float[Tensor, " p"],
    *,
    params: Literal["trainable", "all"],
    along: Float[Tensor, " p"] | None,
    length: float,
) -> nn.Module:
    r"""Return a copy of a network after one step, $w - \eta\, g$, or $w - s\, \mathrm{sign}(g^\top v)\, v$.

    Args:
        model: Network.
        x: Inputs; a few are tried on the copy.
        slope: Gradient on all samples.
        params: Parameters that move.
        along: The direction $v$ of unit norm; the gradient where it is None.
        length: $\eta$ or $s$.
    """
    if along is not None:
        slope = along if slope @ along >= 0 else -along
    copy = copy_network(model)
    check_follows_parameters(copy, x)
    chosen = select_parameters(copy, params)
    change = unflatten(length * slope, chosen)
    with torch.no_grad():
        for name, value in chosen.items():
            value.sub_(change[name])
    check_finite(flatten(chosen), "the weights after the step")
    return copy
