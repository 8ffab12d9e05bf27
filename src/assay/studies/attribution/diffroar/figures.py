"""Figures of the study of DiffROAR."""

from matplotlib.figure import Figure

from assay.lab import Grid, plots


def draw_scores(images: Grid, fractions: tuple[float, ...], data: str) -> Figure:
    """Draw DiffROAR against the share of pixels kept."""
    found = {name: images[f"{name} DiffROAR"] for name in ("standard", "robust")}
    percent = [100 * fraction for fraction in fractions]
    return plots.curves(percent, found, xlabel="pixels kept, in percent", ylabel=f"DiffROAR on {data}", log="x")


def draw_gradients(blocks: Grid) -> Figure:
    """Draw images of BlockMNIST above the input gradients of both networks, for the first seed."""
    cell = blocks.cells[0]
    rows = {"image": cell["pictures"]}
    for name in ("standard", "robust"):
        slope = cell[f"{name} pictures"]
        rows[name] = slope / slope.amax((1, 2), keepdim=True)
    return plots.image_rows(rows)


def draw_null_energy(blocks: Grid) -> Figure:
    """Draw the gradient's share in the null block, one dot a seed."""
    names = {
        "standard": "standard",
        "standard, signal always on top": "top",
        "robust": "robust",
        "random attribution": "random",
    }
    groups = {label: blocks[f"{name} null energy"] for label, name in names.items()}
    return plots.dots(groups, ylabel="share of the gradient in the null block")
