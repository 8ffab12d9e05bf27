"""Localisation set with ground truth: a labelled object beside a distractor on an empty canvas, and its scores."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from assay.core import InvalidInputError, as_generator, check_count, check_pairs, check_samples


@dataclass(frozen=True, eq=False)
class LocalizationSet:
    """Images with the places of two objects, of which the first has the label.

    Attributes:
        x: Images.
        y: Class of the labelled object.
        boxes: Its place: top, left, bottom, right; the last two are not inside.
        distractor_boxes: The place of the other object.
        distractor: Which of the distractors it is, an index.
    """

    x: Float[Tensor, "n channels size size"]
    y: Int[Tensor, " n"]
    boxes: Int[Tensor, "n 4"]
    distractor_boxes: Int[Tensor, "n 4"]
    distractor: Int[Tensor, " n"]

    @property
    def masks(self) -> Bool[Tensor, "n 1 size size"]:
        """Pixels of the labelled object's box."""
        return box_masks(self.boxes, self.x.shape[-1])

    @property
    def distractor_masks(self) -> Bool[Tensor, "n 1 size size"]:
        """Pixels of the distractor's box."""
        return box_masks(self.distractor_boxes, self.x.shape[-1])


def box_masks(boxes: Int[Tensor, "n 4"], size: int) -> Bool[Tensor, "n 1 size size"]:
    """Return the pixels inside boxes of (top, left, bottom, right).

    Raises:
        InvalidInputError: The boxes are of another shape.

    >>> box_masks(torch.tensor([[0, 0, 1, 2]]), 2).long().tolist()
    [[[[1, 1], [0, 0]]]]
    """
    if boxes.ndim != 2 or boxes.shape[1] != 4 or len(boxes) == 0:
        raise InvalidInputError(f"boxes must be non-empty, of shape (n, 4), got {tuple(boxes.shape)}")
    check_count(size, "size")
    place = torch.arange(size, device=boxes.device)
    top, left, bottom, right = (edge[:, None] for edge in boxes.unbind(1))
    rows, columns = (place >= top) & (place < bottom), (place >= left) & (place < right)
    return (rows[:, :, None] & columns[:, None, :])[:, None]


def make_localization(
    x: Float[Tensor, "n channels h w"],
    y: Int[Tensor, " n"],
    distractors: Float[Tensor, "m channels h2 w2"],
    n_images: int,
    *,
    size: int = 56,
    generator: torch.Generator | None = None,
) -> LocalizationSet:
    """Put a random labelled object and a random distractor on each canvas, where their boxes do not overlap.

    Objects are cut to the box of their non-zero pixels, so that the ground truth is tight. Places are uniform among
    those without overlap.

    Cost: time O(n_images size^2).

    Args:
        x: Labelled objects on black, such as digits.
        y: Their classes.
        distractors: Other objects on black, such as items of Fashion-MNIST, or other digits.
        n_images: Images to make.
        size: Height and width of the canvas, at least twice that of the objects.
        generator: Source of the draws; a fixed seed by default.

    Returns:
        The images, and where their objects are.

    Raises:
        InvalidInputError: Objects that do not fit, are empty, or have other channels than the distractors.

    >>> objects = torch.ones(3, 1, 4, 4)
    >>> made = make_localization(objects, torch.arange(3), objects, 5, size=12)
    >>> made.x.shape, int((made.masks & made.distractor_masks).sum())
    (torch.Size([5, 1, 12, 12]), 0)
    """
    x, y = check_pairs(x, y)
    distractors = check_samples(distractors, "distractors")
    check_count(n_images, "n_images")
    check_count(size, "size")
    for name, images in (("x", x), ("distractors", distractors)):
        if images.ndim != 4 or images.shape[1] != x.shape[1] or 2 * max(images.shape[2:]) > size:
            raise InvalidInputError(
                f"{name} of shape {tuple(images.shape)} must be images of {x.shape[1]} channels, at most half as high "
                f"and wide as the canvas of {size}; pass a larger size="
            )
    source = as_generator(generator)
    canvas = x.new_zeros(n_images, x.shape[1], size, size)
    chosen = [torch.randint(len(images), (n_images,), generator=source) for images in (x, distractors)]
    boxes = torch.zeros(2, n_images, 4, dtype=torch.long)
    for index in range(n_images):
        crops = [_cropped(images[some[index]]) for images, some in zip((x, distractors), chosen, strict=True)]
        placed = _places([tuple(crop.shape[1:]) for crop in crops], size, source)
        for which, (crop, (top, left)) in enumerate(zip(crops, placed, strict=True)):
            bottom, right = top + crop.shape[1], left + crop.shape[2]
            canvas[index, :, top:bottom, left:right] = crop
            boxes[which, index] = torch.tensor([top, left, bottom, right])
    return LocalizationSet(canvas, y[chosen[0].to(y.device)].reshape(-1), boxes[0], boxes[1], chosen[1])


