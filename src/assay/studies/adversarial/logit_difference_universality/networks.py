"""The kinds of network whose logit gaps are compared, and the small space that is searched for robust ones."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from assay.adversarial import FGSM, PGD, Attack, Lp, run_attack
from assay.core import LossFunction, Step, cross_entropy, fit, seeded
from assay.data import load
from assay.nets import mlp

KINDS = ("linear", "perceptron", "shuffled labels", "untrained", "adversarially trained")
"""The kinds that the claims are measured on; all but the first are perceptrons of two hidden layers."""

OTHERS = ("MNIST", "random images")
"""Other data, reported beside them: the random images are uniform noise with random labels."""

ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh, "softplus": nn.functional.softplus}
SPACE = {"width": (32, 64, 128), "depth": (1, 2, 3), "activation": tuple(ACTIVATIONS), "skip": (False, True)}


@dataclass(frozen=True)
class Training:
    """How one network is trained, by Adam in batches of 128."""

    source: str = "fashion-mnist"
    digits: str = "mnist"
    n_train: int = 20_000
    hidden: tuple[int, ...] = (64, 64)
    epochs: int = 10
    train_eps: float = 0.05


def flat_images(kind: str, training: Training, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return training and test images as flat vectors, with labels, as the kind has them."""
    data, source = load(training.digits if kind == "MNIST" else training.source), seeded(seed)
    chosen = torch.randperm(len(data.x_train), generator=source)[: training.n_train]
    x, y = data.x_train[chosen].flatten(1), data.y_train[chosen]
    x_test, y_test = data.x_test.flatten(1), data.y_test
    if kind == "random images":
        x, x_test = (torch.rand(part.shape, generator=source) for part in (x, x_test))
    if kind in ("shuffled labels", "random images"):
        y = y[torch.randperm(len(y), generator=source)]
    return x, y, x_test, y_test


def build(kind: str, training: Training, n_features: int, seed: int) -> nn.Module:
    """Return an untrained network of a kind."""
    hidden = () if kind == "linear" else training.hidden
    return mlp((n_features, *hidden, 10), generator=seeded(seed))


def train(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    epochs: int,
    seed: int,
    loss: LossFunction = cross_entropy,
    watch: Callable[[Step], None] | None = None,
) -> None:
    """Train in place on clean images."""
    adam = partial(torch.optim.Adam, lr=1e-3)
    options: dict[str, Any] = {"epochs": epochs, "batch_size": 128, "generator": seeded(seed)}
    fit(model, x, y, loss=loss, optimizer=adam, schedule="cosine", callbacks=[watch] if watch else [], **options)


def train_against_fgsm(model: nn.Module, x: Tensor, y: Tensor, *, epochs: int, eps: float, seed: int) -> None:
    """Train in place on images that one signed step has made harder."""
    attack, source = FGSM(Lp(norm=math.inf, eps=eps, input_range=(0.0, 1.0))), seeded(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=source).split(128):
            harder = attack(model, x[batch], y[batch])
            optimizer.zero_grad()
            cross_entropy(model(harder), y[batch]).backward()
            optimizer.step()


def trained(kind: str, training: Training, seed: int) -> tuple[nn.Module, Tensor, Tensor]:
    """Return a network of a kind, in float64, with the test images and labels of its data."""
    x, y, x_test, y_test = flat_images(kind, training, seed)
    model = build(kind, training, x.shape[1], seed)
    if kind == "adversarially trained":
        train_against_fgsm(model, x, y, epochs=training.epochs, eps=training.train_eps, seed=seed)
    elif kind != "untrained":
        train(model, x, y, epochs=training.epochs, seed=seed)
    return model.double(), x_test.double(), y_test


class SkipLayer(nn.Module):
    """A dense layer with an activation, added to its input where asked."""

    def __init__(self, width: int, activation: Callable[[Tensor], Tensor], *, skip: bool, source: torch.Generator):
        super().__init__()
        self.dense = mlp((width, width), generator=source)
        self.activation, self.skip = activation, skip

    def forward(self, x: Tensor) -> Tensor:
        """Return the activations."""
        out = self.activation(self.dense(x))
        return x + out if self.skip else out


def child(architecture: dict[str, Any], n_features: int, seed: int) -> nn.Module:
    """Build one network of the search space."""
    source, width = seeded(seed), architecture["width"]
    activation = ACTIVATIONS[architecture["activation"]]
    layers = [
        SkipLayer(width, activation, skip=architecture["skip"], source=source) for _ in range(architecture["depth"])
    ]
    return nn.Sequential(mlp((n_features, width), generator=source), *layers, mlp((width, 10), generator=source))


def robust_accuracies(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> dict[str, float]:
    """Return the accuracy on clean images, under one signed step and under ten projected ones."""
    threat = Lp(norm=math.inf, eps=eps, input_range=(0.0, 1.0))
    attacks: dict[str, Attack] = {"FGSM": FGSM(threat), "PGD": PGD(threat, n_iter=10)}
    clean = (model(x).argmax(1) == y).double().mean().item()
    return {"clean": clean} | {
        name: run_attack(model, x, y, attack=attack, batch_size=1000).robust_accuracy
        for name, attack in attacks.items()
    }
