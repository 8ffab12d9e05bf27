r"""Singular modes of a feature matrix, and how far gradient descent fits each (Liu and Flanigan, 2023)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from assay.core import InvalidInputError, check_positive, check_samples


@dataclass(frozen=True, eq=False)
class FeatureModes:
    r"""The singular modes of features $\Phi = U S V^\top$; those of rounding errors are left out.

    Squared loss $\frac1{2n}\lVert\Phi A - Y\rVert^2$ has the Hessian $\Phi^\top\Phi/n$ for each output, with eigenvalue
    $\lambda_i = S_i^2/n$ along mode i. Gradient descent leaves the share $(1 - \eta\lambda_i)^T$ of the residual along
    $u_i$ after T steps, so that it halves in $\ln 2/(\eta\lambda_i)$ steps.

    Attributes:
        left: U.
        singular_values: S, in descending order.
        right: V.
        rtol: Singular values below this fraction of the largest count as zero in the limit of infinitely many steps,
            where they would be divided by, and in the condition number.

    Source: Liu and Flanigan, Understanding the Role of Optimization in Double Descent (2023), abstract; the formulas
    are derived here.

    >>> modes = FeatureModes.of(torch.diag(torch.tensor([2.0, 1.0])))
    >>> modes.condition_number, modes.effective_modes(lr=0.5, n_iter=(1, 5)).tolist()
    (4.0, [0, 2])
    """

    left: Float[Tensor, "n k"]
    singular_values: Float[Tensor, " k"]
    right: Float[Tensor, "d k"]
    rtol: float

    @classmethod
    def of(cls, phi: Float[Tensor, "n d"], *, rtol: float = 1e-6) -> "FeatureModes":
        """Decompose a feature matrix.

        Cost: time O(n d min(n, d)), memory O(n d).

        Args:
            phi: Features.
            rtol: Singular values below this fraction of the largest count as zero in the limit and in the condition
                number; a finite number of steps hardly moves along them, and keeps them.

        Raises:
            InvalidInputError: The features are no finite matrix, or all zero.
        """
        phi = _matrix(phi)
        check_positive(rtol, "rtol")
        left, values, right = torch.linalg.svd(phi, full_matrices=False)
        if values[0] <= 0:
            raise InvalidInputError("phi is zero; give features that differ from zero somewhere")
        kept = values > torch.finfo(phi.dtype).eps * max(phi.shape) * values[0]
        return cls(left[:, kept], values[kept], right.T[:, kept], rtol)

    @property
    def significant(self) -> Bool[Tensor, " k"]:
        """The modes that do not count as zero."""
        return self.singular_values > self.rtol * self.singular_values[0]

    @property
    def eigenvalues(self) -> Float[Tensor, " k"]:
        r"""The non-zero eigenvalues $\lambda_i$ of $\Phi^\top\Phi/n$, in descending order."""
        return self.singular_values.square() / len(self.left)

    @property
    def condition_number(self) -> float:
        r"""$\kappa = \lambda_1/\lambda_k$, the largest over the smallest eigenvalue that does not count as zero."""
        values = self.singular_values[self.significant]
        return ((values[0] / values[-1]) ** 2).item()

    def check_stable(self, lr: float, momentum: float = 0.0) -> None:
        r"""Require a learning rate below $2(1 + \mu)/\lambda_1$, from where on descent diverges.

        Raises:
            InvalidInputError: It is not, or the momentum is not in [0, 1).
        """
        check_positive(lr, "lr")
        if not 0 <= momentum < 1:
            raise InvalidInputError(f"momentum must be at least 0 and below 1, got {momentum!r}")
        limit = 2 * (1 + momentum) / self.eigenvalues[0].item()
        if lr >= limit:
            raise InvalidInputError(f"lr={lr:g} diverges on these features; give one below {limit:g}")

    def fitted_share(self, *, lr: float, n_iter: Sequence[float], momentum: float = 0.0) -> Float[Tensor, "t k"]:
        r"""Return the share of the initial residual along each mode that is fitted after T steps.

        $1 - (1 - \eta\lambda_i)^T$ without momentum. With it, $(r_T, r_{T-1})$ is the T-th power of the companion
        matrix $\begin{pmatrix}1 + \mu - \eta\lambda_i & -\mu\\ 1 & 0\end{pmatrix}$ applied to (1, 1), and the share
        is $1 - r_T$. Where it exceeds 1, the mode overshoots.

        Args:
            lr: $\eta$.
            n_iter: Numbers of steps T; `math.inf` for the limit.
            momentum: $\mu$ of the heavy ball, `torch.optim.SGD(momentum=...)`.

        Raises:
            InvalidInputError: Descent diverges, or a number of steps is neither a whole number nor infinite.
        """
        self.check_stable(lr, momentum)
        step, counts = lr * self.eigenvalues, step_counts(n_iter)
        share = _heavy_ball_share if momentum else _descent_share
        limit = self.significant.to(step)
        return torch.stack([limit if t == math.inf else share(step, t, momentum) for t in counts])

    def effective_modes(self, *, lr: float, n_iter: Sequence[float]) -> Int[Tensor, " t"]:
        r"""Count the modes with $\eta\lambda_i T > 1$, which T steps of gradient descent have mostly fitted.

        Raises:
            InvalidInputError: Descent diverges, or a number of steps is neither a whole number nor infinite.
        """
        self.check_stable(lr)
        counts = self.eigenvalues.new_tensor(step_counts(n_iter))
        return (lr * self.eigenvalues * counts[:, None] > 1).sum(1)

    def weights(
        self,
        y: Float[Tensor, "n c"],
        share: Float[Tensor, "t k"],
        init: Float[Tensor, "d c"] | None = None,
    ) -> Float[Tensor, "t d c"]:
        r"""Return the weights where these shares of the residual along each mode are fitted.

        $A = V\,\mathrm{diag}(f/S)\,U^\top Y + (I - V\,\mathrm{diag}(f)\,V^\top) A_0$ for shares f: what is outside the
        span of V stays as it was initially.

        Args:
            y: Targets.
            share: Shares, one row for each answer.
            init: $A_0$; zero by default.
        """
        targets = (share / self.singular_values)[..., None] * (self.left.T @ y)
        if init is None:
            return self.right @ targets
        return init + self.right @ (targets - share[..., None] * (self.right.T @ init))

    def fitted_modes(self, initial: Float[Tensor, "n c"], final: Float[Tensor, "n c"]) -> int:
        r"""Count the modes along which residuals fell below 1/e of what they were.

        Of gradient descent from residuals `initial`, it is the number of modes with $(1 - \eta\lambda_i)^T < 1/e$, as
        `effective_modes` counts them for small $\eta\lambda_i$; it is defined for every procedure.

        Args:
            initial: Residuals $Y - \Phi A_0$.
            final: Residuals after training.
        """
        before, after = (torch.linalg.vector_norm(self.left.T @ value, dim=1) for value in (initial, final))
        return int((after < before / math.e).sum())


def step_counts(n_iter: Sequence[float]) -> list[float]:
    """Require whole or infinite numbers of steps, and return them as a list.

    Raises:
        InvalidInputError: One is neither, or there is none.
    """
    counts = list(n_iter)
    if not counts or any(not (t == math.inf or (t >= 0 and float(t).is_integer())) for t in counts):
        raise InvalidInputError(f"n_iter must hold whole numbers of steps, or math.inf, got {counts}")
    return counts


def _descent_share(step: Tensor, t: float, momentum: float) -> Tensor:
    # Powers of 1 - step lose the small shares of slow modes; above 1 the sign alternates and nothing is small.
    slow = -torch.expm1(t * torch.log1p(-step.clamp(max=0.5)))
    return torch.where(step <= 0.5, slow, 1 - (1 - step).pow(t))


def _heavy_ball_share(step: Tensor, t: float, momentum: float) -> Tensor:
    ones = torch.ones_like(step)
    first = torch.stack([1 + momentum - step, -momentum * ones], -1)
    companion = torch.stack([first, torch.stack([ones, 0 * ones], -1)], -2)
    power = torch.linalg.matrix_power(companion, int(t))
    return 1 - power[:, 0].sum(-1)


def _matrix(phi: Tensor) -> Tensor:
    phi = check_samples(phi, "phi")
    if phi.ndim != 2:
        raise InvalidInputError(f"phi must be a matrix of one row a sample, got shape {tuple(phi.shape)}; flatten it")
    return phi
