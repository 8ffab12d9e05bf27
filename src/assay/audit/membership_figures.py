"""Figures of the membership probe: in words, a table and a picture."""

from assay.audit.assumptions import percent
from assay.audit.pictures import plot_picture
from assay.audit.probe import SEVERITIES, Figure, Severity, Table
from assay.core import Interval
from assay.privacy import MembershipReport

RATES = (0.01, 0.001)  # of false positives, at which true positives are counted
MEDIUM_RATE = 0.02
PLAIN = "plain confidence"
_UNRESOLVED = "With {n} held-out samples, a false positive rate below {rate:.1%} means no false positive at all."


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


def headline(report: MembershipReport, score: str, severity: Severity) -> str:
    """Give the figure that decides, with the end of its interval that the rule reads."""
    found, auc = report.tpr_at_fpr[0.01], report.auc
    by = score if score == PLAIN else "shadow models"
    if severity == "info":
        return (
            f"No more than chance: training samples score above held-out ones in {percent(auc.mean)} of pairs "
            f"({percent(auc.low)} to {percent(auc.high)}; chance is 50%)."
        )
    if found.low >= MEDIUM_RATE:
        return (
            f"{percent(found.mean)} of {report.n_members} training samples, at least {percent(found.low)}, are "
            f"identified when 1% of others are mistaken for them, by {by}."
        )
    return (
        f"Training samples score above held-out ones in {percent(auc.mean)} of pairs, at least {percent(auc.low)} "
        f"(chance is 50%), by {by}."
    )


def membership_severity(report: MembershipReport) -> Severity:
    """Return how severe a score's figures are, by the probe's rule."""
    found, auc = report.tpr_at_fpr[0.01].low, report.auc.low
    if found >= 0.1:
        return "high"
    if found >= MEDIUM_RATE or auc >= 0.6:
        return "medium"
    return "low" if auc > 0.5 else "info"


def rank(report: MembershipReport) -> tuple[int, float, float]:
    """Order scores by what they show: a rate just above zero must not hide an AUC."""
    return SEVERITIES.index(membership_severity(report)), report.tpr_at_fpr[0.01].low, report.auc.low


def unresolved_rates(report: MembershipReport) -> list[str]:
    """Return a sentence where there are too few held-out samples for a rate."""
    resolved = 1 / report.n_nonmembers
    return [] if resolved <= min(RATES) else [_UNRESOLVED.format(n=report.n_nonmembers, rate=resolved)]
