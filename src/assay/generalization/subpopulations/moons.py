"""Moon shape: minority against majority accuracy of many models (Liang, Mao et al., 2023)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from scipy.stats import norm
from torch import Tensor

from assay.core import InvalidInputError, check_count
from assay.generalization.subpopulations.curves import Knee, PolynomialFits, find_knee, fit_polynomials

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ANCHORS = 0.05
"""Share of the models whose mean is an end of the chord."""


@dataclass(frozen=True, eq=False)
class MoonShape:
    """How minority accuracy follows majority accuracy over a pool of models.

    Attributes:
        majority: Accuracy of each model on the majority, those that were trimmed left out.
        minority: The same on the minority.
        fits: Polynomials through the points.
        probit: Polynomials through the points on probit axes, on which earlier work finds lines.
        knee: The line of two segments; its place is where the trend changes most.
        weakest: Mean point of the models of lowest majority accuracy.
        best: Mean point of the models of highest majority accuracy.
        deviation: Chord less minority accuracy of each model strictly between the two ends, in order of the models.
        n_models: Models that were given.
        n_ceiling: How many of them are right on the whole majority: many of them flatten any fit.
    """

    majority: Float64[Tensor, " m"]
    minority: Float64[Tensor, " m"]
    fits: PolynomialFits
    probit: PolynomialFits
    knee: Knee
    weakest: tuple[float, float]
    best: tuple[float, float]
    deviation: Float64[Tensor, " between"]
    n_models: int
    n_ceiling: int

    @property
    def chord_deviation(self) -> float:
        """Mean deviation below the chord; zero where no model lies between the ends.

        A choice by coin between the weakest and the best models attains the chord, so that a positive value says that
        trained models are worse on the minority than such a choice.
        """
        return float(self.deviation.mean()) if len(self.deviation) else 0.0

    @property
    def is_moon(self) -> bool:
        """Whether the parabola is convex, beyond chance at 5%, and models lie below the chord on average."""
        return self.fits.curvature > 0 and self.fits.p_value < 0.05 and self.chord_deviation > 0

    def __str__(self) -> str:
        ceiling = f"; {self.n_ceiling} models are right on the whole majority" if self.n_ceiling else ""
        return (
            f"Over {len(self.majority)} models a line explains {self.fits.r2_linear:.3g} of the variance of minority "
            f"accuracy and a parabola {self.fits.r2_quadratic:.3g} (curvature {self.fits.curvature:.3g}, "
            f"p = {self.fits.p_value:.2g}); on probit axes {self.probit.r2_linear:.3g} and "
            f"{self.probit.r2_quadratic:.3g}. Models lie {self.chord_deviation:.3g} below the chord on average, and "
            f"the slope changes from {self.knee.before:.3g} to {self.knee.after:.3g} at a majority accuracy of "
            f"{self.knee.place:.3g}{ceiling}."
        )

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the models, the chord, the two segments and the diagonal, and return the axes."""
        import matplotlib.pyplot as plt

        axes = plt.subplots()[1] if ax is None else ax
        a, b = self.majority.numpy(), self.minority.numpy()
        axes.plot([a.min(), 1], [a.min(), 1], color="0.7", linewidth=0.8, label="equal accuracy")
        axes.plot(*zip(self.weakest, self.best, strict=True), "--", color="C1", label="coin between the ends")
        places = np.array([a.min(), self.knee.place, a.max()])
        axes.plot(places, self.knee.at(places), color="C3", label="two segments")
        axes.plot(a, b, "o", color="C0", markersize=3.5, alpha=0.7, label="model")
        axes.set(xlabel="accuracy on the majority", ylabel="accuracy on the minority")
        axes.legend()
        return axes


