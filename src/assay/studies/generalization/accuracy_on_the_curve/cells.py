"""Pools of networks on synthetic samples and on features of images, and checks of the theorem."""

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from assay.core import StackedTrainer, cross_entropy, fit, predict, seeded, spawn_seeds
from assay.data import load
from assay.generalization import accuracy_gap, accuracy_gap_theorem, spurious_counts, train_model_pool
from assay.generalization.subpopulations import (
    Configuration,
    count_cells,
    draw_cells,
    mixture_accuracy,
    modified_cifar4,
)
from assay.nets import load_encoder, mlp
from assay.studies.generalization.accuracy_on_the_curve.settings import Settings

FEATURES, TEST_SEED, POOL_SEED = 20, 1, 2
CELLS = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])  # label, attribute
CIFAR4 = (0, 2, 1, 7)  # the classes of these cells
STRENGTHS = (0.2, 0.6, 0.7, 0.78)  # of the paper's controlled experiment
ENCODED_AT_ONCE = 25


def synthetic_samples(counts: Tensor, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw as many samples of each cell: two inputs whose signs agree where y = 1, an easy attribute z, and noise."""
    source = seeded(seed)
    y, z = CELLS.repeat_interleave(counts.flatten(), 0).T
    x = torch.randn(len(y), FEATURES, generator=source)
    u = 2.0 * torch.randint(2, (len(y),), generator=source) - 1
    x[:, 0] = u + 0.3 * x[:, 0]
    x[:, 1] = (2 * y - 1) * u + 0.3 * x[:, 1]
    x[:, 2] = 2 * z - 1 + 0.5 * x[:, 2]
    return x, y, z


def synthetic_configurations(settings: Settings, width: int) -> list[dict[str, Any]]:
    """Return the models of one width: durations and batches in turn, learning rates log-uniform."""
    pool, draws = settings.synthetic, np.random.default_rng([POOL_SEED, width])
    low, high = np.log(pool.lrs[0]), np.log(pool.lrs[-1])
    return [
        {
            "width": width,
            "epochs": pool.epochs[place % len(pool.epochs)],
            "batch": int(draws.choice(pool.batch_sizes)),
            "lr": float(np.exp(draws.uniform(low, high))),
        }
        for place in range(pool.models)
    ]


def head_configurations(settings: Settings, width: int) -> list[dict[str, Any]]:
    """Return the models of one width on features."""
    pool = settings.heads
    return [
        {"width": width, "epochs": epochs, "batch": batch, "lr": lr}
        for epochs in pool.epochs
        for batch in pool.batch_sizes
        for lr in pool.lrs
    ]


def image_tables(settings: Settings) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the table of training images of each shift, and its majority cells.

    In the controlled experiment vehicles are on land, as in the paper: P(vehicle) = 0.6 and P(land) = 0.5.
    """
    majority, minority = round(0.45 * settings.images), round(0.05 * settings.images)
    aligned, vehicles = torch.eye(2, dtype=torch.bool), torch.tensor([[True, False], [True, False]])
    tables = {name: (torch.where(part, majority, minority), part) for name, part in (("V1", aligned), ("V2", vehicles))}
    for strength in STRENGTHS:
        tables[f"strength {strength}"] = spurious_counts(settings.images, 0.5, 0.4, -strength), ~aligned
    return tables


def synthetic_pool(settings: Settings, width: int) -> dict[str, Any]:
    """Train the models of one width, all shares and seeds in one stack: `right` by model, share, seed and cell."""
    largest = round(settings.n * max(*settings.shares, 0.5) / 2)
    tables = [spurious_counts(settings.n, 0.5, 0.5, 2 * share - 1) for share in settings.shares]
    banks, members = [], torch.zeros(len(tables), settings.seeds, settings.seeds, 4 * largest, dtype=torch.bool)
    children = spawn_seeds(0, 2 * settings.seeds)
    for place in range(settings.seeds):
        banks.append(synthetic_samples(torch.full((2, 2), largest), children[2 * place]))
        y, z = banks[-1][1:]
        for row, table in enumerate(tables):
            members[row, place, place, draw_cells(y, z, table, generator=seeded(children[2 * place + 1]))] = True
    x, y = (torch.cat([bank[part] for bank in banks]) for part in (0, 1))
    test = synthetic_samples(torch.full((2, 2), settings.n_test), TEST_SEED)
    configurations = synthetic_configurations(settings, width)
    pool = train_model_pool(
        network, stacked, configurations, x, y, members.flatten(2).flatten(0, 1), test=test, generator=seeded(width)
    )
    return {"right": pool.right.unflatten(1, (len(tables), settings.seeds)), "count": pool.count}


def network(configuration: Configuration, generator: torch.Generator) -> torch.nn.Module:
    """Build one hidden layer."""
    return mlp((configuration.get("features", FEATURES), configuration["width"], 2), generator=generator)


def stacked(configuration: Configuration) -> StackedTrainer:
    """Return the trainer of a configuration: Adam, all training sets in one stack."""
    adam: Any = partial(torch.optim.Adam, lr=configuration["lr"])
    return StackedTrainer(cross_entropy, adam, epochs=configuration["epochs"], batch_size=configuration["batch"])


def image_features(settings: Settings, part: str) -> dict[str, Tensor]:
    """Return the features of the first images of each class of Modified-CIFAR4, standardised, with their cells."""
    data = load(str(settings.source))
    labels = data.y_train if part == "train" else data.y_test
    size = settings.bank if part == "train" else settings.test_images
    chosen = modified_cifar4(labels, n_majority=size, n_minority=size, generator=seeded(0))
    images = (data.x_train if part == "train" else data.x_test)[chosen.index]
    if settings.encoder == "pixels":
        x = torch.nn.functional.adaptive_avg_pool2d(images, 8).flatten(1)
    else:
        encoder: Any = load_encoder(settings.encoder)
        encoder = encoder.to(memory_format=torch.channels_last)  # which takes half the time
        batches = images.to(memory_format=torch.channels_last).split(ENCODED_AT_ONCE)
        with torch.no_grad():
            x = torch.cat([encoder(batch) for batch in batches])
    return {"x": x, "y": chosen.y, "z": chosen.z}


def image_pool(settings: Settings, width: int, *, train: dict[str, Tensor], test: dict[str, Tensor]) -> dict[str, Any]:
    """Train the heads of one width, all shifts and seeds in one stack: `right` by model, shift, seed and cell."""
    mean, spread = train["x"].mean(0), train["x"].std(0) + 1e-6
    tables = image_tables(settings)
    members = torch.zeros(len(tables), settings.image_seeds, len(train["y"]), dtype=torch.bool)
    for row, (table, _) in enumerate(tables.values()):
        for place, seed in enumerate(spawn_seeds(0, settings.image_seeds)):
            members[row, place, draw_cells(train["y"], train["z"], table, generator=seeded(seed))] = True
    configurations = [each | {"features": len(mean)} for each in head_configurations(settings, width)]
    pool = train_model_pool(
        network,
        stacked,
        configurations,
        (train["x"] - mean) / spread,
        train["y"],
        members.flatten(0, 1),
        test=((test["x"] - mean) / spread, test["y"], test["z"]),
        generator=seeded(width),
    )
    return {"right": pool.right.unflatten(1, (len(tables), settings.image_seeds)), "count": pool.count}


def theorem_on_distributions(settings: Settings) -> dict[str, float]:
    """Sum the gap over all values of X, Y and Z of random discrete distributions, and compare it with the theorem."""
    source, worst, identities = seeded(5), 0.0, 0.0
    for _ in range(settings.exact):
        p_y, pi_0, pi_1, share = torch.rand(4, generator=source, dtype=torch.float64).tolist()
        p_x = torch.rand(2, 8, generator=source, dtype=torch.float64)
        p_x = p_x / p_x.sum(1, keepdim=True)
        answers = torch.randint(2, (8,), generator=source)
        right = torch.stack([answers == 0, answers == 1]).double()
        cells = p_x.new_tensor([[(1 - p_y) * (1 - pi_0), (1 - p_y) * pi_0], [p_y * (1 - pi_1), p_y * pi_1]])
        joint = cells[:, :, None] * p_x[:, None]
        by_group = (joint * right[:, None]).sum((0, 2)) / cells.sum(0)
        tnr, tpr = (p_x * right).sum(1).tolist()
        predicted = accuracy_gap_theorem(p_y, pi_1, pi_0, tpr, tnr)
        worst = max(worst, abs(float(by_group[1] - by_group[0]) - predicted))
        # The subgroups are the attribute's values, taken at a random share.
        direct = (cells / cells.sum(0) * cells.new_tensor([1 - share, share]))[:, :, None] * p_x[:, None]
        mixed = mixture_accuracy(by_group[1], by_group[0], share)
        identities = max(identities, abs(float((direct * right[:, None]).sum() - mixed)))
    return {"difference": worst, "identities": identities}


def theorem_on_samples(settings: Settings, seed: int) -> dict[str, float]:
    """Estimate the gap on samples whose answers depend on the label only, or on the attribute as well."""
    source, found = seeded(seed), {}
    y = torch.rand(settings.samples, generator=source) < 0.4
    z = torch.rand(settings.samples, generator=source) < torch.where(y, 0.8, 0.3)
    for name, harm in (("independent", 0.0), ("dependent", 0.3)):
        chance = torch.where(y, 0.9, 0.7) - harm * (z != y)
        right = torch.rand(settings.samples, generator=source) < chance
        gap = accuracy_gap(count_cells(right, y.long(), z.long()), 1, 0)
        expected = accuracy_gap_theorem(0.4, 0.8, 0.3, 0.9, 0.7)
        found |= {name: abs(gap.gap - expected), f"{name} residual": abs(gap.residual), f"{name} gap": gap.gap}
    return found


def coin_mixture(settings: Settings, seed: int) -> dict[str, float]:
    """Train two networks, answer each test sample by one of them by coin, and compare with the chord."""
    children = spawn_seeds(seed, 4)
    table = spurious_counts(settings.n, 0.5, 0.5, 0.8)
    x, y, _ = synthetic_samples(table, children[0])
    test = synthetic_samples(torch.full((2, 2), settings.n_test), TEST_SEED)
    majority, rights = test[1] == test[2], []
    for n_iter, child in ((10, children[1]), (300, children[2])):
        model, adam = mlp((FEATURES, 64, 2), generator=seeded(child)), partial(torch.optim.Adam, lr=0.01)
        fit(model, x, y, loss=cross_entropy, optimizer=adam, n_iter=n_iter, batch_size=64, generator=seeded(child))
        rights.append(predict(model, test[0]).argmax(1) == test[1])
    weak, good = (right.double() for right in rights)
    coin = torch.rand(len(weak), generator=seeded(children[3])) < 0.5
    mixed = torch.where(coin, good, weak)
    (a0, b0), (a1, b1), (a, b) = (
        (float(right[majority].mean()), float(right[~majority].mean())) for right in (weak, good, mixed)
    )
    slope = (b1 - b0) / (a1 - a0)
    differ = (good - weak) ** 2 / 4  # variance of one answer by coin
    spread = [float(differ[part].sum()) / int(part.sum()) ** 2 for part in (~majority, majority)]
    error = (spread[0] + slope**2 * spread[1]) ** 0.5
    return {"standard errors": (b0 + slope * (a - a0) - b) / error, "deviation": b0 + slope * (a - a0) - b}
