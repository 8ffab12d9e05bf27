"""Settings of the study of opposing signals."""

from dataclasses import dataclass, field

from assay.lab import Looks


@dataclass(frozen=True)
class Settings:
    """Sizes of the linear model, the networks and the searches.

    The learning rates of 0.04 and 0.05 on the squared error are 0.08 and 0.1 on half of it, the scale of the linear
    model.

    Attributes:
        seeds: Independent repetitions.
        flow_time: Time at which gradient flow of the linear model ends.
        descent_steps: Steps of gradient descent on the linear model.
        samples: Samples of the two classes with planted outliers.
        steps: Steps of gradient descent on them.
        found_at: Step at which the groups are searched.
        cosine_steps: Steps of training for the gradient cosine.
        most_steps: Steps after which an optimiser that has not reached the target is stopped.
        rates: Learning rates that each optimiser tries.
        images: Training images.
        image_steps: Steps of gradient descent on them.
        lr: Learning rate on the two classes, at which sharpness is measured and groups are searched.
        unstable_lr: Learning rate on them at which training with the outliers becomes unstable for every seed.
        image_lr: Learning rate on the images.
    """

    seeds: int | Looks = field(default_factory=lambda: Looks((3, 5, 8)))
    flow_time: float = 20.0
    descent_steps: int = 300
    samples: int = 400
    steps: int = 500
    found_at: int = 200
    cosine_steps: int = 300
    most_steps: int = 2000
    rates: int = 6
    images: int = 500
    image_steps: int = 200
    lr: float = 0.04
    unstable_lr: float = 0.05
    image_lr: float = 0.15
