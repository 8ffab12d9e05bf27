"""Networks as tutorials train them: PyTorch's default initialisation under a small seed, biases in every layer."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assay.core import seeded
from assay.data import load
from assay.nets import load_encoder, small_conv
from assay.studies.reconstruction.reconstruction_known_start.settings import Settings


@dataclass(frozen=True)
class Row:
    """Say how one kind of network is trained.

    Attributes:
        clothes: Images of clothes, not digits.
        normalised: Images are normalised by the data set's mean and standard deviation; else they are in [0, 1].
        depth: Hidden layers.
        outputs: One or two outputs tell odd from even classes, ten tell all.
        optimizer: SGD, SGD with momentum 0.9, or Adam.
        batch: Minibatch; all images when 0.
        stop: Training loss at which training ends.
        base: Whether the network was trained on images of clothes before; what it was then is known.
    """

    clothes: bool = False
    normalised: bool = False
    depth: int = 1
    outputs: Literal[1, 2, 10] = 1
    optimizer: Literal["SGD", "momentum", "Adam"] = "SGD"
    lr: float = 0.1
    batch: int = 0
    weight_decay: float = 0.0
    stop: float = 1e-3
    base: bool = False


ROWS = {
    "SGD": Row(),
    "momentum, minibatches, decay": Row(normalised=True, optimizer="momentum", lr=0.01, batch=10, weight_decay=5e-4),
    "stopped early": Row(batch=10, stop=1e-2),
    "ten logits": Row(normalised=True, outputs=10, batch=10, lr=0.05),
    "clothes": Row(clothes=True, normalised=True, lr=0.05),
    "two hidden layers": Row(depth=2),
    "two hidden layers, ten logits": Row(
        normalised=True, depth=2, outputs=10, optimizer="momentum", lr=0.01, batch=10, weight_decay=5e-4
    ),
    "fine-tuned": Row(outputs=10, optimizer="momentum", lr=0.01, batch=10, weight_decay=5e-4, base=True),
    "Adam": Row(normalised=True, outputs=2, optimizer="Adam", lr=1e-3),
}
ONE_LAYER = ("SGD", "momentum, minibatches, decay", "stopped early", "ten logits", "clothes")
TWO_LAYERS = ("two hidden layers", "two hidden layers, ten logits")


@dataclass(frozen=True)
class Trained:
    """Hold a network with what it was before, its samples, as many held-out ones, and others of the kind."""

    model: nn.Module
    start: dict[str, Tensor]
    x: Tensor
    held: Tensor
    population: Tensor


def train_row(settings: Settings, row: Row, seed: int, *, n: int) -> Trained:
    """Draw images and train a network of one kind on them; its own seed is the last three digits of `seed`."""
    data = load(settings.clothes if row.clothes else settings.digits)
    shift, scale = (data.x_train[:10_000].mean(), data.x_train[:10_000].std()) if row.normalised else (0.0, 1.0)
    y = data.y_train if row.outputs == 10 else data.y_train % 2
    seen, unseen = balanced(y, n, seed)
    x, held, population = (
        (images - shift) / scale for images in (data.x_train[seen], data.x_train[unseen], data.x_test)
    )
    model = build(settings, row, x[0].numel(), seed)
    if row.base:
        images, labels = load(settings.clothes).x_train, load(settings.clothes).y_train
        optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
        train_epoch(model, optimizer, images[: settings.base_images], labels[: settings.base_images], 64)
    start = train(settings, row, model, x, y[seen])
    return Trained(model, start, x, held, population)


def balanced(y: Tensor, n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw n indices balanced over the classes, and as many others."""
    classes = int(y.max()) + 1
    mixed, each = torch.randperm(len(y), generator=seeded(seed)), n // classes
    members = [mixed[y[mixed] == label] for label in range(classes)]
    return torch.cat([one[:each] for one in members]), torch.cat([one[each : 2 * each] for one in members])


def own_seed(settings: Settings, seed: int) -> int:
    """Return the small seed that a network is built under."""
    return seed % settings.tried


def build(settings: Settings, row: Row, inputs: int, seed: int) -> nn.Sequential:
    """Build a network as PyTorch initialises it under a small seed, and leave that seed's stream to the training."""
    torch.manual_seed(own_seed(settings, seed))
    widths = (inputs, *(settings.width if row.depth == 1 else settings.deep_width for _ in range(row.depth)))
    hidden = [layer for sizes in pairwise(widths) for layer in (nn.Linear(*sizes), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(widths[-1], row.outputs))


def train(settings: Settings, row: Row, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Train a network to the row's loss, and return its weights before."""
    start = {name: value.clone() for name, value in model.state_dict().items()}
    if row.optimizer == "Adam":
        optimizer: torch.optim.Optimizer = torch.optim.Adam(model.parameters(), row.lr)
    else:
        momentum = 0.9 * (row.optimizer == "momentum")
        optimizer = torch.optim.SGD(model.parameters(), row.lr, momentum, weight_decay=row.weight_decay)
    for _ in range(settings.most_epochs):
        train_epoch(model, optimizer, x, y, row.batch or len(x))
        with torch.no_grad():
            if loss_of(model(x), y) < row.stop:
                break
    model.eval()
    return start


def train_epoch(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, batch: int) -> None:
    """Take one epoch of steps in shuffled minibatches."""
    for some in torch.randperm(len(x)).split(batch):
        optimizer.zero_grad()
        loss_of(model(x[some]), y[some]).backward()
        optimizer.step()


def loss_of(outputs: Tensor, y: Tensor) -> Tensor:
    """Return the cross-entropy, of one logit or of several."""
    if outputs.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(outputs.squeeze(1), y.float())
    return F.cross_entropy(outputs, y)


# --- Heads on frozen features ----------------------------------------------------------------------------------------


def embed(settings: Settings, source: str) -> dict[str, Tensor]:
    """Return features of images that heads are trained on, whether each is of an odd class, and those of others."""
    data = load(source)
    shape = tuple(data.x_test.shape[1:])
    if settings.stand_in:
        encoder: nn.Module = small_conv(shape, 200, generator=seeded(0)).eval()  # pyright: ignore[reportArgumentType]
    else:
        encoder = load_encoder("efficientnet-lite0")
    images = torch.cat([data.x_test[: settings.features], data.x_train[: settings.features]])
    with torch.no_grad():
        features = torch.cat([encoder(batch) for batch in images.split(50)])
    x, population = features.split(settings.features)
    return {"x": x, "y": data.y_test[: settings.features] % 2, "population": population}


def train_head(settings: Settings, seed: int, pool: dict[str, Tensor]) -> Trained:
    """Train a head of two layers on features, by momentum SGD in minibatches."""
    row = Row(optimizer="momentum", lr=0.01, batch=10)
    seen, unseen = balanced(pool["y"], settings.n, seed)
    model = build(settings, row, pool["x"].shape[1], seed)
    start = train(settings, row, model, pool["x"][seen], pool["y"][seen])
    return Trained(model, start, pool["x"][seen], pool["x"][unseen], pool["population"])
