"""Figures of the study of logit gaps."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from assay.lab import Grid
from assay.lab.plots import curves
from assay.studies.adversarial.logit_difference_universality.cells import EPS


def draw_errors(kinds: Mapping[str, Grid]) -> Figure:
    """Draw the share of changed decisions against the perturbation's size, one line a kind of network."""
    means = {kind: found["error"].mean(0) for kind, found in kinds.items()}
    return curves(
        EPS.numpy(),
        {kind: np.where(error > 0, error, np.nan) for kind, error in means.items()},
        xlabel="size of the perturbation, infinity norm",
        ylabel="share of decisions changed",
        title="FGSM",
        log="xy",
    )


def draw_training(found: Grid) -> Figure:
    """Draw the exponent of the first gap's law against the epoch, one line a seed."""
    figure = curves(
        found["epoch"][0],
        {"perceptron": found["exponent"]},
        xlabel="epoch",
        ylabel="exponent near zero",
        title="The gap's law during training",
        band="seeds",
    )
    figure.axes[0].axhspan(0.8, 1.2, alpha=0.12)
    figure.axes[0].set_ylim(0, 1.6)
    return figure