def _cropped(image: Tensor) -> Tensor:
    drawn = image.ne(0).any(0)
    if not drawn.any():
        raise InvalidInputError("an object has no pixel above zero; leave empty images out")
    rows, columns = drawn.any(1).nonzero()[:, 0], drawn.any(0).nonzero()[:, 0]
    return image[:, int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1]


def _places(sizes: list[tuple[int, ...]], size: int, source: torch.Generator) -> list[tuple[int, int]]:
    """Draw the corners of two boxes until they do not overlap; at half the canvas, some places always do."""
    (h1, w1), (h2, w2) = sizes
    while True:
        top1, left1, top2, left2 = (
            int(torch.randint(size - length + 1, (), generator=source)) for length in (h1, w1, h2, w2)
        )
        if top1 + h1 <= top2 or top2 + h2 <= top1 or left1 + w1 <= left2 or left2 + w2 <= left1:
            return [(top1, left1), (top2, left2)]


def pointing_hits(saliency: Float[Tensor, "n 1 h w"], masks: Bool[Tensor, "n 1 h w"]) -> Bool[Tensor, " n"]:
    """Tell of which images the largest value of the map lies on the object: the pointing game.

    Of several largest values the first counts; a constant map is a miss.

    Args:
        saliency: Maps at the size of the images.
        masks: Pixels of the object.

    Raises:
        InvalidInputError: The shapes differ.

    Source: Zhang et al., Top-down Neural Attention by Excitation Backprop (2016), section 4.1, the pointing game,
    without a tolerance.

    >>> pointing_hits(torch.tensor([[[[0.1, 0.9]]]]), torch.tensor([[[[False, True]]]])).tolist()
    [True]
    """
    flat, inside = _paired(saliency, masks)
    hits = inside.gather(1, flat.argmax(1, keepdim=True))[:, 0]
    return hits & (flat.amax(1) > flat.amin(1))


def energy_in_box(saliency: Float[Tensor, "n 1 h w"], masks: Bool[Tensor, "n 1 h w"]) -> Float[Tensor, " n"]:
    """Compute the share of a map's sum that lies on the object; 0 for a map of zeros.

    Args:
        saliency: Maps without negative values, at the size of the images.
        masks: Pixels of the object.

    Raises:
        InvalidInputError: The shapes differ, or a value is negative.

    Source: Wang et al., Score-CAM (2020), section 4.3, the energy-based pointing game.

    >>> energy_in_box(torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[[[False, True]]]])).tolist()
    [0.75]
    """
    flat, inside = _paired(saliency, masks)
    if (flat < 0).any():
        raise InvalidInputError("saliency has negative values, which are no energy; use upsample_saliency first")
    total = flat.sum(1)
    return (flat * inside).sum(1) / torch.where(total > 0, total, 1.0)


def _paired(saliency: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    saliency = check_samples(saliency, "saliency")
    if saliency.shape != masks.shape:
        raise InvalidInputError(f"maps of shape {tuple(saliency.shape)} and masks of {tuple(masks.shape)} differ")
    return saliency.flatten(1), masks.flatten(1).to(saliency.device)
