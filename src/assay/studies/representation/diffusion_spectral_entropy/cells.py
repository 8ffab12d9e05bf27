"""Closed forms, signals in noise, blobs with shuffled labels, and representations during training."""

import math
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.datasets import make_blobs
from torch import Tensor, nn

from assay.core import accuracy, cross_entropy, fit, layer_outputs, predict, seeded, spawn_seeds
from assay.data import load
from assay.nets import mlp, small_conv
from assay.representation.diffusion_entropy import (
    binned_entropy,
    binned_mutual_information,
    cluster_reference,
    diffusion_eigenvalues,
    diffusion_spectral_entropy,
    diffusion_spectral_mutual_information,
    median_bandwidth,
    representation_trajectory,
)
from assay.studies.representation.diffusion_spectral_entropy.baselines import (
    critic_information,
    neighbour_information,
    true_information,
)
from assay.studies.representation.diffusion_spectral_entropy.settings import Settings

EPOCHS = (0, 1, 2, 5, 10, 20, 30, 40, 60, 100, 200)  # at which representations are measured
BATCH, HIDDEN = 128, (256, 64)
BINS = 5


def rank_correlation(first: Any, second: Any) -> float:
    """Return Spearman's rank correlation."""
    found: Any = spearmanr(first, second)
    return float(found.statistic)


def closed_forms(settings: Settings) -> dict[str, float]:
    """Compare entropy and information with values that are known."""
    five = 1e3 * torch.eye(5).double()[torch.arange(200) % 5]
    five = five + 1e-5 * torch.randn(five.shape, generator=seeded(0)).double()
    groups, apart = torch.arange(200) % 5, 1e4 * torch.eye(64).double()
    x = torch.randn(80, 6, generator=seeded(1)).double()
    turned = torch.linalg.qr(torch.randn(6, 6, generator=seeded(2)).double()).Q
    moved = 3 * (x[torch.randperm(80, generator=seeded(3))] @ turned + 7)
    kernel = torch.exp(-torch.cdist(x, x).square() / 2)
    markov = torch.linalg.eigvals(kernel / kernel.sum(1, keepdim=True)).real.sort(descending=True).values
    noisy = five + 5 * torch.randn(five.shape, generator=seeded(4)).double()
    inside = [float(diffusion_spectral_entropy(five[groups == group])) for group in range(5)]
    return {
        "clusters": abs(float(diffusion_spectral_entropy(five)) - math.log2(5)),
        "within a cluster": max(inside),
        "constant label": abs(float(diffusion_spectral_mutual_information(five, torch.zeros(200).long()))),
        "one point": float(diffusion_spectral_entropy(torch.ones(50, 3))),
        "apart": abs(float(diffusion_spectral_entropy(apart)) - 6),
        "long diffusion": abs(float(diffusion_spectral_entropy(noisy, t=4000)) - math.log2(5)),
        "eigenvalues": float((diffusion_eigenvalues(x, sigma=1.0) - markov).abs().max()),
        "invariance": abs(
            float(diffusion_spectral_entropy(x, sigma=1.0)) - float(diffusion_spectral_entropy(moved, sigma=3.0))
        ),
    }


def signal_in_noise(settings: Settings, noise: float, seed: int) -> dict[str, Any]:
    """Measure both entropies of uniform signals in some of many dimensions, with uniform noise in all."""
    source, entropies, binned = seeded(seed), [], []
    for signal in settings.signals:
        x = torch.ones(settings.toy_samples, settings.toy_dim).double()
        x[:, :signal] = 2 * torch.rand(settings.toy_samples, signal, generator=source).double() - 1
        x += noise * (2 * torch.rand(x.shape, generator=source).double() - 1)
        entropies.append(float(diffusion_spectral_entropy(x)))
        binned.append(binned_entropy(x))
    return {"entropy": entropies, "binned": binned, "least step": float(np.diff(entropies).min())}


