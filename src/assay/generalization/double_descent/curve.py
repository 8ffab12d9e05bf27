"""Double-descent curve: losses, errors and conditioning against width (Liu and Flanigan, 2023)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from assay.generalization.double_descent.peak import Peak, find_peak

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOW_LOSS = 0.15
"""The training loss at the threshold is low below this fraction of that of outputs that are zero."""

FLOOR = 1e-4
"""Losses below this fraction of the least test loss are not drawn."""


@dataclass(frozen=True, eq=False)
class DoubleDescentCurve:
    """Training and test loss at each width, one row a seed; summaries are of medians over seeds.

    Attributes:
        widths: Widths, growing.
        train_loss: After training.
        test_loss: After training.
        test_error: Share of test samples with another label; None for real targets.
        zero_loss: Training loss of outputs that are zero, by which training losses are compared.
        threshold: Interpolation threshold; None where no width interpolates.
        condition_number: Of the problem; None where the training function reports none.
        effective_condition_number: As the training procedure meets it; None likewise.
        effective_modes: Modes that training fits; None likewise.
    """

    widths: tuple[int, ...]
    train_loss: Float[Tensor, "s w"]
    test_loss: Float[Tensor, "s w"]
    test_error: Float[Tensor, "s w"] | None
    zero_loss: Float[Tensor, "s w"]
    threshold: float | None
    condition_number: Float[Tensor, "s w"] | None = None
    effective_condition_number: Float[Tensor, "s w"] | None = None
    effective_modes: Float[Tensor, "s w"] | None = None

    @property
    def peak(self) -> Peak:
        """The peak of the median test loss near the threshold."""
        return find_peak(self.widths, median(self.test_loss), self.threshold)

    @property
    def error_peak(self) -> Peak | None:
        """The peak of the median test error near the threshold, smaller than that of the loss; None without labels."""
        return None if self.test_error is None else find_peak(self.widths, median(self.test_error), self.threshold)

    @property
    def peak_height(self) -> float:
        """The largest median test loss near the threshold over that at the largest width."""
        return self.peak.height

    @property
    def at_threshold(self) -> int:
        """Place of the width nearest to the threshold, or of the peak where there is no threshold."""
        centre = self.peak.width if self.threshold is None else self.threshold
        return min(range(len(self.widths)), key=lambda place: abs(self.widths[place] - centre))

    @property
    def threshold_train_loss(self) -> float:
        """The training loss at the threshold as a fraction of that of zero outputs, the median over seeds."""
        place = self.at_threshold
        return float(median(self.train_loss[:, place : place + 1] / self.zero_loss[:, place : place + 1])[0])

    @property
    def low_loss(self) -> bool:
        """Whether training at the threshold reaches less than 0.15 of the loss of zero outputs."""
        return self.threshold_train_loss < LOW_LOSS

    def at(self, figure: str) -> float | None:
        """Return the median over seeds of a figure at the threshold; None where there is none.

        Args:
            figure: Its name, such as "condition_number".
        """
        values = getattr(self, figure)
        return None if values is None else float(median(values)[self.at_threshold])

    def __str__(self) -> str:
        peak, error = self.peak, self.error_peak
        where = "No width interpolates" if self.threshold is None else f"The threshold is at width {self.threshold:g}"
        condition = self.at("condition_number")
        kappa = "" if condition is None else f", condition number {condition:.2g}"
        errors = "" if error is None else f"; the test error's is {error.height:.3g} times"
        return (
            f"Test loss peaks at width {peak.width} with {peak.height:.3g} times that of width {self.widths[-1]} "
            f"({'a peak' if peak.present else 'no peak'}, median of {len(self.test_loss)} seeds){errors}. {where}; at "
            f"width {self.widths[self.at_threshold]} training reaches {self.threshold_train_loss:.2g} of the loss of "
            f"zero outputs{kappa}."
        )

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw training and test loss against width, medians with the range over seeds, and return the axes."""
        if ax is None:
            from matplotlib.figure import Figure

            ax = Figure().subplots()
        for name, values, colour in (("test loss", self.test_loss, "C0"), ("training loss", self.train_loss, "C1")):
            values = values.cpu()
            ax.plot(self.widths, median(values), "o-", color=colour, markersize=4, label=name)
            if len(values) > 1:
                low, high = values.amin(0), values.amax(0)
                ax.fill_between(self.widths, low, high, color=colour, alpha=0.15, linewidth=0)
        if self.threshold is not None:
            ax.axvline(self.threshold, color="0.5", linestyle="--", linewidth=1, label="interpolation threshold")
        ax.set(xlabel="width", ylabel="loss", xscale="log", yscale="log")
        # Training losses of rounding errors, far below all others, would press the curves together.
        ax.set_ylim(bottom=max(ax.get_ylim()[0], FLOOR * float(self.test_loss.min())))
        ax.legend()
        return ax


def median(values: Float[Tensor, "s w"]) -> Float[Tensor, " w"]:
    """Return the median over seeds, of an even number the mean of the middle two."""
    return values.quantile(0.5, dim=0)
