"""Attacks that make a watermarked network smaller: pruning and quantisation."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from assay.core import InvalidInputError, check_fraction
from assay.privacy.watermark.removal import RemovalAttack
from assay.privacy.watermark.triggers import TriggerSet


@dataclass(frozen=True)
class Pruning(RemovalAttack):
    """Set the smallest weights of all layers together to zero; biases and other vectors stay.

    Not among the paper's attacks.

    Args:
        budget: Longest distance of the parameters; weights go as far towards zero as it allows.
        share: Of the weights, in (0, 1).

    Raises:
        InvalidInputError: The share is no fraction.

    >>> from assay.nets import mlp
    >>> triggers, x, y = TriggerSet(torch.rand(3, 4), label=1), torch.eye(4), torch.tensor([0, 1, 2, 0])
    >>> report = Pruning(share=0.25).run(mlp((4, 8, 3)), x, y, triggers=triggers, test=(x, y), sigma=0.1)
    >>> sum((weight == 0).sum().item() for weight in report.model.parameters()), 32 + 24
    (14, 56)
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction(self.share, "share")

    def stages(
        self,
        model: nn.Module,
        x: Float[Tensor, "n *d"],
        y: Int[Tensor, " n"],
        *,
        triggers: TriggerSet,
        generator: torch.Generator,
    ) -> Iterator[None]:
        """Prune once."""
        weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
        sizes = torch.cat([weight.detach().abs().flatten() for weight in weights])
        threshold = sizes.sort().values[int(self.share * len(sizes))]
        with torch.no_grad():
            for weight in weights:
                weight.mul_(weight.abs() >= threshold)
        yield


@dataclass(frozen=True)
class Quantisation(RemovalAttack):
    """Round every parameter tensor to an even grid of its own, symmetric about zero.

    Not among the paper's attacks.

    Args:
        budget: Longest distance of the parameters; they go as far towards the grid as it allows.
        bits: Of the grid, at least two: it has 2^(bits - 1) - 1 steps up to the tensor's largest magnitude.

    Raises:
        InvalidInputError: Fewer than two bits.

    >>> from assay.nets import mlp
    >>> triggers, x, y = TriggerSet(torch.rand(3, 4), label=1), torch.eye(4), torch.tensor([0, 1, 2, 0])
    >>> report = Quantisation(bits=3).run(mlp((4, 8, 3)), x, y, triggers=triggers, test=(x, y), sigma=0.1)
    >>> len(report.model[0].weight.unique())
    7
    """

    bits: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bits < 2:
            raise InvalidInputError(f"bits must be at least 2, got {self.bits}")

    def stages(
        self,
        model: nn.Module,
        x: Float[Tensor, "n *d"],
        y: Int[Tensor, " n"],
        *,
        triggers: TriggerSet,
        generator: torch.Generator,
    ) -> Iterator[None]:
        """Round once."""
        with torch.no_grad():
            for parameter in model.parameters():
                step = parameter.abs().max() / (2 ** (self.bits - 1) - 1)
                parameter.copy_(torch.where(step > 0, (parameter / step).round() * step, parameter))
        yield
