"""Differences between the highest scores, whose law near zero decides on small perturbations (Cubuk et al., 2017)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from assay.core import InvalidInputError, as_generator, check_samples
from assay.core.power_law import PowerLawFit, fit_power_law

RESAMPLES = 200
POINTS = 32  # Order statistics that the line goes through, evenly spaced in log rank.


def logit_differences(logits: Float[Tensor, "n c"], *, max_rank: int = 4) -> Float[Tensor, "n ranks"]:
    r"""Return how far the highest score lies above the runners-up, $\Delta_{1j} = h_{(1)} - h_{(j)}$.

    Args:
        logits: Scores of at least two classes.
        max_rank: The last rank $j$; the columns are $j = 2, \dots,$ `max_rank`, fewer where there are fewer classes.

    Raises:
        InvalidInputError: There is one class, or `max_rank` is below two.

    Source: Cubuk, Zoph, Schoenholz, Le, "Intriguing Properties of Adversarial Examples" (2017).

    >>> logit_differences(torch.tensor([[1.0, 4.0, 2.0]])).tolist()
    [[2.0, 3.0]]
    """
    check_samples(logits, "logits")
    n_classes = logits.shape[1]
    if n_classes < 2 or max_rank < 2:
        raise InvalidInputError(
            f"differences need at least 2 classes and max_rank >= 2, got {n_classes} and {max_rank}; a single score "
            "f stands for (0, f)"
        )
    highest = logits.topk(min(max_rank, n_classes), dim=1).values
    return highest[:, :1] - highest[:, 1:]


def gap_exponent(
    differences: Float[Tensor, " n"],
    *,
    quantiles: tuple[float, float] = (1e-3, 3e-2),
    generator: torch.Generator | None = None,
) -> PowerLawFit:
    r"""Fit the power of the cumulative distribution of differences near zero, $\Pr(\Delta\le t)\approx a\,t^b$.

    For scores that are drawn independently from one smooth law $\Pr(\Delta_{1j}\le t)\sim t^{j-1}$: all scores between
    must fall within $t$ as well. The line goes through 32 order statistics between two quantiles, evenly spaced in the
    logarithm of their rank, so that the small differences count as much as the many larger ones.

    Args:
        differences: One rank of `logit_differences`, or any positive quantity whose law near zero is asked for.
        quantiles: The window. Too low is noise, too high is beyond the power law.
        generator: Source of the 200 bootstrap samples; None stands for a generator seeded with 0.

    Returns:
        The fit; its interval takes the window's upper end as given and resamples the differences below it.

    Raises:
        InvalidInputError: The window is empty, holds fewer than ten samples, or reaches down to ties at zero.

    Cost: O(n log n); the bootstrap takes the time and memory of 200 times the samples below the upper quantile.

    Source: Cubuk, Zoph, Schoenholz, Le (2017): the distribution of logit differences. The exponents $j - 1$ are derived
    here, for independent scores.

    >>> uniform = torch.linspace(1e-4, 1, 10000, dtype=torch.float64)
    >>> round(gap_exponent(uniform.sqrt()).exponent, 3)
    2.0
    """
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
