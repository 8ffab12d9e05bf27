"""Networks with fewer degrees of freedom: a random subspace of the weights, and quantised weights."""

from operator import attrgetter

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import parametrize

from assay.core import (
    InvalidInputError,
    Parameters,
    as_generator,
    check_count,
    check_model,
    copy_network,
    flatten,
    named_parameters,
    unflatten,
)


class SubspaceNetwork(nn.Module):
    r"""Train a network in a random subspace of its weights: $\theta = \theta_0 + P v$, of which only v is trained.

    P has k random columns of norm one; v starts at zero, where the network is the one that is given.

    Cost: memory O(p k) for P; a forward pass costs O(p k) more than the network's.

    Args:
        network: Network whose weights are the origin; it is copied. Its trainable parameters must be of one type.
        dimension: Columns k of P.
        generator: Source of P; a fixed seed by default.

    Raises:
        InvalidInputError: There are more columns than trainable parameters, or types are mixed.

    Source: Shwartz-Ziv et al., "Just How Flexible are Neural Networks in Practice?" (2024), main text, on subspace
    training. Unit-norm Gaussian columns are those of Li et al., "Measuring the Intrinsic Dimension of Objective
    Landscapes" (2018), section 2.

    >>> small = SubspaceNetwork(nn.Linear(4, 2), 3)
    >>> sum(value.numel() for value in small.parameters() if value.requires_grad)
    3
    """

    basis: Tensor

    def __init__(self, network: nn.Module, dimension: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        check_model(network)
        check_count(dimension, "dimension")
        own = copy_network(network)
        moved = named_parameters(own, params="trainable")
        if len({value.dtype for value in moved.values()}) > 1:
            raise InvalidInputError("the trainable parameters have several types; convert the network with .float()")
        origin = flatten(moved).detach()
        if dimension > len(origin):
            raise InvalidInputError(
                f"a subspace of {dimension} dimensions does not fit into {len(origin)} trainable parameters; take fewer"
            )
        drawn = torch.randn(len(origin), dimension, generator=as_generator(generator), dtype=torch.float64)
        self.network = own.requires_grad_(False)
        self.register_buffer("basis", (drawn / drawn.norm(dim=0)).to(origin))
        self.coordinates = nn.Parameter(torch.zeros(dimension, dtype=origin.dtype, device=origin.device))
        self._names = tuple(moved)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs at the weights that the coordinates give."""
        return functional_call(self.network, unflatten(self.weights(), self._origin()), (x,))

    def weights(self) -> Float[Tensor, " p"]:
        """Return the weights of the network, as one vector."""
        return flatten(self._origin()) + self.basis @ self.coordinates

    def _origin(self) -> Parameters:
        # By getattr: in `functional_call` a parameter is a plain tensor, which get_parameter refuses.
        return {name: attrgetter(name)(self.network) for name in self._names}


class _Rounding(nn.Module):
    """Rounding to equally spaced levels, with the gradient of the identity (the straight-through estimator)."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.n_steps = 2**bits - 1

    def forward(self, weight: Tensor) -> Tensor:
        """Return the nearest of the levels between minus and plus the largest absolute entry."""
        reach = weight.detach().abs().max().clamp_min(torch.finfo(weight.dtype).tiny)
        step = 2 * reach / self.n_steps
        rounded = ((weight.detach() + reach) / step).round() * step - reach
        return weight + (rounded - weight).detach()


def quantized_network(network: nn.Module, bits: int) -> nn.Module:
    r"""Return a copy of a network whose trainable weights are rounded to $2^b$ levels, and train through the rounding.

    Each tensor w is replaced by its nearest of $2^b$ equally spaced levels between $-\max|w|$ and $\max|w|$; gradients
    pass the rounding unchanged. Divide a complexity by bits times parameters for the samples that a bit fits.

    Args:
        network: Network to be copied.
        bits: Bits b of a weight, from 1 to 16.

    Returns:
        The copy, whose parameters are the weights before rounding.

    Raises:
        InvalidInputError: The number of bits is out of range, or the network has no trainable parameters.

    Cost: O(p) a forward pass.

    Source: Shwartz-Ziv et al., "Just How Flexible are Neural Networks in Practice?" (2024), main text, on quantised
    networks. The straight-through gradient is that of Bengio, Léonard and Courville, "Estimating or Propagating
    Gradients Through Stochastic Neurons for Conditional Computation" (2013), section 3.

    >>> quantized_network(nn.Linear(50, 1), 2).weight.unique().numel()
    4
    """
    check_model(network)
    check_count(bits, "bits")
    if bits > 16:
        raise InvalidInputError(f"bits must be at most 16, got {bits}; that many levels are beyond float32's rounding")
    copied = copy_network(network)
    places = [
        (module, name)
        for module in copied.modules()
        for name, value in module.named_parameters(recurse=False)
        if value.requires_grad
    ]
    if not places:
        raise InvalidInputError("every parameter of the network is frozen; set requires_grad on those to be trained")
    for module, name in places:
        parametrize.register_parametrization(module, name, _Rounding(bits))
    return copied
