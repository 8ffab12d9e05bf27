"""Settings of the study of canary membership inference."""

from dataclasses import dataclass

from assay.nets import Recipe


@dataclass(frozen=True)
class Kind:
    """One kind of network: its recipe, and the radii of its canaries in 255ths of the input range."""

    recipe: Recipe
    radius: float
    offline_radius: float


@dataclass(frozen=True)
class Settings:
    """How many networks are trained on what, and how canaries are crafted."""

    seeds: int = 5
    source: str = "fashion-mnist"
    pool: int = 300
    shadows: int = 32
    judges: int = 8
    targets: int = 12
    convolution: Kind = Kind(Recipe(64, (12, 24), epochs=30, lr=5e-3, batch_size=15), 8.0, 4.0)
    perceptron: Kind = Kind(Recipe(64, epochs=60, lr=2e-3, batch_size=25), 4.0, 4.0)
    n_queries: int = 5
    steps: int = 20
    models_per_step: int = 4
    max_shift: int = 2
