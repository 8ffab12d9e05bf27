"""Standard and adversarial training of the study's networks."""

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assay.adversarial import PGD, Lp
from assay.core import cross_entropy, fit, seeded, spawn_seeds
from assay.nets import mlp
from assay.studies.attribution.diffroar.settings import Training

BATCH = 100


def new_network(
    shape: tuple[int, ...], hidden: tuple[int, ...], n_classes: int, generator: torch.Generator
) -> nn.Module:
    """Build a perceptron for samples of any shape."""
    return nn.Sequential(nn.Flatten(), *mlp((math.prod(shape), *hidden, n_classes), generator=generator))


def train_standard(model: nn.Module, x: Tensor, y: Tensor, training: Training, seed: int) -> None:
    """Train by Adam on the clean data."""
    adam = partial(torch.optim.AdamW, lr=training.lr, weight_decay=training.weight_decay)
    options = {"epochs": training.epochs, "batch_size": BATCH, "generator": seeded(seed)}
    fit(model, x, y, loss=cross_entropy, optimizer=adam, schedule="cosine", **options)


def train_robust(
    model: nn.Module, x: Tensor, y: Tensor, training: Training, input_range: tuple[float, float], seed: int
) -> None:
    """Train by Adam on adversarial examples of PGD, with a radius that grows over the first half of the epochs.

    From the full radius on, training on the vectors collapses. Starts are random: at entries of exactly 0, where no
    unit is active, there is no gradient to follow.
    """
    order, noise = (seeded(child) for child in spawn_seeds(seed, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=training.lr, weight_decay=training.weight_decay)
    n_batches = max(1, len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, training.epochs * n_batches)
    for epoch in range(training.epochs):
        eps = training.eps * min(1.0, 2 * (epoch + 1) / training.epochs)
        threat = Lp(norm=float(training.norm), eps=eps, input_range=input_range)
        step_size = eps / 4 if threat.norm == math.inf else None
        attack = PGD(threat, n_iter=training.attack_steps, step_size=step_size)
        for index in torch.randperm(len(x), generator=order).split(BATCH)[:n_batches]:
            direction = threat.steepest(torch.randn(x[index].shape, generator=noise))
            length = torch.rand(len(index), *[1] * (x.ndim - 1), generator=noise)
            start = threat.project(x[index] + eps * length * direction, x[index])
            perturbed = attack(model, x[index], y[index], start=start)
            model.train()
            optimizer.zero_grad()
            F.cross_entropy(model(perturbed), y[index]).backward()
            optimizer.step()
            schedule.step()
    model.eval()
