"""Data that condensation is tried on, training on what was condensed, and figures of it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn

from assay.core import Step, accuracy, cross_entropy, fit, predict, seeded
from assay.data import balanced_subset, load
from assay.nets import mlp, normalized_conv
from assay.privacy import (
    CondensedReplay,
)
from assay.privacy.condensation import (
    kernel_velocity,
)

Problem = tuple[Tensor, Tensor, Tensor, Tensor]
"""Training samples, their classes, test samples, their classes."""

Build = Callable[[torch.Generator], nn.Module]
"""A function that builds an untrained network."""

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


def build_perceptron(source: torch.Generator) -> nn.Module:
    """Return a network for the problem with a common vector."""
    return mlp((N_TELLING + N_COMMON, 64, 64, N_CLASSES), generator=source)


def convolution_builder(problem: Problem, channels: tuple[int, ...]) -> Build:
    """Return a function that builds a network for a problem of images."""
    depth, height, width = problem[0].shape[1:]
    n_classes = int(problem[1].max()) + 1
    return lambda source: normalized_conv((depth, height, width), n_classes, channels=channels, generator=source)


def velocities(
    model: nn.Module, x: Tensor, y: Tensor, probe: Tensor, *, steps: int, points: int, source: torch.Generator
) -> Tensor:
    """Train as condensed sets are judged, and return the kernel's velocity between evenly spaced states."""
    states = [{name: value.clone() for name, value in model.state_dict().items()}]
    every = steps // points

    def keep(step: Step) -> None:
        if step.number % every == 0:
            states.append({name: value.clone() for name, value in step.model.state_dict().items()})

    sgd = partial(torch.optim.SGD, lr=0.01, momentum=0.9, weight_decay=5e-4)
    options: dict[str, Any] = {"n_iter": every * points, "batch_size": 256, "callbacks": [keep], "generator": source}
    fit(model, x, y, loss=cross_entropy, optimizer=sgd, **options)
    return kernel_velocity(model, probe, states, dt=float(every))


def learn_in_tasks(
    model: nn.Module, problem: Problem, replay: CondensedReplay, *, n_tasks: int, steps: int, source: torch.Generator
) -> float:
    """Learn a few classes after the other with a memory, and return the accuracy on all of them at the end.

    Batches are drawn from the task's samples and the memory, repeated so that all classes seen have equally many.
    """
    x, y, x_test, y_test = problem
    sgd = partial(torch.optim.SGD, lr=0.01, momentum=0.9, weight_decay=5e-4)
    seen_x, seen_y = x[:0], y[:0]
    for task in torch.arange(int(y.max()) + 1).chunk(n_tasks):
        new = torch.isin(y, task)
        repeats = max(1, int((y == task[0]).sum()) // replay.condenser.n_per_class)
        batch_x, batch_y = (
            torch.cat([x[new], seen_x.repeat(repeats, 1, 1, 1)]),
            torch.cat([y[new], seen_y.repeat(repeats)]),
        )
        fit(model, batch_x, batch_y, loss=cross_entropy, optimizer=sgd, n_iter=steps, batch_size=64, generator=source)
        seen_x, seen_y = replay.observe(x[new], y[new]).memory
    return accuracy(predict(model, x_test), y_test)


def draw_by_common(levels: tuple[float, ...], accuracies: dict[str, np.ndarray]) -> Figure:
    """Draw accuracy against the norm of the common vector: the mean, and the range over seeds."""
    figure, axes = plt.subplots()
    for (name, values), marker in zip(accuracies.items(), "os^", strict=True):
        axes.plot(levels, values.mean(0), marker=marker, label=name)
        axes.fill_between(levels, values.min(0), values.max(0), alpha=0.15)
    axes.set(xlabel="norm of what all classes share", ylabel="test accuracy", ylim=(0, 1))
    axes.legend()
    return figure


def draw_velocities(curves: dict[str, np.ndarray], dt: float) -> Figure:
    """Draw the kernel's velocity over training on each set, mean over seeds."""
    figure, axes = plt.subplots()
    for (name, values), style in zip(curves.items(), ("-", "--", ":"), strict=True):
        axes.plot(dt * (np.arange(values.shape[1]) + 0.5), values.mean(0), style, label=name)
    axes.set(xlabel="step of training", ylabel="velocity of the tangent kernel per step", yscale="log")
    axes.legend()
    return figure


def draw_condensed(sets: dict[str, Tensor]) -> Figure:
    """Draw one synthetic image of each class, one row a method."""
    n_classes = len(next(iter(sets.values())))
    figure, axes = plt.subplots(len(sets), n_classes, figsize=(n_classes, len(sets)), squeeze=False)
    for row, (name, images) in zip(axes, sets.items(), strict=True):
        row[0].set_ylabel(name)
        for place, image in zip(row, images, strict=True):
            place.imshow(image.mean(0).numpy(), cmap="gray")
            place.set(xticks=[], yticks=[])
    return figure
