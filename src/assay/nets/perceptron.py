"""Fully connected ReLU network."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import nn

from assay.core import InvalidInputError, as_generator, check_choice, check_count, check_positive
from assay.nets.initialization import new_layer


def mlp(
    widths: Sequence[int],
    *,
    bias: Literal["all", "first", "none"] = "all",
    first_layer_std: float | None = None,
    generator: torch.Generator | None = None,
) -> nn.Sequential:
    r"""Build a fully connected ReLU network for flat inputs.

    $f(x) = W_L\,\sigma(W_{L-1} \cdots \sigma(W_1 x + b_1) \cdots + b_{L-1}) + b_L$ with $\sigma(z) = \max(z, 0)$.

    With biases in the first layer only, or in none, the network is homogeneous in its parameters, as the theory of
    reconstruction requires. For images, put an `nn.Flatten` in front:
    `nn.Sequential(nn.Flatten(), *mlp(widths))`.

    Args:
        widths: Input features, units of each hidden layer, outputs: `(784, 500, 10)`.
        bias: Which layers have a bias.
        first_layer_std: Standard deviation of the first layer's normally distributed weight and bias; PyTorch's
            default initialisation when None. Buzaglo et al. (2023) take `1e-4`.
        generator: Source of the initial weights; a fixed seed by default.

    Returns:
        Alternating `nn.Linear` and `nn.ReLU`, ending with `nn.Linear`.

    Raises:
        InvalidInputError: There are fewer than two widths, one is below 1, or `bias` is not one of the three.

    >>> mlp((4, 8, 3))(torch.zeros(2, 4)).shape
    torch.Size([2, 3])
    """
    if len(widths) < 2:
        raise InvalidInputError(f"widths must hold at least two sizes (inputs, ..., outputs), got {widths}")
    for width in widths:
        check_count(width, "each size in widths")
    check_choice(bias, ("all", "first", "none"), "bias")
    if first_layer_std is not None:
        check_positive(first_layer_std, "first_layer_std")
    generator = as_generator(generator)
    layers: list[nn.Module] = []
    for index, (n_in, n_out) in enumerate(pairwise(widths)):
        with_bias = bias == "all" or (bias == "first" and index == 0)
        layers += [new_layer(nn.Linear, n_in, n_out, bias=with_bias, generator=generator), nn.ReLU()]
    if first_layer_std is not None:
        for parameter in layers[0].parameters():
            nn.init.normal_(parameter, std=first_layer_std, generator=generator)
    return nn.Sequential(*layers[:-1])
