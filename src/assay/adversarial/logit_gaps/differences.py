"""Logit differences and their distribution near zero (Cubuk et al., 2017)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from assay.core import InvalidInputError, as_generator, check_samples, is_probabilities
from assay.core.power_law import PowerLawFit, fit_power_law

RESAMPLES = 200
POINTS = 32  # Order statistics fitted, evenly spaced in log rank.


def logit_differences(logits: Float[Tensor, "n c"], *, max_rank: int = 4) -> Float[Tensor, "n ranks"]:
    r"""Return the differences between the highest score and the next ones, $\Delta_{1j} = h_{(1)} - h_{(j)}$.

    Args:
        logits: Scores of at least two classes.
        max_rank: The last rank $j$; the columns are $j = 2, \dots,$ `max_rank`, fewer where there are fewer classes.

    Raises:
        InvalidInputError: The scores are no matrix of logits, there is one class, or `max_rank` is below two.

    Source: Cubuk, Zoph, Schoenholz, Le, "Intriguing Properties of Adversarial Examples" (2017), main text: the
    differences $\Delta_{1j}$.

    >>> logit_differences(torch.tensor([[1.0, 4.0, 2.0]])).tolist()
    [[2.0, 3.0]]
    """
    logits = check_samples(logits, "logits")
    if logits.ndim != 2:
        raise InvalidInputError(
            f"logits must have the shape (n, c), got {tuple(logits.shape)}; flatten further axes, such as positions, "
            "into the first"
        )
    if is_probabilities(logits):
        raise InvalidInputError(
            "the rows are probabilities (never negative, with sum one), and differences of logits are needed; pass the "
            "logits, or the logarithm of the probabilities"
        )
    n_classes = logits.shape[1]
    if n_classes < 2 or max_rank < 2:
        raise InvalidInputError(
            f"differences need at least 2 classes and max_rank >= 2, got {n_classes} and {max_rank}; for a network "
            "with one output f pass the scores (0, f)"
        )
    highest = logits.topk(min(max_rank, n_classes), dim=1).values
    return highest[:, :1] - highest[:, 1:]


def gap_exponent(
    differences: Float[Tensor, " n"],
    *,
    quantiles: tuple[float, float] = (1e-3, 3e-2),
    generator: torch.Generator | None = None,
) -> PowerLawFit:
    r"""Fit a power law to the cumulative distribution of differences near zero, $\Pr(\Delta\le t)\approx a\,t^b$.

    For independent scores with a smooth distribution $\Pr(\Delta_{1j}\le t)\sim t^{j-1}$, since the scores between must
    fall within $t$ as well. The line is fitted to 32 order statistics between two quantiles, evenly spaced in the
    logarithm of their rank, so that small differences have the same weight as the many larger ones.

    Args:
        differences: One column of `logit_differences`, or another positive quantity.
        quantiles: Window of the fit: below it there is noise, above it the power law ends.
        generator: Source of the 200 bootstrap samples; one seeded with 0 by default.

    Returns:
        The fit; its interval resamples the differences below the window's upper end.

    Raises:
        InvalidInputError: The window is empty, holds fewer than ten samples, or reaches down to ties at zero.

    Cost: time O(n log n), and time and memory 200 times the samples below the upper quantile for the bootstrap.

    Source: Cubuk, Zoph, Schoenholz, Le, "Intriguing Properties of Adversarial Examples" (2017), main text: the
    distribution of logit differences. The exponents $j - 1$ are derived here, for independent scores.

    >>> uniform = torch.linspace(1e-4, 1, 10000, dtype=torch.float64)
    >>> round(gap_exponent(uniform.sqrt()).exponent, 3)
    2.0
    """
    if not isinstance(differences, Tensor) or differences.ndim != 1 or not differences.isfinite().all():
        given = tuple(differences.shape) if isinstance(differences, Tensor) else type(differences).__name__
        raise InvalidInputError(
            f"differences must be a vector of finite numbers, got {given}; pass one column, as in "
            "logit_differences(logits)[:, 0]"
        )
    low, high = quantiles
    if not 0 <= low < high <= 1:
        raise InvalidInputError(f"quantiles must be 0 <= low < high <= 1, got {quantiles}")
    n = len(differences)
    first, last = int(low * n), int(high * n)
    if last - first < 10:
        raise InvalidInputError(
            f"{max(last - first, 0)} of {n} samples lie between the quantiles {quantiles}, 10 are needed; take more "
            "samples or a wider window"
        )
    tail = differences.detach().double().sort().values[:last]
    ranks = torch.logspace(math.log10(max(first, 1)), math.log10(last), POINTS, dtype=torch.float64).long().unique()
    share, rows = ranks.to(tail) / n, ranks.to(tail.device) - 1
    generator = as_generator(generator)
    chosen = torch.randint(last, (RESAMPLES, last), generator=generator, device=generator.device).to(tail.device)
    resampled = tail[chosen.sort(1).values[:, rows]]
    return fit_power_law(tail[rows], share, resampled, share.expand(RESAMPLES, -1))