def shuffled_blobs(settings: Settings, dim: int, seed: int) -> dict[str, Any]:
    """Estimate the information of three blobs on labels of which a growing share is shuffled."""
    points, given = make_blobs(settings.blob_samples, dim, centers=3, random_state=seed)[:2]
    x, y = torch.as_tensor(points), torch.as_tensor(given).long()
    found: dict[str, list[float]] = {name: [] for name in ("truth", "DSMI", "CSMI", "kNN", "MINE")}
    for number, corruption in enumerate(settings.corruptions):
        source = seeded(spawn_seeds(seed, len(settings.corruptions))[number])
        chosen = torch.randperm(len(y), generator=source)[: round(corruption * len(y))]
        labels = y.clone()
        labels[chosen] = y[chosen[torch.randperm(len(chosen), generator=source)]]
        options: dict[str, Any] = {"generator": source}
        found["truth"].append(true_information(corruption))
        found["DSMI"].append(float(diffusion_spectral_mutual_information(x, labels, sigma=dim**0.5, **options)))
        found["CSMI"].append(float(binned_mutual_information(x, labels, n_bins=BINS, **options)))
        found["kNN"].append(neighbour_information(x, labels))
        found["MINE"].append(critic_information(x, labels, settings.critic_epochs, seed))
    truth = np.array(found["truth"])
    errors = {f"{name} error": float(np.abs(np.array(values) - truth).mean()) for name, values in found.items()}
    late = [value for c, value in zip(settings.corruptions, found["DSMI"], strict=True) if c >= 0.2]
    return {**found, **errors, "falls": rank_correlation(range(len(late)), late)}


