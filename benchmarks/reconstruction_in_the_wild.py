"""Reconstruction from networks as people train them: nothing is known but the weights and images of the kind.

Plain PyTorch: default initialisation under a small seed, biases in every layer, inputs in [0, 1] or normalised by mean
and standard deviation, SGD with or without momentum. The attack guesses the seed and searches from that start; its
population is the data set's other split, of which it uses mean and spread. Scores are strict: the population's mean
image is taken out of candidate and image. Rows, seeds and bars were chosen before the first run: every network of a row
is run in order, none is replaced. One file a network is kept below `--out`: an interrupted run continues.

    python benchmarks/reconstruction_in_the_wild.py --out /tmp/wild
"""

import json
import time
from dataclasses import asdict, dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor, nn

from assay.core import seeded
from assay.data import load
from assay.reconstruction import KnownStartReconstructor, guess_initial_state, normalized_correlation
from assay.reconstruction.known_start import InitialState

# Chosen before the first run.
SEEDS = (0, 1, 7, 42, 123, 1234)
"""Seeds under which the six networks of each row are built and trained."""
TRIED = [*range(1000), 1234, 1337, 2020, 2021, 2022, 2023, 2024, 2025, 2026]
"""Seeds that the attack tries."""
BARS = {
    "one hidden layer": (27, 29, 24),
    "two hidden layers": (24, 0, 0),
    "100 images": (60, 0, 0),
    "CIFAR-10": (20, 0, 0),
}
"""Least means of images above 0.9 and above 0.75, and above 0.9 among the candidates that restarts agree on."""

RESULTS = Path(__file__).with_suffix(".json")
BASE_EPOCHS = 2
MOST_EPOCHS = 2_000

Record = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """Training of the six networks of a row.

    Attributes:
        first: Seed of the first network's images; the others' follow.
        bar: Bar that the row's means are held to, if any.
        source: Data set.
        inputs: Images in [0, 1], or normalised by the data set's mean and standard deviation.
        hidden: Widths of the hidden layers.
        outputs: Outputs; 1 and 2 tell odd from even classes.
        n: Training images, balanced over the classes.
        optimizer: SGD, SGD with momentum 0.9, or Adam.
        batch: Minibatch; all images when 0.
        stop: Training loss at which training ends.
        base: Data set that the network is trained on before; what it was then is the public checkpoint.
    """

    first: int
    bar: str = ""
    source: str = "mnist"
    inputs: Literal["[0, 1]", "normalised"] = "[0, 1]"
    hidden: tuple[int, ...] = (500,)
    outputs: Literal[1, 2, 10] = 1
    n: int = 30
    optimizer: Literal["SGD", "momentum", "Adam"] = "SGD"
    lr: float = 0.1
    batch: int = 0
    weight_decay: float = 0.0
    stop: float = 1e-3
    base: str = ""


ONE, TWO, LARGE, COLOUR = BARS
TUTORIAL: dict[str, Any] = {"optimizer": "momentum", "lr": 0.01, "batch": 10, "weight_decay": 5e-4}
ROWS = {
    "SGD": Row(1000, ONE),
    "momentum, minibatches, decay": Row(1010, ONE, inputs="normalised", **TUTORIAL),
    "stopped early": Row(1020, ONE, batch=10, stop=1e-2),
    "two logits": Row(1030, ONE, outputs=2, optimizer="momentum", lr=0.05, weight_decay=5e-4),
    "ten logits": Row(1040, ONE, inputs="normalised", outputs=10, batch=10, lr=0.05),
    "clothes": Row(1050, ONE, "fashion-mnist", "normalised", lr=0.05),
    "clothes, ten logits": Row(1060, ONE, "fashion-mnist", outputs=10, **TUTORIAL),
    "two hidden layers": Row(1070, TWO, hidden=(300, 300)),
    "two hidden layers, ten logits": Row(1080, TWO, "mnist", "normalised", (300, 300), 10, **TUTORIAL),
    "two hidden layers, clothes": Row(1090, TWO, "fashion-mnist", "normalised", (300, 300), 2, batch=10, lr=0.05),
    "CIFAR-10": Row(1100, COLOUR, "cifar10", "normalised", **TUTORIAL),
    "CIFAR-10, ten logits": Row(1110, COLOUR, "cifar10", outputs=10, batch=10, lr=0.05, stop=1e-2),
    "100 images": Row(1120, LARGE, hidden=(1000,), n=100),
    "100 images, ten logits": Row(1130, LARGE, "mnist", "normalised", (1000,), 10, 100, **TUTORIAL),
    "fine-tuned": Row(1140, ONE, outputs=10, base="fashion-mnist", **TUTORIAL),
    "Adam": Row(1150, "", inputs="normalised", outputs=2, optimizer="Adam", lr=1e-3),
}


