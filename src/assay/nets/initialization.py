"""PyTorch's default initialisation, drawn from an explicit generator."""

import math
from typing import Any

import torch
from torch import nn
from torch.nn.utils import skip_init


def new_layer(
    kind: type[nn.Linear] | type[nn.Conv2d], *arguments: int, generator: torch.Generator, **options: Any
) -> nn.Module:
    r"""Build a linear or convolution layer without touching the global random state.

    Weight and bias are uniform on $[-1/\sqrt{k}, 1/\sqrt{k}]$ with k the inputs of one output, as in `nn.Linear` and
    `nn.Conv2d`.
    """
    layer: Any = skip_init(kind, *arguments, **options)
    bound = 1 / math.sqrt(layer.weight[0].numel())
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -bound, bound, generator=generator)
    return layer
