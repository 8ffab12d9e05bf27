"""Pictures for findings: samples as small PNGs, matplotlib figures as SVG."""

import io
import textwrap
from collections.abc import Callable

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from PIL import Image
from torch import Tensor

from assay.audit.probe import Picture
from assay.lab.figures import encode_figure, house_style


def is_image(shape: tuple[int, ...]) -> bool:
    """Return whether samples of this shape can be shown: one or three channels, more than one pixel each way.

    >>> is_image((1, 28, 28)), is_image((784,))
    (True, False)
    """
    return len(shape) == 3 and shape[0] in (1, 3) and min(shape[1:]) > 1


def sample_picture(name: str, sample: Float[Tensor, "channels h w"], alt: str) -> Picture:
    """Encode a sample as PNG, one pixel for each entry; values are clipped to [0, 1]."""
    levels = (sample.detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
    array = levels.permute(1, 2, 0).squeeze(2) if len(levels) == 1 else levels.permute(1, 2, 0)
    file = io.BytesIO()
    Image.fromarray(array.numpy()).save(file, format="PNG", optimize=True)
    return Picture(name=name, data=file.getvalue(), format="png", alt=alt)


def stretch(sample: Tensor) -> Tensor:
    """Spread the values over [0, 1]; a constant sample becomes grey.

    >>> stretch(torch.tensor([2.0, 3.0, 4.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    low, high = sample.min(), sample.max()
    return (sample - low) / (high - low) if high > low else torch.full_like(sample, 0.5)


_SIZE = (4.0, 2.9)  # inches: text of ten points can then be read on a phone
_LONGEST = 44, 36  # characters of a line beside the horizontal and the vertical axis


def plot_picture(name: str, draw: Callable[[Axes], object], alt: str) -> Picture:
    """Encode a drawing on matplotlib axes, in the style of all figures and small enough for a phone."""
    with house_style():
        canvas = Canvas(figsize=_SIZE)
        axes = canvas.add_subplot()
        draw(axes)
        axes.set_xlabel(textwrap.fill(axes.get_xlabel(), _LONGEST[0]))
        axes.set_ylabel(textwrap.fill(axes.get_ylabel(), _LONGEST[1]))
        encoded = encode_figure(canvas)
    return Picture(name=name, data=encoded.content, format="svg" if encoded.suffix == ".svg" else "png", alt=alt)
