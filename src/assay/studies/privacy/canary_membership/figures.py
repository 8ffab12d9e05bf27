"""The figure and the table of canary membership inference: all target models of all seeds together."""

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure

from assay.lab.grid import Grid
from assay.privacy import MembershipReport, membership_metrics
from assay.studies.privacy.canary_membership.cells import ONLINE, SCORES


def over_targets(pools: Grid, name: str) -> MembershipReport:
    """Return the figures of one attack over all targets of all seeds."""
    scores, members = (torch.as_tensor(pools[key]).flatten(0, 1) for key in (name, "members"))
    return membership_metrics(scores, members)


def draw_roc(pools: Grid) -> Figure:
    """Draw the ROC of the online attacks, both rates on logarithmic axes."""
    figure, axes = plt.subplots()
    for name in ONLINE:
        curve = over_targets(pools, name).roc
        axes.step(curve.fpr, curve.tpr, where="post", label=name)
    axes.plot([1e-3, 1], [1e-3, 1], color="0.5", linestyle=":", label="chance")
    axes.set(xscale="log", yscale="log", xlim=(1e-3, 1), ylim=(1e-3, 1))
    axes.set(xlabel="false positive rate", ylabel="true positive rate")
    axes.legend()
    return figure


def attack_rows(kind: str, pools: Grid) -> list[dict[str, str]]:
    """Return one row an attack, with 95% intervals over the target models."""
    reports = {name: over_targets(pools, name) for name in SCORES}
    return [
        {
            "network": kind,
            "attack": name,
            "AUC": str(report.auc),
            "TPR at 1% FPR": str(report.tpr_at_fpr[0.01]),
            "TPR at 0.1% FPR": str(report.tpr_at_fpr[0.001]),
        }
        for name, report in reports.items()
    ]
