"""Bound on the generalisation gap from gradient coherence along training (Chatterjee and Zielinski, 2022)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from assay.core import InvalidInputError, check_count, check_positive


def stability_bound(
    lrs: Float[Tensor, " t"] | Sequence[float],
    alphas: Float[Tensor, " t"] | Sequence[float],
    *,
    lipschitz: float,
    smoothness: float,
    n_samples: int,
) -> float:
    r"""Bound the expected gap between test and training loss of gradient descent by the coherence on its way.

    $\lvert E\,\mathrm{gap} \rvert \le \frac{L^2}{n} \sum_{t=1}^T \prod_{k=t+1}^T (1 + \eta_k \beta)\; \eta_t \sqrt{2
    (1 - \alpha(w_{t-1}))}$. Another sample in the place of one changes a step by at most $\frac{\eta}{n} E\lVert g_z -
    g_{z'} \rVert \le \frac{\eta}{n} \sqrt{2 E \lVert g \rVert^2 (1 - \alpha)}$, and each later step stretches the
    distance by $1 + \eta \beta$ at most: high coherence counts most at the beginning.

    Args:
        lrs: Learning rate $\eta_t$ of each of T steps on the whole training set.
        alphas: Coherence before each step, over the distribution of samples.
        lipschitz: Bound L on the norm of a sample's gradient.
        smoothness: Bound $\beta$ on the change of a sample's gradient over that of the weights.
        n_samples: Training samples n.

    Returns:
        The bound.

    Raises:
        InvalidInputError: There is not one learning rate for each alpha, an alpha is outside of [0, 1], or a constant
            is not positive.

    Cost: O(t).

    Source: Chatterjee and Zielinski, On the Generalization Mystery in Deep Learning (2022), arXiv 2203.10036, the
    theorem on coherence and stability; the formula is derived here.

    >>> stability_bound([0.5, 0.5], [0.5, 1.0], lipschitz=1.0, smoothness=1.0, n_samples=4)
    0.1875
    """
    check_positive(lipschitz, "lipschitz")
    check_positive(smoothness, "smoothness")
    check_count(n_samples, "n_samples")
    rates, values = (torch.as_tensor(given, dtype=torch.float64).reshape(-1) for given in (lrs, alphas))
    if len(rates) != len(values) or not len(rates):
        raise InvalidInputError(f"{len(rates)} learning rates came with {len(values)} coherences; give one a step")
    if not bool(((values >= 0) & (values <= 1)).all()):
        raise InvalidInputError("alphas must lie between 0 and 1; clip estimates that noise put outside")
    if not bool(torch.isfinite(rates).all() and (rates >= 0).all()):
        raise InvalidInputError("lrs must be finite and not negative")
    distance = 0.0
    for rate, alpha in zip(rates.tolist(), values.tolist(), strict=True):
        distance = (1 + rate * smoothness) * distance + rate * (2 * (1 - alpha)) ** 0.5
    return lipschitz**2 / n_samples * distance
