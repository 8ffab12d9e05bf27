"""Training procedures of a linear layer on fixed features: closed forms and loops (Liu and Flanigan, 2023)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from assay.core import InvalidInputError, as_generator, check_count, check_finite, check_positive
from assay.generalization.double_descent.modes import FeatureModes
from assay.generalization.double_descent.noise import preconditioned_condition_number


@dataclass(frozen=True, eq=False)
class Solution:
    """Weights after training.

    Attributes:
        weights: A.
        effective_condition_number: Of the problem as the procedure meets it.
    """

    weights: Float[Tensor, "d c"]
    effective_condition_number: float


@runtime_checkable
class Procedure(Protocol):
    r"""Train weights A on $\frac1{2n}\lVert\Phi A - Y\rVert^2$."""

    def __call__(
        self,
        phi: Float[Tensor, "n d"],
        y: Float[Tensor, "n c"],
        modes: FeatureModes,
        init: Float[Tensor, "d c"],
        generator: torch.Generator | None = None,
    ) -> Solution:
        """Train from the initial weights; `modes` are those of the features."""
        ...


@dataclass(frozen=True)
class GradientDescent:
    r"""Full-batch gradient descent, with or without momentum, in closed form.

    The effective condition number is $\eta\lambda_1/(1 - \rho)$ with $\rho$ the slowest mode's factor a step: $\kappa$
    for plain descent, and near $(1 - \mu)\kappa$ with momentum $\mu$, down to about $2/(1 - \mu)$. With
    $\mu = (1 - 1/\sqrt\kappa)^2$ and $\eta = 1/\lambda_1$ it is $\sqrt\kappa$, the least.

    Args:
        n_iter: Number of steps; `math.inf` for the limit.
        relative_lr: Learning rate in units of $1/\lambda_1$.
        momentum: $\mu$ of `torch.optim.SGD`.

    Source: Liu and Flanigan, Understanding the Role of Optimization in Double Descent (2023), abstract; derived here.

    >>> phi, y = torch.diag(torch.tensor([2.0, 1.0])), torch.ones(2, 1)
    >>> GradientDescent(10)(phi, y, FeatureModes.of(phi), torch.zeros(2, 1)).effective_condition_number
    4.0
    """

    n_iter: float
    relative_lr: float = 1.0
    momentum: float = 0.0

    def __call__(
        self,
        phi: Float[Tensor, "n d"],
        y: Float[Tensor, "n c"],
        modes: FeatureModes,
        init: Float[Tensor, "d c"],
        generator: torch.Generator | None = None,
    ) -> Solution:
        """Return the weights after `n_iter` steps; nothing is drawn.

        Raises:
            InvalidInputError: Descent diverges.
        """
        check_positive(self.relative_lr, "relative_lr")
        lr = self.relative_lr / modes.eigenvalues[0].item()
        share = modes.fitted_share(lr=lr, n_iter=(self.n_iter,), momentum=self.momentum)
        significant = modes.eigenvalues[modes.significant]
        remaining = 1 - slowest_factor(self.relative_lr * significant / significant[0], self.momentum)
        return Solution(modes.weights(y, share, init)[0], self.relative_lr / remaining)


@dataclass(frozen=True)
class LeastSquares:
    """The least-squares solution nearest to the initial weights: every mode is fitted, as with a condition number of 1.

    Source: Liu and Flanigan, Understanding the Role of Optimization in Double Descent (2023), abstract; derived here.

    >>> phi, y = torch.diag(torch.tensor([2.0, 1.0])), torch.ones(2, 1)
    >>> LeastSquares()(phi, y, FeatureModes.of(phi), torch.zeros(2, 1)).weights.flatten().tolist()
    [0.5, 1.0]
    """

    def __call__(
        self,
        phi: Float[Tensor, "n d"],
        y: Float[Tensor, "n c"],
        modes: FeatureModes,
        init: Float[Tensor, "d c"],
        generator: torch.Generator | None = None,
    ) -> Solution:
        """Return the weights; nothing is drawn."""
        return Solution(modes.weights(y, modes.significant.to(y)[None], init)[0], 1.0)


@dataclass(frozen=True)
class StochasticGradientDescent:
    r"""Gradient descent on batches that are drawn independently, with replacement, at every step.

    Constant steps end at a noise floor, `sgd_noise_floor`; steps that fall to zero along a cosine do not. It works in
    the coordinates $V^\top A$, at most n for each output, which leave every step what it is. The effective condition
    number is $\kappa$, as for the mean of the weights.

    Args:
        n_iter: Number of steps.
        batch_size: Samples a step.
        relative_lr: Learning rate in units of $1/\lambda_1$; batches of few samples diverge well below 1.
        momentum: $\mu$ of `torch.optim.SGD`.
        cosine: Let the learning rate fall to zero along a cosine.

    Source: Liu and Flanigan, Understanding the Role of Optimization in Double Descent (2023), abstract: batch size and
    learning rate.

    >>> phi, y = torch.diag(torch.tensor([2.0, 1.0])), torch.ones(2, 1)
    >>> StochasticGradientDescent(9, 1)(phi, y, FeatureModes.of(phi), torch.zeros(2, 1)).weights.shape
    torch.Size([2, 1])
    """

    n_iter: int
    batch_size: int
    relative_lr: float = 0.1
    momentum: float = 0.0
    cosine: bool = False

    def __call__(
        self,
        phi: Float[Tensor, "n d"],
        y: Float[Tensor, "n c"],
        modes: FeatureModes,
        init: Float[Tensor, "d c"],
        generator: torch.Generator | None = None,
    ) -> Solution:
        """Return the weights after `n_iter` steps.

        Raises:
            InvalidInputError: A size or the learning rate is not positive.
            NumericalError: Descent diverges.
        """
        check_positive(self.relative_lr, "relative_lr")
        rate = self.relative_lr / modes.eigenvalues[0].item()
        initial = modes.right.T @ init
        weights = initial.clone()
        optimizer = torch.optim.SGD([weights], lr=rate, momentum=self.momentum)
        schedule = (lambda t: (1 + math.cos(math.pi * t / self.n_iter)) / 2) if self.cosine else (lambda t: 1.0)
        _descend(
            optimizer, weights, modes.left * modes.singular_values, y, self.n_iter, self.batch_size, schedule, generator
        )
        return Solution(init + modes.right @ (weights - initial), modes.condition_number)


@dataclass(frozen=True)
class AdamDescent:
    r"""Adam, on all samples or on batches that are drawn with replacement.

    The effective condition number is that of $D^{-1/2} H D^{-1/2}$, $D = \mathrm{diag}(\sqrt{\hat v} + \epsilon)$ at
    the last step (`preconditioned_condition_number`), the median over outputs.

    Args:
        n_iter: Number of steps.
        lr: Learning rate of `torch.optim.Adam`.
        batch_size: Samples a step; all by default.

    Source: Liu and Flanigan, Understanding the Role of Optimization in Double Descent (2023), abstract: the condition
    number of the problem or of the optimizer.

    >>> phi, y = torch.diag(torch.tensor([2.0, 1.0])), torch.ones(2, 1)
    >>> round(AdamDescent(100, lr=0.1)(phi, y, FeatureModes.of(phi), torch.zeros(2, 1)).weights.sum().item(), 1)
    1.5
    """

    n_iter: int
    lr: float = 1e-3
    batch_size: int | None = None

    def __call__(
        self,
        phi: Float[Tensor, "n d"],
        y: Float[Tensor, "n c"],
        modes: FeatureModes,
        init: Float[Tensor, "d c"],
        generator: torch.Generator | None = None,
    ) -> Solution:
        """Return the weights after `n_iter` steps.

        Raises:
            InvalidInputError: A size or the learning rate is not positive.
            NumericalError: The weights are not finite.
        """
        check_positive(self.lr, "lr")
        weights = init.clone()
        optimizer = torch.optim.Adam([weights], lr=self.lr)
        size = len(phi) if self.batch_size is None else self.batch_size
        _descend(optimizer, weights, phi, y, self.n_iter, size, lambda t: 1.0, generator)
        group, state = optimizer.param_groups[0], optimizer.state[weights]
        second_moment = state["exp_avg_sq"] / (1 - group["betas"][1] ** self.n_iter)
        diagonals = (second_moment.sqrt() + group["eps"]).T
        found = [preconditioned_condition_number(phi, diagonal) for diagonal in diagonals]
        return Solution(weights, torch.tensor(found).median().item())


def slowest_factor(step: Float[Tensor, " k"], momentum: float) -> float:
    r"""Return the slowest mode's factor a step, the largest spectral radius of the companion matrices.

    Args:
        step: $\eta\lambda_i$ of each mode.
        momentum: $\mu$.
    """
    trace = 1 + momentum - step
    discriminant = trace.square() - 4 * momentum
    real = (trace.abs() + discriminant.clamp(min=0).sqrt()) / 2
    return torch.where(discriminant >= 0, real, real.new_tensor(momentum).sqrt()).max().item()


def _descend(
    optimizer: torch.optim.Optimizer,
    weights: Tensor,
    phi: Tensor,
    y: Tensor,
    n_iter: int,
    batch_size: int,
    schedule: Callable[[int], float],
    generator: torch.Generator | None,
) -> None:
    """Take steps on weights in place; a batch as large as the data is all of them."""
    check_count(n_iter, "n_iter")
    check_count(batch_size, "batch_size")
    if len(y) != len(phi):
        raise InvalidInputError(f"{len(phi)} rows of features came with {len(y)} targets; give one a row")
    source, n = as_generator(generator), len(phi)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
    for _ in range(n_iter):
        rows: Tensor | slice = slice(None)
        if batch_size < n:
            rows = torch.randint(n, (batch_size,), generator=source, device=source.device).to(phi.device)
        batch, targets = phi[rows], y[rows]
        weights.grad = batch.T @ (batch @ weights - targets) / len(batch)
        optimizer.step()
        scheduler.step()
    check_finite(weights, "the weights; the learning rate may be too large, and they")
