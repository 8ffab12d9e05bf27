"""Settings of the study of reconstruction from binary and multiclass networks."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """How the networks are trained and how long each is attacked.

    `steps` is long enough for the initialisation to vanish, `short_steps` leaves three per cent of it. Where a field
    holds pairs, they are numbers of training images and of seeds; a third number is that of restarts. Each attack takes
    `restarts_at_once` restarts a cell: an interrupted run repeats at most one cell.
    """

    seeds: int = 6
    source: str = "mnist"
    n: int = 30
    width: int = 500
    larger: tuple[tuple[int, int], ...] = ((50, 3), (100, 3))
    ten_larger: tuple[tuple[int, int], ...] = ((50, 3),)
    deep: tuple[int, ...] = (300, 300)
    deeper: tuple[int, ...] = (200, 200, 200)
    deeper_seeds: int = 3
    steps: int = 21_000
    short_steps: int = 7_000
    deep_steps: int = 15_000
    decays: tuple[float, ...] = (0.0, 1e-4, 1e-3, 5e-3)
    decay_steps: int = 8_000
    colour: str | None = "cifar10"
    colour_images: tuple[int, int] = (30, 3)
    colour_hidden: tuple[int, ...] = (300, 300)
    colour_larger: tuple[tuple[int, int, int], ...] = ((100, 2, 4), (500, 1, 2))
    colour_larger_hidden: tuple[int, ...] = (1000, 1000)
    colour_steps: int = 20_000
    colour_rate: float = 0.05
    n_restarts: int = 10
    restarts_at_once: int = 10
    max_iter: int = 1500
    batch_size: int | None = None
