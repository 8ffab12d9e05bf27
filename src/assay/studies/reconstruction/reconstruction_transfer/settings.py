"""Settings of the study of reconstruction from transfer learning."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """How heads are trained and attacked, and how many of the recovered embeddings are turned into images.

    `long_steps` trains `long_seeds` of the heads on images for longer, to see what that does to the recovery.
    `stand_ins` replaces the trained encoders, so that nothing beyond the package is needed.
    """

    seeds: int = 5
    stand_ins: bool = False
    source: str = "cifar10"
    images: int = 400
    sentences: int = 1000
    n: int = 20
    width: int = 500
    steps: int = 8_000
    long_steps: int = 15_000
    long_seeds: int = 3
    n_restarts: int = 10
    max_iter: int = 1500
    thresholds: tuple[float, ...] = (0.1, 0.15, 0.2, 0.3)
    inversions: int = 3
    inversion_steps: int = 200
