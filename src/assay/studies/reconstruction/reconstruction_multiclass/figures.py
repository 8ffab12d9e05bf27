"""Figures and table of the study of reconstruction from binary and multiclass networks."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from assay.lab import Grid, plots
from assay.lab.tables import summarise
from assay.studies.reconstruction.reconstruction_multiclass.networks import Kind

IMAGES_CAPTION = (
    "The ten training images that were recovered best from the first of the {} (above), and what its weights gave back "
    "(below), with their correlation; the mean image was put back and the scale fitted, which weights leave open"
)
COUNTS_CAPTION = (
    "Share of the training images recovered with NCC above 0.75 and 0.9, and what nulls reach above 0.75; bars are "
    "means over seeds"
)
TABLE_CAPTION = (
    "Means over seeds with 95% intervals; counts of training images, of all candidates or of the n that most restarts "
    "agree on, at NCC > 0.75 where nothing else is said. Precision is the share of candidates that match some training "
    "image; unexplained the share of the weights' norm that the true images leave unexplained; rank the dimension of "
    "the span that the attack searches; seconds are CPU seconds an attack"
)

NULLS = ("held out", "random", "rows")
COLUMNS = (
    *("NCC > 0.75", "NCC > 0.9", "half resolution", "agreed, NCC > 0.75", "agreed, NCC > 0.9", "agreed, precision"),
    *("precision", *NULLS, "SSIM > 0.4: recovered", *(f"SSIM > 0.4: {null}" for null in NULLS)),
    *("rank", "unexplained", "seconds"),
)


def draw_best(found: Grid) -> Figure:
    """Draw the images that were recovered best from the first network."""
    first = found.cells[0]
    return plots.image_pairs(first["training images"], first["recovered images"], first["NCC"])


def draw_counts(nets: Mapping[str, Grid], kinds: Mapping[str, Kind]) -> Figure:
    """Draw the share of images recovered, and the nulls, of every kind of network."""
    sizes = {name: kind.victim.n for name, kind in kinds.items()}
    shares = {
        entry: {f"{name} (n = {n})": nets[name][entry].mean() / n for name, n in sizes.items()}
        for entry in ("NCC > 0.75", "NCC > 0.9", *NULLS)
    }
    return plots.bars(shares, xlabel="share of the training images")


def rows(nets: Mapping[str, Grid], kinds: Mapping[str, Kind]) -> list[dict[str, Any]]:
    """Return one row a kind of network; the largest have nothing unexplained, which is not computed there."""
    return [
        {"network": name, "n": kind.victim.n, "seeds": kind.seeds}
        | {column: summarise(nets[name][column]) if column in nets[name].cells[0] else None for column in COLUMNS}
        for name, kind in kinds.items()
    ]
