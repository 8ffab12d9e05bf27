"""Base images of poisons from guided diffusion (Souri et al., 2024)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from assay.core import InvalidInputError, check_samples, cross_entropy, parameter_gradients, preserved
from assay.nets.diffusion import GuidedDDIMSampler
from assay.privacy.poisoning.base import PoisonAttack, PoisonGoal
from assay.privacy.poisoning.witches_brew import gradient_mismatch, poison_target_gradient

_FLOOR = 1e-10
"""Added to squared norms: the square root has no slope at zero."""


@dataclass(frozen=True, eq=False)
class PoisonSet:
    """Hold poisons, the best first.

    Attributes:
        x: Images.
        y: Their labels, the goal's label.
        scores: `gradient_alignment_loss` of each poison by itself, lower is better; None where it was not computed.

    Raises:
        InvalidInputError: Images, labels and scores differ in number, or an image is not finite.
    """

    x: Float[Tensor, "n *d"]
    y: Int[Tensor, " _"]  # lengths are compared below, so that users read a sentence
    scores: Float[Tensor, " _"] | None = None

    def __post_init__(self) -> None:
        check_samples(self.x, "the poisons' x")
        for name, value in (("labels", self.y), ("scores", self.scores)):
            if value is not None and value.shape != self.x.shape[:1]:
                raise InvalidInputError(
                    f"{name} of shape {tuple(value.shape)} for {len(self.x)} poisons; give one for each"
                )


@dataclass(frozen=True, eq=False)
class GuidedDiffusionPoisoner:
    r"""Synthesise base images that suit a poisoning attack and look like their label.

    A guided diffusion sampler lowers for each base x the loss

    $$w_m\Bigl(1 - \frac{\langle g(x), g_t\rangle}{\lVert g(x)\rVert\lVert g_t\rVert}\Bigr)
    + w_c\,\mathrm{CE}(f(x), y_p),\qquad g(x) = \nabla_\theta\,\mathrm{CE}(f(x), y_p),$$

    whose first term is the objective of gradient matching, and whose second keeps the label clean. Any attack then
    starts from these bases instead of real images.

    Args:
        model: Surrogate of the victims, a classifier of images in [0, 1] (with any normalisation inside) trained on
            clean data; it comes back as it was.
        sampler: Sampler of the diffusion model.
        matching: $w_m$. Paper's code: 0.5. With zero, the first term is $1 / \lVert g(x)\rVert$, an alternative of the
            released code that asks for large gradients, whatever the target.
        labelling: $w_c$. Paper's code: 10.
        augment: The victims' data augmentation, a differentiable function of a batch; None for none.

    Raises:
        InvalidInputError: A weight is negative.

    Deviations from the released code: bases are sampled in batches, each with a loss of its own; with `augment` both
    terms see the augmented base, where there the second one sees the base itself.

    Source: Souri, Bansal, Kazemi, Fowl, Saha, Geiping, Wilson, Chellappa, Goldstein, Goldblum, "Generating Potent
    Poisons and Backdoors from Scratch with Guided Diffusion" (2024), arXiv 2403.16365, main text; the equation above is
    that of its released code.

    >>> from assay.nets.diffusion import linear_noise_schedule
    >>> from assay.privacy import WitchesBrew
    >>> sampler = GuidedDDIMSampler(lambda x, t: x, linear_noise_schedule(5, 0.01, 0.5), recurrence=1)
    >>> poisoner = GuidedDiffusionPoisoner(nn.Linear(4, 3), sampler)
    >>> goal = PoisonGoal(torch.ones(1, 4), label=2)
    >>> bases = poisoner.generate_bases(goal, 6)
    >>> poisons = poisoner.craft(WitchesBrew(n_iter=2), bases, goal, keep=3)
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
                f"matching and labelling are weights of a loss, at least 0; got {self.matching} and {self.labelling}"
            )

    def guidance(self, goal: PoisonGoal) -> Callable[[Tensor], Tensor]:
        """Return the guidance loss, a differentiable function of images with one value for each.

        Raises:
            InvalidInputError: The goal does not fit the model, or its images are not within [0, 1], the range of the
                sampler's images.
        """
        low, high = float(goal.x.min()), float(goal.x.max())
        if low < 0 or high > 1:
            raise InvalidInputError(
                f"the goal's images span [{low:g}, {high:g}], but bases are sampled in [0, 1]; rescale them, and put "
                "the change of scale inside the model"
            )
        target = poison_target_gradient(self.model, goal)

        def loss(images: Float[Tensor, "n *d"]) -> Float[Tensor, " n"]:
            seen = self._augmented(images)
            labels = goal.labels(len(seen))
            with preserved(self.model):
                wrong = F.cross_entropy(self.model(seen), labels, reduction="none")
            gradients = parameter_gradients(self.model, seen, labels, cross_entropy)
            if self.matching:
                return self.matching * gradient_mismatch(gradients, target) + self.labelling * wrong
            return 1 / (gradients.square().sum(1) + _FLOOR).sqrt() + self.labelling * wrong

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
            goal: Goal of the attack; its images give the shape.
            n: Number of bases.
            batch_size: Images sampled at once; memory is O(batch_size * p).
            generator: Source of the sampler's noise; a fixed seed by default.
            progress: Draw a bar on standard error.

        Raises:
            InvalidInputError: The goal does not fit the model or the sampler, its images are not within [0, 1], or `n`
                is below one.
            NumericalError: A base came out NaN or infinite.
        """
        kind = self.sampler.schedule.dtype
        if goal.x.dtype != kind:
            raise InvalidInputError(
                f"bases are sampled in {kind}, the type of alphas_cumprod, but the goal's images, which the model "
                f"takes, are {goal.x.dtype}; bring schedule, goal and model to one type"
            )
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
        """Return the poisons that an attack crafts from bases, synthesised or real, the best first.

        Cost: time of the attack, memory O(n p) for the scores.

        Args:
            attack: Any poisoning attack.
            bases: Images of the goal's label.
            goal: Goal of the attack.
            keep: Number of the best to keep; all by default. The paper's code crafts more than it keeps.
            progress: Draw a bar on standard error.

        Raises:
            InvalidInputError: The bases or the goal do not fit the model, or there are fewer than `keep`.
        """
        if keep is not None and not 1 <= keep <= len(bases):
            raise InvalidInputError(f"keep must be within 1..{len(bases)}, the number of bases, got {keep}")
        poisons = attack(self.model, bases, goal, progress=progress)
        labels = goal.labels(len(poisons))
        target = poison_target_gradient(self.model, goal)
        gradients = parameter_gradients(self.model, self._augmented(poisons), labels, cross_entropy)
        scores = gradient_mismatch(gradients, target).detach()
        best = scores.argsort(stable=True)[:keep]
        return PoisonSet(poisons[best], labels[best], scores[best])

    def _augmented(self, images: Tensor) -> Tensor:
        return images if self.augment is None else self.augment(images)
