"""Settings of the study of decision regions."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Sizes of the three experiments, all on digits.

    Attributes:
        planes: Planes through test images for networks that are trained.
        resolution: Points along each axis of a plane.
        epochs: Of the architectures that are compared.
        feature_samples: Training images of the random-feature classifiers, at whose number they interpolate.
        feature_widths: Random features; one of them is `feature_samples`.
        threshold: Widths around the interpolation threshold, where the extremes are expected.
        noise: Share of the training labels that are replaced by another class.
        net_widths: Hidden units of the trained networks.
        net_steps: Steps of full-batch Adam.
        margin_samples: Training images of each kind whose margins are measured.
    """

    seeds: int = 5
    planes: int = 200
    resolution: int = 50
    epochs: int = 30
    wide: int = 512
    narrow: int = 8
    feature_samples: int = 200
    feature_planes: int = 60
    feature_resolution: int = 40
    feature_widths: tuple[int, ...] = (20, 50, 100, 150, 200, 250, 300, 500, 1000, 4000)
    threshold: tuple[int, ...] = (200, 250, 300)
    anchors: tuple[int, int] = (50, 4000)
    noise: float = 0.2
    net_samples: int = 400
    net_planes: int = 100
    net_widths: tuple[int, ...] = (4, 8, 16, 48, 512)
    net_steps: int = 2500
    margin_samples: int = 40