def moon_shape(
    accuracy_majority: Float[Tensor, " _"] | Sequence[float],
    accuracy_minority: Float[Tensor, " _"] | Sequence[float],
    *,
    n_majority: int,
    n_minority: int,
    trim: float = 1.0,
) -> MoonShape:
    r"""Describe how minority accuracy follows majority accuracy over many models.

    Fits of $b$ on $a$ of degree one to three with the F-test of the square; the same of $\Phi^{-1}$ of both, clipped to
    $[1/(2n), 1 - 1/(2n)]$ for n test samples; the deviation below the chord between the mean points of the lowest and
    the highest 5% of a (all ties among them); and the knee of a continuous line of two segments.

    A pool of well-trained models only sits in one corner and looks linear: include models that were trained shortly or
    with a small learning rate. The p-value takes the models as independent.

    Cost: time O(m) times at most 200 breaks, memory O(m).

    Args:
        accuracy_majority: Accuracy a of each model on the majority, its labels balanced.
        accuracy_minority: Accuracy b of each model on the minority, its labels balanced.
        n_majority: Test samples of the majority, for the probit.
        n_minority: Test samples of the minority, for the probit.
        trim: Leave out models of a higher majority accuracy; 1 keeps all. Points pile up at 1 on easy data.

    Returns:
        The description.

    Raises:
        InvalidInputError: The accuracies are no shares or not as many, or too few models differ.

    Source: Liang, Mao et al., Accuracy on the Curve (2023), main text: the moon shape, the comparison with mixtures of
    two models, probit axes. The paper shows plots; the statistics are defined here.

    >>> a = torch.linspace(0.5, 1.0, 20, dtype=torch.float64)
    >>> found = moon_shape(a, 0.5 + 2 * (a - 0.5) ** 2, n_majority=1000, n_minority=1000)
    >>> found.is_moon, round(found.fits.curvature, 6)
    (True, 2.0)
    """
    check_count(n_majority, "n_majority")
    check_count(n_minority, "n_minority")
    if not 0 < trim <= 1:
        raise InvalidInputError(f"trim must be an accuracy above 0 and at most 1, got {trim!r}")
    a, b = _accuracies(accuracy_majority, "accuracy_majority"), _accuracies(accuracy_minority, "accuracy_minority")
    if len(a) != len(b):
        raise InvalidInputError(f"{len(a)} majority accuracies came with {len(b)} of the minority; give one a model")
    n_models, ceiling = len(a), int((a >= 1).sum())
    a, b = a[a <= trim], b[a <= trim]
    fits, knee = fit_polynomials(a, b), find_knee(a, b)
    weakest, best, deviation = _chord(a, b)
    return MoonShape(
        majority=torch.from_numpy(a),
        minority=torch.from_numpy(b),
        fits=fits,
        probit=fit_polynomials(_probit(a, n_majority), _probit(b, n_minority)),
        knee=knee,
        weakest=weakest,
        best=best,
        deviation=torch.from_numpy(deviation),
        n_models=n_models,
        n_ceiling=ceiling,
    )


def _accuracies(values: Any, name: str) -> np.ndarray:
    found = np.array(values.detach().cpu().double().numpy() if isinstance(values, Tensor) else values, dtype=float)
    if found.ndim != 1 or not ((found >= 0) & (found <= 1)).all():
        raise InvalidInputError(
            f"{name} must be a vector of shares between 0 and 1, one a model, got shape {found.shape}; divide counts "
            "by the number of samples"
        )
    return found


def _probit(share: np.ndarray, n: int) -> np.ndarray:
    return norm.ppf(share.clip(1 / (2 * n), 1 - 1 / (2 * n)))


def _chord(a: np.ndarray, b: np.ndarray) -> tuple[tuple[float, float], tuple[float, float], np.ndarray]:
    """Return both ends of the chord, and how far models between them lie below it."""
    size = max(1, round(ANCHORS * len(a)))
    ranked = np.sort(a)
    low, high = a <= ranked[size - 1], a >= ranked[-size]
    start, end = ((float(a[part].mean()), float(b[part].mean())) for part in (low, high))
    between = ~low & ~high & (a > start[0]) & (a < end[0])
    chord = start[1] + (a[between] - start[0]) / (end[0] - start[0]) * (end[1] - start[1])
    return start, end, chord - b[between]
