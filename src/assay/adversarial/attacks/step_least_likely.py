"""One-step attack towards the least likely class (Kurakin, Goodfellow and Bengio, 2017, section 2.2)."""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.adversarial.attacks.door import attackable
from assay.adversarial.attacks.threat import Lp
from assay.core import input_gradient, predict


@dataclass(frozen=True)
class StepLeastLikely:
    r"""Take one step of the ball's radius towards the class with the lowest score.

    $x' = \Pi\big(x - \varepsilon\,\mathrm{sign}(\nabla_x \ell(f(x), \arg\min f(x)))\big)$; in the 2-norm the gradient
    is scaled to length one instead of taking its sign.

    Args:
        threat: Threat model.

    Cost: time two forward passes and one backward pass a sample, memory that of one batch.

    Source: Kurakin, Goodfellow, Bengio, "Adversarial machine learning at scale" (2017), section 2.2; one of the attacks
    of Cubuk, Zoph, Schoenholz, Le, "Intriguing Properties of Adversarial Examples" (2017), abstract.

    >>> import torch
    >>> attack = StepLeastLikely(Lp(norm=2, eps=1.0, input_range=(-9.0, 9.0)))
    >>> attack(nn.Linear(2, 3), torch.zeros(4, 2), torch.tensor([0, 1, 2, 0])).shape
    torch.Size([4, 2])
    """

    threat: Lp
    targeted: ClassVar[bool] = False

    def __call__(
        self, model: nn.Module, x: Float[Tensor, "n *d"], y: Shaped[Tensor, "n *one"]
    ) -> Float[Tensor, "n *d"]:
        """Return perturbed inputs.

        Args:
            model: Classifier with outputs `(n, c)`; it comes back as it was.
            x: Inputs within the threat's range.
            y: Labels; they are checked, but the direction depends on the model's scores only.

        Raises:
            InvalidInputError: The arguments do not fit each other.
        """
        with attackable(model, x, y, threat=self.threat) as given:
            least_likely = predict(given.model, given.x, batch_size=len(x), look=False).argmin(1)
            gradient = input_gradient(
                given.model, given.x, lambda logits: F.cross_entropy(logits, least_likely, reduction="none")
            )[1]
            step = self.threat.reach(given.x) * self.threat.steepest(gradient)
            return given.returned(self.threat.project(given.x - step, given.x), self.threat)
