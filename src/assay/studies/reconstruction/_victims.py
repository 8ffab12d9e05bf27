"""The networks whose weights are attacked: what they are trained on, and how."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from assay.core import MissingDataError, binary_cross_entropy, cross_entropy, generator
from assay.data import Dataset, load
from assay.nets import mlp
from assay.reconstruction import train_in_span

EMBEDDED = "fashion"
"""What is drawn from where the wanted data set is not on this machine."""

VEHICLES = (0, 1, 8, 9)
"""Classes of CIFAR-10 that the papers set against the other six, its animals."""


@dataclass(frozen=True)
class Victim:
    """One kind of network: what it is trained on, and how.

    Attributes:
        source: Data set.
        n: Training images, the same number of each class.
        hidden: Hidden units of each layer.
        steps: Steps of gradient descent.
        classes: 2 for one logit and odd against even classes, on CIFAR-10 vehicles against animals; else how many.
        weight_decay: Factor of the weights in the gradient.
        learning_rate: Where the cosine starts.
    """

    source: str
    n: int
    hidden: tuple[int, ...]
    steps: int
    classes: int = 2
    weight_decay: float = 1e-3
    learning_rate: float = 0.1


@dataclass(frozen=True)
class Trained:
    """A trained network with the images that it saw, as many that it did not see, and the mean that was taken out."""

    model: nn.Sequential
    x: Tensor
    y: Tensor
    others: Tensor

    @property
    def mean(self) -> Tensor:
        """Mean image of the training set."""
        return self.x.mean(0)


def available(source: str) -> str:
    """Return the wanted data set's name, or the embedded one's where it is not on this machine."""
    try:
        _loaded(source)
    except MissingDataError:
        return EMBEDDED
    return source


def train(victim: Victim, seed: int, device: str = "cpu") -> Trained:
    """Draw data and initial weights by `seed`, and train by full-batch gradient descent with momentum 0.9."""
    x, y, others = (part.to(device) for part in draw(victim, generator(seed)))
    outputs = 1 if victim.classes == 2 else victim.classes
    model = mlp((x[0].numel(), *victim.hidden, outputs), bias="first", generator=generator(seed)).double().to(device)
    loss = binary_cross_entropy if outputs == 1 else cross_entropy
    inputs = (x - x.mean(0)).flatten(1).double()
    options = {"steps": victim.steps, "weight_decay": victim.weight_decay, "learning_rate": victim.learning_rate}
    train_in_span(model, inputs, y, loss=loss, **options)
    return Trained(model.float(), x, y, others)


def draw(victim: Victim, source: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return training images with labels and as many other images, balanced over the classes."""
    data = _loaded(victim.source)
    labels = halves(data) if victim.classes == 2 else data.y_train
    each = victim.n // victim.classes
    mixed = torch.randperm(len(labels), generator=source)
    members = [mixed[labels[mixed] == label] for label in range(victim.classes)]
    seen = torch.cat([member[:each] for member in members])
    unseen = torch.cat([member[each : 2 * each] for member in members])
    return data.x_train[seen], labels[seen], data.x_train[unseen]


def halves(data: Dataset) -> Tensor:
    """Label vehicles 1 and animals 0 in CIFAR-10, odd classes 1 and even ones 0 elsewhere."""
    if data.name == "cifar10":
        return torch.isin(data.y_train, torch.tensor(VEHICLES)).long()
    return data.y_train % 2


@cache
def _loaded(source: str) -> Dataset:
    """Read a data set once a process: every seed draws from it."""
    return load(source)
