"""Clusters of samples by class and penultimate feature, by agglomerative clustering."""

from typing import Any

import torch
from jaxtyping import Float, Int64
from sklearn.cluster import AgglomerativeClustering
from torch import Tensor

CLASS = 10.0  # distance of classes: far more than between the features of two samples


def classes_of(y: Tensor) -> Int64[Tensor, " n"] | None:
    """Return the class of each sample; None where targets are no classes.

    Classes are targets of one number a sample, of at most one value for ten samples, or two values.

    >>> classes_of(torch.tensor([-1.0, 1.0, 1.0])).tolist(), classes_of(torch.rand(5))
    ([0, 1, 1], None)
    """
    if y.numel() != len(y):
        return None
    values, index = torch.unique(y.reshape(-1), return_inverse=True)
    return index if len(values) <= max(2, len(y) // 10) else None


def embed(features: Float[Tensor, "n h"], classes: Int64[Tensor, " n"] | None) -> Float[Tensor, "n e"]:
    r"""Return features and classes as points, those of two classes far apart.

    Features are centred and scaled to a root mean square distance of one from their mean, so that two random samples
    lie about $\sqrt 2$ apart; a class is a vector of length 10 along an axis of its own.

    >>> embed(torch.tensor([[1.0], [3.0]]), torch.tensor([0, 1])).tolist()
    [[-1.0, 10.0, 0.0], [1.0, 0.0, 10.0]]
    """
    points = features.double() - features.double().mean(0)
    spread = points.square().sum(1).mean().sqrt()
    points = points / spread if spread > 0 else points
    if classes is None:
        return points
    return torch.cat([points, CLASS * torch.nn.functional.one_hot(classes).to(points)], 1)


def main_cluster(
    candidates: Int64[Tensor, " m"], weight: Float[Tensor, " n"], points: Float[Tensor, "n e"], distance: float
) -> Int64[Tensor, " k"]:
    """Return the cluster of some samples that has the largest total weight, its members by falling weight.

    Clusters are merged as long as their mean distance is at most a limit, by scikit-learn's agglomerative clustering
    with average linkage.

    Args:
        candidates: Indices of the samples to cluster.
        weight: Weight of each sample.
        points: Places of all samples.
        distance: Limit of the mean distance between two clusters.

    >>> points = torch.tensor([[0.0], [0.1], [5.0], [5.1]])
    >>> main_cluster(torch.arange(4), torch.tensor([1.0, 1.0, 2.0, 3.0]), points, 1.0).tolist()
    [3, 2]
    """
    if len(candidates) > 1:
        options: dict[str, Any] = {"n_clusters": None, "distance_threshold": distance, "linkage": "average"}
        clustering = AgglomerativeClustering(**options)
        labels = torch.as_tensor(clustering.fit_predict(points[candidates].cpu().numpy()), device=candidates.device)
        totals = torch.zeros(int(labels.max()) + 1, dtype=torch.float64, device=candidates.device)
        totals.index_add_(0, labels, weight[candidates].double())
        candidates = candidates[labels == totals.argmax()]
    return candidates[weight[candidates].argsort(descending=True, stable=True)]


def main_pair(
    candidates: Int64[Tensor, " m"],
    change: Float[Tensor, " n"],
    points: Float[Tensor, "n e"],
    most: int,
    distance: float,
) -> tuple[Int64[Tensor, " a"], Int64[Tensor, " b"]]:
    """Return the main clusters of the candidates whose loss rises most, and of those whose loss falls most.

    Args:
        candidates: Indices of the samples to choose from.
        change: Loss change of each sample.
        points: Places of all samples.
        most: Samples of each side that are clustered; fewer where fewer rise or fall.
        distance: Limit of the mean distance between two clusters.

    >>> change, points = torch.tensor([3.0, 1.0, -2.0, 0.0]), torch.zeros(4, 1)
    >>> [group.tolist() for group in main_pair(torch.arange(4), change, points, 1, 1.0)]
    [[0], [2]]
    """
    sides = []
    for signed in (change, -change):
        order = candidates[signed[candidates].argsort(descending=True, stable=True)][:most]
        sides.append(main_cluster(order[signed[order] > 0], signed, points, distance))
    return sides[0], sides[1]


def nearest(
    group: Int64[Tensor, " k"], points: Float[Tensor, "n e"], candidates: Int64[Tensor, " m"]
) -> Int64[Tensor, " found"]:
    """Return as many candidates as a group has members, as far as there are, those nearest to its centre.

    >>> nearest(torch.tensor([0]), torch.tensor([[0.0], [3.0], [1.0]]), torch.tensor([1, 2])).tolist()
    [2]
    """
    if not len(group):
        return group
    distance = (points[candidates] - points[group].mean(0)).square().sum(1)
    return candidates[distance.argsort(stable=True)[: len(group)]]
