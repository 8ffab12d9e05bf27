"""Settings of the study of reconstruction from general losses."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """How the networks are trained and how long each is attacked.

    `n` images, `widths[-1]` units and `decay` are what all networks of C4 and C5 have that do not vary them. `decays`
    start with none, and none is repeated from a first layer that starts at `near_zero`, the papers' choice.
    """

    seeds: int = 6
    source: str = "mnist"
    ten_each: tuple[int, ...] = (3, 5)
    ten_width: int = 500
    ten_steps: int = 8_000
    regression_n: int = 30
    regression_width: int = 500
    regression_steps: int = 6_000
    regression_decay: float = 1e-2
    n: int = 20
    sizes: tuple[int, ...] = (10, 20, 40)
    widths: tuple[int, ...] = (25, 100, 400)
    steps: int = 6_000
    decays: tuple[float, ...] = (0.0, 1e-3, 1e-2)
    decay: float = 1e-3
    near_zero: float = 1e-4
    convolution_source: str = "digits"
    convolution_n: int = 10
    channels: int = 4
    convolution_hidden: int = 200
    convolution_steps: int = 4_000
    convolution_decay: float = 1e-3
    convolution_restarts: int = 1
    convolution_max_iter: int = 800
    n_restarts: int = 2
    max_iter: int = 800
