"""Linear oracles, and searches for the effective model complexity of small networks on digits and Gaussian inputs."""

from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from scipy.optimize import linprog
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn

from assay.core import accuracy, cross_entropy, isolated_rng, predict, seeded, spawn_seeds
from assay.data import load
from assay.generalization.capacity import (
    EffectiveModelComplexity,
    EstimatorProcedure,
    LabelGap,
    StackedProcedure,
    SubspaceNetwork,
    TrainingProcedure,
    cover_probability,
    effective_model_complexity,
    label_gap,
    quantized_network,
)
from assay.studies.generalization.effective_model_complexity.settings import Settings

DIMENSIONS = 10  # of the linear oracles
ACTIVATIONS = {"ReLU": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
RATES = (0.03, 0.1)  # learning rates of stochastic and full-batch gradient descent, of which each takes its best
SUBSPACE, BITS = 256, 4

Build = Callable[[torch.Generator], nn.Module]


class Separation(ClassifierMixin, BaseEstimator):
    """Linear classifier without bias, by a linear program: it fits wherever some linear classifier does."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> "Separation":
        """Find a vector w with y w x of at least one everywhere; zero where there is none."""
        self.classes_ = np.unique(y)
        signs = np.where(y == self.classes_[-1], 1, -1)
        found = linprog(np.zeros(X.shape[1]), -signs[:, None] * X, -np.ones(len(X)), bounds=(None, None))
        self.w_ = found.x if found.status == 0 else np.zeros(X.shape[1])
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the class by the side of the plane; on it, a third label that is no class."""
        scores = X @ self.w_
        return np.where(scores > 0, self.classes_[-1], np.where(scores < 0, self.classes_[0], -7))


def dense(widths: tuple[int, ...], activation: type[nn.Module]) -> nn.Module:
    """Build a fully connected network with PyTorch's initial weights, drawn from the global state."""
    layers: list[nn.Module] = [nn.Flatten()]
    for n_in, n_out in pairwise(widths[:-1]):
        layers += [nn.Linear(n_in, n_out), activation()]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


def convolutions(channels: int, strides: tuple[int, ...], activation: type[nn.Module]) -> nn.Module:
    """Build 3 x 3 convolutions and a linear layer for digits of 8 x 8 pixels, which are left with 2 x 2."""
    layers: list[nn.Module] = []
    for place, stride in enumerate(strides):
        layers += [nn.Conv2d(channels if place else 1, channels, 3, stride, padding=1), activation()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * channels, 10))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    **{
        f"MLP {'-'.join(map(str, hidden))} {name}": partial(dense, (64, *hidden, 10), ACTIVATIONS[name])
        for hidden in ((8, 8), (12, 12), (12,))
        for name in ("ReLU", "tanh")
    },
    **{f"CNN 4-4 {name}": partial(convolutions, 4, (2, 2), ACTIVATIONS[name]) for name in ("ReLU", "tanh")},
    "CNN 6-6-6 ReLU": partial(convolutions, 6, (1, 2, 2), nn.ReLU),
}


def builder(name: str) -> Build:
    """Return the function that builds a fresh network by name; its weights come from the seeded global state."""
    return lambda generator: NETWORKS[name]()


@cache
def digits() -> tuple[Tensor, Tensor]:
    """Return all 1797 digits."""
    data = load("digits")
    return torch.cat([data.x_train, data.x_test]), torch.cat([data.y_train, data.y_test])


def adam(settings: Settings) -> StackedProcedure:
    """Return the procedure that all networks share."""
    return StackedProcedure(cross_entropy, partial(torch.optim.Adam, lr=0.01), settings.n_iter, batch_size=64)


def separable(settings: Settings, size: int) -> dict[str, float]:
    """Count how often random labels of Gaussian points are separated by a plane through the origin."""
    source = np.random.default_rng(size)
    count = 0
    for _ in range(settings.cover_trials):
        x, y = source.normal(size=(size, DIMENSIONS)), source.integers(2, size=size)
        count += int((Separation().fit(x, y).predict(x) == y).all()) if 0 < y.sum() < size else 1
    return {"share": count / settings.cover_trials, "Cover": cover_probability(size, DIMENSIONS)}


def linear_oracles(settings: Settings) -> dict[str, Any]:
    """Search with a linear program, least squares and the nearest neighbour, whose complexities are known."""
    source = seeded(0)
    x = torch.randn(120, DIMENSIONS, generator=source, dtype=torch.float64)
    y = torch.randint(2, (120,), generator=source)
    options = {"labels": "random", "start": 4, "tolerance": 0.0}

    def search(estimator: Any, repeats: int, targets: Tensor = y) -> EffectiveModelComplexity:
        return effective_model_complexity(estimator, EstimatorProcedure(), x, targets, repeats=repeats, **options)

    separation = search(lambda generator: Separation(), settings.separations)
    normal = torch.randn(120, generator=source, dtype=torch.float64)
    squares = search(lambda generator: LinearRegression(fit_intercept=False), 20, normal)
    nearest = search(lambda generator: KNeighborsClassifier(1), 3)
    return {
        "separation": list(separation.n_fitted),
        "least squares": list(squares.n_fitted),
        "nearest": list(nearest.n_fitted),
        "samples": len(x),
    }


