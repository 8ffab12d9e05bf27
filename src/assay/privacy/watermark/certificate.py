"""Certificates of watermarks by median smoothing over parameters (Bansal et al., 2022, algorithm 2)."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from scipy.stats import beta, norm
from torch import Tensor

from assay.core import InvalidInputError, check_finite, check_fraction, check_positive, order_statistic_index

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class WatermarkCertificate:
    """Hold lower bounds on the smoothed trigger accuracy of every model within given distances.

    Each bound holds with the stated confidence by itself, not all of them together, and covers the parameters that
    received noise only: an attacker may change buffers, such as a batch-norm's running statistics, freely.

    Attributes:
        samples: Trigger accuracies under noise, in ascending order.
        sigma: Standard deviation of the noise.
        percentile: Percentile of the smoothed accuracy; 0.5 is the median.
        confidence: Confidence of each bound.
        radii: Euclidean distances of the parameters.
        ranks: Rank of the order statistic that is each bound, from one; zero where there is no bound.
        bounds: Lower bounds on the smoothed accuracy; zero, the lowest accuracy, where there is none.
        control: Smoothed accuracy on samples without the trigger; None where no draws of it were given. A bound that is
            not above it is no evidence of a watermark.
    """

    samples: Float[Tensor, " m"]
    sigma: float
    percentile: float
    confidence: float
    radii: tuple[float, ...]
    ranks: Int[Tensor, " k"]
    bounds: Float[Tensor, " k"]
    control: float | None = None

    @property
    def value(self) -> float:
        """The empirical smoothed accuracy: the percentile of the samples, the upper of two candidates."""
        return _percentile(self.samples, self.percentile)

    def radius(self, accuracy: float) -> float:
        r"""Return the certified radius, within which the smoothed accuracy cannot fall below an accuracy.

        $R = \sigma\,(\Phi^{-1}(p) - \Phi^{-1}(q))$, where q is the upper confidence bound of Clopper and Pearson on the
        probability of a sample below the accuracy. Zero where nothing is certified. The accuracy must be fixed before
        the samples are seen.
        """
        n, first = len(self.samples), 1 + int((self.samples < accuracy).sum())
        if first > n:
            return 0.0
        chance = beta.ppf(self.confidence, first, n - first + 1)
        return max(0.0, self.sigma * float(norm.ppf(self.percentile) - norm.ppf(chance)))

    def __str__(self) -> str:
        floor = self.control or 0.0
        pairs = ", ".join(
            f"{bound:.3g} within {radius:.3g}" if bound > floor else f"nothing within {radius:.3g}"
            for radius, bound in zip(self.radii, self.bounds.tolist(), strict=True)
        )
        text = (
            f"Smoothed trigger accuracy {self.value:.3g} under parameter noise of {self.sigma:g} "
            f"({len(self.samples)} draws). Certified at confidence {self.confidence:g}: {pairs}."
        )
        if self.value < 0.5:
            text += " The network gives the class to fewer than half of the triggers: it does not hold the watermark."
        if self.control is None:
            return f"{text} Not compared with samples without the trigger, which may get the class as well."
        return f"{text} Samples without the trigger get the class at {self.control:.3g}; no more than that is nothing."

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Plot the bounds against the radii; return the axes."""
        import matplotlib.pyplot as plt

        axes = ax if ax is not None else plt.subplots()[1]
        axes.plot(self.radii, self.bounds.tolist(), marker="o", markersize=3)
        axes.set_xlabel("distance of the parameters")
        axes.set_ylabel("certified trigger accuracy")
        axes.set_ylim(-0.03, 1.03)
        return axes


