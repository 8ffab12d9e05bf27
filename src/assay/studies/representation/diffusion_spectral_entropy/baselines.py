"""Mutual information with labels by nearest neighbours and by a critic: what diffusion is compared with."""

import math

import torch
from scipy.special import digamma
from torch import Tensor

from assay.core import seeded
from assay.nets import mlp

NEIGHBOURS = 3


def true_information(corruption: float, n_classes: int = 3) -> float:
    """Return the information in bits of separate blobs on labels, of which a share is shuffled."""
    same = 1 - corruption + corruption / n_classes
    other = corruption / n_classes
    shares = [same] + (n_classes - 1) * [other]
    return math.log2(n_classes) + sum(share * math.log2(share) for share in shares if share > 0)


def neighbour_information(x: Tensor, y: Tensor) -> float:
    """Estimate information in bits by distances to neighbours of the same label (Ross, 2014), the form of NPEET."""
    distances = torch.cdist(x.double(), x.double())
    radius, sizes = torch.zeros(len(x)).double(), torch.zeros(len(x)).double()
    for label in y.unique():
        own = y == label
        sizes[own] = float(own.sum())
        radius[own] = distances[own][:, own].topk(NEIGHBOURS + 1, largest=False).values[:, -1]  # the first is the point
    within = (distances < radius[:, None]).sum(1).numpy()
    terms = digamma(len(x)) + digamma(NEIGHBOURS) - digamma(sizes.numpy()).mean() - digamma(within).mean()
    return float(terms) / math.log(2)


def critic_information(x: Tensor, y: Tensor, epochs: int, seed: int) -> float:
    """Estimate information in bits by MINE: the bound of Donsker and Varadhan on a trained critic."""
    rows = ((x - x.mean(0)) / x.std()).float()
    labels = torch.nn.functional.one_hot(y).float()
    critic, source = mlp((rows.shape[1] + labels.shape[1], 64, 64, 1), generator=seeded(seed)), seeded(seed)
    adam = torch.optim.Adam(critic.parameters(), lr=1e-3)

    def bound(index: Tensor) -> Tensor:
        shuffled = index[torch.randperm(len(index), generator=source)]
        joint, product = (critic(torch.cat([rows[index], labels[other]], 1)) for other in (index, shuffled))
        return joint.mean() - (product.logsumexp(0).squeeze() - math.log(len(index)))

    for _ in range(epochs):
        for index in torch.randperm(len(x), generator=source).split(256):
            adam.zero_grad()
            (-bound(index)).backward()
            adam.step()
    with torch.no_grad():
        every = torch.arange(len(x))
        return float(torch.stack([bound(every) for _ in range(10)]).mean()) / math.log(2)
