"""Checks that training has ended at a minimum: gradient, slope of the loss, smallest Hessian eigenvalue."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Shaped
from scipy.sparse import identity
from scipy.sparse.linalg import aslinearoperator, eigsh
from torch import Tensor, nn

from assay.core import (
    HessianOperator,
    InvalidInputError,
    LossFunction,
    as_generator,
    check_finite,
    check_fraction,
    mean_loss,
    parameter_gradients,
    symmetric_eigenvalues,
)

_DENSE = 40  # parameters up to which all eigenvalues are computed
_RESIDUAL = 1e-3  # of an eigenvalue, relative to the largest
_NEGATIVE = 1e-3  # a smallest eigenvalue is significantly negative below this fraction of the largest


@dataclass(frozen=True)
class MinimumCheck:
    r"""Evidence that training has ended at a minimum.

    Attributes:
        loss: Mean loss over all samples.
        gradient_norm: Norm of its gradient.
        loss_slope: Relative decrease of the training loss over the last steps, the mean of the first half of the window
            against that of the second; None where no history of losses was given.
        smallest_eigenvalue: Of the Hessian; None where it was not asked for.
        largest_eigenvalue: Of the Hessian; None where it was not asked for.
    """

    loss: float
    gradient_norm: float
    loss_slope: float | None = None
    smallest_eigenvalue: float | None = None
    largest_eigenvalue: float | None = None

    @property
    def is_saddle(self) -> bool | None:
        """Whether the smallest eigenvalue is below -1e-3 times the largest; None where they were not asked for."""
        if self.smallest_eigenvalue is None or self.largest_eigenvalue is None:
            return None
        return self.smallest_eigenvalue < -_NEGATIVE * abs(self.largest_eigenvalue)

    def __str__(self) -> str:
        slope = "" if self.loss_slope is None else f", a relative decrease of {self.loss_slope:.2g} at the end"
        text = f"Loss {self.loss:.4g} with a gradient of norm {self.gradient_norm:.2g}{slope}"
        if self.smallest_eigenvalue is None or self.largest_eigenvalue is None:
            return f"{text}; the Hessian was not looked at."
        kind = "a saddle" if self.is_saddle else "no significantly negative curvature"
        return f"{text}; Hessian eigenvalues {self.smallest_eigenvalue:.2g} to {self.largest_eigenvalue:.2g}: {kind}."


@torch.inference_mode(False)
def minimum_check(
    model: nn.Module,
    x: Shaped[Tensor, "n *d"],
    y: Tensor,
    *,
    loss: LossFunction,
    history: Sequence[float] | None = None,
    window: float = 0.1,
    eigenvalues: bool = True,
    batch_size: int | None = None,
    generator: torch.Generator | None = None,
) -> MinimumCheck:
    r"""Measure how far a network is from a minimum of its training loss.

    The full gradient norm $\lVert\nabla_\theta \frac1n\sum_i\ell_i\rVert$; the relative decrease of the losses in
    `history` over its last part; and the ends of the Hessian's spectrum: Lanczos finds the largest eigenvalue L of H,
    then that of $L I - H$, which is $L - \lambda_{\min}$. For networks of ReLU the Hessian is that of the linear piece
    that the weights lie in.

    Args:
        model: Network, in evaluation mode; it comes back as it was.
        x: Training inputs.
        y: Training targets.
        loss: Mean loss over samples.
        history: Training loss at each step; at least four steps.
        window: Last part of the history that is compared, 0.1 for a tenth.
        eigenvalues: Compute the ends of the Hessian's spectrum.
        batch_size: Samples differentiated at once; all by default.
        generator: Source of Lanczos' start; a fixed seed by default.

    Returns:
        The measurements.

    Raises:
        InvalidInputError: The model or the data are unusable, or the history is too short.
        NumericalError: The loss or its derivatives are NaN or infinite.

    Cost: time of two passes over the data and of about 60 Hessian products, O(n p) each; memory O(`batch_size` p).

    Source: Shwartz-Ziv, Goldblum, Bansal, Bruss, LeCun and Wilson, "Just How Flexible are Neural Networks in Practice?"
    (2024), main text, the three checks of a minimum. The paper's thresholds were not available: those here are ours.

    >>> from assay.core import squared_error
    >>> layer = nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.zeros_(layer.weight)
    >>> str(minimum_check(layer, torch.tensor([[2.0]]), torch.zeros(1), loss=squared_error))
    'Loss 0 with a gradient of norm 0; Hessian eigenvalues 8 to 8: no significantly negative curvature.'
    """
    check_fraction(window, "window")
    slope = None if history is None else relative_decrease(history, window)
    operator = HessianOperator(model, x, y, loss, batch_size=batch_size)
    value = mean_loss(model, x, y, loss, batch_size=operator.batch_size)
    parts = zip(operator.x.split(operator.batch_size), operator.y.split(operator.batch_size), strict=True)
    gradients = [
        len(some) / len(x) * parameter_gradients(model, some, targets, operator.loss, per_sample=False)
        for some, targets in parts
    ]
    norm = torch.stack(gradients).sum(0).double().norm()
    check_finite(norm, "the gradient")
    if not eigenvalues:
        return MinimumCheck(value, norm.item(), slope)
    smallest, largest = _ends(operator, as_generator(generator))
    return MinimumCheck(value, norm.item(), slope, smallest, largest)


def relative_decrease(history: Sequence[float], window: float) -> float:
    """Return by which fraction the mean loss fell from the first to the second half of the last part of training.

    >>> relative_decrease([2.0, 2.0, 1.0, 1.0], 0.99)
    0.5
    """
    if len(history) < 4:
        raise InvalidInputError(f"history must hold the losses of four steps or more, got {len(history)}")
    last = np.asarray(history[-max(4, int(window * len(history))) :], dtype=float)
    before, after = last[: len(last) // 2].mean(), last[len(last) // 2 :].mean()
    if not (math.isfinite(before) and math.isfinite(after)):
        raise InvalidInputError("history holds NaN or infinite losses; pass the finite loss of each step")
    return float((before - after) / abs(before)) if before else 0.0


def _ends(operator: HessianOperator, generator: torch.Generator) -> tuple[float, float]:
    """Return the smallest and the largest eigenvalue."""
    p = operator.shape[0]
    with operator.prepared():
        if p <= _DENSE:
            dense = operator.to_dense()
            check_finite(dense, "the Hessian")
            values = symmetric_eigenvalues(dense.double())
            return values[0].item(), values[-1].item()
        start = torch.randn(p, generator=generator, dtype=operator.dtype).numpy()
        check_finite(operator @ torch.as_tensor(start, device=operator.device), "the curvature")
        hessian = operator.to_scipy()
        options = {"k": 1, "tol": _RESIDUAL, "v0": start, "return_eigenvectors": False}
        extreme = float(eigsh(hessian, which="LM", **options)[0])
        if extreme == 0:
            return 0.0, 0.0
        # The other end, as the largest distance from the end that is known: small eigenvalues themselves would take
        # Lanczos long to resolve.
        scale = abs(extreme)
        shifted = scale * aslinearoperator(identity(p, dtype=str(start.dtype))) - np.sign(extreme) * hessian
        other = float(np.sign(extreme) * (scale - eigsh(shifted, which="LA", **options)[0]))
    return min(extreme, other), max(extreme, other)
