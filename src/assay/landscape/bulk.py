"""Share of a spectrum within a threshold of zero, with the error of its estimate by Lanczos quadrature."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from assay.core import Tridiagonalization

LARGEST_ERROR = 0.1  # of a share; beyond it the steps or the probes do not resolve the bulk


@dataclass(frozen=True)
class Bulk:
    """A share of eigenvalues near zero and its error.

    Attributes:
        fraction: Share of eigenvalues; None where the steps or the probes do not resolve it.
        error: Standard error over the probes and the change from half the steps, in quadrature; zero when exact.
    """

    fraction: float | None
    error: float

    def __str__(self) -> str:
        if self.fraction is None:
            return "an unresolved share"
        return f"{self.fraction:.1%}" + (f" (± {self.error:.1%})" if self.error else "")


def estimated_bulk(steps: Tridiagonalization, radius: float) -> Bulk:
    r"""Estimate the share of eigenvalues in $[-r, r]$ by Gauss quadrature, and its error.

    The error has two parts: the standard error over the probes, and the change of the estimate from half of the steps
    to all. The share is refused where the two exceed 0.1 together, or where most probes have no node within the
    threshold while nodes of more weight than that lie across it, as far as Lanczos's error bounds tell.

    >>> steps = Tridiagonalization(torch.tensor([[0.0, 4.0]]), torch.zeros(1, 1), torch.zeros(1))
    >>> estimated_bulk(steps, 1.0).fraction
    1.0
    """
    nodes, weights, bounds = steps.ritz()
    inside = nodes.abs() <= radius
    shares = (weights * inside).sum(1)
    spread = (shares.std() / math.sqrt(len(shares))).item() if len(shares) > 1 else 0.0
    half_nodes, half_weights, _ = steps.first(max(nodes.shape[1] // 2, 1)).ritz()
    before = (half_weights * (half_nodes.abs() <= radius)).sum(1)
    change = abs((shares.mean() - before.mean()).item())
    error = math.hypot(spread, change if _unfinished(steps, nodes) else 0.0)
    resolved = error <= LARGEST_ERROR and not _is_coarse(nodes, weights, bounds, inside, radius)
    return Bulk(shares.mean().item() if resolved else None, error)


def _unfinished(steps: Tridiagonalization, nodes: Float[Tensor, "k m"]) -> bool:
    """Tell whether a Krylov space was left unfinished: else the quadrature is exact for its probe."""
    after = torch.cat([steps.off_diagonal, steps.residual[:, None]], 1)
    return bool((after > torch.finfo(after.dtype).eps * nodes.abs().amax(1, keepdim=True)).all(1).any())


def _is_coarse(
    nodes: Float[Tensor, "k m"],
    weights: Float[Tensor, "k m"],
    bounds: Float[Tensor, "k m"],
    inside: Bool[Tensor, "k m"],
    radius: float,
) -> bool:
    empty = ~inside.any(1)
    across = (nodes.abs() > radius) & (nodes.abs() - bounds <= radius)
    return bool(empty.double().mean() > 0.5) and (weights * across).sum(1).mean().item() > LARGEST_ERROR
