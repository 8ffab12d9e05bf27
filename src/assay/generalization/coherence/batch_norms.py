"""Gradient coherence from the gradients of mini-batches of two sizes (Chatterjee and Zielinski, 2022)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from assay.core import InvalidInputError, NumericalError, check_count


def coherence_from_batches(
    small: Float[Tensor, " k"] | Sequence[float],
    small_size: int,
    large: Float[Tensor, " j"] | Sequence[float],
    large_size: int,
) -> float:
    r"""Estimate $\alpha$ from squared norms of mini-batch gradients of two sizes, without gradients of samples.

    For batches of b independent draws $E\lVert g_B \rVert^2 = \frac1b E\lVert g \rVert^2 + (1 - \frac1b) \lVert E g
    \rVert^2$; two sizes give both unknowns, and $\alpha$ is their ratio. Draws without replacement from few samples
    make it too large. Noise can put the estimate outside of [0, 1]; it is not clipped.

    Args:
        small: Squared norms of the mean gradients of some batches.
        small_size: Samples in each of these.
        large: Squared norms for batches of another size.
        large_size: Samples in each of these, more than `small_size`.

    Returns:
        The estimate of alpha over the distribution of samples: that of n samples is higher, by about 1/n.

    Raises:
        InvalidInputError: The sizes are not in order, or there are no norms.
        NumericalError: The estimate of the mean squared norm is not positive.

    Cost: that of the sums.

    Source: Chatterjee and Zielinski, On the Generalization Mystery in Deep Learning (2022), arXiv 2203.10036,
    the section on the coherence metric; the formula is derived here.

    >>> coherence_from_batches([1.0], 1, [0.5], 3)  # E|g|^2 = 1, |Eg|^2 = 1/4
    0.25
    """
    check_count(small_size, "small_size")
    check_count(large_size, "large_size", at_least=small_size + 1)
    norms = [torch.as_tensor(values, dtype=torch.float64).reshape(-1) for values in (small, large)]
    if not all(len(values) and torch.isfinite(values).all() and (values >= 0).all() for values in norms):
        raise InvalidInputError("small and large must each hold at least one squared norm, finite and not negative")
    of_small, of_large = (float(values.mean()) for values in norms)
    spread = (of_small - of_large) * small_size * large_size / (large_size - small_size)
    common = of_small - spread / small_size
    if not common + spread > 0:
        raise NumericalError(
            f"the mean squared norm of one gradient is estimated as {common + spread:.3g}; measure more batches"
        )
    return common / (common + spread)
