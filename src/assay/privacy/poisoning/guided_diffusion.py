"""Poisons from scratch: base images that a diffusion model makes for the attack (Souri et al., 2024)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from assay.core import InvalidInputError, preserved
from assay.nets.diffusion import (
    GuidedDDIMSampler,
)
from assay.privacy.poisoning.base import PoisonAttack, PoisonGoal
from assay.privacy.poisoning.gradient_matching import (
    FLOOR,
    gradient_mismatch,
    poison_gradients,
    poison_target_gradient,
)


@dataclass(frozen=True, eq=False)
class PoisonSet:
    """Hold poisons, the best first.

    Attributes:
        x: Images.
        y: Their label, that of the goal.
        scores: How far each one's gradient is from the target's: its own gradient-matching loss.
    """

    x: Float[Tensor, "n *d"]
    y: Int[Tensor, " n"]
    scores: Float[Tensor, " n"]


@dataclass(frozen=True, eq=False)
class GuidedDiffusionPoisoner:
    r"""Synthesise base images that suit a poisoning attack and look like the label that they will carry.

    A guided diffusion sampler makes each base x by the loss

    $$w_m\Bigl(1 - \frac{\langle g(x), g_t\rangle}{\lVert g(x)\rVert\lVert g_t\rVert}\Bigr)
    + w_c\,\mathrm{CE}(f(x), y_p),\qquad g(x) = \nabla_\theta\,\mathrm{CE}(f(x), y_p),$$

    whose first term is what gradient matching will minimise, and whose second keeps the label clean. Any attack then
    starts from these bases instead of real images.

    Args:
        model: Surrogate of the victims, a classifier of images in [0, 1] (any normalisation inside) that was trained on
            clean data; it comes back as it was.
        sampler: The diffusion model and how it is sampled.
        matching: $w_m$. Paper's code: 0.5. With zero, the first term is the released code's other one,
            $1 / \lVert g(x)\rVert$: bases that move the weights much, whatever the target.
        labelling: $w_c$. Paper's code: 10.
        augment: Differentiable function of a batch that the victims augment by; None for none.

    Raises:
        InvalidInputError: A weight is negative.

    Deviations from the released code: bases are made in batches, each by its own loss.

    Source: Souri, Bansal, Kazemi, Fowl, Saha, Geiping, Wilson, Chellappa, Goldstein, Goldblum, "Generating Potent
    Poisons and Backdoors from Scratch with Guided Diffusion" (2024), arXiv 2403.16365, and its released code.

    >>> from assay.nets.diffusion import linear_noise_schedule
    >>> from assay.privacy import GradientMatchingAttack
    >>> sampler = GuidedDDIMSampler(lambda x, t: x, linear_noise_schedule(5, 0.01, 0.5), recurrence=1)
    >>> poisoner = GuidedDiffusionPoisoner(nn.Linear(4, 3), sampler)
    >>> goal = PoisonGoal(torch.ones(1, 4), label=2)
    >>> bases = poisoner.generate_bases(goal, 6)
    >>> poisons = poisoner.craft(GradientMatchingAttack(steps=2), bases, goal, keep=3)
    >>> poisons.x.shape, poisons.y.tolist()
    (torch.Size([3, 4]), [2, 2, 2])
    """

    model: nn.Module
    sampler: GuidedDDIMSampler
    matching: float = 0.5
    labelling: float = 10.0
    augment: Callable[[Tensor], Tensor] | None = None

    def __post_init__(self) -> None:
        if not (self.matching >= 0 and self.labelling >= 0):
            raise InvalidInputError(
                f"matching and labelling are weights of a loss, from zero up; got {self.matching}, {self.labelling}"
            )

    def guidance(self, goal: PoisonGoal) -> Callable[[Tensor], Tensor]:
        """Return the guidance loss: a differentiable function of images, one value for each.

        Raises:
            InvalidInputError: The goal does not fit the model.
        """
        target = poison_target_gradient(self.model, goal)

        def loss(images: Float[Tensor, "n *d"]) -> Float[Tensor, " n"]:
            seen = self._augmented(images)
            labels = goal.labels(len(seen))
            with preserved(self.model):
                wrong = F.cross_entropy(self.model(seen), labels, reduction="none")
            gradients = poison_gradients(self.model, seen, labels)
            if self.matching:
                return self.matching * gradient_mismatch(gradients, target) + self.labelling * wrong
            return 1 / (gradients.square().sum(1) + FLOOR).sqrt() + self.labelling * wrong

        return loss

    def generate_bases(
        self,
        goal: PoisonGoal,
        n: int,
        *,
        batch_size: int = 64,
        generator: torch.Generator | None = None,
        progress: bool = False,
    ) -> Float[Tensor, "n *d"]:
        """Return n base images in [0, 1] for a goal.

        Args:
            goal: What the poisons are for; its images give the shape.
            n: How many.
            batch_size: Images that are worked on at once; memory is O(batch_size * p).
            generator: Source of the sampler's noise; a fixed seed by default.
            progress: Draw a bar on standard error.

        Raises:
            InvalidInputError: The goal does not fit the model, or `n` is below one.
            NumericalError: A base came out NaN or infinite.
        """
        return self.sampler.sample(
            (n, *goal.x.shape[1:]),
            guidance=self.guidance(goal),
            generator=generator,
            batch_size=batch_size,
            progress=progress,
        )

    def craft(
        self,
        attack: PoisonAttack,
        bases: Float[Tensor, "n *d"],
        goal: PoisonGoal,
        *,
        keep: int | None = None,
        progress: bool = False,
    ) -> PoisonSet:
        """Return poisons made of bases, synthesised or real, the best first; memory is O(n p).

        Args:
            attack: Any poisoning attack.
            bases: Images of the goal's label.
            goal: What the poisons are for.
            keep: How many of the best to keep; all by default. The paper's code crafts more than it keeps.
            progress: Draw a bar on standard error.

        Raises:
            InvalidInputError: The bases or the goal do not fit the model, or there are fewer than `keep`.
        """
        if keep is not None and not 1 <= keep <= len(bases):
            raise InvalidInputError(f"keep must be within 1..{len(bases)}, the number of bases, got {keep}")
        poisons = attack(self.model, bases, goal, progress=progress)
        labels = goal.labels(len(poisons))
        target = poison_target_gradient(self.model, goal)
        scores = gradient_mismatch(poison_gradients(self.model, self._augmented(poisons), labels), target).detach()
        best = scores.argsort(stable=True)[:keep]
        return PoisonSet(poisons[best], labels[best], scores[best])

    def _augmented(self, images: Tensor) -> Tensor:
        return images if self.augment is None else self.augment(images)
