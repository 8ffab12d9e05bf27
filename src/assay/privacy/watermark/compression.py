"""Watermark removal by compression: magnitude pruning and quantisation."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from assay.core import InvalidInputError, NumericalError, check_count, check_finite, check_fraction, predict
from assay.privacy.watermark.removal import RemovalAttack, RemovalTask, moved_parameters


@dataclass(frozen=True)
class Pruning(RemovalAttack):
    """Prune the weights of smallest magnitude over all layers together; biases and other vectors stay.

    Weights are the parameters as the network holds them: those that it normalises itself, as with `weight_norm`, have
    no direction left where all are pruned, and such a network is refused.

    Not among the attacks of Bansal et al. (2022).

    Args:
        budget: Largest distance of the parameters; weights move as far towards zero as it allows.
        share: Share of the weights that is pruned, in (0, 1).

    Raises:
        InvalidInputError: `share` is not within (0, 1).

    >>> from assay.nets import mlp
    >>> from assay.privacy import TriggerSet
    >>> triggers, x, y = TriggerSet(torch.rand(3, 4), label=1), torch.eye(4), torch.tensor([0, 1, 2, 0])
    >>> report = Pruning(share=0.25).run(mlp((4, 8, 3)), x, y, triggers=triggers, test=(x, y), sigma=0.1)
    >>> sum((weight == 0).sum().item() for weight in report.model.parameters()), 32 + 24
    (14, 56)
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction(self.share, "share")

    def stages(self, model: nn.Module, task: RemovalTask) -> Iterator[None]:
        """Prune once.

        Raises:
            InvalidInputError: The network has vectors only, or normalises weights that are all pruned.
        """
        weights = [parameter for parameter in moved_parameters(model) if parameter.ndim > 1]
        if not weights:
            raise InvalidInputError("the model has no weight matrix to prune; pruning leaves biases and vectors alone")
        sizes = torch.cat([weight.detach().abs().flatten() for weight in weights])
        threshold = sizes.sort().values[int(self.share * len(sizes))]
        with torch.no_grad():
            for weight in weights:
                weight.mul_(weight.abs().to(threshold) >= threshold)
        _check_scores_left(model, task)
        yield


@dataclass(frozen=True)
class Quantisation(RemovalAttack):
    """Round every parameter tensor to a uniform grid, symmetric about zero (post-training quantisation).

    Not among the attacks of Bansal et al. (2022).

    Args:
        budget: Largest distance of the parameters; they move as far towards the grid as it allows.
        bits: Bits of the grid, at least two: $2^{bits - 1} - 1$ steps up to the tensor's largest magnitude.

    Raises:
        InvalidInputError: `bits` is below two.

    >>> from assay.nets import mlp
    >>> from assay.privacy import TriggerSet
    >>> triggers, x, y = TriggerSet(torch.rand(3, 4), label=1), torch.eye(4), torch.tensor([0, 1, 2, 0])
    >>> report = Quantisation(bits=3).run(mlp((4, 8, 3)), x, y, triggers=triggers, test=(x, y), sigma=0.1)
    >>> len(report.model[0].weight.unique())
    7
    """

    bits: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count(self.bits, "bits", at_least=2)

    def stages(self, model: nn.Module, task: RemovalTask) -> Iterator[None]:
        """Round once.

        Raises:
            InvalidInputError: The network normalises weights that are all rounded to zero.
        """
        with torch.no_grad():
            for parameter in moved_parameters(model):
                step = parameter.abs().max() / (2 ** (self.bits - 1) - 1)
                parameter.copy_(torch.where(step > 0, (parameter / step).round() * step, parameter))
        _check_scores_left(model, task)
        yield


def _check_scores_left(model: nn.Module, task: RemovalTask) -> None:
    try:
        check_finite(predict(model, task.triggers.x), "a score")
    except NumericalError as error:
        raise InvalidInputError(
            "compression leaves the model with NaN or infinite scores, as where weight_norm divides by weights that "
            "became zero; fold such weights first, by torch.nn.utils.remove_weight_norm or "
            "torch.nn.utils.parametrize.remove_parametrizations"
        ) from error
