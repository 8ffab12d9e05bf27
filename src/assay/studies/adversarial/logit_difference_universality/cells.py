"""Logit gaps and error curves of the kinds of network, and the gaps during training."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from assay.adversarial import FGSM, PGD, Attack, Lp, StepLeastLikely, adversarial_error_curve, logit_differences
from assay.adversarial.logit_gaps import ErrorCurve, gap_exponent
from assay.core import InvalidInputError, Step, accuracy, predict, seeded
from assay.studies.adversarial.logit_difference_universality.exact import first_order_errors
from assay.studies.adversarial.logit_difference_universality.networks import build, flat_images, trained
from assay.studies.adversarial.logit_difference_universality.settings import Settings

EPS = torch.logspace(-3.69897, -1.69897, 9, dtype=torch.float64)  # 2e-4 to 2e-2
RESPONSE_EPS = 2e-3  # the first-order prediction is held to its bar up to here
WATCHED = (1, 3)  # epochs, beside the start and the last one


def follow_kind(settings: Settings, kind: str, seed: int) -> dict[str, Any]:
    """Train one network; read its gaps, its error curves, and how well first order predicts them.

    What cannot be fitted, since too few decisions change or scores tie, is None.
    """
    model, x, y = trained(settings, kind, seed)
    logits = predict(model, x, batch_size=1000)
    gaps = logit_differences(logits)

    def curve(attack: Callable[[Lp], Attack], n: int) -> ErrorCurve:
        found = adversarial_error_curve(model, x[:n], y[:n], eps=EPS, attack=attack, batch_size=1000)
        return found if found.fit or n >= settings.n_rare else curve(attack, settings.n_rare)

    fgsm = curve(FGSM, settings.n_fgsm)
    others = {"least likely": StepLeastLikely, "PGD": lambda threat: PGD(threat, n_iter=5)}
    fits = {name: curve(attack, settings.n_other).fit for name, attack in others.items()}
    small = EPS[RESPONSE_EPS * 1.001 >= EPS]
    off = first_order_errors(model, x[: settings.n_other], small)
    off = off or first_order_errors(model, x[: settings.n_rare], small)
    return {
        "accuracy": accuracy(logits, y),
        "error": fgsm.error,
        "changed": fgsm.error[-1].item(),
        "excess": None if fgsm.excess is None else fgsm.excess[-1].item(),
        "FGSM": fgsm.fit and fgsm.fit.exponent,
        "R²": fgsm.fit and fgsm.fit.r2,
        **{name: fit and fit.exponent for name, fit in fits.items()},
        "first order": max(off, default=None),
        **{f"gap {column + 2}": slope_or_none(gaps[:, column]) for column in range(3)},
    }


def slope_or_none(gap: Tensor) -> float | None:
    """Return the exponent of the gap's law, or None where scores tie in double precision."""
    try:
        return gap_exponent(gap).exponent
    except InvalidInputError:
        return None


def follow_training(settings: Settings, seed: int) -> dict[str, list[float]]:
    """Read the law of the first gap at some epochs of training."""
    settings = replace(settings, n_train=settings.n_followed)
    x, y, x_test, y_test = flat_images(settings, "perceptron", seed)
    model, recipe = build(settings, "perceptron", x.shape[1], seed), settings.recipe
    found: dict[str, list[float]] = {"epoch": [], "exponent": [], "accuracy": []}

    def look(epoch: int) -> None:
        logits = predict(model, x_test, batch_size=1000).double()
        found["epoch"].append(epoch)
        found["exponent"].append(gap_exponent(logit_differences(logits)[:, 0]).exponent)
        found["accuracy"].append(accuracy(logits, y_test))

    a_pass = -(-len(x) // (recipe.batch_size or len(x)))
    watched = {epoch * a_pass: epoch for epoch in (*WATCHED, recipe.epochs)}

    def watch(step: Step) -> None:
        if step.number in watched:
            look(watched[step.number])

    look(0)
    recipe.train(model, x, y, seeded(seed), callbacks=[watch])
    return found
