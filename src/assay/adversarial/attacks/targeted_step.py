"""One-step attack towards a target class (Cubuk et al., 2017)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.adversarial.attacks.door import attackable
from assay.adversarial.attacks.threat import Lp
from assay.core import input_gradient


@dataclass(frozen=True)
class TargetedStep:
    r"""Take one step of the ball's radius up the gap between the target's score and the predicted class's.

    $x' = \Pi\big(x + \varepsilon\,\mathrm{steepest}(\nabla_x(f_t - f_1)(x))\big)$: the best perturbation of an affine
    network. `MALT(TargetedStep(threat), k=c - 1)` steps towards each class in turn, and finds any change of class that
    one step can cause.

    Args:
        threat: Threat model.

    Cost: time two forward passes and one backward pass a sample, memory that of one batch.

    Source: Cubuk, Zoph, Schoenholz, Le, "Intriguing Properties of Adversarial Examples" (2017), main text: the optimal
    perturbation in linear response.

    >>> attack = TargetedStep(Lp(norm=2, eps=1.0, input_range=(-9.0, 9.0)))
    >>> attack(nn.Linear(2, 3), torch.zeros(4, 2), torch.tensor([0, 1, 2, 0])).shape
    torch.Size([4, 2])
    """

    threat: Lp
    targeted: ClassVar[bool] = True
    strict_target: ClassVar[bool] = True

    def __call__(
        self, model: nn.Module, x: Float[Tensor, "n *d"], target: Shaped[Tensor, "n *one"]
    ) -> Float[Tensor, "n *d"]:
        """Return perturbed inputs; samples already predicted as their target are returned unchanged.

        Args:
            model: Classifier with outputs `(n, c)`; it comes back as it was.
            x: Inputs within the threat's range.
            target: Class to step towards.

        Raises:
            InvalidInputError: The arguments do not fit each other.
        """
        with attackable(model, x, target, threat=self.threat) as given:

            def gap(logits: Tensor) -> Tensor:
                pair = torch.stack([given.y, logits.argmax(1)], 1)
                return logits.gather(1, pair) @ logits.new_tensor([1.0, -1.0])

            gradient = input_gradient(given.model, given.x, gap)[1]
            step = self.threat.reach(given.x) * self.threat.steepest(gradient)
            return given.returned(self.threat.project(given.x + step, given.x), self.threat)