def main(out: Path, only: tuple[str, ...] = (), networks: int = len(SEEDS)) -> None:
    """Attack every network, and write the results so far beside this file.

    Args:
        out: Folder of the networks' files.
        only: Names of the rows to run; all unless given.
        networks: How many of the six of each row are run, in order.
    """
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    for k, name in ((k, name) for k in range(networks) for name in only or ROWS):
        path = out / f"{name}-{k}.json"
        if not path.exists():
            path.write_text(json.dumps(attacked(ROWS[name], k), indent=1) + "\n")
        print(k, name, json.dumps(json.loads(path.read_text())), flush=True)
    rows = {name: [json.loads(path.read_text()) for path in sorted(out.glob(f"{name}-?.json"))] for name in ROWS}
    RESULTS.write_text(json.dumps(summary({name: row for name, row in rows.items() if row}), indent=1) + "\n")


def attacked(row: Row, k: int) -> Record:
    """Train and attack one network; count the training images found, and as many held-out images in their place."""
    x, y, held, population = images(row, row.first + k)
    model, start = trained(row, x, y, SEEDS[k])
    begin = time.process_time()
    guess = InitialState.from_checkpoint(model, start) if row.base else guess_initial_state(model, seeds=TRIED)
    guessing = time.process_time() - begin
    if not guess.found:
        return {"start found": False, "count exact": False}
    found = KnownStartReconstructor(guess, population=population).fit(model)
    seconds, mean = time.process_time() - begin, population.mean(0).flatten()
    pool = torch.cat([found.pool_.flatten(1), found.reconstructions_.flatten(1)])
    wrong = KnownStartReconstructor(built(row, SEEDS[k] + 1).state_dict(), population=population).fit(model)
    return {
        "start found": bool(row.base) or guess.seed == SEEDS[k],
        "count": found.verdict_.n_samples,
        "count exact": found.verdict_.n_samples == row.n,
        "rank": found.rank_,
        "share": found.init_share_,
        "verdict": found.verdict_.outcome,
        "gap": None if found.gap_ is None else [round(float(gap), 4) for gap in found.gap_],
        "exact": found.n_exact_,
        "pool": counts(x, pool, mean),
        "agreed": counts(x, found.reconstructions_, mean),
        "held out, pool": counts(held, pool, mean),
        "held out, agreed": counts(held, found.reconstructions_, mean),
        "held out, training images": counts(held, x.flatten(1), mean),
        "wrong start": counts(x, wrong.pool_, mean),
        "CPU seconds of the guess": round(guessing, 1),
        "CPU seconds": round(seconds, 1),
    }


def counts(x: Tensor, candidates: Tensor, mean: Tensor) -> list[int]:
    """Return how many images some candidate matches above 0.9 and above 0.75, the mean image taken out of both."""
    if not len(candidates):
        return [0, 0]
    best = normalized_correlation(x.flatten(1) - mean, candidates.flatten(1) - mean).amax(1)
    return [int((best > least).sum()) for least in (0.9, 0.75)]


# --- The networks ----------------------------------------------------------------------------------------------------


