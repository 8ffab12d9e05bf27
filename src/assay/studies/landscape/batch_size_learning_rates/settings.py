"""Settings of the study of learning rates by batch size."""

from dataclasses import dataclass

from assay.lab import Looks


@dataclass(frozen=True)
class Settings:
    """Sizes of the random matrices, and how networks on digits are measured and trained.

    Attributes:
        seeds: Seeds of everything but the convolutional network.
        size: Rows P of the random matrices.
        draws: Random matrices whose mean is compared with a formula; one draw fluctuates by about a percent.
        matrix_batches: Effective batch sizes b of the additive model.
        ratios: P over b of the covariance model.
        samples: Training images of digits, of which there are 1347.
        loss: Training loss to which the tanh network of 64, 8 and 10 units is warmed up.
        curvature_batches: Batch sizes at which its curvature is measured, `batches` times.
        fitted: Batch size at which the coefficient of the fit is measured.
        rate_batches: Batch sizes at which its largest learning rate is searched.
        plateau: The two largest of these, between which the largest rate of SGD should not grow.
        n_iter: Steps that a rate has to survive.
        orders: Orders of the batches, each of which a rate survives or not.
        learner_batch: Batch size of the learner and of SGD with hand-tuned rates.
        learner_steps: Steps of SGD with a hand-tuned rate; the learner has twice as many to reach its loss.
        every: Steps between two runs of the learner's Lanczos.
        margin: The learner's factor on Polyak's rate.
        images: Fashion-MNIST images of the convolutional network.
    """

    seeds: int | Looks
    size: int = 1000
    draws: int = 10
    matrix_batches: tuple[int, ...] = (50, 200, 1000, 5000)
    ratios: tuple[float, ...] = (0.25, 1.0, 4.0)
    samples: int = 1347
    loss: float = 0.46
    curvature_batches: tuple[int, ...] = (4, 16, 64, 256, 1024)
    batches: int = 20
    fitted: int = 64
    rate_batches: tuple[int, ...] = (2, 4, 8, 16, 32, 128, 512)
    plateau: tuple[int, int] = (128, 512)
    n_iter: int = 150
    orders: int = 4
    learner_batch: int = 256
    learner_steps: int = 400
    every: int = 25
    margin: float = 0.25
    images: int = 500
    image_seeds: int = 2
    image_epochs: int = 10
