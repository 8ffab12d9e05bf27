"""Learning-rate schedule with linear warm-up and cosine decay (Wortsman et al., 2023)."""

import math

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from assay.core import InvalidInputError, check_count


class WarmupCosine(LRScheduler):
    r"""Raise the learning rate linearly for w steps, then lower it along a cosine to `min_lr` at step T.

    Step $t = 1, 2, \dots$ has $\eta\,t / w$ for $t \le w$, and
    $\eta_\min + (\eta - \eta_\min)\,(1 + \cos(\pi\,(t - w) / (T - w))) / 2$ from there; after T it stays.

    Args:
        optimizer: Its groups have their rates $\eta$ at the top.
        n_iter: Steps T in all.
        n_warmup: Steps w of the warm-up; 0 for none.
        min_lr: Rate $\eta_\min$ at the end; 1e-5 as in the paper.

    Raises:
        InvalidInputError: The warm-up is not shorter than the whole, or `min_lr` is negative or above a group's rate.

    Source: Wortsman et al., "Small-scale proxies for large-scale Transformer training instabilities" (2023), main text,
    the section on the experimental set-up. The paper has 5e3 of 1e5 steps of warm-up.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    >>> schedule = WarmupCosine(optimizer, 6, n_warmup=2, min_lr=0.0)
    >>> rates = []
    >>> for _ in range(6):
    ...     rates.append(round(schedule.get_last_lr()[0], 2))
    ...     optimizer.step()
    ...     schedule.step()
    >>> rates
    [0.5, 1.0, 0.85, 0.5, 0.15, 0.0]
    """

    def __init__(self, optimizer: Optimizer, n_iter: int, *, n_warmup: int = 0, min_lr: float = 1e-5) -> None:
        check_count(n_iter, "n_iter")
        check_count(n_warmup, "n_warmup", at_least=0)
        if n_warmup >= n_iter:
            raise InvalidInputError(f"n_warmup={n_warmup} leaves no step of n_iter={n_iter}; give a shorter warm-up")
        lowest = min(float(group["lr"]) for group in optimizer.param_groups)
        if not 0 <= min_lr <= lowest:
            raise InvalidInputError(
                f"min_lr must lie between 0 and the lowest rate of a group, {lowest:g}, got {min_lr!r}"
            )
        self.n_iter, self.n_warmup, self.min_lr = n_iter, n_warmup, min_lr
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """Return the rate of each group for the coming step."""
        step = self.last_epoch + 1
        if step <= self.n_warmup:
            return [rate * step / self.n_warmup for rate in self.base_lrs]
        along = min((step - self.n_warmup) / (self.n_iter - self.n_warmup), 1.0)
        share = (1 + math.cos(math.pi * along)) / 2
        return [self.min_lr + (rate - self.min_lr) * share for rate in self.base_lrs]
