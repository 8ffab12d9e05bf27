"""Watermarked networks with their certificates, and what attacks leave of them."""

from typing import Any

import numpy as np
from scipy.stats import binom
from torch import Tensor, nn

from assay.core import accuracy, flatten, named_parameters, predict, seeded, spawn_seeds, unflatten
from assay.privacy import certify_watermark
from assay.privacy.watermark import Retraining, smoothed_trigger_accuracy
from assay.studies.privacy.certified_watermark.attacks import attack_network, blind_attacks, confined_attacks
from assay.studies.privacy.certified_watermark.owners import Scene, make_scene, train_network
from assay.studies.privacy.certified_watermark.settings import Settings

ATTACKED = "uniform"  # watermarks of the other families are certified only
COMPARED = ("plain", "smoothed")
LEVEL = 1e-4
"""Probability that a bound which holds with equality is taken for broken."""
DISTANCES = tuple(step / 4 for step in range(13))
"""Distances at which bounds are shown, in multiples of sigma."""
WITHIN_SIGMA = DISTANCES.index(1.0)


def watermark(settings: Settings, family: str, kind: str, seed: int) -> dict[str, Any]:
    """Train one owner's network with one kind of watermark, and certify it."""
    scene_seed, draw_seed, _ = spawn_seeds(seed, 3)
    scene = make_scene(settings, family, scene_seed)
    network = train_network(settings, scene, kind, scene_seed)
    samples = draw_accuracies(settings, scene, network, draw_seed)
    certificate = certify_watermark(samples, settings.sigma, [settings.sigma * each for each in DISTANCES])
    weights = flatten(named_parameters(network))
    return {
        "test accuracy": accuracy(predict(network, scene.test[0]), scene.test[1]),
        "trigger accuracy": accuracy(predict(network, scene.triggers.x), scene.triggers.y),
        "median under noise": certificate.value,
        "certified within sigma": certificate.bounds[WITHIN_SIGMA].item(),
        "certified radius": certificate.radius(0.5),
        "norm of the parameters": weights.norm().item(),
        "bounds": certificate.bounds,
        "samples": samples,
        "weights": weights,
    }


def try_bounds(settings: Settings, seed: int, watermarked: dict[str, Any]) -> dict[str, Any]:
    """Attack a network within certified distances, and test each bound there on noise drawn for it alone.

    Returns:
        By budget and attack: the distance, the bound there (zero where nothing is certified), the median trigger
        accuracy under noise, and whether a binomial test rejects that it reaches the bound.
    """
    scene, network, attack_seed = restore(settings, seed, watermarked)
    attacks = [
        each for radius in settings.radii for each in confined_attacks(settings, radius * settings.sigma).values()
    ]
    seeds = spawn_seeds(attack_seed, 2 * len(attacks))
    tries = []
    for attack, run_seed, draw_seed in zip(attacks, seeds[::2], seeds[1::2], strict=True):
        report = attack_network(settings, scene, network, attack, run_seed)
        distance = report.end.distance
        bound = certify_watermark(watermarked["samples"], settings.sigma, [distance]).bounds.item()
        draws = draw_accuracies(settings, scene, report.model, draw_seed)
        reached = int((draws >= bound).sum())
        median = draws.sort().values[len(draws) // 2].item()
        tries.append((distance, bound, median, bool(binom.cdf(reached, len(draws), 0.5) < LEVEL)))
    columns = np.array(tries).T.reshape(4, len(settings.radii), -1)
    return dict(zip(("distance", "bound", "median", "broken"), columns, strict=True))


def remove(settings: Settings, seed: int, watermarked: dict[str, Any]) -> dict[str, Any]:
    """Try to remove a network's watermark without knowledge of the triggers, and with it.

    Returns:
        By attack without that knowledge: distance, accuracies, and the median trigger accuracy under noise. By budget
        of unlearning: the least trigger accuracy over its learning rates.
    """
    scene, network, attack_seed = restore(settings, seed, watermarked)

    def end(attack: Any) -> Any:
        return attack_network(settings, scene, network, attack, attack_seed).end

    def unlearn(budget: float, lr: float) -> float:
        attack = Retraining(budget, "trigger_unlearning", epochs=settings.confined_epochs, lr=lr)
        return end(attack).trigger_accuracy

    ends = [end(attack) for attack in blind_attacks(settings).values()]
    return {
        "distance": [each.distance for each in ends],
        "test accuracy": [each.test_accuracy for each in ends],
        "trigger accuracy": [each.trigger_accuracy for each in ends],
        "median under noise": [each.smoothed_median for each in ends],
        "after unlearning": [min(unlearn(budget, lr) for lr in settings.unlearning_lrs) for budget in settings.budgets],
    }


def restore(settings: Settings, seed: int, watermarked: dict[str, Any]) -> tuple[Scene, nn.Module, int]:
    """Return the scene and the network of a stored cell, and the seed of the attacks on it."""
    scene_seed, _, attack_seed = spawn_seeds(seed, 3)
    scene = make_scene(settings, ATTACKED, scene_seed)
    network = settings.recipe.build(scene.owner[0].shape[1:], scene.n_classes)
    network.load_state_dict(unflatten(watermarked["weights"], named_parameters(network)))
    return scene, network.eval(), attack_seed


def draw_accuracies(settings: Settings, scene: Scene, network: nn.Module, seed: int) -> Tensor:
    """Draw a network's trigger accuracy under parameter noise."""
    options = {"sigma": settings.sigma, "n": settings.draws, "generator": seeded(seed)}
    return smoothed_trigger_accuracy(network, scene.triggers, **options)
