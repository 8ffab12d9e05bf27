"""Settings of the study of MALT."""

from dataclasses import dataclass

from assay.nets import Recipe

RECIPE = Recipe(hidden=(512, 512), epochs=10, batch_size=128)


@dataclass(frozen=True)
class Settings:
    """How the robust network is trained, how hard it is attacked, and the random networks.

    The robust network is trained against PGD of radius `train_eps` and attacked within `eps`. The first `subset` test
    samples serve the comparison with AutoAttack and the test of linearity; `ladder_points` samples have their distances
    to 20 classes bisected. Random networks have `width` units and `features` inputs, and are tested within `radii`.
    """

    seeds: int = 5
    sources: tuple[str, str] = ("fashion-mnist", "mnist")
    n_train: int = 20_000
    n_test: int = 2000
    recipe: Recipe = RECIPE
    train_eps: float = 0.05
    eps: float = 0.06
    n_iter: int = 30
    n_targets: int = 9
    ladder_points: int = 50
    subset: int = 300
    width: int = 4000
    features: tuple[int, ...] = (400, 1600)
    radii: tuple[float, ...] = (1.0, 5.0)