def images(settings: Settings, source: str, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return training and test images, flat, drawn at random."""
    data, draws = load(source), seeded(seed)
    train = torch.randperm(len(data.x_train), generator=draws)[: settings.n_train]
    test = torch.randperm(len(data.x_test), generator=draws)[: settings.n_test]
    return data.x_train[train].flatten(1), data.y_train[train], data.x_test[test].flatten(1), data.y_test[test]


def training(settings: Settings, source: str, labels: str, seed: int) -> dict[str, Any]:
    """Follow the last hidden layer of a perceptron on test images, while it trains on true or random labels."""
    split, start, order, noise = spawn_seeds(seed, 4)
    x, y, x_test, y_test = images(settings, source, split)
    total = settings.epochs if labels == "true" else settings.random_epochs
    if labels == "random":
        y = y[torch.randperm(len(y), generator=seeded(noise))]
    model = mlp((x.shape[1], *HIDDEN, 10), generator=seeded(start))
    steps = math.ceil(len(x) / BATCH)
    wanted = {epoch * steps: epoch for epoch in EPOCHS if epoch <= total}
    states = {"0": {name: value.clone() for name, value in model.state_dict().items()}}

    def keep(step: Any) -> None:
        if step.number in wanted:
            states[str(wanted[step.number])] = {name: value.clone() for name, value in model.state_dict().items()}

    adam = partial(torch.optim.Adam, lr=1e-3)
    options: dict[str, Any] = {"loss": cross_entropy, "optimizer": adam, "epochs": total, "batch_size": BATCH}
    fit(model, x, y, **options, generator=seeded(order), callbacks=[keep])
    reference = cluster_reference(x_test)
    measured: dict[str, Any] = {"layer": "3", "checkpoints": states, "reference": reference}
    fixed = representation_trajectory(model, x_test, y_test, **measured)
    free = representation_trajectory(model, x_test, y_test, **measured, sigma="median")
    epochs = list(wanted.values())

    def trend(values: Tensor) -> float:
        return rank_correlation(epochs, values.tolist())

    return {
        "entropy": fixed.entropy.tolist(),
        "information": fixed.label_information.tolist(),
        "on the input": fixed.input_information.tolist(),
        "distance": fixed.median_distance.tolist(),
        "scale-free entropy": free.entropy.tolist(),
        "scale-free information": free.label_information.tolist(),
        "scale-free on the input": free.input_information.tolist(),
        "entropy trend": trend(fixed.entropy),
        "input trend": trend(fixed.input_information),
        "scale-free entropy trend": trend(free.entropy),
        "scale-free input trend": trend(free.input_information),
        "end": float(fixed.label_information[-1]),
        "scale-free end": float(free.label_information[-1]),
        "train accuracy": accuracy(predict(model, x), y),
        "test accuracy": accuracy(predict(model, x_test), y_test),
    }


def initialized(settings: Settings, std: float, seed: int) -> dict[str, float]:
    """Draw convolution weights with a standard deviation, and train for a few epochs."""
    split, start, order = spawn_seeds(seed, 3)
    x, y, x_test, y_test = images(settings, settings.clothes, split)
    side = math.isqrt(x.shape[1])
    x, x_test = (part.reshape(-1, 1, side, side) for part in (x, x_test))
    model, weights = small_conv((1, side, side), 10, generator=seeded(start)), seeded(start)
    for layer in model:
        if isinstance(layer, nn.Conv2d) and layer.bias is not None:
            nn.init.normal_(layer.weight, std=std, generator=weights)
            nn.init.zeros_(layer.bias)
    before = diffusion_spectral_entropy(layer_outputs(model, x_test, ["6"])["6"])
    adam = partial(torch.optim.Adam, lr=1e-3)
    options: dict[str, Any] = {
        "loss": cross_entropy,
        "optimizer": adam,
        "epochs": settings.init_epochs,
        "batch_size": BATCH,
    }
    fit(model, x, y, **options, generator=seeded(order))
    return {
        "entropy at start": before.value,
        "distance at start": before.median_distance,
        "accuracy": accuracy(predict(model, x_test), y_test),
    }


def zoo(settings: Settings, seed: int) -> dict[str, Any]:
    """Train perceptrons of random width, length and learning rate; rank them by information on the label."""
    split, *own = spawn_seeds(seed, settings.zoo + 1)
    x, y, x_test, y_test = images(settings, settings.clothes, split)
    found: dict[str, list[float]] = {"information": [], "scale-free": [], "accuracy": []}
    for child in own:
        source = seeded(child)
        width = int(2 ** (3 + 5 * torch.rand((), generator=source)))
        epochs = int(settings.zoo_epochs ** torch.rand((), generator=source))
        lr = float(10 ** (-4 + 2 * torch.rand((), generator=source)))
        model = mlp((x.shape[1], width, 10), generator=source)
        adam = partial(torch.optim.Adam, lr=lr)
        options: dict[str, Any] = {
            "loss": cross_entropy,
            "optimizer": adam,
            "epochs": max(epochs, 1),
            "batch_size": BATCH,
        }
        fit(model, x, y, **options, generator=source)
        hidden = layer_outputs(model, x_test, ["1"])["1"]
        found["information"].append(float(diffusion_spectral_mutual_information(hidden, y_test)))
        found["scale-free"].append(float(diffusion_spectral_mutual_information(hidden, y_test, sigma="median")))
        found["accuracy"].append(accuracy(predict(model, x_test), y_test))
    ranks = {f"{name} rank": rank_correlation(found[name], found["accuracy"]) for name in ("information", "scale-free")}
    return {**found, **ranks}


def agreement(settings: Settings, t: int, seed: int) -> dict[str, float]:
    """Estimate the entropy from products with the kernel, beside all eigenvalues."""
    x = torch.randn(settings.agreement_samples, 5, generator=seeded(seed)).double()
    sigma = 0.3 * median_bandwidth(x)
    exact = diffusion_spectral_entropy(x, sigma=sigma, t=t, method="dense")
    found = diffusion_spectral_entropy(x, sigma=sigma, t=t, method="lanczos", generator=seeded(seed + 1))
    gap = abs(found.value - exact.value)
    return {"gap": gap, "error": found.error, "in errors": gap / found.error, "exact": exact.value}
