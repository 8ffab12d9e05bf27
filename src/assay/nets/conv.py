"""Small convolution networks (Wong and Kolter, 2018; Zhao, Mopuri and Bilen, 2021)."""

from collections.abc import Sequence

import torch
from torch import nn

from assay.core import InvalidInputError, as_generator, check_count
from assay.nets.initialization import new_layer


def small_conv(
    input_shape: tuple[int, int, int],
    n_classes: int,
    *,
    channels: Sequence[int] = (16, 32),
    hidden: int = 100,
    generator: torch.Generator | None = None,
) -> nn.Sequential:
    """Build a network of strided 4 x 4 convolutions and two dense layers with ReLU between them.

    Every convolution halves height and width. The literature on certified robustness trains the network of the
    defaults on MNIST and Fashion-MNIST.

    Args:
        input_shape: Channels, height and width of one image.
        n_classes: Outputs.
        channels: Output channels of each convolution.
        hidden: Units of the hidden dense layer.
        generator: Source of the initial weights; a fixed seed by default.

    Returns:
        A flat `nn.Sequential` that ends with the dense output layer.

    Raises:
        InvalidInputError: A size is below 1, or the image is too small to be halved that often.

    Source: Wong and Kolter, "Provable Defenses against Adversarial Examples via the Convex Outer Adversarial Polytope"
    (2018), section on experiments, the network for MNIST.

    >>> small_conv((1, 28, 28), 10)(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    _check_sizes(input_shape, n_classes, channels)
    check_count(hidden, "hidden")
    n_in, height, width = input_shape
    generator = as_generator(generator)
    layers: list[nn.Module] = []
    for n_out in channels:
        convolution = new_layer(nn.Conv2d, n_in, n_out, 4, stride=2, padding=1, generator=generator)
        layers += [convolution, nn.ReLU()]
        n_in, height, width = n_out, height // 2, width // 2
    dense = new_layer(nn.Linear, n_in * height * width, hidden, generator=generator)
    return nn.Sequential(
        *layers, nn.Flatten(), dense, nn.ReLU(), new_layer(nn.Linear, hidden, n_classes, generator=generator)
    )


def normalized_conv(
    input_shape: tuple[int, int, int],
    n_classes: int,
    *,
    channels: Sequence[int] = (128, 128, 128),
    generator: torch.Generator | None = None,
) -> nn.Sequential:
    """Build blocks of 3 x 3 convolution, instance normalisation, ReLU and 2 x 2 average pooling, and a dense layer.

    Unlike with batch normalisation, samples do not interact.

    Args:
        input_shape: Channels, height and width of one image.
        n_classes: Outputs.
        channels: Output channels of each block.
        generator: Source of the initial weights; a fixed seed by default.

    Returns:
        A flat `nn.Sequential` that ends with the dense output layer.

    Raises:
        InvalidInputError: A size is below 1, or the last block would normalise less than 2 x 2 pixels.

    Source: Zhao, Mopuri and Bilen, "Dataset Condensation with Gradient Matching" (2021), section 3.1, "ConvNet".

    >>> normalized_conv((1, 28, 28), 10, channels=(8, 8))(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    _check_sizes(input_shape, n_classes, channels)
    n_in, height, width = input_shape
    generator = as_generator(generator)
    layers: list[nn.Module] = []
    for n_out in channels:
        convolution = new_layer(nn.Conv2d, n_in, n_out, 3, padding=1, generator=generator)
        layers += [convolution, nn.InstanceNorm2d(n_out, affine=True), nn.ReLU(), nn.AvgPool2d(2)]
        n_in, height, width = n_out, height // 2, width // 2
    return nn.Sequential(
        *layers, nn.Flatten(), new_layer(nn.Linear, n_in * height * width, n_classes, generator=generator)
    )


def _check_sizes(input_shape: tuple[int, int, int], n_classes: int, channels: Sequence[int]) -> None:
    for size in input_shape:
        check_count(size, "each size in input_shape")
    for size in channels:
        check_count(size, "each size in channels")
    check_count(n_classes, "n_classes")
    _, height, width = input_shape
    if min(height, width) < 2 ** len(channels):
        raise InvalidInputError(
            f"an image of {height} x {width} pixels cannot be halved {len(channels)} times; give fewer channels"
        )
