"""Entropy-based adaptive bins of activations, and fixed ones (Chelombiev et al., 2019)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from assay.core import InvalidInputError, check_count, check_samples

_ABOVE_ZERO = (nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.Hardsigmoid, nn.Softmax)
_ABOVE_MINUS_ONE = (nn.Tanh, nn.Softsign)


def entropy_adaptive_codes(
    activations: Float[Tensor, "n *d"], *, n_bins: int = 30, lower: float | None = None
) -> Int64[Tensor, "n h"]:
    r"""Bin activations so that each bin holds the same number of distinct values that the layer takes.

    Of the m distinct values $u_1 < \dots < u_m$ of all units and samples, without `lower`, bin k begins at
    $u_{\lfloor k m / B \rfloor + 1}$, for k from 0 to B - 1. Values at `lower` have a bin of their own, such as the
    zeros of ReLU. The codes do not change under any strictly increasing map of the activations that maps `lower` too.
    Fewer than B values have a bin each.

    Args:
        activations: What one layer gives; axes after the first are units.
        n_bins: B. Paper's code: 30.
        lower: Least value that the activation can take, 0 for ReLU, -1 for tanh and ELU; None where there is none.

    Returns:
        Numbers of bins; 0 is that of `lower`, where it is given.

    Raises:
        InvalidInputError: The activations are no finite batch, or some lie below `lower`.

    Cost: time O(n h log(n h)), memory O(n h), for h units.

    Source: Chelombiev, Houghton and O'Donnell, "Adaptive Estimators Show Information Compression in Deep Neural
    Networks" (2019), abstract, entropy-based adaptive binning; details from the authors' code, adaptive_estimators.
    Deviation: the largest value lies in the last bin, there in one of its own.

    >>> activations = torch.tensor([[0.0], [0.1], [0.2], [9.0], [90.0]])
    >>> entropy_adaptive_codes(activations, n_bins=2, lower=0.0).flatten().tolist()
    [0, 1, 1, 2, 2]
    """
    check_count(n_bins, "n_bins", at_least=2)
    values = check_samples(activations, "activations").flatten(1)
    levels = values.unique()
    if lower is not None:
        if levels[0] < lower:
            raise InvalidInputError(
                f"an activation is {levels[0].item():.4g}, below lower={lower:g}; give the least value that the "
                "activation function can take, or None"
            )
        levels = levels[levels > lower]
    if len(levels) == 0:
        return torch.zeros_like(values, dtype=torch.long)
    starts = levels[torch.arange(n_bins, device=levels.device) * len(levels) // n_bins].unique()
    codes = torch.searchsorted(starts, values.contiguous(), right=True)
    return codes if lower is not None else codes - 1


def fixed_codes(activations: Float[Tensor, "n *d"], edges: Sequence[float]) -> Int64[Tensor, "n h"]:
    """Bin activations between given edges; values outside lie in the first or the last bin.

    Args:
        activations: What one layer gives; axes after the first are units.
        edges: Increasing edges, two at least. The information plane of tanh networks took 31 from -1 to 1.

    Returns:
        Numbers of bins, from 0.

    Raises:
        InvalidInputError: The activations are no finite batch, or the edges do not increase.

    Cost: time O(n h log b), memory O(n h), for h units and b edges.

    Source: Shwartz-Ziv and Tishby, "Opening the Black Box of Deep Neural Networks via Information" (2017), section 3.1;
    the baseline of Chelombiev et al. (2019).

    >>> fixed_codes(torch.tensor([[-3.0], [-0.5], [0.5], [1.0]]), (-1.0, 0.0, 1.0)).flatten().tolist()
    [0, 0, 1, 1]
    """
    values = check_samples(activations, "activations").flatten(1)
    borders = torch.tensor(list(edges), dtype=values.dtype, device=values.device)
    if len(borders) < 2 or not (borders.isfinite().all() and (borders.diff() > 0).all()):
        raise InvalidInputError(f"edges must be two or more finite, increasing numbers, got {list(edges)}")
    return torch.searchsorted(borders[1:-1].contiguous(), values.contiguous(), right=True)


def activation_lower_bound(layer: nn.Module) -> float | None:
    """Return the least value that a layer of torch can give, as an activation function; None where there is none.

    That is the value at which many activations may be exactly equal: 0 for ReLU and sigmoid, -1 for tanh, -alpha for
    ELU. Softplus and GELU never or hardly reach theirs.

    >>> activation_lower_bound(nn.ReLU()), activation_lower_bound(nn.Softplus())
    (0.0, None)
    """
    if isinstance(layer, _ABOVE_ZERO):
        return 0.0
    if isinstance(layer, nn.Hardtanh):
        return float(layer.min_val)
    if isinstance(layer, _ABOVE_MINUS_ONE):
        return -1.0
    if isinstance(layer, (nn.ELU, nn.CELU)):
        return -float(layer.alpha)
    return None
