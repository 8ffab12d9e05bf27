"""Figures of the study of accuracy on the curve."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from assay.generalization import MoonShape


def draw_moons(found: Mapping[str, MoonShape]) -> Figure:
    """Draw the models of one seed, one panel a shift, with the chord and the two segments."""
    figure, axes = plt.subplots(1, len(found), figsize=(3.1 * len(found), 3.2), sharex=True, sharey=True, squeeze=False)
    for place, (panel, (name, moon)) in enumerate(zip(axes[0], found.items(), strict=True)):
        moon.plot(panel)
        panel.set_title(name, fontsize="medium")
        if place:
            panel.set_ylabel("")
            panel.get_legend().remove()
    return figure
