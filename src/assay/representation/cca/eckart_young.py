"""Eckart-Young loss of two or more representations (Chapman, Wells and Lawry Aguila, 2024)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from assay.core import InvalidInputError

Representations = Sequence[Float[Tensor, "n k"]]


def eckart_young_loss(
    representations: Representations,
    *,
    independent: Sequence[Float[Tensor, "m k"]] | None = None,
    ridge: float | Sequence[float] = 0.0,
    weights: Sequence[Float[Tensor, "_ k"]] | None = None,
) -> Float[Tensor, ""]:
    r"""Compute the unconstrained loss whose minimiser spans the top canonical directions.

    $L = -2 \operatorname{tr} A + \operatorname{tr} B^2$ with $A = \sum_{i \ne j} \operatorname{Cov}(Z_i, Z_j)$ and
    $B = \sum_i (1 - \alpha_i) \operatorname{Var}(Z_i) + \alpha_i W_i^\top W_i$. Its minimum over linear maps
    $Z_i = X_i W_i$ is $-\sum_{k \le K} \lambda_k^2$, with $\lambda_k$ the largest eigenvalues of the problem of
    `cca_gep`, all positive: for two views and $\alpha = 0$ the canonical correlations, for $\alpha = 1$ the singular
    values of the cross-covariance. No local minimum is spurious. Of two augmentations of one batch it is the loss of
    SSL-EY.

    $B^2$ of one batch is biased. With a second, independent batch the loss is unbiased:
    $L = -\operatorname{tr}(A + A') + \operatorname{tr}(B B')$. Sums run over views, without $i = j$ in A; some code
    takes means and includes $i = j$, which adds one to the eigenvalues.

    Cost: time O(v n k + v n k²) for v views, memory O(v n k).

    Args:
        representations: Two or more views of the same n samples, in K columns; they need not be centred.
        independent: The views of another batch, drawn independently.
        ridge: $\alpha$ in [0, 1], one for all views or one each.
        weights: The maps $W_i$ of shape (d, k); needed where a ridge is above 0, which only linear maps have.

    Returns:
        The loss, with its graph.

    Raises:
        InvalidInputError: Fewer than two views, other shapes, fewer than two samples, a ridge outside [0, 1], or a
            ridge without weights.

    Source: Chapman, Wells and Lawry Aguila, Unconstrained Stochastic CCA (2024), main text: the loss GEP-EY and its
    forms for CCA, deep CCA and self-supervised learning.

    >>> z = torch.tensor([[1.0], [-1.0], [0.0]])  # the two views agree: L = -4 tr Var + 4 tr Var²
    >>> float(eckart_young_loss([z, z]))
    0.0
    >>> float(eckart_young_loss([z / 2**0.5, z / 2**0.5]))  # the minimum, minus the squared correlation
    -1.0
    """
    trace, within = _moments(representations, ridge, weights)
    if independent is None:
        return -2 * trace + (within * within.mT).sum()
    if len(independent) != len(representations):
        raise InvalidInputError(
            f"independent has {len(independent)} views and representations {len(representations)}; give as many"
        )
    other_trace, other_within = _moments(independent, ridge, weights)
    if within.shape != other_within.shape:
        raise InvalidInputError("independent has another number of columns than representations; use the same maps")
    return -(trace + other_trace) + (within * other_within.mT).sum()


class EckartYoungLoss(nn.Module):
    r"""The loss of `eckart_young_loss` as a module: $L = -2 \operatorname{tr} A + \operatorname{tr} B^2$.

    `EckartYoungLoss()(z1, z2)` trains two encoders for deep CCA, or one network on two augmentations (SSL-EY).

    Args:
        ridge: $\alpha$ in [0, 1], one for all views or one each; above 0 for linear maps only.

    Source: Chapman, Wells and Lawry Aguila, Unconstrained Stochastic CCA (2024), main text.

    >>> z = torch.tensor([[1.0], [-1.0], [0.0]]) / 2**0.5
    >>> float(EckartYoungLoss()(z, z))
    -1.0
    """

    def __init__(self, ridge: float | Sequence[float] = 0.0) -> None:
        super().__init__()
        ridges(ridge, 1 if isinstance(ridge, int | float) else len(ridge))
        self.ridge = ridge

    def forward(
        self,
        *representations: Float[Tensor, "n k"],
        independent: Sequence[Float[Tensor, "m k"]] | None = None,
        weights: Sequence[Float[Tensor, "_ k"]] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss of the views of one batch, or of two independent ones."""
        return eckart_young_loss(representations, independent=independent, ridge=self.ridge, weights=weights)


def ridges(ridge: float | Sequence[float], n_views: int) -> tuple[float, ...]:
    """Return the ridge of each view.

    Raises:
        InvalidInputError: One is outside [0, 1], or there are not as many as views.
    """
    found = n_views * (float(ridge),) if isinstance(ridge, int | float) else tuple(float(one) for one in ridge)
    if len(found) != n_views or not all(0 <= one <= 1 for one in found):
        raise InvalidInputError(
            f"ridge must be a number in [0, 1], or one for each of the {n_views} views, got {ridge!r}"
        )
    return found


def check_views(views: Sequence[Tensor], *, same_width: bool = False, at_least: int = 2) -> None:
    """Require two or more matrices with the same samples, two at least where a covariance is taken.

    Raises:
        InvalidInputError: They are not.
    """
    if isinstance(views, Tensor) or len(views) < 2:
        raise InvalidInputError("give a sequence of two or more views of the same samples, such as (z1, z2)")
    shapes = [tuple(view.shape) for view in views]
    if any(len(shape) != 2 or shape[1] < 1 for shape in shapes) or len({shape[0] for shape in shapes}) > 1:
        raise InvalidInputError(f"views must be matrices with one row for each of the same samples, got {shapes}")
    if same_width and len({shape[1] for shape in shapes}) > 1:
        raise InvalidInputError(f"representations must have as many columns in every view, got {shapes}")
    if shapes[0][0] < at_least:
        raise InvalidInputError(f"{at_least} samples or more are needed, for a covariance two; got {shapes[0][0]}")
    if not all(view.is_floating_point() for view in views):
        raise InvalidInputError("views must be floating point; convert them with .float()")


def _moments(views: Representations, ridge: float | Sequence[float], weights: Sequence[Tensor] | None) -> tuple:
    check_views(views, same_width=True)
    alphas = ridges(ridge, len(views))
    centred = [view - view.mean(0) for view in views]
    degrees = len(views[0]) - 1
    total = torch.stack(centred).sum(0)
    trace = (total.square().sum() - sum(z.square().sum() for z in centred)) / degrees
    within = sum((1 - alpha) / degrees * z.mT @ z for alpha, z in zip(alphas, centred, strict=True))
    if any(alphas):
        if weights is None or len(weights) != len(views):
            raise InvalidInputError("a ridge above 0 shrinks linear maps: give the weights of each view's map")
        within = within + sum(alpha * w.mT @ w for alpha, w in zip(alphas, weights, strict=True))
    return trace, within
