"""Image priors: total variation and the deep image prior (Ulyanov et al., 2018)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assay.core import InvalidInputError
from assay.nets.initialization import new_layer


def total_variation(x: Tensor) -> Tensor:
    """Return the mean absolute difference of neighbouring pixels, summed over both directions; 0 for flat inputs.

    A direction with a single pixel has no neighbours and counts nothing.

    Raises:
        InvalidInputError: There is no sample.

    >>> total_variation(torch.eye(2)[None])
    tensor(2.)
    """
    if x.numel() == 0:
        raise InvalidInputError(f"x must be a non-empty batch of images, got shape {tuple(x.shape)}")
    total = x.new_zeros(())
    for axis in (-1, -2) if x.ndim > 2 else ():
        if x.shape[axis] > 1:
            total = total + x.diff(dim=axis).abs().mean()
    return total


class DeepImagePrior(nn.Module):
    """Generate an image in [0, 1] from fixed noise by a small convolutional hourglass with skip connections.

    Convolutions with random weights favour smooth, self-similar images: fitting the weights instead of the pixels acts
    as a prior without data.

    Args:
        shape: Channels, height and width of the image.
        generator: Source of the noise and of the initial weights.
        widths: Channels of each level; levels of fewer than four pixels in height or width are left out.

    Source: Ulyanov et al., Deep Image Prior (2018), equation of the parametrised image; the layers are ours.
    """

    def __init__(
        self, shape: tuple[int, int, int], *, generator: torch.Generator, widths: tuple[int, ...] = (16, 32, 64)
    ) -> None:
        super().__init__()
        side = min(shape[1:])
        widths = tuple(width for level, width in enumerate(widths) if level == 0 or side >> level >= 4)
        self.register_buffer("noise", torch.randn(1, widths[0], *shape[1:], generator=generator))
        self.body = _Level(widths[0], widths, generator)
        self.last = new_layer(nn.Conv2d, widths[0], shape[0], 1, generator=generator)

    def forward(self) -> Tensor:
        """Generate the image, as a batch of one."""
        return self.last(self.body(self.noise)).sigmoid()


class _Level(nn.Module):
    """One level of the hourglass: downsample, apply the inner level, upsample, and join the skip connection."""

    def __init__(self, n_in: int, widths: tuple[int, ...], generator: torch.Generator) -> None:
        super().__init__()
        width, deeper = widths[0], widths[1:]
        self.past = _convolution(n_in, width // 4, 1, generator)
        self.down = nn.Sequential(_convolution(n_in, width, 2, generator), _convolution(width, width, 1, generator))
        self.inner = _Level(width, deeper, generator) if deeper else nn.Identity()
        self.up = _convolution((deeper[0] if deeper else width) + width // 4, width, 1, generator)

    def forward(self, x: Tensor) -> Tensor:
        low = F.interpolate(self.inner(self.down(x)), size=x.shape[-2:], mode="bilinear")
        return self.up(torch.cat([low, self.past(x)], dim=1))


def _convolution(n_in: int, n_out: int, stride: int, generator: torch.Generator) -> nn.Sequential:
    """Return a 3 x 3 convolution with normalised, leaky outputs."""
    layer = new_layer(nn.Conv2d, n_in, n_out, 3, stride=stride, padding=1, generator=generator)
    return nn.Sequential(layer, nn.GroupNorm(1, n_out), nn.LeakyReLU(0.2))
