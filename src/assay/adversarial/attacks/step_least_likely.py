"""One step towards the class that the model finds least likely (Kurakin, Goodfellow, Bengio, 2017)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from assay.adversarial.attacks.base import Lp, check_attackable
from assay.core import predict, preserved


@dataclass(frozen=True)
class StepLeastLikely:
    r"""Take one step of the ball's radius towards the class that the model finds least likely.

    $x' = \Pi\big(x - \varepsilon\,\mathrm{sign}(\nabla_x \ell(f(x), \arg\min f(x)))\big)$; in the 2-norm the gradient
    is scaled to length one in the place of its sign.

    Args:
        threat: What may be changed.

    Cost: two forward passes and one backward pass a sample.

    Source: Kurakin, Goodfellow, Bengio, "Adversarial machine learning at scale" (2017); one of the attacks of Cubuk,
    Zoph, Schoenholz, Le, "Intriguing Properties of Adversarial Examples" (2017).

    >>> attack = StepLeastLikely(Lp(norm=2, eps=1.0, input_range=(-9.0, 9.0)))
    >>> attack(nn.Linear(2, 3), torch.zeros(4, 2), torch.tensor([0, 1, 2, 0])).shape
    torch.Size([4, 2])
    """

    threat: Lp

    def __call__(self, model: nn.Module, x: Float[Tensor, "n *d"], y: Int[Tensor, " n"]) -> Float[Tensor, "n *d"]:
        """Return perturbed inputs.

        Args:
            model: Classifier with outputs `(n, c)`; it comes back as it was.
            x: Inputs within the threat's range.
            y: Labels; they are checked, but the step goes by the model's own scores.

        Raises:
            InvalidInputError: The arguments do not fit each other.
        """
        check_attackable(model, x, y, threat=self.threat)
        least_likely = predict(model, x, batch_size=len(x)).argmin(1)
        with preserved(model):
            point = x.detach().requires_grad_()
            with torch.enable_grad():
                (gradient,) = torch.autograd.grad(F.cross_entropy(model(point), least_likely, reduction="sum"), point)
        return self.threat.project(x.detach() - self.threat.eps * self.threat.steepest(gradient), x.detach())


def step_least_likely(
    model: nn.Module, x: Float[Tensor, "n *d"], y: Int[Tensor, " n"], *, threat: Lp
) -> Float[Tensor, "n *d"]:
    """Return `StepLeastLikely(threat)(model, x, y)`: the attack as a function, with the same arguments.

    >>> threat = Lp(norm=2, eps=1.0, input_range=(-9.0, 9.0))
    >>> step_least_likely(nn.Linear(2, 3), torch.zeros(3, 2), torch.tensor([0, 1, 2]), threat=threat).shape
    torch.Size([3, 2])
    """
    return StepLeastLikely(threat)(model, x, y)
