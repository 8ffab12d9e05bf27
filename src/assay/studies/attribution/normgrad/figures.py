"""Figures of the study of NormGrad."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from assay.attribution.saliency import SALIENCY_METHODS, NormGrad, combine_saliency, plot_saliency
from assay.lab import Grid
from assay.studies.attribution.normgrad.cells import (
    LOCALIZED,
    WITH_STEP,
    block_layers,
    canvases,
    trained,
)
from assay.studies.attribution.normgrad.settings import Settings

NAMES = {
    "grad_cam": "Grad-CAM",
    "linear_approximation": "linear approximation",
    "normgrad": "NormGrad",
    "normgrad_selective": "NormGrad selective",
}


def draw_examples(settings: Settings, found: dict[str, Any]) -> Figure:
    """Draw maps of the labelled digit on six canvases."""
    model, layers = trained(settings, found), block_layers(settings)
    test = canvases(settings, 6, "test", "item", 7)

    def of(name: str, layer: str) -> Any:
        return NormGrad(model, layer, *SALIENCY_METHODS[name]).attribute(test.x, test.y)

    maps = {
        f"{NAMES[name]},\n{place} block": of(name, layer)
        for name in ("grad_cam", "normgrad", "normgrad_selective")
        for place, layer in (("first", layers[0]), ("last", layers[-1]))
    }
    maps["NormGrad selective,\nproduct of all"] = combine_saliency([of("normgrad_selective", at) for at in layers])
    return plot_saliency(test.x, maps)


def draw_blocks(found: Grid) -> Figure:
    """Draw hit rate and energy on the digit by block, one line a method, and the combination as a dashed line."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    blocks = np.arange(1, found["grad_cam hits"].shape[1] + 1)
    for axis, score in zip(axes, ("hits", "energy"), strict=True):
        for index, name in enumerate(LOCALIZED):
            axis.plot(blocks, found[f"{name} {score}"].mean(0), f"C{index}o-", label=NAMES[name])
        axis.axhline(found[f"normgrad_selective product {score}"].mean(), color="C3", linestyle="--", linewidth=1)
        axis.axhline(found["chance"].mean(), color="0.5", linestyle=":", linewidth=1)
        axis.set(xlabel="block", xticks=blocks, ylim=(0, 1))
    axes[0].set_ylabel("hit rate of the pointing game")
    axes[1].set_ylabel("share of the map on the digit")
    axes[0].legend()
    return figure


def draw_sensitivity(found: Grid) -> Figure:
    """Draw the correlation between maps of the highest and lowest class without and with the inner step."""
    figure, axes = plt.subplots(layout="constrained")
    for index, name in enumerate(WITH_STEP):
        for values in zip(found[f"{name} plain"], found[f"{name} step"], strict=True):
            axes.plot([2 * index, 2 * index + 1], values, f"C{index}o-", alpha=0.6)
    axes.set_xticks(range(2 * len(WITH_STEP)), ["without", "with step"] * len(WITH_STEP))
    for index, name in enumerate(WITH_STEP):
        axes.text(2 * index + 0.5, 1.02, NAMES[name], ha="center", transform=axes.get_xaxis_transform())
    axes.set_ylabel("rank correlation of the two maps")
    return figure
