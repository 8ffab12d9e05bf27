"""Tables and figures of the study of attacks that know more."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

IMAGES_CAPTION = (
    "The ten training images of the first wide network that were recovered best (above), and what its initial and "
    "final weights gave back (below), with their correlation"
)
SIMULATED_CAPTION = (
    "Training digits (above) and what simulated training gave back (below), of the first dense network and the first "
    "convolution network"
)
NOISE_CAPTION = (
    "Linear heads trained on one image of each class by DP-SGD: members told at 1% false positives, and accuracy, by "
    "the noise multiplier; means over seeds"
)
ABLATION_CAPTION = (
    "One thing changed at a time, restarts pooled until the CPU seconds are used (the last one is finished); means "
    "over networks of counts of training images"
)


def known_rows(widths: tuple[int, ...], known: dict[str, dict[str, np.ndarray]]) -> list[dict[str, Any]]:
    """Return one row of means a kind of network."""
    width: dict[str, int] = dict(zip(("narrow", "middle", "wide"), widths, strict=True))
    columns = ("n75", "n90", "chosen90", "held_out", "random", "rows", "tpr", "outliers", "seconds")
    columns += ("unexplained_initial", "unexplained_final", "unexplained_both", "accuracy_found", "accuracy_true")
    return [
        {
            "network": name,
            "width": width[name.split(",")[0]],
            **{column: float(f"{net[column].mean():.3g}") for column in (*columns, "accuracy_random", "loss")},
        }
        for name, net in known.items()
    ]


def ablation_rows(nets: dict[str, dict[str, np.ndarray]]) -> list[dict[str, Any]]:
    """Return one row of means a variant of the search."""
    return [
        {"variant": name, **{column: float(f"{values.mean():.3g}") for column, values in net.items()}}
        for name, net in nets.items()
    ]


def draw_images(net: dict[str, np.ndarray]) -> Figure:
    """Show the best images of the first network above what was recovered."""
    figure, axes = _pairs(net["train"][0], net["found"][0])
    for ax, value in zip(axes[1], net["ncc"][0], strict=True):
        ax.set_title(f"{value:.2f}", fontsize=8)
    return figure


def draw_pairs(*nets: dict[str, np.ndarray]) -> Figure:
    """Show the images of the first network of each kind above what was recovered."""
    train, found = (np.concatenate([net[name][0] for net in nets]) for name in ("train", "found"))
    return _pairs(train, found)[0]


def draw_noise(nets: dict[float, dict[str, np.ndarray]]) -> Figure:
    """Draw accuracy and success of the attack over the noise."""
    figure, ax = plt.subplots(figsize=(5, 3))
    places = range(len(nets))
    ax.plot(places, [net["tpr"].mean() for net in nets.values()], marker="o", label="members told")
    ax.plot(places, [net["accuracy"].mean() for net in nets.values()], marker="s", label="accuracy")
    ax.set_xticks(places, labels=[f"{noise:g}" for noise in nets])
    ax.set_xlabel("noise multiplier")
    ax.legend(frameon=False)
    return figure


def _pairs(train: np.ndarray, found: np.ndarray) -> tuple[Figure, Any]:
    figure, axes = plt.subplots(2, len(train), figsize=(len(train), 2.5), squeeze=False)
    for row, images in zip(axes, (train, found), strict=True):
        for ax, image in zip(row, images, strict=True):
            ax.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=1)
            ax.set_axis_off()
    return figure, axes
