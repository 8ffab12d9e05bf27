"""Auto-PGD towards a given class (Croce, Hein, 2020): gradient ascent that halves its own step where it stalls."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from assay.adversarial.base import Lp, check_attackable
from assay.core import InvalidInputError, generator, predict, preserved

MOMENTUM = 0.75  # Paper: section 3, alpha.
ASCENT_SHARE = 0.75  # Paper: section 3, rho: fewer rising steps than this since the last checkpoint halve the step.

Objective = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class TargetedAPGD:
    r"""Push each sample towards a target class by Auto-PGD, without a step size to tune.

    Ascent with momentum on the objective, from a first step of $2\varepsilon$. At checkpoints $w_j$, a sample whose
    objective rose in fewer than 75% of the steps since the last one, or whose step and best value both stayed the
    same, halves its step and restarts from its best point. Samples leave the batch as soon as they are broken.

    Objectives, with $z_{\pi_1}\ge z_{\pi_2}\ge\dots$ the sorted scores, $y$ the class predicted on `x` and $t$ the
    target: "dlr" $-(z_y - z_t)/(z_{\pi_1} - \frac12(z_{\pi_3}+z_{\pi_4}))$, which ignores the scale of the scores
    and needs four classes; "ce" $\log p_t$.

    Args:
        threat: What the attack may change.
        n_iter: Gradient steps. Paper: 100.
        loss: "dlr" or "ce". Paper: "dlr" for targeted attacks.
        strict_target: Go on until the prediction is the target; otherwise any change of the prediction ends the search.
        seed: Start from a random point in the ball, drawn with this seed; by default start from `x`.

    Raises:
        InvalidInputError: `n_iter` is below one, or the loss is unknown.

    Cost: `n_iter` forward and backward passes a sample, less where it breaks earlier; memory of one batch.

    Source: Croce, Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
    attacks" (2020), algorithm 1 and equation 7. Deviation: the paper's random start is an option here.

    >>> attack = TargetedAPGD(Lp(norm=2, eps=1.0, input_range=(-9.0, 9.0)), n_iter=5, loss="ce")
    >>> attack(nn.Linear(2, 3), torch.zeros(4, 2), torch.tensor([0, 1, 2, 0])).shape
    torch.Size([4, 2])
    """

    threat: Lp
    n_iter: int = 100
    loss: Literal["dlr", "ce"] = "dlr"
    strict_target: bool = False
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.n_iter < 1:
            raise InvalidInputError(f"n_iter must be at least 1, got {self.n_iter}")
        if self.loss not in OBJECTIVES:
            raise InvalidInputError(f"loss must be one of {sorted(OBJECTIVES)}, got {self.loss!r}")

    def __call__(self, model: nn.Module, x: Float[Tensor, "n *d"], target: Int[Tensor, " n"]) -> Float[Tensor, "n *d"]:
        """Return perturbed inputs: the first that breaks the sample, else the best found.

        Args:
            model: Classifier with outputs `(n, c)`; it comes back as it was.
            x: Inputs within the threat's range.
            target: Class to reach; a sample already predicted as its target is returned unchanged.

        Raises:
            InvalidInputError: The arguments do not fit each other, or "dlr" meets fewer than four classes.
        """
        n_classes = check_attackable(model, x, target, threat=self.threat)
        if self.loss == "dlr" and n_classes < 4:
            raise InvalidInputError(f"loss 'dlr' needs at least 4 classes, the model has {n_classes}; use loss='ce'")
        with preserved(model):
            return self._climb(model, x.detach(), target)

    def _climb(self, model: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        x_adv, source = x.clone(), predict(model, x, batch_size=len(x)).argmax(1)
        climb = _Climb(x, source, target, self._start(x), self.threat)
        climb.keep(source != target)
        checks = checkpoints(self.n_iter)
        for step in range(self.n_iter + 1):
            if not len(climb.index):
                return x_adv
            if step > 0:
                climb.advance(first=step == 1)
            predicted = climb.evaluate(model, OBJECTIVES[self.loss], differentiate=step < self.n_iter)
            broken = predicted == climb.target if self.strict_target else predicted != climb.source
            x_adv[climb.index[broken]] = climb.point[broken]
            climb.keep(~broken)
            if step in checks:
                climb.halve_where_stalled(step - checks[step])
        x_adv[climb.index] = climb.best
        return x_adv

    def _start(self, x: Tensor) -> Tensor:
        if self.seed is None:
            return x
        return self.threat.random_start(x, generator=generator(self.seed, x.device))


def targeted_apgd(
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    target: Int[Tensor, " n"],
    *,
    threat: Lp,
    n_iter: int = 100,
    loss: Literal["dlr", "ce"] = "dlr",
    strict_target: bool = False,
    seed: int | None = None,
) -> Float[Tensor, "n *d"]:
    """Return `TargetedAPGD(threat, ...)(model, x, target)`: the attack as a function, with the same arguments.

    >>> threat = Lp(norm=2, eps=1.0, input_range=(-9.0, 9.0))
    >>> targeted_apgd(nn.Linear(2, 4), torch.zeros(3, 2), torch.tensor([0, 1, 2]), threat=threat, n_iter=2).shape
    torch.Size([3, 2])
    """
    return TargetedAPGD(threat, n_iter, loss, strict_target, seed)(model, x, target)


def checkpoints(n_iter: int) -> dict[int, int]:
    r"""Return the steps at which step sizes are reviewed, each with the review before it.

    $w_j = \lceil p_j N\rceil$ with $p_1 = 0.22$ and $p_{j+1} = p_j + \max(p_j - p_{j-1} - 0.03,\ 0.06)$.

    >>> checkpoints(100)
    {22: 0, 41: 22, 57: 41, 70: 57, 80: 70, 87: 80, 93: 87, 99: 93}
    """
    before, now, previous, steps = 0.0, 0.22, 0, {}
    while now < 1:
        step = math.ceil(round(now * n_iter, 6))
        if step > previous:
            steps[step], previous = previous, step
        before, now = now, now + max(now - before - 0.03, 0.06)
    return steps


def _targeted_dlr(logits: Tensor, source: Tensor, target: Tensor) -> Tensor:
    highest = logits.topk(4, dim=1).values
    scale = highest[:, 0] - (highest[:, 2] + highest[:, 3]) / 2
    gap = (logits.gather(1, source[:, None]) - logits.gather(1, target[:, None])).squeeze(1)
    return -gap / scale.clamp_min(1e-12)


def _targeted_ce(logits: Tensor, source: Tensor, target: Tensor) -> Tensor:
    return logits.log_softmax(1).gather(1, target[:, None]).squeeze(1)


OBJECTIVES: dict[str, Objective] = {"dlr": _targeted_dlr, "ce": _targeted_ce}


class _Climb:
    """The state of the ascent: one row a sample in every tensor, so that broken samples leave all at once."""

    def __init__(self, x: Tensor, source: Tensor, target: Tensor, start: Tensor, threat: Lp) -> None:
        self.threat = threat
        self.index = torch.arange(len(x), device=x.device)
        self.x, self.source, self.target = x, source, target
        self.point = self.previous = self.best = start
        self.gradient = self.best_gradient = torch.zeros_like(x)
        self.value = self.best_value = self.reviewed_value = x.new_full((len(x),), -math.inf)
        self.step_size = x.new_full((len(x),), 2 * threat.eps)
        self.n_rises = torch.zeros_like(self.index)
        self.halved = torch.zeros_like(self.index, dtype=torch.bool)

    def keep(self, mask: Tensor) -> None:
        """Drop the samples outside the mask."""
        if not mask.all():
            rows = {name: value[mask] for name, value in vars(self).items() if isinstance(value, Tensor)}
            vars(self).update(rows)

    def advance(self, *, first: bool) -> None:
        """Take one projected step with momentum; the first step has none."""
        size = self.step_size.view(-1, *[1] * (self.x.ndim - 1))
        stepped = self.threat.project(self.point + size * self.threat.steepest(self.gradient), self.x)
        if not first:
            momentum = (1 - MOMENTUM) * (self.point - self.previous)
            stepped = self.threat.project(self.point + MOMENTUM * (stepped - self.point) + momentum, self.x)
        self.previous, self.point = self.point, stepped

    def evaluate(self, model: nn.Module, objective: Objective, *, differentiate: bool) -> Tensor:
        """Measure the objective and its gradient at the current points; return the predicted classes."""
        with torch.set_grad_enabled(differentiate):
            point = self.point.detach().requires_grad_(differentiate)
            logits = model(point)
            value = objective(logits, self.source, self.target)
        if differentiate:
            (self.gradient,) = torch.autograd.grad(value.sum(), point)
        value = value.detach()
        self.n_rises = self.n_rises + ((value > self.value) & self.value.isfinite())
        improved = value > self.best_value
        rows = improved.view(-1, *[1] * (self.x.ndim - 1))
        self.best = torch.where(rows, self.point, self.best)
        self.best_gradient = torch.where(rows, self.gradient, self.best_gradient)
        self.value, self.best_value = value, torch.where(improved, value, self.best_value)
        return logits.detach().argmax(1)

    def halve_where_stalled(self, n_steps: int) -> None:
        """Halve the step of samples that rose too rarely or stand still, and send them back to their best point."""
        idle = ~self.halved & (self.best_value == self.reviewed_value)
        self.halved = (self.n_rises < ASCENT_SHARE * n_steps) | idle
        rows = self.halved.view(-1, *[1] * (self.x.ndim - 1))
        self.step_size = torch.where(self.halved, self.step_size / 2, self.step_size)
        self.point = torch.where(rows, self.best, self.point)
        self.gradient = torch.where(rows, self.best_gradient, self.gradient)
        self.value = torch.where(self.halved, self.best_value, self.value)
        self.reviewed_value, self.n_rises = self.best_value, torch.zeros_like(self.n_rises)
