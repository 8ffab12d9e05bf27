"""Attacks side by side on the same weights, each given the same CPU seconds."""

import copy
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from assay.core import cross_entropy, fit, seeded
from assay.data import load
from assay.nets import mlp, small_conv
from assay.reconstruction import KKTReconstructor, SimulatedDynamicsReconstructor, normalized_correlation
from assay.studies.reconstruction.shared.victims import Victim, train

VARIANTS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "all inputs": {"subspace": None},
    "gates fixed at 300": {"relu_alpha": (300.0, 300.0)},
}
"""Options of `KKTReconstructor` that are changed one at a time."""


@dataclass(frozen=True)
class Ablation:
    """One cell: a network attacked by one variant, restart after restart, until the time is used.

    Attributes:
        victim: Kind of network.
        seed: Of its data and initial weights.
        variant: One of `VARIANTS`.
        seconds: CPU seconds after which no further restart begins.
        max_iter: Steps of a restart.
    """

    victim: Victim
    seed: int
    variant: str
    seconds: float
    max_iter: int


def ablate(cell: Ablation) -> dict[str, float]:
    """Return what the first restart finds, and all that fit in the time."""
    trained = train(cell.victim, cell.seed)
    attack = partial(_restart, KKTReconstructor("binary", n_restarts=1, n_iter=cell.max_iter, **VARIANTS[cell.variant]))
    pools, seconds = _until(cell.seconds, attack, trained.model)
    inputs = (trained.x - trained.mean).flatten(1)
    first, best = _best(inputs, pools[0]), _best(inputs, torch.cat(pools))
    others = _best((trained.others - trained.mean).flatten(1), torch.cat(pools))
    return {
        "n75": float((best > 0.75).sum()),
        "n90": float((best > 0.9).sum()),
        "first75": float((first > 0.75).sum()),
        "first90": float((first > 0.9).sum()),
        "held_out": float((others > 0.75).sum()),
        "restarts": float(len(pools)),
        "seconds": seconds,
    }


@dataclass(frozen=True)
class Simulation:
    """One cell: a network trained for few steps on digits, attacked by simulating them.

    Attributes:
        kind: "dense" or "convolution".
        n: Training images.
        steps: Steps of gradient descent that trained it, and that are simulated.
        learning_rate: Of these.
        max_iter: Steps of the attack.
        seed: Of data and initial weights.
    """

    kind: str
    n: int
    steps: int
    learning_rate: float
    max_iter: int
    seed: int


def simulate(cell: Simulation) -> dict[str, Tensor]:
    """Attack by simulated training; attack the same dense network by its stationarity and by its displacement."""
    x, y, others, start, end = train_few_steps(cell)
    shape = tuple(x.shape[1:])
    begin = time.process_time()
    options = {"epochs": cell.steps, "lr": cell.learning_rate, "n_iter": cell.max_iter, "input_shape": shape}
    found = SimulatedDynamicsReconstructor(start.state_dict(), n_samples=cell.n, **options).fit(end)
    seconds = time.process_time() - begin
    best = _best(x, found.reconstructions_)
    numbers = {
        "ncc": best.mean(),
        "share75": (best > 0.75).double().mean(),
        "held_out": _best(others, found.reconstructions_).mean(),
        "labels": float(sorted(found.targets_.argmax(1).tolist()) == sorted(y.tolist())),
        "similarity": found.similarity_,
        "seconds": seconds,
    }
    if cell.kind == "dense":
        few: dict[str, Any] = {"n_candidates": 4 * cell.n, "n_restarts": 1, "n_iter": cell.max_iter}
        known: dict[str, Any] = {"init_state": start.state_dict(), "kernels": "both"}
        for name, attack in (
            ("stationarity", KKTReconstructor("multiclass", **few)),
            ("displacement", KKTReconstructor("displacement", **few, **known)),
        ):
            pools, numbers[f"{name}_seconds"] = _until(seconds, partial(_restart, attack), end)
            numbers[f"{name}_ncc"] = _best(x, torch.cat(pools)).mean()
    images = {"train": x.reshape(-1, 8, 8), "found": found.reconstructions_.reshape(-1, 8, 8)}
    match = normalized_correlation(x, found.reconstructions_).argmax(1)
    images["found"] = images["found"][match]
    return {name: torch.as_tensor(value, dtype=torch.float64) for name, value in {**numbers, **images}.items()}


def train_few_steps(cell: Simulation) -> tuple[Tensor, Tensor, Tensor, nn.Module, nn.Module]:
    """Return images, labels, other images, and the network before and after training."""
    data = load("digits")
    order = torch.randperm(len(data.x_train), generator=seeded(cell.seed))[: 2 * cell.n]
    x, y = data.x_train[order], data.y_train[order]
    x = x.reshape(-1, 1, 8, 8) if cell.kind == "convolution" else x.flatten(1)
    if cell.kind == "convolution":
        start = small_conv((1, 8, 8), 10, channels=(8,), hidden=64, generator=seeded(cell.seed))
    else:
        start = mlp((64, 64, 10), generator=seeded(cell.seed))
    end = copy.deepcopy(start)
    sgd = partial(torch.optim.SGD, lr=cell.learning_rate)
    fit(end, x[: cell.n], y[: cell.n], loss=cross_entropy, optimizer=sgd, n_iter=cell.steps)
    return x[: cell.n], y[: cell.n], x[cell.n :], start, end


def _restart(attack: KKTReconstructor, model: nn.Module, seed: int) -> Tensor:
    """Return the candidates of one restart, and for multipliers of either sign their negatives as well."""
    pool = attack.set_params(random_state=seed).fit(model).pool_.flatten(1)
    return torch.cat([pool, -pool]) if attack.objective == "displacement" else pool


def _until(seconds: float, attack: Any, model: nn.Module) -> tuple[list[Tensor], float]:
    """Attack with seeds 0, 1, ... until the CPU seconds are used; at least once."""
    begin, pools = time.process_time(), []
    while not pools or time.process_time() - begin < seconds:
        pools.append(attack(model, len(pools)))
    return pools, time.process_time() - begin


def _best(x: Tensor, candidates: Tensor) -> Tensor:
    """Return each image's correlation with its best candidate."""
    return normalized_correlation(x.flatten(1), candidates.flatten(1).to(x)).amax(1)
