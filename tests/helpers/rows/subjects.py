"""The networks that the battery's rows are tried on, and the samples that go with them."""

import copy

import torch
from torch import Tensor, nn

from assay.core import copy_network, seeded
from assay.nets import TwoLayerReLU, mlp


def classifier() -> nn.Module:
    """Three classes of four features, with a dropout layer that must not act."""
    first, *rest = mlp((4, 6, 3), generator=seeded(1))
    return nn.Sequential(first, *rest[:-1], nn.Dropout(0.5), rest[-1])


def relu_network() -> nn.Module:
    """Three classes of four features, and nothing but what the theory of reconstruction allows."""
    return mlp((4, 6, 3), bias="first", generator=seeded(1))


def one_output() -> nn.Module:
    """One score of four features, with biases in the hidden layer only."""
    return mlp((4, 6, 1), bias="first", generator=seeded(1))


def smooth_network() -> nn.Module:
    """Three classes of four features, without a kink."""
    first, _, last = mlp((4, 6, 3), generator=seeded(1))
    return nn.Sequential(first, nn.Tanh(), last)


def image_encoder() -> nn.Module:
    """Three features of images of 2 x 2 pixels."""
    return nn.Sequential(nn.Flatten(), *relu_network())


def two_layer() -> nn.Module:
    """One score of four features, from the network that theory is about."""
    return TwoLayerReLU(4, 12, generator=seeded(1))


def copy_of(model: nn.Module, source: torch.Generator) -> nn.Module:
    """Return a copy, for methods that build networks from a generator."""
    return copied(model)


@torch.inference_mode(False)  # a network of the caller's is made before
def copied(model: nn.Module) -> nn.Module:
    """Copy a network with its wrappers, or as the package does where `deepcopy` refuses, as with old weight norms."""
    try:
        with torch.inference_mode(False):  # a copy made inside could not be trained
            return copy.deepcopy(model)
    except RuntimeError:
        return copy_network(model)


class Tokens(nn.Module):
    """Turns numbers between 0 and 1 into one of three tokens, and leaves tokens as they are."""

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens."""
        return (3 * x).long() if x.is_floating_point() else x


def language_model() -> nn.Module:
    """Scores three tokens, with a dropout layer that must not act."""
    tokens, *rest = language_model_without_dropout()
    return nn.Sequential(tokens, nn.Dropout(0.5), *rest)


def language_model_without_dropout() -> nn.Module:
    """Scores three tokens, by an embedding, a stack of one block, and a head."""
    source = seeded(1)
    table = nn.Embedding.from_pretrained(torch.randn(3, 6, generator=source), freeze=False)
    first, activation, last = mlp((6, 6, 3), generator=source)
    return nn.Sequential(nn.Sequential(Tokens(), table), nn.Sequential(first, activation), last)


def subject(row, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, Tensor, Tensor]:
    """Build a row's network in training mode with gradients on it and its first parameter frozen, and seven samples."""
    model = row.model().to(dtype).train()
    x = torch.rand(7, 4, generator=seeded(0), dtype=torch.float64).to(dtype)
    for index, parameter in enumerate(model.parameters()):
        parameter.grad = torch.full_like(parameter, index)
    next(iter(model.parameters())).requires_grad_(False)
    return model, x, torch.arange(7) % 3
