"""Two-layer linear network with opposing outliers, in closed form (Rosenfeld and Risteski, 2024, section 3)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from scipy.integrate import solve_ivp
from torch import Tensor

from assay.core import (
    InvalidInputError,
    NumericalError,
    as_generator,
    check_count,
    check_finite,
    check_positive,
    symmetric_eigenvalues,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MANY = 1e100  # a loss above this has diverged


@dataclass(frozen=True, eq=False)
class OpposingPath:
    r"""States of the two-layer model over time.

    Attributes:
        time: Time of a gradient flow, or step of gradient descent.
        theta: States $(c, b, b_o)$.
        loss: $L$.
        sharpness: Largest eigenvalue of the Hessian.
        opposing: $u^\top b_o$: the network's weight on the outliers' feature.
    """

    time: Float[Tensor, " t"]
    theta: Float[Tensor, "t p"]
    loss: Float[Tensor, " t"]
    sharpness: Float[Tensor, " t"]
    opposing: Float[Tensor, " t"]

    def __str__(self) -> str:
        return (
            f"The loss goes from {self.loss[0]:.3g} to {self.loss[-1]:.3g} (highest {self.loss.max():.3g}), the "
            f"sharpness from {self.sharpness[0]:.3g} to {self.sharpness[-1]:.3g} (highest {self.sharpness.max():.3g})."
        )

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw loss and, on a second axis, sharpness against time; return the first axes."""
        import matplotlib.pyplot as plt

        axes = ax if ax is not None else plt.subplots(layout="constrained")[1]
        other = axes.twinx()
        lines = axes.semilogy(self.time, self.loss.clamp(min=1e-16), label="loss")
        lines += other.plot(self.time, self.sharpness, "C1--", label="sharpness (right)")
        axes.set(xlabel="time", ylabel="loss")
        other.set(ylabel="sharpness")
        axes.legend(handles=lines)
        return axes


