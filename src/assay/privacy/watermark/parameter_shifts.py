"""Watermark removal by shifts of all parameters: a random direction, or gradient ascent on the triggers' loss."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from assay.core import (
    InvalidInputError,
    assign_parameters,
    check_count,
    check_positive,
    check_scores,
    copy_network,
    flatten,
    named_parameters,
    project_parameters,
)
from assay.privacy.watermark.removal import RemovalAttack, RemovalTask
from assay.privacy.watermark.smoothing import noisy_gradient


@dataclass(frozen=True)
class RandomShift(RemovalAttack):
    """Shift all parameters by exactly the budget in one random direction; needs a budget.

    Not among the attacks of Bansal et al. (2022).

    >>> from assay.nets import mlp
    >>> from assay.privacy import TriggerSet
    >>> triggers, x, y = TriggerSet(torch.rand(3, 4), label=1), torch.eye(4), torch.tensor([0, 1, 2, 0])
    >>> report = RandomShift(2.0).run(mlp((4, 8, 3)), x, y, triggers=triggers, test=(x, y), sigma=0.1)
    >>> round(report.end.distance, 4)
    2.0
    """

    def stages(self, model: nn.Module, task: RemovalTask) -> Iterator[None]:
        """Shift once.

        Raises:
            InvalidInputError: There is no budget.
        """
        _shift(model, _random_direction(model, task.generator), _required(self.budget))
        yield


@dataclass(frozen=True)
class TriggerAscent(RemovalAttack):
    r"""Maximise the triggers' cross-entropy within the budget by projected gradient ascent; needs a budget.

    Not among the attacks of Bansal et al. (2022). With the gradient averaged over the verification's noise, it attacks
    the accuracy that a certificate bounds.

    Cost: time O(n_iter n_noise) gradients over the triggers, memory O(n_noise p).

    Args:
        budget: Largest distance of the parameters.
        sigma: Standard deviation of the parameter noise that the gradient is averaged over; zero for none.
        n_noise: Draws of the noise per iteration.
        n_iter: Iterations, each a step of length 2.5 budget / n_iter, so that any point of the ball can be reached.

    Raises:
        InvalidInputError: `sigma` is negative, or a count is below one.

    >>> from assay.nets import mlp
    >>> from assay.privacy import TriggerSet
    >>> triggers, x, y = TriggerSet(torch.rand(3, 4), label=1), torch.eye(4), torch.tensor([0, 1, 2, 0])
    >>> report = TriggerAscent(2.0).run(mlp((4, 8, 3)), x, y, triggers=triggers, test=(x, y), sigma=0.1)
    >>> report.end.trigger_accuracy
    0.0
    """

    sigma: float = 0.0
    n_noise: int = 20
    n_iter: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sigma != 0:
            check_positive(self.sigma, "sigma")
        check_count(self.n_noise, "n_noise")
        check_count(self.n_iter, "n_iter")

    def stages(self, model: nn.Module, task: RemovalTask) -> Iterator[None]:
        """Ascend, in a single stage.

        Raises:
            InvalidInputError: There is no budget, or the model returns probabilities.
        """
        check_scores(model, task.triggers.x)
        centre, budget, source = copy_network(model), _required(self.budget), task.generator
        n_noise = self.n_noise if self.sigma else 1
        for _ in range(self.n_iter):
            gradient = noisy_gradient(model, task.triggers, sigma=self.sigma, n=n_noise, batch_size=100, source=source)
            if not gradient.any():  # a loss that underflowed has no direction
                gradient = _random_direction(model, source)
            _shift(model, gradient, 2.5 * budget / self.n_iter)
            project_parameters(model, centre, budget)
        yield


def _required(budget: float | None) -> float:
    if budget is None:
        raise InvalidInputError("this attack uses its whole budget: give one, as budget=1.0")
    return budget


def _random_direction(model: nn.Module, source: torch.Generator) -> Float[Tensor, " p"]:
    like = flatten(named_parameters(model))
    return torch.randn(like.shape, generator=source, device=source.device).to(like)


def _shift(model: nn.Module, direction: Float[Tensor, " p"], length: float) -> None:
    assign_parameters(model, flatten(named_parameters(model)) + direction * (length / direction.norm()))
