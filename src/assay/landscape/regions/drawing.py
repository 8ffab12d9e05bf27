"""Maps of decision regions on a plane through three samples (Somepalli et al., 2022, figures 1 and 2)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from assay.core import InvalidInputError, check_count, predict
from assay.landscape.regions.planes import Plane
from assay.landscape.regions.predictions import predicted_class

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Paul Tol's "muted" scheme and a grey: told apart with any form of colour blindness.
_MUTED = ("#88CCEE", "#CC6677", "#DDCC77", "#117733", "#332288", "#AA4499", "#44AA99", "#999933", "#882255", "#BBBBBB")
_PALEST = 0.55  # of the class's colour that is left where the network is least sure


@torch.inference_mode(False)
def plot_decision_regions(
    plane: Plane,
    model: nn.Module,
    ax: "Axes | None" = None,
    *,
    resolution: int = 200,
    margin: float = 0.1,
    palette: Sequence[str] = _MUTED,
    class_names: Sequence[str] = (),
    batch_size: int = 2500,
) -> "Axes":
    """Draw the predicted classes on a plane, with its three samples as corners.

    Each class has one colour in all maps, paler where its softmax probability is lower; the legend lists the classes on
    the plane. Images of one or three channels are shown at their corner; other samples are marked by dots.

    Args:
        plane: Plane through three samples.
        model: A classifier with one row of scores a sample; it comes back as it was.
        ax: Axes to draw on; new ones where it is None.
        resolution: Points along each axis.
        margin: Room around the triangle; see `Plane.grid`.
        palette: Colour of each class. The default can be told apart with any form of colour blindness; with more
            classes than colours, those with the largest regions are coloured and the others are grey.
        class_names: One name a class; numbers where it is empty.
        batch_size: Points evaluated at once.

    Returns:
        The axes.

    Raises:
        InvalidInputError: The samples do not fit the network, it gives no row of scores a sample, or the palette is
            empty.
        NumericalError: A score is NaN or infinite.

    Cost: time r² forward passes.

    Source: Somepalli et al. (2022), arXiv 2203.08124, figures 1 and 2.

    >>> plane = Plane(torch.zeros(2), torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))
    >>> axes = plot_decision_regions(plane, nn.Linear(2, 3), resolution=10)
    """
    import matplotlib.pyplot as plt
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch

    check_count(batch_size, "batch_size")
    if not palette:
        raise InvalidInputError("the palette is empty; pass one or more colours")
    points, u, v = plane.grid(resolution, margin)
    outputs = predict(model, points, batch_size=batch_size)
    classes = predicted_class(outputs)
    shown, counts = classes.unique(return_counts=True)
    shown = shown[counts.argsort(descending=True, stable=True)].tolist()
    colours = _colours(shown, palette)
    base = np.array([to_rgb(colours.get(label, "0.85")) for label in classes.tolist()])
    strength = _PALEST + (1 - _PALEST) * _confidence(outputs).cpu().numpy()[:, None]
    image = (strength * base + (1 - strength)).reshape(resolution, resolution, 3).swapaxes(0, 1)
    axes = ax if ax is not None else plt.subplots(layout="constrained")[1]
    extent = (u[0].item(), u[-1].item(), v[0].item(), v[-1].item())
    axes.imshow(image, origin="lower", extent=extent, interpolation="nearest", aspect="equal")
    _mark_corners(axes, plane)
    name = lambda label: class_names[label] if label < len(class_names) else f"class {label}"  # noqa: E731
    handles = [Patch(color=colour, label=name(label)) for label, colour in colours.items()]
    handles += [Patch(color="0.85", label="others")] if len(colours) < len(shown) else []
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0, fontsize="small")
    axes.set(xlabel="distance along the first side", ylabel="distance from it")
    return axes


def _colours(shown: list[int], palette: Sequence[str]) -> dict[int, str]:
    """Return the colours of the classes on the plane, the largest region first."""
    if max(shown) < len(palette):
        return {label: palette[label] for label in shown}
    return dict(zip(shown, palette, strict=False))


def _confidence(outputs: Tensor) -> Tensor:
    """Return the probability of the predicted class, spread from 1 / classes to 1 over [0, 1]."""
    if outputs.ndim == 1 or outputs.shape[1] == 1:
        return 2 * outputs.flatten().double().abs().sigmoid() - 1
    floor = 1 / outputs.shape[1]
    return (outputs.double().softmax(1).amax(1) - floor) / (1 - floor)


def _mark_corners(axes: "Axes", plane: Plane) -> None:
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    for (u, v), sample in zip(plane.coords.tolist(), (plane.x1, plane.x2, plane.x3), strict=True):
        axes.plot(u, v, "o", color="white", markeredgecolor="black", markersize=6)
        if sample.ndim == 3 and sample.shape[0] in (1, 3) and min(sample.shape[1:]) > 1:
            picture = sample.detach().double().cpu().permute(1, 2, 0).numpy()
            low, high = picture.min(), picture.max()
            picture = (picture - low) / max(high - low, 1e-12)
            box = OffsetImage(picture.squeeze(2) if picture.shape[2] == 1 else picture, cmap="gray", zoom=_zoom(sample))
            inside = (0 if u < plane.coords[:, 0].mean() else 1, 0 if v < plane.coords[:, 1].mean() else 1)
            axes.add_artist(AnnotationBbox(box, (u, v), pad=0.1, box_alignment=inside, frameon=True))


def _zoom(sample: Tensor) -> float:
    """Return the enlargement that makes an image about forty points high."""
    return 40 / max(sample.shape[1:])
