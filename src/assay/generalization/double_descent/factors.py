"""Factor study: what of training decides the height of the double-descent peak (Liu and Flanigan, 2023)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Int64, Shaped
from scipy.stats import spearmanr
from torch import Tensor

from assay.core import InvalidInputError, LossFunction, as_generator, seeded
from assay.generalization.double_descent.curve import LOW_LOSS, DoubleDescentCurve
from assay.generalization.double_descent.evaluation import TrainFunction
from assay.generalization.double_descent.peak import PRESENT
from assay.generalization.double_descent.widths import double_descent_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class FactorStudy:
    """Curves of several settings of training on the same data.

    Attributes:
        curves: The curve of each setting, by name.
    """

    curves: Mapping[str, DoubleDescentCurve]

    def __post_init__(self) -> None:
        if len(self.curves) < 2:
            raise InvalidInputError(f"a factor study compares settings, got {len(self.curves)}; give two or more")

    @property
    def train_losses(self) -> dict[str, float]:
        """Training loss at the threshold as a fraction of that of zero outputs, by setting."""
        return {name: curve.threshold_train_loss for name, curve in self.curves.items()}

    @property
    def peak_heights(self) -> dict[str, float]:
        """Height of the peak of the test loss, by setting."""
        return {name: curve.peak_height for name, curve in self.curves.items()}

    @property
    def correlation(self) -> float:
        """Spearman's correlation over settings between minus the training loss at the threshold and the peak's height.

        NaN where all settings have the same loss or the same height.
        """
        losses, heights = list(self.train_losses.values()), list(self.peak_heights.values())
        if len(set(losses)) == 1 or len(set(heights)) == 1:
            return math.nan
        return float(np.asarray(spearmanr([-loss for loss in losses], heights))[0])

    @property
    def contingency(self) -> Int64[Tensor, "2 2"]:
        """Numbers of settings: rows with low loss and without, columns with a peak and without."""
        table = torch.zeros(2, 2, dtype=torch.long)
        for curve in self.curves.values():
            table[int(not curve.low_loss), int(not curve.peak.present)] += 1
        return table

    @property
    def exceptions(self) -> tuple[str, ...]:
        """Settings with low loss and no peak, or with a peak and no low loss."""
        return tuple(name for name, curve in self.curves.items() if curve.low_loss != curve.peak.present)

    def rows(self) -> list[dict[str, Any]]:
        """Return a table with one row a setting: loss and conditioning at the threshold, heights of the peaks."""
        return [
            {
                "setting": name,
                "train loss": curve.threshold_train_loss,
                "peak height": curve.peak_height,
                "peak": curve.peak.present,
                "error peak": None if curve.error_peak is None else curve.error_peak.height,
                "condition number": curve.at("condition_number"),
                "effective condition number": curve.at("effective_condition_number"),
                "effective modes": curve.at("effective_modes"),
            }
            for name, curve in self.curves.items()
        ]

    def __str__(self) -> str:
        (both, low_only), (peak_only, neither) = self.contingency.tolist()
        return (
            f"Of {len(self.curves)} settings {both} have low training loss and a peak, {neither} neither, {low_only} "
            f"low loss only and {peak_only} a peak only; Spearman's correlation between minus training loss at the "
            f"threshold and peak height is {self.correlation:.2f}."
        )

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the height of the peak against the training loss at the threshold, and return the axes."""
        if ax is None:
            from matplotlib.figure import Figure

            ax = Figure().subplots()
        heights = self.peak_heights
        for place, (name, loss) in enumerate(self.train_losses.items()):
            ax.plot(loss, heights[name], "os^Dvx"[place // 6 % 6], color=f"C{place % 6}", label=name)
        ax.axhline(PRESENT, color="0.5", linestyle=":", linewidth=1)
        ax.axvline(LOW_LOSS, color="0.5", linestyle=":", linewidth=1)
        ax.set(
            xlabel="training loss at the threshold / that of zero outputs",
            ylabel="peak height",
            xscale="log",
            yscale="log",
        )
        ax.legend(fontsize="x-small")
        return ax


def factor_study(
    x: Shaped[Tensor, "n *d"],
    y: Tensor,
    x_test: Shaped[Tensor, "m *d"],
    y_test: Tensor,
    *,
    settings: Mapping[str, TrainFunction],
    widths: Sequence[int],
    n_seeds: int = 5,
    loss: LossFunction | None = None,
    threshold: float | None = None,
    generator: torch.Generator | None = None,
    folder: str | Path | None = None,
    n_jobs: int = 1,
    progress: bool = False,
) -> FactorStudy:
    """Measure the double-descent curve under several settings of training, and relate its peak to the training loss.

    All settings are trained from the same seeds. One factor at a time is varied by
    `dataclasses.replace(base, procedure=...)`.

    Cost: `len(settings) * len(widths) * n_seeds` trainings.

    Args:
        x: Training inputs.
        y: Class labels (integers from 0 on), or real targets.
        x_test: Test inputs.
        y_test: Their labels or targets.
        settings: Training functions by name, two or more; see `double_descent_curve`.
        widths: Three or more widths, growing.
        n_seeds: Independent repetitions.
        loss: Mean loss over samples that is measured; the squared error by default.
        threshold: Interpolation threshold of all settings; by default each curve has its own.
        generator: Source of the seeds; one seeded with 0 by default.
        folder: Where finished trainings are kept, so that the next call resumes.
        n_jobs: Processes at once, as in joblib.
        progress: Draw a bar for each setting on standard error.

    Returns:
        The curves, their correlation, and the table of low loss by peak.

    Raises:
        InvalidInputError: There are fewer than two settings, or a curve cannot be measured.
        NumericalError: Some outputs are NaN or infinite.

    Source: Liu and Flanigan, Understanding the Role of Optimization in Double Descent (2023), abstract: the factors,
    and the peak "if and only if" the loss is low; the table and the correlation are chosen here.

    >>> from assay.generalization.double_descent import GradientDescent, RandomFeatureModel
    >>> source = torch.Generator().manual_seed(0)
    >>> x, y = torch.randn(60, 3, generator=source), torch.randn(60, generator=source)
    >>> settings = {f"{t:g} steps": RandomFeatureModel(GradientDescent(t)) for t in (1, float("inf"))}
    >>> data = (x[:20], y[:20], x[20:], y[20:])
    >>> factor_study(*data, settings=settings, widths=(5, 20, 200)).contingency.tolist()
    [[1, 0], [0, 1]]
    """
    source = as_generator(generator)
    seed = int(torch.randint(2**31 - 1, (1,), generator=source, device=source.device))
    options: dict[str, Any] = {"widths": widths, "n_seeds": n_seeds, "loss": loss, "threshold": threshold}
    options |= {"folder": folder, "n_jobs": n_jobs, "progress": progress}
    data = (x, y, x_test, y_test)
    curves = {
        name: double_descent_curve(*data, train=train, generator=seeded(seed), **options)
        for name, train in settings.items()
    }
    return FactorStudy(curves)
