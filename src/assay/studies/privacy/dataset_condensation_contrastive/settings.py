"""Settings of the study of dataset condensation with contrastive signals."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Sizes of the problems, the networks and the condensation.

    Attributes:
        seeds: Problems of each kind.
        judges: Networks that are trained on each condensed set.
        judge_epochs: Passes over the condensed set.
        common: Norms of the common vector.
        high_rate_at: Norms at which a tenfold image learning rate is tried too.
        warmup_at: Norm at which the warm-up is compared with none.
        toy_per_class: Training samples a class of the problem with a common vector, and as many for testing.
        toy_outer: Outer steps there, of eight inner ones; a quarter is the warm-up where there is one.
        velocity_points: States at which the tangent kernel is taken.
        source: Images.
        fine_classes: Classes that are hard to tell apart.
        per_class: Training and test images of each class.
        side: Height and width that they are shrunk to.
        channels: Of the convolution network.
        outer: Outer steps on images, of ten inner ones.
        batch_size: Real samples a class and step.
        tasks: Tasks that the classes are learned in.
        task_steps: Training steps on each.
    """

    seeds: int = 3
    judges: int = 3
    judge_epochs: int = 300
    common: tuple[float, ...] = (0.0, 2.0, 4.0)
    high_rate_at: tuple[float, ...] = (0.0, 2.0)
    warmup_at: float = 2.0
    toy_per_class: int = 128
    toy_outer: int = 60
    velocity_points: int = 10
    source: str = "fashion-mnist"
    fine_classes: tuple[int, ...] = (0, 2, 3, 4, 6)
    per_class: tuple[int, int] = (200, 100)
    side: int = 14
    channels: tuple[int, ...] = (16, 16)
    outer: int = 24
    batch_size: int = 16
    tasks: int = 5
    task_steps: int = 60
