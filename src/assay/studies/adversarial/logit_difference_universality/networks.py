"""The kinds of network whose logit gaps are compared, and the small space that is searched for robust ones."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from assay.adversarial import FGSM, PGD, Attack, Lp, run_attack
from assay.core import cross_entropy, seeded
from assay.data import load
from assay.nets import Recipe, mlp
from assay.studies.adversarial.logit_difference_universality.settings import Settings

KINDS = ("linear", "perceptron", "shuffled labels", "untrained", "adversarially trained")
"""The kinds that the claims are measured on; all but the first are perceptrons of two hidden layers."""

OTHERS = ("MNIST", "random images")
"""Other data, reported beside them: the random images are uniform noise with random labels."""

ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh, "softplus": nn.functional.softplus}
SPACE = {"width": (32, 64, 128), "depth": (1, 2, 3), "activation": tuple(ACTIVATIONS), "skip": (False, True)}


def flat_images(settings: Settings, kind: str, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return training and test images as flat vectors, with labels, as the kind has them."""
    data, source = load(settings.digits if kind == "MNIST" else settings.source), seeded(seed)
    chosen = torch.randperm(len(data.x_train), generator=source)[: settings.n_train]
    x, y = data.x_train[chosen].flatten(1), data.y_train[chosen]
    x_test, y_test = data.x_test.flatten(1), data.y_test
    if kind == "random images":
        x, x_test = (torch.rand(part.shape, generator=source) for part in (x, x_test))
    if kind in ("shuffled labels", "random images"):
        y = y[torch.randperm(len(y), generator=source)]
    return x, y, x_test, y_test


def build(settings: Settings, kind: str, n_features: int, seed: int) -> nn.Sequential:
    """Return an untrained network of a kind."""
    recipe = replace(settings.recipe, hidden=()) if kind == "linear" else settings.recipe
    return recipe.build((n_features,), 10, seeded(seed))


def train_against_fgsm(recipe: Recipe, model: nn.Module, x: Tensor, y: Tensor, *, eps: float, seed: int) -> None:
    """Train in place on images that one signed step has made harder, at a constant learning rate."""
    attack, source = FGSM(Lp(norm=math.inf, eps=eps, input_range=(0.0, 1.0))), seeded(seed)
    optimizer = recipe.new_optimizer(model.parameters())
    for _ in range(recipe.epochs):
        for batch in torch.randperm(len(x), generator=source).split(recipe.batch_size or len(x)):
            harder = attack(model, x[batch], y[batch])
            optimizer.zero_grad()
            cross_entropy(model(harder), y[batch]).backward()
            optimizer.step()


def trained(settings: Settings, kind: str, seed: int) -> tuple[nn.Sequential, Tensor, Tensor]:
    """Return a network of a kind, in float64, with the test images and labels of its data."""
    x, y, x_test, y_test = flat_images(settings, kind, seed)
    model = build(settings, kind, x.shape[1], seed)
    if kind == "adversarially trained":
        train_against_fgsm(settings.recipe, model, x, y, eps=settings.train_eps, seed=seed)
    elif kind != "untrained":
        settings.recipe.train(model, x, y, seeded(seed))
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


def child(architecture: dict[str, Any], n_features: int, seed: int) -> nn.Sequential:
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
