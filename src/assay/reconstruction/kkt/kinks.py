"""Surrogate gradients for piecewise linear activations other than ReLU, after that for ReLU (Haim et al., 2022)."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from assay.core import InvalidInputError, check_positive

KINKED = (nn.LeakyReLU, nn.PReLU, nn.Hardtanh)  # ReLU6 is a Hardtanh
"""Activations with a surrogate derivative beside ReLU."""

UNKNOWN_KINKS = (nn.RReLU, nn.SELU, nn.Hardswish, nn.Hardsigmoid, nn.Threshold, nn.Hardshrink, nn.Softshrink)
"""Activations with a kink or a jump that have none."""

UNKNOWN_CALLS = ("rrelu", "selu", "hardswish", "hardsigmoid", "threshold", "hardshrink", "softshrink")
"""Functions of these."""

SMOOTH_CALLS = (
    *("gelu", "silu", "mish", "elu", "celu", "glu", "softplus", "softsign"),
    *("tanh", "tanhshrink", "sigmoid", "logsigmoid"),
)
"""Functions that need no surrogate: their derivative has one itself."""

_Slopes = tuple[Tensor | float, Sequence[tuple[float, Tensor | float]]]
"""Slope below all kinks, and place and change of slope of each."""


class SurrogateKinks(nn.Module):
    r"""Compute a piecewise linear activation with sigmoids in place of the jumps of its derivative.

    With the slope a below all kinks, and at the kink $t_k$ the change $b_k$ of the slope, the derivative is

    $$a + \sum_k b_k s(\alpha (z - t_k)),$$

    s the logistic sigmoid. LeakyReLU and PReLU have one kink, ReLU6 and Hardtanh two. The slope of PReLU is a weight:
    its derivative is the matching smooth one, $-\log(1 + e^{-\alpha z}) / \alpha$ for $\min(z, 0)$.

    Args:
        activation: An `nn.LeakyReLU`, `nn.PReLU`, `nn.ReLU6` or `nn.Hardtanh`.
        alpha: Sharpness of the gates; it can be changed through the attribute `alpha`.

    Raises:
        InvalidInputError: The activation is another, or `alpha` is not positive.

    Source: Haim et al., Reconstructing Training Data from Trained Neural Networks (2022), appendix with the
    implementation details (modified ReLU), for one kink between the slopes 0 and 1; the others are ours.

    >>> SurrogateKinks(nn.LeakyReLU(0.5), 10.0)(torch.tensor([-1.0, 2.0]))
    tensor([-0.5000,  2.0000])
    """

    alpha: Tensor

    def __init__(self, activation: nn.Module, alpha: float = 100.0) -> None:
        super().__init__()
        check_positive(alpha, "alpha")
        if not isinstance(activation, KINKED):
            raise InvalidInputError(
                f"activation must be an nn.LeakyReLU, nn.PReLU, nn.ReLU6 or nn.Hardtanh, got "
                f"{type(activation).__name__}; SurrogateReLU is for nn.ReLU"
            )
        self.activation = activation
        self.register_buffer("alpha", torch.tensor(float(alpha)), persistent=False)

    def forward(self, z: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """Apply the activation to pre-activations."""
        layer = self.activation
        if isinstance(layer, nn.LeakyReLU):
            return surrogate_call("leaky_relu", self.alpha, z, layer.negative_slope)
        if isinstance(layer, nn.PReLU):
            return surrogate_call("prelu", self.alpha, z, layer.weight)
        return surrogate_call("hardtanh", self.alpha, z, layer.min_val, layer.max_val)

    def extra_repr(self) -> str:
        """Show the sharpness."""
        return f"alpha={self.alpha.item():g}"


def surrogate_call(name: str, alpha: Tensor, *args: Any, **options: Any) -> Tensor:
    """Call an activation by the name and with the arguments of `nn.functional`, with its surrogate derivative.

    >>> surrogate_call("relu6", torch.tensor(5.0), torch.tensor([-1.0, 3.0, 7.0]))
    tensor([0., 3., 6.])
    """
    options.pop("inplace", None)  # the result alone counts
    z, value, (slope, kinks) = KINKED_CALLS[name](*args, **options)
    smooth = slope * z
    for place, change in kinks:
        smooth = smooth - change * nn.functional.logsigmoid(alpha * (place - z)) / alpha
    return value.detach() + (smooth - smooth.detach())  # the second part is zero: it has the derivative


def _leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> tuple[Tensor, Tensor, _Slopes]:
    value = nn.functional.leaky_relu(input, negative_slope)
    return input, value, (negative_slope, [(0.0, 1 - negative_slope)])


def _prelu(input: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, _Slopes]:
    slope = weight.reshape(-1, *[1] * (input.ndim - 2)) if input.ndim > 1 else weight
    return input, nn.functional.prelu(input, weight), (slope, [(0.0, 1 - slope)])


def _relu6(input: Tensor, inplace: bool = False) -> tuple[Tensor, Tensor, _Slopes]:
    return _hardtanh(input, 0.0, 6.0)


def _hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> tuple[Tensor, Tensor, _Slopes]:
    value = nn.functional.hardtanh(input, min_val, max_val)
    return input, value, (0.0, [(min_val, 1.0), (max_val, -1.0)])


KINKED_CALLS: dict[str, Callable[..., tuple[Tensor, Tensor, _Slopes]]] = {
    "leaky_relu": _leaky_relu,
    "prelu": _prelu,
    "relu6": _relu6,
    "hardtanh": _hardtanh,
}
"""Input, value and slopes of each activation, given its arguments."""