@cache
def read(source: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return images and labels of the split that members are drawn from, and the images of the other."""
    data = load(source)
    return data.x_train, data.y_train, data.x_test


def images(row: Row, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw training images with labels, as many held-out images, and the population, as the network gets them."""
    x, labels, population = read(row.source)
    labels = labels if row.outputs == 10 else labels % 2
    mixed, each = torch.randperm(len(labels), generator=seeded(seed)), row.n // max(row.outputs, 2)
    members = [mixed[labels[mixed] == label] for label in range(max(row.outputs, 2))]
    seen, unseen = (torch.cat([member[part] for member in members]) for part in (slice(each), slice(each, 2 * each)))
    shift, scale = scaling(row, x)
    return (x[seen] - shift) / scale, labels[seen], (x[unseen] - shift) / scale, (population - shift) / scale


def scaling(row: Row, x: Tensor) -> tuple[Tensor | float, Tensor | float]:
    """Return the mean and the standard deviation of each channel, as tutorials normalise by them."""
    if row.inputs == "[0, 1]":
        return 0.0, 1.0
    some = x[:10_000]
    return some.mean((0, 2, 3), keepdim=True)[0], some.std((0, 2, 3), keepdim=True)[0]


def built(row: Row, seed: int) -> nn.Sequential:
    """Build a network as PyTorch initialises it under a seed."""
    torch.manual_seed(seed)
    widths = (3 * 32 * 32 if row.source == "cifar10" else 28 * 28, *row.hidden)
    hidden = [layer for sizes in pairwise(widths) for layer in (nn.Linear(*sizes), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(widths[-1], row.outputs))


def trained(row: Row, x: Tensor, y: Tensor, seed: int) -> tuple[nn.Module, dict[str, Tensor]]:
    """Train a network to the row's loss; return it with its weights before, which the attack is told of a base only."""
    model = built(row, seed)
    if row.base:
        base_x, base_y, _ = read(row.base)
        optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
        for _ in range(BASE_EPOCHS):
            epoch(model, optimizer, base_x, base_y, 64)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    if row.optimizer == "Adam":
        optimizer = torch.optim.Adam(model.parameters(), row.lr, weight_decay=row.weight_decay)
    else:
        momentum = 0.9 * (row.optimizer == "momentum")
        optimizer = torch.optim.SGD(model.parameters(), row.lr, momentum=momentum, weight_decay=row.weight_decay)
    for _ in range(MOST_EPOCHS):
        epoch(model, optimizer, x, y, row.batch or len(x))
        with torch.no_grad():
            if loss_of(model(x), y) < row.stop:
                break
    return model.eval(), start


def epoch(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, batch: int) -> None:
    for some in torch.randperm(len(x)).split(batch):
        optimizer.zero_grad()
        loss_of(model(x[some]), y[some]).backward()
        optimizer.step()


def loss_of(outputs: Tensor, y: Tensor) -> Tensor:
    if outputs.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(outputs.squeeze(1), y.float())
    return F.cross_entropy(outputs, y)


# --- The results -----------------------------------------------------------------------------------------------------


def summary(rows: dict[str, list[Record]]) -> Record:
    """Hold the means of each row to its bars; bars on seed and count hold on every network but Adam's."""
    told = [one for name, row in rows.items() if ROWS[name].optimizer != "Adam" for one in row]
    return {
        "seeds": SEEDS,
        "starts found": [sum(one["start found"] for row in rows.values() for one in row), sum(map(len, rows.values()))],
        "counts exact without Adam": [sum(one["count exact"] for one in told), len(told)],
        "rows": {name: {**means(row), **held_to(ROWS[name], row)} for name, row in rows.items()},
        "networks": {name: {"training": asdict(ROWS[name]), "results": row} for name, row in rows.items()},
    }


def means(row: list[Record]) -> Record:
    keys = ("pool", "agreed", "held out, pool", "held out, agreed", "held out, training images", "wrong start")
    pairs = {key: [one.get(key, [0, 0]) for one in row] for key in keys}
    seconds = sum(one.get("CPU seconds", 0.0) for one in row) / len(row)
    totals = {
        key: [round(sum(column) / len(row), 1) for column in zip(*some, strict=True)] for key, some in pairs.items()
    }
    n_exact = round(sum(one.get("exact", 0) for one in row) / len(row), 1)
    return {"networks": len(row), "exact": n_exact, **totals, "CPU seconds": round(seconds, 1)}


def held_to(row: Row, results: list[Record]) -> Record:
    if not row.bar:
        return {}
    mean, least = means(results), BARS[row.bar]
    reached = (*mean["pool"], mean["agreed"][0])
    return {"bar": row.bar, "holds": all(value >= bar for value, bar in zip(reached, least, strict=True))}


if __name__ == "__main__":
    tyro.cli(main)
