"""Settings of the study of certified watermarks."""

from dataclasses import dataclass

from assay.nets import Recipe

RECIPE = Recipe((64, 64), epochs=60, lr=0.05, batch_size=64, optimizer="sgd", weight_decay=1e-4, schedule=None)


@dataclass(frozen=True)
class Settings:
    """How networks are trained, watermarked, certified and attacked.

    A certificate takes `draws` draws of parameter noise of standard deviation `sigma`. Attacks confined to `radii`, in
    multiples of sigma, try the certificates; unlearning is confined to `budgets`, in units of the parameters, and takes
    the most harmful of `unlearning_lrs`.
    """

    seeds: int = 5
    source: str = "digits"
    recipe: Recipe = RECIPE
    n_triggers: int = 20
    sigma: float = 0.3
    n_levels: int = 6
    n_noise: int = 20
    warmup: int = 10
    draws: int = 2000
    radii: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0)
    attack_epochs: int = 30
    attack_lr: float = 1e-2
    ascent_steps: int = 30
    confined_epochs: int = 8
    budgets: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    unlearning_lrs: tuple[float, ...] = (1e-3, 1e-2)
