"""What a row of the battery is, and the networks that rows are tried on."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from assay.nets import TwoLayerReLU, mlp

Answer = dict[str, Tensor]


def classifier() -> nn.Module:
    """Three classes of four features, with a dropout layer that must not act."""
    first, *rest = mlp((4, 6, 3), generator=torch.Generator().manual_seed(1))
    return nn.Sequential(first, *rest[:-1], nn.Dropout(0.5), rest[-1])


def relu_network() -> nn.Module:
    """Three classes of four features, and nothing but what the theory of reconstruction allows."""
    return mlp((4, 6, 3), bias="first", generator=torch.Generator().manual_seed(1))


def image_encoder() -> nn.Module:
    """Three features of images of 2 x 2 pixels."""
    return nn.Sequential(nn.Flatten(), *relu_network())


def two_layer() -> nn.Module:
    """One score of four features, from the network that theory is about."""
    return TwoLayerReLU(4, 12, generator=torch.Generator().manual_seed(1))


class Tokens(nn.Module):
    """Turns what lies between 0 and 1 to one of three tokens, and leaves tokens as they are."""

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens."""
        return (3 * x).long() if x.is_floating_point() else x


def language_model() -> nn.Module:
    """Scores three tokens, with a dropout layer that must not act."""
    source = torch.Generator().manual_seed(1)
    table = nn.Embedding.from_pretrained(torch.randn(3, 6, generator=source), freeze=False)
    return nn.Sequential(Tokens(), table, nn.Dropout(0.5), *mlp((6, 6, 3), generator=source))


@dataclass(frozen=True)
class Row:
    """One method and how to try it.

    Attributes:
        name: What the tests are called.
        run: `run(model, x, y, generator, **options) -> named tensors`.
        model: Builds the network, in float32.
        needs_data: Whether the method reads samples; a method of the weights alone has no batch to vary.
        batch_option: Name of the option that bounds how many samples are worked on at once.
        tolerance: How far float32 may be from float64, relative to the largest entry.
    """

    name: str
    run: Callable[..., Answer]
    model: Callable[[], nn.Module] = classifier
    needs_data: bool = True
    batch_option: str | None = None
    tolerance: float = 1e-4
