"""Settings of the study of diffusion spectral entropy."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Sizes of the simulated data, and how long networks train.

    Attributes:
        seeds: Simulated data sets, initialisations and zoos.
        training_seeds: Networks of each data set and kind of label.
        toy_samples: Points of the signal in noise.
        toy_dim: Their dimensions.
        signals: Dimensions that hold signal.
        noises: Amplitudes of the uniform noise.
        blob_samples: Points of the three blobs.
        blob_dims: Their dimensions; the last is the largest.
        corruptions: Shares of labels that are shuffled.
        critic_epochs: Epochs of the critic of MINE.
        clothes: Data set of the training runs with true and random labels.
        digits: Data set on which information on the input is said to rise.
        colour: Data set on which it is said to fall.
        n_train: Training images.
        n_test: Images whose representations are measured.
        epochs: Of training on true labels.
        random_epochs: Of training on random labels.
        stds: Standard deviations of convolution weights; the first two are compared.
        init_epochs: Epochs after which these are compared.
        zoo: Networks of a zoo.
        zoo_epochs: Most epochs of one of them.
        agreement_samples: Points on which both ways to the entropy are compared.
    """

    seeds: int = 4
    training_seeds: int = 5
    toy_samples: int = 300
    toy_dim: int = 512
    signals: tuple[int, ...] = (5, 25, 50, 100, 200, 400, 512)
    noises: tuple[float, ...] = (0.01, 0.1, 0.5)
    blob_samples: int = 900
    blob_dims: tuple[int, ...] = (20, 100, 1000)
    corruptions: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    critic_epochs: int = 200
    clothes: str = "fashion-mnist"
    digits: str = "mnist"
    colour: str | None = "cifar10"
    n_train: int = 2000
    n_test: int = 1000
    epochs: int = 40
    random_epochs: int = 60
    stds: tuple[float, ...] = (0.01, 0.1, 0.5)
    init_epochs: int = 3
    zoo: int = 20
    zoo_epochs: int = 20
    agreement_samples: int = 2000
