"""What the paper proposes against small gaps: less entropy, and other architectures."""

import math
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch

from assay.adversarial import (
    FGSM,
    PGD,
    EntropyRegularizedLoss,
    adversarial_error_curve,
    search_architectures,
)
from assay.core import accuracy, predict, seeded
from assay.lab import Lab
from assay.studies.adversarial.logit_difference_universality.networks import (
    SPACE,
    Training,
    build,
    child,
    flat_images,
    robust_accuracies,
    train,
)

EPS = 0.02  # size of the attacks on all of these networks


@dataclass(frozen=True)
class Remedies:
    """Weights of the entropy, images that its networks are attacked on, and the sizes of the search."""

    entropy_weights: tuple[float, ...] = (-0.5, 0.0, 0.5, 1.0)
    n_attacked: int = 2000
    children: int = 12
    child_train: int = 5000
    child_epochs: int = 3
    n_reward: int = 1000


RemedyCell = tuple[Remedies, Training, int]
"""Sizes, how networks are trained, and a seed."""


def weigh_entropy(cell: RemedyCell) -> list[dict[str, float]]:
    """Train a perceptron at each weight of the entropy, and attack it."""
    sizes, training, seed = cell
    x, y, x_test, y_test = flat_images("perceptron", training, seed)
    rows = []
    for weight in sizes.entropy_weights:
        model = build("perceptron", training, x.shape[1], seed)
        train(model, x, y, epochs=training.epochs, seed=seed, loss=EntropyRegularizedLoss(weight))
        logits = predict(model, x_test, batch_size=1000)
        log_p = logits.double().log_softmax(1)
        curve = partial(adversarial_error_curve, model, x_test[: sizes.n_attacked], eps=torch.tensor([EPS]))
        rows.append(
            {
                "weight": weight,
                "accuracy": accuracy(logits, y_test),
                "entropy": -(log_p.exp() * log_p).sum(1).mean().item(),
                "FGSM": curve(attack=FGSM, batch_size=1000).error.item(),
                "PGD": curve(attack=partial(PGD, n_iter=10), batch_size=1000).error.item(),
            }
        )
    return rows


def measure_entropy(lab: Lab, cells: list[list[dict[str, float]]]) -> None:
    """C4: that the weight moves the entropy and not the accuracy; what it does to robustness is reported."""
    drops = [min(a["entropy"] - b["entropy"] for a, b in pairwise(rows)) for rows in cells]
    lab.measure("C4", drops, at_least=0.0, what="least fall of the mean entropy from one weight to the next")
    spread = [max(row["accuracy"] for row in rows) - min(row["accuracy"] for row in rows) for rows in cells]
    lab.measure("C4", spread, at_most=0.015, what="spread of the test accuracy over the weights")
    for attack in ("FGSM", "PGD"):
        change = [rows[-1][attack] - rows[0][attack] for rows in cells]
        first, last = cells[0][0]["weight"], cells[0][-1]["weight"]
        what = f"{attack} at {EPS:g}: decisions changed at weight {last:g}, less those at {first:g} (paper: below 0)"
        lab.measure("C4", change, what=what)
    rows = [
        {name: round(math.fsum(rows[k][name] for rows in cells) / len(cells), 4) for name in cells[0][0]}
        for k in range(len(cells[0]))
    ]
    lab.table("entropy", rows, caption=f"Weight of the entropy; share of decisions that attacks of {EPS:g} change")


def search(cell: RemedyCell) -> dict[str, Any]:
    """Draw and train small networks; compare the choice by accuracy under attack with the choice by clean accuracy."""
    sizes, training, seed = cell
    x, y, x_test, y_test = flat_images("perceptron", training, seed)
    part, held = slice(sizes.child_train), slice(sizes.child_train, sizes.child_train + sizes.n_reward)

    def grow(architecture: dict[str, Any]) -> torch.nn.Module:
        model = child(architecture, x.shape[1], seed)
        train(model, x[part], y[part], epochs=sizes.child_epochs, seed=seed)
        return model

    def reward(model: torch.nn.Module) -> float:
        return robust_accuracies(model, x[held], y[held], EPS)["FGSM"]

    found = search_architectures(SPACE, grow, reward, n_trials=sizes.children, generator=seeded(seed))
    by_clean = max(found.trials, key=lambda drawn: accuracy(predict(drawn.model, x[held]), y[held]))
    test = x_test[: sizes.n_reward], y_test[: sizes.n_reward]
    chosen = {"reward": found.best, "clean": by_clean}
    return {
        name: {"architecture": drawn.architecture, **robust_accuracies(drawn.model, *test, EPS)}
        for name, drawn in chosen.items()
    }


def measure_search(lab: Lab, cells: list[dict[str, Any]]) -> None:
    """C5: whether the reward finds networks that withstand a stronger attack on other images."""
    gain = [cell["reward"]["PGD"] - cell["clean"]["PGD"] for cell in cells]
    what = f"search: accuracy under PGD at {EPS:g} of the best by FGSM, less that of the best by clean accuracy"
    lab.measure("C5", gain, at_least=0.0, what=what)
    price = [cell["reward"]["clean"] - cell["clean"]["clean"] for cell in cells]
    lab.measure("C5", price, what="search: the same difference in clean accuracy")
    rows = [
        {"search": number, "chosen by": name, **pick["architecture"]}
        | {figure: round(pick[figure], 4) for figure in ("clean", "FGSM", "PGD")}
        for number, cell in enumerate(cells, 1)
        for name, pick in cell.items()
    ]
    lab.table("search", rows, caption=f"Chosen architectures, and their accuracy on test images at {EPS:g}")
