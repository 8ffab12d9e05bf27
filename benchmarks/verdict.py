"""Verdict of `KKTReconstructor` on twenty networks: ten that hold training images for it, ten that do not.

All are trained in plain PyTorch as its users write it (default initialisation, biases everywhere), and attacked with
the defaults. The verdict sees the weights only; the images, and as many held-out ones, tell afterwards what was
recovered.
One file a network is kept below `--out`: an interrupted run continues.

    python benchmarks/verdict.py --out /tmp/verdict
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor, nn

from assay.core import InvalidInputError, seeded
from assay.data import load
from assay.reconstruction import KKTReconstructor, normalized_correlation

# Chosen before the first run.
LEAST_EXPLAINED, MOST_CLAIMED, MOST_SILENT = 9, 0, 0

RESULTS = Path(__file__).with_suffix(".json")

Record = dict[str, Any]


def dense(*widths: int, drop: float = 0.0, norm: bool = False, gates: tuple[type[nn.Module], ...] = ()) -> nn.Module:
    """Build dense layers with gates, ReLU unless given, between them; PyTorch's initialisation."""
    gates = gates or (nn.ReLU,) * (len(widths) - 2)
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after, gate in zip(widths[:-2], widths[1:-1], gates, strict=True):
        layers += [nn.Linear(before, after), *([nn.BatchNorm1d(after)] if norm else []), gate()]
        layers += [nn.Dropout(drop)] if drop else []
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


def convolutional() -> nn.Module:
    """Build the network of PyTorch's tutorial on CIFAR-10."""
    features = (nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2))
    head = (nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10))
    return nn.Sequential(*features, nn.Flatten(), *head)


ONE_LOGIT = partial(dense, 784, 500, 1)


@dataclass(frozen=True)
class Network:
    """One network, its images and its training; gradient descent with momentum 0.9.

    Attributes:
        holds: Whether its weights hold images for an attack from the weights alone.
        build: Builds it.
        n: Training images, balanced over the classes.
        classes: 2 for odd against even classes, else all ten.
        source: Data set.
        inputs: What is done to images in [0, 1]: their training mean is taken off, nothing, or scaled to [-1, 1].
        stop: Loss at which training ends early.
        freeze: Layers, from the first, that keep their initial weights.
        shuffle: Whether the entries of each weight are shuffled after training.
    """

    holds: bool
    build: Callable[[], nn.Module] = ONE_LOGIT
    n: int = 30
    classes: Literal[2, 10] = 2
    source: str = "mnist"
    inputs: Literal["centred", "raw", "scaled"] = "centred"
    steps: int = 7_000
    lr: float = 0.05
    weight_decay: float = 1e-3
    batch: int | None = None
    adam: bool = False
    stop: float = 0.0
    freeze: int = 0
    shuffle: bool = False


NETWORKS = {
    "one logit": Network(True),
    "two logits": Network(True, partial(dense, 784, 500, 2)),
    "ten classes": Network(True, partial(dense, 784, 500, 10), classes=10),
    "clothes, one logit": Network(True, n=20, source="fashion-mnist"),
    "clothes, ten classes": Network(True, partial(dense, 784, 500, 10), classes=10, source="fashion-mnist"),
    "two hidden layers": Network(True, partial(dense, 784, 300, 300, 1), n=20),
    "clothes, two hidden layers": Network(True, partial(dense, 784, 300, 300, 2), n=20, source="fashion-mnist"),
    "dropout": Network(True, partial(dense, 784, 500, 1, drop=0.5)),
    "1000 units": Network(True, partial(dense, 784, 1000, 1), n=20),
    "minibatches of 10": Network(True, batch=10),
    "untrained": Network(False, steps=0),
    "shuffled weights": Network(False, shuffle=True),
    "Adam without decay": Network(False, partial(dense, 784, 500, 2), adam=True, weight_decay=0.0, steps=3_000),
    "no decay": Network(False, weight_decay=0.0, steps=3_000),
    "batch-norm": Network(False, partial(dense, 784, 500, 1, norm=True), steps=2_000),
    "stopped early": Network(False, stop=1e-2),
    "LeakyReLU and ReLU": Network(False, partial(dense, 784, 300, 300, 1, gates=(nn.LeakyReLU, nn.ReLU)), n=20),
    "frozen first layer": Network(False, freeze=1),
    "inputs in [0, 1]": Network(False, inputs="raw", lr=0.02, steps=17_000),
    "convolutions": Network(False, convolutional, 60, 10, "cifar10", "scaled", steps=1_500, lr=0.01, weight_decay=5e-4),
}


