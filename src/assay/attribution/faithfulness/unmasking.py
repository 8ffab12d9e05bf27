"""Unmasking: keep the coordinates that an attribution ranks highest or lowest (Shah et al., 2021)."""

import math
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from assay.core import InvalidInputError, as_generator, check_choice, check_samples


def rank_coordinates(
    scores: Float[Tensor, "n *d"],
    *,
    channels: Literal["each", "max"] = "each",
    generator: torch.Generator | None = None,
) -> Int64[Tensor, "n *r"]:
    r"""Rank the coordinates of each sample by their scores, the highest at rank 0; ties are broken at random.

    Cost: time O(n d log d), memory O(n d).

    Args:
        scores: One score a coordinate.
        channels: "max" ranks the pixels of images of shape (n, channels, ...) by their largest channel.
        generator: Source of the order of equal scores; a fixed seed by default. Without it, the many zeros of a sparse
            attribution would be ranked by their place.

    Returns:
        The ranks, 0 to d - 1 in each sample. With "max" they have one channel.

    Raises:
        InvalidInputError: Some scores are not finite, or there are no channels to pool.

    Source: Shah, Jain, Netrapalli, "Do input gradients highlight discriminative features?" (2021), section 3, the
    ordering of an attribution scheme; random ties are ours.

    >>> rank_coordinates(torch.tensor([[0.1, 0.7, 0.4]])).tolist()
    [[2, 0, 1]]
    """
    scores = check_samples(scores, "scores")
    check_choice(channels, ("each", "max"), "channels")
    if channels == "max":
        if scores.ndim < 3:
            raise InvalidInputError(
                f"channels='max' needs scores of shape (n, channels, ...), got {tuple(scores.shape)}; use 'each'"
            )
        scores = scores.amax(1, keepdim=True)
    flat = scores.flatten(1)
    source = as_generator(generator)
    shuffled = torch.rand(flat.shape, generator=source, device=source.device).to(flat.device).argsort(1)
    order = shuffled.gather(1, flat.gather(1, shuffled).argsort(dim=1, descending=True, stable=True))
    places = torch.arange(flat.shape[1], device=flat.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places).reshape(scores.shape)


def unmask(
    x: Float[Tensor, "n *d"],
    ranking: Int64[Tensor, "n *r"],
    fraction: float,
    *,
    keep: Literal["top", "bottom"] = "top",
    fill: float | Tensor = 0.0,
) -> Float[Tensor, "n *d"]:
    r"""Keep the k coordinates of highest rank, $x^{\text{top},k}$, or of lowest, $x^{\text{bot},k}$; fill the others.

    $k$ is `fraction` times the number of ranked coordinates, to the nearest whole number.

    Cost: O(n d).

    Args:
        x: Samples, normalised such that `fill` is neutral: a value set before normalisation is a constant after it.
        ranking: Ranks as `rank_coordinates` returns them, in the shape of x or with one channel for all.
        fraction: Share of coordinates to keep, above 0 and at most 1.
        keep: Which end of the ranking.
        fill: Value of the coordinates that are not kept: a number, or a tensor that broadcasts to x, as the mean image.

    Returns:
        The samples with all other coordinates filled.

    Raises:
        InvalidInputError: The ranking is none of x, the fraction keeps no coordinate or more than all, or `fill` does
            not broadcast to x.

    Source: Shah, Jain, Netrapalli, "Do input gradients highlight discriminative features?" (2021), section 3,
    unmasking schemes.

    >>> unmask(torch.tensor([[5.0, 6.0, 7.0]]), torch.tensor([[2, 0, 1]]), 1 / 3).tolist()
    [[0.0, 6.0, 0.0]]
    """
    x = check_samples(x)
    check_choice(keep, ("top", "bottom"), "keep")
    _check_ranking(x, ranking)
    n_ranked = math.prod(ranking.shape[1:])
    k = kept_coordinates(n_ranked, fraction)
    kept = ranking < k if keep == "top" else ranking >= n_ranked - k
    value = torch.as_tensor(fill, dtype=x.dtype, device=x.device)
    try:
        value = value.expand_as(x)
    except RuntimeError as error:
        raise InvalidInputError(
            f"fill has shape {tuple(value.shape)}, which does not broadcast to x of shape {tuple(x.shape)}; pass a "
            "number or the mean of one sample's shape"
        ) from error
    return torch.where(kept, x, value)


def kept_coordinates(n_coordinates: int, fraction: float) -> int:
    """Return the number of coordinates nearest to a share of all.

    Raises:
        InvalidInputError: The fraction keeps none, or is above 1.

    >>> kept_coordinates(784, 0.05)
    39
    """
    k = math.floor(n_coordinates * fraction + 0.5) if 0 < fraction <= 1 else 0
    if k < 1:
        raise InvalidInputError(
            f"fraction={fraction!r} of {n_coordinates} coordinates keeps none or more than all; give a share of at "
            f"least 1 / {n_coordinates} and at most 1"
        )
    return k


def _check_ranking(x: Tensor, ranking: Tensor) -> None:
    given, needed = tuple(ranking.shape), tuple(x.shape)
    pooled = x.ndim > 2 and given == (needed[0], 1, *needed[2:])
    if ranking.dtype != torch.int64 or not (given == needed or pooled):
        raise InvalidInputError(
            f"ranking is {ranking.dtype} of shape {given} for x of shape {needed}; pass what rank_coordinates returns "
            "for scores of x"
        )
    if int(ranking.min()) != 0 or int(ranking.max()) != math.prod(given[1:]) - 1:
        raise InvalidInputError(
            f"ranking holds {int(ranking.min())} to {int(ranking.max())}, and ranks of {math.prod(given[1:])} "
            "coordinates begin with 0; pass what rank_coordinates returns"
        )
