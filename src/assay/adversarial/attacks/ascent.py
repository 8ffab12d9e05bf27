"""Gradient ascent of Auto-PGD, with momentum and step-size halving (Croce and Hein, 2020, algorithm 1)."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from assay.adversarial.attacks.ascent_state import AscentState, Broken, Objective
from assay.adversarial.attacks.sparse_ascent import ascend_sparse
from assay.adversarial.attacks.threat import Lp
from assay.core import per_sample

MOMENTUM = 0.75  # Paper: section 3, alpha.
ASCENT_SHARE = 0.75  # Paper: section 3, rho: the step is halved if a smaller share of steps raised the objective.

Start = Callable[[Tensor, Tensor], Tensor]
"""The first points of a run: samples and their labels to points."""


def ascend_from(
    starts: Iterable[Start], model: nn.Module, x: Tensor, labels: Tensor, **options: Any
) -> Float[Tensor, "n *d"]:
    """Run `ascend`, or `ascend_sparse` in the 1-norm, from each start in turn, on the samples that earlier runs left.

    Returns:
        The first successful point of each sample; else the point with the highest value of all runs.
    """
    found, value = x.clone(), x.new_full((len(x),), -math.inf)
    climb = ascend_sparse if options["threat"].norm == 1 else ascend
    for start in starts:
        left = (value < math.inf).nonzero().squeeze(1)
        if not len(left):
            break
        points, values = climb(model, x[left], labels[left], start=start(x[left], labels[left]), **options)
        better = values > value[left]
        found[left[better]], value[left[better]] = points[better], values[better]
    return found


def ascend(
    model: nn.Module,
    x: Tensor,
    labels: Tensor,
    *,
    start: Tensor,
    threat: Lp,
    n_iter: int,
    objective: Objective,
    broken: Broken,
) -> tuple[Float[Tensor, "n *d"], Float[Tensor, " n"]]:
    """Maximise the objective from `start` within the threat's ball around `x`; the caller holds the model `preserved`.

    Returns:
        The first successful point of each sample, which then leaves the batch, with the value infinity; else the point
        with the highest value, and that value.

    Source: Croce, Hein (2020), "Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks", algorithm 1.
    """
    x_adv, value = x.clone(), x.new_full((len(x),), math.inf)
    state = _Ascent(x, labels, start, threat)
    previous = checkpoints(n_iter)
    for step in range(n_iter + 1):
        if not len(state.index):
            break
        if step > 0:
            state.advance(first=step == 1)
        hit = broken(state.evaluate(model, objective, differentiate=step < n_iter), state.labels)
        x_adv[state.index[hit]] = state.point[hit]
        state.keep(~hit)
        if step == 0 and n_iter > 0:
            state.leave_flat_starts(model, objective)
        if step in previous:
            state.halve_where_stalled(step - previous[step])
    x_adv[state.index], value[state.index] = state.best, state.best_value
    return x_adv, value


def checkpoints(n_iter: int) -> dict[int, int]:
    r"""Return the checkpoints of `n_iter` steps, each with the checkpoint before it.

    $w_j = \lceil p_j N\rceil$ with $p_1 = 0.22$ and $p_{j+1} = p_j + \max(p_j - p_{j-1} - 0.03,\ 0.06)$.

    Source: Croce, Hein (2020), "Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks", section 3.

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


class _Ascent(AscentState):
    """The state of the ascent with momentum."""

    def __init__(self, x: Tensor, labels: Tensor, start: Tensor, threat: Lp) -> None:
        super().__init__(x, labels, start, threat, step_size=2 * threat.reach(x))
        self.previous = start
        self.checkpoint_value = self.best_value
        self.n_rises = torch.zeros_like(self.index)
        self.halved = torch.zeros_like(self.index, dtype=torch.bool)

    def leave_flat_starts(self, model: nn.Module, objective: Objective) -> None:
        """Start from the sample where the gradient vanishes at a random start, as where the softmax saturates."""
        flat = ~self.gradient.flatten(1).any(1)
        if flat.any():
            self.point = torch.where(per_sample(flat, self.x), self.x, self.point)
            self.best_value = torch.full_like(self.best_value, -math.inf)
            self.evaluate(model, objective, differentiate=True)
            self.n_rises = torch.zeros_like(self.n_rises)

    def advance(self, *, first: bool) -> None:
        """Take one projected step with momentum; the first step has none."""
        size = per_sample(self.step_size, self.x)
        stepped = self.threat.project(self.point + size * self.threat.steepest(self.gradient), self.x)
        if not first:
            momentum = (1 - MOMENTUM) * (self.point - self.previous)
            stepped = self.threat.project(self.point + MOMENTUM * (stepped - self.point) + momentum, self.x)
        self.previous, self.point = self.point, stepped

    def evaluate(self, model: nn.Module, objective: Objective, *, differentiate: bool) -> Tensor:
        """Count the steps that raise the objective, too."""
        before = self.value
        classes = super().evaluate(model, objective, differentiate=differentiate)
        self.n_rises = self.n_rises + ((self.value > before) & before.isfinite())
        return classes

    def halve_where_stalled(self, n_steps: int) -> None:
        """Halve the step of samples whose objective stalled, and restart them from their best point."""
        unchanged = ~self.halved & (self.best_value == self.checkpoint_value)
        self.halved = (self.n_rises < ASCENT_SHARE * n_steps) | unchanged
        self.step_size = torch.where(self.halved, self.step_size / 2, self.step_size)
        self.return_to_best(self.halved)
        self.checkpoint_value, self.n_rises = self.best_value, torch.zeros_like(self.n_rises)
