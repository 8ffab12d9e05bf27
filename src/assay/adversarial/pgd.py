"""Projected gradient descent (Madry et al., 2018): the attack that adversarial training is done with."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from assay.adversarial.base import Lp, check_attackable
from assay.core import check_positive, preserved


def pgd(
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    y: Int[Tensor, " n"],
    *,
    threat: Lp,
    n_iter: int,
    step_size: float,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "n *d"]:
    r"""Climb the cross-entropy of the true labels in steps of fixed length, projecting after each.

    $x_{t+1} = \Pi\big(x_t + \eta\,\mathrm{steepest}(\nabla_x \ell(f(x_t), y))\big)$; the last point is returned.

    Args:
        model: Classifier with outputs `(n, c)`; it comes back as it was.
        x: Inputs within the threat's range.
        y: True labels.
        threat: What may be changed.
        n_iter: Steps.
        step_size: Length of a step in the threat's norm.
        generator: Start from a random point of the ball; from `x` when None.

    Raises:
        InvalidInputError: The arguments do not fit each other.

    Source: Madry, Makelov, Schmidt, Tsipras, Vladu, "Towards deep learning models resistant to adversarial attacks"
    (2018).

    >>> model, threat = nn.Linear(2, 3), Lp(norm=2, eps=1.0, input_range=(-9.0, 9.0))
    >>> pgd(model, torch.zeros(4, 2), torch.tensor([0, 1, 2, 0]), threat=threat, n_iter=2, step_size=0.5).shape
    torch.Size([4, 2])
    """
    check_attackable(model, x, y, threat=threat)
    check_positive(step_size, "step_size")
    point = x.detach() if generator is None else threat.random_start(x.detach(), generator=generator)
    with preserved(model):
        for _ in range(n_iter):
            point = point.detach().requires_grad_()
            with torch.enable_grad():
                (gradient,) = torch.autograd.grad(F.cross_entropy(model(point), y, reduction="sum"), point)
            point = threat.project(point.detach() + step_size * threat.steepest(gradient), x)
    return point
