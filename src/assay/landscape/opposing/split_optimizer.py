"""SGD with signed steps for large gradient entries (reconstruction of an idea of Rosenfeld and Risteski, 2024)."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from assay.core import InvalidInputError


class SplitSGD(Optimizer):
    r"""Take dampened momentum steps, and signed steps of fixed size where a gradient entry is large.

    With $m \leftarrow \mu m + (1 - \tau) g$, an entry whose $|g_j|$ exceeds the q-quantile of $|g|$ over its tensor
    moves by $-\eta_s\,\mathrm{sign}(m_j)$, and any other by $-\eta\, m_j$. A tensor with one entry has no large ones.

    This is a reconstruction from memory of the optimiser with which the paper imitates Adam, not the authors'
    algorithm: the quantile is taken within each tensor and at each step, without a running average.

    Args:
        params: Parameters, or parameter groups.
        lr: Learning rate $\eta$.
        signed_lr: Size $\eta_s$ of a signed step; a hundredth of the learning rate by default.
        threshold: Quantile q above which an entry counts as large.
        momentum: $\mu$.
        dampening: $\tau$; equal to the momentum, it makes $m$ an average of gradients.

    Raises:
        InvalidInputError: An option is out of range.

    Cost: time and memory O(p) a step, with a sort of each tensor.

    Source: Rosenfeld and Risteski, "Outliers with Opposing Signals Have an Outsized Effect on Neural Network
    Optimization" (2024), arXiv 2311.04163, section on Adam and SGD; reconstructed from memory.

    >>> weight = nn.Parameter(torch.tensor([0.0, 0.0, 0.0]))
    >>> optimizer = SplitSGD([weight], lr=1.0, signed_lr=0.1, threshold=0.6, momentum=0.0, dampening=0.0)
    >>> (weight @ torch.tensor([0.5, 0.25, 100.0])).backward()
    >>> optimizer.step()
    >>> [round(value, 4) for value in weight.tolist()]
    [-0.5, -0.25, -0.1]
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float,
        *,
        signed_lr: float | None = None,
        threshold: float = 0.9,
        momentum: float = 0.9,
        dampening: float = 0.9,
    ) -> None:
        if not lr > 0 or (signed_lr is not None and not signed_lr >= 0):
            raise InvalidInputError(f"the learning rate must be positive, got lr={lr!r}, signed_lr={signed_lr!r}")
        for name, value in (("threshold", threshold), ("momentum", momentum), ("dampening", dampening)):
            if not 0 <= value < 1:
                raise InvalidInputError(f"{name} must lie in [0, 1), got {value!r}")
        options = {"signed_lr": signed_lr, "threshold": threshold, "momentum": momentum, "dampening": dampening}
        super().__init__(params, {"lr": lr, **options})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step, and return the loss of the closure if one is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)
        return loss

    def _move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        average = state.setdefault("average", torch.zeros_like(parameter))
        average.mul_(group["momentum"]).add_(gradient, alpha=1 - group["dampening"])
        size = gradient.abs().flatten()
        rank = max(1, int(group["threshold"] * (size.numel() - 1)) + 1)  # torch.quantile takes at most 16 million
        large = gradient.abs() > size.kthvalue(rank).values
        signed = group["lr"] / 100 if group["signed_lr"] is None else group["signed_lr"]
        parameter.sub_(torch.where(large, signed * average.sign(), group["lr"] * average))
