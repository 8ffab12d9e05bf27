"""Settings of the study of random interpolators."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """How often data are drawn, and how hard networks are searched for.

    Attributes:
        widths: Hidden units of the networks that are enumerated.
        sizes: Training points at which the exact risk is averaged over `sets` data sets a seed.
        bound_sizes: Training points at which the high-probability bound is tested, `trials` times.
        posterior_draws: Networks that guess and check finds for one training set.
        cube_widths: Hidden units of the networks on the cube {-1, 1}^7.
        cube_points: Training points there.
    """

    seeds: int = 5
    widths: tuple[int, ...] = (1, 2, 3)
    sizes: tuple[int, ...] = (4, 8, 16, 32)
    sets: int = 400
    bound_sizes: tuple[int, ...] = (16, 32, 64)
    trials: int = 2000
    posterior_draws: int = 20_000
    cube_seeds: int = 10
    cube_widths: tuple[int, ...] = (2, 8, 32)
    cube_points: int = 12
    max_guesses: int = 1_000_000
