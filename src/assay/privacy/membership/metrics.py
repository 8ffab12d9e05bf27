"""Metrics of membership inference: ROC, AUC, TPR at low FPR (Carlini et al., 2022, section III-B)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Shaped
from torch import Tensor

from assay.core import (
    ROC,
    Interval,
    InvalidInputError,
    auc_interval,
    check_finite,
    check_flags,
    check_fraction,
    mean_interval,
    proportion_interval,
    roc,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class MembershipReport:
    """Hold the metrics of membership scores.

    Intervals are over target models where there are several (Student), else over samples (Newcombe for the AUC,
    Clopper and Pearson for the true positive rate).

    Attributes:
        auc: Area under the ROC: the probability that a member scores above a non-member. Mean over target models.
        balanced_accuracy: Mean of true positive and true negative rate at the best threshold, one for all target
            models.
        tpr_at_fpr: True positive rate at each false positive rate (the key), at one threshold for all target models.
        roc: ROC over all pairs of target model and sample.
        n_targets: Target models.
        n_members: Pairs of a target model and one of its training samples.
        n_nonmembers: The other pairs; a false positive rate below one in these allows no false positive.
        notes: What the figures cannot say, a sentence each; empty where all assumptions hold.
    """

    auc: Interval
    balanced_accuracy: float
    tpr_at_fpr: dict[float, Interval]
    roc: ROC
    n_targets: int
    n_members: int
    n_nonmembers: int
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        rates = ", ".join(f"{interval} at {fpr:.3g}" for fpr, interval in self.tpr_at_fpr.items())
        text = (
            f"{self.n_members} members against {self.n_nonmembers} non-members of {self.n_targets} target model(s): "
            f"AUC {self.auc}, balanced accuracy {self.balanced_accuracy:.1%}, "
            f"true positive rate by false positive rate: {rates}."
        )
        return " ".join((text, *self.notes))

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the ROC on logarithmic axes, with the diagonal of chance; return the axes."""
        import matplotlib.pyplot as plt

        axes = ax if ax is not None else plt.subplots()[1]
        floor = 0.5 / self.n_nonmembers
        axes.step(self.roc.fpr.clip(floor), self.roc.tpr.clip(0.5 / self.n_members), where="post", label="score")
        axes.plot([floor, 1], [floor, 1], color="0.5", linestyle=":", label="chance")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("false positive rate")
        axes.set_ylabel("true positive rate")
        axes.legend()
        return axes


def membership_metrics(
    scores: Float[Tensor, "*t n"],
    members: Shaped[Tensor, "*t n"],
    *,
    fpr: Sequence[float] = (0.01, 0.001),
    level: float = 0.95,
) -> MembershipReport:
    """Compute the metrics of membership scores of one target model or of several.

    Args:
        scores: Scores, higher for members; one row for each target model, or a single row.
        members: Membership of each sample in each target's training set, as booleans or 0 and 1.
        fpr: False positive rates at which the ROC is read.
        level: Confidence of the intervals.

    Raises:
        InvalidInputError: Shapes differ, or a target has no member or no non-member.
        NumericalError: A score is NaN or infinite.

    Source: Carlini et al., "Membership Inference Attacks From First Principles" (2022), section III-B.

    >>> import torch
    >>> report = membership_metrics(torch.tensor([3.0, 2.0, 1.0, 0.0]), torch.tensor([True, True, False, False]))
    >>> report.auc.mean, report.tpr_at_fpr[0.01].mean
    (1.0, 1.0)
    """
    members = check_flags(members, "members")
    if scores.shape != members.shape or scores.ndim not in (1, 2):
        raise InvalidInputError(
            f"scores have shape {tuple(scores.shape)}, members {tuple(members.shape)}; give both as (n,) or "
            "(targets, n)"
        )
    for rate in fpr:
        check_fraction(rate, "fpr")
    check_finite(scores, "a membership score")
    rows, truth = np.atleast_2d(scores.detach().double().cpu().numpy()), np.atleast_2d(members.cpu().numpy())
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
        notes=_unresolved(fpr, n_nonmembers),
    )


def _unresolved(fpr: Sequence[float], n_nonmembers: int) -> tuple[str, ...]:
    """Say which false positive rates allow no false positive at all among so few non-members."""
    below = [f"{rate:.3g}" for rate in fpr if rate * n_nonmembers < 1]
    if not below:
        return ()
    return (f"With {n_nonmembers} non-members, a false positive rate of {', '.join(below)} means no false positive.",)


def _tpr_interval(rows: np.ndarray, truth: np.ndarray, fpr: float, level: float) -> Interval:
    """Return the true positive rate at the lowest threshold whose false positive rate is at most `fpr`."""
    nonmembers = np.sort(rows[~truth])[::-1]
    threshold = nonmembers[int(fpr * len(nonmembers) + 1e-9)]  # 28.99999 by rounding is 29
    found = [row[kept] > threshold for row, kept in zip(rows, truth, strict=True)]
    if len(rows) == 1:
        return proportion_interval(int(found[0].sum()), found[0].size, level)
    return _over_targets([float(each.mean()) for each in found], level)


def _over_targets(values: Sequence[float], level: float) -> Interval:
    """Return the mean over target models with Student's interval, clipped to [0, 1]."""
    interval = mean_interval(values, level)
    return Interval(interval.mean, max(0.0, interval.low), min(1.0, interval.high))
