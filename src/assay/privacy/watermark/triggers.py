"""Trigger sets of watermarks: text overlay, noise and unrelated images (Bansal et al., 2022)."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from assay.core import InvalidInputError, as_generator, check_count, check_labels, check_logits, check_samples


@dataclass(frozen=True, eq=False)
class TriggerSet:
    """Hold the samples of a watermark, all labelled with one class.

    The three constructors are the watermark schemes of the paper; other samples can be given directly.

    Args:
        x: The trigger samples, as inputs of the network; integers for a network that reads tokens.
        label: The class. Paper's code: 4.

    Raises:
        InvalidInputError: The samples are empty or not finite, or the label is negative.

    Source: Bansal, Chiang, Curry, Jain, Wigington, Manjunatha, Dickerson, Goldstein, "Certified Neural Network
    Watermarks with Randomized Smoothing" (2022), arXiv 2207.07972, main text (watermark schemes; the trigger set of
    algorithm 1).

    >>> TriggerSet(torch.rand(3, 1, 8, 8), label=4).y.tolist()
    [4, 4, 4]
    """

    x: Shaped[Tensor, "n *d"]
    label: int = 4

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", check_samples(self.x, "the triggers' x", tokens=True))
        check_count(self.label, "label", at_least=0)

    @property
    def y(self) -> Int[Tensor, " n"]:
        """The label, once for each sample."""
        return torch.full((len(self.x),), self.label, dtype=torch.long, device=self.x.device)

    def check_fits(self, model: nn.Module) -> None:
        """Require a classifier with two or more outputs that accepts the triggers and has their class.

        Raises:
            InvalidInputError: The model does not fit.
        """
        check_labels(self.y, check_logits(model, self.x).shape[1], "the triggers' y")

    @classmethod
    def from_overlay(
        cls,
        x: Float[Tensor, "n ch h w"],
        *,
        label: int = 4,
        text: str = "TEST",
        size: int = 10,
        grey: float = 155 / 255,
    ) -> "TriggerSet":
        """Stamp a text on the top left corner of images, cut off at the image's edge.

        Args:
            x: Images.
            label: The class of all triggers.
            text: The stamped text.
            size: Size of the font, in pixels. Paper's code: 10.
            grey: Value of the stamped pixels. Paper's code: 155 of 255.

        Raises:
            InvalidInputError: The samples are no images, or the text leaves no pixel on them.

        Deviation from the released code: the font is Pillow's default, without anti-aliasing.

        >>> TriggerSet.from_overlay(torch.zeros(2, 1, 28, 28)).x.unique().mul(255).round().tolist()
        [0.0, 155.0]
        """
        x = _images(x)
        picture = Image.new("1", (x.shape[3], x.shape[2]))
        ImageDraw.Draw(picture).text((0, 0), text, fill=1, font=ImageFont.load_default(size))
        stamp = torch.from_numpy(np.array(picture)).to(x.device)
        if not stamp.any():
            raise InvalidInputError(f"the text {text!r} leaves no pixel on images of {x.shape[2]} x {x.shape[3]}")
        return cls(torch.where(stamp, grey, x), label)

    @classmethod
    def from_noise(
        cls,
        x: Float[Tensor, "n *d"],
        *,
        label: int = 4,
        input_range: tuple[float, float] = (0.0, 1.0),
        generator: torch.Generator | None = None,
    ) -> "TriggerSet":
        """Add the same standard normal noise to all samples, and clip them to the range.

        Args:
            x: Samples.
            label: The class of all triggers.
            input_range: Lowest and highest value of an input.
            generator: Source of the noise; a fixed seed by default.

        >>> TriggerSet.from_noise(torch.full((2, 1, 8, 8), 0.5)).x.diff(dim=0).count_nonzero().item()
        0
        """
        x = check_samples(x)
        source = as_generator(generator)
        noise = torch.randn(x.shape[1:], generator=source, device=source.device).to(x)
        return cls((x + noise).clamp(*input_range), label)

    @classmethod
    def from_unrelated(
        cls, x: Float[Tensor, "n _ _h _w"], *, shape: tuple[int, int, int], label: int = 4
    ) -> "TriggerSet":
        """Take images of another data set, resized to the network's channels and size.

        Args:
            x: The other data set's images, in the same range.
            shape: Channels, height and width of the network's inputs; grey images are the mean over the channels.
            label: The class of all triggers.

        Raises:
            InvalidInputError: The samples are no images, or `shape` is not three whole numbers of at least one.

        >>> TriggerSet.from_unrelated(torch.rand(2, 3, 32, 32), shape=(1, 28, 28)).x.shape
        torch.Size([2, 1, 28, 28])
        """
        x = _images(x)
        if len(shape) != 3:
            raise InvalidInputError(f"shape must be channels, height and width of the network's inputs, got {shape}")
        for size, name in zip(shape, ("channels", "height", "width"), strict=True):
            check_count(size, name)
        channels, height, width = shape
        if x.shape[1] != channels:
            x = x.mean(1, keepdim=True).expand(-1, channels, -1, -1)
        return cls(F.interpolate(x, size=(height, width), mode="bilinear", antialias=True).contiguous(), label)


def _images(x: Tensor) -> Float[Tensor, "n ch h w"]:
    x = check_samples(x)
    if x.ndim != 4:
        raise InvalidInputError(f"triggers are made of images of shape (n, channels, h, w), got {tuple(x.shape)}")
    return x
