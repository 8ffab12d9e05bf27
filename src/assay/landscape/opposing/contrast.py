"""Contrast of two groups of samples: gradients, loss changes and the direction of largest curvature."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from assay.core import LossFunction, parameter_gradients


@dataclass(frozen=True, eq=False)
class Contrast:
    r"""Two groups of samples, and how far they pull the network in opposite directions.

    Where a group is empty, the figures of the two are zero.

    Attributes:
        rising: Samples of group A, which are to rise in loss.
        falling: Samples of group B, which are to fall.
        rise: Mean loss change of group A.
        fall: Mean loss change of group B.
        outsize: Mean $|D_i|$ over both groups, relative to that over all samples.
        gradient_cosine: $\cos(g_A, g_B)$ of the mean loss gradients.
        opposition: $\sqrt{\max(0, -g_A^\top g_B)}$: large where both groups have large, coherent, opposed gradients.
        alignment: $|\cos(g_A - g_B, v)|$ with the top eigenvector $v$ of the Hessian.
    """

    rising: Int64[Tensor, " a"]
    falling: Int64[Tensor, " b"]
    rise: float
    fall: float
    outsize: float
    gradient_cosine: float
    opposition: float
    alignment: float

    @property
    def samples(self) -> Int64[Tensor, " m"]:
        """Samples of both groups, those of A first."""
        return torch.cat([self.rising, self.falling])


Compare = Callable[[Tensor, Tensor], Contrast]


def contrasts(
    change: Float[Tensor, " n"], mean_gradient: Callable[[Tensor], Tensor], eigenvector: Float[Tensor, " p"]
) -> Compare:
    """Return the function that contrasts two groups of samples, given by their indices.

    Args:
        change: Loss change of each sample.
        mean_gradient: Returns the mean gradient of some samples.
        eigenvector: Direction of largest curvature.
    """
    typical = change.abs().mean()

    def contrast(rising: Tensor, falling: Tensor) -> Contrast:
        both = torch.cat([rising, falling])
        rise, fall = (change[group].mean().item() if len(group) else 0.0 for group in (rising, falling))
        outsize = (change[both].abs().mean() / typical).item() if len(both) and typical > 0 else 0.0
        if not len(rising) or not len(falling):
            return Contrast(rising, falling, rise, fall, outsize, 0.0, 0.0, 0.0)
        first, second = mean_gradient(rising), mean_gradient(falling)
        cosine = cosine_similarity(first, second, dim=0).item()
        opposition = max(0.0, -(first @ second).item()) ** 0.5
        aligned = cosine_similarity(first - second, eigenvector, dim=0).abs().item()
        return Contrast(rising, falling, rise, fall, outsize, cosine, opposition, aligned)

    return contrast


def mean_gradient_of(
    model: nn.Module, x: Tensor, y: Tensor, loss: LossFunction, *, params: Literal["trainable", "all"], batch_size: int
) -> Callable[[Tensor], Float[Tensor, " p"]]:
    """Return the function that computes the mean loss gradient of some samples, given by their indices."""

    def mean_gradient(index: Tensor) -> Tensor:
        total = torch.zeros(())
        for part in index.split(batch_size):
            slope = parameter_gradients(model, x[part], y[part], loss, params=params, per_sample=False)
            wide = torch.promote_types(slope.dtype, torch.float32)  # half precision is too coarse for sums
            total = total.to(slope.device, wide) + len(part) / len(index) * slope.to(wide)
        return total

    return mean_gradient
