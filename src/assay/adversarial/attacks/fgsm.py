"""The fast gradient sign method (Goodfellow, Shlens, Szegedy, 2015): one step to the edge of the ball."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn

from assay.adversarial.attacks.base import Lp
from assay.adversarial.attacks.pgd import pgd


@dataclass(frozen=True)
class FGSM:
    r"""Take one step of the ball's radius up the cross-entropy: the cheapest attack, and a weak one.

    $x' = \Pi\big(x + \varepsilon\,\mathrm{sign}(\nabla_x \ell(f(x), y))\big)$; in the 2-norm the gradient is scaled to
    length one in the place of its sign.

    Args:
        threat: What may be changed.

    Cost: one forward and one backward pass a sample.

    Source: Goodfellow, Shlens, Szegedy, "Explaining and harnessing adversarial examples" (2015).

    >>> import torch
    >>> attack = FGSM(Lp(norm=2, eps=1.0, input_range=(-9.0, 9.0)))
    >>> attack(nn.Linear(2, 3), torch.zeros(4, 2), torch.tensor([0, 1, 2, 0])).shape
    torch.Size([4, 2])
    """

    threat: Lp

    def __call__(self, model: nn.Module, x: Float[Tensor, "n *d"], y: Int[Tensor, " n"]) -> Float[Tensor, "n *d"]:
        """Return perturbed inputs.

        Args:
            model: Classifier with outputs `(n, c)`; it comes back as it was.
            x: Inputs within the threat's range.
            y: True labels.

        Raises:
            InvalidInputError: The arguments do not fit each other.
        """
        return pgd(model, x, y, threat=self.threat, n_iter=1, step_size=self.threat.eps)


def fgsm(model: nn.Module, x: Float[Tensor, "n *d"], y: Int[Tensor, " n"], *, threat: Lp) -> Float[Tensor, "n *d"]:
    """Return `FGSM(threat)(model, x, y)`: the attack as a function, with the same arguments.

    >>> import torch
    >>> threat = Lp(norm=2, eps=1.0, input_range=(-9.0, 9.0))
    >>> fgsm(nn.Linear(2, 3), torch.zeros(3, 2), torch.tensor([0, 1, 2]), threat=threat).shape
    torch.Size([3, 2])
    """
    return FGSM(threat)(model, x, y)
