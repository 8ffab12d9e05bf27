"""Least-squares curves through points: polynomials, an F-test between them, a line with a knee (Liang, Mao et al.)."""

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import Polynomial
from scipy import stats

from assay.core import InvalidInputError

FEWEST = 5
"""Distinct places on the horizontal axis: a cubic then leaves one degree of freedom."""

MOST_BREAKS = 200


@dataclass(frozen=True)
class PolynomialFits:
    """Polynomials of degree one to three through the same points.

    Attributes:
        r2_linear: Share of the variance that a line explains.
        r2_quadratic: The same of a parabola.
        r2_cubic: The same of a cubic.
        curvature: Coefficient of the square in the parabola; positive where it is convex.
        f_statistic: Of the nested test of the parabola against the line.
        p_value: Of that test, under equal Gaussian errors.
    """

    r2_linear: float
    r2_quadratic: float
    r2_cubic: float
    curvature: float
    f_statistic: float
    p_value: float

    @property
    def nonlinearity(self) -> float:
        """What a parabola explains beyond a line."""
        return self.r2_quadratic - self.r2_linear


@dataclass(frozen=True)
class Knee:
    """A continuous line of two segments.

    Attributes:
        place: Where the slope changes.
        height: The line's value there.
        before: Slope before it.
        after: Slope after it.
        r2: Share of the variance that the two segments explain.
    """

    place: float
    height: float
    before: float
    after: float
    r2: float

    def at(self, a: np.ndarray) -> np.ndarray:
        """Return the line's values."""
        shift = a - self.place
        return self.height + np.where(shift < 0, self.before, self.after) * shift


def fit_polynomials(a: np.ndarray, b: np.ndarray) -> PolynomialFits:
    r"""Fit degrees one to three, with $F = (SSE_1 - SSE_2) / (SSE_2 / (n - 3))$.

    Where a parabola fits exactly, its error is taken as that of rounding, so that F is finite.

    Args:
        a: Horizontal places.
        b: Vertical places.

    Raises:
        InvalidInputError: Fewer than five distinct places, or all of b are equal.

    >>> a = np.linspace(0, 1, 9)
    >>> round(fit_polynomials(a, 3 * a**2 - a).curvature, 9)
    3.0
    """
    total = check_points(a, b)
    fits = [Polynomial.fit(a, b, degree) for degree in (1, 2, 3)]
    errors = [float(((b - fit(a)) ** 2).sum()) for fit in fits]
    exact = np.finfo(float).eps * total
    statistic = max(errors[0] - errors[1], 0.0) / (max(errors[1], exact) / (len(a) - 3))
    return PolynomialFits(
        *(1 - error / total for error in errors),
        curvature=float(fits[1].convert().coef[2]) if len(fits[1].convert().coef) > 2 else 0.0,
        f_statistic=statistic,
        p_value=float(stats.f.sf(statistic, 1, len(a) - 3)),
    )


def find_knee(a: np.ndarray, b: np.ndarray) -> Knee:
    """Fit a continuous line of two segments, the break on a grid between the second and the last but one place.

    Args:
        a: Horizontal places.
        b: Vertical places.

    Raises:
        InvalidInputError: Fewer than five distinct places, or all of b are equal.

    >>> a = np.linspace(0, 1, 11)
    >>> knee = find_knee(a, np.maximum(a - 0.5, 0))
    >>> round(knee.place, 6), round(knee.after, 6)
    (0.5, 1.0)
    """
    total = check_points(a, b)
    inner = np.unique(a)[1:-1]
    breaks = inner[np.linspace(0, len(inner) - 1, min(len(inner), MOST_BREAKS)).round().astype(int)]
    found = []
    for place in np.unique(breaks).tolist():
        design = np.stack([np.ones_like(a), a - place, np.maximum(a - place, 0)], 1)
        solution = np.linalg.lstsq(design, b, rcond=None)[0]
        error = float(((b - design @ solution) ** 2).sum())
        height, before, change = map(float, solution)
        found.append(Knee(place, height, before, before + change, 1 - error / total))
    return max(found, key=lambda knee: knee.r2)


def check_points(a: np.ndarray, b: np.ndarray) -> float:
    """Require points through which curves can be laid, and return the variation of b.

    Raises:
        InvalidInputError: Fewer than five distinct places, or all of b are equal.

    >>> check_points(np.arange(5.0), np.arange(5.0))
    10.0
    """
    total = float(((b - b.mean()) ** 2).sum()) if len(b) else 0.0
    if len(np.unique(a)) < FEWEST or total <= np.finfo(float).eps * len(b):
        raise InvalidInputError(
            f"the curve needs {FEWEST} distinct accuracies on the majority, got {len(np.unique(a))}, and accuracies on "
            "the minority that differ; add models of other sizes, learning rates and durations"
        )
    return total
