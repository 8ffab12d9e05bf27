"""Two remedies against small gaps: less entropy of the predictions, and other architectures."""

from dataclasses import replace
from functools import partial
from typing import Any

import torch

from assay.adversarial import FGSM, PGD, EntropyRegularizedLoss, adversarial_error_curve, search_architectures
from assay.core import accuracy, predict, seeded
from assay.studies.adversarial.logit_difference_universality.networks import (
    SPACE,
    build,
    child,
    flat_images,
    robust_accuracies,
)
from assay.studies.adversarial.logit_difference_universality.settings import Settings

ATTACK_EPS = 0.02  # size of the attacks on all of these networks


def weigh_entropy(settings: Settings, weight: float, seed: int) -> dict[str, float]:
    """Train a perceptron at one weight of the entropy, and attack it."""
    x, y, x_test, y_test = flat_images(settings, "perceptron", seed)
    model = build(settings, "perceptron", x.shape[1], seed)
    settings.recipe.train(model, x, y, seeded(seed), loss=EntropyRegularizedLoss(weight))
    logits = predict(model, x_test, batch_size=1000)
    log_p = logits.double().log_softmax(1)
    curve = partial(adversarial_error_curve, model, x_test[: settings.n_attacked], eps=torch.tensor([ATTACK_EPS]))
    return {
        "accuracy": accuracy(logits, y_test),
        "entropy": -(log_p.exp() * log_p).sum(1).mean().item(),
        "FGSM": curve(attack=FGSM, batch_size=1000).error.item(),
        "PGD": curve(attack=partial(PGD, n_iter=10), batch_size=1000).error.item(),
    }


def search(settings: Settings, seed: int) -> dict[str, Any]:
    """Draw and train small networks; compare the choice by accuracy under attack with the choice by clean accuracy.

    Returns:
        The architecture of each choice, and its accuracies on test images.
    """
    x, y, x_test, y_test = flat_images(settings, "perceptron", seed)
    part = slice(settings.child_train)
    held = slice(settings.child_train, settings.child_train + settings.n_reward)
    recipe = replace(settings.recipe, epochs=settings.child_epochs)

    def grow(architecture: dict[str, Any]) -> torch.nn.Module:
        model = child(architecture, x.shape[1], seed)
        recipe.train(model, x[part], y[part], seeded(seed))
        return model

    def reward(model: torch.nn.Module) -> float:
        return robust_accuracies(model, x[held], y[held], ATTACK_EPS)["FGSM"]

    found = search_architectures(SPACE, grow, reward, n_trials=settings.children, generator=seeded(seed))
    by_clean = max(found.trials, key=lambda drawn: accuracy(predict(drawn.model, x[held]), y[held]))
    test = x_test[: settings.n_reward], y_test[: settings.n_reward]
    return {
        name: {**drawn.architecture, **robust_accuracies(drawn.model, *test, ATTACK_EPS)}
        for name, drawn in (("reward", found.best), ("clean", by_clean))
    }
