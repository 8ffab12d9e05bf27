"""Power laws fitted on logarithmic axes, with bootstrap intervals."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from assay.core.errors import InvalidInputError
from assay.core.statistics import Interval


@dataclass(frozen=True)
class PowerLawFit:
    r"""A fitted power law $a\,x^b$.

    Attributes:
        exponent: The slope $b$ of the least-squares line through $(\log x, \log y)$.
        prefactor: $a$.
        r2: Share of the variance of $\log y$ that the line explains.
        interval: The exponent with its 95% percentile bootstrap interval over samples.
        n_points: Points of the fit.
    """

    exponent: float
    prefactor: float
    r2: float
    interval: Interval
    n_points: int

    def __str__(self) -> str:
        return (
            f"{self.prefactor:.3g} x^{self.exponent:.3f} (exponent within [{self.interval.low:.3f}, "
            f"{self.interval.high:.3f}], R² {self.r2:.4f}, {self.n_points} points)"
        )


def log_log_line(
    x: Float[Tensor, "*resamples n"], y: Float[Tensor, "*resamples n"]
) -> tuple[Float[Tensor, "*resamples"], Float[Tensor, "*resamples"], Float[Tensor, "*resamples"]]:
    r"""Fit $\log y = \log a + b\log x$ by least squares along the last axis; return $b$, $a$ and R² in float64.

    Raises:
        InvalidInputError: There are fewer than two different points, or some are not positive.

    >>> b, a, r2 = log_log_line(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([3.0, 12.0, 48.0]))
    >>> round(b.item(), 6), round(a.item(), 5), round(r2.item(), 6)
    (2.0, 3.0, 1.0)
    """
    if not ((x > 0).all() and (y > 0).all()) or not (x != x[..., :1]).any(-1).all():
        raise InvalidInputError(
            f"a power law needs at least two different positive points, got {x.shape[-1]} points with zeros or equal "
            "values; take more samples, or a window without zeros"
        )
    log_x, log_y = x.double().log(), y.double().log()
    centre_x, centre_y = log_x.mean(-1, keepdim=True), log_y.mean(-1, keepdim=True)
    along, up = log_x - centre_x, log_y - centre_y
    slope = (along * up).sum(-1) / along.square().sum(-1)
    prefactor = (centre_y.squeeze(-1) - slope * centre_x.squeeze(-1)).exp()
    explained = slope.square() * along.square().sum(-1) / up.square().sum(-1).clamp_min(torch.finfo(torch.float64).tiny)
    return slope, prefactor, explained


def fit_power_law(
    x: Float[Tensor, " n"],
    y: Float[Tensor, " n"],
    resampled_x: Float[Tensor, "resamples n"],
    resampled_y: Float[Tensor, "resamples n"],
) -> PowerLawFit:
    """Fit a power law to points, with the interval of its exponent from fits to resampled points.

    Args:
        x: Positive values.
        y: Positive values.
        resampled_x: Values of `x` in each bootstrap sample.
        resampled_y: Values of `y` in each bootstrap sample.

    Returns:
        The fit with its 95% percentile interval.

    Raises:
        InvalidInputError: As `log_log_line`.

    >>> x = torch.tensor([1.0, 2.0, 4.0])
    >>> print(fit_power_law(x, 3 * x**2, x.expand(2, 3), x.expand(2, 3)))
    3 x^2.000 (exponent within [1.000, 1.000], R² 1.0000, 3 points)
    """
    exponent, prefactor, r2 = (float(value) for value in log_log_line(x, y))
    slopes = log_log_line(resampled_x, resampled_y)[0]
    low, high = (float(slopes.quantile(level)) for level in (0.025, 0.975))
    return PowerLawFit(exponent, prefactor, r2, Interval(exponent, low, high), len(x))
