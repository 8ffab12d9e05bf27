"""What the study draws."""

from matplotlib.figure import Figure

from assay.lab import Grid


def draw(found: Grid) -> Figure:
    """FILL_IN: draw the paper's figure, with `assay.lab.plots` where it has the form."""
    raise NotImplementedError("FILL_IN")
