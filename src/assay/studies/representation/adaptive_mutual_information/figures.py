"""Figures of the study of information compression."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from assay.lab import Grid


def draw_planes(found: Grid) -> Figure:
    """Draw the mean information plane of each activation, without a penalty above and with it below."""
    activations, penalties = found.factors["activation"], found.factors["penalized"]
    size = (2.4 * len(activations), 2.3 * len(penalties))
    figure, panels = plt.subplots(
        len(penalties), len(activations), sharex=True, sharey=True, squeeze=False, figsize=size, layout="constrained"
    )
    for row, penalized in zip(panels, penalties, strict=True):
        for axes, activation in zip(row, activations, strict=True):
            cell = found.at(activation=activation, penalized=penalized)
            inputs, labels = cell["input bits"].mean(0), cell["label bits"].mean(0)
            for layer, (bits, about) in enumerate(zip(inputs, labels, strict=True)):
                axes.plot(bits, about, ".-", color=f"C{layer}", linewidth=0.9, markersize=4, label=f"layer {layer + 1}")
                axes.plot(bits[-1:], about[-1:], "o", color=f"C{layer}")
            axes.set_title(f"{activation}, {'L2' if penalized else 'no penalty'}", fontsize="medium")
    figure.supxlabel("I(T; X), bits")
    figure.supylabel("I(T; Y), bits")
    panels[0, 0].legend(fontsize="x-small")
    return figure


def draw_compression(found: Grid) -> Figure:
    """Draw the compression of each layer, a dot a network, by activation and penalty."""
    activations = found.factors["activation"]
    figure, panels = plt.subplots(
        1, len(activations), sharey=True, squeeze=False, figsize=(2.4 * len(activations), 2.6), layout="constrained"
    )
    for axes, activation in zip(panels[0], activations, strict=True):
        for penalized, shift, colour in ((False, -0.15, "C0"), (True, 0.15, "C1")):
            bits = found.at(activation=activation, penalized=penalized)["compression"]
            layers = np.arange(1, bits.shape[1] + 1) + shift
            label = "L2" if penalized else "no penalty"
            axes.plot(np.broadcast_to(layers, bits.shape).ravel(), bits.ravel(), ".", color=colour, alpha=0.35)
            axes.plot(layers, bits.mean(0), "_", color=colour, markersize=14, label=label)
        axes.set(title=activation, xlabel="hidden layer")
    panels[0, 0].set_ylabel("compression, bits")
    panels[0, 0].legend(fontsize="small")
    return figure
