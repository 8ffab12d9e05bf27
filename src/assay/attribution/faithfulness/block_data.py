"""Data with known relevant regions: BlockMNIST and its simplified version (Shah et al., 2021, sections 5 and 6)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor

from assay.core import InvalidInputError, as_generator, check_choice, check_count, check_pairs


@dataclass(frozen=True, eq=False)
class LabelledBlocks:
    """Samples of which one block carries the signal.

    Attributes:
        x: The samples.
        y: Their classes.
        signal_mask: Which coordinates are in the sample's signal block.
        signal_block: The place of that block: 0 is the first, or the top one.
    """

    x: Float[Tensor, "n *d"]
    y: Int64[Tensor, " n"]
    signal_mask: Bool[Tensor, "n *d"]
    signal_block: Int64[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.x)


def block_images(
    images: Float[Tensor, "n ..."],
    y: Shaped[Tensor, "n *one"],
    *,
    placement: Literal["random", "top", "bottom"] = "random",
    classes: Sequence[int] | None = None,
    null: Float[Tensor, "..."] | None = None,
    generator: torch.Generator | None = None,
) -> LabelledBlocks:
    """Stack each image with a null block, the same for all images: BlockMNIST, if the images are digits.

    The signal is on top or at the bottom with probability 1/2, independently of the class. In the control with one
    placement, a network has no reason to mark the null block.

    Cost: O(n d).

    Args:
        images: The signal blocks, such as MNIST digits.
        y: Their classes.
        placement: "top" and "bottom" are the controls.
        classes: Classes to keep, relabelled 0, 1, ... in this order; None keeps all.
        null: The null block; by default `null_pattern`.
        generator: Source of the placement; a fixed seed by default.

    Returns:
        Images of twice the height, with the mask of the signal.

    Raises:
        InvalidInputError: The images have other axes, no image is of the classes, or the null block has another shape.

    Source: Shah, Jain, Netrapalli, "Do input gradients highlight discriminative features?" (2021), section 5. The null
    block of the paper is a fixed patch; the drawing of ours, a square with a cross, is from descriptions.

    >>> block_images(torch.rand(4, 1, 8, 8), torch.arange(4)).x.shape
    torch.Size([4, 1, 16, 8])
    """
    images, y = check_pairs(images, y)
    check_choice(placement, ("random", "top", "bottom"), "placement")
    if images.ndim != 4:
        raise InvalidInputError(f"images must have the shape (n, channels, height, width), got {tuple(images.shape)}")
    labels = y.reshape(-1).long()
    if classes is not None:
        chosen = torch.tensor(list(classes), device=labels.device)
        kept = torch.isin(labels, chosen)
        if not kept.any():
            raise InvalidInputError(f"no image is of the classes {list(classes)}; give classes that occur in y")
        images, labels = images[kept], (labels[kept][:, None] == chosen).long().argmax(1)
    block = null_pattern(images.shape[2], images.shape[3]).expand_as(images[0]) if null is None else null
    if block.shape != images.shape[1:]:
        raise InvalidInputError(f"null must have an image's shape {tuple(images.shape[1:])}, got {tuple(block.shape)}")
    below = torch.full_like(labels, int(placement == "bottom"))
    if placement == "random":
        source = as_generator(generator)
        below = torch.randint(2, (len(images),), generator=source, device=source.device).to(labels)
    nulls, at_bottom = block.to(images).expand_as(images), (below == 1).reshape(-1, 1, 1, 1)
    x = torch.where(at_bottom, torch.cat([nulls, images], 2), torch.cat([images, nulls], 2))
    upper = (torch.arange(x.shape[2], device=x.device) < images.shape[2])[:, None]
    return LabelledBlocks(x, labels, (upper ^ at_bottom).expand_as(x).clone(), below)


def null_pattern(height: int, width: int) -> Float[Tensor, "1 height width"]:
    """Draw the null block: a square with a cross in it, of ones on zeros.

    Args:
        height: Rows.
        width: Columns.

    Raises:
        InvalidInputError: A side is below one.

    >>> null_pattern(6, 6).shape
    torch.Size([1, 6, 6])
    """
    check_count(height, "height")
    check_count(width, "width")
    block = torch.zeros(height, width)
    top, left = height // 5, width // 5
    bottom, right = height - 1 - top, width - 1 - left
    block[[top, bottom, height // 2], left : right + 1] = 1.0
    block[top : bottom + 1, [left, right, width // 2]] = 1.0
    return block[None]


def simplified_blocks(
    n: int,
    blocks: int,
    *,
    block_size: int = 1,
    noise: float = 0.0,
    signal: Float[Tensor, " _"] | None = None,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
) -> LabelledBlocks:
    r"""Draw vectors of d blocks, one of which carries the label: $x_{j^*} = y u^* + \eta g_{j^*}$, $x_j = \eta g_j$.

    $y = \pm 1$ and $j^*$, one of the first $d/2$ blocks, are uniform and independent. The first half of the blocks is
    relevant for the task, the last half never is.

    Cost: O(n d).

    Args:
        n: Samples.
        blocks: Number of blocks d, even.
        block_size: Coordinates of a block.
        noise: Scale $\eta$ of the noise.
        signal: Unit vector $u^*$; equal entries by default.
        generator: Source of all draws; a fixed seed by default.
        dtype: Type of the samples.

    Returns:
        Vectors with classes 0 for $y = -1$ and 1 for $y = 1$, and the mask of their signal block.

    Raises:
        InvalidInputError: A size is out of range, the noise is negative, or the signal is no unit vector of a block.

    Source: Shah, Jain, Netrapalli, "Do input gradients highlight discriminative features?" (2021), section 6,
    simplified BlockMNIST. The noise g is uniform in the unit ball here; the paper's law of g was not checked.

    >>> data = simplified_blocks(5, 4)
    >>> data.x[data.signal_mask].abs().tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    for value, name in ((n, "n"), (blocks, "blocks"), (block_size, "block_size")):
        check_count(value, name)
    if blocks % 2 or noise < 0:
        raise InvalidInputError(f"blocks must be even and noise at least 0, got {blocks} and {noise!r}")
    vector = unit_signal(block_size, signal, dtype)
    source = as_generator(generator)
    y = torch.randint(2, (n,), generator=source)
    place = torch.randint(blocks // 2, (n,), generator=source)
    direction = torch.randn(n, blocks, block_size, generator=source, dtype=dtype)
    radius = torch.rand(n, blocks, 1, generator=source, dtype=dtype) ** (1 / block_size)
    x = noise * radius * torch.nn.functional.normalize(direction, dim=2)
    x[torch.arange(n), place] += (2 * y - 1)[:, None] * vector
    mask = (torch.arange(blocks) == place[:, None])[:, :, None].expand_as(x)
    return LabelledBlocks(x.flatten(1), y, mask.flatten(1), place)


def unit_signal(size: int, signal: Tensor | None, dtype: torch.dtype) -> Float[Tensor, " size"]:
    """Return the signal of a block, by default a vector of equal entries.

    Raises:
        InvalidInputError: The given one has another size, or a norm other than 1.

    >>> unit_signal(4, None, torch.float32).tolist()
    [0.5, 0.5, 0.5, 0.5]
    """
    if signal is None:
        return torch.full((size,), size**-0.5, dtype=dtype)
    vector = signal.to(dtype)
    if vector.shape != (size,) or not torch.isclose(vector.norm(), vector.new_ones(()), atol=1e-4):
        raise InvalidInputError(
            f"signal must be a unit vector of {size} entries, got shape {tuple(vector.shape)} and norm "
            f"{float(vector.norm()):.6g}; divide it by its norm"
        )
    return vector
