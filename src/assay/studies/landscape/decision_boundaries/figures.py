"""Figures of the study of decision regions."""

from functools import partial

import torch
from matplotlib.figure import Figure

from assay.core import accuracy, cross_entropy, fit, predict, seeded
from assay.data import load
from assay.lab import Grid, plots
from assay.landscape.regions import plot_decision_regions, sample_planes
from assay.studies.landscape.decision_boundaries.cells import FAMILIES, build
from assay.studies.landscape.decision_boundaries.settings import Settings


def draw_widths(found: Grid, entry: str, ylabel: str, xlabel: str) -> Figure:
    """Draw an entry of random-feature classifiers or networks by width, a curve for each kind of data."""
    widths = found.factors["width"]
    curves = {"networks": found[entry].T} if "noise" not in found.factors else {}
    for noise in found.factors.get("noise", ()):
        for classes in found.factors["classes"]:
            curves[f"{classes} classes, {noise:.0%} noise"] = found.at(noise=noise, classes=classes)[entry].T
    return plots.curves(widths, curves, xlabel=xlabel, ylabel=ylabel, log="x", band="interval")


def draw_maps(settings: Settings, seed: int) -> Figure:
    """Draw the regions of two networks of each family on one plane through three test images."""
    digits = load("digits")
    (plane,) = sample_planes(digits.x_test, digits.y_test, n=1, generator=seeded(seed))
    figure = Figure(figsize=(8.5, 9.0))
    grid = figure.subplots(len(FAMILIES), 2)
    adam = partial(torch.optim.Adam, lr=2e-3)
    for row, family in zip(grid, FAMILIES, strict=True):
        for own, axes in enumerate(row):
            model = build(family, settings, own)
            options = {"batch_size": 64, "schedule": "cosine", "generator": seeded(own)}
            data = digits.x_train, digits.y_train
            fit(model, *data, loss=cross_entropy, optimizer=adam, epochs=settings.epochs, **options)
            plot_decision_regions(plane, model, axes, resolution=2 * settings.resolution)
            right = accuracy(predict(model, digits.x_test), digits.y_test)
            axes.set(title=f"{family}, run {own + 1} ({right:.0%} of test images right)", xlabel="", ylabel="")
    return figure
