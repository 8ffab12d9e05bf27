"""Transfer of adversarial examples from one network to another (Papernot, McDaniel and Goodfellow, 2016)."""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from assay.adversarial.attacks.base import Attack, attack_batches, check_attack
from assay.adversarial.attacks.door import check_attackable
from assay.core import Interval, check_count, predict, preserved, proportion_interval


@dataclass(frozen=True, eq=False)
class TransferResult:
    """Adversarial examples of one network, tried on another.

    Attributes:
        x_adv: Perturbed inputs; the input itself where the attack on the surrogate failed.
        fooled_surrogate: Whether the surrogate misclassifies `x_adv`.
        correct: Whether the victim classifies the input as labelled.
        fooled_victim: Whether the victim misclassifies `x_adv`.
    """

    x_adv: Float[Tensor, "n *d"]
    fooled_surrogate: Bool[Tensor, " n"]
    correct: Bool[Tensor, " n"]
    fooled_victim: Bool[Tensor, " n"]

    @property
    def robust_accuracy(self) -> Interval:
        """Share of samples that the victim still classifies correctly, with its exact 95% interval."""
        return proportion_interval(int((~self.fooled_victim).sum()), len(self.correct))

    def __str__(self) -> str:
        left, n = self.robust_accuracy, len(self.correct)
        return (
            f"Of {n} samples the victim classifies {self.correct.double().mean():.1%} correctly, and {left.mean:.1%} "
            f"[{left.low:.1%}, {left.high:.1%}] after perturbations made on the surrogate, which misclassifies "
            f"{self.fooled_surrogate.double().mean():.1%} of them."
        )


def transfer_attack(
    surrogate: nn.Module,
    victim: nn.Module,
    x: Float[Tensor, "n *d"],
    y: Shaped[Tensor, "n *one"],
    *,
    attack: Attack,
    batch_size: int = 256,
    progress: bool = False,
) -> TransferResult:
    """Attack one network, and measure what its adversarial examples do to another.

    No pass through the victim serves the attack, so that masked gradients of the victim do not hinder it: where more
    samples break by transfer than by an attack on the victim itself, that attack is not to be trusted.

    Args:
        surrogate: Classifier to attack; it comes back as it was.
        victim: Classifier to try the perturbed inputs on; it comes back as it was.
        x: Inputs within the threat's range.
        y: True labels.
        attack: An untargeted attack, such as `MALT`.
        batch_size: Samples attacked at once.
        progress: Draw a bar on standard error.

    Raises:
        InvalidInputError: The networks, inputs and labels do not fit each other or the threat model, or the attack is
            targeted.
        NumericalError: The attack returned NaN.

    Cost: that of the attack, and two forward passes through the victim.

    Source: Papernot, McDaniel, Goodfellow, "Transferability in machine learning: from phenomena to black-box attacks
    using adversarial samples" (2016), section 2.

    >>> import torch
    >>> from assay.adversarial import FGSM, Lp
    >>> attack = FGSM(Lp(norm=2, eps=1.0, input_range=(-9.0, 9.0)))
    >>> layer, x, y = nn.Linear(2, 3), torch.zeros(4, 2), torch.tensor([0, 1, 2, 0])
    >>> result = transfer_attack(layer, layer, x, y, attack=attack)
    >>> torch.equal(result.fooled_victim, result.fooled_surrogate)
    True
    """
    check_attack(attack, targeted=False)
    check_count(batch_size, "batch_size")
    check_attackable(victim, x, y, threat=attack.threat)
    x, y, _ = check_attackable(surrogate, x, y, threat=attack.threat)
    with preserved(surrogate):
        attacked = attack_batches(surrogate, x, y, attack, batch_size, progress=progress)
    with preserved(victim):
        before, after = (
            predict(victim, points, batch_size=batch_size, look=False).argmax(1) == y for points in (x, attacked.x_adv)
        )
    return TransferResult(attacked.x_adv, attacked.success, before, ~after)
