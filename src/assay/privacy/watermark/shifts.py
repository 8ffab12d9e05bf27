"""Attacks that move all parameters of a watermarked network at once: at random, or up the triggers' loss."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from assay.core import InvalidInputError, assign_parameters, flatten, named_parameters, project_parameters
from assay.privacy.watermark.removal import RemovalAttack
from assay.privacy.watermark.smoothing import smoothed_trigger_gradient
from assay.privacy.watermark.triggers import TriggerSet


@dataclass(frozen=True)
class RandomShift(RemovalAttack):
    """Move all parameters by exactly the budget, in one random direction; needs a budget.

    Not among the paper's attacks.

    >>> from assay.nets import mlp
    >>> triggers, x, y = TriggerSet(torch.rand(3, 4), label=1), torch.eye(4), torch.tensor([0, 1, 2, 0])
    >>> report = RandomShift(2.0).run(mlp((4, 8, 3)), x, y, triggers=triggers, test=(x, y), sigma=0.1)
    >>> round(report.end.distance, 4)
    2.0
    """

    def stages(
        self,
        model: nn.Module,
        x: Float[Tensor, "n *d"],
        y: Int[Tensor, " n"],
        *,
        triggers: TriggerSet,
        generator: torch.Generator,
    ) -> Iterator[None]:
        """Shift once.

        Raises:
            InvalidInputError: There is no budget.
        """
        _shift(model, _random_direction(model, generator), _required(self.budget))
        yield


@dataclass(frozen=True)
class TriggerAscent(RemovalAttack):
    r"""Climb the triggers' cross-entropy within the budget, by projected steps of fixed length; needs a budget.

    Not among the paper's attacks: with the gradient averaged over the verification's noise, it goes for the very value
    that a certificate bounds.

    Args:
        budget: Longest distance of the parameters.
        sigma: Standard deviation of the parameter noise that the gradient is averaged over; zero for none.
        n_noise: Draws a step.
        steps: Of length 2.5 budget / steps, so that any point of the ball can be reached.

    Raises:
        InvalidInputError: sigma is negative, or a count is below one.

    >>> from assay.nets import mlp
    >>> triggers, x, y = TriggerSet(torch.rand(3, 4), label=1), torch.eye(4), torch.tensor([0, 1, 2, 0])
    >>> report = TriggerAscent(2.0).run(mlp((4, 8, 3)), x, y, triggers=triggers, test=(x, y), sigma=0.1)
    >>> report.end.trigger_accuracy
    0.0
    """

    sigma: float = 0.0
    n_noise: int = 20
    steps: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sigma < 0 or min(self.n_noise, self.steps) < 1:
            raise InvalidInputError(
                "give no negative sigma, at least one draw and one step, got "
                f"{self.sigma}, {self.n_noise} and {self.steps}"
            )

    def stages(
        self,
        model: nn.Module,
        x: Float[Tensor, "n *d"],
        y: Int[Tensor, " n"],
        *,
        triggers: TriggerSet,
        generator: torch.Generator,
    ) -> Iterator[None]:
        """Take all steps.

        Raises:
            InvalidInputError: There is no budget.
        """
        centre, budget = deepcopy(model), _required(self.budget)
        n_noise = self.n_noise if self.sigma else 1
        for _ in range(self.steps):
            gradient = smoothed_trigger_gradient(model, triggers, sigma=self.sigma, n=n_noise, generator=generator)
            if not gradient.any():  # a loss that underflowed has no direction
                gradient = _random_direction(model, generator)
            _shift(model, gradient, 2.5 * budget / self.steps)
            project_parameters(model, centre, budget)
        yield


def _required(budget: float | None) -> float:
    if budget is None:
        raise InvalidInputError("this attack goes to the end of its budget: give one, as budget=1.0")
    return budget


def _random_direction(model: nn.Module, source: torch.Generator) -> Float[Tensor, " p"]:
    like = flatten(named_parameters(model))
    return torch.randn(like.shape, generator=source, device=source.device).to(like)


def _shift(model: nn.Module, direction: Float[Tensor, " p"], length: float) -> None:
    assign_parameters(model, flatten(named_parameters(model)) + direction * (length / direction.norm()))
