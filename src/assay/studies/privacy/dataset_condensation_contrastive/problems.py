"""Problems that condensation is tried on: vectors with a known common part, and small images."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assay.core import seeded
from assay.data import balanced_subset, load
from assay.nets import mlp, normalized_conv

Problem = tuple[Tensor, Tensor, Tensor, Tensor]
"""Training samples, their classes, test samples, their classes."""

N_CLASSES, N_TELLING, N_COMMON = 8, 20, 40


def common_vector_problem(common: float, n_per_class: int, seed: int) -> Problem:
    """Draw eight classes told apart in 20 dimensions, beside 40 that hold one vector for all, blurred.

    Class means have norm 1.6 and noise of 0.6; the vector has norm `common`, its noise a third of that.
    """
    source = seeded(seed)
    means = 1.6 * F.normalize(torch.randn(N_CLASSES, N_TELLING, generator=source))
    vector = common * F.normalize(torch.randn(1, N_COMMON, generator=source))
    y = torch.arange(2 * n_per_class * N_CLASSES) % N_CLASSES
    telling = means[y] + 0.6 * torch.randn(len(y), N_TELLING, generator=source)
    shared = vector + common / 3 * torch.randn(len(y), N_COMMON, generator=source)
    x, half = torch.cat([telling, shared], 1), len(y) // 2
    return x[:half], y[:half], x[half:], y[half:]


def build_perceptron(source: torch.Generator) -> nn.Module:
    """Return an untrained network for the problem with a common vector."""
    return mlp((N_TELLING + N_COMMON, 64, 64, N_CLASSES), generator=source)


def image_problem(source: str, classes: tuple[int, ...], sizes: tuple[int, int], side: int, seed: int) -> Problem:
    """Draw images of some classes, `sizes` of each for training and testing, shrunk to `side` and standardised."""
    data, drawn = load(source), seeded(seed)
    parts: list[Tensor] = []
    for x, y, size in ((data.x_train, data.y_train, sizes[0]), (data.x_test, data.y_test, sizes[1])):
        kept = torch.isin(y, torch.tensor(classes))
        x, y = balanced_subset(x[kept], y[kept], size, generator=drawn)
        parts += [F.adaptive_avg_pool2d(x, side), torch.searchsorted(torch.tensor(sorted(classes)), y)]
    mean, std = parts[0].mean((0, 2, 3), keepdim=True), parts[0].std((0, 2, 3), keepdim=True)
    return (parts[0] - mean) / std, parts[1], (parts[2] - mean) / std, parts[3]


def convolution_builder(problem: Problem, channels: tuple[int, ...]) -> Callable[[torch.Generator], nn.Module]:
    """Return a function that builds an untrained network for a problem of images."""
    depth, height, width = problem[0].shape[1:]
    n_classes = int(problem[1].max()) + 1
    return lambda source: normalized_conv((depth, height, width), n_classes, channels=channels, generator=source)
