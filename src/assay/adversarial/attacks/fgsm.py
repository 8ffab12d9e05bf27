"""Fast gradient sign method (Goodfellow, Shlens and Szegedy, 2015, section 4)."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.adversarial.attacks.pgd import PGD
from assay.adversarial.attacks.threat import Lp


@dataclass(frozen=True)
class FGSM:
    r"""Take one step of the ball's radius up the cross-entropy.

    $x' = \Pi\big(x + \varepsilon\,\mathrm{sign}(\nabla_x \ell(f(x), y))\big)$; in the 2-norm the gradient is scaled to
    length one instead of taking its sign.

    Args:
        threat: Threat model.

    Cost: time one forward and one backward pass a sample, memory that of one batch.

    Source: Goodfellow, Shlens, Szegedy, "Explaining and harnessing adversarial examples" (2015), section 4.

    >>> import torch
    >>> attack = FGSM(Lp(norm=2, eps=1.0, input_range=(-9.0, 9.0)))
    >>> attack(nn.Linear(2, 3), torch.zeros(4, 2), torch.tensor([0, 1, 2, 0])).shape
    torch.Size([4, 2])
    """

    threat: Lp
    targeted: ClassVar[bool] = False
    climbs_cross_entropy: ClassVar[bool] = True

    def __call__(
        self, model: nn.Module, x: Float[Tensor, "n *d"], y: Shaped[Tensor, "n *one"]
    ) -> Float[Tensor, "n *d"]:
        """Return perturbed inputs.

        Args:
            model: Classifier with outputs `(n, c)`; it comes back as it was.
            x: Inputs within the threat's range.
            y: True labels.

        Raises:
            InvalidInputError: The arguments do not fit each other.
        """
        return PGD(self.threat, n_iter=1, step_size=self.threat.eps)(model, x, y)
