"""Settings of the study of effective model complexity."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Networks, budgets and repetitions.

    Attributes:
        cover_sizes: Numbers of points at which random labels are separated, `cover_trials` times each.
        separations: Repeats of the search with a linear program.
        repeats: Orders of the samples, labels and weights of every network on digits.
        n_iter: Adam's steps of one training, doubled once where it has not ended.
        start: The first number of digits.
        pool: Networks whose label gap is compared with their test error, beside that of three convolutions; names in
            `cells.NETWORKS`.
        conv_start: The first numbers of random and of original digits for the network of three convolutions.
        train_size: Digits for the test error.
        descent_n_iter: Steps of stochastic and full-batch gradient descent at equal steps.
        descent_epochs: Passes of both at equal passes.
        descent_start: The first number of digits there: at equal passes, few digits are few steps.
        descent_repeats: Orders and labels there.
        gaussian_samples: Normally distributed inputs for the comparison of activations.
        gaussian_start: The first number of these.
        activation_restarts: Initial weights there, of which one must fit.
        other_repeats: Orders of the samples in the comparison of activations and of re-parametrised networks.
    """

    cover_sizes: tuple[int, ...] = (12, 16, 18, 20, 22, 24, 28)
    cover_trials: int = 300
    separations: int = 100
    repeats: int = 6
    n_iter: int = 800
    start: int = 96
    pool: tuple[str, ...] = (
        "MLP 8-8 ReLU",
        "MLP 8-8 tanh",
        "MLP 12-12 ReLU",
        "MLP 12-12 tanh",
        "MLP 12 ReLU",
        "MLP 12 tanh",
        "CNN 4-4 ReLU",
    )
    conv_start: tuple[int, int] = (144, 600)
    train_size: int = 500
    descent_n_iter: int = 800
    descent_epochs: int = 100
    descent_start: int = 48
    descent_repeats: int = 4
    gaussian_samples: int = 2000
    gaussian_start: int = 192
    activation_restarts: int = 3
    other_repeats: int = 3
