"""Iterative removal of the pixels or regions that an attribution ranks highest (Rieger and Hansen, 2020)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from assay.core import InvalidInputError, check_count, check_samples, check_scores, predict

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class RemovalCurve:
    """Probability of a class while the image disappears.

    Attributes:
        removed: Share of the regions that are removed, from 0 to 1.
        relative: Probability of the class over that of the whole image.
    """

    removed: Float[Tensor, " s"]
    relative: Float[Tensor, "n s"]

    @property
    def area(self) -> Float[Tensor, " n"]:
        """Area under the curve of each image: low where the attribution ranks first what the class needs."""
        return torch.trapezoid(self.relative, self.removed, dim=1)

    def __str__(self) -> str:
        return f"The mean area under the curve of removal is {self.area.mean():.3g} ({len(self.relative)} images)."

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the mean curve, and return the axes."""
        import matplotlib.pyplot as plt

        axes = plt.subplots()[1] if ax is None else ax
        axes.plot(self.removed.cpu(), self.relative.mean(0).cpu())
        axes.set(xlabel="share of the image that is removed", ylabel="probability, relative")
        return axes


@torch.inference_mode(False)
def removal_curve(
    model: nn.Module,
    x: Float[Tensor, "n c height width"],
    target: int,
    maps: Float[Tensor, "n height width"],
    *,
    regions: Int[Tensor, "n height width"] | None = None,
    n_removals: int = 20,
    batch_size: int = 256,
) -> RemovalCurve:
    r"""Replace regions by the image's mean, the highest mean attribution first, and follow $p(x_k) / p(x)$.

    Args:
        model: Network; it comes back as it was.
        x: Images.
        target: Class whose probability is followed.
        maps: Attribution of each pixel.
        regions: Number of the region of each pixel, from 0 on without gaps, such as superpixels of
            `skimage.segmentation.slic`; single pixels by default.
        n_removals: Steps, of as many regions each as the others up to rounding.
        batch_size: Images a forward pass.

    Returns:
        The curve.

    Raises:
        InvalidInputError: The model, the images, the maps or the regions are unusable.

    Cost: 1 + `n_removals` forward passes an image.

    Source: Rieger and Hansen, "IROF: a low resource evaluation metric for explanation methods" (2020), section 3.
    Deviation: the area under the curve is returned, of which a low value is good.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    >>> removal_curve(model, torch.rand(1, 1, 2, 2), 0, torch.rand(1, 2, 2), n_removals=4).relative.shape
    torch.Size([1, 5])
    """
    x, maps = check_samples(x), check_samples(maps, "maps")
    check_count(n_removals, "n_removals")
    n_classes = check_scores(model, x).shape[1]
    if isinstance(target, bool) or not isinstance(target, int) or not 0 <= target < n_classes:
        raise InvalidInputError(f"target must be a class from 0 to {n_classes - 1}, got {target!r}")
    if x.ndim != 4 or maps.shape != (len(x), *x.shape[2:]):
        raise InvalidInputError(
            f"x and maps have shapes {tuple(x.shape)} and {tuple(maps.shape)}; pass images of shape (n, channels, "
            "height, width) and one number for each pixel"
        )
    rank = _ranks(maps, _regions(maps, regions)).reshape(len(x), 1, *x.shape[2:])
    counts = rank.flatten(1).amax(1).reshape(-1, 1, 1, 1) + 1
    mean = x.mean((2, 3), keepdim=True)
    steps = torch.linspace(0, 1, n_removals + 1, dtype=x.dtype, device=x.device)
    found = []
    for share in steps:
        removed = torch.where(rank < (share * counts).round(), mean, x)
        found.append(predict(model, removed, batch_size=batch_size, look=False).softmax(1)[:, target])
    probability = torch.stack(found, 1)
    return RemovalCurve(steps, probability / probability[:, :1].clamp_min(torch.finfo(probability.dtype).tiny))


def _regions(maps: Tensor, regions: Tensor | None) -> Int[Tensor, "n p"]:
    if regions is None:
        return torch.arange(maps[0].numel(), device=maps.device).expand(len(maps), -1)
    if regions.shape != maps.shape or regions.is_floating_point() or int(regions.min()) < 0:
        raise InvalidInputError(
            f"regions must hold a whole number from 0 on for each pixel of {tuple(maps.shape)}, got {regions.dtype} of "
            f"shape {tuple(regions.shape)}"
        )
    return regions.flatten(1).long()


def _ranks(maps: Tensor, regions: Int[Tensor, "n p"]) -> Int[Tensor, "n p"]:
    """Return the place of each pixel's region in the order of descending mean attribution."""
    n_regions = int(regions.max()) + 1
    empty = maps.new_zeros(len(maps), n_regions)
    sizes = empty.scatter_add(1, regions, maps.new_ones(regions.shape))
    means = empty.scatter_add(1, regions, maps.flatten(1)) / sizes
    means = torch.where(sizes == 0, float("-inf"), means)  # numbers that this image does not have come last
    order = means.argsort(dim=1, descending=True, stable=True)
    rank = torch.zeros_like(order).scatter_(1, order, torch.arange(n_regions, device=maps.device).expand_as(order))
    return rank.gather(1, regions)
