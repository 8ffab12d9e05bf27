"""Projected gradient descent attack (Madry et al., 2018, section 2.1)."""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from assay.adversarial.attacks.door import attackable
from assay.adversarial.attacks.starts import start_in_ball
from assay.adversarial.attacks.threat import Lp
from assay.core import InvalidInputError, check_count, check_positive, check_samples, input_gradient


@dataclass(frozen=True)
class PGD:
    r"""Climb the cross-entropy of the true labels in steps of fixed length, projecting after each.

    $x_{t+1} = \Pi\big(x_t + \eta\,\mathrm{steepest}(\nabla_x \ell(f(x_t), y))\big)$; the last point is returned.

    Args:
        threat: Threat model.
        n_iter: Steps. Paper: 40 on MNIST.
        step_size: Length of a step in the threat's norm; $2.5\,\varepsilon$ / `n_iter` when None.
        random_state: Seed of a random start in the ball; by default the attack starts from `x`.

    Raises:
        InvalidInputError: `n_iter` is below one, or `step_size` is not positive.

    Cost: time `n_iter` forward and backward passes a sample, memory that of one batch.

    Source: Madry, Makelov, Schmidt, Tsipras, Vladu, "Towards deep learning models resistant to adversarial attacks"
    (2018), section 2.1 for the attack; the step size is the paper's for the 2-norm (main text).

    >>> import torch
    >>> attack = PGD(Lp(norm=2, eps=1.0, input_range=(-9.0, 9.0)), n_iter=5)
    >>> attack(nn.Linear(2, 3), torch.zeros(4, 2), torch.tensor([0, 1, 2, 0])).shape
    torch.Size([4, 2])
    """

    threat: Lp
    n_iter: int = 40
    step_size: float | None = None
    random_state: int | None = None
    targeted: ClassVar[bool] = False
    climbs_cross_entropy: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count(self.n_iter, "n_iter")
        if self.step_size is not None:
            check_positive(self.step_size, "step_size")

    def __call__(
        self,
        model: nn.Module,
        x: Float[Tensor, "n *d"],
        y: Shaped[Tensor, "n *one"],
        *,
        start: Float[Tensor, "n *d"] | None = None,
    ) -> Float[Tensor, "n *d"]:
        """Return perturbed inputs.

        Args:
            model: Classifier with outputs `(n, c)`; it comes back as it was.
            x: Inputs within the threat's range.
            y: True labels.
            start: First points, in the place of `x` or of a random start. Adversarial training draws others each step.

        Raises:
            InvalidInputError: The arguments do not fit each other.
        """
        with attackable(model, x, y, threat=self.threat) as given:
            reach = self.threat.reach(given.x)
            # Beyond four radii a step reaches nothing new, and could overflow.
            step_size = 2.5 * reach / self.n_iter if self.step_size is None else min(self.step_size, 4 * reach)
            point = self._start(given.x, given.y, start)
            for _ in range(self.n_iter):
                gradient = input_gradient(
                    given.model, point, lambda logits: F.cross_entropy(logits, given.y, reduction="none")
                )[1]
                point = self.threat.project(point + step_size * self.threat.steepest(gradient), given.x)
            return given.returned(point, self.threat)

    def _start(self, x: Tensor, y: Tensor, start: Tensor | None) -> Tensor:
        if start is not None:
            start = check_samples(start, "start")
            if start.shape != x.shape:
                raise InvalidInputError(f"start must have the shape of x, {tuple(x.shape)}, got {tuple(start.shape)}")
            return start.to(x)
        if self.random_state is None:
            return x
        return start_in_ball(x, y, threat=self.threat, random_state=self.random_state)
