"""Reproducibility and fragmentation by width: the view of double descent (Somepalli et al., 2022, section 5)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from assay.core import InvalidInputError, as_generator, check_count, seeded, spawn_seeds, track
from assay.landscape.regions.agreement import reproducibility_matrix
from assay.landscape.regions.components import fragmentation_score
from assay.landscape.regions.planes import Plane
from assay.landscape.regions.predictions import plane_predictions

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class WidthStudy:
    """Decision regions of networks by width.

    Attributes:
        widths: The widths.
        reproducibility: Mean share of equal predictions over pairs of networks of a width.
        chance: Floor of the reproducibility.
        fragmentation: Mean pieces a plane.
        resolution: Points along each axis of a plane.
    """

    widths: tuple[int, ...]
    reproducibility: Float[Tensor, " w"]
    chance: Float[Tensor, " w"]
    fragmentation: Float[Tensor, " w"]
    resolution: int

    def __str__(self) -> str:
        worst, most = int(self.reproducibility.argmin()), int(self.fragmentation.argmax())
        return (
            f"Over widths {self.widths[0]} to {self.widths[-1]}, reproducibility is lowest at {self.widths[worst]} "
            f"({self.reproducibility[worst]:.1%}, by chance {self.chance[worst]:.1%}) and regions break up most at "
            f"{self.widths[most]} ({self.fragmentation[most]:.2f} pieces a plane)."
        )

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw reproducibility and, on a second axis, fragmentation against width; return the first axes."""
        import matplotlib.pyplot as plt

        axes = ax if ax is not None else plt.subplots(layout="constrained")[1]
        other = axes.twinx()
        lines = axes.plot(self.widths, self.reproducibility, marker="o", label="reproducibility")
        lines += axes.plot(self.widths, self.chance, ":", color="0.5", label="chance")
        lines += other.plot(self.widths, self.fragmentation, "--s", color="C1", label="pieces a plane (right)")
        axes.set(xscale="log", xlabel="width", ylabel="share of equal predictions")
        other.set(ylabel="pieces a plane")
        axes.legend(handles=lines)
        return axes


def width_study(
    train: Callable[[int, torch.Generator], nn.Module],
    widths: Sequence[int],
    planes: Sequence[Plane],
    *,
    n_models: int = 2,
    resolution: int = 50,
    margin: float = 0.1,
    batch_size: int = 2500,
    generator: torch.Generator | None = None,
    progress: bool = False,
) -> WidthStudy:
    """Train networks of each width by your own function, and compare their decision regions.

    Networks are trained one by one and not kept. To resume after an interruption or to train in parallel, let `train`
    read networks that were trained before, such as through `joblib.Memory`.

    Args:
        train: Function `train(width, generator)` that returns a trained classifier.
        widths: Widths, increasing.
        planes: Planes, the same for all networks, as from `sample_planes`.
        n_models: Networks of each width. Paper: 2.
        resolution: Points along each axis of a plane.
        margin: Room around the triangle; see `Plane.grid`.
        batch_size: Points evaluated at once.
        generator: Source of the generators given to `train`; a fixed seed by default.
        progress: Draw a bar on standard error.

    Returns:
        Reproducibility and fragmentation by width.

    Raises:
        InvalidInputError: The widths do not increase, or there are fewer than two networks of each.

    Cost: n_models trainings a width, and n r² forward passes for each network.

    Source: Somepalli et al. (2022), arXiv 2203.08124, section 5: ResNet-18 of width k = 1 to 64, 20% label noise.

    >>> from assay.landscape.regions import sample_planes
    >>> planes = sample_planes(torch.eye(4), n=1)
    >>> found = width_study(lambda width, source: nn.Linear(4, 3), (1, 2), planes, resolution=3)
    >>> found.reproducibility.shape
    torch.Size([2])
    """
    check_count(n_models, "n_models", at_least=2)
    if len(widths) == 0 or list(widths) != sorted(set(widths)):
        raise InvalidInputError(f"widths must increase, got {tuple(widths)}; pass each width once, the smallest first")
    source = as_generator(generator)
    seed = int(torch.randint(2**31, (1,), generator=source, device=source.device))
    seeds = spawn_seeds(seed, len(widths) * n_models)
    options = {"resolution": resolution, "margin": margin, "batch_size": batch_size}
    rows = []
    for index, width in enumerate(track(widths, "widths", enabled=progress)):
        maps = [
            plane_predictions(train(width, seeded(own)), planes, **options)
            for own in seeds[index * n_models : (index + 1) * n_models]
        ]
        alike = reproducibility_matrix({"": maps})
        pieces = sum(fragmentation_score(found).mean for found in maps) / n_models
        rows.append((alike.scores.item(), alike.chance.item(), pieces))
    columns = torch.tensor(rows, dtype=torch.float64).T
    return WidthStudy(tuple(widths), columns[0], columns[1], columns[2], resolution)
