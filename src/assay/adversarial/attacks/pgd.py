"""Projected gradient descent (Madry et al., 2018): the attack that adversarial training is done with."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from assay.adversarial.attacks.base import Lp, check_attackable, check_count
from assay.core import check_positive, preserved, seeded


@dataclass(frozen=True)
class PGD:
    r"""Climb the cross-entropy of the true labels in steps of fixed length: `pgd` as an attack object.

    Args:
        threat: What may be changed.
        n_iter: Steps. Paper: 40 on MNIST.
        step_size: Length of a step in the threat's norm; $2.5\,\varepsilon$ / `n_iter` when None.
        seed: Start from a random point of the ball, drawn with this seed; by default start from `x`.

    Raises:
        InvalidInputError: `n_iter` is below one, or `step_size` is not positive.

    Cost: `n_iter` forward and backward passes a sample.

    Source: Madry, Makelov, Schmidt, Tsipras, Vladu, "Towards deep learning models resistant to adversarial attacks"
    (2018), which takes that step size in the 2-norm.

    >>> attack = PGD(Lp(norm=2, eps=1.0, input_range=(-9.0, 9.0)), n_iter=5)
    >>> attack(nn.Linear(2, 3), torch.zeros(4, 2), torch.tensor([0, 1, 2, 0])).shape
    torch.Size([4, 2])
    """

    threat: Lp
    n_iter: int = 40
    step_size: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        _check_steps(self.n_iter, self.step_size)

    def __call__(self, model: nn.Module, x: Float[Tensor, "n *d"], y: Int[Tensor, " n"]) -> Float[Tensor, "n *d"]:
        """Return the last points; arguments and errors are those of `pgd`."""
        source = None if self.seed is None else seeded(self.seed)
        return pgd(model, x, y, threat=self.threat, n_iter=self.n_iter, step_size=self.step_size, generator=source)


def pgd(
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    y: Int[Tensor, " n"],
    *,
    threat: Lp,
    n_iter: int = 40,
    step_size: float | None = None,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "n *d"]:
    r"""Climb the cross-entropy of the true labels in steps of fixed length, projecting after each.

    $x_{t+1} = \Pi\big(x_t + \eta\,\mathrm{steepest}(\nabla_x \ell(f(x_t), y))\big)$; the last point is returned.

    Args:
        model: Classifier with outputs `(n, c)`; it comes back as it was.
        x: Inputs within the threat's range.
        y: True labels.
        threat: What may be changed.
        n_iter: Steps. Paper: 40 on MNIST.
        step_size: Length of a step in the threat's norm; $2.5\,\varepsilon$ / `n_iter` when None.
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
    _check_steps(n_iter, step_size)
    step_size = step_size if step_size is not None else 2.5 * threat.eps / n_iter
    x = x.detach()
    point = x if generator is None else threat.random_start(x, generator=generator)
    with preserved(model):
        for _ in range(n_iter):
            point = point.detach().requires_grad_()
            with torch.enable_grad():
                (gradient,) = torch.autograd.grad(F.cross_entropy(model(point), y, reduction="sum"), point)
            point = threat.project(point.detach() + step_size * threat.steepest(gradient), x)
    return point


def _check_steps(n_iter: int, step_size: float | None) -> None:
    check_count(n_iter, "n_iter")
    if step_size is not None:
        check_positive(step_size, "step_size")
