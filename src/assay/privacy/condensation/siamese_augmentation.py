"""Differentiable Siamese augmentation, by one random change for all images of a batch (Zhao and Bilen, 2021)."""

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

    Each call draws one of the changes and its strength, and `apart` a strength for each image: "color" changes
    brightness, saturation and contrast by up to 0.5, a factor in [0, 2] and a factor in [0.5, 1.5]; "crop" shifts by up
    to an eighth of the image and fills with zeros; "cutout" sets a square of half the image's side to zero, both
    rounded to whole pixels; "flip" mirrors left and right with probability one half; "scale" stretches height and width
    by factors in [1/1.2, 1.2]; "rotate" turns by up to 15 degrees. Generators in the same state give real and synthetic
    images the same change, so that their gradients stay comparable.

    Cost: time and memory O(n d), one pass over the images.

    Args:
        changes: Changes to draw from. Paper: all six.

    Raises:
        InvalidInputError: There is no change, or one is unknown.

    Deviations from the released code: a cut-out square lies wholly inside the image, where there it may be cut off; the
    factors of "scale" are uniform in their logarithm.

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
        """Return the images, all changed alike: for gradients that are compared."""
        return self._changed(x, generator, 1)

    def apart(self, x: Float[Tensor, "n *d"], generator: torch.Generator) -> Float[Tensor, "n *d"]:
        """Return the images, each with a strength and place of its own: for training, as in the released code."""
        return self._changed(x, generator, len(x))

    def _changed(self, x: Tensor, generator: torch.Generator, n: int) -> Tensor:
        if x.ndim != 4:
            raise InvalidInputError(f"images must have shape (n, channels, h, w), got {tuple(x.shape)}")
        # The generator's state after a call does not depend on the change.
        which, *amounts = torch.rand(1 + 3 * n, generator=generator, dtype=torch.float64, device=generator.device).cpu()
        change = self.changes[int(which * len(self.changes))]
        strengths = torch.stack(amounts).view(3, n, 1, 1, 1).to(x.device)
        return _CHANGES[change](x, *strengths)


def _color(x: Tensor, brightness: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    x = x + (brightness - 0.5).to(x)
    grey = x.mean(1, keepdim=True)
    x = grey + (2 * saturation).to(x) * (x - grey)
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (0.5 + contrast).to(x) * (x - mean)


def _crop(x: Tensor, down: Tensor, right: Tensor, _: Tensor) -> Tensor:
    places = []
    for axis, amount in ((2, down), (3, right)):
        size = x.shape[axis]
        most = _rounded(size / 8)
        shift = (amount.flatten() * (2 * most + 1)).long() - most
        places.append(torch.arange(size, device=x.device) + shift[:, None])
    rows, columns = places
    within = ((rows >= 0) & (rows < x.shape[2]))[:, :, None] & ((columns >= 0) & (columns < x.shape[3]))[:, None]
    rows, columns = rows.clamp(0, x.shape[2] - 1)[:, :, None], columns.clamp(0, x.shape[3] - 1)[:, None]
    images = torch.arange(len(x), device=x.device)[:, None, None]
    return x.permute(0, 2, 3, 1)[images, rows, columns].permute(0, 3, 1, 2) * within[:, None]


def _cutout(x: Tensor, down: Tensor, right: Tensor, _: Tensor) -> Tensor:
    inside = []
    for axis, amount in ((2, down), (3, right)):
        length, size = x.shape[axis], _rounded(x.shape[axis] / 2)
        first = (amount.flatten() * (length - size + 1)).long()[:, None]
        place = torch.arange(length, device=x.device)
        inside.append((place >= first) & (place < first + size))
    return x * ~(inside[0][:, None, :, None] & inside[1][:, None, None, :])


def _flip(x: Tensor, coin: Tensor, *_: Tensor) -> Tensor:
    return x.flip(-1).where(coin < 0.5, x)


def _scale(x: Tensor, high: Tensor, wide: Tensor, _: Tensor) -> Tensor:
    across, along = (1.2 ** (1 - 2 * amount.flatten()) for amount in (wide, high))
    nothing = torch.zeros_like(across)
    return _resampled(x, [[across, nothing], [nothing, along]])


def _rotate(x: Tensor, turn: Tensor, *_: Tensor) -> Tensor:
    angle = math.radians(15) * (2 * turn.flatten() - 1)
    return _resampled(x, [[angle.cos(), -angle.sin()], [angle.sin(), angle.cos()]])


def _rounded(size: float) -> int:
    return int(size + 0.5)


def _resampled(x: Tensor, matrix: list[list[Tensor]]) -> Tensor:
    """Resample each image under its 2 x 2 linear map about the centre, with zeros outside."""
    maps = torch.stack([torch.stack(row, -1) for row in matrix], -2).to(x)
    theta = F.pad(maps, (0, 1)).expand(len(x), 2, 3)
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
    """Return a network that augments its inputs, each image apart where that is known how, or else the model itself."""
    return model if augment is None else _Augmented(model, augment, generator)


@final
class _Augmented(nn.Module):
    def __init__(self, model: nn.Module, augment: Augmentation, generator: torch.Generator) -> None:
        super().__init__()
        self.model, self.augment, self.generator = model, augment, generator

    def forward(self, x: Tensor) -> Tensor:
        change = self.augment.apart if isinstance(self.augment, SiameseAugmentation) else self.augment
        return self.model(change(x, self.generator))
