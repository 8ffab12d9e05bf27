"""Differentiable Siamese augmentation, the same for all images of a batch (Zhao and Bilen, 2021)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, final, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from assay.core import InvalidInputError, check_choice

Augmentation: TypeAlias = Callable[[Tensor, torch.Generator], Tensor]
"""A function of a batch and a generator; equal generator states give equal changes."""

Change = Literal["color", "crop", "cutout", "flip", "scale", "rotate"]


@dataclass(frozen=True)
class SiameseAugmentation:
    """Augment all images of a batch by one random change, differentiably in the images.

    Each call draws one of the changes and its strength: "color" changes brightness, saturation and contrast by up to
    0.5, a factor in [0, 2] and a factor in [0.5, 1.5]; "crop" shifts by up to an eighth of the image and fills with
    zeros; "cutout" sets a square of half the image's side to zero; "flip" mirrors left and right with probability one
    half; "scale" stretches height and width by factors in [1/1.2, 1.2]; "rotate" turns by up to 15 degrees. Generators
    in the same state give real and synthetic images the same change, so that their gradients stay comparable.

    Cost: time and memory O(n d), one pass over the images.

    Args:
        changes: Changes to draw from. Paper: all six.

    Raises:
        InvalidInputError: There is no change, or one is unknown.

    Source: Zhao and Bilen, "Dataset Condensation with Differentiable Siamese Augmentation" (2021), section on the
    method, with the strengths of the released code.

    >>> images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> SiameseAugmentation()(images, torch.Generator().manual_seed(1)).shape
    torch.Size([2, 1, 8, 8])
    """

    changes: tuple[Change, ...] = ("color", "crop", "cutout", "flip", "scale", "rotate")

    def __post_init__(self) -> None:
        if not self.changes:
            raise InvalidInputError(f"changes must hold at least one of {', '.join(get_args(Change))}, got none")
        for change in self.changes:
            check_choice(change, get_args(Change), "each of changes")

    def __call__(self, x: Float[Tensor, "n *d"], generator: torch.Generator) -> Float[Tensor, "n *d"]:
        """Return the augmented images."""
        if x.ndim != 4:
            raise InvalidInputError(f"images must have shape (n, channels, h, w), got {tuple(x.shape)}")
        # Always four numbers in [0, 1), so that the generator's state after a call does not depend on the change.
        which, *amounts = torch.rand(4, generator=generator, dtype=torch.float64, device=generator.device).tolist()
        change = self.changes[int(which * len(self.changes))]
        return _CHANGES[change](x, *amounts)


def _color(x: Tensor, brightness: float, saturation: float, contrast: float) -> Tensor:
    x = x + (brightness - 0.5)
    grey = x.mean(1, keepdim=True)
    x = grey + 2 * saturation * (x - grey)
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (0.5 + contrast) * (x - mean)


def _crop(x: Tensor, down: float, right: float, _: float) -> Tensor:
    height, width = x.shape[-2:]
    most = height // 8, width // 8
    start = [int(amount * (2 * limit + 1)) for amount, limit in zip((down, right), most, strict=True)]
    padded = F.pad(x, (most[1], most[1], most[0], most[0]))
    return padded[..., start[0] : start[0] + height, start[1] : start[1] + width]


def _cutout(x: Tensor, down: float, right: float, _: float) -> Tensor:
    height, width = x.shape[-2:]
    size = height // 2, width // 2
    top, left = int(down * (height - size[0] + 1)), int(right * (width - size[1] + 1))
    kept = torch.ones_like(x[:1, :1])
    kept[..., top : top + size[0], left : left + size[1]] = 0
    return x * kept


def _flip(x: Tensor, coin: float, *_: float) -> Tensor:
    return x.flip(-1) if coin < 0.5 else x


def _scale(x: Tensor, high: float, wide: float, _: float) -> Tensor:
    factors = [1.2 ** (2 * amount - 1) for amount in (wide, high)]
    return _resampled(x, [[1 / factors[0], 0.0], [0.0, 1 / factors[1]]])


def _rotate(x: Tensor, turn: float, *_: float) -> Tensor:
    angle = math.radians(15 * (2 * turn - 1))
    return _resampled(x, [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def _resampled(x: Tensor, matrix: list[list[float]]) -> Tensor:
    """Resample images under a 2 x 2 linear map about the centre, with zeros outside."""
    theta = F.pad(x.new_tensor(matrix), (0, 1)).expand(len(x), 2, 3)
    places = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, places, align_corners=False)


_CHANGES: dict[str, Callable[..., Tensor]] = {
    "color": _color,
    "crop": _crop,
    "cutout": _cutout,
    "flip": _flip,
    "scale": _scale,
    "rotate": _rotate,
}


def augmented(model: nn.Module, augment: Augmentation | None, generator: torch.Generator) -> nn.Module:
    """Return a network that augments its inputs before the model, or the model itself without an augmentation."""
    return model if augment is None else _Augmented(model, augment, generator)


@final
class _Augmented(nn.Module):
    def __init__(self, model: nn.Module, augment: Augmentation, generator: torch.Generator) -> None:
        super().__init__()
        self.model, self.augment, self.generator = model, augment, generator

    def forward(self, x: Tensor) -> Tensor:
        return self.model(self.augment(x, self.generator))
