"""Feature leakage: attribution outside the region that carries the signal (Shah et al., 2021, section 5)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from assay.attribution.faithfulness.unmasking import kept_coordinates, rank_coordinates
from assay.core import InvalidInputError, check_finite, check_samples

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class LeakageReport:
    """How much of each sample's attribution lies outside its signal.

    Attributes:
        null_energy: Share of the attribution's magnitude outside the signal; 0 is best.
        topk_null_fraction: Share of the highest-ranked coordinates outside the signal.
        signal_rank: Rank of the highest-ranked coordinate of the signal; 0 where the signal has the highest score.
        null_size: Share of coordinates outside the signal: what a random attribution has, in the mean.
        fraction: Share of coordinates that count as highest.
        n_zero: Samples whose attribution is zero everywhere, which count as uniform.
    """

    null_energy: Float[Tensor, " n"]
    topk_null_fraction: Float[Tensor, " n"]
    signal_rank: Int64[Tensor, " n"]
    null_size: Float[Tensor, " n"]
    fraction: float
    n_zero: int

    @property
    def signal_on_top(self) -> float:
        """Share of samples whose highest-ranked coordinate is of the signal."""
        return float((self.signal_rank == 0).double().mean())

    def __str__(self) -> str:
        zero = f" {self.n_zero} attributions are zero everywhere and count as uniform." if self.n_zero else ""
        return (
            f"{float(self.null_energy.mean()):.1%} of the attribution and {float(self.topk_null_fraction.mean()):.1%} "
            f"of the top {self.fraction:.3g} of coordinates lie outside the signal, which leaves out "
            f"{float(self.null_size.mean()):.1%} of the coordinates; the highest score is of the signal in "
            f"{self.signal_on_top:.1%} of {len(self.signal_rank)} samples.{zero}"
        )

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the distribution over samples of the share outside the signal, and return the axes."""
        import matplotlib.pyplot as plt

        axes = plt.subplots()[1] if ax is None else ax
        axes.hist(self.null_energy.cpu().numpy(), bins=20, range=(0.0, 1.0))
        axes.axvline(float(self.null_size.mean()), color="0.5", linestyle="--", label="random attribution")
        axes.set(xlabel="share of the attribution outside the signal", ylabel="samples")
        axes.legend()
        return axes


def leakage(
    scores: Float[Tensor, "n *d"],
    signal_mask: Bool[Tensor, "..."],
    *,
    fraction: float = 0.05,
    generator: torch.Generator | None = None,
) -> LeakageReport:
    r"""Measure what an attribution marks outside the region that carries a sample's signal.

    The energy is $\sum_{i \notin S} |s_i| / \sum_i |s_i|$ for signal coordinates $S$; an attribution that is zero
    everywhere counts as uniform. A standard network's gradient leaks: it also marks places where the signal lies in
    other samples.

    Cost: time O(n d log d), memory O(n d).

    Args:
        scores: Attribution of each coordinate; its magnitude counts.
        signal_mask: Which coordinates carry the sample's signal, as `BlockImages.signal_mask` says.
        fraction: Share of coordinates that count as highest.
        generator: Source of the order of equal scores; a fixed seed by default.

    Returns:
        The measures of each sample.

    Raises:
        InvalidInputError: The mask is not of the scores' shape, or a sample has no signal or nothing else.
        NumericalError: An attribution overflows.

    Source: Shah, Jain, Netrapalli, "Do input gradients highlight discriminative features?" (2021), section 5, feature
    leakage, and the measures of the null block that the paper's slides show.

    >>> report = leakage(torch.tensor([[3.0, 1.0]]), torch.tensor([[True, False]]), fraction=0.5)
    >>> report.null_energy.item(), report.signal_on_top
    (0.25, 1.0)
    """
    magnitudes = check_samples(scores, "scores").abs().flatten(1)
    if signal_mask.dtype != torch.bool or signal_mask.shape != scores.shape:
        raise InvalidInputError(
            f"signal_mask is {signal_mask.dtype} of shape {tuple(signal_mask.shape)} for scores of shape "
            f"{tuple(scores.shape)}; pass one truth value for each score"
        )
    signal = signal_mask.flatten(1)
    if not signal.any(1).all() or signal.all(1).any():
        raise InvalidInputError("signal_mask marks no coordinate or all of them in some samples; leave these out")
    largest = magnitudes.amax(1, keepdim=True)
    # Relative to the largest, so that tiny gradients of confident networks do not underflow in the sum.
    shares = (magnitudes.double() / largest).where(largest > 0, 1.0)
    check_finite(shares, "the attribution")
    ranks = rank_coordinates(magnitudes, generator=generator)
    k = kept_coordinates(magnitudes.shape[1], fraction)
    top = ranks < k
    return LeakageReport(
        null_energy=(shares.masked_fill(signal, 0).sum(1) / shares.sum(1)).to(scores.dtype),
        topk_null_fraction=(top & ~signal).sum(1).to(scores.dtype) / k,
        signal_rank=ranks.masked_fill(~signal, magnitudes.shape[1]).amin(1),
        null_size=(~signal).to(scores.dtype).mean(1),
        fraction=fraction,
        n_zero=int((largest == 0).sum()),
    )
