"""Figures and tables of the membership probe."""

from assay.audit.assumptions import percent
from assay.audit.pictures import plot_picture
from assay.audit.probe import Figure, Table
from assay.core import Interval
from assay.privacy import MembershipReport


def membership_measures(report: MembershipReport) -> dict[str, float]:
    """Return the figures of the score that decides, by name, with the ends of their intervals."""
    measures = {"AUC": report.auc, **{f"TPR at {rate:g} FPR": found for rate, found in report.tpr_at_fpr.items()}}
    ends = {f"{name}, {end} end": getattr(value, end) for name, value in measures.items() for end in ("low", "high")}
    return (
        {name: value.mean for name, value in measures.items()}
        | ends
        | {
            "balanced accuracy": report.balanced_accuracy,
            "training samples": float(report.n_members),
            "held-out samples": float(report.n_nonmembers),
        }
    )


def score_table(reports: dict[str, MembershipReport], level: float) -> Table:
    """Return the figures of every score, with intervals of a level."""
    rates = next(iter(reports.values())).tpr_at_fpr
    columns = ("score", "AUC", *(f"TPR at {rate:.1%} FPR" for rate in rates), "balanced accuracy")
    rows = (
        (name, _with_ends(r.auc), *(_with_ends(r.tpr_at_fpr[rate]) for rate in rates), percent(r.balanced_accuracy))
        for name, r in reports.items()
    )
    return Table(f"Membership inference by score; {level:.1%} intervals", columns, tuple(rows))


def _with_ends(value: Interval) -> str:
    return f"{percent(value.mean)} ({percent(value.low)} to {percent(value.high)})"


def roc_figure(report: MembershipReport, score: str) -> Figure:
    """Draw the ROC of a score with both rates on logarithmic axes."""
    found = report.tpr_at_fpr[0.01].mean
    alt = f"ROC of membership: {percent(found)} true positives at 1% false positives, AUC {percent(report.auc.mean)}"
    caption = f"True positive rate against false positive rate of {score}; both axes are logarithmic."
    return Figure((plot_picture("roc", report.plot, alt),), caption)