def certify_watermark(
    samples: Float[Tensor, " m"],
    sigma: float,
    radii: Sequence[float],
    *,
    percentile: float = 0.5,
    confidence: float = 0.99,
    control: Float[Tensor, " k"] | None = None,
) -> WatermarkCertificate:
    r"""Bound the smoothed accuracy from below over all changes of the parameters within a radius.

    The smoothed accuracy $h_p(\theta) = \sup\{y : \Pr[f(\theta + G) \le y] \le p\}$, $G \sim N(0, \sigma^2 I)$, obeys
    $h_p(\theta + \delta) \ge h_{\underline p}(\theta)$ for every $\lVert\delta\rVert_2 \le \epsilon$ with
    $\underline p = \Phi(\Phi^{-1}(p) - \epsilon/\sigma)$. An order statistic of the samples bounds the right side
    (`assay.core.order_statistic_index`). f may be any function without negative values, which may be tied.

    Cost: time O(m log m), memory O(m).

    Args:
        samples: Independent draws of $f(\theta + G)$, such as those of `smoothed_trigger_accuracy`; draw them after
            the model was chosen, from a generator that training did not use.
        sigma: Standard deviation of the noise of the draws.
        radii: Euclidean distances, at least 0.
        percentile: p. Paper: the median.
        confidence: Probability that a bound holds, for each radius by itself. Paper's code: 0.99.
        control: Draws of the same accuracy on samples of other classes without the trigger, given as a `TriggerSet`
            of the watermark's class: what a network shows that has never seen the trigger.

    Raises:
        InvalidInputError: There are no samples, they have several axes or negative values, below which the bound zero
            is none, a radius is negative or they are no sequence, or a fraction is not within (0, 1).
        NumericalError: A sample is not finite.

    Deviation from the released code: where nothing can be certified, the bound and its rank are zero; there the index
    is -1, which selects the largest sample.

    Source: Bansal et al., "Certified Neural Network Watermarks with Randomized Smoothing" (2022), arXiv 2207.07972,
    algorithm 2; the bound is from Chiang, Curry, Abdelkader, Kumar, Dickerson, Goldstein, "Detection as Regression:
    Certified Object Detection by Median Smoothing" (2020), arXiv 2007.03730.

    >>> samples = torch.rand(1000, generator=torch.Generator().manual_seed(0))
    >>> certificate = certify_watermark(samples, 1.0, [0.0, 0.5, 3.0])
    >>> [round(bound, 2) for bound in certificate.bounds.tolist()], certificate.ranks[-1].item()
    ([0.46, 0.27, 0.0], 0)
    """
    check_positive(sigma, "sigma")
    if not isinstance(radii, Iterable):
        raise InvalidInputError(f"radii must be a sequence of distances, got {radii!r}; pass a single one as [radius]")
    ordered, n = _ordered(samples, "samples"), len(samples)
    without = None if control is None else _percentile(_ordered(control, "control"), percentile)
    lower = [percentile_bounds(percentile, radius, sigma)[0] for radius in radii]
    ranks = torch.tensor([order_statistic_index(n, p, confidence) for p in lower], dtype=torch.long)
    found = ordered[(ranks - 1).clamp_min(0).to(ordered.device)]
    bounds = torch.where(ranks.to(found.device) > 0, found, torch.zeros_like(found))
    radii = tuple(map(float, radii))
    return WatermarkCertificate(ordered, sigma, percentile, confidence, radii, ranks, bounds, without)


def _ordered(samples: Tensor, name: str) -> Float[Tensor, " m"]:
    if samples.ndim != 1 or len(samples) == 0:
        raise InvalidInputError(
            f"{name} of shape {tuple(samples.shape)} are no samples to certify from; draw some by "
            "smoothed_trigger_accuracy"
        )
    check_finite(samples, "a sample")
    if samples.min() < 0:
        raise InvalidInputError(
            f"{name} fall to {float(samples.min()):.4g}, but where nothing is certified the bound is zero, the lowest "
            "accuracy; subtract the lowest value that the function can take"
        )
    return samples.detach().sort().values


def _percentile(ordered: Float[Tensor, " m"], percentile: float) -> float:
    return ordered[min(len(ordered) - 1, int(percentile * len(ordered)))].item()


def percentile_bounds(p: float, eps: float, sigma: float) -> tuple[float, float]:
    r"""Return the percentiles $\Phi(\Phi^{-1}(p) \mp \epsilon/\sigma)$ that bracket the p-th after a shift.

    Args:
        p: Percentile, in (0, 1).
        eps: Euclidean length of the shift.
        sigma: Standard deviation of the noise.

    Raises:
        InvalidInputError: `p` is not within (0, 1), `sigma` not positive, or `eps` negative or not finite.

    Source: Chiang et al., "Detection as Regression: Certified Object Detection by Median Smoothing" (2020), arXiv
    2007.03730, main text, the equation above.

    >>> [round(bound, 4) for bound in percentile_bounds(0.5, 1.0, 1.0)]
    [0.1587, 0.8413]
    """
    check_fraction(p, "percentile")
    check_positive(sigma, "sigma")
    if not (math.isfinite(eps) and eps >= 0):
        raise InvalidInputError(f"a radius must be a finite number, 0 or more, got {eps!r}")
    centre, shift = norm.ppf(p), eps / sigma
    return float(norm.cdf(centre - shift)), float(norm.cdf(centre + shift))
