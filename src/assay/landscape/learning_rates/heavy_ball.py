"""Learning rate and momentum from the spectrum of a batch's Hessian (Granziol, Zohren, Roberts, 2022)."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from assay.core import InvalidInputError, MatrixFree, NumericalError, as_generator, check_count, check_positive, lanczos

_OVERFLOW = 1e30  # a rate near which steps in float32 are infinite
_STATELESS = ("curvature", "generator")  # of the schedule's attributes: what a checkpoint cannot hold as it is


def polyak_heavy_ball(lambda_min: float, lambda_max: float) -> tuple[float, float]:
    r"""Return the learning rate and momentum with which the heavy ball converges fastest on a quadratic.

    With curvatures between $\mu$ and $L$: $\eta = (2/(\sqrt L + \sqrt\mu))^2$ and $\rho = ((\sqrt L - \sqrt\mu) /
    (\sqrt L + \sqrt\mu))^2$. The error then shrinks by $\sqrt\rho$ a step.

    Args:
        lambda_min: Smallest curvature $\mu$.
        lambda_max: Largest curvature $L$.

    Returns:
        Learning rate and momentum.

    Raises:
        InvalidInputError: A curvature is not positive, or the smallest is above the largest.

    Source: Polyak (1987), "Introduction to Optimization", section 3.2.1.

    >>> polyak_heavy_ball(1.0, 9.0)
    (0.25, 0.25)
    """
    check_positive(lambda_min, "lambda_min")
    check_positive(lambda_max, "lambda_max")
    if lambda_min > lambda_max:
        raise InvalidInputError(f"lambda_min={lambda_min!r} is above lambda_max={lambda_max!r}; swap them")
    low, high = math.sqrt(lambda_min), math.sqrt(lambda_max)
    return (2 / (high + low)) ** 2, ((high - low) / (high + low)) ** 2


class LanczosLR(LRScheduler):
    r"""Set learning rate and momentum of SGD from Lanczos runs on the Hessians of batches.

    Every `every` steps, the first at once, a run of `n_iter` steps from a random vector gives Ritz values $\theta_j$
    with weights $w_j$. The largest is L; the smallest that is positive and has $w_j$ of at least `min_weight` is
    $\mu$, and not below `floor` L. Both are averaged exponentially, $\bar L \leftarrow s \bar L + (1 - s) L$; weight
    decay is added; and `polyak_heavy_ball` gives the rate, times `margin`, and the momentum. On the Hessian of a batch
    the largest eigenvalue holds the inflation by the batch, so that no separate rule for the batch size is needed.

    Groups of parameters keep the ratio of their initial rates, and the group with the largest gets the rate above; the
    initial rates count for nothing else. Where a batch's Hessian has no positive Ritz value, the earlier averages stay,
    and before there are any, the optimiser's own rate and momentum.

    Args:
        optimizer: `torch.optim.SGD`, without Nesterov's variant, dampening or `maximize`.
        curvature: An operator such as `HessianOperator(model, x, y, loss)`, which follows the weights; or a function
            that returns one, on another batch each time. It must take the parameters that the optimiser moves.
        every: Steps K between two runs.
        n_iter: Lanczos steps of a run; the paper's learner is described with 10 to 20.
        smoothing: Weight s of the earlier average.
        margin: Factor on the learning rate; the default leaves room for curvature that differs between batches and
            grows between runs. Polyak's own rate, for a quadratic, is at 1.
        min_weight: Ritz values of smaller weight are left out.
        floor: Smallest $\mu/L$.
        generator: Source of the starting vectors; one seeded with 0 by default.
        last_epoch: As for every schedule of torch: -1 to begin.

    Raises:
        InvalidInputError: The optimiser is another one, or an option is out of its range.
        NumericalError: The curvature is NaN or infinite, or has vanished.

    Cost: `n_iter` products with the operator every `every` steps, each of about two gradients; memory O(`n_iter` p).

    Source: Granziol, Zohren and Roberts (2022), abstract: a learner of rate and momentum by stochastic Lanczos
    quadrature; its details are chosen here.

    >>> from assay.core import DenseOperator
    >>> theta = torch.nn.Parameter(torch.ones(2))
    >>> optimizer = torch.optim.SGD([theta], lr=1.0)
    >>> schedule = LanczosLR(optimizer, DenseOperator(torch.diag(torch.tensor([1.0, 9.0]))), margin=1.0)
    >>> [round(optimizer.param_groups[0][name], 4) for name in ("lr", "momentum")]
    [0.25, 0.25]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        curvature: MatrixFree | Callable[[], MatrixFree],
        *,
        every: int = 50,
        n_iter: int = 15,
        smoothing: float = 0.5,
        margin: float = 0.25,
        min_weight: float = 1e-6,
        floor: float = 1e-6,
        generator: torch.Generator | None = None,
        last_epoch: int = -1,
    ) -> None:
        _check_optimizer(optimizer)
        check_count(every, "every")
        check_count(n_iter, "n_iter")
        for value, name in ((smoothing, "smoothing"), (min_weight, "min_weight")):
            if not 0 <= value < 1:
                raise InvalidInputError(f"{name} must be at least 0 and below 1, got {value!r}")
        check_positive(margin, "margin")
        if not 0 < floor <= 1:
            raise InvalidInputError(f"floor must be above 0 and at most 1, got {floor!r}")
        self.curvature, self.generator = curvature, as_generator(generator)
        self.every, self.n_iter, self.smoothing = every, n_iter, smoothing
        self.margin, self.min_weight, self.floor = margin, min_weight, floor
        self.lambda_max: float | None = None
        self.lambda_min: float | None = None
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        """Return the rate of each group, and set its momentum; computed anew every `every` steps."""
        groups = self.optimizer.param_groups
        if self.last_epoch % self.every == 0:
            self._look()
        if self.lambda_max is None or self.lambda_min is None:
            return [group["lr"] for group in groups]
        decays = [group["weight_decay"] for group in groups]
        lr, momentum = polyak_heavy_ball(self.lambda_min + min(decays), self.lambda_max + max(decays))
        for group in groups:
            group["momentum"] = momentum
        if self.margin * lr > _OVERFLOW:
            raise NumericalError(
                f"the largest curvature of the batches has fallen to {self.lambda_max:.3g}, so that the learning rate "
                "has no limit: training has left the region of its minimum; lower margin, or take larger batches"
            )
        highest = max(float(rate) for rate in self.base_lrs)
        return [self.margin * lr * float(rate) / highest for rate in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint; the curvature stays that of the schedule that loads it."""
        state = {name: value for name, value in super().state_dict().items() if name not in _STATELESS}
        return state | {"generator_state": self.generator.get_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the state of another schedule of the same optimiser."""
        state = dict(state_dict)
        self.generator.set_state(state.pop("generator_state"))
        super().load_state_dict(state)

    @torch.inference_mode(False)
    def _look(self) -> None:
        """Run Lanczos on a batch, and take its extreme curvatures into the averages."""
        operator = self.curvature if isinstance(self.curvature, MatrixFree) else self.curvature()
        moved = [value for group in self.optimizer.param_groups for value in group["params"] if value.requires_grad]
        if operator.shape[0] != sum(value.numel() for value in moved):
            raise InvalidInputError(
                f"the curvature is that of {operator.shape[0]} parameters, and the optimiser moves "
                f"{sum(value.numel() for value in moved)}; take both for the same ones"
            )
        source = self.generator
        start = torch.randn(operator.shape[0], 1, generator=source, dtype=torch.float64, device=source.device)
        start = start.to(operator.device, operator.dtype)
        steps = lanczos(operator, start, n_iter=self.n_iter, generator=source)
        values, weights, _ = (part[0].double() for part in steps.ritz())
        kept = values[(values > 0) & (weights >= self.min_weight)]
        if not len(kept):
            return
        highest = kept.max().item()
        lowest = max(kept.min().item(), self.floor * highest)
        if self.lambda_max is None or self.lambda_min is None:
            self.lambda_max, self.lambda_min = highest, lowest
            return
        self.lambda_max = self.smoothing * self.lambda_max + (1 - self.smoothing) * highest
        self.lambda_min = self.smoothing * self.lambda_min + (1 - self.smoothing) * lowest


def _check_optimizer(optimizer: Optimizer) -> None:
    if not isinstance(optimizer, Optimizer):
        raise InvalidInputError(f"optimizer must be a torch.optim.SGD, got {type(optimizer).__name__}")
    for group in optimizer.param_groups:
        if not {"momentum", "dampening", "nesterov"} <= group.keys():
            raise InvalidInputError(
                f"Polyak's rate and momentum are those of the heavy ball, which {type(optimizer).__name__} is not; "
                "use torch.optim.SGD"
            )
        if group["nesterov"] or group["dampening"] or group.get("maximize"):
            raise InvalidInputError(
                "Polyak's rate and momentum are for the plain heavy ball; build SGD without nesterov, dampening and "
                "maximize"
            )
