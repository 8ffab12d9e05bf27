"""Drawings of opposing groups: images of both groups in rows, or all loss changes with the groups marked."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def is_image(shape: tuple[int, ...]) -> bool:
    """Return whether samples of this shape are images of one or three channels.

    >>> is_image((1, 28, 28)), is_image((784,))
    (True, False)
    """
    return len(shape) == 3 and shape[0] in (1, 3) and min(shape[1:]) > 1


def draw_images(axes: "Axes", rows: Mapping[str, Tensor]) -> None:
    """Draw rows of images as one picture, each row spread over the grey levels, with its name on the left."""
    width = max(len(images) for images in rows.values())
    strips = []
    for images in rows.values():
        values = images.detach().float().cpu()
        low, high = values.min(), values.max()
        values = (values - low) / (high - low) if high > low else torch.full_like(values, 0.5)
        blank = torch.ones(width - len(images), *values.shape[1:])
        padded = torch.nn.functional.pad(torch.cat([values, blank]), (1, 1, 1, 1), value=1.0)
        strips.append(torch.cat(list(padded), 2))
    picture = torch.cat(strips, 1).permute(1, 2, 0)
    axes.imshow(picture.squeeze(2).numpy(), cmap="gray", vmin=0, vmax=1)
    height = picture.shape[0] / len(rows)
    axes.set_yticks([height * (place + 0.5) for place in range(len(rows))], list(rows))
    axes.set_xticks([])


def draw_changes(axes: "Axes", change: Tensor, rising: Tensor, falling: Tensor) -> None:
    """Draw the loss changes of all samples in ascending order, with both groups marked."""
    values = change.detach().cpu()
    order = values.argsort()
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    axes.plot(values[order], color="0.7", label="all samples")
    for group, marker, label in ((rising, "^", "rising group"), (falling, "v", "falling group")):
        axes.plot(place[group.cpu()], values[group.cpu()], marker, markersize=4, label=label)
    axes.set(xlabel="samples by loss change", ylabel="change of the loss in one step")
    axes.legend()
