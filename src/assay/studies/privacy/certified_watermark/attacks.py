"""What was tried against one owner's watermarks, and what was left of them."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TypedDict

from scipy.stats import binom
from torch import nn

from assay.core import seeded, spawn_seeds
from assay.privacy import (
    WatermarkCertificate,
    certify_watermark,
)
from assay.privacy.watermark import (
    Pruning,
    Quantisation,
    RandomShift,
    RemovalAttack,
    RemovalReport,
    Retraining,
    TriggerAscent,
)
from assay.studies.privacy.certified_watermark.owners import Scene, Settings, noisy_accuracies

LEVEL = 1e-4
"""Chance that a bound which holds with equality is taken for broken."""


class Try(TypedDict):
    """One attack within a certified distance: the bound there, and what was drawn at the attacked network."""

    attack: str
    distance: float
    bound: float
    median: float
    broken: bool


def confined(settings: Settings, budget: float) -> Iterator[tuple[str, RemovalAttack]]:
    """Yield every kind of attack, kept within a distance."""
    ascent = {"n_noise": settings.n_noise, "n_iter": settings.ascent_steps}
    training = {"epochs": settings.confined_epochs, "lr": settings.attack_lr}
    yield "random shift", RandomShift(budget)
    yield "ascent", TriggerAscent(budget, **ascent)
    yield "ascent under noise", TriggerAscent(budget, sigma=settings.sigma, **ascent)
    yield "fine-tuning", Retraining(budget, **training)
    yield "hard distillation", Retraining(budget, "hard_distillation", **training)
    yield "soft distillation", Retraining(budget, "soft_distillation", **training)
    yield "unlearning", Retraining(budget, "trigger_unlearning", **training)
    yield "pruning", Pruning(budget)
    yield "quantisation", Quantisation(budget, bits=4)


def removals(settings: Settings) -> Iterator[tuple[str, RemovalAttack]]:
    """Yield the attacks of one who does not know the triggers, as far as they go, and distillation held near."""
    training = {"epochs": settings.attack_epochs, "lr": settings.attack_lr}
    yield "fine-tuning", Retraining(**training)
    yield "hard distillation", Retraining(method="hard_distillation", **training)
    yield "soft distillation", Retraining(method="soft_distillation", **training)
    yield "hard distillation, held near", Retraining(max(settings.budgets), "hard_distillation", **training)
    yield "pruning", Pruning(share=0.5)
    yield "quantisation", Quantisation(bits=4)


def try_bounds(
    settings: Settings, scene: Scene, network: nn.Module, certificate: WatermarkCertificate, seed: int
) -> list[Try]:
    """Attack within each certified distance, and test every bound on draws of its own."""
    tries: list[Try] = []
    draw_seeds = iter(spawn_seeds(seed, 1000))
    for radius in settings.radii:
        for name, attack in confined(settings, radius * settings.sigma):
            report = run(settings, scene, network, attack, next(draw_seeds))
            at = certify_watermark(certificate.samples, settings.sigma, [report.end.distance])
            bound = at.bounds.item()
            if bound == 0:
                continue
            draws = noisy_accuracies(settings, scene, report.model, next(draw_seeds))
            reached = int((draws >= bound).sum())
            median = draws.sort().values[len(draws) // 2].item()
            broken = bool(binom.cdf(reached, len(draws), 0.5) < LEVEL)
            tries.append(
                {"attack": name, "distance": report.end.distance, "bound": bound, "median": median, "broken": broken}
            )
    return tries


def remove(settings: Settings, scene: Scene, network: nn.Module, seed: int) -> dict[str, dict[str, float]]:
    """Return what each removal attack left at its end."""
    return {name: asdict(run(settings, scene, network, attack, seed).end) for name, attack in removals(settings)}


def unlearn(settings: Settings, scene: Scene, network: nn.Module, seed: int) -> list[float]:
    """Return the least trigger accuracy, of the network itself, that unlearning reaches within each budget."""

    def reached(budget: float, rate: float) -> float:
        attack = Retraining(budget, "trigger_unlearning", epochs=settings.confined_epochs, lr=rate)
        return run(settings, scene, network, attack, seed).end.trigger_accuracy

    return [min(reached(budget, rate) for rate in settings.forget_lrs) for budget in settings.budgets]


def run(settings: Settings, scene: Scene, network: nn.Module, attack: RemovalAttack, seed: int) -> RemovalReport:
    """Run one attack with the attacker's half of the data."""
    options = {"triggers": scene.triggers, "test": scene.test, "sigma": settings.sigma}
    return attack.run(network, *scene.attacker, generator=seeded(seed), **options)
