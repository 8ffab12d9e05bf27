"""Target of the search: the network in coordinates of the data's span, and the sum that gradients must match."""

import copy
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from assay.core import InvalidInputError, Parameters, named_parameters
from assay.reconstruction.kkt.data_span import noise_rank, span, write_in_basis
from assay.reconstruction.kkt.input_layer import first_dense_layer, first_layer, from_first_layer
from assay.reconstruction.kkt.merge_units import merge_parallel_units
from assay.reconstruction.kkt.surrogate import with_surrogate_relu


@dataclass(frozen=True, eq=False)
class Target:
    """Hold the network of the search, its goal, and the map from its inputs back to the user's.

    Attributes:
        model: Network with `SurrogateReLU` gates that takes coordinates.
        goal: Target of the sum of gradients, by parameter.
        points: Weights at which gradients are taken.
        n_outputs: Outputs of the network.
        coordinates: Shape of one candidate in the search.
        shape: Shape of one reconstruction.
        basis: Orthonormal rows that span the search space; None where all inputs are searched.
        rank: Dimension of the span of the data.
    """

    model: nn.Module
    goal: Parameters
    points: tuple[Parameters, ...]
    n_outputs: int
    coordinates: tuple[int, ...]
    shape: tuple[int, ...]
    basis: Float[Tensor, "r d"] | None
    rank: int

    def to_inputs(self, found: Float[Tensor, "m ..."]) -> Float[Tensor, "m ..."]:
        """Return candidates as the first layer reads them."""
        return (found if self.basis is None else found @ self.basis).reshape(len(found), *self.shape)


def build_target(
    model: nn.Module,
    *,
    subspace: int | Literal["auto"] | None,
    input_shape: tuple[int, ...] | None,
    initial: nn.Module | None = None,
    kernels: Literal["initial", "final", "both"] = "both",
) -> Target:
    """Cut the network at its input layer, write that layer in a basis of the data's span, and swap the gates.

    Parallel hidden units are merged, except for a displacement: their initial weights are not parallel.

    Args:
        model: Network in evaluation mode, its parameters frozen.
        subspace: Dimension of the span; "auto" reads it off the spectrum; None searches all inputs.
        input_shape: Shape of one input; flat when None.
        initial: The network before training, if known.
        kernels: Weights at which gradients are taken, if the initial ones are known.

    Raises:
        InvalidInputError: The first layer is not dense, `subspace` is out of range, or the network has no ReLU.
    """
    models = [model] if initial is None else [model, initial]
    entered = [from_first_layer(one, input_shape) for one in models]
    read = entered[0][1]
    shape = input_shape or read
    shape = shape if torch.Size(shape).numel() == torch.Size(read).numel() else read
    basis, rank = _basis(models, subspace)
    nets = [one if basis is None else write_in_basis(one, basis) for one, _ in entered]
    merge = initial is None and basis is not None
    chain = nets[0]
    gated = (
        merge_parallel_units(chain).model if merge and isinstance(chain, nn.Sequential) else with_surrogate_relu(chain)
    )
    gated.requires_grad_(False)
    coordinates = read if basis is None else (*read[:-1], len(basis))
    with torch.no_grad():
        outputs = gated(next(gated.parameters()).new_zeros(2, *coordinates)).reshape(2, -1)
    goal = end = named_parameters(gated)
    points = (end,)
    if initial is not None:
        start = named_parameters(with_surrogate_relu(nets[1]))
        goal = {name: value - start[name] for name, value in end.items()}
        points = {"initial": (start,), "final": (end,), "both": (end, start)}[kernels]
    return Target(gated, goal, points, outputs.shape[1], coordinates, shape, basis, rank)


def initial_network(model: nn.Module, state: Parameters) -> nn.Module:
    """Copy a network and load its initial weights.

    Raises:
        InvalidInputError: A parameter is missing or has another shape, or no weight has changed.
    """
    wanted = named_parameters(model)
    wrong = [name for name, value in wanted.items() if name not in state or state[name].shape != value.shape]
    if wrong:
        raise InvalidInputError(
            f"init_state lacks parameters of the network, or has them in another shape ({', '.join(wrong[:4])}); "
            "pass the state_dict() of the same network before training"
        )
    twin = copy.deepcopy(model)
    twin.load_state_dict(state, strict=False)
    if all(torch.equal(value, wanted[name]) for name, value in named_parameters(twin).items()):
        raise InvalidInputError("init_state equals the trained weights; pass the weights before training")
    return twin


def _basis(models: list[nn.Module], subspace: int | Literal["auto"] | None) -> tuple[Tensor | None, int]:
    """Return a basis of the span (None: search all inputs) and its dimension as estimated from the weights."""
    if isinstance(subspace, int):
        first_dense_layer(models[0])  # raises where the span cannot be estimated
    dense = [layer for one in models for layer in one.modules() if isinstance(layer, nn.Linear)]
    if not dense:
        return None, 0
    weight = dense[0].weight.detach()
    if len(models) > 1:
        weight = weight - dense[len(dense) // 2].weight.detach()
    if isinstance(subspace, int):
        return span(weight, subspace), subspace
    rank = noise_rank(weight)
    if subspace is None or first_layer(models[0])[1] is not dense[0]:
        return None, rank
    if len(models) == 1:
        # A superfluous direction only costs time; a missing one loses samples.
        rank = min(rank + 2, *weight.shape)
    return span(weight, rank), rank
