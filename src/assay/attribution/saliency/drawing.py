"""Figures of saliency: maps over images, and tokens coloured by their saliency."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from assay.attribution.saliency.combination import upsample_saliency
from assay.core import InvalidInputError, check_count, check_samples

_COLOUR = "magma"
_CHARACTER, _LINE = 0.095, 0.32  # inches of a character and a line of text


def plot_saliency(
    x: Float[Tensor, "n channels h w"], maps: dict[str, Float[Tensor, "n 1 ..."]], *, figsize: float = 1.3
) -> Figure:
    """Draw images in the first row, and below them the maps of each method.

    Args:
        x: Grey or colour images.
        maps: Maps by name, of any resolution.
        figsize: Inches of a picture.

    Raises:
        InvalidInputError: The images are neither grey nor colour, or the maps do not belong to them.

    >>> len(plot_saliency(torch.rand(2, 1, 4, 4), {"random": torch.rand(2, 1, 2, 2)}).axes)
    4
    """
    x = check_samples(x)
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise InvalidInputError(f"images must be grey or colour, of shape (n, 1 or 3, h, w), got {tuple(x.shape)}")
    if not maps or any(len(value) != len(x) for value in maps.values()):
        raise InvalidInputError(f"give one map for each of the {len(x)} images")
    n_rows, n_columns = len(maps) + 1, len(x)
    figure = Figure(figsize=(figsize * n_columns + 0.9, figsize * n_rows), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False)
    low, high = x.amin(), x.amax()
    pictures = ((x - low) / (high - low).clamp_min(1e-12)).movedim(1, -1).squeeze(-1).cpu().numpy()
    for column, picture in enumerate(pictures):
        axes[0][column].imshow(picture, cmap="gray", vmin=0, vmax=1)
    for row, (name, value) in enumerate(maps.items(), 1):
        for column, found in enumerate(upsample_saliency(value, x.shape[2:]).cpu().numpy()):
            axes[row][column].imshow(found[0], cmap=_COLOUR, vmin=0, vmax=1)
        axes[row][0].set_ylabel(name, rotation=0, ha="right", va="center")
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    return figure


def plot_token_saliency(
    tokens: Sequence[str], saliency: Float[Tensor, " t"], *, title: str = "", characters: int = 72
) -> Figure:
    """Draw tokens as text, each on a ground coloured by its saliency, with a bar that tells the values.

    Args:
        tokens: The text, token by token.
        saliency: One value a token.
        title: Line above the text.
        characters: Of a line.

    Raises:
        InvalidInputError: There is not one finite value for each of one or more tokens.

    >>> figure = plot_token_saliency(["a", "good", "film"], torch.tensor([0.1, 0.9, 0.4]))
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['a', 'good', 'film']
    """
    check_count(characters, "characters")
    values = saliency.detach().reshape(-1).double().cpu()
    if not tokens or len(values) != len(tokens) or not torch.isfinite(values).all():
        raise InvalidInputError(f"give one finite value for each token, got {len(values)} for {len(tokens)} tokens")
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    low, high = float(values.min()), float(values.max())
    scale = Normalize(low, high if high > low else low + 1)
    places, n_lines = _set_lines(tokens, characters)
    figure = Figure(figsize=(_CHARACTER * characters + 0.3, _LINE * (n_lines + 3)), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlim=(0, characters), ylim=(n_lines, 0), title=title)
    axes.axis("off")
    for token, value, (line, column) in zip(tokens, values.tolist(), places, strict=True):
        share = float(scale(value))
        box: dict[str, Any] = {"facecolor": colormaps["Oranges"](0.9 * share), "edgecolor": "none", "pad": 1.5}
        ink = "white" if share > 0.75 else "black"
        axes.text(column, line + 0.5, token, family="monospace", fontsize=10, va="center", color=ink, bbox=box)
    bar = figure.colorbar(ScalarMappable(scale, colormaps["Oranges"]), ax=axes, orientation="horizontal", aspect=40)
    bar.set_label("saliency")
    return figure


def _set_lines(tokens: Sequence[str], characters: int) -> tuple[list[tuple[int, float]], int]:
    """Return the line and column of each token, and the number of lines."""
    line, column, places = 0, 0, []
    for token in tokens:
        if column and column + len(token) > characters:
            line, column = line + 1, 0
        places.append((line, float(column)))
        column += len(token) + 1
    return places, line + 1
