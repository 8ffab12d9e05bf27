"""Settings of the study of effective model complexity."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Networks, budgets and repetitions.

    Attributes:
        cover_sizes: Numbers of points at which random labels are separated, `cover_trials` times each.
        separations: Repeats of the search with a linear program.
        repeats: Orders of the samples, labels and weights of every network.
        n_iter: Adam's steps of one training, doubled once where it has not ended.
        start: The first number of digits.
        pool: Networks whose label gap is compared with their test error, names in `cells.NETWORKS`.
        conv_start: The first numbers of random and of original digits for the network of three convolutions.
        train_size: Digits for the test error.
        descent_n_iter: Steps of stochastic and full-batch gradient descent at equal steps.
        descent_epochs: Passes of both at equal passes.
        descent_repeats: Orders and labels there.
        gaussian_samples: Normally distributed inputs for the comparison of activations.
        gaussian_start: The first number of these.
        activation_restarts: Initial weights there, of which one must fit.
    """

    cover_sizes: tuple[int, ...] = (12, 16, 18, 20, 22, 24, 28)
    cover_trials: int = 300
    separations: int = 100
    repeats: int = 4
    n_iter: int = 1000
    start: int = 96
    pool: tuple[str, ...] = (
        "MLP 8-8 ReLU",
        "MLP 8-8 tanh",
        "MLP 12-12 ReLU",
        "MLP 12-12 tanh",
        "MLP 12 ReLU",
        "MLP 12 tanh",
        "CNN 4-4 ReLU",
        "CNN 4-4 tanh",
    )
    conv_start: tuple[int, int] = (128, 600)
    train_size: int = 500
    descent_n_iter: int = 1000
    descent_epochs: int = 100
    descent_repeats: int = 3
    gaussian_samples: int = 2000
    gaussian_start: int = 128
    activation_restarts: int = 3
