"""Path from known initial weights to the trained ones: goal of the search, and weights at which it linearises."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from assay.core import InvalidInputError, Parameters, named_parameters
from assay.reconstruction.kkt import dense_chain, from_first_layer, with_surrogate_relu, write_in_basis
from assay.reconstruction.known_start.displacement import Displacement, measure_displacement
from assay.reconstruction.known_start.prior import Prior

OTHER_LAYERS = 0.1
"""Weight of every tensor but that of the first layer in the gap."""


@dataclass(frozen=True, eq=False)
class Ends:
    """Hold the weights of a chain of dense layers before and after training, in float64.

    Attributes:
        model: The chain.
        before: Initial weights.
        after: Trained weights.
        moved: Displacement of the first layer.
    """

    model: nn.Sequential
    before: Parameters
    after: Parameters
    moved: Displacement

    @property
    def first(self) -> str:
        """Name of the weight of the first layer."""
        return next(iter(self.after))

    @property
    def added(self) -> Parameters:
        """What training added to the share of the initial weights that is left."""
        return {name: value - self.moved.share * self.before[name] for name, value in self.after.items()}

    @property
    def unmoved(self) -> tuple[str, ...]:
        """Names of the parameters that training left as they were."""
        return tuple(name for name, value in self.after.items() if torch.equal(value, self.before[name]))


@dataclass(frozen=True, eq=False)
class Path:
    """Hold the problem of the search, in coordinates u of samples x = (spread * u) B, B the basis of the data's span.

    Attributes:
        model: Chain of dense layers with `SurrogateReLU` gates that takes coordinates.
        points: Its weights at the midpoints of the path.
        goal: What training added to the weights.
        factors: Factors on the differences from the goal, by parameter; 0 where one is left out.
        rows: Samples whose coordinate is 1 in one direction and 0 in the others, `spread * B`.
        centre: Coordinates of the mean sample.
        n_outputs: Outputs of the network.
    """

    model: nn.Module
    points: tuple[Parameters, ...]
    goal: Parameters
    factors: Parameters
    rows: Float[Tensor, "r d"]
    centre: Float[Tensor, " r"]
    n_outputs: int


def dense_layers(model: nn.Module, input_shape: tuple[int, ...] | None) -> tuple[nn.Sequential, tuple[int, ...]]:
    """Return a network as the chain of its dense layers with ReLU between them, and the shape of its samples.

    Raises:
        InvalidInputError: The network is no such chain from its first layer on.

    >>> len(dense_layers(nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1)), (2, 2))[0])
    3
    """
    own = [
        type(module).__name__ for module in model.modules() if next(module.parameters(recurse=False), None) is not None
    ]
    if dense_chain(model) is None:
        raise InvalidInputError(
            f"the search from a known start reads chains of two or more nn.Linear with ReLU between them, got "
            f"{', '.join(own[:6]) or 'no layer with parameters'}; "
            "if the network ends in such a chain, dense_head(model, x) returns it, to be searched in its inputs"
        )
    chain, read = from_first_layer(model, input_shape)
    if not isinstance(chain, nn.Sequential):
        raise InvalidInputError(
            "the network computes more than dense layers with ReLU between them, or uses another activation; "
            "the search from a known start is built for such ReLU networks only"
        )
    fits = input_shape is not None and torch.Size(input_shape).numel() == torch.Size(read).numel()
    return chain, input_shape if fits and input_shape is not None else read


def read_ends(start: nn.Sequential, end: nn.Sequential, *, share: float | Literal["auto"]) -> Ends:
    """Compare a chain of dense layers before and after training.

    Raises:
        InvalidInputError: Training did not move the first layer.

    >>> start = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))
    >>> end = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))
    >>> read_ends(start, end, share="auto").first
    '0.weight'
    """
    ends = [named_parameters(chain) for chain in (start, end)]
    before, after = next(iter(ends[0].values())), next(iter(ends[1].values()))
    if torch.equal(before, after):
        raise InvalidInputError(
            "training did not move the first dense layer, so that it does not span the samples; cut the network behind "
            "the layers that did not move, as dense_head(model, x) does, and give the start of what is left"
        )
    moved = measure_displacement(before, after, share=share)
    wide = [{name: value.detach().double() for name, value in weights.items()} for weights in ends]
    return Ends(end, wide[0], wide[1], moved)


def build_path(ends: Ends, *, prior: Prior, n_points: int, whiten: float, dtype: torch.dtype) -> Path:
    r"""Write the path of training in coordinates of the data's span.

    Training adds $G = \theta_1 - s \theta_0$ to what is left of the initial weights. The midpoints are
    $\theta_0 + t (\theta_1 - \theta_0)$, $t = (k - 1/2) / K$. Small directions of the first layer's displacement are as
    exact as large ones, so that its columns are divided by $S^p$, S the singular values. The last bias, a mere sum of
    multipliers, is left out, as is what did not move.

    Args:
        ends: The ends of the path; the first layer's displacement has rank 1 or more.
        prior: Mean and spread of samples; the spread is the unit of the coordinates.
        n_points: Number K of midpoints.
        whiten: Exponent p.
        dtype: Precision of the result; it is computed in float64.
    """
    first, basis, spread = ends.first, ends.moved.basis, prior.spread.double()
    rows = spread[:, None] * basis
    before, after = [{**weights, first: weights[first] @ rows.T} for weights in (ends.before, ends.after)]
    times = [(k + 0.5) / n_points for k in range(n_points)]
    points = [_cast({name: value.lerp(after[name], t) for name, value in before.items()}, dtype) for t in times]
    goal = ends.added
    goal[first] = goal[first] @ basis.T / spread  # the sum of gradients in the weights of coordinates
    narrow = write_in_basis(ends.model.double(), rows)
    return Path(
        with_surrogate_relu(narrow).to(dtype).requires_grad_(False),
        tuple(points),
        _cast(goal, dtype),
        _cast(_factors(ends, goal, spread, whiten), dtype),
        rows.to(dtype),
        (prior.mean.double() / spread).to(dtype),
        len(after[list(after)[-1]]),
    )


def _factors(ends: Ends, goal: Parameters, spread: Tensor, whiten: float) -> Parameters:
    """Return factors that make the first layer's whitened goal one, and each other's `OTHER_LAYERS`, squared."""
    white = spread * ends.moved.values[: ends.moved.rank] ** -whiten
    factors: Parameters = {ends.first: white / (goal[ends.first] * white).norm()}
    dropped = {*ends.unmoved, *(name for name in list(goal)[-1:] if name.endswith("bias"))}
    for name, value in goal.items():
        if name != ends.first:
            length = value.new_zeros(()) if name in dropped else 1 / value.norm()
            factors[name] = OTHER_LAYERS**0.5 * length
    return factors


def _cast(weights: Parameters, dtype: torch.dtype) -> Parameters:
    return {name: value.to(dtype) for name, value in weights.items()}
