r"""Second-order backpropagation through a chain of dense layers, in closed form.

A dense layer computes $a_l = W a_{l-1} + b$, a gate $a_l = \max(a_{l-1}, 0)$ with the derivative $s = \sigma(\alpha
a_{l-1})$. Backpropagation gives every layer a signal $g_l$; the gradients are $\sum_i g_l a_{l-1}^\top$ and $\sum_i
g_l$. Two more passes differentiate their inner product with a direction (R, r) in the weights:

- forward, $t_l = W t_{l-1} + R a_{l-1} + r$, and $t_l = s \odot t_{l-1}$ in a gate; the last $t_l$ is the derivative
  in the cotangents of the outputs;
- backward, $h_{l-1} = W^\top h_l + R^\top g_l$, and $h_{l-1} = s \odot h_l + \alpha s (1 - s) \odot t_{l-1} \odot g_l$
  in a gate; $h_0$ is the derivative in the inputs.

`torch.autograd`, applied twice, gives the same derivatives more slowly.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from assay.core import Parameters
from assay.reconstruction.kkt.surrogate import SurrogateReLU


def is_chain(model: nn.Module) -> bool:
    """Tell whether a network consists of dense layers with `SurrogateReLU` gates between them.

    >>> is_chain(nn.Sequential(nn.Linear(2, 3), SurrogateReLU(), nn.Linear(3, 1)))
    True
    """
    if not isinstance(model, nn.Sequential) or len(model) == 0:
        return False
    known = all(isinstance(layer, (nn.Linear, SurrogateReLU)) for layer in model)
    return known and isinstance(model[0], nn.Linear) and isinstance(model[-1], nn.Linear)


class Chain:
    """Compute outputs, gradients and their derivative for r sets of m inputs; call each method once, in this order.

    Args:
        model: Chain of dense layers, as `is_chain` tells.
        weights: Values of its parameters, by name.
    """

    def __init__(self, model: nn.Module, weights: Parameters) -> None:
        like = next(iter(weights.values()))
        self.layers = [
            _Gate((layer.alpha * layer.scale).to(like))
            if isinstance(layer, SurrogateReLU)
            else _Dense(weights[f"{name}.weight"], weights.get(f"{name}.bias"))
            for name, layer in model.named_children()
        ]

    def outputs(self, x: Float[Tensor, "r m d"]) -> Float[Tensor, "r m c"]:
        """Return the outputs."""
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def gradients(self, cotangents: Float[Tensor, "r m c"]) -> list[Tensor]:
        """Return the sum of gradients in the weights over each set, by parameter."""
        signal = cotangents
        for layer in reversed(self.layers):
            layer.signal = signal
            if layer is not self.layers[0]:
                signal = layer.back(signal)
        return [total for layer in self.layers for total in layer.totals()]

    def derivative(self, direction: Sequence[Tensor]) -> tuple[Float[Tensor, "r m d"], Float[Tensor, "r m c"]]:
        """Differentiate the inner product of `gradients` with a direction, in the inputs and in the cotangents."""
        parts = iter(direction)
        along: Any = None  # inputs do not depend on the weights, and no layer follows the last
        slope: Any = None
        for layer in self.layers:
            along = layer.along(along, parts)
        for layer in reversed(self.layers):
            slope = layer.slope(slope)
        return slope, along


class _Dense:
    """A dense layer; `direction` has one matrix per set."""

    def __init__(self, weight: Float[Tensor, "h d"], bias: Float[Tensor, " h"] | None) -> None:
        self.weight, self.bias = weight, bias
        self.inputs = self.signal = self.direction = weight

    def forward(self, x: Tensor) -> Tensor:
        self.inputs = x
        return nn.functional.linear(x, self.weight, self.bias)

    def back(self, signal: Tensor) -> Tensor:
        return signal @ self.weight

    def totals(self) -> list[Tensor]:
        weight = self.signal.mT @ self.inputs
        return [weight] if self.bias is None else [weight, self.signal.sum(1)]

    def along(self, before: Tensor | None, parts: Iterator[Tensor]) -> Tensor:
        self.direction = next(parts)
        moved = self.inputs @ self.direction.mT
        if self.bias is not None:
            moved += next(parts)[:, None]
        return moved if before is None else moved.add_(before @ self.weight.T)

    def slope(self, after: Tensor | None) -> Tensor:
        own = self.signal @ self.direction
        return own if after is None else own.add_(after @ self.weight)


class _Gate:
    """A gate, without weights."""

    def __init__(self, sharpness: Float[Tensor, " h"]) -> None:
        self.sharpness = self.open = self.signal = self.moved = sharpness

    def forward(self, x: Tensor) -> Tensor:
        self.open = (x * self.sharpness).sigmoid_()
        return x.relu()

    def back(self, signal: Tensor) -> Tensor:
        return signal * self.open

    def totals(self) -> list[Tensor]:
        return []

    def along(self, before: Tensor, parts: Iterator[Tensor]) -> Tensor:
        self.moved = before
        return before * self.open

    def slope(self, after: Tensor) -> Tensor:
        opening = (1 - self.open).mul_(self.sharpness).mul_(self.moved).mul_(self.signal)
        return opening.add_(after).mul_(self.open)
