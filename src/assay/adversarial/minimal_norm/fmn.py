"""Fast minimum-norm attack (Pintor, Roli, Brendel and Biggio, 2021)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.adversarial.attacks import Lp, attackable
from assay.core import check_choice, check_count, check_fraction, check_positive, input_gradient, margins, per_sample


@dataclass(frozen=True)
class FMN:
    r"""Search for the smallest perturbation that changes the prediction, on a ball that shrinks and grows.

    At each step the radius $\varepsilon$ of each sample's ball shrinks by the factor $1-\gamma_t$ where the point is
    misclassified, and grows by $1+\gamma_t$ where it is not; until the first success it is $1+\gamma_t$ times the
    distance to the boundary of the linearised margin. A step of length $\alpha_t$ then descends the margin
    $f_y - \max_{k\ne y} f_k$, and is projected onto the ball. Both $\alpha_t$ and $\gamma_t$ fall along half a cosine.

    Args:
        threat: Threat model; its radius bounds the search. Take a large one, as the width of the input range, to learn
            distances: robust accuracy at every radius follows from them.
        n_iter: Steps. Paper: up to 1000.
        step_size: First step $\alpha_0$ in the 2-norm, in units of the input; it falls to a hundredth. None: the width
            of the input range, which is 1 in the paper, or the radius where the range is unbounded.
        gamma: First share $\gamma_0$ by which the radius changes; it falls to 0.001. Paper: 0.05.

    Raises:
        InvalidInputError: `n_iter` is below one, `step_size` is not positive, or `gamma` is not between 0 and 1.

    Cost: time `n_iter` forward and backward passes a sample, memory that of one batch.

    Source: Pintor, Roli, Brendel, Biggio, "Fast minimum-norm adversarial attacks through adaptive norm constraints"
    (2021), algorithm 1. Deviations: the radius never exceeds that of the threat model. Until the first success it
    grows by $1+\gamma_t$ at least, since the range can cut steps short, and goes that share beyond the linearised
    boundary, on which a linear network would stay undecided.

    >>> attack = FMN(Lp(norm=2, eps=9.0, input_range=(-99.0, 99.0)), n_iter=5)
    >>> attack(nn.Linear(2, 3), torch.zeros(4, 2), torch.tensor([0, 1, 2, 0])).shape
    torch.Size([4, 2])
    """

    threat: Lp
    n_iter: int = 200
    step_size: float | None = None
    gamma: float = 0.05
    targeted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_count(self.n_iter, "n_iter")
        check_choice(self.threat.norm, (2, math.inf), "the threat's norm")
        check_fraction(self.gamma, "gamma")
        if self.step_size is not None:
            check_positive(self.step_size, "step_size")

    def __call__(
        self, model: nn.Module, x: Float[Tensor, "n *d"], y: Shaped[Tensor, "n *one"]
    ) -> Float[Tensor, "n *d"]:
        """Return the nearest misclassified points found; the input itself where there is none.

        Args:
            model: Classifier with outputs `(n, c)`; it comes back as it was.
            x: Inputs within the threat's range.
            y: True labels.

        Raises:
            InvalidInputError: The arguments do not fit each other.
        """
        with attackable(model, x, y, threat=self.threat) as given:
            search = _Search(given.x, self.threat)
            for step in range(self.n_iter + 1):
                margin, gradient = input_gradient(given.model, search.point, lambda scores: margins(scores, given.y))
                falling = (1 + math.cos(math.pi * step / self.n_iter)) / 2
                search.resize(margin, gradient, 0.001 + (self.gamma - 0.001) * falling)
                search.descend(gradient, self._first_step(given.x) * (0.01 + 0.99 * falling))
                search.point = given.returned(search.point, self.threat).to(given.x)  # as the network will see it
            return given.returned(search.nearest, self.threat)

    def _first_step(self, x: Tensor) -> float:
        low, high = self.threat.input_range
        if self.step_size is not None:
            return self.step_size
        return high - low if math.isfinite(high - low) else self.threat.reach(x)


class _Search:
    """The state of the search, with one row a sample in every tensor."""

    def __init__(self, x: Tensor, threat: Lp) -> None:
        self.x, self.threat = x, threat
        self.point = self.nearest = x
        self.radius = x.new_zeros(len(x))
        self.smallest = x.new_full((len(x),), math.inf)

    def resize(self, margin: Float[Tensor, " n"], gradient: Float[Tensor, "n *d"], gamma: float) -> None:
        """Keep misclassified points that are nearer than those before, and resize the balls."""
        distance, broken = self.threat.distance(self.point, self.x).to(margin), margin < 0
        nearer = broken & (distance < self.smallest)
        self.nearest = torch.where(per_sample(nearer, self.x), self.point, self.nearest)
        self.smallest = torch.where(nearer, distance, self.smallest)
        steepness = (gradient * self.threat.steepest(gradient)).flatten(1).sum(1)
        to_boundary = distance + margin / steepness.clamp_min(1e-12)
        start = torch.where(self.smallest.isfinite(), self.radius, torch.maximum(self.radius, to_boundary))
        grown = start * (1 + gamma)
        shrunk = torch.minimum(self.radius * (1 - gamma), self.smallest)
        self.radius = torch.where(broken, shrunk, grown).clamp(max=self.threat.reach(self.x))

    def descend(self, gradient: Float[Tensor, "n *d"], size: float) -> None:
        """Step down the margin, and project onto each sample's ball and onto the range."""
        flat = gradient.flatten(1)
        direction = (flat / flat.norm(dim=1, keepdim=True).clamp_min(1e-12)).view_as(gradient)
        change, radius = self.point - size * direction - self.x, per_sample(self.radius, self.x)
        if self.threat.norm == math.inf:
            change = torch.minimum(torch.maximum(change, -radius), radius)
        else:
            length = per_sample(change.flatten(1).norm(dim=1), self.x)
            change = change * (radius / length.clamp_min(1e-12)).clamp(max=1)
        self.point = self.threat.project(self.x + change, self.x)
