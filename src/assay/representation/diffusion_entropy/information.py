"""Diffusion spectral mutual information with labels, numbers or clusters (Liao et al., 2023)."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped
from sklearn.cluster import SpectralClustering
from torch import Tensor

from assay.core import (
    as_generator,
    check_choice,
    check_count,
    check_pairs,
    check_positive,
    check_samples,
)
from assay.representation.diffusion_entropy.entropy import measured_entropy
from assay.representation.diffusion_entropy.kernel import NORMALIZATIONS, Normalization, find_bandwidth
from assay.representation.diffusion_entropy.quadrature import EntropyEstimate

NEIGHBOURS = 10  # of the graph that is clustered


@dataclass(frozen=True)
class DiffusionInformation:
    """A mutual information of samples and groups; `float(information)` is its value.

    Attributes:
        value: In bits; a small negative value is chance.
        error: Standard error over the random subsets, and that of entropies estimated by Lanczos, in quadrature.
        entropy: Mean entropy of random subsets of the groups' sizes.
        conditional: Mean entropy of the groups.
        n_samples: Samples.
        n_groups: Labels, bins or clusters that occur.
        sigma: Bandwidth; None for binned entropies.
    """

    value: float
    error: float
    entropy: float
    conditional: float
    n_samples: int
    n_groups: int
    sigma: float | None

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return (
            f"The samples share {self.value:.4g} ± {self.error:.2g} bits with {self.n_groups} groups: random subsets "
            f"have {self.entropy:.4g} bits, groups of the same sizes {self.conditional:.4g}."
        )


@torch.inference_mode(False)
def diffusion_spectral_mutual_information(
    x: Float[Tensor, "n *d"],
    y: Shaped[Tensor, "n *e"],
    *,
    sigma: float | Literal["median"] = 10.0,
    t: float = 1.0,
    normalization: Normalization = "symmetric",
    n_clusters: int = 10,
    n_repeats: int = 5,
    generator: torch.Generator | None = None,
) -> DiffusionInformation:
    r"""Compute the information that samples hold on y: how much the diffusion entropy falls within its groups.

    $I = \sum_y p(y)\,\big[\tfrac1R \sum_r S(X_r) - S(X_{Y=y})\big]$, where $X_r$ is a random subset as large as the
    group: the entropy depends on the number of samples, so that only equally many are compared.

    Args:
        x: One sample a row.
        y: Integers are labels, and so are one-hot rows. A floating-point number for each sample is put into
            `n_clusters` bins of equal width. Other rows, such as the inputs of a network, are clustered by
            `cluster_reference`; over many calls with one y, call it once and pass its labels.
        sigma: Bandwidth; "median" is the median distance of two of all samples.
        t: Power of the eigenvalues.
        normalization: Of the kernel, see `diffusion_spectral_entropy`.
        n_clusters: Bins or clusters.
        n_repeats: Random subsets for each group, at least 2; 5 are the paper's.
        generator: Source of the subsets; one seeded with 0 by default.

    Returns:
        The information in bits with its error.

    Raises:
        InvalidInputError: `x` and `y` do not fit, or an option is unusable.
        NumericalError: Distances overflow.

    Cost: for groups of m samples, R + 1 times as many entropies, see `diffusion_spectral_entropy`: up to 2000 samples
    a group time O(R n m² + R n m d), memory O(m²).

    Source: Liao et al. (2023), arXiv 2312.04823, definition of diffusion spectral mutual information and the
    paragraphs on continuous and vector-valued variables.

    >>> groups = torch.arange(40) % 4
    >>> round(float(diffusion_spectral_mutual_information(1e3 * torch.eye(4)[groups], groups)), 1)
    1.9
    """
    x, y = check_pairs(x, y)
    width = find_bandwidth(x, sigma)
    source = as_generator(generator)
    check_positive(t, "t")
    check_choice(normalization, NORMALIZATIONS, "normalization")

    def entropy(rows: Tensor) -> EntropyEstimate:
        return measured_entropy(rows, width, t, normalization, "auto", source)

    labels = group_labels(y, n_clusters, source)
    return size_matched_information(entropy, x, labels, n_repeats=n_repeats, generator=source, sigma=width)


def size_matched_information(
    entropy: Callable[[Tensor], EntropyEstimate],
    x: Float[Tensor, "n *d"],
    labels: Int64[Tensor, " n"],
    *,
    n_repeats: int,
    generator: torch.Generator,
    sigma: float | None = None,
) -> DiffusionInformation:
    """Compare the entropy of each group with that of random subsets of its size."""
    check_count(n_repeats, "n_repeats", at_least=2)
    total, conditional, variance = 0.0, 0.0, 0.0
    groups = labels.unique()
    for group in groups:
        own = x[labels == group]
        share = len(own) / len(x)
        inside = entropy(own)
        subsets = []
        for _ in range(n_repeats):
            chosen = torch.randperm(len(x), generator=generator, device=generator.device)[: len(own)].to(x.device)
            subsets.append(entropy(x[chosen]))
        values = np.array([found.value for found in subsets])
        total += share * float(values.mean())
        conditional += share * inside.value
        estimates = sum(found.error**2 for found in subsets) / n_repeats**2 + inside.error**2
        variance += share**2 * (float(values.var(ddof=1)) / n_repeats + estimates)
    error = math.sqrt(variance)
    return DiffusionInformation(total - conditional, error, total, conditional, len(x), len(groups), sigma)


def group_labels(y: Shaped[Tensor, "n *e"], n_clusters: int, generator: torch.Generator) -> Int64[Tensor, " n"]:
    """Return labels as they are, one-hot rows as labels, numbers in bins of equal width, and other rows in clusters."""
    check_count(n_clusters, "n_clusters", at_least=2)
    values = y.flatten(1).squeeze(1) if y.ndim > 1 else y
    if values.ndim > 1:
        one_hot = values.ndim == 2 and bool((values.amax(1) == 1).all() and ((values != 0).sum(1) == 1).all())
        return values.long().argmax(1) if one_hot else cluster_reference(y.double(), n_clusters, generator=generator)
    if not values.is_floating_point():
        return values.long()
    low, high = values.min().double(), values.max().double()
    places = (values.double() - low) / (high - low).clamp(min=torch.finfo(torch.float64).tiny) * n_clusters
    return places.floor().long().clamp(max=n_clusters - 1)


def cluster_reference(
    y: Float[Tensor, "n *d"], n_clusters: int = 10, *, generator: torch.Generator | None = None
) -> Int64[Tensor, " n"]:
    """Cluster vectors by the spectrum of their nearest-neighbour graph: the groups of a vector-valued variable.

    Args:
        y: Vectors, such as the inputs of a network.
        n_clusters: Clusters.
        generator: Source of the solver's start; one seeded with 0 by default.

    Returns:
        A cluster for each row; of no more rows than clusters, each is its own.

    Raises:
        InvalidInputError: `y` is no batch of finite samples, or there are fewer than two clusters.

    Cost: time O(n² d + n³), memory O(n²) at worst.

    Source: Liao et al. (2023), arXiv 2312.04823, main text: vector-valued variables; the authors'
    code has 10 clusters, nearest neighbours and the assignment by pivoted QR.

    >>> cluster_reference(torch.tensor([[0.0], [9.0]]).repeat(12, 1), 2).unique(return_counts=True)[1].tolist()
    [12, 12]
    """
    rows = check_samples(y, "y").flatten(1).double()
    check_count(n_clusters, "n_clusters", at_least=2)
    if len(rows) <= n_clusters:
        return torch.arange(len(rows), device=y.device)
    source = as_generator(generator)
    start = int(torch.randint(2**31 - 1, (1,), generator=source, device=source.device))
    method = SpectralClustering(
        n_clusters,
        affinity="nearest_neighbors",
        n_neighbors=min(NEIGHBOURS, len(rows) - 1),
        assign_labels="cluster_qr",
        random_state=start,
    )
    with warnings.catch_warnings():
        # Clusters that are far apart are parts of their own, which is no fault here.
        warnings.filterwarnings("ignore", message="Graph is not fully connected")
        found = method.fit_predict(rows.cpu().numpy())
    return torch.as_tensor(found, dtype=torch.int64, device=y.device)
