"""Proposals of the Square attack in the infinity norm and the 2-norm (Andriushchenko et al., 2020, section 3)."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from assay.adversarial.attacks.starts import uniform_by_sample
from assay.adversarial.attacks.threat import Lp
from assay.core import InvalidInputError


class Step(NamedTuple):
    """How the search starts, and how it changes its best points."""

    start: Callable[..., Float[Tensor, "n c h w"]]
    change: Callable[..., Float[Tensor, "n c h w"]]


def view_as_images(x: Float[Tensor, "n *d"]) -> Float[Tensor, "n c h w"]:
    """Give inputs channels, height and width: features become one row, a matrix one channel.

    Raises:
        InvalidInputError: A sample has more than three dimensions.

    >>> view_as_images(torch.zeros(5, 7)).shape, view_as_images(torch.zeros(5, 3, 7)).shape
    (torch.Size([5, 1, 1, 7]), torch.Size([5, 1, 3, 7]))
    """
    if x.ndim > 4:
        raise InvalidInputError(
            f"Square takes images of shape (n, channels, height, width), got {tuple(x.shape)}; wrap the model so that "
            "it takes one axis less, as by merging frames with channels"
        )
    return x.reshape(len(x), *[1] * (4 - x.ndim), *x.shape[1:])


def _signs(keys: Int[Tensor, " n"], shape: tuple[int, ...], draw: int) -> Float[Tensor, "n *d"]:
    return (uniform_by_sample(keys, shape, draw=draw) - 0.5).sign()


def _start_stripes(x: Tensor, keys: Tensor, threat: Lp) -> Tensor:
    """Move each column of each channel to one side of the ball; a lone row entry by entry."""
    signs = _signs(keys, (x.shape[1], 1, x.shape[3]), 0).to(x)
    return threat.project(x + threat.reach(x) * signs, x)


def _change_signs(
    best: Tensor, x: Tensor, keys: Tensor, side: tuple[int, int], threat: Lp, *, draw: int
) -> Float[Tensor, "n c h w"]:
    """Move a window of each channel to one side of the ball (algorithm 2)."""
    inside = _window(x, keys, side, draw)[0]
    signs = _signs(keys, (x.shape[1], 1, 1), draw + 1).to(x)
    return torch.where(inside, threat.project(x + threat.reach(x) * signs, x), best)


def _window(
    x: Tensor, keys: Tensor, side: tuple[int, int], draw: int, which: int = 0
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Place a window in each image: return its mask (n, 1, h, w), and the rows (n, s) and columns (n, t) it covers."""
    height, width = x.shape[2:]
    place = uniform_by_sample(keys, (4,), draw=draw)[:, 2 * which : 2 * which + 2]
    free = place.new_tensor([height - side[0] + 1, width - side[1] + 1])
    top, left = (place * free).long().unbind(1)
    rows = top[:, None] + torch.arange(side[0], device=x.device)
    columns = left[:, None] + torch.arange(side[1], device=x.device)
    mask = torch.zeros(len(x), 1, height, width, dtype=torch.bool, device=x.device)
    mask[torch.arange(len(x), device=x.device)[:, None, None], 0, rows[:, :, None], columns[:, None, :]] = True
    return mask, (rows, columns)


def bump(height: int, width: int) -> Float[Tensor, "h w"]:
    r"""Return a two-sided bump of 2-norm one: a positive and a negative half, each falling off from its centre.

    Source: Andriushchenko, Croce, Flammarion, Hein, "Square Attack: a query-efficient black-box adversarial attack via
    random search" (2020), section 3.3: $\sum_k 1/(n+1-k)^2$ over nested rectangles.
    """
    if height == 1:
        return bump(width, 1).T if width > 1 else torch.ones(1, 1, dtype=torch.float64)
    halves = torch.cat([_half_bump(height // 2, width), -_half_bump(height - height // 2, width)])
    return halves / halves.norm()


def _half_bump(height: int, width: int) -> Tensor:
    n = max(height, width) // 2
    rows, columns = (torch.arange(size) - size // 2 for size in (height, width))
    distance = torch.maximum(rows.abs()[:, None], columns.abs()[None, :]).clamp(max=n)
    tails = 1 / torch.arange(1, n + 2, dtype=torch.float64) ** 2
    return tails.flip(0).cumsum(0).flip(0)[distance]


def _start_bumps(x: Tensor, keys: Tensor, threat: Lp) -> Tensor:
    """Tile each image with bumps of random sign, five to a side (section 3.3)."""
    height, width = x.shape[2:]
    tall, wide = max(height // 5, 1), max(width // 5, 1)
    tiles = (height // tall, width // wide)
    signs = _signs(keys, (x.shape[1], *tiles), 0)
    tiled = torch.kron(signs, bump(tall, wide).to(x.device))
    change = x.new_zeros(x.shape)
    top, left = ((size - tile * n) // 2 for size, tile, n in ((height, tall, tiles[0]), (width, wide, tiles[1])))
    change[:, :, top : top + tiled.shape[2], left : left + tiled.shape[3]] = tiled.to(x)
    return _on_sphere(change, x, threat)


def _change_bump(
    best: Tensor, x: Tensor, keys: Tensor, side: tuple[int, int], threat: Lp, *, draw: int
) -> Float[Tensor, "n c h w"]:
    """Put a bump into one window, with the norm of a second window and what the ball has left (algorithm 3)."""
    change, channels = (best - x) / threat.reach(x), x.shape[1]  # in units of the radius: its square can overflow
    (first, place), (second, _) = (_window(x, keys, side, draw, which) for which in (0, 1))
    unused = (1 - change.square().sum((1, 2, 3), keepdim=True)).clamp_min(0) / channels
    available = ((change * (first | second)).square().sum((2, 3), keepdim=True) + unused).sqrt()
    signs = _signs(keys, (channels + 1, 1, 1), draw + 1).to(x)
    pattern = bump(*side).to(x)
    turned = pattern.T if side[0] == side[1] else pattern
    pattern = torch.where(signs[:, :1] > 0, pattern, turned) * signs[:, 1:]
    row = torch.arange(len(x), device=x.device)[:, None, None, None]
    channel = torch.arange(channels, device=x.device)[None, :, None, None]
    where = (row, channel, place[0][:, None, :, None], place[1][:, None, None, :])
    old = change[where]
    new = pattern + old / old.norm(dim=(2, 3), keepdim=True).clamp_min(1e-12)
    new = available * new / new.norm(dim=(2, 3), keepdim=True).clamp_min(1e-12)
    change = change.masked_fill(second, 0)
    change[where] = new
    return _on_sphere(change, x, threat)


def _on_sphere(change: Tensor, x: Tensor, threat: Lp) -> Tensor:
    """Scale changes to the radius, and clamp the points to the range."""
    size = change.flatten(1).norm(dim=1).clamp_min(torch.finfo(x.dtype).tiny).view(-1, 1, 1, 1)
    return threat.project(x + change * (threat.reach(x) / size), x)


STEPS = {math.inf: Step(_start_stripes, _change_signs), 2: Step(_start_bumps, _change_bump)}
