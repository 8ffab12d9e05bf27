"""DeepFool, steps to the nearest boundary of the linearised network (Moosavi-Dezfooli et al., 2016)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from assay.adversarial.attacks import Lp, attackable, malt_scores
from assay.core import InvalidInputError, check_count, input_gradient, per_sample, predict


@dataclass(frozen=True)
class DeepFool:
    r"""Step to the nearest class boundary of the linearised network until the prediction changes.

    With $w_k = \nabla_x(f_k - f_y)$ and $l = \arg\min_k \frac{f_y - f_k}{\lVert w_k\rVert_q}$ at the current point, the
    step is the smallest that makes the linearised scores of $l$ and $y$ equal:
    $$r = \frac{f_y - f_l}{\lVert w_l\rVert_2^2}\, w_l \quad (p = 2), \qquad
      r = \frac{f_y - f_l}{\lVert w_l\rVert_1}\,\mathrm{sign}(w_l) \quad (p = \infty).$$
    The sum of the steps, lengthened by the overshoot, is the perturbation: for a linear network the smallest one, times
    1 plus the overshoot.

    Args:
        threat: Threat model; its radius bounds the search. Take a large one, as the width of the input range, to learn
            distances.
        n_iter: Largest number of steps. Released code: 50.
        overshoot: Share by which the perturbation goes beyond the boundary. Paper: 0.02.
        candidates: Classes to step towards, those with the highest scores. Released code: 10.

    Raises:
        InvalidInputError: `n_iter` or `candidates` is below one, or the overshoot is negative.

    Cost: time at most `n_iter` times one forward pass and `candidates` + 1 backward passes a sample, memory that of one
    batch.

    Source: Moosavi-Dezfooli, Fawzi, Frossard, "DeepFool: a simple and accurate method to fool deep neural networks"
    (2016), algorithm 2 and equations 10 to 12. Deviations: points stay in the ball and in the input range, and `y` is
    the true label, which the samples that are attacked are predicted as.

    >>> attack = DeepFool(Lp(norm=2, eps=9.0, input_range=(-99.0, 99.0)))
    >>> attack(nn.Linear(2, 3), torch.zeros(4, 2), torch.tensor([0, 1, 2, 0])).shape
    torch.Size([4, 2])
    """

    threat: Lp
    n_iter: int = 50
    overshoot: float = 0.02
    candidates: int = 10
    targeted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_count(self.n_iter, "n_iter")
        check_count(self.candidates, "candidates")
        if not 0 <= self.overshoot < math.inf:
            raise InvalidInputError(f"overshoot must be a finite share of at least 0, got {self.overshoot!r}")

    def __call__(
        self, model: nn.Module, x: Float[Tensor, "n *d"], y: Shaped[Tensor, "n *one"]
    ) -> Float[Tensor, "n *d"]:
        """Return perturbed inputs, projected onto the ball; samples that are misclassified already come back unchanged.

        Args:
            model: Classifier with outputs `(n, c)`; it comes back as it was.
            x: Inputs within the threat's range.
            y: True labels.

        Raises:
            InvalidInputError: The arguments do not fit each other.
            NumericalError: The gradient of a score is NaN or infinite.
        """
        with attackable(model, x, y, threat=self.threat) as given:
            point, total = given.x.clone(), torch.zeros_like(given.x)
            left = torch.arange(len(x), device=given.x.device)
            spacing = torch.finfo(given.given.dtype).eps * given.x.abs().amax().item()  # leaves a boundary it stands on
            for _ in range(self.n_iter):
                predicted = predict(given.model, point[left], batch_size=len(left), look=False).argmax(1)
                left = left[predicted == given.y[left]]
                if not len(left):
                    break
                total[left] += self._step(given.model, point[left], given.y[left], spacing)
                nearest = self.threat.project(given.x + (1 + self.overshoot) * total, given.x)
                point = given.returned(nearest, self.threat).to(point)  # as the network will see it
            return given.returned(point, self.threat)

    def _step(self, model: nn.Module, point: Tensor, y: Int[Tensor, " n"], least: float) -> Float[Tensor, "n *d"]:
        """Return the steps to the nearest boundary of the linearised scores, of length `least` at least.

        They are zero where gradients vanish.
        """
        options = {"norm": self.threat.norm, "candidates": self.candidates, "batch_size": len(point)}
        distance, nearest = malt_scores(model, point, y, **options).min(1)
        pair = torch.stack([nearest, y], 1)

        def gap(scores: Tensor) -> Tensor:
            return scores.gather(1, pair) @ scores.new_tensor([1.0, -1.0])

        direction = self.threat.steepest(input_gradient(model, point, gap)[1])
        reachable = torch.where(distance.isfinite(), distance.clamp_min(least), 0).clamp(max=self.threat.reach(point))
        return per_sample(reachable, point) * direction
