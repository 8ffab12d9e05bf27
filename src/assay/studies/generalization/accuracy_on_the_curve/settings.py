"""Settings of the study of accuracy on the curve."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Pool:
    """Hyperparameters of a pool: for each width, as many models as there are combinations.

    Attributes:
        widths: Hidden units.
        lrs: Learning rates of Adam; in the synthetic pool the ends of a log-uniform range.
        epochs: Passes over the training set.
        batch_sizes: Samples a step.
        models: Models a width in the synthetic pool, whose learning rates are drawn.
    """

    widths: tuple[int, ...]
    lrs: tuple[float, ...]
    epochs: tuple[int, ...]
    batch_sizes: tuple[int, ...]
    models: int = 12


@dataclass(frozen=True)
class Settings:
    """Sizes of both pools, and of the data.

    Attributes:
        shares: Shares of synthetic training samples whose attribute agrees with the label.
        n: Synthetic training samples of one model.
        n_test: Synthetic test samples of each cell.
        synthetic: The synthetic pool.
        seeds: Training sets and initial weights of each configuration of that pool.
        source: Images; None leaves them out.
        encoder: Features of images: "efficientnet-lite0", or "pixels" for 8 x 8 means.
        bank: Training images of each class, of which training sets are drawn.
        images: Training images of one model.
        test_images: Test images of each class.
        heads: The pool on features.
        image_seeds: Training sets and initial weights of each configuration of that pool.
        exact: Discrete distributions on which the theorem is summed.
        samples: Samples on which it is estimated.
    """

    shares: tuple[float, ...] = (0.5, 0.7, 0.9)
    n: int = 2000
    n_test: int = 1000
    synthetic: Pool = Pool((4, 8, 16, 64, 256), (1e-4, 2e-2), (1, 2, 5, 10, 25), (16, 32, 64, 128))
    seeds: int = 8
    source: str | None = "cifar10"
    encoder: str = "efficientnet-lite0"
    bank: int = 500
    images: int = 500
    test_images: int = 300
    heads: Pool = Pool((4, 8, 16, 64), (1e-4, 3e-4, 1e-3, 3e-3, 1e-2), (1, 20), (32,))
    image_seeds: int = 6
    exact: int = 200
    samples: int = 200_000
