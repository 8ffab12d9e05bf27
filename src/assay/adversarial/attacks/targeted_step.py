"""One step towards a given class, along the gap between its score and the highest."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from assay.adversarial.attacks.base import Lp, check_attackable
from assay.core import preserved


@dataclass(frozen=True)
class TargetedStep:
    r"""Take one step of the ball's radius up the gap between a target's score and the predicted class's.

    $x' = \Pi\big(x + \varepsilon\,\mathrm{steepest}(\nabla_x(f_t - f_1)(x))\big)$: the best perturbation of an affine
    network. `MALT(TargetedStep(threat), k=c - 1)` steps towards each class in turn, and flips whatever one step can.

    Args:
        threat: What may be changed.

    Cost: two forward passes and one backward pass a sample.

    Source: the optimal perturbation of linear response in Cubuk, Zoph, Schoenholz, Le (2017).

    >>> attack = TargetedStep(Lp(norm=2, eps=1.0, input_range=(-9.0, 9.0)))
    >>> attack(nn.Linear(2, 3), torch.zeros(4, 2), torch.tensor([0, 1, 2, 0])).shape
    torch.Size([4, 2])
    """

    threat: Lp

    def __call__(self, model: nn.Module, x: Float[Tensor, "n *d"], target: Int[Tensor, " n"]) -> Float[Tensor, "n *d"]:
        """Return perturbed inputs; those already predicted as their target stay as they are.

        Args:
            model: Classifier with outputs `(n, c)`; it comes back as it was.
            x: Inputs within the threat's range.
            target: Class to step towards.

        Raises:
            InvalidInputError: The arguments do not fit each other.
        """
        check_attackable(model, x, target, threat=self.threat)
        with preserved(model):
            point = x.detach().requires_grad_()
            with torch.enable_grad():
                logits = model(point)
                pair = torch.stack([target, logits.argmax(1)], 1)
                gap = logits.gather(1, pair) @ logits.new_tensor([1.0, -1.0])
                (gradient,) = torch.autograd.grad(gap.sum(), point)
        return self.threat.project(x.detach() + self.threat.eps * self.threat.steepest(gradient), x.detach())