@dataclass(frozen=True, eq=False)
class OpposingLinearModel:
    r"""Population loss of $f(x, x_o) = c\,(b^\top x + b_o^\top x_o)$ on data with rare outliers of opposing signals.

    Inputs are $x \sim (0, I)$; $x_o = \pm\sqrt{\alpha/(p\,d_2)}\,\mathbf 1$ with probability $p$, each sign as likely,
    else zero. The target is $\beta^\top x$ plus a term even in $x_o$, so that the best network ignores $x_o$. With
    $u = \mathbf 1/\sqrt{d_2}$, up to a constant,
    $L(c, b, b_o) = \tfrac12 \lVert c b - \beta\rVert^2 + \tfrac12 \alpha c^2 (u^\top b_o)^2$.
    The curvature across the valley $u^\top b_o = 0$ is $\alpha c^2$: it grows as $c$ grows to fit $\beta$. A state is
    one vector $\theta = (c, b, b_o)$.

    Args:
        beta: Coefficients $\beta$ of the target.
        alpha: Second moment of the outliers' feature, $\alpha = \mathrm E (u^\top x_o)^2$.
        d2: Entries of $x_o$.

    Raises:
        InvalidInputError: `beta` is no finite vector, or a size is not positive.

    Source: Rosenfeld and Risteski, "Outliers with Opposing Signals Have an Outsized Effect on Neural Network
    Optimization" (2024), arXiv 2311.04163, section 3, the two-layer linear model. All formulas are derived here from
    the model; the paper's theorems are not quoted.

    >>> model = OpposingLinearModel(torch.tensor([3.0]), alpha=10.0, d2=1)
    >>> theta = torch.tensor([3.0**0.5, 3.0**0.5, 0.0])
    >>> round(model.loss(theta).item(), 6), round(model.sharpness(theta).item(), 4)
    (0.0, 30.0)
    """

    beta: Float[Tensor, " d1"]
    alpha: float = 10.0
    d2: int = 60

    def __post_init__(self) -> None:
        if not isinstance(self.beta, Tensor) or self.beta.ndim != 1 or not len(self.beta):
            raise InvalidInputError("beta must be a non-empty vector, one coefficient for each entry of x")
        if not self.beta.is_floating_point() or not torch.isfinite(self.beta).all():
            raise InvalidInputError("beta must hold finite floating-point numbers; convert it with beta.float()")
        check_positive(self.alpha, "alpha")
        check_count(self.d2, "d2")

    def balanced_start(self, *, scale: float = 1.0, generator: torch.Generator | None = None) -> Float[Tensor, " p"]:
        r"""Draw $(b, b_o) \sim N(0, s^2 I/(d_1 + d_2))$ and set $c = \lVert(b, b_o)\rVert$.

        Args:
            scale: $s$, the root mean square of $c$.
            generator: Source of the draw; one seeded with 0 by default.
        """
        check_positive(scale, "scale")
        source = as_generator(generator)
        size = len(self.beta) + self.d2
        weights = torch.randn(size, generator=source, dtype=torch.float64, device=source.device).to(self.beta)
        weights = weights * scale / size**0.5
        return torch.cat([weights.norm()[None], weights])

    def loss(self, theta: Float[Tensor, " p"]) -> Float[Tensor, ""]:
        """Return the loss, without its constant."""
        c, b, opposing = self._parts(theta)
        return (c * b - self.beta).square().sum() / 2 + self.alpha * (c * opposing).square() / 2

    def gradient(self, theta: Float[Tensor, " p"]) -> Float[Tensor, " p"]:
        r"""Return $(r^\top b + \alpha c (u^\top b_o)^2,\, c r,\, \alpha c^2 (u^\top b_o) u)$ with $r = cb - \beta$."""
        c, b, opposing = self._parts(theta)
        residual = c * b - self.beta
        first = residual @ b + self.alpha * c * opposing**2
        return torch.cat([first[None], c * residual, self.alpha * c**2 * opposing * self._feature()])

    def hessian(self, theta: Float[Tensor, " p"]) -> Float[Tensor, "p p"]:
        r"""Return the Hessian; in $b_o$ it acts on the direction $u$ alone."""
        d1 = len(self.beta)
        basis = torch.zeros(len(theta), d1 + 2).to(theta)
        basis[: 1 + d1, : 1 + d1] = torch.eye(1 + d1).to(theta)
        basis[1 + d1 :, 1 + d1] = self._feature()
        return basis @ self._curvature(theta) @ basis.T

    def sharpness(self, theta: Float[Tensor, " p"]) -> Float[Tensor, ""]:
        """Return the largest eigenvalue of the Hessian."""
        largest = symmetric_eigenvalues(self._curvature(theta))[-1]
        return largest.clamp(min=0) if self.d2 > 1 else largest  # across u, the curvature is zero

    def _curvature(self, theta: Tensor) -> Float[Tensor, "k k"]:
        """Return the Hessian in c, b and the weight on the outliers' feature."""
        c, b, opposing = self._parts(theta)
        matrix = torch.diag(torch.cat([theta.new_zeros(1), (c**2).expand(len(b)), (self.alpha * c**2)[None]]))
        matrix[0, 0] = b @ b + self.alpha * opposing**2
        matrix[0, 1:-1] = matrix[1:-1, 0] = 2 * c * b - self.beta
        matrix[0, -1] = matrix[-1, 0] = 2 * self.alpha * c * opposing
        return matrix

    def conserved(self, theta: Float[Tensor, " p"]) -> Float[Tensor, ""]:
        r"""Return $c^2 - \lVert b\rVert^2 - \lVert b_o\rVert^2$, which gradient flow leaves as it is."""
        return theta[0] ** 2 - theta[1:].square().sum()

    def final_sharpness(self, theta: Float[Tensor, " p"]) -> float:
        r"""Return the sharpness where gradient flow ends, $\max(\alpha c^2, c^2 + \lVert\beta\rVert^2/c^2)$.

        With $q$ the conserved quantity and $\rho = \lVert b_o\rVert^2 - (u^\top b_o)^2$, both at the start,
        $c^2 = \tfrac12\big(q + \rho + \sqrt{(q + \rho)^2 + 4 \lVert\beta\rVert^2}\big)$.
        """
        _, b, opposing = self._parts(theta)
        free = self.conserved(theta) + theta[1 + len(b) :].square().sum() - opposing**2
        square = ((free + (free**2 + 4 * self.beta.square().sum()).sqrt()) / 2).item()
        return max(self.alpha * square, square + self.beta.square().sum().item() / square)

    def gradient_flow(self, theta: Float[Tensor, " p"], *, time: float = 20.0, n_points: int = 201) -> OpposingPath:
        r"""Solve $\dot\theta = -\nabla L$ by SciPy's Runge-Kutta method of order 8.

        Args:
            theta: State at the start.
            time: Time at the end.
            n_points: States returned, evenly spaced in time.

        Raises:
            NumericalError: The solver stops early.
        """
        check_positive(time, "time")
        check_count(n_points, "n_points", at_least=2)
        self._parts(theta)
        points = np.linspace(0, time, n_points)

        def slope(_: float, state: np.ndarray) -> np.ndarray:
            return -wide.gradient(torch.as_tensor(state)).numpy()

        wide = OpposingLinearModel(self.beta.detach().double().cpu(), self.alpha, self.d2)
        start = theta.detach().double().cpu().numpy()
        found = solve_ivp(slope, (0, time), start, method="DOP853", t_eval=points, rtol=1e-9, atol=1e-12)
        if not found.success:
            raise NumericalError(f"the gradient flow was not solved to time {time:g}: {found.message}")
        return self._path(torch.as_tensor(points).to(theta), torch.as_tensor(found.y.T.copy()).to(theta))

    def gradient_descent(self, theta: Float[Tensor, " p"], *, lr: float, n_iter: int) -> OpposingPath:
        """Take full-batch steps; a path that diverges ends before it overflows.

        Args:
            theta: State at the start.
            lr: Learning rate.
            n_iter: Steps.
        """
        check_positive(lr, "lr")
        check_count(n_iter, "n_iter")
        states = [theta.detach()]
        for _ in range(n_iter):
            following = states[-1] - lr * self.gradient(states[-1])
            if not self.loss(following) < min(MANY, torch.finfo(theta.dtype).max ** 0.3):
                break
            states.append(following)
        return self._path(torch.arange(len(states)).to(theta), torch.stack(states))

    def _path(self, time: Tensor, theta: Tensor) -> OpposingPath:
        check_finite(theta, "the path")
        opposing = theta[:, 1 + len(self.beta) :] @ self._feature()
        values = [torch.stack([function(state) for state in theta]) for function in (self.loss, self.sharpness)]
        return OpposingPath(time, theta, values[0], values[1], opposing)

    def _feature(self) -> Tensor:
        return torch.full((self.d2,), self.d2**-0.5).to(self.beta)

    def _parts(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return c, b and the weight on the outliers' feature."""
        d1 = len(self.beta)
        if theta.ndim != 1 or len(theta) != 1 + d1 + self.d2 or theta.dtype != self.beta.dtype:
            raise InvalidInputError(
                f"theta must be a vector (c, b, b_o) of {1 + d1 + self.d2} entries in {self.beta.dtype}, got "
                f"{theta.dtype} of shape {tuple(theta.shape)}; begin with balanced_start()"
            )
        return theta[0], theta[1 : 1 + d1], theta[1 + d1 :] @ self._feature()
