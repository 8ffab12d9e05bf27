"""Gradient masking: samples where gradients mislead an attack (Athalye, Carlini and Wagner, 2018, section 3)."""

from collections.abc import Collection
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from assay.adversarial.attacks.threat import Lp, dual_norms
from assay.core import input_gradient, margins


@dataclass(frozen=True, eq=False)
class GradientMasking:
    """Samples where the gradient gives an attack no direction, among those that no attack changed.

    Attributes:
        vanishing: The gradient of the margin is zero, or so small that to first order the whole radius changes the
            scores by less than their rounding.
        undefined: The gradient is NaN or infinite.
        saturated: The label's probability rounds to one, which rounds away the gradient of the cross-entropy, and
            every attack that was run climbs the cross-entropy.
    """

    vanishing: Bool[Tensor, " n"]
    undefined: Bool[Tensor, " n"]
    saturated: Bool[Tensor, " n"]

    @property
    def masked(self) -> Bool[Tensor, " n"]:
        """Whether the gradient is masked at each sample."""
        return self.vanishing | self.undefined | self.saturated

    def __str__(self) -> str:
        counts = {
            "it vanishes": int(self.vanishing.sum()),
            "it is NaN or infinite": int(self.undefined.sum()),
            "the softmax is saturated": int(self.saturated.sum()),
        }
        if not any(counts.values()):
            return "The gradient is masked at none of the samples that no attack changed."
        reasons = ", ".join(f"{reason} at {count}" for reason, count in counts.items() if count)
        n = sum(counts.values())
        return (
            f"The gradient is masked at {n} sample{'s' if n > 1 else ''} that no attack changed ({reasons}): attacks "
            "by gradient get no direction there, and may miss perturbations that exist."
        )


def no_masking(x: Tensor) -> GradientMasking:
    """Return a result without masked samples."""
    return GradientMasking(*(torch.zeros(len(x), dtype=torch.bool, device=x.device) for _ in range(3)))


def find_masking(
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    y: Int[Tensor, " n"],
    unchanged: Bool[Tensor, " n"],
    *,
    threat: Lp,
    attacks: Collection[object],
    batch_size: int = 256,
) -> GradientMasking:
    """Test the gradient at the samples that no attack changed; the caller holds the model `preserved`.

    Args:
        model: Classifier with outputs `(n, c)`.
        x: Inputs.
        y: Labels.
        unchanged: The samples to test.
        threat: Threat model of the attacks.
        attacks: The attacks that failed on these samples.
        batch_size: Samples differentiated at once.

    Cost: time one forward and one backward pass for each of these samples, memory that of one batch.

    Source: Athalye, Carlini, Wagner, "Obfuscated gradients give a false sense of security" (2018), section 3, for the
    phenomenon. The tests are ours.

    >>> model, x = nn.Sequential(nn.Hardtanh(), nn.Linear(1, 2)), torch.tensor([[0.5], [9.0]])
    >>> threat, unchanged = Lp(norm=2, eps=0.1, input_range=(-9.0, 9.0)), torch.tensor([True, True])
    >>> find_masking(model, x, torch.tensor([0, 0]), unchanged, threat=threat, attacks=[]).vanishing.tolist()
    [False, True]
    """
    found = no_masking(x)
    all_saturate = all(getattr(attack, "climbs_cross_entropy", False) for attack in attacks)
    tested = unchanged.nonzero().squeeze(1)
    for rows in tested.split(batch_size) if len(tested) else ():
        vanishing, undefined, saturated = _test_gradient(model, x[rows], y[rows], threat)
        found.vanishing[rows], found.undefined[rows] = vanishing, undefined
        found.saturated[rows] = saturated & all_saturate
    return found


def _test_gradient(model: nn.Module, x: Tensor, y: Tensor, threat: Lp) -> tuple[Tensor, Tensor, Tensor]:
    seen: list[Tensor] = []

    def margin(outputs: Tensor) -> Tensor:
        seen.append(outputs.detach())
        return margins(outputs, y)

    gradient, scores = input_gradient(model, x, margin)[1], seen[0]
    wide = torch.promote_types(x.dtype, torch.float32)
    scores, gradient = scores.to(wide), gradient.to(wide)
    undefined = ~gradient.flatten(1).isfinite().all(1)
    gain = dual_norms(gradient.nan_to_num(), threat.norm) * threat.reach(x)
    vanishing = ~undefined & (gain <= torch.finfo(x.dtype).eps * scores.abs().amax(1))
    probability = scores.softmax(1).gather(1, y[:, None]).squeeze(1)
    return vanishing, undefined, ~undefined & ~vanishing & (probability == 1)
