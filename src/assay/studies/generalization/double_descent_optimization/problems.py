"""Training sets of the study: few images, some with random labels."""

import torch
import torch.nn.functional as F
from torch import Tensor

from assay.core import seeded
from assay.data import load

Problem = tuple[Tensor, Tensor, Tensor, Tensor]

NOISE = 0.2
CLASSES = 10


def draw_problem(name: str, n: int, seed: int, noise: float = NOISE) -> Problem:
    """Draw n training images in float64, a share of whose labels are drawn uniformly; all others are test images.

    Images of 28 x 28 pixels are averaged over 2 x 2.
    """
    data, source = load(name), seeded(seed)
    x, y = torch.cat([data.x_train, data.x_test]).double(), torch.cat([data.y_train, data.y_test])
    x = (F.avg_pool2d(x, 2) if x.shape[-1] == 28 else x).flatten(1)
    order = torch.randperm(len(x), generator=source)
    train, test = order[:n], order[n:]
    noisy = torch.rand(n, generator=source) < noise
    labels = torch.where(noisy, torch.randint(CLASSES, (n,), generator=source), y[train])
    return x[train], labels, x[test], y[test]
