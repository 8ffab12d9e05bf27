"""The networks whose weights are attacked: drawn, trained, and trained fast."""

import copy
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor, nn

from assay.core import LossFunction, MissingDataError, binary_cross_entropy, cross_entropy, fit, generator
from assay.data import Dataset, load
from assay.nets import mlp

EMBEDDED = "fashion"
"""What is drawn from where the wanted data set is not on this machine."""


@dataclass(frozen=True)
class Victim:
    """One kind of network: what it is trained on, and how.

    Attributes:
        source: Data set.
        n: Training images, the same number of each class.
        hidden: Hidden units of each layer.
        steps: Steps of gradient descent.
        classes: 2 for odd against even classes and one logit, else the number of classes.
        weight_decay: Factor of the weights in the gradient.
    """

    source: str
    n: int
    hidden: tuple[int, ...]
    steps: int
    classes: int = 2
    weight_decay: float = 1e-3


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
        load(source)
    except MissingDataError:
        return EMBEDDED
    return source


def train(victim: Victim, seed: int) -> Trained:
    """Draw data and initial weights by `seed`, and train by full-batch gradient descent with momentum 0.9."""
    x, y, others = draw(victim, generator(seed))
    outputs = 1 if victim.classes == 2 else victim.classes
    model = mlp((x[0].numel(), *victim.hidden, outputs), bias="first", generator=generator(seed)).double()
    loss = binary_cross_entropy if outputs == 1 else cross_entropy
    inputs = (x - x.mean(0)).flatten(1).double()
    train_in_span(model, inputs, y, loss=loss, steps=victim.steps, weight_decay=victim.weight_decay)
    return Trained(model.float(), x, y, others)


def draw(victim: Victim, source: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return training images with labels and as many other images, balanced over the classes."""
    data = _loaded(victim.source)
    labels = data.y_train % 2 if victim.classes == 2 else data.y_train
    each = victim.n // victim.classes
    mixed = torch.randperm(len(labels), generator=source)
    members = [mixed[labels[mixed] == label] for label in range(victim.classes)]
    seen = torch.cat([member[:each] for member in members])
    unseen = torch.cat([member[each : 2 * each] for member in members])
    return data.x_train[seen], labels[seen], data.x_train[unseen]


@cache
def _loaded(source: str) -> Dataset:
    """Read a data set once a process: every seed draws from it."""
    return load(source)


def train_in_span(
    model: nn.Sequential,
    x: Tensor,
    y: Tensor,
    *,
    loss: LossFunction,
    steps: int,
    weight_decay: float,
    learning_rate: float = 0.1,
    momentum: float = 0.9,
) -> None:
    """Train in place by full-batch gradient descent whose rate falls along a cosine; exact, but many times faster.

    The first layer's gradient lies in the span of the data, so training goes on in coordinates of it; what the
    initial weights have outside decays on its own, by a factor that is the same for all of it.
    """
    basis = torch.linalg.svd(x, full_matrices=False)[2][: torch.linalg.matrix_rank(x)]
    initial = model.get_parameter("0.weight").detach().clone()
    inside = initial @ basis.T
    outside = initial - inside @ basis
    narrow = copy.deepcopy(model)
    narrow[0].register_parameter("weight", nn.Parameter(inside))
    left = nn.Parameter(torch.ones((), dtype=x.dtype))
    sgd = partial(torch.optim.SGD, lr=learning_rate, momentum=momentum, weight_decay=weight_decay)
    fit(narrow, x @ basis.T, y, loss=loss, optimizer=sgd, schedule="cosine", steps=steps)
    decay = sgd([left])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(decay, steps)
    left.grad = torch.zeros_like(left)
    for _ in range(steps):
        decay.step()
        schedule.step()
    weights = narrow.state_dict()
    model.load_state_dict({**weights, "0.weight": weights["0.weight"] @ basis + left.detach() * outside})
