"""Coherence of known gradients, traces of it on digits, and descent when one sample is replaced."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from assay.core import (
    accuracy,
    cross_entropy,
    fit,
    flatten,
    named_parameters,
    parameter_gradients,
    per_sample_gradients,
    seeded,
    spawn_seeds,
    squared_error,
)
from assay.data import load
from assay.generalization import (
    CoherenceTracker,
    coherence_from_batches,
    gradient_coherence,
)
from assay.nets import mlp
from assay.studies.generalization.gradient_coherence.settings import Settings

BATCH = 50
SIZES = 4, 200  # of the batches of the estimate without gradients of samples
TRACED, NOISY = (64, 256, 256, 10), (64, 256, 10)


def digits(settings: Settings, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return training and test digits, flat, split at random."""
    data = load("digits")
    x, y = torch.cat([data.x_train, data.x_test]).flatten(1), torch.cat([data.y_train, data.y_test])
    order = torch.randperm(len(x), generator=seeded(seed))
    train, test = order[: settings.n_train], order[settings.n_train :]
    return x[train], y[train], x[test], y[test]


def permuted(y: Tensor, share: float, seed: int) -> Tensor:
    """Permute the labels of a share of the samples among themselves."""
    source = seeded(seed)
    chosen = torch.randperm(len(y), generator=source)[: round(share * len(y))]
    labels = y.clone()
    labels[chosen] = y[chosen[torch.randperm(len(chosen), generator=source)]]
    return labels


@torch.no_grad()
def answers(model: nn.Module, x: Tensor) -> Tensor:
    """Return the scores of a perceptron, which are the same in training and in evaluation mode."""
    return model(x)


def identities(settings: Settings) -> dict[str, float]:
    """Measure coherence where it is known exactly: the gradients of a linear unit of weight zero are its inputs."""
    rows = torch.randn(24, 40, generator=seeded(0)).double()
    basis = torch.eye(40).double()

    def found(x: Tensor) -> Any:
        unit = nn.Linear(40, 1, bias=False).double()
        nn.init.zeros_(unit.weight)
        return gradient_coherence(unit, x, torch.full((len(x), 1), -0.5).double(), loss=squared_error)

    model = mlp((40, 12, 3), generator=seeded(1)).double()
    y = torch.arange(24) % 3
    report = gradient_coherence(model, rows, y, loss=cross_entropy)
    looped = per_sample_gradients(model, rows, y, cross_entropy, batch_size=1)
    alpha = float(looped.mean(0).square().sum() / looped.square().sum(1).mean())
    layers = sum(layer.alpha * layer.share for layer in report.layers.values())
    pair = report.pair_alpha or 0.0
    return {
        "identical": abs(found(basis[:1].expand(24, -1)).m_coherence / 24 - 1),
        "orthogonal": abs(found(basis[:24]).m_coherence - 1),
        "4 groups": abs(found(basis[torch.arange(24) % 4]).m_coherence / 6 - 1),
        "duplicates": abs(found(rows.repeat(3, 1)).m_coherence / found(rows).m_coherence / 3 - 1),
        "layers": abs(layers / report.alpha - 1),
        "pairs": abs((1 + 23 * pair) / report.m_coherence - 1),
        "loop": abs(report.alpha / alpha - 1),
    }


def from_batches(settings: Settings, seed: int) -> dict[str, float]:
    """Estimate the coherence of a linear model from batches of two sizes, relative to the exact one."""
    x, y, _, _ = digits(settings, seed)
    model = nn.Linear(64, 10)
    for value in model.parameters():
        nn.init.zeros_(value)
    x, y = x[:200], y[:200]
    rows = parameter_gradients(model, x, y, cross_entropy).double()
    norms, source = [], seeded(seed)
    for size in SIZES:
        drawn = torch.randint(len(x), (settings.batches, size), generator=source)
        weights = torch.zeros(settings.batches, len(x)).double()
        weights.scatter_add_(1, drawn, torch.full(drawn.shape, 1 / size).double())
        norms.append((weights @ rows).square().sum(1))
    exact = gradient_coherence(model, x, y, loss=cross_entropy).alpha
    return {"error": abs(coherence_from_batches(norms[0], SIZES[0], norms[1], SIZES[1]) / exact - 1)}


def trace(settings: Settings, labels: str, seed: int) -> dict[str, Any]:
    """Trace coherence and training accuracy by epoch on true or random labels; later epochs keep the last values."""
    split, start, noise, order = spawn_seeds(seed, 4)
    x, y, x_test, y_test = digits(settings, split)
    y = permuted(y, 1.0, noise) if labels == "random" else y
    model = mlp(TRACED, generator=seeded(start))
    each_epoch = -(-len(x) // BATCH)
    options = {"loss": cross_entropy, "every": each_epoch, "batch_size": 250}
    tracker = CoherenceTracker(x[: settings.n_eval], y[: settings.n_eval], **options)
    tracker.record(model, 0)
    right, tested = [accuracy(answers(model, x), y)], [accuracy(answers(model, x_test), y_test)]

    def watch(step: Any) -> bool:
        if step.number % each_epoch == 0:
            right.append(accuracy(answers(step.model, x), y))
            tested.append(accuracy(answers(step.model, x_test), y_test))
            tracker(step)
        return len(right) > settings.least_epochs and 1.0 in right and step.number % each_epoch == 0

    sgd = partial(torch.optim.SGD, lr=0.1)
    training = {"optimizer": sgd, "epochs": settings.trace_epochs, "batch_size": BATCH, "generator": seeded(order)}
    fit(model, x, y, loss=cross_entropy, stop=watch, **training)
    values = [found.m_coherence for found in tracker.history]
    fitted = next((epoch for epoch, share in enumerate(right) if share == 1.0), -1)
    between = [value for value, share in zip(values, right, strict=True) if 0.5 <= share <= 0.85]
    return {
        "first, least": min(values[:4]),
        "first, most": max(values[:4]),
        "memorising": max(between, default=0.0),
        "peak": max(values),
        "fitted": values[fitted],
        "reached": float(fitted >= 0),
        "end": values[-1],
        "train": right[-1],
        "test": tested[-1],
        "trace": lengthened(values, settings.trace_epochs + 1),
        "accuracy trace": lengthened(right, settings.trace_epochs + 1),
    }


def lengthened(values: list[float], length: int) -> list[float]:
    """Return a trace that goes on with its last value."""
    return values + [values[-1]] * (length - len(values))


def stability(settings: Settings, seed: int) -> dict[str, float]:
    """Replace one of 200 samples: how far apart full-batch descent ends, over how far it goes, by kind of labels."""
    found = {}
    split, start, noise = spawn_seeds(seed, 3)
    x, true, _, _ = digits(settings, split)
    for labels in ("true", "random"):
        y = permuted(true, 1.0, noise) if labels == "random" else true
        ends, n = [], 200
        origin = flatten(named_parameters(mlp(NOISY, generator=seeded(start))))
        for replaced in range(-1, settings.replacements):
            model = mlp(NOISY, generator=seeded(start))
            rows = torch.arange(n)
            if replaced >= 0:
                rows[replaced] = n + replaced
            sgd = partial(torch.optim.SGD, lr=0.1)
            fit(model, x[rows], y[rows], loss=cross_entropy, optimizer=sgd, n_iter=settings.stability_steps)
            ends.append(flatten(named_parameters(model)).clone())
        gaps = torch.stack([(end - ends[0]).norm() for end in ends[1:]])
        found[labels] = float(gaps.mean() / (ends[0] - origin).norm())
    return found | {"ratio": found["true"] / found["random"]}
