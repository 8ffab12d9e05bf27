"""Base class of clean-label data poisoning attacks: their goal, and signed Adam within a budget for each image."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.optim.lr_scheduler import MultiStepLR

from assay.core import (
    InvalidInputError,
    check_count,
    check_finite,
    check_labels,
    check_positive,
    check_samples,
    check_scores,
    plain_attention,
    preserved,
    track,
)


@dataclass(frozen=True, eq=False)
class PoisonGoal:
    """Hold the goal of an attack: images and the class that a victim of the poisons assigns to them.

    Attributes:
        x: Images to be misclassified: one target, or source images with a trigger (`add_trigger`).
        label: The class wanted for them. Poisons carry this label, and look like this class.

    Raises:
        InvalidInputError: The images are empty or not finite, or the label is no whole number.
    """

    x: Float[Tensor, "_ *d"]
    label: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", check_samples(self.x, "the goal's x"))
        check_count(self.label, "the goal's label", at_least=0)

    def labels(self, n: int) -> Int64[Tensor, " n"]:
        """Return `label` n times, on the device of the images."""
        return torch.full((n,), int(self.label), device=self.x.device)

    def check(self, model: nn.Module) -> None:
        """Require a classifier that takes the images and has the label's class.

        Raises:
            InvalidInputError: The images or the label do not fit, or the model returns probabilities or mixes samples.
        """
        check_labels(self.labels(1), check_scores(model, self.x).shape[1], "the goal's label")


def add_trigger(x: Float[Tensor, "n ch h w"], patch: Float[Tensor, "ch ph pw"]) -> Float[Tensor, "n ch h w"]:
    """Return the images with a patch in their lower right corner, the trigger of a backdoor.

    Raises:
        InvalidInputError: The patch does not fit the images.

    >>> add_trigger(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 1)).tolist()
    [[[[0.0, 0.0], [0.0, 1.0]]]]
    """
    channels, height, width = patch.shape
    if channels != x.shape[1] or height > x.shape[2] or width > x.shape[3] or not patch.numel():
        raise InvalidInputError(f"a patch of {tuple(patch.shape)} does not fit images of {tuple(x.shape[1:])}")
    marked = x.clone()
    marked[:, :, -height:, -width:] = patch.to(x)
    return marked


@dataclass(frozen=True)
class PoisonAttack(ABC):
    r"""Perturb base images within a budget so that victims trained on them reach a goal.

    Subclasses give the objective, a function of all perturbations $\delta_i$ together,
    $\lVert\delta_i\rVert_\infty\le\epsilon$. It is minimised from zero by Adam on the gradient's sign, with the
    learning rate divided by ten after 3/8, 5/8 and 7/8 of the iterations.

    Args:
        eps: Radius of each image's budget, in the units of the inputs. Paper's code (Souri et al., 2024): 16/255.
        n_iter: Iterations of Adam. Paper's code: 250.
        lr: Learning rate of Adam. Paper's code: 0.1.
        input_range: Lowest and highest value of an input.
        augment: The victims' data augmentation, a differentiable function of a batch; None for none.

    Raises:
        InvalidInputError: `eps` or `lr` is not positive, or `n_iter` is below zero.
    """

    eps: float = 16 / 255
    n_iter: int = 250
    lr: float = 0.1
    input_range: tuple[float, float] = (0.0, 1.0)
    augment: Callable[[Tensor], Tensor] | None = None

    def __post_init__(self) -> None:
        check_positive(self.eps, "eps")
        check_positive(self.lr, "lr")
        check_count(self.n_iter, "n_iter", at_least=0)

    @abstractmethod
    def objective(self, model: nn.Module, goal: PoisonGoal) -> Callable[[Tensor], Tensor]:
        """Return the function of all poisons that is minimised; differentiable."""

    @final
    def __call__(
        self, model: nn.Module, bases: Float[Tensor, "n *d"], goal: PoisonGoal, *, progress: bool = False
    ) -> Float[Tensor, "n *d"]:
        """Return a poison for each base.

        Cost: time O(n_iter) second-order passes over all n, memory of one.

        Args:
            model: Surrogate of the victims, trained on clean data; it comes back as it was.
            bases: Images of the goal's label.
            goal: Goal of the attack.
            progress: Draw a bar on standard error.

        Raises:
            InvalidInputError: The bases or the goal do not fit the model, or a base is out of range; or the surrogate
                takes the goal's images for their label already and leaves gradient matching nothing to follow.
        """
        bases = check_samples(bases, "bases")
        goal.check(model)
        if bases.shape[1:] != goal.x.shape[1:]:
            raise InvalidInputError(
                f"bases have shape {tuple(bases.shape[1:])}, the goal's images {tuple(goal.x.shape[1:])}; bring both "
                "to one"
            )
        low, high = self.input_range
        if bases.min() < low or bases.max() > high:
            raise InvalidInputError(
                f"bases span [{float(bases.min()):g}, {float(bases.max()):g}], outside input_range {self.input_range}; "
                "state the range that holds"
            )
        with preserved(model), plain_attention():
            objective = self.objective(model, goal)
            poisons = bases.clone().requires_grad_()
            optimizer = torch.optim.Adam([poisons], self.lr)
            drops = [math.ceil(self.n_iter * eighths / 8) for eighths in (3, 5, 7)]
            schedule = MultiStepLR(optimizer, drops, gamma=0.1)
            for _ in track(range(self.n_iter), "crafting poisons", enabled=progress):
                seen = poisons if self.augment is None else self.augment(poisons)
                (gradient,) = torch.autograd.grad(objective(seen), poisons)
                poisons.grad = gradient.sign()
                optimizer.step()
                schedule.step()
                with torch.no_grad():
                    nearby = poisons.clamp(min=bases - self.eps, max=bases + self.eps)
                    poisons.copy_(nearby.clamp(low, high))
        check_finite(poisons, "a poison")
        return poisons.detach()
