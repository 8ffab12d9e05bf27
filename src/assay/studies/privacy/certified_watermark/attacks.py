"""Removal attacks of the study: within certified distances, and as far as they go."""

from torch import nn

from assay.core import seeded
from assay.privacy.watermark import (
    Pruning,
    Quantisation,
    RandomShift,
    RemovalAttack,
    RemovalReport,
    Retraining,
    TriggerAscent,
)
from assay.studies.privacy.certified_watermark.owners import Scene
from assay.studies.privacy.certified_watermark.settings import Settings


def confined_attacks(settings: Settings, budget: float) -> dict[str, RemovalAttack]:
    """Return every kind of attack, kept within a distance; some know the triggers, and one the noise."""
    ascent = {"n_noise": settings.n_noise, "n_iter": settings.ascent_steps}
    training = {"epochs": settings.confined_epochs, "lr": settings.attack_lr}
    return {
        "random shift": RandomShift(budget),
        "ascent": TriggerAscent(budget, **ascent),
        "ascent under noise": TriggerAscent(budget, sigma=settings.sigma, **ascent),
        "fine-tuning": Retraining(budget, **training),
        "hard distillation": Retraining(budget, "hard_distillation", **training),
        "soft distillation": Retraining(budget, "soft_distillation", **training),
        "unlearning": Retraining(budget, "trigger_unlearning", **training),
        "pruning": Pruning(budget),
        "quantisation": Quantisation(budget, bits=4),
    }


def blind_attacks(settings: Settings) -> dict[str, RemovalAttack]:
    """Return attacks without knowledge of the triggers: without a limit, and hard distillation also with one."""
    training = {"epochs": settings.attack_epochs, "lr": settings.attack_lr}
    return {
        "fine-tuning": Retraining(**training),
        "hard distillation": Retraining(method="hard_distillation", **training),
        "soft distillation": Retraining(method="soft_distillation", **training),
        "hard distillation, confined": Retraining(max(settings.budgets), "hard_distillation", **training),
        "pruning": Pruning(share=0.5),
        "quantisation": Quantisation(bits=4),
    }


def attack_network(
    settings: Settings, scene: Scene, network: nn.Module, attack: RemovalAttack, seed: int
) -> RemovalReport:
    """Run one attack with the attacker's half of the data."""
    options = {"triggers": scene.triggers, "test": scene.test, "sigma": settings.sigma}
    return attack.run(network, *scene.attacker, generator=seeded(seed), **options)
