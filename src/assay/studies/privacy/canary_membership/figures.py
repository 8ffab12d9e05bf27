"""ROC curves of membership attacks, all target models of all seeds together."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from assay.lab.grid import Grid
from assay.studies.privacy.canary_membership.cells import ONLINE, over_targets


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