def main(out: Path, seed: int = 0) -> None:
    """Judge every network, and write the verdicts so far beside this file.

    Args:
        out: Folder of the networks' files.
        seed: Seed of images and initial weights; results of other seeds than 0 stay in `out`.
    """
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    rows = {}
    for name, network in NETWORKS.items():
        path = out / f"{name}-{seed}.json"
        if not path.exists():
            path.write_text(json.dumps(judged(network, seed), indent=1) + "\n")
        rows[name] = json.loads(path.read_text())
        print(name, json.dumps(rows[name]), flush=True)
    result = RESULTS if seed == 0 else out / f"verdict-{seed}.json"
    result.write_text(json.dumps(summary(rows), indent=1) + "\n")


# --- The networks ----------------------------------------------------------------------------------------------------


def judged(network: Network, seed: int) -> Record:
    """Train and attack one network; return the verdict, and what training and held-out images say to it."""
    x, y, others = images(network, seed)
    model = trained(network, x, y, seed)
    objective = "binary" if model(x[:2]).shape[1] == 1 else "vector"
    begin = time.process_time()
    try:
        found = KKTReconstructor(objective, input_shape=tuple(x.shape[1:])).fit(model)
    except InvalidInputError as error:
        return {"holds": network.holds, "outcome": "refused", "verdict": str(error)}
    return {
        "holds": network.holds,
        "outcome": found.verdict_.outcome,
        "verdict": str(found.verdict_),
        "images": len(x),
        "reconstructions": len(found.reconstructions_),
        "recovered": counts(x, found.reconstructions_),
        "held out": counts(others, found.reconstructions_),
        "recovered in the pool": counts(x, found.pool_),
        "held out in the pool": counts(others, found.pool_),
        "left": found.verdict_.unexplained_in_span,
        "left by chance": found.verdict_.unexplained_by_chance,
        "CPU seconds": time.process_time() - begin,
    }


def counts(x: Tensor, candidates: Tensor) -> list[int]:
    """Return how many images some candidate matches with NCC > 0.9 and > 0.75."""
    if not len(candidates):
        return [0, 0]
    best = normalized_correlation(x.flatten(1), candidates.flatten(1)).amax(1)
    return [int((best > least).sum()) for least in (0.9, 0.75)]


def images(network: Network, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw training images with labels and as many held-out images, as the network gets them."""
    data = load(network.source)
    labels = data.y_train % 2 if network.classes == 2 else data.y_train
    mixed, each = torch.randperm(len(labels), generator=seeded(seed)), network.n // network.classes
    members = [mixed[labels[mixed] == label] for label in range(network.classes)]
    seen, unseen = (torch.cat([member[part] for member in members]) for part in (slice(each), slice(each, 2 * each)))
    x, others = data.x_train[seen], data.x_train[unseen]
    shift, scale = {"centred": (x.mean(0), 1.0), "raw": (0.0, 1.0), "scaled": (0.5, 0.5)}[network.inputs]
    return (x - shift) / scale, labels[seen], (others - shift) / scale


def trained(network: Network, x: Tensor, y: Tensor, seed: int) -> nn.Module:
    """Train a network in plain PyTorch."""
    torch.manual_seed(seed)
    model = network.build()
    for layer in [layer for layer in model.modules() if isinstance(layer, nn.Linear)][: network.freeze]:
        layer.requires_grad_(False)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    sgd = partial(torch.optim.SGD, lr=network.lr, momentum=0.9, weight_decay=network.weight_decay)
    optimizer = torch.optim.Adam(weights, 1e-3, weight_decay=network.weight_decay) if network.adam else sgd(weights)
    for _ in range(network.steps):
        some = torch.randperm(len(x))[: network.batch or len(x)]
        loss = loss_of(model(x[some]), y[some])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss < network.stop:
            break
    if network.shuffle:
        with torch.no_grad():
            for weight in weights:
                weight.copy_(weight.flatten()[torch.randperm(weight.numel())].view_as(weight))
    return model.eval()


def loss_of(outputs: Tensor, y: Tensor) -> Tensor:
    if outputs.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(outputs.squeeze(1), y.float())
    return F.cross_entropy(outputs, y)


def summary(rows: dict[str, Record]) -> Record:
    """Weigh the verdicts against the bars."""
    holding = [row for row in rows.values() if row["holds"]]
    empty = [row for row in rows.values() if not row["holds"]]
    figures = {
        "explained, of the networks that hold images": (
            sum(row["outcome"] == "found" for row in holding),
            "at least",
            LEAST_EXPLAINED,
        ),
        "explained, of those that hold none": (
            sum(row["outcome"] == "found" for row in empty),
            "at most",
            MOST_CLAIMED,
        ),
        "without a word on what fails, of those that hold none": (
            sum(row["outcome"] == "found" or not row["verdict"] for row in empty),
            "at most",
            MOST_SILENT,
        ),
    }
    return {
        "bars": {
            name: {"value": value, side: bar, "holds": value >= bar if side == "at least" else value <= bar}
            for name, (value, side, bar) in figures.items()
        },
        "networks": rows,
    }


if __name__ == "__main__":
    tyro.cli(main)
