"""Settings of the study of explanation disparities."""

from dataclasses import dataclass

from assay.lab import Looks


@dataclass(frozen=True)
class Settings:
    """How much data is drawn, how models are trained, and how many samples are explained.

    Attributes:
        seeds: Draws of data, initial weights and neighbours.
        n_train: Training samples, before those that covariate shift drops.
        n_explained: Test samples that are explained.
        n_omitted: Test samples that are explained where the gaps are small: with an omitted variable.
        neighbours: Neighbours of an explained sample.
        widths: Hidden units of the network.
        epochs: Passes over the training data.
        batch_size: Samples a step.
        ratios: Shares of group 0 in training.
        thresholds: Thresholds of covariate shift; the first is no shift.
        betas: Coefficients of concept shift; the first is no shift.
        betas_without_group: Those where the models are not given the group.
        alphas: Effects of the omitted variable; the first is none.
        real_seeds: Splits of the real data sets.
        real_epochs: Passes over their training samples.
    """

    seeds: int | Looks = 5
    n_train: int = 6000
    n_explained: int = 1000
    n_omitted: int = 2000
    neighbours: int = 500
    widths: tuple[int, ...] = (50, 100, 200)
    epochs: int = 20
    batch_size: int = 64
    ratios: tuple[float, ...] = (0.5, 0.05)
    thresholds: tuple[float, ...] = (-1.5, 0.9, 1.3)
    betas: tuple[float, ...] = (1.5, -0.7, -2.7)
    betas_without_group: tuple[float, ...] = (1.5, -0.7)
    alphas: tuple[float, ...] = (0.0, 4.0)
    real_seeds: int = 3
    real_epochs: int = 60
