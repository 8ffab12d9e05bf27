"""Forecast of an instability at a larger size from the same measurement at smaller ones (Wortsman et al., 2023)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from assay.core import InvalidInputError, NumericalError, check_choice, check_positive

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class InstabilityForecast:
    r"""A quadratic fit on logarithmic axes, and its value at the next size.

    Attributes:
        sizes: Sizes that were measured.
        values: What was measured there.
        next_size: The size that is forecast.
        predicted: Value of the fit there.
        interval: Lowest and highest value of the fits that leave one size out; None with three sizes, where each fit
            needs all of them.
        coefficients: $a, b, c$ in $\log y = a \log^2 x + b \log x + c$.
        threshold: Value at which training is expected to diverge.
        side: Whether it diverges above or below the threshold.
    """

    sizes: tuple[float, ...]
    values: tuple[float, ...]
    next_size: float
    predicted: float
    interval: tuple[float, float] | None
    coefficients: tuple[float, float, float]
    threshold: float
    side: Literal["above", "below"]

    @property
    def unstable(self) -> bool:
        """Whether the predicted value is at the threshold or beyond."""
        return self._beyond(self.predicted)

    @property
    def agreed(self) -> bool | None:
        """Whether all fits that leave one size out say the same; None with three sizes."""
        return None if self.interval is None else all(self._beyond(end) == self.unstable for end in self.interval)

    def value_at(self, size: float) -> float:
        """Return the value of the fit at a size."""
        return math.exp(float(np.polyval(self.coefficients, math.log(size))))

    def __str__(self) -> str:
        spread = "three sizes leave no interval"
        if self.interval is not None:
            low, high = self.interval
            spread = f"{low:.3g} to {high:.3g} where one size is left out"
        verdict = "expected to be unstable" if self.unstable else "not expected to be unstable"
        doubt = ", but fits without one size disagree" if self.agreed is False else ""
        return (
            f"At size {self.next_size:g} the fit to {len(self.sizes)} sizes predicts {self.predicted:.3g} ({spread}), "
            f"against the threshold {self.threshold:g}: training is {verdict}{doubt}."
        )

    def plot(self, ax: "Axes | None" = None, *, label: str = "measured") -> "Axes":
        """Draw the measured values, the fit, the forecast and the threshold, and return the axes."""
        import matplotlib.pyplot as plt

        axes = plt.subplots()[1] if ax is None else ax
        (points,) = axes.loglog(self.sizes, self.values, "o", label=label)
        grid = np.geomspace(min(self.sizes), self.next_size, 50)
        axes.loglog(grid, [self.value_at(size) for size in grid], "-", color=points.get_color(), linewidth=0.8)
        error = None
        if self.interval is not None:
            low, high = self.interval
            error = [[max(self.predicted - low, 0)], [max(high - self.predicted, 0)]]
        axes.errorbar([self.next_size], [self.predicted], error, fmt="s", color=points.get_color(), mfc="none")
        axes.set(xlabel="size", ylabel="value")
        return axes

    def _beyond(self, value: float) -> bool:
        return value >= self.threshold if self.side == "above" else value <= self.threshold


def predict_instability(
    sizes: Sequence[float],
    values: Sequence[float],
    next_size: float,
    *,
    threshold: float = 1e4,
    side: Literal["above", "below"] = "above",
) -> InstabilityForecast:
    r"""Fit $\log y = a \log^2 x + b \log x + c$ over sizes, and tell whether the next size crosses a threshold.

    For the largest attention logit of the first block at a fixed early step, one learning rate at a time, runs above
    1e4 diverged in the paper. For the RMS of gradients, `threshold` is the optimiser's eps and `side` "below": there
    Adam's updates vanish.

    Args:
        sizes: Numbers of parameters, three different ones or more.
        values: The measurement at each size.
        next_size: A larger size.
        threshold: Where training is expected to diverge; 1e4 as the paper has it for attention logits.
        side: The side of the threshold that is unstable.

    Returns:
        The forecast, with the range of fits that leave one size out.

    Raises:
        InvalidInputError: There are fewer than three different sizes, a number is not positive and finite, or the next
            size is not the largest.
        NumericalError: The prediction overflows.

    Cost: microseconds.

    Source: Wortsman et al., "Small-scale proxies for large-scale Transformer training instabilities" (2023), main text,
    the section on predicting attention-logit growth. The range by leaving one size out is ours.

    >>> found = predict_instability([1e6, 1e7, 1e8], [1e1, 1e2, 1e3], 1e10)
    >>> round(found.predicted), found.unstable
    (100000, True)
    """
    check_choice(side, ("above", "below"), "side")
    check_positive(threshold, "threshold")
    for size, value in zip(sizes, values, strict=False):
        check_positive(size, "each size")
        check_positive(value, "each value")
    if len(sizes) != len(values) or len(set(sizes)) < 3:
        raise InvalidInputError(
            f"{len(sizes)} sizes and {len(values)} values were given; a quadratic needs three different sizes or more, "
            "with a value each"
        )
    if not (math.isfinite(next_size) and next_size > max(sizes)):
        raise InvalidInputError(f"next_size must be above the largest of the sizes, {max(sizes):g}, got {next_size!r}")
    x, y = np.log(np.asarray(sizes, dtype=float)), np.log(np.asarray(values, dtype=float))
    left_out = [x != one for one in np.unique(x)] if len(set(sizes)) > 3 else []
    at = math.log(next_size)
    fits = [np.polyfit(x[kept], y[kept], 2) for kept in (np.ones(len(x), dtype=bool), *left_out)]
    with np.errstate(over="ignore"):
        predicted, *others = (float(np.exp(np.polyval(fit, at))) for fit in fits)
    if not np.isfinite([predicted, *others]).all():
        raise NumericalError(f"the fit overflows at size {next_size:g}; forecast a size nearer to the measured ones")
    return InstabilityForecast(
        sizes=tuple(float(size) for size in sizes),
        values=tuple(float(value) for value in values),
        next_size=float(next_size),
        predicted=predicted,
        interval=(min(others), max(others)) if others else None,
        coefficients=(float(fits[0][0]), float(fits[0][1]), float(fits[0][2])),
        threshold=float(threshold),
        side=side,
    )
