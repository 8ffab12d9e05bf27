"""Mutual information of units from percentile bins (Li, Yosinski, Clune, Lipson and Hopcroft, 2016)."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import one_hot

from assay.core import InvalidInputError, check_count, check_samples

NEAR_ZERO = 1e-6
_ROWS = 4096  # whose bins are counted at once


def percentile_mutual_information(
    activations_a: Float[Tensor, "s a"], activations_b: Float[Tensor, "_ b"], *, bins: int = 10
) -> Float[Tensor, "a b"]:
    r"""Estimate the mutual information of each unit of network a with each unit of network b, in nats.

    Each unit has one bin for activations below 1e-6 in absolute value and `bins` bins between percentiles of the
    rest. $I = \sum_{uv} p_{uv} \log\frac{p_{uv}}{p_u p_v} - \frac{(B_x - 1)(B_y - 1)}{2 s}$, with $B_x$ and $B_y$ the
    bins that hold samples. The last term is the bias for independent units (Miller and Madow), so that values can
    be slightly below 0. `match_units` takes the matrix as it takes correlations.

    Args:
        activations_a: Rows by units of network a.
        activations_b: The same rows by units of network b.
        bins: Percentile bins of activations away from zero. Paper: 10.

    Raises:
        InvalidInputError: A matrix or `bins` is unusable, or the matrices have different numbers of rows.

    Cost: time O(s a b bins²), memory O(a b bins²).

    Source: Li, Yosinski, Clune, Lipson and Hopcroft, "Convergent Learning" (2016), section 3, mutual information, with
    bins as in the paper's code. Deviation: everything is in nats, where that code subtracts a bias in bits.

    >>> x = torch.rand(1000, 1, generator=torch.Generator().manual_seed(0))
    >>> round(float(percentile_mutual_information(x, x)), 2)
    2.26
    """
    check_count(bins, "bins")
    parts = [check_samples(rows, name) for rows, name in ((activations_a, "a"), (activations_b, "b"))]
    shapes = [tuple(rows.shape) for rows in parts]
    if any(rows.ndim != 2 for rows in parts) or len(parts[0]) != len(parts[1]):
        raise InvalidInputError(f"activations must be two matrices with the same rows, got shapes {shapes}")
    s, n_a, n_b = len(parts[0]), parts[0].shape[1], parts[1].shape[1]
    size = bins + 1
    codes = [_codes(rows.double(), bins).split(_ROWS) for rows in parts]
    counts = torch.zeros(n_a * size, n_b * size, dtype=torch.float64, device=parts[0].device)
    for first, second in zip(*codes, strict=True):
        counts += one_hot(first, size).flatten(1).double().T @ one_hot(second, size).flatten(1).double()
    joint = counts.reshape(n_a, size, n_b, size).transpose(1, 2) / s
    p, q = joint.sum(3), joint.sum(2)
    independent = p[..., :, None] * q[..., None, :]
    ratio = torch.where(joint > 0, joint / independent.clamp(min=torch.finfo(torch.float64).tiny), 1.0)
    bias = ((p > 0).sum(2) - 1) * ((q > 0).sum(2) - 1) / (2 * s)
    found = (joint * ratio.log()).sum((2, 3)) - bias
    return found.to(torch.promote_types(parts[0].dtype, torch.float32))


def _codes(rows: Float[Tensor, "s u"], bins: int) -> Int64[Tensor, "s u"]:
    """Return the bin of each activation: 0 near zero, then 1 to `bins` in the order of the percentiles."""
    levels = torch.arange(1, bins, dtype=rows.dtype, device=rows.device) / bins
    codes = torch.zeros(rows.shape, dtype=torch.long, device=rows.device)
    for unit, values in enumerate(rows.T):
        away = values.abs() >= NEAR_ZERO
        if not away.any():
            continue
        ordered = values[away].sort().values
        edges = ordered[(levels * len(ordered)).long().clamp(max=len(ordered) - 1)]
        codes[away, unit] = 1 + torch.bucketize(values[away], edges.unique(), right=True)
    return codes
