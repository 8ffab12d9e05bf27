"""Residual network for small images (He, Zhang, Ren and Sun, 2016, section 4.2)."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils import skip_init

from assay.core import InvalidInputError, as_generator, check_count
from assay.nets.initialization import new_layer

WIDTHS = (16, 32, 64)


class CifarResNet(nn.Module):
    r"""Classify small images by 6n + 2 layers: a convolution, three stages of n residual blocks, one dense layer.

    The stages have 16, 32 and 64 channels; the second and third begin by halving the image. Where the shape changes,
    the shortcut takes every second pixel and pads the channels with zeros (the paper's option A), without weights.
    Depths 20, 32, 44 and 56 are the paper's. Inputs are normalised images: put `Normalize` in front.

    Args:
        depth: Layers, 6n + 2 with n of at least 1.
        n_classes: Outputs.
        n_channels: Channels of an image.
        generator: Source of the initial weights; a fixed seed by default.

    Raises:
        InvalidInputError: The depth is not 6n + 2, or a number is below 1.

    Source: He, Zhang, Ren, Sun, "Deep residual learning for image recognition" (2016), section 4.2.

    >>> CifarResNet(20)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self, depth: int, n_classes: int = 10, *, n_channels: int = 3, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 2, 6)
        if rest or blocks < 1:
            raise InvalidInputError(f"depth must be 6n + 2 with n >= 1, such as 20, 32, 44 or 56, got {depth}")
        check_count(n_classes, "n_classes")
        check_count(n_channels, "n_channels")
        generator = as_generator(generator)
        self.conv1 = _convolution(n_channels, WIDTHS[0], 1, generator)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.relu = nn.ReLU()
        n_in, stages = WIDTHS[0], []
        for n_out in WIDTHS:
            widths = [(n_in, n_out), *[(n_out, n_out)] * (blocks - 1)]
            stages.append(nn.Sequential(*[_Block(*pair, generator) for pair in widths]))
            n_in = n_out
        self.layer1, self.layer2, self.layer3 = stages
        self.linear = new_layer(nn.Linear, n_in, n_classes, generator=generator)

    def forward(self, x: Float[Tensor, "n channels h w"]) -> Float[Tensor, "n c"]:
        """Return one score a class."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


class Normalize(nn.Module):
    r"""Subtract a mean from each channel and divide by a deviation: $(x - \mu) / \sigma$.

    `nn.Sequential(Normalize(...), network)` takes inputs in their own units, in which an attack's radius and range are
    stated.

    Args:
        mean: One number a channel.
        std: One number a channel, above zero.

    Raises:
        InvalidInputError: The two differ in length, or a deviation is not positive.

    >>> Normalize((0.5,), (0.25,))(torch.ones(1, 1, 1, 1)).item()
    2.0
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        if len(mean) != len(std) or min(std, default=0.0) <= 0:
            raise InvalidInputError(f"give one mean and one positive deviation a channel, got {mean} and {std}")
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, x: Float[Tensor, "n channels h w"]) -> Float[Tensor, "n channels h w"]:
        """Return the normalised images."""
        return (x - self.mean) / self.std


class _Block(nn.Module):
    """Two convolutions beside a shortcut. Each ReLU is a separate module, so that hooks tell them apart."""

    def __init__(self, n_in: int, n_out: int, generator: torch.Generator) -> None:
        super().__init__()
        self.stride, self.added = (1, 0) if n_in == n_out else (2, (n_out - n_in) // 2)
        self.conv1, self.bn1 = _convolution(n_in, n_out, self.stride, generator), nn.BatchNorm2d(n_out)
        self.relu1 = nn.ReLU()
        self.conv2, self.bn2 = _convolution(n_out, n_out, 1, generator), nn.BatchNorm2d(n_out)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        inside = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        around = pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.added, self.added))
        return self.relu2(inside + around)


def _convolution(n_in: int, n_out: int, stride: int, generator: torch.Generator) -> nn.Conv2d:
    """Build a 3 x 3 convolution with He's normal initialisation, which batch normalisation makes bias-free."""
    layer: Any = skip_init(nn.Conv2d, n_in, n_out, 3, stride=stride, padding=1, bias=False)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
    return layer
