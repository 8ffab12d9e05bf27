"""Attacks side by side on the same weights, each given the same CPU seconds."""

import copy
import time
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from assay.core import cross_entropy, fit, seeded
from assay.data import load
from assay.nets import mlp, small_conv
from assay.reconstruction import KKTReconstructor, SimulatedDynamicsReconstructor, normalized_correlation
from assay.studies.reconstruction.reconstruction_frontier.settings import Settings
from assay.studies.reconstruction.shared.victims import train

VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "over all inputs": {"subspace": None},
    "with gates fixed at 300": {"relu_alpha": (300.0, 300.0)},
}
"""Options of `KKTReconstructor` that are changed one at a time."""


def ablate(settings: Settings, variant: str, seed: int) -> dict[str, float]:
    """Attack one network restart after restart until the time is used; return what the first finds, and what all do."""
    trained = train(settings.ablation, seed)
    attack = KKTReconstructor("binary", n_restarts=1, n_iter=settings.max_iter, **VARIANTS[variant])
    pools, seconds = _until(settings.ablation_seconds, attack, trained.model)
    inputs = (trained.x - trained.mean).flatten(1)
    first, best = _best(inputs, pools[0]), _best(inputs, torch.cat(pools))
    others = _best((trained.others - trained.mean).flatten(1), torch.cat(pools))
    return {
        "NCC > 0.75": int((best > 0.75).sum()),
        "NCC > 0.9": int((best > 0.9).sum()),
        "first restart, NCC > 0.75": int((first > 0.75).sum()),
        "first restart, NCC > 0.9": int((first > 0.9).sum()),
        "held out, NCC > 0.75": int((others > 0.75).sum()),
        "restarts": len(pools),
        "CPU seconds": seconds,
    }


def simulate(settings: Settings, kind: str, seed: int) -> dict[str, Any]:
    """Attack by simulated training; attack the same dense network by its stationarity and by its displacement."""
    n, n_iter = settings.digits, settings.digit_iter
    x, _, others, start, end = train_few_steps(settings, kind, seed)
    begin = time.process_time()
    options = {"epochs": settings.digit_steps, "lr": settings.digit_lr, "n_iter": n_iter}
    attack = SimulatedDynamicsReconstructor(start.state_dict(), n_samples=n, input_shape=tuple(x.shape[1:]), **options)
    found = attack.fit(end)
    seconds = time.process_time() - begin
    best, match = normalized_correlation(x.flatten(1), found.reconstructions_.flatten(1)).max(1)
    numbers = {
        "mean NCC": float(best.mean()),
        "share with NCC > 0.75": float((best > 0.75).double().mean()),
        "held out: mean NCC": float(_best(others, found.reconstructions_).mean()),
        "CPU seconds": seconds,
    }
    if kind == "dense":
        few: dict[str, Any] = {"n_candidates": 4 * n, "n_restarts": 1, "n_iter": n_iter}
        known: dict[str, Any] = {"init_state": start.state_dict(), "kernels": "both"}
        rivals = {
            "stationarity": KKTReconstructor("multiclass", **few),
            "displacement": KKTReconstructor("displacement", **few, **known),
        }
        for name, rival in rivals.items():
            pools, numbers[f"{name}: CPU seconds"] = _until(seconds, rival, end)
            numbers[f"{name}: mean NCC"] = float(_best(x, torch.cat(pools)).mean())
    images = {"train": x.reshape(-1, 8, 8), "found": found.reconstructions_[match].reshape(-1, 8, 8), "ncc": best}
    return {**numbers, **images}


def train_few_steps(settings: Settings, kind: str, seed: int) -> tuple[Tensor, Tensor, Tensor, nn.Module, nn.Module]:
    """Return digits, labels, other digits, and the "dense" or "convolution" network before and after training."""
    data = load("digits")
    order = torch.randperm(len(data.x_train), generator=seeded(seed))[: 2 * settings.digits]
    x, y = data.x_train[order], data.y_train[order]
    if kind == "convolution":
        x = x.reshape(-1, 1, 8, 8)
        start = small_conv((1, 8, 8), 10, channels=(8,), hidden=64, generator=seeded(seed))
    else:
        x = x.flatten(1)
        start = mlp((64, 64, 10), generator=seeded(seed))
    end = copy.deepcopy(start)
    sgd = partial(torch.optim.SGD, lr=settings.digit_lr)
    (x, others), (y, _) = x.split(settings.digits), y.split(settings.digits)
    fit(end, x, y, loss=cross_entropy, optimizer=sgd, n_iter=settings.digit_steps)
    return x, y, others, start, end


def _until(seconds: float, attack: KKTReconstructor, model: nn.Module) -> tuple[list[Tensor], float]:
    """Return the candidates of restarts with seeds 0, 1, ... until the CPU seconds are used; of one at least."""
    begin, pools = time.process_time(), []
    while not pools or time.process_time() - begin < seconds:
        pool = attack.set_params(random_state=len(pools)).fit(model).pool_.flatten(1)
        # Displacement leaves the sign open, since its multipliers have either.
        pools.append(torch.cat([pool, -pool]) if attack.objective == "displacement" else pool)
    return pools, time.process_time() - begin


def _best(x: Tensor, candidates: Tensor) -> Tensor:
    """Return each image's correlation with its best candidate."""
    return normalized_correlation(x.flatten(1), candidates.flatten(1).to(x)).amax(1)
