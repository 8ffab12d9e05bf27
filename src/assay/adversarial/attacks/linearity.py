"""Mesoscopic almost-linearity along a direction (Melamed, Yehudai and Shamir, 2024)."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from assay.adversarial.attacks.door import attackable
from assay.core import (
    InvalidInputError,
    NumericalError,
    check_count,
    check_finite,
    check_labels,
    check_samples,
    input_gradient,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class LinearityCurve:
    """Error of the linearisation of a gap between two scores along a line.

    Attributes:
        radii: Multiples of the direction.
        gradient_change: Relative change of the gap's gradient; 0 for a linear network.
        logit_error: Distance between the gap and its first-order prediction, in units of the scores.
    """

    radii: Float[Tensor, " r"]
    gradient_change: Float[Tensor, "n r"]
    logit_error: Float[Tensor, "n r"]

    def __str__(self) -> str:
        return (
            f"At {self.radii[-1]:.3g} times the direction the gradient has changed by "
            f"{self.gradient_change[:, -1].median():.1%} (median of {len(self.gradient_change)} samples) and the "
            f"first-order score gap is off by {self.logit_error[:, -1].median():.3g}."
        )

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the median relative change of the gradient, with the middle half of the samples."""
        from matplotlib import pyplot as plt

        ax = ax or plt.subplots()[1]
        low, median, high = self.gradient_change.cpu().quantile(
            torch.tensor([0.25, 0.5, 0.75], dtype=self.gradient_change.dtype), dim=0
        )
        radii = self.radii.cpu()
        ax.plot(radii, median, label="median")
        ax.fill_between(radii, low, high, alpha=0.25, label="middle half of the samples")
        ax.set(xlabel="multiple of the direction", ylabel="relative change of the gradient")
        ax.legend()
        return ax


def almost_linearity(
    model: nn.Module,
    x: Float[Tensor, "n *d"],
    direction: Float[Tensor, "n *d"],
    radii: Float[Tensor, " r"],
    class_pair: Int[Tensor, "n 2"],
) -> LinearityCurve:
    r"""Measure the change of a score gap's gradient along a line, and the error of its linearisation.

    With $g = f_k - f_y$ and $x_t = x + t\,\delta$:
    $$\alpha(t) = \frac{\lVert\nabla g(x_t) - \nabla g(x)\rVert_2}{\lVert\nabla g(x)\rVert_2}, \qquad
      e(t) = \lvert g(x_t) - g(x) - t\,\langle\nabla g(x), \delta\rangle\rvert.$$

    Args:
        model: Classifier with outputs `(n, c)`; it comes back as it was.
        x: Inputs.
        direction: Step of each sample at radius 1: `x_adv - x`, or a random direction of the same length.
        radii: Multiples of the direction.
        class_pair: The classes $k$ and $y$ of each sample.

    Returns:
        One row a sample, one column a radius.

    Raises:
        InvalidInputError: The arguments do not fit each other, or a direction is zero.
        NumericalError: The gradient vanishes or is not finite at some sample, so that its relative change is undefined.

    Cost: time one forward and backward pass a sample and radius, memory O(n (d + r)).

    Source: Melamed, Yehudai, Shamir, "MALT Powers Up Adversarial Attacks" (2024), main text: the experiments on
    mesoscopic almost-linearity.

    >>> pairs = torch.tensor([[1, 0]])
    >>> curve = almost_linearity(nn.Linear(2, 3), torch.zeros(1, 2), torch.ones(1, 2), torch.tensor([1.0]), pairs)
    >>> curve.gradient_change.item()
    0.0
    """
    if not isinstance(class_pair, Tensor) or class_pair.ndim != 2 or class_pair.shape[1] != 2:
        raise InvalidInputError(
            f"class_pair must hold the classes k and y of each sample, of shape (n, 2), got {_shape(class_pair)}; "
            "build it by torch.stack([k, y], 1)"
        )
    with attackable(model, x, class_pair[:, 1]) as given:
        other = check_labels(class_pair[:, 0], given.n_outputs, "class_pair[:, 0]")
        direction, radii = _check_line(direction, radii, given.x)
        pairs = torch.stack([other, given.y], 1)
        changes, errors = [], []
        gap, gradient = _gap_and_gradient(given.model, given.x, pairs)
        size, slope = gradient.norm(dim=1), (gradient * direction.flatten(1)).sum(1)
        check_finite(gradient, "the gradient of the score gap in the input")
        if not (size > 0).all():
            raise NumericalError(f"the gradient vanishes at {int((size == 0).sum())} samples; leave these out")
        for radius in radii:
            moved_gap, moved_gradient = _gap_and_gradient(given.model, given.x + radius * direction, pairs)
            changes.append((moved_gradient - gradient).norm(dim=1) / size)
            errors.append((moved_gap - gap - radius * slope).abs())
        return LinearityCurve(radii, torch.stack(changes, 1), torch.stack(errors, 1))


def _check_line(direction: Tensor, radii: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    direction, radii = check_samples(direction, "direction"), check_samples(radii[:, None], "radii").flatten()
    if direction.shape != x.shape:
        raise InvalidInputError(
            f"direction must have the shape of x, {tuple(x.shape)}, got {tuple(direction.shape)}; pass one for each "
            "sample"
        )
    still = int((direction.flatten(1) == 0).all(1).sum())
    if still:
        raise InvalidInputError(
            f"direction is zero at {still} of {len(x)} samples, along which every network is linear; leave these out, "
            "as where an attack failed and x_adv is x"
        )
    return direction.to(x), radii


def _shape(value: object) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__


def expected_gradient_change(radius: float, n_features: int) -> float:
    r"""Compute the limit of the relative change of a random two-layer ReLU network's gradient at distance `radius`.

    $$\frac{\lVert\nabla N(x+z)-\nabla N(x)\rVert}{\lVert\nabla N(x)\rVert} \;\longrightarrow\;
      \sqrt{\tfrac2\pi\arctan\tfrac{R}{\sqrt d}}$$
    for $N(x)=\sum_i u_i\,\mathrm{relu}(\langle w_i,x\rangle)$ of growing width, with $u_i=\pm1/\sqrt m$,
    $w_i\sim\mathcal N(0, I/d)$, $\lVert x\rVert=\sqrt d$ and $z$ orthogonal to $x$, of norm $R$, drawn independently of
    the weights: a unit changes its state with probability $\frac1\pi\arctan(R/\sqrt d)$.

    Args:
        radius: Length of the step, in units of the input.
        n_features: Dimension of the input.

    Raises:
        InvalidInputError: The radius is negative or not finite, or there is no feature.

    Source: derived here for the setting of Melamed, Yehudai, Shamir, "MALT Powers Up Adversarial Attacks" (2024), main
    text: the theorem on two-layer networks. The formula is not in the paper.

    >>> round(expected_gradient_change(radius=5.0, n_features=400), 3)
    0.395
    """
    if not 0 <= radius < math.inf:
        raise InvalidInputError(f"radius must be a finite number of at least 0, got {radius!r}")
    check_count(n_features, "n_features")
    return math.sqrt(2 / math.pi * math.atan(radius / math.sqrt(n_features)))


def _gap_and_gradient(model: nn.Module, x: Tensor, class_pair: Tensor) -> tuple[Tensor, Float[Tensor, "n d"]]:
    def gap_of(logits: Tensor) -> Tensor:
        first, second = logits.gather(1, class_pair).unbind(1)
        return first - second

    gap, gradient = input_gradient(model, x, gap_of)
    return gap, gradient.flatten(1)
