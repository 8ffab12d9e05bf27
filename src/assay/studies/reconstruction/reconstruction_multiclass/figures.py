"""Figures and table of the study of reconstruction from binary and multiclass networks."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

IMAGES_CAPTION = (
    "The ten training images of the first converged network that were recovered best (above), and what its weights "
    "gave back (below), with their correlation; the mean image was put back and the scale fitted, which weights leave "
    "open"
)
COLOUR_CAPTION = (
    "The ten images of vehicles and animals that were recovered best from the first network of two hidden layers and "
    "this many images (above), and what its weights gave back (below), with their correlation; mean put back, scale "
    "fitted"
)
COUNTS_CAPTION = (
    "Share of the training images recovered with NCC above 0.75 and 0.9, and what nulls reach above 0.75; bars are "
    "means over seeds"
)
TABLE_CAPTION = (
    "Means over seeds; counts of training images. n75, n90 are of all candidates, half75 the same at half resolution, "
    "chosen75 and chosen90 of the first n of the consensus; precision is the share of these that resemble some "
    "training image (NCC > 0.75), pool_precision that of all candidates; ssim counts matches with SSIM > 0.4, beside "
    "its nulls"
)

COLUMNS = (
    *("n75", "n90", "half75", "chosen75", "chosen90", "precision", "pool_precision", "held_out", "random", "rows"),
    *("ssim", "ssim_held_out", "ssim_random", "ssim_rows", "rank", "seconds"),
)

Networks = dict[str, dict[str, np.ndarray]]
"""What was measured on each kind of network, by seed."""


def draw_images(net: dict[str, np.ndarray]) -> Figure:
    """Show the best images of the first network."""
    count = len(net["ncc"][0])
    figure, axes = plt.subplots(2, count, figsize=(count, 2.5))
    for row, name in enumerate(("train", "found")):
        for ax, image in zip(axes[row], net[name][0], strict=True):
            ax.imshow(np.moveaxis(image, 0, -1).squeeze().clip(0, 1), cmap="gray", vmin=0, vmax=1)
            ax.set_axis_off()
    for ax, value in zip(axes[1], net["ncc"][0], strict=True):
        ax.set_title(f"{value:.2f}", fontsize=8)
    return figure


def draw_counts(nets: Networks, sizes: dict[str, int]) -> Figure:
    """Draw the share of images recovered, and the nulls, of every kind of network."""
    kinds = {"n75": "NCC > 0.75", "n90": "NCC > 0.9", "rows": "rows", "random": "random", "held_out": "held out"}
    figure, ax = plt.subplots(figsize=(8, 0.55 * len(nets) + 1))
    for k, (key, label) in enumerate(kinds.items()):
        places = np.arange(len(nets)) + (k - 2) * 0.16
        ax.barh(places, [net[key].mean() / sizes[name] for name, net in nets.items()], 0.15, label=label)
    ax.set_yticks(range(len(nets)), labels=[f"{name} (n = {sizes[name]})" for name in nets])
    ax.invert_yaxis()
    ax.set_xlabel("share of the training images")
    ax.legend(frameon=False)
    return figure


def rows(nets: Networks, sizes: dict[str, int]) -> list[dict[str, Any]]:
    """Return one row of means a kind of network."""
    return [
        {"network": name, "n": sizes[name], "seeds": len(net["n75"])}
        | {column: round(float(net[column].mean()), 2) for column in COLUMNS}
        for name, net in nets.items()
    ]
