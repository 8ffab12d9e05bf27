"""Settings of the study of reconstruction from a known start."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Size networks and searches.

    `clothes` is the data set of rows on clothes, `digits` that of all others. `base_images` of the clothes train the
    checkpoint that is fine-tuned. `stand_in` replaces EfficientNet-Lite0 by a random convolution network; `features`
    images are embedded for heads, and as many for the attacker. `sizes` are the numbers of samples whose displacements
    by SGD and Adam are compared.
    """

    seeds: int = 2
    digits: str = "mnist"
    clothes: str = "fashion-mnist"
    n: int = 30
    width: int = 500
    deep_width: int = 300
    tried: int = 1000
    n_iter: int = 1500
    n_restarts: int = 3
    most_epochs: int = 2000
    base_images: int = 10_000
    features: int = 120
    stand_in: bool = False
    sizes: tuple[int, ...] = (2, 10, 30, 100)
