"""Multilayer perceptron whose weights are uniform on a finite set of levels (Buzaglo, Harel et al., 2024)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from assay.core import InvalidInputError, as_generator, check_count, check_samples


@dataclass(frozen=True)
class QuantizedMLP:
    r"""Describe a ReLU network with one output, and the uniform prior over its weights.

    $h_l = \sigma(W_l h_{l-1} + b_l)$ with every entry of $W_l$ and $b_l$ drawn uniformly from the levels; with scaled
    neurons $h_l = \sigma(\gamma_l \odot (W_l h_{l-1}) + b_l)$, the output layer excepted. The label is 1 where the
    output is above 0, else -1: a network that outputs exactly 0 says -1.

    Args:
        widths: Input features, units of each hidden layer, and 1: `(2, 3, 1)`.
        levels: Values of a weight, all different. Levels that are no binary fractions make outputs that ought to be 0
            round to either side.
        scaled_neurons: Give each hidden neuron a scale.

    Raises:
        InvalidInputError: A width is below 1, the last one is not 1, or there are not two different finite levels.

    Source: Buzaglo, Harel et al., How Uniform Random Weights Induce Non-uniform Bias (2024), main text, the quantised
    vanilla and scaled-neuron fully connected networks.

    >>> QuantizedMLP((2, 3, 1)).n_parameters
    13
    """

    widths: Sequence[int]
    levels: Sequence[float] = (-1.0, 0.0, 1.0)
    scaled_neurons: bool = False

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or self.widths[-1] != 1:
            raise InvalidInputError(
                f"widths must be those of the inputs, of hidden layers, and 1 for the output, got {self.widths}"
            )
        for width in self.widths:
            check_count(width, "each size in widths")
        distinct = len(set(self.levels)) == len(self.levels) > 1
        if not distinct or not all(math.isfinite(level) for level in self.levels):
            raise InvalidInputError(f"levels must be two or more different finite numbers, got {self.levels}")

    @property
    def n_parameters(self) -> int:
        """The number of weights, biases and scales."""
        return sum(math.prod(shape) for layer in self._layers() for shape in layer)

    def sample(
        self, n: int, generator: torch.Generator | None = None, *, dtype: torch.dtype = torch.float32
    ) -> Float[Tensor, "n p"]:
        """Draw the weights of n networks from the prior.

        Args:
            n: How many.
            generator: Source of the weights; a fixed seed by default.
            dtype: Type of the weights.

        Returns:
            The flat weights of each network: layer by layer, the weight matrix, the bias, the scales.
        """
        check_count(n, "n")
        digits = torch.randint(len(self.levels), (n, self.n_parameters), generator=as_generator(generator))
        return torch.tensor(self.levels, dtype=dtype)[digits]

    def forward_batch(self, parameters: Float[Tensor, "m p"], x: Float[Tensor, "n d"]) -> Float[Tensor, "m n"]:
        """Return the outputs of m networks on n inputs.

        Args:
            parameters: Flat weights of each network, as `sample` returns them.
            x: Inputs.

        Returns:
            One row a network.

        Raises:
            InvalidInputError: The inputs or the weights have another number of columns than the network.
        """
        self.check_inputs(x)
        if parameters.ndim != 2 or parameters.shape[1] != self.n_parameters:
            raise InvalidInputError(
                f"parameters must have {self.n_parameters} columns, one a weight, got shape "
                f"{tuple(parameters.shape)}; pass what `sample` returns"
            )
        hidden, start, layers = x.expand(len(parameters), *x.shape), 0, self._layers()
        for index, shapes in enumerate(layers):
            parts = []
            for shape in shapes:
                stop = start + math.prod(shape)
                parts.append(parameters[:, start:stop].to(x).unflatten(1, shape))
                start = stop
            weight, bias, *scale = parts
            hidden = torch.einsum("bij,bnj->bni", weight, hidden)
            if scale:
                hidden = hidden * scale[0][:, None]
            hidden = hidden + bias[:, None]
            if index < len(layers) - 1:
                hidden = hidden.relu()
        return hidden[..., 0]

    def check_inputs(self, x: Tensor) -> None:
        """Require a batch of inputs of this network.

        Raises:
            InvalidInputError: It is not.
        """
        check_samples(x)
        if x.ndim != 2 or x.shape[1] != self.widths[0]:
            raise InvalidInputError(
                f"x must have {self.widths[0]} features, the first of widths, got shape {tuple(x.shape)}"
            )

    def _layers(self) -> list[tuple[tuple[int, ...], ...]]:
        pairs = list(pairwise(self.widths))
        scaled = [self.scaled_neurons] * (len(pairs) - 1) + [False]
        return [
            ((b, a), (b,), (b,)) if has_scale else ((b, a), (b,))
            for (a, b), has_scale in zip(pairs, scaled, strict=True)
        ]
