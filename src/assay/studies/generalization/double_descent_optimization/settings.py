"""Settings of the study of optimisation in double descent."""

from dataclasses import dataclass

from assay.lab import Looks

LOOKS = Looks((5, 8))


@dataclass(frozen=True)
class Settings:
    """Sizes of the data, widths, steps of training, and repetitions.

    Attributes:
        seeds: Draws of the training set, its label noise and its features, in closed forms.
        draws: Draws of features for each training set; curves are their medians.
        n: Training samples in closed forms.
        widths: Numbers of features there.
        n_iter: Numbers of steps of gradient descent there.
        compared: The two numbers of steps at which normalisations are compared, the first and the last of three at
            which the correlation is taken, with `longest`.
        longest: Steps after which the peak of features that are not normalised must be high.
        procedure_iter: Steps of the procedures that are compared at the threshold.
        factor_seeds: Training sets of the study of factors, of `factor_n` samples.
        factor_draws: Draws of features for each.
        factor_widths: Numbers of features there; the threshold is `factor_n` - 1 or `factor_n`.
        factor_iter: Steps of its base.
        net_seeds: Training sets of two-layer networks, of `n` samples.
        net_widths: Hidden units.
        short: Steps of their short training.
        long: Steps of their long training.
        arm_seeds: Training sets of the networks with other batches and initial weights.
        practice_seeds: Training sets of ordinary training, of `practice_n` samples with clean labels.
        practice_widths: Hidden units, or random features in tens.
        practice_epochs: Passes over the data.
    """

    seeds: int | Looks = LOOKS
    draws: int = 5
    n: int = 200
    widths: tuple[int, ...] = (50, 100, 150, 180, 200, 220, 250, 300, 500, 1500)
    n_iter: tuple[int, ...] = tuple(10**power for power in range(2, 9))
    compared: tuple[int, int] = (1000, 100_000)
    longest: int = 10_000_000
    procedure_iter: int = 5000
    factor_seeds: int | Looks = LOOKS
    factor_draws: int = 3
    factor_n: int = 100
    factor_widths: tuple[int, ...] = (50, 75, 100, 125, 150, 500)
    factor_iter: int = 1500
    net_seeds: int | Looks = LOOKS
    net_widths: tuple[int, ...] = (2, 5, 10, 15, 20, 40, 100)
    short: int = 100
    long: int = 2000
    arm_seeds: int = 2
    practice_seeds: int = 10
    practice_n: int = 500
    practice_widths: tuple[int, ...] = (2, 4, 8, 16, 32, 64, 128)
    practice_epochs: int = 30
