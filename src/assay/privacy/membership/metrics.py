"""What membership scores tell: their ROC, read where it matters, at low false positive rates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import brentq
from scipy.stats import norm
from torch import Tensor

from assay.core import (
    ROC,
    Interval,
    InvalidInputError,
    check_finite,
    check_fraction,
    mean_interval,
    proportion_interval,
    roc,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class MembershipReport:
    """How well scores tell members from non-members.

    Intervals are over target models where there are several (Student), else over samples (Newcombe for the AUC,
    Clopper and Pearson for shares of the members).

    Attributes:
        auc: Area under the ROC: the chance that a member scores above a non-member. Mean over target models.
        balanced_accuracy: Best mean of the two rates of right answers; all target models share one threshold.
        tpr_at_fpr: Share of the members found by the best threshold that accuses at most the key's share of the
            non-members; all target models share one threshold.
        roc: Of all pairs of target model and sample.
        n_targets: Target models.
        n_members: Pairs of a target model and a sample that it was trained on.
        n_nonmembers: The other pairs; rates below one in these are read without any false alarm.
    """

    auc: Interval
    balanced_accuracy: float
    tpr_at_fpr: dict[float, Interval]
    roc: ROC
    n_targets: int
    n_members: int
    n_nonmembers: int

    def __str__(self) -> str:
        rates = ", ".join(f"{interval} at {fpr:.3g}" for fpr, interval in self.tpr_at_fpr.items())
        return (
            f"{self.n_members} members against {self.n_nonmembers} non-members of {self.n_targets} target model(s): "
            f"AUC {self.auc}, balanced accuracy {self.balanced_accuracy:.1%}, "
            f"true positive rate by false positive rate: {rates}."
        )

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the ROC with both rates on logarithmic axes, and chance beside it; return the axes."""
        import matplotlib.pyplot as plt

        axes = ax if ax is not None else plt.subplots()[1]
        floor = 0.5 / self.n_nonmembers
        axes.step(self.roc.fpr.clip(floor), self.roc.tpr.clip(0.5 / self.n_members), where="post")
        axes.plot([floor, 1], [floor, 1], color="0.5", linestyle=":", label="chance")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("false positive rate")
        axes.set_ylabel("true positive rate")
        axes.legend()
        return axes


def membership_metrics(
    scores: Float[Tensor, "*t n"],
    members: Bool[Tensor, "*t n"],
    *,
    fpr: Sequence[float] = (0.01, 0.001),
    level: float = 0.95,
) -> MembershipReport:
    """Measure how well scores tell members from non-members, of one target model or of several.

    Args:
        scores: Higher for members; one row a target model, or a single row.
        members: Which of them are.
        fpr: False positive rates to read the ROC at.
        level: Confidence of the intervals.

    Raises:
        InvalidInputError: Shapes differ, or a target has no member or no non-member.
        NumericalError: A score is NaN or infinite.

    >>> import torch
    >>> report = membership_metrics(torch.tensor([3.0, 2.0, 1.0, 0.0]), torch.tensor([True, True, False, False]))
    >>> report.auc.mean, report.tpr_at_fpr[0.01].mean
    (1.0, 1.0)
    """
    if scores.shape != members.shape or scores.ndim not in (1, 2):
        raise InvalidInputError(
            f"scores have shape {tuple(scores.shape)}, members {tuple(members.shape)}; give both as (n,) or "
            "(targets, n)"
        )
    for rate in fpr:
        check_fraction(rate, "fpr")
    check_finite(scores, "a membership score")
    rows, truth = np.atleast_2d(scores.double().cpu().numpy()), np.atleast_2d(members.cpu().numpy())
    if not (truth.any(1) & ~truth.all(1)).all():
        raise InvalidInputError("every target model needs members and non-members among the samples; give both")
    pooled = roc(list(rows[truth]), list(rows[~truth]))
    aucs = [roc(list(row[kept]), list(row[~kept])).auc for row, kept in zip(rows, truth, strict=True)]
    n_members, n_nonmembers = int(truth.sum()), int((~truth).sum())
    return MembershipReport(
        auc=_over_targets(aucs, level) if len(rows) > 1 else auc_interval(aucs[0], n_members, n_nonmembers, level),
        balanced_accuracy=float((1 + pooled.tpr - pooled.fpr).max() / 2),
        tpr_at_fpr={rate: _tpr_interval(rows, truth, rate, level) for rate in fpr},
        roc=pooled,
        n_targets=len(rows),
        n_members=n_members,
        n_nonmembers=n_nonmembers,
    )


def auc_interval(auc: float, n_members: int, n_nonmembers: int, level: float = 0.95) -> Interval:
    r"""Return an AUC with the interval of all $\theta$ that it is within $z\,\sigma(\theta)$ of.

    With $N = (n_1 + n_0)/2 - 1$, $\sigma^2(\theta) = \theta(1-\theta)\big(1 + N\frac{1-\theta}{2-\theta}
    + N\frac{\theta}{1+\theta}\big) / (n_1 n_0)$: that of Hanley and McNeil with both sizes alike. Unlike an interval
    from the variance at the estimate, it has a width at an AUC of one.

    Source: Newcombe, "Confidence intervals for an effect size measure based on the Mann-Whitney statistic. Part 2"
    (2006), method 5.

    >>> print(auc_interval(1.0, 30, 30))
    1 [0.933, 1]
    """
    check_fraction(level, "level")
    z, n = float(norm.ppf((1 + level) / 2)), (n_members + n_nonmembers) / 2 - 1

    def excess(theta: float) -> float:
        spread = 1 + n * (1 - theta) / (2 - theta) + n * theta / (1 + theta)
        return (auc - theta) ** 2 - z**2 * theta * (1 - theta) * spread / (n_members * n_nonmembers)

    inner = min(max(auc, 1e-12), 1 - 1e-12)
    ends: list[Any] = [brentq(excess, 0.0, inner), brentq(excess, inner, 1.0)]
    return Interval(auc, *map(float, ends))


def _tpr_interval(rows: np.ndarray, truth: np.ndarray, fpr: float, level: float) -> Interval:
    """Return the share of the members above the threshold that accuses at most `fpr` of all non-members."""
    nonmembers = np.sort(rows[~truth])[::-1]
    threshold = nonmembers[int(fpr * len(nonmembers) + 1e-9)]  # what rounds down to 28.99999 is 29 allowed
    found = [row[kept] > threshold for row, kept in zip(rows, truth, strict=True)]
    if len(rows) == 1:
        return proportion_interval(int(found[0].sum()), found[0].size, level)
    return _over_targets([float(each.mean()) for each in found], level)


def _over_targets(values: Sequence[float], level: float) -> Interval:
    """Return the mean over target models with Student's interval, cut to what a share can be."""
    interval = mean_interval(values, level)
    return Interval(interval.mean, max(0.0, interval.low), min(1.0, interval.high))
