"""Gradient ascent of Auto-PGD in the 1-norm, with adaptive sparsity (Croce and Hein, 2021, algorithm 1)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from assay.adversarial.attacks.ascent_state import AscentState, Broken, Objective
from assay.adversarial.attacks.threat import Lp

FIRST_SHARE = 0.2  # Paper: section 3.2, of the entries that the first steps change.
SPARSER = 1.5  # Paper: the share follows the entries that the best point changes, divided by this.
STALLED = 0.95  # Paper: a review where more than this share of the changed entries is left shortens the step,
SHORTER = 1.5  # by this factor,
SHORTEST = 10.0  # to the radius divided by this at least.


def ascend_sparse(
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
    """Do what `ascend` does in the 1-norm: steps along the largest entries of the gradient, projected after each.

    The step starts at the radius. After every 4% of the steps the number of entries is set to those that the best point
    changes, divided by 1.5. Where that number fell by more than 5%, the step is set back to the radius and the ascent
    restarts from the best point; elsewhere the step is divided by 1.5.

    Source: Croce, Hein, "Mind the box: l1-APGD for sparse adversarial attacks on image classifiers" (2021),
    algorithm 1. Deviations: one radius, without the first runs in larger balls of section 3.3; the number of entries is
    rounded down, so that it can fall to one.
    """
    x_adv, value = x.clone(), x.new_full((len(x),), math.inf)
    state, review = _SparseAscent(x, labels, start, threat), max(int(0.04 * n_iter), 1)
    for step in range(n_iter + 1):
        if not len(state.index):
            break
        if step > 0:
            state.advance()
        predicted = state.evaluate(model, objective, differentiate=step < n_iter)
        hit = broken(predicted, state.labels)
        x_adv[state.index[hit]] = state.point[hit]
        state.keep(~hit)
        if step > 0 and step % review == 0:
            state.adapt()
    x_adv[state.index], value[state.index] = state.best, state.best_value
    return x_adv, value


class _SparseAscent(AscentState):
    """The state of the ascent along few entries."""

    def __init__(self, x: Tensor, labels: Tensor, start: Tensor, threat: Lp) -> None:
        super().__init__(x, labels, start, threat, step_size=threat.reach(x))
        self.n_features = math.prod(x.shape[1:])
        self.share = x.new_full((len(x),), FIRST_SHARE)
        self.n_changed = x.new_full((len(x),), float(self.n_features))

    def advance(self) -> None:
        """Take one step of equal size along the largest entries of the gradient, and project."""
        flat = self.gradient.nan_to_num(nan=0.0).flatten(1)
        kept = (self.share * self.n_features).long().clamp(1, self.n_features)
        skipped = self.n_features - kept
        least = flat.abs().sort(dim=1).values.gather(1, skipped[:, None])
        signs = flat.sign() * (flat.abs() >= least)
        step = self.step_size[:, None] * signs / signs.abs().sum(1, keepdim=True).clamp_min(1)
        self.point = self.threat.project(self.point + step.view_as(self.x), self.x)

    def adapt(self) -> None:
        """Set the number of entries and the step from the best points."""
        changed = ((self.best - self.x).flatten(1) != 0).sum(1).to(self.x)
        sparser = changed / self.n_changed.clamp_min(1) < STALLED
        self.share, self.n_changed = changed / self.n_features / SPARSER, changed
        radius = self.threat.reach(self.x)
        shortened = (self.step_size / SHORTER).clamp_min(radius / SHORTEST)
        self.step_size = torch.where(sparser, radius, shortened)
        self.return_to_best(sparser)
