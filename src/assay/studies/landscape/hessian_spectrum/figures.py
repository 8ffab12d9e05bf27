"""Figures of the study of Hessian spectra."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from assay.lab import Grid


def draw_spectra(nets: Mapping[int, Grid], unit: str) -> Figure:
    """Draw |eigenvalue| over the largest against rank, both logarithmic, of the first network of each group."""
    figure, axes = plt.subplots()
    for level, group in nets.items():
        values = group["eigenvalues"][0]
        sizes = np.sort(abs(values) / values.max())[::-1].clip(1e-9)
        axes.loglog(np.arange(1, len(sizes) + 1), sizes, label=f"{level} {unit}")
    for height, text in ((0.1, "outliers above"), (1e-3, "bulk below")):
        axes.axhline(height, color="0.5", linewidth=0.8, linestyle="--")
        axes.text(1, height * 0.5, text, fontsize="small", color="0.5")
    axes.set(xlabel="rank", ylabel="|eigenvalue| / largest")
    axes.legend()
    return figure