def described(found: EffectiveModelComplexity, name: str) -> dict[str, Any]:
    """Return what the evidence needs of a search."""
    failures = [probe for probe in found.probes if probe.decided is not None]
    flat = [(probe.smallest_eigenvalue or 0) >= -1e-3 * (probe.largest_eigenvalue or 0) for probe in failures]
    return {
        name: list(found.n_fitted),
        f"{name}, censored": [float(value) for value in found.censored],
        f"{name}, undecided": [float(value is False) for value in found.decided],
        f"{name}, failures": len(failures),
        f"{name}, minima": sum(flat),
    }


def capacities(settings: Settings, network: str) -> dict[str, Any]:
    """Search on original and on random labels of digits, and train on some digits for the test error."""
    x, y = digits()
    options = {"repeats": settings.repeats, "tolerance": 0.1, "start": settings.start}
    found = label_gap(builder(network), adam(settings), x, y, **options)
    return {
        "parameters": found.original.n_parameters,
        **described(found.original, "original"),
        **described(found.random, "random"),
        "gap": list(found.values),
        **errors(settings, network),
    }


def errors(settings: Settings, network: str) -> dict[str, Any]:
    """Train a network a repeat on digits drawn for it, and return its errors on them and on all others."""
    x, y = digits()
    seeds = spawn_seeds(1, settings.repeats)
    models = []
    membership = torch.zeros(len(seeds), len(x), dtype=torch.bool)
    for place, seed in enumerate(seeds):
        membership[place, torch.randperm(len(x), generator=seeded(seed))[: settings.train_size]] = True
        with isolated_rng(seed):
            models.append(NETWORKS[network]())
    adam(settings)(models, x, y, membership, seeded(0))

    def error(model: nn.Module, part: Tensor) -> float:
        return 1 - accuracy(predict(model, x[part]), y[part])

    trained = [error(model, own) for model, own in zip(models, membership, strict=True)]
    tested = [error(model, ~own) for model, own in zip(models, membership, strict=True)]
    return {"training error": trained, "test error": tested}


def convolution(settings: Settings) -> dict[str, Any]:
    """Search for the network of three convolutions, whose searches begin near their ends for time."""
    x, y = digits()
    options = {"repeats": settings.repeats, "tolerance": 0.1}
    build = builder("CNN 6-6-6 ReLU")
    random_start, start = settings.conv_start
    original = effective_model_complexity(build, adam(settings), x, y, start=start, **options)
    random = effective_model_complexity(build, adam(settings), x, y, labels="random", start=random_start, **options)
    return {
        "parameters": original.n_parameters,
        **described(original, "original"),
        **described(random, "random"),
        "gap": list(LabelGap(original, random).values),
        **errors(settings, "CNN 6-6-6 ReLU"),
    }


def reparametrized(settings: Settings) -> dict[str, Any]:
    """Search on random labels for an MLP in a random subspace of its weights, and with weights of a few bits."""
    x, y = digits()
    network = NETWORKS["MLP 12-12 ReLU"]
    builds: dict[str, Build] = {
        "subspace": lambda generator: SubspaceNetwork(network(), SUBSPACE, generator),
        "quantised": lambda generator: quantized_network(network(), BITS),
    }
    options = {"labels": "random", "repeats": settings.other_repeats, "tolerance": 0.1, "start": 64, "loss": None}
    found = {name: effective_model_complexity(build, adam(settings), x, y, **options) for name, build in builds.items()}
    return {name: list(each.n_fitted) for name, each in found.items()}


def descent(settings: Settings, method: str, budget: str, lr: float) -> dict[str, Any]:
    """Search on random labels for an 8-wide MLP, trained by stochastic or full-batch gradient descent.

    Budgets are what is compared: no training is prolonged.
    """
    x, y = digits()
    spent: dict[str, Any] = (
        {"n_iter": settings.descent_n_iter} if budget == "equal steps" else {"epochs": settings.descent_epochs}
    )
    size = 16 if method == "SGD" else None
    sgd = partial(torch.optim.SGD, lr=lr, momentum=0.9)
    train = TrainingProcedure(cross_entropy, sgd, batch_size=size, **spent)
    options = {"labels": "random", "repeats": settings.descent_repeats, "tolerance": 0.1, "loss": None}
    options |= {"start": settings.descent_start}
    found = effective_model_complexity(builder("MLP 8-8 ReLU"), train, x, y, **options)
    # None at all counts as one: where budgets are too small for a single sample, ratios are still numbers.
    return {"fitted": [max(1, n) for n in found.n_fitted], "parameters": found.n_parameters}


def activation(settings: Settings, nonlinearity: str) -> dict[str, Any]:
    """Search on random labels of Gaussian inputs for an MLP 32-24-24-10."""
    source = seeded(0)
    x = torch.randn(settings.gaussian_samples, 32, generator=source)
    y = torch.arange(len(x)) % 10
    options = {
        "labels": "random",
        "repeats": settings.other_repeats,
        "tolerance": 0.1,
        "start": settings.gaussian_start,
    }
    found = effective_model_complexity(
        lambda generator: dense((32, 24, 24, 10), ACTIVATIONS[nonlinearity]),
        adam(settings),
        x,
        y,
        restarts=settings.activation_restarts,
        **options,
    )
    first = {"at the first start": list(found.n_fitted_at_first), "parameters": found.n_parameters}
    return first | described(found, "random")
