"""AdamW whose weight decay does not depend on the learning rate (Wortsman et al., 2023)."""

from typing import Any

from torch.optim import AdamW
from torch.optim.optimizer import ParamsT

from assay.core import InvalidInputError


class IndependentAdamW(AdamW):
    r"""Step by $\theta \leftarrow \theta - s_t\,(\eta\,\Delta_t + \lambda\,\theta)$.

    $\Delta_t = \hat m_t / (\sqrt{\hat v_t} + \epsilon)$ is Adam's update, $\eta$ the learning rate that the optimiser
    is built with, and $s_t = \eta_t / \eta$ the schedule, from the rate $\eta_t$ that a scheduler has set. PyTorch's
    AdamW decays by $\eta_t \lambda'$ instead, so that a sweep of $\eta$ also sweeps the decay; the two agree for
    $\lambda' = \lambda / \eta$, which is what the groups hold under "weight_decay".

    Cost: as `torch.optim.AdamW`.

    Args:
        params: Parameters or groups; a group may have its own "lr" and "weight_decay", which is $\lambda$.
        lr: Learning rate $\eta$ at the top of the schedule.
        betas: Decay rates of the two moments; (0.9, 0.95) as in the paper.
        eps: Added to the root of the second moment.
        weight_decay: $\lambda$; 1e-4 as in the paper.
        foreach: As in `torch.optim.AdamW`.

    Raises:
        InvalidInputError: A group's learning rate is zero: its schedule is then unknown.
        ValueError: PyTorch refuses an option.

    Source: Wortsman et al., "Small-scale proxies for large-scale Transformer training instabilities" (2023), main text,
    the section on weight decay. Deviation: the paper prints the decay with the opposite sign, under which weights
    would grow.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.ones(1))
    >>> weight.grad = torch.zeros(1)
    >>> IndependentAdamW([weight], lr=3e-4, weight_decay=0.5).step()
    >>> weight.item()
    0.5
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 1e-4,
        foreach: bool | None = None,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, foreach=foreach)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        r"""Add a group, whose "weight_decay" is $\lambda$.

        Raises:
            InvalidInputError: Its learning rate is zero.
        """
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        if float(group["lr"]) == 0:
            raise InvalidInputError(
                "a group has the learning rate 0; give the rate at the top of the schedule, and let a scheduler lower "
                "it, or leave parameters that are not trained out"
            )
        group["weight_decay"] /= float(group["lr"])
