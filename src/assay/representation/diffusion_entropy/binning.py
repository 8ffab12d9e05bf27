"""Classic Shannon entropy and mutual information of binned samples, the baseline of Liao et al. (2023)."""

import math
from functools import partial

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from assay.core import as_generator, check_count, check_pairs, check_samples
from assay.representation.diffusion_entropy.information import (
    DiffusionInformation,
    group_labels,
    size_matched_information,
)
from assay.representation.diffusion_entropy.quadrature import EntropyEstimate


def binned_entropy(x: Float[Tensor, "n *d"], *, n_bins: int = 2) -> float:
    r"""Compute the entropy of the joint histogram of samples, with bins of equal width in each dimension, in bits.

    In many dimensions every sample has a cell of its own, and the entropy is $\log_2 n$ whatever the data are.

    Args:
        x: One sample a row.
        n_bins: Bins of each dimension, from its smallest value to its largest.

    Returns:
        From 0 to $\log_2 n$.

    Raises:
        InvalidInputError: `x` is no batch of finite samples, or there is no bin.

    Cost: time O(n d log n), memory O(n d); only cells that are occupied are counted.

    Source: Liao et al. (2023), arXiv 2312.04823, main text: classic Shannon entropy (CSE).

    >>> binned_entropy(torch.tensor([[0.0], [0.1], [1.0], [0.9]]))
    1.0
    """
    check_count(n_bins, "n_bins")
    rows = check_samples(x).flatten(1).double()
    low, high = rows.min(0).values, rows.max(0).values
    places = (rows - low) / (high - low).clamp(min=torch.finfo(torch.float64).tiny) * n_bins
    cells = places.floor().clamp(max=n_bins - 1)
    counts = cells.unique(dim=0, return_counts=True)[1].double() / len(rows)
    return float(torch.special.entr(counts).sum() / math.log(2))


def binned_mutual_information(
    x: Float[Tensor, "n *d"],
    y: Shaped[Tensor, "n *e"],
    *,
    n_bins: int = 2,
    n_clusters: int = 10,
    n_repeats: int = 5,
    generator: torch.Generator | None = None,
) -> DiffusionInformation:
    """Compute `diffusion_spectral_mutual_information` with the entropy of the joint histogram in place of diffusion.

    Args:
        x: One sample a row.
        y: Labels, a number for each sample, or rows, as there.
        n_bins: Bins of each dimension.
        n_clusters: Bins of numbers, or clusters of rows.
        n_repeats: Random subsets for each group, at least 2.
        generator: Source of the subsets; one seeded with 0 by default.

    Returns:
        The information in bits with its error.

    Raises:
        InvalidInputError: `x` and `y` do not fit, or an option is unusable.

    Cost: for R subsets a group time O(R n d log n), memory O(n d).

    Source: Liao et al. (2023), arXiv 2312.04823, main text: classic Shannon mutual information (CSMI).

    >>> y = torch.arange(40) % 2
    >>> round(float(binned_mutual_information(y[:, None].float(), y)), 1)
    1.0
    """
    x, y = check_pairs(x, y)
    source = as_generator(generator)
    entropy = partial(binned_entropy, n_bins=n_bins)
    labels = group_labels(y, n_clusters, source)
    return size_matched_information(
        lambda rows: EntropyEstimate(entropy(rows), 0.0), x, labels, n_repeats=n_repeats, generator=source
    )
