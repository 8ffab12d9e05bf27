"""RM3 and M3: gradient descent along the median of three mini-batch gradients (Chatterjee and Zielinski, 2022)."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from assay.core import InvalidInputError


class RM3(Optimizer):
    r"""Descend along the median, in each coordinate, of the last three mini-batch gradients.

    $w \leftarrow w - \eta\, \mathrm{median}(g_{t-2}, g_{t-1}, g_t)$. A direction that only one batch backs is left out.
    The first two steps only collect gradients. Weight decay is added to a gradient before the median.

    Args:
        params: Parameters or groups.
        lr: Learning rate.
        weight_decay: Added to the gradient is this times the parameter.

    Raises:
        InvalidInputError: A number is negative.

    Cost: memory of three gradients; the median of three is their sum less the smallest and the largest.

    Source: Chatterjee and Zielinski, On the Generalization Mystery in Deep Learning (2022), arXiv 2203.10036, the
    section on suppressing weak gradient directions. Deviation from its published code: no copies of the first gradient.

    >>> weight = torch.nn.Parameter(torch.zeros(1))
    >>> optimizer = RM3([weight], lr=1.0)
    >>> for slope in (1.0, 9.0, 2.0):
    ...     weight.grad = torch.tensor([slope])
    ...     _ = optimizer.step()
    >>> weight.item()
    -2.0
    """

    _keeps = 2
    """Gradients that stay after a step."""

    def __init__(self, params: ParamsT, lr: float, *, weight_decay: float = 0.0) -> None:
        check_rates(lr, weight_decay)
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Store the gradients, and step where three are stored.

        Args:
            closure: Evaluates the loss again and returns it.

        Returns:
            The loss of the closure.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._step_one(weight, weight.grad, group["lr"], group["weight_decay"])
        return loss

    def _step_one(self, weight: Tensor, gradient: Tensor, lr: float, weight_decay: float) -> None:
        state = self.state[weight]
        stored = [*state.get("gradients", []), gradient + weight_decay * weight]
        if len(stored) == 3:
            weight.sub_(median_of_three(*stored), alpha=lr)
            stored = stored[3 - self._keeps :] if self._keeps else []
        state["gradients"] = stored


class M3(RM3):
    r"""Descend along the median, in each coordinate, of three mini-batch gradients, once every three batches.

    $w \leftarrow w - \eta\, \mathrm{median}(g_{3t-2}, g_{3t-1}, g_{3t})$: as `RM3`, on triples without a common batch,
    with a third of the steps. All three gradients are taken at the same weights.

    Args:
        params: Parameters or groups.
        lr: Learning rate.
        weight_decay: Added to the gradient is this times the parameter.

    Raises:
        InvalidInputError: A number is negative.

    Cost: memory of three gradients.

    Source: Chatterjee and Zielinski, On the Generalization Mystery in Deep Learning (2022), arXiv 2203.10036, the
    section on suppressing weak gradient directions.

    >>> weight = torch.nn.Parameter(torch.zeros(1))
    >>> optimizer = M3([weight], lr=1.0)
    >>> for slope in (1.0, 9.0, 2.0, 5.0):
    ...     weight.grad = torch.tensor([slope])
    ...     _ = optimizer.step()
    >>> weight.item()
    -2.0
    """

    _keeps = 0


def median_of_three(a: Float[Tensor, "*d"], b: Float[Tensor, "*d"], c: Float[Tensor, "*d"]) -> Float[Tensor, "*d"]:
    """Return the median in each coordinate: no sort, and no rounding of a sum.

    >>> median_of_three(torch.tensor([1.0]), torch.tensor([9.0]), torch.tensor([2.0])).tolist()
    [2.0]
    """
    low, high = torch.minimum(a, b), torch.maximum(a, b)
    return torch.maximum(low, torch.minimum(high, c))


def check_rates(lr: float, weight_decay: float) -> None:
    """Require a learning rate and a weight decay that are not negative.

    Raises:
        InvalidInputError: One is.

    >>> check_rates(0.1, 0.0)
    """
    if not lr >= 0:
        raise InvalidInputError(f"the learning rate lr must not be negative, got {lr}")
    if not weight_decay >= 0:
        raise InvalidInputError(f"weight_decay must not be negative, got {weight_decay}")
