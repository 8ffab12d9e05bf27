"""Fragmentation of decision regions: connected components on planes (Somepalli et al., 2022, section 5)."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from scipy.ndimage import label
from torch import Tensor

from assay.landscape.regions.agreement import check_maps

_EIGHT = np.ones((3, 3))  # diagonal neighbours connect; with four, thin diagonals would count as many pieces


@dataclass(frozen=True, eq=False)
class Fragmentation:
    """Number of connected pieces into which decision regions fall.

    Attributes:
        mean: Pieces a plane, over all classes.
        std: Standard deviation over planes; NaN for a single one.
        per_class: Mean pieces of each class; a class that does not occur counts 0.
        per_plane: Pieces on each plane.
        resolution: Points along each axis: counts grow with it, and compare at one resolution only.
    """

    mean: float
    std: float
    per_class: Float[Tensor, " c"]
    per_plane: Int64[Tensor, " n"]
    resolution: int

    @property
    def standard_error(self) -> float:
        """Standard error of the mean over planes."""
        return self.std / math.sqrt(len(self.per_plane))

    def __str__(self) -> str:
        return (
            f"Decision regions fall into {self.mean:.2f} pieces a plane (standard error {self.standard_error:.2f}, "
            f"{len(self.per_plane)} planes of {self.resolution} x {self.resolution} points)."
        )


def fragmentation_score(preds: Int64[Tensor, "n r r"]) -> Fragmentation:
    """Count the connected components of each predicted class on each plane, with 8-connectivity.

    Args:
        preds: Classes on n planes of r x r points, from `plane_predictions`.

    Returns:
        The counts, summed over classes, with mean and spread over planes.

    Raises:
        InvalidInputError: The predictions are no class maps.

    Cost: time O(n c r²) for c classes on a plane, on the CPU.

    Source: Somepalli et al. (2022), arXiv 2203.08124, section 5, "fragmentation score".

    >>> fragmentation_score(torch.tensor([[[0, 1, 0], [0, 1, 0], [0, 1, 0]]])).mean
    3.0
    """
    check_maps(preds, "preds")
    maps = preds.cpu().numpy()
    counts = np.zeros((len(maps), int(maps.max()) + 1), dtype=np.int64)
    for row, regions in zip(counts, maps, strict=True):
        for predicted in np.unique(regions):
            row[predicted] = label(regions == predicted, _EIGHT)[1]  # pyright: ignore[reportIndexIssue]
    pieces = torch.from_numpy(counts)
    per_plane = pieces.sum(1)
    std = per_plane.double().std().item() if len(maps) > 1 else math.nan
    return Fragmentation(per_plane.double().mean().item(), std, pieces.double().mean(0), per_plane, maps.shape[1])
