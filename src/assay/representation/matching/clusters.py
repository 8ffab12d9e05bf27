"""Clusters of units that two networks share (Li, Yosinski, Clune, Lipson and Hopcroft, 2016)."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int64
from sklearn.cluster import SpectralClustering
from torch import Tensor

from assay.core import InvalidInputError, check_count, seeded
from assay.representation.matching.correlations import UnitStatistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FLOOR = 1e-6
"""Least weight of an edge: it connects the graph, as the spectral embedding needs."""


@dataclass(frozen=True, eq=False)
class UnitClusters:
    """Clusters of the units of two networks together.

    Attributes:
        labels_a: Cluster of each unit of network a.
        labels_b: Cluster of each unit of network b.
        inside: Mean correlation of units of a and b in the same cluster; 0 where no cluster has units of both.
        outside: Mean correlation of units of a and b in different clusters.
        permuted: Mean of `inside` over random permutations of the labels of b.
        between: Correlations of units of a (rows) and b (columns).
    """

    labels_a: Int64[Tensor, " a"]
    labels_b: Int64[Tensor, " b"]
    inside: float
    outside: float
    permuted: float
    between: Float[Tensor, "a b"]

    @property
    def sizes(self) -> Int64[Tensor, "k 2"]:
        """Units of each network in each cluster."""
        k = 1 + int(torch.cat([self.labels_a, self.labels_b]).max())
        return torch.stack([labels.bincount(minlength=k) for labels in (self.labels_a, self.labels_b)], 1)

    @property
    def n_one_sided(self) -> int:
        """Clusters with units of one network only."""
        return int((self.sizes == 0).any(1).sum())

    def __str__(self) -> str:
        return (
            f"{len(self.sizes)} clusters, {self.n_one_sided} of them with units of one network only. Units of "
            f"different networks correlate by {self.inside:.2f} inside shared clusters, {self.outside:.2f} outside, "
            f"and {self.permuted:.2f} with permuted labels."
        )

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the correlations between the networks with units in the order of their clusters, and return the axes."""
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.subplots()[1]
        ordered = self.between[self.labels_a.argsort(stable=True)][:, self.labels_b.argsort(stable=True)]
        image = ax.imshow(
            ordered.cpu().float().numpy(), cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto", interpolation="nearest"
        )
        for edge in self.sizes.cumsum(0)[:-1]:
            ax.axhline(float(edge[0]) - 0.5, color="0.3", linewidth=0.4)
            ax.axvline(float(edge[1]) - 0.5, color="0.3", linewidth=0.4)
        ax.set(xlabel="units of network b, by cluster", ylabel="units of network a, by cluster", xticks=[], yticks=[])
        ax.figure.colorbar(image, ax=ax, label="correlation")
        return ax


def cluster_units(
    statistics: UnitStatistics, n_clusters: int | None = None, *, n_permutations: int = 100, random_state: int = 0
) -> UnitClusters:
    r"""Cluster the units of two networks together by spectral clustering of their correlations.

    The graph has all units of both networks as nodes and $\max(c_{ij}, 0)$ as weights, within and between networks;
    the normalised Laplacian's leading eigenvectors are clustered by k-means. Shared clusters are a many-to-many
    alignment: the correlations between networks are block-diagonal in their order.

    Args:
        statistics: Correlations of live units; see `UnitStatistics.live`.
        n_clusters: Number of clusters; a fifth of the units of the smaller layer by default.
        n_permutations: Permutations of the labels behind `permuted`.
        random_state: Seed of k-means and of the permutations.

    Returns:
        The clusters, with the mean correlation between networks inside and outside of them.

    Raises:
        InvalidInputError: There are dead units, or more clusters than units.

    Cost: time O((a + b)³), memory O((a + b)²).

    Source: Li, Yosinski, Clune, Lipson and Hopcroft, "Convergent Learning" (2016), section 5, many-to-many alignments
    by spectral clustering. Deviation: the paper's graph is known to us from its main text only; clipping correlations
    at 0 and the floor of 1e-6, which keeps the graph connected, are ours.

    >>> from assay.representation.matching import activation_statistics
    >>> a = torch.randn(100, 2, generator=torch.Generator().manual_seed(0)).repeat(1, 3)
    >>> found = cluster_units(activation_statistics(a, a), 2)
    >>> round(found.inside, 3), found.n_one_sided
    (1.0, 0)
    """
    if sum(statistics.n_dead):
        raise InvalidInputError(f"{sum(statistics.n_dead)} units are dead, with no edges; pass statistics.live()")
    between = statistics.between
    n_a, n_b = between.shape
    if n_clusters is None:
        n_clusters = max(2, round(min(n_a, n_b) / 5))
    check_count(n_clusters, "n_clusters", at_least=2)
    check_count(n_permutations, "n_permutations")
    if n_clusters >= n_a + n_b:
        raise InvalidInputError(f"{n_clusters} clusters of {n_a + n_b} units were asked for; ask for fewer")
    upper, lower = torch.cat([statistics.within_a, between], 1), torch.cat([between.T, statistics.within_b], 1)
    weights = torch.cat([upper, lower], 0).double().clamp(min=FLOOR).fill_diagonal_(0.0)
    model = SpectralClustering(n_clusters, affinity="precomputed", random_state=random_state, n_init=10)
    labels = torch.as_tensor(model.fit_predict(weights.cpu().numpy()), device=between.device).long()
    a, b = labels[:n_a], labels[n_a:]
    generator = seeded(random_state)
    shuffles = [torch.randperm(n_b, generator=generator).to(b.device) for _ in range(n_permutations)]
    permuted = [_inside(between, a, b[order]) for order in shuffles]
    return UnitClusters(
        labels_a=a,
        labels_b=b,
        inside=_inside(between, a, b),
        outside=_mean(between[a[:, None] != b]),
        permuted=math.fsum(permuted) / len(permuted),
        between=between,
    )


def _inside(between: Tensor, a: Tensor, b: Tensor) -> float:
    return _mean(between[a[:, None] == b])


def _mean(values: Tensor) -> float:
    return float(values.double().mean()) if len(values) else 0.0
