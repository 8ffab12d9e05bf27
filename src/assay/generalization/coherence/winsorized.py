"""Winsorized SGD: mean gradients after clipping each coordinate over the samples (Chatterjee and Zielinski, 2022)."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from assay.core import InvalidInputError, check_samples
from assay.generalization.coherence.medians import check_rates

_FEW = 8  # ranks below which running maxima are faster than a selection


class WinsorizedSGD(Optimizer):
    r"""Descend along the winsorized mean of per-sample gradients.

    In each coordinate the b values are clipped to their c-th smallest and c-th largest but one, with $c =
    \mathrm{round}(\frac{p}{100} (b - 1))$ for the percentile p, and averaged: a direction that at most c samples back
    moves nothing. With p = 0 it is SGD, with p = 50 nearly the median.

    `step` takes the matrix that `core.per_sample_gradients` and `core.parameter_gradients` return, so the parameters
    must be `model.parameters()` in that order, without frozen ones. Rows may be gradients of micro-batches instead.

    Args:
        params: Parameters or groups.
        lr: Learning rate.
        percentile: Share of the samples, in percent, that is clipped on each side.
        weight_decay: Added to the mean is this times the parameter.

    Raises:
        InvalidInputError: A number is negative, or `percentile` above 50.

    Cost: O(b c) for each parameter, for large c a selection of c + 1 among b values at both ends; memory of the
    gradients, and of two copies of those of the largest parameter tensor.

    Source: Chatterjee and Zielinski, On the Generalization Mystery in Deep Learning (2022), arXiv 2203.10036, the
    section on suppressing weak gradient directions, with the "nearest" percentile of the published code.

    >>> weight = torch.nn.Parameter(torch.zeros(1))
    >>> optimizer = WinsorizedSGD([weight], lr=1.0, percentile=25)
    >>> optimizer.step(torch.tensor([[1.0], [2.0], [3.0], [4.0], [90.0]]))
    >>> weight.item()
    -3.0
    """

    def __init__(self, params: ParamsT, lr: float, percentile: float = 10.0, *, weight_decay: float = 0.0) -> None:
        check_rates(lr, weight_decay)
        if not 0 <= percentile <= 50:
            raise InvalidInputError(f"percentile must lie between 0 and 50, since both sides are clipped: {percentile}")
        super().__init__(params, {"lr": lr, "percentile": percentile, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, gradients: Float[Tensor, "b p"]) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Step along the winsorized mean.

        Args:
            gradients: Gradient of each sample over all parameters, in the order in which they were given.

        Raises:
            InvalidInputError: It has not one column for each parameter, or is not finite.
        """
        gradients = check_samples(gradients, "gradients")
        weights = [(weight, group) for group in self.param_groups for weight in group["params"]]
        sizes = [weight.numel() for weight, _ in weights]
        if gradients.ndim != 2 or gradients.shape[1] != sum(sizes):
            raise InvalidInputError(
                f"gradients must have one row a sample and a column for each of {sum(sizes)} parameters, got shape "
                f"{tuple(gradients.shape)}; pass core.per_sample_gradients(...) of all trainable parameters"
            )
        for (weight, group), columns in zip(weights, gradients.split(sizes, 1), strict=True):
            mean = winsorized_mean(columns, group["percentile"]).view_as(weight).to(weight)
            weight.sub_(mean + group["weight_decay"] * weight, alpha=group["lr"])


def winsorized_mean(values: Float[Tensor, "b k"], percentile: float) -> Float[Tensor, " k"]:
    """Return the mean of each column after clipping it to its percentiles from both ends, by the nearest value.

    >>> winsorized_mean(torch.tensor([[0.0], [1.0], [3.0], [5.0], [100.0]]), 25).tolist()
    [3.0]
    """
    clipped = min(round(percentile / 100 * (len(values) - 1)), (len(values) - 1) // 2)
    if clipped == 0:
        return values.mean(0)
    return values.clamp(-_largest(-values, clipped + 1), _largest(values, clipped + 1)).mean(0)


def _largest(values: Tensor, rank: int) -> Tensor:
    """Return the value of a rank in each column; for the first few ranks faster than `torch.topk` along this axis."""
    if rank > _FEW:
        return values.topk(rank, 0).values[-1]
    found: list[Tensor] = []
    for row in values:
        rest = row
        for place, kept in enumerate(found):
            found[place], rest = torch.maximum(kept, rest), torch.minimum(kept, rest)
        if len(found) < rank:
            found.append(rest)
    return found[-1]
