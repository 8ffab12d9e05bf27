"""Attacked networks: data, architecture and training."""

from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor, nn

from assay.core import LossFunction, Parameters, binary_cross_entropy, cross_entropy, fit, seeded, signs, squared_error
from assay.data import Dataset, load
from assay.nets import mlp
from assay.nets.initialization import new_layer
from assay.reconstruction import train_in_span

VEHICLES = (0, 1, 8, 9)
"""Vehicles among the classes of CIFAR-10; the other six are animals."""


@dataclass(frozen=True)
class Victim:
    """One kind of network: its data, architecture and training.

    Attributes:
        source: Data set.
        n: Training images, balanced over the classes.
        hidden: Hidden units of each layer.
        steps: Steps of gradient descent.
        classes: 2 for one logit and odd against even classes (vehicles against animals on CIFAR-10), else their number.
        weight_decay: Factor of the weights in the gradient.
        learning_rate: Initial learning rate; it falls to zero along a cosine.
        loss: "logistic", or "squared" or "huber" for one output with targets 1 and -1.
        channels: Output channels of a 3 x 3 convolution in front; 0 for a dense network.
        first_layer_std: Standard deviation of the first layer's initial weights; PyTorch's when None.
    """

    source: str
    n: int
    hidden: tuple[int, ...]
    steps: int
    classes: int = 2
    weight_decay: float = 1e-3
    learning_rate: float = 0.1
    loss: str = "logistic"
    channels: int = 0
    first_layer_std: float | None = None

    @property
    def n_outputs(self) -> int:
        """Outputs of the network."""
        return 1 if self.classes == 2 else self.classes


@dataclass(frozen=True)
class Trained:
    """A trained network with its training images and labels, and as many held-out images."""

    model: nn.Sequential
    x: Tensor
    y: Tensor
    others: Tensor

    @property
    def mean(self) -> Tensor:
        """Mean image of the training set."""
        return self.x.mean(0)


def train(victim: Victim, seed: int, device: str = "cpu") -> Trained:
    """Draw data and initial weights by `seed`, and train by full-batch gradient descent with momentum 0.9."""
    x, y, others = (part.to(device) for part in draw(victim, seeded(seed)))
    model = network(victim, tuple(x.shape[1:]), seed).double().to(device)
    inputs = (x - x.mean(0)).double()
    loss, targets = task(victim, y)
    steps, rate, decay = victim.steps, victim.learning_rate, victim.weight_decay
    if victim.channels:
        sgd = partial(torch.optim.SGD, lr=rate, momentum=0.9, weight_decay=decay)
        fit(model, inputs, targets, loss=loss, optimizer=sgd, schedule="cosine", n_iter=steps)
    else:
        flat = inputs.flatten(1)
        train_in_span(model, flat, targets, loss=loss, n_iter=steps, weight_decay=decay, lr=rate)
    return Trained(model.float(), x, y, others)


def load_trained(victim: Victim, seed: int, weights: Parameters, device: str = "cpu") -> Trained:
    """Return the result of `train` from its trained weights."""
    x, y, others = (part.to(device) for part in draw(victim, seeded(seed)))
    model = network(victim, tuple(x.shape[1:]), seed).to(device)
    model.load_state_dict(weights)
    return Trained(model, x, y, others)


def network(victim: Victim, shape: tuple[int, ...], seed: int) -> nn.Sequential:
    """Build an untrained network of one kind; dense networks take flat inputs."""
    source = seeded(seed)
    outer = victim.channels or shape[0]
    widths = (outer * torch.Size(shape[1:]).numel(), *victim.hidden, victim.n_outputs)
    dense = mlp(widths, bias="first", first_layer_std=victim.first_layer_std, generator=source)
    if not victim.channels:
        return dense
    convolution = new_layer(nn.Conv2d, shape[0], outer, 3, padding=1, generator=source)
    return nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), *dense)


def task(victim: Victim, y: Tensor) -> tuple[LossFunction, Tensor]:
    """Return the training loss of a network and its targets for the labels."""
    if victim.loss == "logistic":
        return binary_cross_entropy if victim.classes == 2 else cross_entropy, y
    return {"squared": squared_error, "huber": huber}[victim.loss], signs(y)


def huber(outputs: Tensor, targets: Tensor) -> Tensor:
    """Compute the mean Huber loss, quadratic up to an error of 1, of a network with one output."""
    return nn.functional.huber_loss(outputs.squeeze(1), targets.to(outputs))


def draw(victim: Victim, source: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return training images with labels, and as many held-out images, balanced over the classes."""
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
    """Read a data set once per process."""
    return load(source)
